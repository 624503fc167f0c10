"""Whole gates on suites as they exist: ids with paths, cold calls, frozen clocks, hanging tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_trees import (
    LONG_NAP_S,
    NAP_S,
    SUITE,
    cell,
    gate,
    leaving_nothing,
    write_tree,
)

from indoor.gate.records import GateReport, GateVerdict

KINDS = """
import asyncio
import sys
import time
from pathlib import Path

import pytest

import naps

ROOT = Path(__file__).resolve().parents[1]
PAUSE = time.sleep
calls = []


def nap():
    calls.append(1)
    PAUSE(0.002)


async def nap_later():
    nap()


def nap_at_last():
    yield nap()


class Thing:
    pass


@pytest.mark.parametrize("path", [ROOT / "naps.py", ROOT], ids=str)
def test_path(benchmark, path):
    benchmark.pedantic(nap, rounds=5)


@pytest.mark.parametrize("thing", [Thing(), Thing()], ids=repr)
def test_address(benchmark, thing):
    benchmark.pedantic(nap, rounds=5)


def test_cold(benchmark):
    first_calls = []
    benchmark.pedantic(lambda: first_calls.append(PAUSE(0.03)))
    assert len(first_calls) == 1


def test_bears_three(benchmark):
    numbers = iter(range(3))
    benchmark.pedantic(lambda: nap() or next(numbers), rounds=3)


def test_never(benchmark):
    nap()


def test_coroutine(benchmark):
    benchmark(nap_later)


def test_generator(benchmark):
    benchmark.pedantic(nap_at_last, rounds=3, iterations=2)


@pytest.mark.benchmark(group="whole")
def test_whole(tmp_path):
    assert tmp_path.is_dir()
    nap()


@pytest.mark.gate(margin=0.6)
def test_no_cell():
    nap()


def freeze(monkeypatch):
    # As freezegun does: wherever a module holds a clock, it stands still from now on.
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
        clock = getattr(time, name)
        for module in list(sys.modules.values()):
            for attribute, value in list(vars(module).items()):
                if value is clock:
                    monkeypatch.setattr(module, attribute, lambda: 7.0)


def test_frozen(benchmark, monkeypatch):
    freeze(monkeypatch)
    benchmark(nap)


@pytest.mark.benchmark(timer=lambda: 7.0)
def test_own_frozen_clock(benchmark):
    benchmark(nap)
"""

FREEZES_ALL = """
import time


def stopped():
    return 7.0


time.perf_counter = stopped
"""

COMPARED = (
    "test_path[{root}/naps.py]",
    "test_path[{root}]",
    "test_address[<test_kinds.Thing object at 0x>]",
    "test_address[<test_kinds.Thing object at 0x>]#2",
    "test_cold",
    "test_bears_three",
    "test_whole",
    "test_frozen",
)

NOT_COMPARED = {
    "test_never": "the test passed without calling benchmark",
    "test_coroutine": "its target returned an awaitable",
    "test_generator": "its target returned a generator",
    "test_own_frozen_clock": "its clock stood still",
}

WORSE = """
import os
import random
import time

import pytest

SIDE = {side!r}
calls = []


def nap():
    time.sleep({nap})


def first_nap():
    calls.append(1)
    time.sleep({first} if len(calls) == 1 else {nap})


def test_first_call(benchmark):
    benchmark.pedantic(first_nap)


@pytest.mark.parametrize("number", [1, 2], ids=lambda _: f"{{random.random():.12f}}")
def test_random(benchmark, number):
    benchmark(nap)


def test_hangs(benchmark):
    benchmark(time.sleep, 600 if SIDE == "head" else {nap})


def test_dies(benchmark):
    benchmark(lambda: nap() if SIDE == "base" else os._exit(5))


def test_dies_before(benchmark):
    if SIDE == "head":
        os._exit(5)
    benchmark(nap)


def test_not_called_any_more(benchmark):
    if SIDE == "base":
        benchmark(nap)


async def nap_later():
    nap()


def test_now_a_coroutine(benchmark):
    benchmark(nap if SIDE == "base" else nap_later)
"""


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of this module's temporary files, in which no gate may leave anything."""
    with leaving_nothing(tmp_path_factory.mktemp("temporary")) as folder:
        yield folder


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> GateReport:
    """A gate without a change, of all kinds of tests, on two trees in different folders.

    Their conftest stops the clock for good.
    """
    root = tmp_path_factory.mktemp("kinds")
    files = {"suite/test_kinds.py": KINDS, "suite/conftest.py": FREEZES_ALL}
    return gate(write_tree(root / "one", files), write_tree(root / "two", files), looks=(2, 4))


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> GateReport:
    """A gate on a head in which each test got worse in its own way."""
    root = tmp_path_factory.mktemp("worse")
    trees = {}
    for side, first in (("base", NAP_S), ("head", LONG_NAP_S)):
        source = WORSE.format(side=side, nap=NAP_S, first=first)
        trees[side] = write_tree(root / side, {"suite/test_worse.py": source})
    return gate(trees["base"], trees["head"], hang_s=2.0, looks=(2, 5), alpha_fail=0.49)


