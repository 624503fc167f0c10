"""Devices: when a result counts as computed, and what the commands say of a missing one."""

from pathlib import Path

import pytest
import torch

from indoor.cli import main
from indoor.devices import (
    CPU_BATCH,
    GPU_BATCH,
    device_peak_bytes,
    finished,
    float32_products,
    forward_batch,
    start_counting_memory,
    timed_on,
)


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


class FakeEvent:
    """An event of a GPU on which each millisecond one thing happens."""

    log: list[str]

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self.at = -1

    def record(self) -> None:
        """Happen."""
        self.log.append("event")
        self.at = len(self.log)

    def synchronize(self) -> None:
        """Wait for it."""
        self.log.append("waited")

    def elapsed_time(self, other: "FakeEvent") -> float:
        """Return the milliseconds from this one to another."""
        return float(other.at - self.at)


def test_a_gpu_times_its_calls_by_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand on both sides of the call, on a GPU that has nothing else to do."""
    log: list[str] = []
    monkeypatch.setattr(FakeEvent, "log", log, raising=False)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("idle"))

    def never() -> float:
        raise AssertionError

    once = timed_on("cuda", lambda: log.append("called"), never)
    assert once() == pytest.approx(0.002)
    assert log == ["idle", "event", "called", "event", "waited"]


def test_elsewhere_a_call_is_timed_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU's as it is, and another accelerator's until it is done."""
    moments = iter([1.0, 4.0, 5.0, 7.0])
    waited: list[bool] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append(True))
    assert timed_on("cpu", lambda: None, lambda: next(moments))() == 3.0
    assert not waited
    assert timed_on("mps", lambda: None, lambda: next(moments))() == 2.0
    assert waited == [True]


def test_the_allocator_tells_a_gpus_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its peak since it was told to forget; nobody tells it of a CPU's tensors."""
    forgotten: list[bool] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: forgotten.append(True))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 12_345)
    start_counting_memory("cpu")
    assert not forgotten
    start_counting_memory("cuda")
    assert forgotten == [True]
    assert device_peak_bytes("cuda") == 12_345
    assert device_peak_bytes("cpu") is None


@pytest.mark.parametrize("tf32", [True, False])
def test_float32_is_rounded_within_the_block_alone(*, tf32: bool) -> None:
    """Convolutions and products alike, and afterwards as before, also after an error."""
    switches = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [one.allow_tf32 for one in switches]

    def fail_inside() -> None:
        with float32_products(tf32=tf32):
            assert [one.allow_tf32 for one in switches] == [tf32, tf32]
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert [one.allow_tf32 for one in switches] == before


def test_a_gpu_gets_batches_of_its_own() -> None:
    """A CPU's are small since its allocator would map larger activations anew in each call."""
    assert forward_batch("cpu") == CPU_BATCH == 8
    assert forward_batch("cuda") == forward_batch("mps") == GPU_BATCH == 64


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
