"""How a launch's time is shared out: by the wall's clock, and among however many cells."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gate_trees import NAP, ONE_LAUNCH, config, gate, launch_rules, own_temporary_files, write_tree

from indoor.gate.settings import PlanRules
from indoor.gate.sides.setup import GateJob, open_sides
from indoor.gate.worker import Gauge, run_launch

COSTLY = """
import time

import pytest


@pytest.mark.parametrize("number", range(4))
def test_costly(benchmark, number):
    benchmark.pedantic(abs, setup=lambda: ((number,), time.sleep(0.05) or {}), rounds=5)


@pytest.mark.parametrize("number", range(4))
def test_torn_down(benchmark, number):
    benchmark.pedantic(abs, (number,), teardown=lambda _: time.sleep(0.05), rounds=5)
"""

PLAN = PlanRules(
    margin=0.5, tolerance=0.9, looks=(2, 3), launch_s=1.0, min_pairs=2, max_minutes=0.1
)
"""Two seconds of a launch are the cells', and one at most is a cell's."""


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This module's gates have temporary files of their own."""
    with own_temporary_files(tmp_path_factory.mktemp("temporary")):
        yield


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite whose rounds cost 0.05 s each beside what is timed."""
    return write_tree(tmp_path_factory.mktemp("costly"), {"suite/test_costly.py": COSTLY})


def gauges(tree: Path, *cells: str) -> dict[str, Gauge]:
    """Return how a launch of the cells measures them."""
    job = GateJob(start=tree, base_root=tree, head_root=tree, config=config())
    with open_sides(job) as sides:
        rules = launch_rules(sides, PLAN)
        names = {f"suite/test_costly.py::{cell}": ("base", "head") for cell in cells}
        arms = (sides.arm("base"), sides.arm("head"))
        outcome = run_launch(
            arms, names, {}, rules, number=1, confirms=False, order=random.Random(0)
        )
    assert not outcome.failures
    for name, trace in outcome.traces.items():
        if name in names:
            assert len(trace.seconds["head"]) == outcome.gauges[name].num_pairs
    return outcome.gauges


@pytest.mark.parametrize("cell", ["test_costly[0]", "test_torn_down[0]"])
def test_what_is_not_timed_counts_for_the_plan(tree: Path, cell: str) -> None:
    """A setup or a teardown takes its time from the launch: five pairs at most, and not forty."""
    (gauge,) = gauges(tree, cell).values()
    assert gauge.pair_s >= 4 * 0.05
    assert PLAN.min_pairs <= gauge.num_pairs <= 5


def test_many_cells_share_what_a_launch_may_cost(tree: Path) -> None:
    """Four cells get half a second each of the two, which are two pairs."""
    found = gauges(tree, *(f"test_costly[{number}]" for number in range(4)))
    assert [gauge.num_pairs for gauge in found.values()] == [2] * 4


@pytest.mark.parametrize(
    ("looks", "minutes", "seconds"), [((6, 10, 16, 24, 36), 12.0, 45.0), ((2, 3), 1.0, 20.0)]
)
def test_the_middle_look_comes_in_time(
    looks: tuple[int, ...], minutes: float, seconds: float
) -> None:
    """Launches of that length come to the middle one of the looks within the minutes."""
    assert replace(PLAN, looks=looks, max_minutes=minutes).cells_s == seconds


def test_too_little_time_for_the_first_look_is_told_with_what_would_do(tmp_path: Path) -> None:
    """Whoever waits need not wait for the end to hear it."""
    tree = write_tree(tmp_path)
    report = gate(tree, tree, max_minutes=ONE_LAUNCH)
    (note,) = (note for note in report.notes if "first look" in note)
    assert "0.0001 minutes hold 1 of the 2" in note
    assert "give it 1 (--minutes), or fewer cells (select)" in note
    assert NAP in {cell.name for cell in report.cells}
