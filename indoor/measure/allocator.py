"""How a process's allocator treats large blocks, and the most memory that it has used."""

import os
from collections.abc import Mapping
from pathlib import Path

from indoor.machine.environment import RETAINED_BYTES, THRESHOLDS, retains_memory
from indoor.records import Allocator


def current_allocator(environment: Mapping[str, str] = os.environ) -> Allocator:
    """Return how glibc was told to treat large blocks when this process started."""
    return "retain" if retains_memory(environment) else "default"


def allocator_environment(
    allocator: Allocator, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the whole environment for a process with that allocator, from `environment`.

    glibc reads the thresholds (mallopt(3)) when a program starts, so a change needs a new process.
    `retain` keeps freed activations instead of mapping each anew, which costs memory; other C
    libraries ignore it.
    """
    kept = {name: value for name, value in environment.items() if name not in THRESHOLDS}
    if allocator == "retain":
        kept |= {name: str(RETAINED_BYTES) for name in THRESHOLDS}
    return kept


def peak_memory_bytes() -> int | None:
    """Return the most memory of this process that was resident at once, in bytes.

    It is Linux's VmHWM, which a new program starts anew, while `ru_maxrss` inherits the parent's.

    Returns:
        None where the system does not tell it (macOS).
    """
    try:
        return parse_peak_memory(Path("/proc/self/status").read_text())
    except OSError:
        return None


def parse_peak_memory(status: str) -> int | None:
    """Return VmHWM in bytes from the text of `/proc/self/status`; None where it has none."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
