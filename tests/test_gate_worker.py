"""Launches of real workers on suites that use all that pytest-benchmark offers."""

import importlib.util
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from gate_trees import (
    LEAN,
    NAP,
    PLAN,
    config,
    launch_rules,
    own_temporary_files,
    workers,
    write_tree,
)

from indoor.gate.decide.instrument import MAX_IDLE_SHARE, judge_instrument
from indoor.gate.sides.setup import GateJob, open_sides
from indoor.gate.worker import (
    CONTROL,
    Gauge,
    LaunchOutcome,
    LaunchRules,
    collect_cells,
    run_launch,
)
from indoor.gate.worker.arms import Arm

FEATURES = """
import time

import pytest

calls = []
made = []
ended = []


def work(*numbers):
    calls.append(numbers)
    return sum(numbers)


@pytest.fixture(autouse=True)
def fresh():
    for told in (calls, made, ended):
        told.clear()


def test_call(benchmark):
    assert benchmark(work, 1, 2) == 3
    assert set(calls) == {(1, 2)}


def test_decorator(benchmark):
    @benchmark
    def result():
        return work(3)

    assert result == 3


def test_setup_and_teardown(benchmark):
    def setup():
        made.append(len(made))
        return (made[-1],), {}

    result = benchmark.pedantic(work, setup=setup, teardown=ended.append, rounds=3)
    assert [call[0] for call in calls] == made == ended
    assert result == made[-1]
    assert len(made) >= 10


def test_setup_that_returns_nothing(benchmark):
    benchmark.pedantic(work, args=(5,), setup=lambda: made.append(1), rounds=3)
    assert len(made) == len(calls)


def test_pedantic_iterations(benchmark):
    benchmark.pedantic(work, args=(1,), kwargs={}, iterations=7, rounds=2, warmup_rounds=1)
    assert benchmark.stats.iterations == 7
    assert len(calls) % 7 == 1  # one more for the result


def test_the_result_is_the_last_calls(benchmark):
    result = benchmark(lambda: calls.append(1) or len(calls))
    assert result == len(calls)


def test_stats(benchmark):
    benchmark(time.sleep, 0.006)
    assert benchmark.stats.stats.rounds == 5
    assert 0.006 <= benchmark.stats.stats.min <= benchmark.stats.stats.max
    assert benchmark.stats["min"] == benchmark.stats.stats.min


def test_extra_info(benchmark):
    benchmark.extra_info["numbers"] = 2
    benchmark.group = "sums"
    benchmark(work, 1, 2)
    assert benchmark.extra_info == {"numbers": 2}
    assert benchmark.stats.group == "sums"


class TestMethod:
    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.benchmark(group="methods", max_time=0.1)
    def test_parametrized(self, benchmark, number):
        assert benchmark(work, number) == number


def test_twice(benchmark):
    benchmark(work, 1)
    benchmark(work, 2)


def test_never(benchmark):
    work(1)


def test_skips(benchmark):
    pytest.skip("not here")


def test_fails_before(benchmark):
    raise RuntimeError("no data")


def test_function_fails(benchmark):
    benchmark(int, "one")


@pytest.fixture
def fragile():
    yield
    raise RuntimeError("teardown broke")


def test_fails_after(benchmark, fragile):
    benchmark(work, 1)
"""

LINGERS = """
import hashlib
import threading
import time


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        hashlib.pbkdf2_hmac("sha256", b"key", b"salt", 100)


def work():
    threading.Thread(target=spin, args=(0.03,)).start()
    spin(0.006)


def test_lingers(benchmark):
    benchmark(work)
"""

WEAVE = """
import test_features


def test_weave(benchmark_weave):
    benchmark_weave("test_features.work")
    assert test_features.work(4) == 4
"""

KEEP = """
from pathlib import Path


def work():
    for _ in range({repeats}):
        sum(range(1000))


def test_iterations(benchmark):
    benchmark(work)
    with (Path(__file__).parents[1] / "iterations").open("a") as file:
        file.write(f"{{benchmark.stats.iterations}} ")
"""
ITERATIONS = "suite/test_keep.py::test_iterations"

