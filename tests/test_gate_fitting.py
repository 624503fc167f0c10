"""What a gate leaves out where its minutes hold too few launches of all cells."""

import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from gate_trees import NAP, cell, config, gate, own_temporary_files, write_tree

from indoor.gate import launches
from indoor.gate.fitting import cells_without_room
from indoor.gate.limits import rules_for
from indoor.gate.records import GateReport, GateVerdict, LaunchTrace
from indoor.gate.settings import PlanRules
from indoor.gate.sides.setup import GateJob
from indoor.gate.tally import Tally
from indoor.gate.worker import Gauge, LaunchOutcome, gauge, launch

LONG = """
import time
from pathlib import Path


def nap():
    with Path(__file__).with_name("naps").open("a") as file:
        file.write("x")
    time.sleep(0.3)


def test_long(benchmark):
    benchmark(nap)


def test_endless(benchmark):
    benchmark(time.sleep, 600)
"""

LEFT_OUT = {
    "test_long": "it takes about 3 s of a launch",
    "test_endless": "it takes more than 1 s of a launch",
}


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This module's gates have temporary files of their own."""
    with own_temporary_files(tmp_path_factory.mktemp("temporary")):
        yield


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Base and head with a test of long rounds and one that does not end."""
    folder = tmp_path_factory.mktemp("long")
    return {
        side: write_tree(folder / side, {"suite/test_long.py": LONG}) for side in ("base", "head")
    }


@pytest.fixture(scope="module")
def report(trees: dict[str, Path]) -> GateReport:
    """A gate without a change whose launches are to take no more than 2 s."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (gauge, launch):
            patch.setattr(module, "longest_launch_s", lambda _plan: 2.0)
        return gate(trees["base"], trees["head"], min_pairs=4, looks=(2, 60))


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_cell_too_costly_for_the_minutes_is_left_out(report: GateReport, name: str) -> None:
    """It is undecided, and says what it takes and what would do."""
    found = cell(report, name)
    assert found.verdict is GateVerdict.INCONCLUSIVE
    assert found.reason.startswith(f"left out: {LEFT_OUT[name]}, and 1 minutes")
    assert "--minutes" in found.advice
    assert "--deselect" in found.advice


def test_what_is_left_out_costs_no_other_cell(report: GateReport) -> None:
    """The others are decided, and the run is whole."""
    assert not report.partial
    assert cell(report, NAP.partition("::")[2]).num_launches >= 2


def test_what_is_left_out_is_not_run_to_its_end(
    report: GateReport, trees: Mapping[str, Path]
) -> None:
    """Base tells what a round takes by two of them, and head's test is not even begun."""
    assert report.cells
    assert len((trees["base"] / "suite" / "naps").read_text()) == 2
    assert not (trees["head"] / "suite" / "naps").exists()


@pytest.mark.parametrize(
    ("costs", "fixed_s", "left_s", "num_launches", "without"),
    [
        ({"a": 1.0, "b": 8.0}, 1.0, 30.0, 3, ()),
        ({"a": 1.0, "b": 8.1}, 1.0, 30.0, 3, ("b",)),
        ({"c": 5.0, "a": 1.0, "b": 4.0}, 1.0, 12.0, 2, ("c",)),
        ({"c": 5.0, "a": 1.0, "b": 4.0}, 0.0, 6.0, 3, ("b", "c")),
        ({"a": 1.0}, 6.0, 6.0, 3, ()),
        ({"a": 1.0}, 1.0, -1.0, 3, ()),
        ({}, 1.0, 6.0, 3, ()),
    ],
)
def test_the_costliest_have_no_room(
    costs: Mapping[str, float],
    fixed_s: float,
    left_s: float,
    num_launches: int,
    without: tuple[str, ...],
) -> None:
    """As many cheap cells stay as fit the launches that are to come; none goes where none fits."""
    assert cells_without_room(costs, fixed_s, left_s, num_launches) == without


COSTS = {"cheap": 1.0, "dear": 20.0, "dear and slower": 20.0}
STARTING_S = 4.0


def measured(monkeypatch: pytest.MonkeyPatch, minutes: float) -> tuple[Tally, list[set[str]]]:
    """Measure cells of those costs by a clock of our own; return the tally and each launch's cells.

    Rounds are all alike, but for the cell that head makes slower by half.
    """
    now = [0.0]
    asked: list[set[str]] = []

    def run(
        _arms: Any,
        cells: Mapping[str, Any],
        known: Mapping[str, Gauge],
        _rules: Any,
        *,
        number: int,
        confirms: bool,
        **_: Any,
    ) -> LaunchOutcome:
        asked.append(set(cells))
        fresh = {
            name: Gauge(iterations=1, num_pairs=4, pair_s=COSTS[name] / 5, num_discarded=0)
            for name in cells
            if name not in known
        }
        now[0] += STARTING_S + sum(COSTS[name] for name in cells)
        once_s = [COSTS[name] * 0.4 for name in fresh]
        now[0] += sum(once_s)
        traces = {
            name: LaunchTrace(
                launch=number,
                confirms=confirms,
                seconds={"base": (1.0,) * 4, "head": (1.5 if "slower" in name else 1.0,) * 4},
                idle_share=None,
            )
            for name in cells
        }
        return LaunchOutcome(traces=traces, gauges=fresh, once_s=once_s)

    monkeypatch.setattr(launches, "run_launch", run)
    monkeypatch.setattr(launches, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    plan = PlanRules(max_minutes=minutes)
    job = GateJob(start=Path(), config=config(**vars(plan)))
    tally = Tally(job)
    tally.rules = {name: rules_for(job.config, name, {}) for name in COSTS}
    launches.measure_cells(job, (None, None, None), None, tally)  # type: ignore[arg-type]
    return tally, asked


def test_dear_cells_go_where_too_few_launches_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first launch there is time for one more of all: the cheap one gets its four."""
    tally, asked = measured(monkeypatch, minutes=142 / 60)
    assert asked[0] == COSTS.keys()
    assert all("dear" not in cells for cells in asked[1:])
    assert sum("cheap" in cells for cells in asked) >= 4
    assert "left out: it takes about 20.0 s of a launch" in tally.broken_cells["dear"].reason
    assert any("dear is left out" in note for note in tally.report().notes)


def test_a_dear_cell_that_looks_slower_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found is worth its time."""
    tally, asked = measured(monkeypatch, minutes=142 / 60)
    assert all("dear and slower" in cells for cells in asked[1:])
    assert set(tally.broken_cells) == {"dear"}


def test_the_costliest_are_named_where_launches_are_too_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever is to choose fewer cells hears which ones take the time."""
    tally, _ = measured(monkeypatch, minutes=142 / 60)
    (note,) = (note for note in tally.report().notes if "first look" in note)
    assert note.endswith("fewer cells (select); the costliest: dear and slower (20 s)")


def test_nothing_goes_where_all_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four launches of 45 s are enough to know something."""
    tally, asked = measured(monkeypatch, minutes=4)
    assert asked[1] == COSTS.keys()
    assert tally.broken_cells == {}
