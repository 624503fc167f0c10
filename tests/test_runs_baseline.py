"""Which saved run a run is compared with, and what counts as worse than it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.utils import parse_compare_fail
from report_records import AMX, ZEN3, full_json, identity, latency, saved_run

from indoor.errors import IndoorError
from indoor.records import RunIdentity, WeightSource
from indoor.runs.baseline import (
    choose_baseline,
    find_runs,
    match_cases,
    refuse_other_machines,
    regressions,
    unmatched,
)
from indoor.runs.comparable import Subject
from indoor.runs.results import seal
from indoor.runs.saved import SavedRun
from indoor.runs.storage import lost_promotions, write_promoted


def of(machine: Any = ZEN3, **changes: Any) -> RunIdentity:
    """Return a run's identity; `cpu_model`, `torch`, `memory_bytes` go to its machine."""
    names = ("cpu_model", "torch", "memory_bytes")
    moved = {name: changes.pop(name) for name in names if name in changes}
    known = {"environment": {}, "timer": "time.perf_counter"} | changes
    return identity(dataclasses.replace(machine, **moved), **known)


def here(allocator: str = "default", **changes: Any) -> Subject:
    """Return what this run is about."""
    return Subject(run=of(**changes), allocator=allocator)


def saved(
    number: int,
    machine: Any = ZEN3,
    *,
    promoted: bool = False,
    allocator: Any = "default",
    **changes: Any,
) -> SavedRun:
    """Return a saved run of two cases, of 1 and 2 s."""
    return saved_run(
        number,
        of(machine, **changes),
        promoted=promoted,
        allocator=allocator,
        medians={"a": 1.0, "b": 2.0},
    )


def measured(**medians: float) -> dict[str, Any]:
    """Return this run's benchmarks, whose batches count up from 1."""
    return {
        f"bench/t.py::{name}": {"median": median_s, **latency(of(), "float32", batch, 1, 1e3)}
        for batch, (name, median_s) in enumerate(medians.items(), start=1)
    }


@dataclasses.dataclass
class Storage:
    """pytest-benchmark's storage as far as it is asked here."""

    path: Path

    def query(self, pattern: str = "*") -> list[Path]:
        """Return the files whose names begin so, of all folders."""
        return sorted(self.path.rglob(f"{pattern.rstrip('*')}*.json"))

    def __str__(self) -> str:
        """Return the folder."""
        return str(self.path)


def test_the_newest_run_that_fits_is_the_baseline() -> None:
    """Of two whole runs of the same machine the later one is taken."""
    choice = choose_baseline([saved(1), saved(2)], True, here())
    assert [run.name for run in choice.runs] == ["0002_resnet50"]
    assert choice.lines == ("comparing with 0002_resnet50",)


@pytest.mark.parametrize(
    ("newer", "reason"),
    [
        (saved(2, narrowed=True), "narrowed"),
        (saved(2, not_a_baseline="regressed"), "failed"),
        (saved(2, cpu_model="CPU B"), "of another CPU"),
        (saved(2, environment={"OMP_PROC_BIND": "close"}), "with another environment"),
        (saved(2, timer="time.process_time"), "with another timer"),
        (saved(2, memory_bytes=16_000_000_000), "of another machine"),
        (saved(2, arch="resnet18"), "of another model"),
        (saved(2, data=dataclasses.replace(identity().data, sha256="e" * 64)), "of other data"),
        (
            saved(2, weights=WeightSource(kind="file", name="f", sha256="f" * 64)),
            "of other weights",
        ),
        (saved(2, allocator="retain"), "with another allocator"),
        (
            saved(2, preprocessing=dataclasses.replace(identity().preprocessing, size=64)),
            "of another preprocessing",
        ),
    ],
)
def test_a_run_that_does_not_fit_is_passed_over(newer: SavedRun, reason: str) -> None:
    """An older run that fits is taken instead; without one the reason is told."""
    choice = choose_baseline([saved(1), newer], True, here())
    assert [run.name for run in choice.runs] == ["0001_resnet50"]
    alone = choose_baseline([newer], True, here())
    assert alone.runs == ()
    assert f"none of the 1 saved runs fits (1 {reason})" in alone.lines[0]


