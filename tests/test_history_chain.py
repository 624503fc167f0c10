"""A chain of gates: levels and intervals by hand, re-anchored, and cut where nothing joins it."""

import math
from dataclasses import replace

import pytest
from history_lines import CELL, kept_gate, kept_lines, name

from indoor.history.chain import Z, joined, links_of, place
from indoor.history.history import tell_history
from indoor.history.records import Place


def places(*links: tuple[int, int, float, float]) -> tuple[Place, ...]:
    """The places of the longest chain of the links."""
    return place(joined(links_of(kept_lines(links), CELL))[0])


def error_of(one: Place) -> float:
    """The standard error of a place's logarithm."""
    assert one.interval is not None
    return math.log(one.interval.high / one.interval.low) / (2 * Z)


def test_ratios_are_multiplied_along_the_commits() -> None:
    """Each commit's level is the product of the links that lead to it."""
    found = places((1, 2, 1.02, 0.01), (2, 3, 1.03, 0.01), (3, 4, 0.95, 0.01))
    assert [one.position for one in found] == [1, 2, 3, 4]
    assert [one.level for one in found] == pytest.approx(
        [1.0, 1.02, 1.02 * 1.03, 1.02 * 1.03 * 0.95]
    )
    assert [one.ratio for one in found] == pytest.approx([None, 1.02, 1.03, 0.95])
    assert found[3].ratio_to == name(3)


def test_errors_add_up_along_neighbours() -> None:
    """After n links of equal error the level's is sqrt(n) times as large; the oldest has none."""
    found = places(*((n, n + 1, 1.0, 0.01) for n in range(1, 10)))
    assert found[0].interval is None
    assert error_of(found[4]) == pytest.approx(0.02)
    assert error_of(found[9]) == pytest.approx(0.03)


def test_a_gate_against_the_release_holds_the_chain() -> None:
    """By hand: four links of error 0.01 beside one of 0.01 weigh 1 to 4, as their variances say."""
    chain = [(n, n + 1, 1.01, 0.01) for n in range(1, 5)]
    found = places(*chain, (1, 5, 1.0, 0.01))
    by_chain, by_release = 4 * math.log(1.01), 0.0
    assert math.log(found[4].level) == pytest.approx(by_chain / 5 + by_release * 4 / 5)
    assert error_of(found[4]) == pytest.approx(0.01 * math.sqrt(4 / 5))


def test_a_release_on_another_branch_joins_what_was_gated_against_it() -> None:
    """It is no place of the chain, and two commits that share it are joined by it."""
    lines = [
        replace(line, gates=(kept_gate("f" * 40, ratio, 0.01),))
        for line, ratio in zip(
            kept_lines([(1, 5, 1.0, 0.01), (1, 9, 1.0, 0.01)]), (1.10, 1.21), strict=True
        )
    ]
    found = place(joined(links_of(lines, CELL))[0])
    assert [one.position for one in found] == [5, 9]
    assert found[1].level == pytest.approx(1.1)
    assert error_of(found[1]) == pytest.approx(0.01 * math.sqrt(2))


def test_one_commit_against_a_release_of_another_branch_has_no_level() -> None:
    """There is one place, and nothing to be told of it."""
    (line,) = kept_lines([(1, 5, 1.0, 0.01)])
    (cell,) = tell_history([replace(line, gates=(kept_gate("f" * 40, 1.1, 0.01),))]).cells
    assert [(one.position, one.level, one.interval) for one in cell.places] == [(5, 1.0, None)]
    assert cell.changes == ()


def test_what_nothing_joins_is_told_with_the_gate_that_would() -> None:
    """Two chains that share no commit cannot be compared; the longer is told, and the remedy."""
    lines = kept_lines([(1, 2, 1.0, 0.01), (5, 6, 1.0, 0.01), (6, 7, 1.0, 0.01)])
    found = tell_history(lines)
    (cell,) = found.cells
    assert [one.position for one in cell.places] == [5, 6, 7]
    assert cell.apart == (name(1), name(2))
    (note,) = found.notes
    assert f"indoor gate --base {name(7)[:12]} --head {name(1)[:12]} --out FILE" in note


def test_no_link_counts_as_more_precise_than_the_middle_one_of_its_machine() -> None:
    """An interval that came out far too narrow by chance does not decide alone."""
    lines = kept_lines([(n, n + 1, 1.0, 0.01) for n in range(1, 6)] + [(6, 7, 1.05, 0.0001)])
    links = links_of(lines, CELL)
    assert links.errors.tolist() == pytest.approx([0.01] * 6)


def test_links_that_scatter_more_than_they_say_are_widened() -> None:
    """Neighbours that differ by several standard errors make all intervals that much wider."""
    wild = [1.04 if n % 2 else 1 / 1.04 for n in range(1, 21)]
    lines = kept_lines([(n, n + 1, ratio, 0.01) for n, ratio in enumerate(wild, start=1)])
    assert links_of(lines, CELL).scatter == pytest.approx(1.4826 * math.log(1.04) / 0.01, rel=0.01)
    assert "scatter more than 1.5 times" in tell_history(lines).notes[0]
    assert links_of(kept_lines([(1, 2, 1.0, 0.01)]), CELL).scatter == 1


def test_a_change_does_not_count_as_scatter() -> None:
    """One step among quiet links widens nothing."""
    links = [(n, n + 1, 1.2 if n == 10 else 1.0, 0.01) for n in range(1, 21)]
    assert links_of(kept_lines(links), CELL).scatter == 1
