"""What changed on a chain: steps and drifts are found with their commits, and nothing else is."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from history_lines import CELL, kept_gate, kept_lines, name

from bench.studies.history import HistoryRates, draw_gates, rates
from indoor.history.chain import joined, links_of
from indoor.history.changes import find_changes
from indoor.history.records import Change, KeptCommit

GOLDEN = Path(__file__).parent / "golden" / "otava.json"
"""Drawn series, and where Apache Otava 0.8 finds changes in them (`compute_change_points`, p below
0.001, a window of 50); its package brings cloud clients, so its answers are stored."""


def changes(links: list[tuple[int, int, float, float]], **more: float) -> tuple[Change, ...]:
    """What is found on the longest chain of the links."""
    lines = kept_lines(links)
    known = {line.commit: line.subject for line in lines}
    chosen = {"alpha": 0.001, "num_cells": 1, **more}
    return find_changes(joined(links_of(lines, CELL))[0], known, **chosen)  # type: ignore[arg-type]


def noisy(true: list[float], error: float, seed: int = 0) -> list[tuple[int, int, float, float]]:
    """Links between neighbours and, every fourth commit, against the first one."""
    random = np.random.default_rng(seed)
    pairs = [(n - 1, n) for n in range(2, len(true) + 1)]
    pairs += [(1, n) for n in range(4, len(true) + 1, 4)]
    return [
        (base, head, math.exp(true[head - 1] - true[base - 1] + error * random.normal()), error)
        for base, head in pairs
    ]


def test_a_step_is_told_with_its_commit() -> None:
    """Which commit, its subject, by how much, and that one commit alone lies between."""
    true = [0.0] * 12 + [math.log(1.05)] * 18
    (found,) = changes(noisy(true, 0.005))
    assert (found.kind, found.commit, found.after) == ("step", name(13), name(12))
    assert (found.subject, found.num_commits, found.or_with) == ("change 13", 1, ())
    assert found.interval.low < 1.05 < found.interval.high
    assert found.p_value < 1e-6


def test_a_gain_is_told_as_well() -> None:
    """A step downwards is one, its ratio below 1."""
    true = [0.0] * 15 + [math.log(0.95)] * 15
    (found,) = changes(noisy(true, 0.005))
    assert (found.kind, found.commit) == ("step", name(16))
    assert found.ratio == pytest.approx(0.95, abs=0.01)


def test_two_steps_are_told_apart() -> None:
    """Up and down again are two changes, though the ends are alike."""
    true = [0.0] * 10 + [math.log(1.06)] * 10 + [0.0] * 10
    found = changes(noisy(true, 0.005))
    assert [(one.kind, one.commit) for one in found] == [("step", name(11)), ("step", name(21))]


def test_a_slow_drift_is_one_drift() -> None:
    """Ten times +1%, each within the noise of its own gate, is told as one rise of 10%."""
    true = [0.0] * 10 + [n * math.log(1.01) for n in range(1, 11)] + [10 * math.log(1.01)] * 10
    (found,) = changes(noisy(true, 0.01))
    assert found.kind == "drift"
    assert found.after in {name(n) for n in range(8, 14)}
    assert found.commit in {name(n) for n in range(18, 24)}
    assert found.interval.low < 1.01**10 < found.interval.high


def test_commits_between_two_gates_share_the_blame() -> None:
    """Where three commits lie between base and head, any of them may be it, and that is told."""
    links = [(3 * n - 2, 3 * n + 1, 1.1 if n == 6 else 1.0, 0.005) for n in range(1, 12)]
    (found,) = changes(links)
    assert (found.commit, found.after, found.num_commits) == (name(19), name(16), 3)


def test_another_commit_that_explains_as_well_is_named() -> None:
    """With gates against one release alone, a commit that was gated coarsely cannot be excluded."""
    links = [(1, n, 1.05 if n >= 9 else 1.0, 0.005) for n in range(2, 18)]
    links[6] = (1, 8, 1.025, 0.05)
    (found,) = changes(links)
    assert found.commit in {name(8), name(9)}
    assert set(found.or_with) | {found.commit} >= {name(8), name(9)}


def test_less_than_one_percent_is_not_told() -> None:
    """However precise the gates are: what all links' common bias could add up to is no finding."""
    true = [0.0] * 15 + [0.008] * 15
    assert changes(noisy(true, 0.0005)) == ()


def test_a_single_link_is_no_history() -> None:
    """Two commits and one quiet gate hold nothing to be told."""
    assert changes([(1, 2, 1.0, 0.01)]) == ()


def test_more_cells_ask_for_more() -> None:
    """The chance of a false finding is shared by all cells, so each is held to less."""
    links = [(n, n + 1, 1.055 if n == 6 else 1.0, 0.01) for n in range(1, 12)]
    assert len(changes(links)) == 1
    assert changes(links, num_cells=1000) == ()


DRAWN_OTHERWISE = {"an early step": [10], "large steps": [12, 24]}
"""Where the series were drawn to change: Otava finds one more in the first and none in the second,
which is shorter than its window."""


@pytest.mark.parametrize("series", json.loads(GOLDEN.read_text("utf-8")), ids=lambda s: s["name"])
def test_steps_are_where_apache_otava_finds_them(series: dict[str, object]) -> None:
    """Values are gates against one commit of another branch; both find the same steps."""
    values = np.log(np.array(series["values"], dtype=np.float64))
    error = float(1.4826 * np.median(np.abs(np.diff(values)))) / math.sqrt(2)
    lines = [
        KeptCommit(
            commit=name(number),
            position=number,
            subject="",
            gates=(kept_gate("f" * 40, math.exp(value), error),),
        )
        for number, value in enumerate(values, start=1)
    ]
    links, _ = joined(links_of(lines, CELL))
    found = find_changes(links, {}, alpha=0.001, num_cells=1)
    assert [one.kind for one in found] == ["step"] * len(found)
    expected = DRAWN_OTHERWISE.get(str(series["name"]), series["otava"])
    assert [int(one.commit[:4], 16) - 1 for one in found] == expected


CELLS = ("[int8-batch1-threads2]", "[float32-batch1-threads2]")


@pytest.fixture(scope="module")
def drawn() -> HistoryRates:
    """100 histories of 60 commits on three machines without a change, and 20 with two."""
    gates = draw_gates(seed=0, num_gates=100, cells=CELLS)
    assert len(gates) == 3
    return rates(gates, 100, seed=0, num_changed=20)


def test_a_step_in_a_drawn_history_is_found_within_one_commit(drawn: HistoryRates) -> None:
    """+4% among 60 commits, link noise as ResNet-50's launches were recorded on three machines."""
    assert drawn.num_steps_found == 20 * len(CELLS)


def test_a_drift_in_a_drawn_history_is_found_within_ten_commits(drawn: HistoryRates) -> None:
    """Ten times +1%: told as a drift, begin and end within ten commits of the truth."""
    assert drawn.num_drifts_found == 20 * len(CELLS)


def test_nothing_is_found_in_a_hundred_histories_without_a_change(
    drawn: HistoryRates,
) -> None:
    """The same commits, machines and noise without the step and the drift: not one finding."""
    assert drawn.num_told_without == 0
