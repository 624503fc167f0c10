"""What this process has used so far, and how its allocator treats large blocks."""

import os
import resource
from collections.abc import Mapping
from pathlib import Path

from indoor.records import Allocator

_RETAIN_BYTES = 2**32
"""Above any activation; 32 MiB, the limit of glibc's own adjustment, left every fault in place."""

_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def minor_faults() -> int:
    """Return the minor page faults of this process so far (pages mapped without reading a disk)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def peak_memory_bytes() -> int | None:
    """Return the most memory that was resident at once, in bytes.

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


def current_allocator(environment: Mapping[str, str] = os.environ) -> Allocator:
    """Return how glibc was told to treat large blocks when this process started.

    `retain` only if both thresholds are at least as high as `allocator_environment` sets them.
    """
    return (
        "retain"
        if all(_as_bytes(environment.get(name)) >= _RETAIN_BYTES for name in _VARIABLES)
        else "default"
    )


def allocator_environment(
    allocator: Allocator, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the whole environment for a process with that allocator, from `environment`.

    glibc reads the thresholds (mallopt(3)) when a program starts, so a change needs a new process.
    `retain` keeps freed activations instead of mapping each anew, which costs memory; other C
    libraries ignore it.
    """
    kept = {name: value for name, value in environment.items() if name not in _VARIABLES}
    if allocator == "retain":
        kept |= {name: str(_RETAIN_BYTES) for name in _VARIABLES}
    return kept


def _as_bytes(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0
