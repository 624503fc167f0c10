"""Hyper-threads and kinds of cores, from recorded trees of the kernel and texts of sysctl."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest
from report_records import ZEN3, identity

import indoor
from indoor.machine import diagnose, processor, read_machine, reading, usable_physical_cores
from indoor.machine.limits import UnreadableError
from indoor.machine.topology import Topology, read_topology
from indoor.records import Machine
from indoor.report.caption import describe_cpu
from indoor.runs.comparable import Subject, comparable

CPUS = "sys/devices/system/cpu"

Files = dict[str, str]


def write(root: Path, files: Files) -> Path:
    """Write the files below `root`, which stands for `/`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def cpus(siblings: Iterable[str], package: str, **more: str) -> Files:
    """The topology of a socket: a list of siblings for each CPU."""
    files: Files = {}
    for group in siblings:
        for cpu in group.replace("-", ",").split(","):
            folder = f"{CPUS}/cpu{cpu}/topology"
            files[f"{folder}/core_cpus_list"] = group
            files[f"{folder}/thread_siblings_list"] = group
            files[f"{folder}/package_cpus_list"] = package
            files |= {f"{CPUS}/cpu{cpu}/{name}": text for name, text in more.items()}
    return files


INTEL_SMT = cpus(["0,4", "1,5", "2,6", "3,7"], "0-7")
AMD_SMT = cpus(["0-1", "2-3", "4-5", "6-7"], "0-7")
ALDER_LAKE = (
    cpus(["0-1", "2-3", "4-5", "6-7"], "0-11", **{"cpufreq/cpuinfo_max_freq": "5200000"})
    | cpus(["8", "9", "10", "11"], "0-11", **{"cpufreq/cpuinfo_max_freq": "3900000"})
    | {"sys/devices/cpu_core/cpus": "0-7", "sys/devices/cpu_atom/cpus": "8-11"}
)
NO_PMU = {name: text for name, text in ALDER_LAKE.items() if "sys/devices/cpu_" not in name}
METEOR_LAKE = ALDER_LAKE | cpus(["12", "13"], "0-13") | {"sys/devices/cpu_lowpower/cpus": "12-13"}
BIG_LITTLE = cpus(["0", "1", "2", "3"], "0-7", cpu_capacity="446") | cpus(
    ["4", "5", "6", "7"], "0-7", cpu_capacity="1024"
)
THREE_KINDS = (
    cpus(["0", "1", "2", "3"], "0-7", cpu_capacity="325")
    | cpus(["4", "5", "6"], "0-7", cpu_capacity="828")
    | cpus(["7"], "0-7", cpu_capacity="1024")
)
ZEN_5C = cpus(["0-1", "2-3"], "0-7", **{"cpufreq/cpuinfo_max_freq": "5157000"}) | cpus(
    ["4-5", "6-7"], "0-7", **{"cpufreq/cpuinfo_max_freq": "3312000"}
)
FAVOURED = cpus(["0", "1"], "0-3", **{"cpufreq/cpuinfo_max_freq": "5800000"}) | cpus(
    ["2", "3"], "0-3", **{"cpufreq/cpuinfo_max_freq": "5500000"}
)
RASPBERRY = cpus(["0", "1", "2", "3"], "0-3", cpu_capacity="1024")
SOCKETS = cpus(["0"], "0") | cpus(["1"], "1") | cpus(["2"], "2") | cpus(["3"], "3")
TWO_SOCKETS = cpus(["0,4", "1,5"], "0-1,4-5") | cpus(["2,6", "3,7"], "2-3,6-7")
OLD_KERNEL = {n: t for n, t in INTEL_SMT.items() if "core_cpus" not in n and "package" not in n}
BY_IDS = {
    f"{CPUS}/cpu{cpu}/topology/{name}": text
    for cpu in range(8)
    for name, text in (("physical_package_id", str(cpu // 4)), ("core_id", str(cpu // 2 % 2)))
}
OFFLINE = cpus(["0", "2,6", "3,7"], "0,2-3,6-7") | {f"{CPUS}/cpu1/online": "0"}
POWER = cpus(["0,1,2,3", "4,5,6,7"], "0-7")

ALL = range(8)

MEMBERS: dict[str, tuple[Files, Iterable[int], int, dict[str, int]]] = {
    "Intel with hyper-threads": (INTEL_SMT, ALL, 4, {}),
    "AMD with SMT": (AMD_SMT, ALL, 4, {}),
    "POWER with four threads a core": (POWER, ALL, 2, {}),
    "two sockets": (TWO_SOCKETS, ALL, 4, {}),
    "an old kernel's names": (OLD_KERNEL, ALL, 4, {}),
    "numbers of cores alone": (BY_IDS, ALL, 4, {}),
    "Alder Lake": (ALDER_LAKE, range(12), 8, {"performance": 4, "efficiency": 4}),
    "Alder Lake without its folders": (NO_PMU, range(12), 8, {"performance": 4, "efficiency": 4}),
    "Alder Lake kept to its efficient cores": (ALDER_LAKE, range(8, 12), 4, {"efficiency": 4}),
    "Alder Lake, one thread of each fast core": (ALDER_LAKE, (0, 2, 4, 6), 4, {"performance": 4}),
    "Meteor Lake": (
        METEOR_LAKE, range(14), 10, {"performance": 4, "efficiency": 4, "low power": 2}),
    "ARM big.LITTLE": (BIG_LITTLE, ALL, 8, {"efficiency": 4, "performance": 4}),
    "ARM with three kinds": (THREE_KINDS, ALL, 8, {"efficiency": 4, "middle": 3, "performance": 1}),
    "Zen 5 and 5c": (ZEN_5C, ALL, 4, {"performance": 2, "efficiency": 2}),
    "favoured cores are no kind": (FAVOURED, range(4), 4, {}),
    "Raspberry Pi": (RASPBERRY, range(4), 4, {}),
    "an offline sibling": (OFFLINE, (0, 2, 3, 6, 7), 3, {}),
    "affinity to the siblings of one core": (INTEL_SMT, (1, 5), 1, {}),
    "affinity to one thread of each core": (INTEL_SMT, (0, 1, 2, 3), 4, {}),
    "docker --cpuset-cpus 0,4,2": (INTEL_SMT, (0, 2, 4), 2, {}),
    "one CPU": (SOCKETS, (3,), 1, {}),
    "one CPU of each of two sockets": (TWO_SOCKETS, (0, 2), 2, {}),
}  # fmt: skip


@pytest.mark.parametrize(("files", "usable", "num", "kinds"), MEMBERS.values(), ids=MEMBERS)
def test_cores_are_counted_among_the_usable_cpus(
    tmp_path: Path, files: Files, usable: Iterable[int], num: int, kinds: dict[str, int]
) -> None:
    """Each core once, however many of its threads are usable, and by kind where kinds differ."""
    found = read_topology("Linux", write(tmp_path, files), usable)
    assert found == Topology(num_physical=num, kinds=kinds)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (SOCKETS, "each CPU is shown as a socket of its own"),
        ({}, "does not tell which CPUs share a core"),
        ({f"{CPUS}/cpu0/topology/core_id": "-1"}, "does not tell which CPUs share a core"),
        ({f"{CPUS}/cpu0/topology/core_cpus_list": "nonsense"}, "does not tell which"),
        (cpus(["0"], "0-1"), "does not tell which CPUs share a core"),
    ],
    ids=["a virtual machine's sockets", "no /sys", "no core", "no list", "half of them"],
)
def test_what_is_not_told_is_a_reason(tmp_path: Path, files: Files, reason: str) -> None:
    """No number is better than a wrong one."""
    with pytest.raises(UnreadableError, match=reason):
        read_topology("Linux", write(tmp_path, files), range(4))


M1 = """\
hw.physicalcpu: 8
hw.logicalcpu: 8
hw.perflevel0.physicalcpu: 4
hw.perflevel0.logicalcpu: 4
hw.perflevel0.name: Performance
hw.perflevel1.physicalcpu: 4
hw.perflevel1.name: Efficiency
"""
INTEL_MAC = "machdep.cpu.core_count: 4\nmachdep.cpu.thread_count: 8\nhw.physicalcpu: 4\n"


@pytest.mark.parametrize(
    ("text", "num", "kinds"),
    [
        (M1, 8, {"performance": 4, "efficiency": 4}),
        (M1.replace(".name", ".title"), 8, {"performance": 4, "efficiency": 4}),
        (INTEL_MAC, 4, {}),
        ("machdep.cpu.core_count: 8\n", 8, {}),
        ("hw.physicalcpu: 4\nhw.perflevel0.physicalcpu: 4\n", 4, {}),
    ],
    ids=["M1", "M1 on an older macOS", "Intel Mac", "core_count alone", "a virtual Mac"],
)
def test_a_macs_cores(
    monkeypatch: pytest.MonkeyPatch, text: str, num: int, kinds: dict[str, int]
) -> None:
    """Performance levels are kinds; an Intel Mac has hyper-threads instead."""
    monkeypatch.setattr(processor, "run_sysctl", lambda *_: text)
    assert read_topology("Darwin", Path("/"), ()) == Topology(num_physical=num, kinds=kinds)


def test_a_mac_without_sysctl_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """As wherever something cannot be read."""
    monkeypatch.setattr(processor, "run_sysctl", lambda *_: "")
    with pytest.raises(UnreadableError, match="sysctl does not tell"):
        read_topology("Darwin", Path("/"), ())


def read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Files, usable: set[int]
) -> Machine:
    """Return the machine's record of a recorded tree."""
    monkeypatch.setattr(indoor, "CPUS_AT_START", frozenset(usable))
    model = {"proc/cpuinfo": "model name : Box\nflags : avx2"}
    return read_machine(system="Linux", root=write(tmp_path, files | model))