def test_a_run_of_another_suite_is_no_baseline() -> None:
    """Without our identity nobody knows what was measured."""
    foreign = dataclasses.replace(saved(1), summary=None, fault="of another suite")
    assert "1 of another suite" in choose_baseline([foreign], True, here("d")).lines[0]
    (line,) = choose_baseline([foreign], "0001", here("d")).lines
    assert line.endswith("it holds nothing of this suite")


def test_another_torch_is_a_fair_comparison() -> None:
    """What an upgrade does to times is a question of its own."""
    assert choose_baseline([saved(1, torch="2.13")], True, here()).runs


def test_a_named_run_of_something_else_is_taken_with_all_that_differs() -> None:
    """The warning lists the fields with both values; memory within 5% is the same memory."""
    run = saved(1, arch="resnet18", torch="2.13", memory_bytes=7_900_000_000)
    choice = choose_baseline([run], "0001", here())
    assert choice.runs == (run,)
    assert choice.lines[1].startswith("WARNING: 0001_resnet50 was measured on something else")
    assert choice.lines[1].endswith(
        "torch 2.13 there, 2.14.1+cpu here; model resnet18 there, resnet50 here"
    )


def test_a_named_run_of_this_machine_has_no_warning() -> None:
    """Nothing differs, nothing is said."""
    assert choose_baseline([saved(1)], "0001", here()).lines == ("comparing with 0001_resnet50",)


def test_a_number_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The numbers that there are stand in the message."""
    (tmp_path / "0003_x.json").write_text(json.dumps({"benchmarks": []}))
    with pytest.raises(IndoorError, match=r"=0009: there is no such run .* one of 0003"):
        find_runs(Storage(tmp_path), "0009")


def test_the_first_number_may_be_named_before_there_is_a_run(tmp_path: Path) -> None:
    """`--benchmark-compare=0001` in a fresh clone runs, any other number is a mistake."""
    assert find_runs(Storage(tmp_path), "0001") == ()
    with pytest.raises(IndoorError, match="none yet, since none was saved"):
        find_runs(Storage(tmp_path), "0002")


def test_an_unreadable_file_is_no_run(tmp_path: Path) -> None:
    """A truncated file and one that is no benchmark hold none, and say why."""
    (tmp_path / "0001_x.json").write_text('{"benchmarks": [')
    (tmp_path / "0002_x.json").write_text("[]")
    found = find_runs(Storage(tmp_path), True)
    assert [run.result for run in found] == [None, None]
    assert all("expected" in run.reason for run in found)


def test_regressions_are_judged_by_each_check() -> None:
    """1.2 s against 1 s is more than 10% and not more than 50%; equal times are fine."""
    checks = [parse_compare_fail("median:10%"), parse_compare_fail("median:50%")]
    current = measured(a=1.2, b=2.0, new=9.0)
    (line,) = regressions(checks, current, [saved(1)])
    assert line.startswith("bench/t.py::a: median 1.2 s, 0001_resnet50 has 1 s (Percentage")


def test_peak_memory_is_not_judged_by_its_time() -> None:
    """Its one round is the life of a process."""
    current = measured(a=9.0)
    now = current["bench/t.py::a"]["extra_info"]["indoor"] | {"case": "peak-memory"}
    then = saved(1)
    assert then.result is not None
    case = then.result.cases[0]
    memory = dataclasses.replace(case.measurement, case="peak-memory")
    cases = (dataclasses.replace(case, measurement=memory),)
    vars(then)["result"] = dataclasses.replace(then.result, cases=cases)
    current["bench/t.py::a"]["extra_info"]["indoor"] = now
    assert list(match_cases(current, then)) == ["bench/t.py::a"]
    assert regressions([parse_compare_fail("median:10%")], current, [then]) == []


def test_cases_that_only_one_run_has_are_listed() -> None:
    """Both directions, by the tests' names, long lists cut short."""
    others = {f"bench/t.py::n{i}": {"extra_info": {}} for i in range(8)}
    missing, new = unmatched(measured(a=1.0) | others, saved(1))
    assert missing.endswith("(not measured now, renamed or removed): b")
    assert new.endswith("(new or renamed): n0, n1, n2, n3, n4, n5 and 2 more")
    assert unmatched(measured(a=1.0, b=2.0), saved(1)) == []


def test_a_promoted_run_is_taken_before_a_newer_one() -> None:
    """Without a name the promoted run is the baseline, and the line says why."""
    runs = [saved(1), saved(2, promoted=True), saved(3)]
    choice = choose_baseline(runs, True, here())
    assert [run.name for run in choice.runs] == ["0002_resnet50"]
    assert choice.lines == ("comparing with 0002_resnet50 (promoted)",)


