"""What a process has used, and how its allocator was told to treat large blocks."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from indoor.measure import allocator_environment, current_allocator, peak_memory_bytes
from indoor.measure.allocator import parse_peak_memory
from indoor.measure.worker import minor_faults


def test_page_faults_are_counted() -> None:
    """Touching 16 MiB of newly mapped memory costs page faults (the heap could reuse old pages)."""
    with mmap.mmap(-1, 16 * 2**20) as block:
        before = minor_faults()
        for start in range(0, len(block), mmap.PAGESIZE):
            block[start] = 1
        assert minor_faults() > before


def test_peak_memory_is_vmhwm() -> None:
    """Its kB are 1,024 bytes; a status without it has none; here it is at least what is used."""
    assert parse_peak_memory("VmPeak:\t  9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n") == 2097152
    assert parse_peak_memory("Name:\tpython\n") is None
    if sys.platform == "linux":
        peak = peak_memory_bytes()
        assert peak is not None
        assert peak > 10 * 2**20


def test_peak_memory_without_proc_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS has no /proc."""

    def missing(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert peak_memory_bytes() is None


def test_the_allocator_is_what_the_environment_said_at_the_start() -> None:
    """`retain` needs both thresholds as high as ours; the pair round-trips and keeps the rest."""
    retain = allocator_environment("retain", {"PATH": "/bin"})
    assert retain["PATH"] == "/bin"
    assert current_allocator(retain) == "retain"
    assert current_allocator({}) == "default"
    low = retain | {"MALLOC_TRIM_THRESHOLD_": "131072"}
    assert current_allocator(low) == "default"
    assert current_allocator(retain | {"MALLOC_MMAP_THRESHOLD_": "a lot"}) == "default"
    assert allocator_environment("default", retain) == {"PATH": "/bin"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's thresholds")
def test_retained_blocks_cost_no_new_faults() -> None:
    """In a process with `retain`, a large block that was freed is mapped no second time."""
    code = (
        "from indoor.measure.worker import minor_faults\n"
        "def touch():\n"
        "    block = bytearray(b'x') * (64 * 2**20)\n"
        "[touch() for _ in range(4)]\n"
        "before = minor_faults()\n"
        "[touch() for _ in range(4)]\n"
        "print(minor_faults() - before)"
    )
    faults = {}
    for allocator in ("default", "retain"):
        environment = allocator_environment(allocator, os.environ)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        faults[allocator] = int(done.stdout)
    if faults["default"] < 1000:
        pytest.skip("this C library keeps large blocks by itself, so there is nothing to retain")
    assert faults["retain"] < faults["default"] / 10