def test_the_record_has_cores_and_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the usable CPUs; an old record has neither."""
    found = read(tmp_path, monkeypatch, ALDER_LAKE, set(range(12)))
    assert (found.num_cores, found.num_physical_cores) == (12, 8)
    assert found.core_kinds == {"performance": 4, "efficiency": 4}
    assert (ZEN3.num_physical_cores, ZEN3.core_kinds) == (None, None)


def test_the_record_has_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For both members."""
    found = read(tmp_path, monkeypatch, SOCKETS, {0, 1, 2, 3})
    assert (found.num_physical_cores, found.core_kinds) == (None, None)
    assert "a socket of its own" in found.unreadable["num_physical_cores"]
    assert "a socket of its own" in found.unreadable["core_kinds"]


def advice(machine: Machine) -> dict[str, tuple[str, str, str]]:
    """Return level, finding and remedy by kind."""
    found = diagnose(machine, allocator="retain")
    return {one.kind: (one.level, one.what, one.remedy) for one in found}


def test_hyper_threads_are_said_with_their_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `all` means here, and the option that takes one thread a core."""
    found = advice(read(tmp_path, monkeypatch, INTEL_SMT, set(range(8))))
    level, what, remedy = found["hyper-threads"]
    assert level == "note"
    assert what.startswith("8 usable CPUs are hyper-threads of 4 cores")
    assert "--threads physical" in remedy
    assert "hyper-threads" not in advice(read(tmp_path, monkeypatch, INTEL_SMT, {0, 1, 2, 3}))


def test_kinds_of_cores_are_said_with_their_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning where a process can be kept to one kind; a Mac cannot."""
    mixed = read(tmp_path, monkeypatch, ALDER_LAKE, set(range(12)))
    level, what, remedy = advice(mixed)["core kinds"]
    assert level == "warning"
    assert what.startswith("cores of 2 kinds (4 performance, 4 efficiency)")
    assert "taskset" in remedy
    mac = dataclasses.replace(mixed, system="Darwin 24.1 arm64")
    level, _, remedy = advice(mac)["core kinds"]
    assert level == "note"
    assert "taskset" not in remedy
    alike = read(tmp_path, monkeypatch, ALDER_LAKE, {8, 9, 10, 11})
    assert "core kinds" not in advice(alike)


