"""Whole gates with real processes on small suites, whose truth is known."""

import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_trees import (
    GATE_TOML,
    LONG_NAP_S,
    NAP,
    NAP_S,
    ONE_LAUNCH,
    PLAN,
    SUITE,
    cell,
    gate,
    leaving_nothing,
    naps,
    write_repository,
    write_tree,
)
from test_gate_worker import SPIN

from indoor.cli import main
from indoor.errors import IndoorError
from indoor.gate.decide.verdicts import exit_status
from indoor.gate.limits import rules_for
from indoor.gate.records import GateReport, GateVerdict
from indoor.gate.sides.setup import GateJob
from indoor.gate.worker import CONTROL
from indoor.machine import num_usable_cores
from indoor.records import from_json, read_record

BASE_CELLS = """
import time

import pytest

import naps


def nap():
    time.sleep(0.002)
    return 2


@pytest.mark.gate(margin=0.6, tolerance=0.95)
def test_slower(benchmark):
    assert benchmark(naps.nap) == naps.SECONDS


def test_same(benchmark):
    assert benchmark(nap) == 2


def test_fails_on_head(benchmark):
    benchmark(nap)


def test_fails_on_base(benchmark):
    benchmark(nap)
    assert naps.SECONDS > 0.01, "too short a nap"


def test_fails_once(benchmark):
    benchmark(nap)


def test_flaky(benchmark):
    benchmark(nap)


def test_skipped_on_head(benchmark):
    benchmark(nap)


def test_vanished(benchmark):
    benchmark(nap)


def test_without_a_benchmark():
    pass
"""

HEAD_CELLS = """
import time
from pathlib import Path

import pytest

import naps

TRIED = Path(__file__).with_name("tried")
TRIES = Path(__file__).with_name("tries")


def nap():
    time.sleep(0.002)
    return 2


@pytest.mark.gate(margin=0.6, tolerance=0.95)
def test_slower(benchmark):
    assert benchmark(naps.nap) == naps.SECONDS


def test_same(benchmark):
    assert benchmark(nap) == 2


def test_fails_on_head(benchmark):
    assert benchmark(nap) == 7


def test_fails_on_base(benchmark):
    benchmark(nap)


def test_fails_once(benchmark):
    benchmark(nap)
    if not TRIED.exists():
        TRIED.touch()
        raise RuntimeError("the first try")


def test_flaky(benchmark):
    benchmark(nap)
    with TRIES.open("a") as file:
        file.write("x")
    assert TRIES.stat().st_size not in (2, 3), "a coin fell on its edge"


def test_skipped_on_head(benchmark):
    pytest.skip("not today")


def test_new(benchmark):
    benchmark(nap)
"""

FOUR_CELLS = """
import pytest


@pytest.mark.parametrize("power", range(4))
def test_power(benchmark, power):
    benchmark.pedantic(pow, (2, power), iterations=10)


def test_other(benchmark):
    benchmark(pow, 2, 500)
"""


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of this module's temporary files, in which no gate may leave anything."""
    with leaving_nothing(tmp_path_factory.mktemp("temporary")) as folder:
        yield folder


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> GateReport:
    """A gate on a tree and itself."""
    tree = write_tree(tmp_path_factory.mktemp("same"))
    return gate(tree, tree, seed=5)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> GateReport:
    """A gate on a head in which everything happens at once."""
    root = tmp_path_factory.mktemp("mixed")
    base = write_tree(root / "base", {"suite/test_naps.py": BASE_CELLS})
    head = write_tree(
        root / "head", {"suite/test_naps.py": HEAD_CELLS, "naps.py": naps(LONG_NAP_S)}
    )
    return gate(base, head)


def test_identical_code_passes(same: GateReport) -> None:
    """A tree against itself is green after the first look, with its ratio near 1."""
    assert (same.verdict, exit_status(same), same.partial) == (GateVerdict.PASS, 0, False)
    (only,) = same.cells
    assert (only.name, only.verdict) == (NAP, GateVerdict.PASS)
    assert only.ratio == pytest.approx(1, abs=0.4)
    assert only.base_s == pytest.approx(NAP_S, rel=0.5)
    assert only.num_launches in PLAN.looks
    assert only.num_pairs == PLAN.max_pairs * only.num_launches
    assert (same.seed, same.plan) == (5, PLAN)
    assert same.base.python == same.head.python == sys.version.split()[0]
    assert same.base.packages == same.head.packages
    assert "pytest-benchmark" in same.base.packages


