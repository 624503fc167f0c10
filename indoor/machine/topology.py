"""Which of the CPUs that a process may use share a core, and which cores are of another kind."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from indoor.machine import processor
from indoor.machine.limits import UnreadableError

_CPUS = "sys/devices/system/cpu"
_HYBRID = {"cpu_core": "performance", "cpu_atom": "efficiency", "cpu_lowpower": "low power"}
"""Linux's folders of a hybrid Intel CPU's kinds of cores."""

_LEVELS = ("hw.perflevel0", "hw.perflevel1", "hw.perflevel2")

_ANOTHER_KIND = 0.85
"""Cores below this share of the next faster ones' capacity are of another kind; those that a CPU
favours, which reach a clock some percent higher, are not."""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Physical cores among some CPUs, and how many of each kind where the machine has several."""

    num_physical: int
    kinds: dict[str, int]


def read_topology(system: str, root: Path, cpus: Iterable[int]) -> Topology:
    """Return the cores behind the CPUs that a process may use.

    Args:
        system: As `platform.system()` returns it.
        root: Where the file system begins; another folder in tests.
        cpus: Their numbers; macOS, where a process may use all, numbers none.

    Raises:
        UnreadableError: The system does not tell which of them share a core.
    """
    if system == "Darwin":
        return parse_sysctl_cores(processor.run_sysctl("machdep.cpu", "hw.physicalcpu", *_LEVELS))
    usable = sorted(cpus)
    cores = {cpu: _core(root, cpu) for cpu in usable}
    if len(usable) > 1 and all(_has_own_socket(root, cpu) for cpu in usable):
        raise UnreadableError(
            "each CPU is shown as a socket of its own, as some virtual machines do, so nobody "
            "knows which of them share a core"
        )
    known = _kinds(root)
    first = {core: cpu for cpu, core in reversed(cores.items())}
    counted = Counter(known[cpu] for cpu in first.values() if cpu in known)
    return Topology(
        num_physical=len(first), kinds={kind: counted[kind] for kind in sorted(counted, key=_rank)}
    )


def parse_sysctl_cores(text: str) -> Topology:
    """Return the cores of a Mac out of what `sysctl` prints of `hw` and `machdep.cpu`.

    Raises:
        UnreadableError: It does not say how many there are.
    """
    told = dict(re.findall(r"^(\S+): (.+)$", text, re.MULTILINE))
    num_physical = told.get("hw.physicalcpu") or told.get("machdep.cpu.core_count") or ""
    if not num_physical.isdecimal() or int(num_physical) < 1:
        raise UnreadableError("sysctl does not tell how many physical cores there are")
    kinds: dict[str, int] = {}
    for level, default in enumerate(("performance", "efficiency", "low power")):
        count = told.get(f"hw.perflevel{level}.physicalcpu", "")
        if count.isdecimal() and int(count):
            kinds[told.get(f"hw.perflevel{level}.name", default).strip().lower()] = int(count)
    return Topology(num_physical=int(num_physical), kinds=kinds if len(kinds) > 1 else {})


def _core(root: Path, cpu: int) -> tuple[str, ...]:
    """Return what is the same for all CPUs of one core and for no others."""
    folder = root / _CPUS / f"cpu{cpu}/topology"
    for name in ("core_cpus_list", "thread_siblings_list"):
        siblings = _numbers(_read(folder / name))
        if cpu in siblings:
            return tuple(map(str, sorted(siblings)))
    names = ("physical_package_id", "die_id", "cluster_id", "core_id")
    ids = tuple(_read(folder / name) for name in names)
    if ids[-1] in ("", "-1"):
        raise UnreadableError("the kernel does not tell which CPUs share a core")
    return ids


def _has_own_socket(root: Path, cpu: int) -> bool:
    folder = root / _CPUS / f"cpu{cpu}/topology"
    return any(
        _numbers(_read(folder / name)) == {cpu}
        for name in ("package_cpus_list", "core_siblings_list")
    )


def _rank(kind: str) -> tuple[bool, bool, bool, str]:
    """Return what sorts the kinds of cores from the fastest on."""
    return kind == "low power", kind == "efficiency", kind != "performance", kind


def _kinds(root: Path) -> Mapping[int, str]:
    """Return the kind of each CPU of the machine by its number; nothing where all are alike."""
    hybrid = {
        cpu: kind
        for name, kind in _HYBRID.items()
        for cpu in _numbers(_read(root / "sys/devices" / name / "cpus"))
    }
    if len(set(hybrid.values())) > 1:
        return hybrid
    folders = {
        int(folder.name[3:]): folder
        for folder in (root / _CPUS).glob("cpu[0-9]*")
        if folder.name[3:].isdecimal()
    }
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        found = {cpu: _read(folder / name) for cpu, folder in folders.items()}
        values = {cpu: int(text) for cpu, text in found.items() if text.isdecimal() and int(text)}
        if kinds := _clusters(values):
            return kinds
    return {}


def _clusters(values: Mapping[int, int]) -> dict[int, str]:
    """Return a name for each group of like values, the highest first; nothing for one group."""
    steps: list[list[int]] = []
    for value in sorted(set(values.values()), reverse=True):
        if steps and value >= _ANOTHER_KIND * steps[-1][-1]:
            steps[-1].append(value)
        else:
            steps.append([value])
    if len(steps) < 2:
        return {}
    names = ["performance", *(f"middle {i}" for i in range(1, len(steps) - 1)), "efficiency"]
    if len(steps) == 3:
        names[1] = "middle"
    by_value = {value: name for name, step in zip(names, steps, strict=True) for value in step}
    return {cpu: by_value[value] for cpu, value in values.items()}


def _numbers(text: str) -> set[int]:
    """Return the numbers of the kernel's list, such as `0-3,8`; none where it is no list."""
    found: set[int] = set()
    for part in text.split(","):
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if ends:
            found.update(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