SPIN = """
import hashlib
import threading
import time

SECONDS = 0.01


def spin():
    while True:  # outside the interpreter's lock, as a pool of threads does
        hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)


def nap():
    time.sleep(SECONDS)
    return SECONDS


threading.Thread(target=spin, daemon=True).start()
"""

IMPATIENT = """
import time

import pytest


@pytest.fixture
def slow():
    time.sleep(1.3)


@pytest.mark.timeout(2)
def test_impatient(benchmark, slow):
    benchmark(time.sleep, 0.01)
"""

BREAKS = """
import os
import time
from pathlib import Path

CPUS = os.sched_getaffinity(0)


def work():
    if "{side}" in Path(__file__).parts:
        raise RuntimeError("broken")
    time.sleep(0.005)


def test_1_breaks(benchmark):
    benchmark(work)


def test_2_has_all_cpus(benchmark):
    assert os.sched_getaffinity(0) == CPUS
    benchmark(time.sleep, 0.005)
"""

WORKING = (
    "test_call",
    "test_decorator",
    "test_setup_and_teardown",
    "test_setup_that_returns_nothing",
    "test_pedantic_iterations",
    "test_the_result_is_the_last_calls",
    "test_stats",
    "test_extra_info",
    "TestMethod::test_parametrized[1]",
    "TestMethod::test_parametrized[2]",
)

BROKEN = {
    "test_twice": ("failed", "Fixture can only be used once"),
    "test_never": ("untimed", "passed without calling benchmark"),
    "test_skips": ("skipped", "not here"),
    "test_fails_before": ("failed", "call: RuntimeError: no data"),
    "test_function_fails": ("failed", "call: ValueError: invalid literal"),
    "test_fails_after": ("failed", "teardown: RuntimeError: teardown broke"),
}


@dataclass(frozen=True)
class Stand:
    """Two trees and all that a launch needs."""

    arms: tuple[Arm, Arm]
    rules: LaunchRules

    def cells(self) -> list[str]:
        """Return base's cells."""
        return list(collect_cells(self.arms[0], self.rules).cells)

    def launch(
        self,
        cells: list[str],
        gauges: Mapping[str, Gauge] | None = None,
        number: int = 1,
        share: float = 1.0,
    ) -> LaunchOutcome:
        """Measure the cells on both sides."""
        return run_launch(
            self.arms,
            dict.fromkeys(cells, ("base", "head")),
            gauges or {},
            self.rules,
            number=number,
            confirms=False,
            order=random.Random(number),
            share=share,
        )


@contextmanager
def stand(
    base: Path, head: Path, arguments: tuple[str, ...] = (), *, limits: bool = False
) -> Iterator[Stand]:
    """Lay two trees ready for launches, with the plugin that limits a test's time or without."""
    rules = config(arguments=LEAN[: LEAN.index("no:timeout") - 1]) if limits else config()
    job = GateJob(start=base, base_root=base, head_root=head, config=rules, arguments=arguments)
    with open_sides(job) as sides:
        yield Stand((sides.arm("base"), sides.arm("head")), launch_rules(sides))


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of this module's temporary files; no worker may stay."""
    with own_temporary_files(tmp_path_factory.mktemp("temporary")) as folder:
        yield folder
        assert workers(folder) == []


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite that uses everything, and that pytest-benchmark was told to save and compare."""
    files = {
        "pytest.ini": "[pytest]\naddopts = --benchmark-autosave --benchmark-save=run "
        "--benchmark-compare --benchmark-compare-fail=mean:5% --benchmark-sort=name\n",
        "suite/test_features.py": FEATURES,
        "suite/test_weave.py": WEAVE,
    }
    return write_tree(tmp_path_factory.mktemp("features"), files)


@pytest.fixture(scope="module")
def launched(tree: Path) -> LaunchOutcome:
    """One launch of all of that suite's cells."""
    with stand(tree, tree) as two:
        return two.launch(two.cells())