def test_the_instrument_is_measured_beside_the_cells(same: GateReport) -> None:
    """A second copy of base and a frozen workload are in the traces and in the report."""
    traces = {trace.name: trace for trace in same.traces}
    assert traces.keys() == {NAP, CONTROL}
    # The first launch finds out which cells are the cheapest.
    assert [set(one.seconds) for one in traces[NAP].launches[:2]] == [
        {"base", "head"},
        {"base", "head", "again"},
    ]
    assert set(traces[CONTROL].launches[0].seconds) == {"base", "head"}
    assert [one.name for one in same.instrument.again] == [NAP]
    assert same.instrument.control is not None
    assert same.instrument.control.ratio == pytest.approx(1, abs=0.5)
    assert same.instrument.max_idle_share is not None
    assert same.instrument.findings == ()


def test_a_slower_head_fails(mixed: GateReport) -> None:
    """Head's longer nap is red after fresh launches that reproduced it, and says by how much."""
    assert (mixed.verdict, exit_status(mixed)) == (GateVerdict.FAIL, 1)
    assert "1 of 7 cells slower: test_slower;" in mixed.reason
    slower = cell(mixed, "test_slower")
    assert slower.verdict is GateVerdict.FAIL
    assert slower.ratio == pytest.approx(LONG_NAP_S / NAP_S, rel=0.4)
    assert "reproduced in 2 fresh launches" in slower.reason
    (trace,) = (one for one in mixed.traces if one.name == slower.name)
    # At the first look or, where that was not enough, at the second.
    looked = [one.confirms for one in trace.launches].index(True)
    assert looked in PLAN.looks
    assert all(one.confirms for one in trace.launches[looked : looked + PLAN.num_confirming])
    assert cell(mixed, "test_same").verdict is GateVerdict.PASS


def test_a_faster_head_has_improved(tmp_path: Path) -> None:
    """The same two naps the other way round are IMPROVED, which is green."""
    base = write_tree(tmp_path / "base", {"naps.py": naps(LONG_NAP_S)})
    report = gate(base, write_tree(tmp_path / "head"))
    assert (report.verdict, exit_status(report)) == (GateVerdict.IMPROVED, 0)
    assert cell(report, "test_nap").ratio == pytest.approx(NAP_S / LONG_NAP_S, rel=0.4)


def test_a_mark_sets_the_margin(mixed: GateReport) -> None:
    """The suite's own gate mark beats the plan's margin and tolerance."""
    slower, other = cell(mixed, "test_slower"), cell(mixed, "test_same")
    assert (slower.margin, slower.tolerance) == (0.6, 0.95)
    assert (other.margin, other.tolerance) == (PLAN.margin, PLAN.tolerance)


def test_a_test_that_fails_on_head_twice_is_red(mixed: GateReport) -> None:
    """One failure may be chance, two in fresh workers are head's; the assertion is named."""
    assert "2 of 7 cells failed on head: test_fails_on_head, test_skipped_on_head" in mixed.reason
    broken = cell(mixed, "test_fails_on_head")
    assert broken.verdict is GateVerdict.FAIL
    assert "fails on head, in 2 fresh workers: call: assert" in broken.reason
    skipped = cell(mixed, "test_skipped_on_head")
    assert skipped.verdict is GateVerdict.FAIL
    assert "is skipped on head" in skipped.reason
    assert "not today" in skipped.reason


def test_a_test_that_fails_once_is_noted_and_judged(mixed: GateReport) -> None:
    """The launch without it is left out, and the cell is decided by the others."""
    assert cell(mixed, "test_fails_once").verdict is GateVerdict.PASS
    (note,) = (one for one in mixed.notes if "test_fails_once" in one)
    assert note.endswith("failed on head: call: RuntimeError: the first try")


def test_a_flaky_test_is_unknown(mixed: GateReport) -> None:
    """Two failures do not make a FAIL of a test that passed in another worker."""
    flaky = cell(mixed, "test_flaky")
    assert flaky.verdict is GateVerdict.INCONCLUSIVE
    assert "fails on head, in 2 of 3 fresh workers: call: AssertionError: a coin" in flaky.reason


