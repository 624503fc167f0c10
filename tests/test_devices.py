"""Devices: when a result counts as computed, and what the commands say of a missing one."""

from pathlib import Path

import pytest
import torch

from indoor.cli import main
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "--run", "tiny", "--device", "cuda", "x.jpg"], "device 'cuda' is not usable"),
        (["evaluate", "tiny", "--device", "cuda"], "device 'cuda' is not usable with torch"),
        (["predict", "--run", "tiny", "--variant", "int4", "x.jpg"], "variant int4: expected one"),
    ],
)
def test_a_command_says_what_cannot_run_here(
    home: Path,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A missing device or variant is one line and exit 2, before a photograph is opened."""
    monkeypatch.setenv("INDOOR_HOME", str(home))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    data = ["--data", str(home)] if words[0] == "evaluate" else []
    assert main([*words, *data]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"indoor: {message}")
