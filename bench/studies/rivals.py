"""The usual ways to call a benchmark slower, and how often they are wrong on the gate's traces."""

from collections.abc import Sequence
from math import comb
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import mannwhitneyu

from bench.studies.records import RIVALS, Rates, Tally
from bench.studies.replay import Pool
from indoor.errors import IndoorError
from indoor.gate.records import CellTrace, GateVerdict

Rounds = npt.NDArray[np.float64]
"""Seconds of a benchmark's rounds in one run, all above 0."""

ASV_P = 0.002
"""`asv continuous` calls two results different below this (asv 0.6, `asv/commands/compare.py`)."""

ASV_FACTOR = 1.1
"""`asv continuous --factor`'s default: a smaller change is not shown."""


def replay_rivals(
    traces: Sequence[CellTrace],
    num_gates: int,
    seed: int,
    slowdown: float,
    num_launches: int = 1,
) -> tuple[Rates, ...]:
    """Try the usual rules on traces of identical code: a stored file against a later run.

    Base's rounds are those of `num_launches` launches on end and head's those of as many launches
    that came later: two blocks apart in time. That is kind to these rules, since a stored file is
    from another hour or day, and since the rounds of a trace are warmed up turn by turn. The other
    arguments are those of `replay`.

    Raises:
        IndoorError: Fewer than twice `num_launches` launches have all cells.
    """
    pool = Pool(traces)
    numbers = pool.launches_of(pool.names)
    num_starts = len(numbers) - 2 * num_launches + 1
    if num_starts < 1:
        raise IndoorError(
            f"{len(numbers)} launches have rounds of all cells, expected {2 * num_launches} or "
            "more for two blocks apart in time; record longer traces or lower --rival-launches"
        )
    runs: dict[str, list[GateVerdict]] = {rule: [] for rule in RIVALS}
    slowed: dict[str, dict[str, list[GateVerdict]]] = {
        rule: {name: [] for name in pool.names} for rule in RIVALS
    }
    for gate in range(num_gates):
        random = np.random.default_rng([seed, gate])
        slow = pool.names[gate % len(pool.names)]
        first = int(random.integers(num_starts))
        second = int(random.integers(first + num_launches, len(numbers) - num_launches + 1))
        arms = random.integers(2, size=2)
        red: dict[str, dict[str, bool]] = {}
        for name in pool.names:
            base = pool.rounds(name, numbers[first : first + num_launches], arms[0])
            head = pool.rounds(name, numbers[second : second + num_launches], arms[1])
            red[name] = judge_as_rivals(base, head * (1 + slowdown) if name == slow else head)
        for rule in RIVALS:
            runs[rule].append(_verdict(any(rules[rule] for rules in red.values())))
            slowed[rule][slow].append(_verdict(red[slow][rule]))
    return tuple(
        Rates(
            rule=rule,
            slowdown=slowdown,
            runs=Tally.of(runs[rule]),
            slowed={n: Tally.of(found) for n, found in slowed[rule].items()} if slowdown else {},
        )
        for rule in RIVALS
    )


def judge_as_rivals(base: Rounds, head: Rounds) -> dict[str, bool]:
    """Return for each of `RIVALS` whether it is red."""
    # The rule with no factor is the weakest of the three: only where it is red can the others be.
    differs = mann_whitney(base, head)
    factor = float(np.median(head) / np.median(base))
    return {
        "median-5": compare_fail(base, head, "median", 5),
        "median-10": compare_fail(base, head, "median", 10),
        "min-5": compare_fail(base, head, "min", 5),
        "mann-whitney": differs,
        "mann-whitney-5": differs and factor > 1.05,
        "asv": differs and factor > ASV_FACTOR,
    }


def compare_fail(
    base: Rounds, head: Rounds, stat: Literal["median", "min"], percent: float
) -> bool:
    """Return whether pytest-benchmark's `--benchmark-compare-fail=STAT:PERCENT%` is red."""
    compute = np.median if stat == "median" else np.min
    return bool(compute(head) / compute(base) * 100 - 100 > percent)


def mann_whitney(base: Rounds, head: Rounds, *, factor: float = 1.0) -> bool:
    """Return whether head is slower by the two-sample test that asv uses.

    Red needs p below `ASV_P`, and head's median above base's by more than `factor`. As in asv the
    test is two-sided, and is not asked where so few rounds could never reach `p`. asv then looks
    at the overlap of 99% intervals, which so few rounds do not have.
    """
    if np.median(head) <= factor * np.median(base):
        return False
    if 1 / comb(len(base) + len(head), min(len(base), len(head))) >= ASV_P:
        return False
    return bool(mannwhitneyu(base, head).pvalue < ASV_P)


def _verdict(is_red: bool) -> GateVerdict:
    return GateVerdict.FAIL if is_red else GateVerdict.PASS