@pytest.mark.parametrize("name", WORKING)
def test_what_a_suite_uses_keeps_working(launched: LaunchOutcome, name: str) -> None:
    """The test's own assertions hold under the gate, and its rounds come in pairs."""
    cell = f"suite/test_features.py::{name}"
    assert [one.message for one in launched.failures if one.cell == cell] == []
    seconds = launched.traces[cell].seconds
    assert {arm: len(values) for arm, values in seconds.items()} == {"base": 5, "head": 5}
    assert all(value > 0 for values in seconds.values() for value in values)


@pytest.mark.parametrize(("share", "num_pairs"), [(1.0, 2), (2.0, 4), (3.0, 5)])
def test_open_cells_may_get_more_pairs(tmp_path: Path, share: float, num_pairs: int) -> None:
    """Two pairs a launch become four, but never more than the plan's five."""
    tree = write_tree(tmp_path / "tree")
    with stand(tree, tree) as two:
        gauges = {NAP: Gauge(iterations=3, num_pairs=2, pair_s=0.01)}
        outcome = two.launch([NAP], gauges, share=share)
    assert len(outcome.traces[NAP].seconds["head"]) == num_pairs


def test_weaving_keeps_working(launched: LaunchOutcome) -> None:
    """benchmark_weave times a function wherever it is called from."""
    if importlib.util.find_spec("aspectlib") is None:
        pytest.skip("weaving needs aspectlib, which pytest-benchmark[aspect] brings")
    assert [one for one in launched.failures if "weave" in one.cell] == []
    assert len(launched.traces["suite/test_weave.py::test_weave"].seconds["head"]) == 5


@pytest.mark.parametrize("name", BROKEN)
def test_what_measures_nothing_is_told(launched: LaunchOutcome, name: str) -> None:
    """Both arms' trouble is told with its reason, and no time of such a test is kept."""
    cell = f"suite/test_features.py::{name}"
    outcome, message = BROKEN[name]
    told = [one for one in launched.failures if one.cell == cell]
    assert [(one.arm, one.outcome) for one in told] == [("base", outcome), ("head", outcome)]
    assert all(message in one.message for one in told)
    assert cell not in launched.traces


def test_nothing_is_saved(launched: LaunchOutcome, tree: Path) -> None:
    """What the suite's own configuration says of saving and comparing is not done."""
    assert launched.traces
    # pytest-benchmark makes the folder of its storage in any case.
    assert list((tree / ".benchmarks").rglob("*")) == []


def test_the_control_runs_once_a_launch(launched: LaunchOutcome) -> None:
    """The frozen workload is timed in base's and head's workers, even if the first cell fails."""
    seconds = launched.traces[CONTROL].seconds
    assert seconds.keys() == {"base", "head"}
    assert len(seconds["base"]) == len(seconds["head"]) == 12


def test_iterations_are_found_on_base_and_shared(tmp_path: Path) -> None:
    """Head repeats its function as often as base does, however slow it is; launches agree."""
    base = write_tree(tmp_path / "base", {"suite/test_keep.py": KEEP.format(repeats=1)})
    head = write_tree(tmp_path / "head", {"suite/test_keep.py": KEEP.format(repeats=4)})
    with stand(base, head) as two:
        first = two.launch([ITERATIONS])
        second = two.launch([ITERATIONS], first.gauges, number=2)
    iterations = first.gauges[ITERATIONS].iterations
    assert iterations > 20
    assert second.gauges == {}
    for tree in (base, head):
        assert (tree / "iterations").read_text().split() == [str(iterations)] * 2
    seconds = second.traces[ITERATIONS].seconds
    # Of one iteration: 1,000 additions take from 2 to 200 us anywhere.
    assert 2e-6 < min(seconds["base"]) < 2e-4
    assert min(seconds["head"]) > 2 * min(seconds["base"])


def test_sleeping_workers_are_idle(launched: LaunchOutcome) -> None:
    """A worker that waits for its turn uses no CPU time, as the system tells."""
    shares = {n: [one.idle_share] for n, one in launched.traces.items() if n != CONTROL}
    assert [None] not in shares.values()
    assert max(shares.values()) < [0.02]
    assert judge_instrument({}, None, shares, PLAN).findings == ()


