"""Devices: when a result counts as computed."""

import pytest
import torch

from indoor.devices import finished


def test_a_clock_is_read_when_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU a call returns before its result is there, so the call waits for the device."""
    log: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("done"))

    def call() -> str:
        log.append("called")
        return "logits"

    assert finished(call, "cuda")() == "logits"
    assert log == ["called", "done"]


def test_a_cpus_call_is_timed_as_it_is() -> None:
    """Nothing is added to what a CPU computes."""

    def call() -> None: ...

    assert finished(call, "cpu") is call