def test_a_failing_test_does_not_end_the_watch(tmp_path: Path) -> None:
    """The only cell fails on head once; the second copy of base is measured all the same."""
    fails_once = """
        from pathlib import Path

        import naps

        TRIED = Path(__file__).with_name("tried")


        def test_nap(benchmark):
            benchmark(naps.nap)
            if not TRIED.exists():
                TRIED.touch()
                raise RuntimeError("the first try")
    """
    head = write_tree(tmp_path / "head", {"suite/test_naps.py": fails_once})
    report = gate(write_tree(tmp_path / "base"), head)
    assert report.verdict is GateVerdict.PASS, report.reason
    (copy,) = report.instrument.again
    assert copy.num_launches >= 1


@pytest.mark.skipif(num_usable_cores() < 2, reason="one CPU, on which all run anyway")
def test_a_head_that_uses_more_threads_may_use_more_cpus(tmp_path: Path) -> None:
    """Base keeps one CPU busy and head two: neither is kept on one."""
    work = """
        import os
        import zlib
        from concurrent.futures import ThreadPoolExecutor

        SECONDS = 0
        BLOCK = bytes(1 << 22)
        CPUS = len(os.sched_getaffinity(0))


        def nap():
            {work}
            {check}
            return SECONDS
    """
    alone = "zlib.crc32(BLOCK)"
    both = "with ThreadPoolExecutor(2) as pool: list(pool.map(zlib.crc32, [BLOCK] * 8))"
    check = "assert len(os.sched_getaffinity(0)) == CPUS, 'kept on one CPU'"
    base = write_tree(tmp_path / "base", {"naps.py": work.format(work=alone, check="")})
    head = write_tree(tmp_path / "head", {"naps.py": work.format(work=both, check=check)})
    report = gate(base, head)
    assert not [note for note in report.notes if "kept on one CPU" in note]
    assert cell(report, "test_nap").num_pairs > 0


def test_a_test_that_fails_on_base_is_unknown(mixed: GateReport) -> None:
    """There is nothing to compare with, which is neither head's fault nor a pass."""
    broken = cell(mixed, "test_fails_on_base")
    assert broken.verdict is GateVerdict.INCONCLUSIVE
    assert "fails on base, so there is nothing to compare with" in broken.reason
    assert "too short a nap" in broken.reason


def test_only_cells_of_both_sides_are_timed(mixed: GateReport) -> None:
    """A cell that base lacks is listed as new, one that head lacks as vanished: that is red."""
    assert mixed.new == ("suite/test_naps.py::test_new",)
    assert mixed.vanished == ("suite/test_naps.py::test_vanished",)
    assert "1 cell vanished: suite/test_naps.py::test_vanished" in mixed.reason
    assert {one.name for one in mixed.cells}.isdisjoint({*mixed.new, *mixed.vanished})
    assert not any("without_a_benchmark" in one.name for one in mixed.cells)


def test_a_cell_may_vanish_by_name(tmp_path: Path) -> None:
    """allow_vanished lets a renamed cell pass; it is listed all the same."""
    gone = "def test_gone(benchmark):\n    benchmark(len, 'x')\n"
    base = write_tree(tmp_path / "base", {"suite/test_gone.py": gone})
    report = gate(base, write_tree(tmp_path / "head"), allow_vanished=("*::test_gone",))
    assert report.verdict is GateVerdict.PASS
    assert report.vanished == ("suite/test_gone.py::test_gone",)


def test_the_seed_decides_the_order_of_the_selected_cells(tmp_path: Path) -> None:
    """One seed gives one order, another seed another; what select leaves out is not measured.

    Time is up after one launch, which decides nothing.
    """
    tree = write_tree(tmp_path, {"suite/test_naps.py": FOUR_CELLS})
    reports = [
        gate(tree, tree, seed=seed, select=("*::test_power[?]",), max_minutes=ONE_LAUNCH)
        for seed in (1, 1, 2)
    ]
    first, again, other = ([trace.name for trace in report.traces] for report in reports)
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)
    assert len(reports[0].cells) == 4
    assert {report.verdict for report in reports} == {GateVerdict.INCONCLUSIVE}
    assert not reports[0].partial