def test_no_kind_of_test_keeps_a_gate_from_green(kinds: GateReport) -> None:
    """Identical code passes, whatever kinds of tests its suite holds."""
    assert kinds.verdict is GateVerdict.PASS, kinds.reason
    assert (kinds.vanished, kinds.new, kinds.checks) == ((), (), ())


@pytest.mark.parametrize("name", COMPARED)
def test_what_can_be_timed_is_compared(kinds: GateReport, name: str) -> None:
    """Its ids are the same in both trees, and its verdict rests on pairs."""
    found = cell(kinds, name)
    assert found.verdict is GateVerdict.PASS, found.reason
    assert found.num_pairs > 0


@pytest.mark.parametrize("name", NOT_COMPARED)
def test_what_times_nothing_is_named(kinds: GateReport, name: str) -> None:
    """It leaves the report's cells, and a note says why."""
    assert not [one for one in kinds.cells if one.name.endswith(name)]
    (note,) = [note for note in kinds.notes if f"::{name} " in note]
    assert "so it was not compared" in note
    assert NOT_COMPARED[name] in note


def pairs_a_launch(report: GateReport, name: str) -> set[int]:
    """Return how many pairs the cell's launches have."""
    (trace,) = [trace for trace in report.traces if trace.name.endswith(f"::{name}")]
    return {len(launch.seconds["head"]) for launch in trace.launches}


def test_one_cold_round_is_one_first_call_a_launch(kinds: GateReport) -> None:
    """`pedantic(f)` runs f once, in fresh workers, and the report says so."""
    assert pairs_a_launch(kinds, "test_cold") == {1}
    (note,) = [note for note in kinds.notes if "first call" in note]
    assert "test_cold" in note
    assert "warmup_rounds=1" in note


def test_a_target_that_bears_no_more_rounds_has_those(kinds: GateReport) -> None:
    """Three rounds are asked for and no fourth is possible: three pairs a launch."""
    assert pairs_a_launch(kinds, "test_bears_three") == {3}
    assert any("test_bears_three has no more rounds than it asks" in n for n in kinds.notes)


def test_marked_tests_without_the_fixture_are_mentioned(kinds: GateReport) -> None:
    """One that `benchmark` marks is timed as a whole, and one that only `gate` marks is no cell."""
    (whole,) = [note for note in kinds.notes if "timed as a whole" in note]
    assert "test_whole" in whole
    (no_cell,) = [note for note in kinds.notes if "test_no_cell" in note]
    assert "does not ask for benchmark" in no_cell


def test_a_slower_first_call_is_found(worse: GateReport) -> None:
    """Later calls are as fast as before, and nobody asked for them."""
    found = cell(worse, "test_first_call")
    assert found.verdict is GateVerdict.FAIL, found.reason
    assert found.ratio is not None
    assert found.ratio > 2


def test_random_ids_are_a_doubt_and_have_not_vanished(worse: GateReport) -> None:
    """They differ between two collections of one tree, so no cell can be called lost."""
    assert (worse.vanished, worse.new) == ((), ())
    (check,) = [check for check in worse.checks if check.name == "test ids"]
    assert check.verdict is GateVerdict.INCONCLUSIVE
    assert "test_random[" in check.reason
    assert "each collection" in check.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_hangs", "loses its worker on head, in 2 fresh workers: no answer for 2 s"),
        ("test_dies", "loses its worker on head, in 2 fresh workers: ended with exit status 5"),
        ("test_dies_before", "loses its worker on head, in 2 fresh workers: ended with exit"),
        ("test_not_called_any_more", "times nothing on head, in 2 fresh workers"),
        ("test_now_a_coroutine", "times nothing on head, in 2 fresh workers: its target returned"),
    ],
)
def test_what_head_broke_is_its_own_cells_fail(worse: GateReport, name: str, reason: str) -> None:
    """A test that hangs, ends its worker or times nothing any more is red, with its reason."""
    found = cell(worse, name)
    assert found.verdict is GateVerdict.FAIL, found.reason
    assert reason in found.reason


def test_a_lost_worker_costs_no_other_cell(worse: GateReport) -> None:
    """The run is whole, and the cells beside those that hang or die are decided."""
    assert not worse.partial
    assert cell(worse, "test_nap").verdict is GateVerdict.PASS, cell(worse, "test_nap").reason


def test_the_suites_folder_is_where_it_was(kinds: GateReport) -> None:
    """What is taken out of ids is the parameters' matter; files are named as ever."""
    assert all(one.name.startswith(f"{SUITE}/") for one in kinds.cells)