def test_unreadable_cores_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason."""
    level, what, _ = advice(read(tmp_path, monkeypatch, SOCKETS, {0, 1}))["unreadable"]
    assert level == "note"
    assert what.startswith("which CPUs share a core is not readable: each CPU is shown")


@pytest.mark.parametrize(
    ("num_cores", "num_physical", "kinds", "words"),
    [
        (8, 4, {}, "8 cores (hyper-threads of 4)"),
        (12, 8, {"performance": 4, "efficiency": 4},
         "12 cores (hyper-threads of 8: 4 performance, 4 efficiency)"),
        (8, 8, {"performance": 4, "efficiency": 4}, "8 cores (4 performance, 4 efficiency)"),
        (4, 4, {"efficiency": 4}, "4 cores (4 efficiency)"),
        (2, 1, {}, "2 cores (hyper-threads of 1)"),
        (8, 8, {}, "8 cores"),
        (2, 8, {}, "2 cores"),
        (2, None, None, "2 cores"),
    ],
    ids=["SMT", "P and E", "Apple", "E alone", "one core", "alike", "quota", "not recorded"],
)  # fmt: skip
def test_a_caption_says_what_the_cores_are(
    num_cores: int, num_physical: int | None, kinds: dict[str, int] | None, words: str
) -> None:
    """Where they are more than a number; as before for what did not record it."""
    machine = dataclasses.replace(
        ZEN3, num_cores=num_cores, num_physical_cores=num_physical, core_kinds=kinds
    )
    assert describe_cpu(machine) == f"{ZEN3.cpu_model}, {words}"


@pytest.mark.parametrize(
    ("there", "here", "level"),
    [
        ((4, {}), (2, {}), "ratios"),
        ((4, {"performance": 4}), (4, {"efficiency": 4}), "ratios"),
        ((4, {}), (4, {}), "times"),
        ((None, None), (4, {}), "times"),
        ((None, None), (None, None), "times"),
    ],
    ids=["other cores", "another kind", "same-control", "old-control", "both old-control"],
)
def test_other_cores_are_another_machine(
    there: tuple[int | None, dict[str, int] | None],
    here: tuple[int | None, dict[str, int] | None],
    level: str,
) -> None:
    """Four threads on two cores are not four cores; what was not recorded costs nothing."""
    one, other = (
        Subject(
            run=identity(
                dataclasses.replace(ZEN3, num_cores=4, num_physical_cores=num, core_kinds=kinds)
            )
        )
        for num, kinds in (there, here)
    )
    assert comparable(one, other).level == level


def test_threads_that_a_quota_forbids_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread a core, and no more than a cgroup lets run."""
    monkeypatch.setattr(indoor, "CPUS_AT_START", frozenset(range(8)))
    told = Topology(num_physical=4, kinds={})
    monkeypatch.setattr(reading, "read_topology", lambda *_: told)
    for quota, expected in ((None, 4), (6.0, 4), (2.5, 2), (0.5, 1)):
        monkeypatch.setattr(reading, "read_cpu_quota", lambda _, quota=quota: quota)
        assert usable_physical_cores() == expected