def test_two_environments_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One tree under two Pythons is red where a package got slower, and the package is named."""
    pythons = [
        make_environment(tmp_path / f"environment {version}", version, seconds)
        for version, seconds in (("1.0", NAP_S), ("2.0", LONG_NAP_S))
    ]
    tree = write_tree(
        tmp_path / "tree",
        {"naps.py": "from pace import SECONDS, nap\n", "suite/gate.toml": GATE_TOML},
    )
    monkeypatch.chdir(tree)
    out = tmp_path / "gate.json"
    words = ["gate", "--suite", "suite", "--out", str(out)]
    status = main([*words, "--base-python", str(pythons[0]), "--head-python", str(pythons[1])])
    assert status == 1
    report = read_record(out, GateReport)
    assert report.verdict is GateVerdict.FAIL
    packages = report.base.packages.items() ^ report.head.packages.items()
    assert packages == {("pace", "1.0"), ("pace", "2.0")}
    assert "pace 1.0" in capsys.readouterr().out


SKIPS = """
import pytest
import naps


def test_nap(benchmark):
    benchmark.pedantic(naps.nap, iterations=3)


@pytest.mark.skip(reason="no GPU here")
def test_on_gpu(benchmark):
    benchmark(naps.nap)
"""


def test_a_cell_that_both_sides_skip_is_no_doubt(tmp_path: Path) -> None:
    """It is noted and not compared; what was compared decides."""
    tree = write_tree(tmp_path / "tree", {"suite/test_naps.py": SKIPS})
    report = gate(tree, tree)
    assert report.verdict is GateVerdict.PASS, report.reason
    assert [one.name for one in report.cells] == [NAP]
    assert "suite/test_naps.py::test_on_gpu is skipped on both sides" in " ".join(report.notes)
    only = gate(tree, tree, select=("*::test_on_gpu",))
    assert only.verdict is GateVerdict.INCONCLUSIVE
    assert "No cell was timed" in only.reason


STATS = """
import naps


def test_nap(benchmark):
    benchmark.pedantic(naps.nap, iterations=3)
    assert benchmark.stats.stats.mean < 1
"""


def test_a_function_that_fails_on_head_is_not_bases_fault(tmp_path: Path) -> None:
    """Base's test goes on to look at its figures, although no pair was ever taken."""
    files = {"suite/test_naps.py": STATS}
    base = write_tree(tmp_path / "base", files)
    head = write_tree(tmp_path / "head", {**files, "naps.py": "def nap():\n    return 1 / 0\n"})
    report = gate(base, head)
    assert report.verdict is GateVerdict.FAIL, report.reason
    assert "fails on head" in cell(report, "test_nap").reason
    assert "ZeroDivisionError" in cell(report, "test_nap").reason


EXCLUSIVE = """
import fcntl
from pathlib import Path

import naps
import pytest


@pytest.fixture
def port():
    with Path({lock!r}).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


def test_nap(benchmark, port):
    benchmark.pedantic(naps.nap, iterations=3)
"""


def test_a_test_that_wants_the_machine_alone_is_no_fail(tmp_path: Path) -> None:
    """Base holds what head wants, too: that is the gate's own doing, and is told."""
    suite = EXCLUSIVE.format(lock=str(tmp_path / "lock"))
    tree = write_tree(tmp_path / "tree", {"suite/test_naps.py": suite})
    report = gate(tree, tree)
    assert report.verdict is GateVerdict.INCONCLUSIVE, report.reason
    assert "fails on head, beside base's worker and passes alone" in cell(report, "test_nap").reason


def test_a_suite_that_stops_at_the_first_failure_does_not_stop_the_gate(tmp_path: Path) -> None:
    """`-x` in its settings would end a worker; the other cell is measured all the same."""
    files = {"pytest.ini": "[pytest]\naddopts = -x\n", "suite/test_naps.py": FOUR_CELLS}
    base = write_tree(tmp_path / "base", files)
    fails = FOUR_CELLS.replace("benchmark(pow, 2, 500)", "assert not benchmark(pow, 2, 500)")
    head = write_tree(tmp_path / "head", {**files, "suite/test_naps.py": fails})
    report = gate(base, head)
    assert (report.verdict, report.partial) == (GateVerdict.FAIL, False), report.reason
    assert {one.name.split("::")[1]: one.num_pairs > 0 for one in report.cells} == {
        "test_other": False,
        **{f"test_power[{power}]": True for power in range(4)},
    }