def test_a_worker_that_spins_while_it_waits_is_found(tmp_path: Path) -> None:
    """A background thread of base that takes a core's time from head is a finding."""
    quiet = write_tree(tmp_path / "head", {"naps.py": SPIN.replace("threading.Thread", "# ")})
    spinning = write_tree(tmp_path / "base", {"naps.py": SPIN})
    # Other work on the machine takes time from the spinning thread: the best of three launches.
    with stand(spinning, quiet) as two:
        shares = [two.launch([NAP]).traces[NAP].idle_share or 0.0 for _ in range(3)]
    share = max(shares)
    assert share > 0.1
    (finding,) = judge_instrument({}, None, {NAP: [share]}, PLAN).findings
    assert "background threads" in finding


def test_a_turn_waits_for_threads_that_spin_on(tmp_path: Path) -> None:
    """A team of threads that spins a while after its work costs the other side nothing."""
    tree = write_tree(tmp_path, {"suite/test_lingers.py": LINGERS})
    cell = "suite/test_lingers.py::test_lingers"
    # Other work on the machine makes the threads spin for longer: the best of three launches.
    with stand(tree, tree) as two:
        shares = [two.launch([cell]).traces[cell].idle_share for _ in range(3)]
    assert None not in shares
    assert min(share for share in shares if share is not None) <= MAX_IDLE_SHARE
    # It is 0.4 in every launch where a turn begins at once.


def test_waiting_for_ones_turn_is_no_timeout(tmp_path: Path) -> None:
    """A test's own limit of 2 s holds for base alone, not with head's start of 1.3 s."""
    pytest.importorskip("pytest_timeout", reason="pytest-timeout is not installed")
    tree = write_tree(tmp_path, {"suite/test_impatient.py": IMPATIENT})
    cell = "suite/test_impatient.py::test_impatient"
    with stand(tree, tree, limits=True) as two:
        outcome = two.launch([cell])
    assert outcome.failures == []
    assert len(outcome.traces[cell].seconds["base"]) == 5


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="a process is bound to one of several CPUs",
)
def test_a_round_that_raises_leaves_no_worker_bound(tmp_path: Path) -> None:
    """A test of one thread fails in a round; the next one's code may use all CPUs again."""
    base, head = (
        write_tree(tmp_path / side, {"suite/test_breaks.py": BREAKS.format(side="head")})
        for side in ("base", "head")
    )
    with stand(base, head) as two:
        names = [name for name in two.cells() if "test_breaks" in name]
        gauges = {name: Gauge(iterations=1, num_pairs=2, pair_s=0.01) for name in names}
        outcomes = [two.launch(names, gauges, number=number) for number in (3, 4)]
    assert {tuple(one.traces) for one in outcomes} == {(CONTROL, names[1])}
    assert {failure.cell for one in outcomes for failure in one.failures} == {names[0]}


@pytest.mark.parametrize("words", ["-nauto --maxprocesses=4", "-n2 --dist=loadfile", "-f -d"])
def test_tests_stay_in_the_workers_process(tmp_path: Path, words: str) -> None:
    """A suite whose addopts hand its tests to pytest-xdist is timed in the worker itself."""
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    tree = write_tree(tmp_path, {"pytest.ini": f"[pytest]\naddopts = {words}\n"})
    with stand(tree, tree, ("-p", "xdist", "-p", "xdist.looponfail")) as two:
        outcome = two.launch([NAP])
    assert outcome.failures == []
    assert len(outcome.traces[NAP].seconds["head"]) == PLAN.min_pairs


def test_waiting_for_ones_turn_lets_no_fault_handler_end_the_worker(tmp_path: Path) -> None:
    """Pytest's own limit of 2 s, which ends the process, holds for base without head's start."""
    ini = "[pytest]\nfaulthandler_timeout = 2\nfaulthandler_exit_on_timeout = true\n"
    files = {"pytest.ini": ini, "suite/test_impatient.py": IMPATIENT}
    tree = write_tree(tmp_path, files)
    cell = "suite/test_impatient.py::test_impatient"
    with stand(tree, tree) as two:
        outcome = two.launch([cell])
    assert outcome.failures == []
    assert len(outcome.traces[cell].seconds["base"]) == 5