@pytest.mark.parametrize("changes", [{"narrowed": True}, {"not_a_baseline": "regressed"}])
def test_a_promoted_run_may_be_narrowed_or_slower(changes: dict[str, Any]) -> None:
    """Somebody said so on purpose; without that it is passed over."""
    promoted = saved(2, promoted=True, **changes)
    assert choose_baseline([saved(1), promoted], True, here()).runs == (promoted,)
    plain = dataclasses.replace(promoted, promoted=False)
    names = [run.name for run in choose_baseline([saved(1), plain], True, here("d")).runs]
    assert plain.name not in names


def test_a_promoted_run_that_does_not_fit_is_passed_over_aloud() -> None:
    """Another network's promoted run says nothing here; the newest that fits is taken."""
    runs = [saved(1), saved(2, promoted=True, arch="resnet18")]
    choice = choose_baseline(runs, True, here())
    assert [run.name for run in choice.runs] == ["0001_resnet50"]
    assert choice.lines[0] == "the promoted 0002_resnet50 is of another model and is passed over"


def test_the_storage_knows_which_run_is_promoted(tmp_path: Path) -> None:
    """The mark is read with the run; one whose file is gone is missed aloud."""
    folder = tmp_path / "Linux-CPython-3.11-64bit"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number:04}_x.json").write_text(json.dumps(full_json(ZEN3)))
    write_promoted(folder, ["0001_x.json", "0009_gone.json"])
    runs = find_runs(Storage(tmp_path), True)
    assert [run.promoted for run in runs] == [True, False]
    assert lost_promotions([folder]) == ((folder, "0009_gone.json"),)


def test_a_broken_pointer_is_an_error(tmp_path: Path) -> None:
    """Which baseline was meant is not guessed."""
    folder = tmp_path / "machine"
    folder.mkdir()
    (folder / "0001_x.json").write_text(json.dumps(full_json(ZEN3)))
    (folder / ".promoted").write_text("{")
    with pytest.raises(IndoorError, match=r"\.promoted holds no"):
        find_runs(Storage(tmp_path), True)


def test_another_machines_run_is_refused_by_name_of_field() -> None:
    """The line lists each field with both values, and the way out."""
    with pytest.raises(IndoorError) as refusal:
        refuse_other_machines([saved(1, AMX)], ZEN3, allowed=False, judges_times=False)
    line = str(refusal.value)
    assert "0001_resnet50 is of another machine" in line
    assert f"cpu_model {AMX.cpu_model} there, {ZEN3.cpu_model} here" in line
    assert "isa avx2,avx512f" in line
    assert "torch" not in line
    assert "--allow-other-machine" in line
    assert "\n" not in line


def test_a_run_of_nobodys_machine_is_refused() -> None:
    """A file without our part cannot say where it was measured, so nothing allows it."""
    unknown = dataclasses.replace(saved(1), summary=None, fault="of another suite")
    with pytest.raises(IndoorError, match="holds nothing of this suite"):
        refuse_other_machines([unknown], ZEN3, allowed=True, judges_times=False)


def test_times_of_another_machine_are_never_judged() -> None:
    """--benchmark-compare-fail is refused there, and is fine with a run of this machine."""
    with pytest.raises(IndoorError, match="--benchmark-compare-fail: 0001_resnet50 is of"):
        refuse_other_machines([saved(1, AMX)], ZEN3, allowed=True, judges_times=True)
    refuse_other_machines([saved(1)], ZEN3, allowed=False, judges_times=True)
    refuse_other_machines([saved(1, AMX)], ZEN3, allowed=True, judges_times=False)


KNOWN = dataclasses.replace(ZEN3, num_physical_cores=2, core_kinds={})


@pytest.mark.parametrize(
    ("there", "machine"),
    [
        (ZEN3, KNOWN),
        (KNOWN, ZEN3),
        (dataclasses.replace(KNOWN, core_kinds=None), KNOWN),
        (KNOWN, KNOWN),
    ],
    ids=["saved-before", "saved-later", "kinds-unreadable", "the-same-control"],
)
@pytest.mark.parametrize("judges_times", [False, True], ids=["times-told", "times-judged"])
def test_what_an_earlier_run_did_not_record_makes_no_other_machine(
    there: Any, machine: Any, judges_times: bool
) -> None:
    """A run that was saved before a field was recorded is still a run of this machine."""
    refuse_other_machines([saved(1, there)], machine, allowed=False, judges_times=judges_times)