@pytest.mark.parametrize("words", [(), ("--allow-inconclusive",)], ids=["strict", "allowing"])
def test_a_run_that_cannot_judge_time_is_unreliable(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    """Base's worker computes while head is timed: no side is blamed, and no option allows it."""
    repo = write_repository(tmp_path / "repository", {"naps.py": SPIN})
    (repo / "naps.py").write_text(SPIN.replace("threading.Thread", "# "))
    monkeypatch.chdir(repo)
    out = tmp_path / "gate.json"
    rules = ("--suite", SUITE, "--minutes", str(ONE_LAUNCH), "--out", str(out))
    assert main(["gate", "--base", "HEAD", *rules, *words]) == 3
    printed = capsys.readouterr().out
    report = read_record(out, GateReport)
    assert (report.verdict, report.partial) == (GateVerdict.UNRELIABLE, False)
    assert report.reason.startswith("This run cannot judge time, so it blames neither side: ")
    assert "look for background threads in the suite" in report.reason
    assert "INSTRUMENT UNRELIABLE" in printed
    assert cell(report, "test_nap").num_pairs > 0


@pytest.mark.parametrize(
    ("words", "status"), [((), 3), (("--allow-inconclusive",), 0)], ids=["strict", "allowing"]
)
def test_a_run_that_could_not_tell_may_be_allowed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
) -> None:
    """A single launch decides nothing: exit 3, and 0 where the user said so; the verdict stays."""
    monkeypatch.chdir(write_repository(tmp_path / "repository"))
    rules = ("--suite", SUITE, "--minutes", str(ONE_LAUNCH))
    assert main(["gate", "--base", "HEAD", *rules, "--format", "json", *words]) == status
    report = from_json(capsys.readouterr().out.encode(), GateReport, "standard output")
    assert (report.verdict, report.partial) == (GateVerdict.INCONCLUSIVE, False)
    assert cell(report, "test_nap").num_pairs > 0


def test_a_defect_of_the_gate_is_no_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's status of an exception is 1, which CI would read as a slower head."""

    def break_down(_job: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("indoor.cli.gate.run_gate", break_down)
    monkeypatch.chdir(write_tree(tmp_path / "tree"))
    assert main(["gate", "--base", "HEAD", "--suite", "suite"]) == 3
    told = capsys.readouterr()
    assert "it blames nobody" in told.out
    assert "ZeroDivisionError: a defect" in told.err


def test_a_python_that_cannot_be_looked_at_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and a line that says why, as for one that is not there."""
    monkeypatch.chdir(write_tree(tmp_path / "tree"))
    for name, why in (("a" * 300, "File name too long"), ("none", "there is no such file")):
        assert main(["gate", "--base-python", name, "--suite", "suite"]) == 2
        assert f"{name}: {why}; expected the python of" in capsys.readouterr().err


def test_accept_counts_for_every_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for one whose mark or settings accept another rung, whose report may advise it."""
    jobs: list[GateJob] = []

    def refuse(job: GateJob) -> None:
        jobs.append(job)
        raise IndoorError("enough")

    monkeypatch.setattr("indoor.cli.gate.run_gate", refuse)
    tree = write_tree(tmp_path / "tree")
    (tree / "suite" / "gate.toml").write_text('[[cells]]\nglob = "*nap*"\naccepted = 0.05\n')
    monkeypatch.chdir(tree)
    words = ["gate", "--base-python", sys.executable, "--suite", "suite"]
    assert main([*words, "--accept", "10%"]) == 2
    rules = [rules_for(jobs[0].config, name, {"accepted": 0.05}) for name in ("test_nap", "other")]
    assert [one.accepts for one in rules] == [0.1, 0.1]


def test_accept_below_the_first_tolerance_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else it would be raised to that without a word."""
    monkeypatch.chdir(write_tree(tmp_path / "tree"))
    words = ["gate", "--base-python", sys.executable, "--suite", "suite"]
    assert main([*words, "--accept", "1%"]) == 2
    assert "--accept 0.01 lies below the first tolerance, 0.03; expected" in capsys.readouterr().err


def make_environment(folder: Path, version: str, seconds: float) -> Path:
    """Make a virtual environment with this one's packages and a small one; return its Python."""
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (packages / "present.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    (packages / "pace.py").write_text(naps(seconds))
    metadata = packages / f"pace-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: pace\nVersion: {version}\n")
    return folder / "bin" / "python"
