"""What the kernel and its cgroups allow this process, and the clock's governor (Linux)."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

_CPUS = "sys/devices/system/cpu"


class UnreadableError(Exception):
    """A property cannot be read here; the message is the reason that the record keeps."""


def read_cpu_quota(root: Path) -> float | None:
    """Return how many cores' worth of CPU time the cgroups allow; None where they set no limit.

    The narrowest limit of the process's own group and of all above it counts, in cgroup v2
    (`cpu.max`) and v1 (`cpu.cfs_quota_us`, which is -1 for none).

    Raises:
        UnreadableError: The system has no cgroups, or does not show them.
    """
    quotas: list[float] = []
    for folder in _cgroup_folders(root, "cpu"):
        words = (_read(folder / "cpu.max") or "").split()
        if len(words) == 2:
            quota, period = words
        else:
            quota = _read(folder / "cpu.cfs_quota_us") or "max"
            period = _read(folder / "cpu.cfs_period_us") or "100000"
        allowed, length = _number(quota), _number(period)
        if allowed and length:
            quotas.append(allowed / length)
    return min(quotas, default=None)


def read_memory_limit(root: Path) -> int | None:
    """Return the bytes that the cgroups allow, as `read_cpu_quota` does; None: no limit.

    v1 writes "no limit" as a number near 2 ** 63, which the caller's minimum removes.
    """
    limits = [
        number
        for folder in _cgroup_folders(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (number := _number(_read(folder / name))) is not None
    ]
    return min(limits, default=None)


def read_governor(root: Path, cpus: Iterable[int]) -> str:
    """Return the frequency governor of the CPUs, or all of them, joined by commas.

    Raises:
        UnreadableError: The kernel shows none, as in most virtual machines.
    """
    found = {
        text
        for cpu in cpus
        if (text := _read(root / _CPUS / f"cpu{cpu}/cpufreq/scaling_governor")) is not None
    }
    if not found:
        raise UnreadableError("the kernel shows no cpufreq governor (a virtual machine?)")
    return ",".join(sorted(found))


def read_num_throttled(root: Path, cpus: Iterable[int]) -> int:
    """Return how often the CPUs slowed down because of heat since the machine started.

    Raises:
        UnreadableError: The kernel does not count it, as on AMD, ARM and virtual machines.
    """
    counts = [
        int(text)
        for cpu in cpus
        if (text := _read(root / _CPUS / f"cpu{cpu}/thermal_throttle/core_throttle_count"))
    ]
    if not counts:
        raise UnreadableError("the kernel counts no thermal throttling for this CPU")
    return sum(counts)


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the process's groups which `controller` may limit, inner ones first."""
    text = _read(root / "proc/self/cgroup")
    if text is None:
        raise UnreadableError("the system shows no cgroups")
    mount = root / "sys/fs/cgroup"
    for line in text.splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if not path:
            continue
        if names == "":
            bases = [mount, mount / "unified"]
        elif controller in names.split(","):
            bases = [mount / names, mount / controller]
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for base in bases:
            # In a container the path may be the host's; the mount's root then is the own group.
            for inner in (group, *group.parents):
                if (base / inner).is_dir():
                    yield base / inner


def _number(text: str | None) -> int | None:
    """Return a limit; None for none, which is written `max` or -1."""
    return int(text) if text is not None and text.isdecimal() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