@pytest.mark.parametrize(
    "changes",
    [{"num_physical_cores": 4}, {"core_kinds": {"performance": 2}}, {"cpu_model": "Xeon"}],
    ids=["cores-control", "kinds-control", "cpu-control"],
)
def test_what_both_recorded_and_differs_is_refused(changes: dict[str, Any]) -> None:
    """Other cores are another machine, where both runs know theirs."""
    other = dataclasses.replace(KNOWN, **changes)
    with pytest.raises(IndoorError, match="is of another machine"):
        refuse_other_machines([saved(1, other)], KNOWN, allowed=False, judges_times=False)


def test_an_allowed_run_of_another_machine_gives_ratios_only() -> None:
    """Its times are not among those compared; this machine's named run's are."""
    choice = choose_baseline([saved(1, AMX), saved(2)], "000", here())
    assert [run.name for run in choice.runs] == ["0002_resnet50"]
    assert [run.name for run in choice.elsewhere] == ["0001_resnet50"]
    assert choice.lines[0].startswith("comparing only the speedups with 0001_resnet50")


def test_a_renamed_test_has_still_to_be_as_fast() -> None:
    """Cases are matched by what they measure, so another name hides no slowdown."""
    current = measured(renamed=10.0)
    (line,) = regressions([parse_compare_fail("median:10%")], current, [saved(1)])
    assert line.startswith("bench/t.py::renamed: median 10 s, 0001_resnet50 has 1 s")


def test_times_are_not_judged_where_they_say_nothing() -> None:
    """--benchmark-compare-fail with a named run of another network or environment is refused."""
    for run in (saved(1, arch="resnet18"), saved(1, environment={"LD_PRELOAD": "libjemalloc.so"})):
        with pytest.raises(IndoorError, match="--benchmark-compare-fail: 0001_resnet50 is "):
            choose_baseline([run], "0001", here(), judges_times=True)
    assert choose_baseline([saved(1)], "0001", here(), judges_times=True).runs


def test_another_environment_gives_ratios_only() -> None:
    """A named run that was measured with other kernels is compared in its speedups alone."""
    run = saved(1, environment={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    choice = choose_baseline([run], "0001", here())
    assert (choice.runs, choice.elsewhere) == ((), (run,))
    assert choice.lines[0].endswith("ONEDNN_MAX_CPU_ISA AVX2 there, not set here")


@pytest.mark.parametrize(
    "changes",
    [
        {"timer": "time.process_time"},
        {"environment": {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "arch": "resnet18"},
        {"cpu_model": "Z80", "arch": "resnet18"},
    ],
)
def test_seconds_that_cannot_stand_side_by_side_do_not(changes: dict[str, Any]) -> None:
    """A run by another clock, or of another machine and network, has neither times nor ratios."""
    choice = choose_baseline([saved(1, **changes)], "0001", here())
    assert (choice.runs, choice.elsewhere) == ((), ())
    assert choice.lines[0].startswith("comparing nothing with 0001_resnet50, ")


def test_what_an_older_version_did_not_record_is_said() -> None:
    """A run without environment and timer is compared, and both are called not recorded."""
    old = saved(1, environment=None, timer=None)
    choice = choose_baseline([old], True, here(environment={"OMP_PROC_BIND": "close"}))
    assert choice.runs == (old,)
    assert choice.lines[1] == (
        "what differs besides the code: environment not recorded there, OMP_PROC_BIND close here; "
        "timer not recorded there, time.perf_counter here"
    )


def test_a_damaged_run_is_never_a_baseline(tmp_path: Path) -> None:
    """A digit that flipped after saving: a bare compare passes it over aloud, a named one fails."""
    data = full_json(ZEN3, of())
    data["indoor"] = seal(json.loads(json.dumps(data)))
    path = tmp_path / "0001_x.json"
    path.write_text(json.dumps(data).replace("0.0", "0.1", 1))
    (run,) = find_runs(Storage(tmp_path), True)
    assert "1 changed" in choose_baseline([run], True, here()).lines[0]
    with pytest.raises(IndoorError, match=r"0001_x\.json was changed or damaged"):
        find_runs(Storage(tmp_path), "0001")
