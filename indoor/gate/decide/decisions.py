"""One cell's decision: its limits, its figures, and the words that say why and what to do next."""

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from indoor.gate.decide.evidence import Summary, summarize
from indoor.gate.records import GateVerdict


class End(Enum):
    """Why a run ended before the plan's last look."""

    TIME_UP = "time ran out"
    BROKEN_OFF = "the run broke off"


@dataclass(frozen=True)
class CellRules:
    """A cell's limits on its slowdown (head's time / base's - 1).

    FAIL needs more than `margin`, PASS needs less than `tolerance`; 0 < margin < tolerance.
    """

    margin: float
    tolerance: float

    def __post_init__(self) -> None:
        """Refuse limits between which no verdict would make sense."""
        if not 0 < self.margin < self.tolerance < math.inf:
            raise ValueError(
                f"margin is {self.margin} and tolerance is {self.tolerance}, "
                "expected 0 < margin < tolerance"
            )


@dataclass(frozen=True)
class Range:
    """Bounds of a slowdown as shares, such as 0.012; None where nothing is known."""

    low: float | None = None
    high: float | None = None

    @classmethod
    def between(cls, low: float, high: float) -> "Range":
        """Return the slowdowns between two log-ratios; infinite ones are unknown."""
        return cls(
            math.expm1(low) if math.isfinite(low) else None,
            math.expm1(high) if math.isfinite(high) else None,
        )

    def words(self) -> str:
        """Return the range, whose ends are known, as `1.2 to 3.4%`."""
        assert self.low is not None
        assert self.high is not None
        return f"{_digits(self.low)} to {percent(self.high)}"


@dataclass(frozen=True, kw_only=True)
class CellDecision:
    """The plan's word on a cell; never UNRELIABLE, which is the instrument's matter."""

    verdict: GateVerdict
    reason: str
    margin: float
    tolerance: float
    summary: Summary | None
    """Of all pairs, the confirming ones too; None where nothing can be said of them."""
    slowdown_at_least: float | None
    """Adjusted for all cells and looks, before any confirmation; None where nothing is known."""
    slowdown_at_most: float | None
    num_confirming: int
    """The fresh launches that were asked to reproduce a finding about this cell."""
    end: End | None = None
    """Why the run ended early, where that left the cell open."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a decision rests on: adjusted bounds of the slowdown, and every pair of the cell."""

    rules: CellRules
    bounds: Range
    launches: tuple[np.ndarray, ...]
    num_confirming: int
    num_to_reproduce: int
    """The fresh launches that a finding takes."""
    num_cells: int
    num_looks: int


def decide_slower(claim: Claim) -> CellDecision:
    """Return FAIL with its figures."""
    return _decide(
        claim,
        GateVerdict.FAIL,
        f"slower by {claim.bounds.words()} ({_adjusted(claim)}), "
        f"margin {percent(claim.rules.margin)}, "
        f"reproduced in {claim.num_to_reproduce} fresh launches",
    )


def decide_improved(claim: Claim) -> CellDecision:
    """Return IMPROVED with its figures."""
    low, high = claim.bounds.low, claim.bounds.high
    less = Range(None if high is None else -high, None if low is None else -low)
    return _decide(
        claim,
        GateVerdict.IMPROVED,
        f"takes {less.words()} less time ({_adjusted(claim)}), "
        f"margin {percent(claim.rules.margin)}, "
        f"reproduced in {claim.num_to_reproduce} fresh launches",
    )


def decide_within(claim: Claim) -> CellDecision:
    """Return PASS with the largest slowdown that is not excluded."""
    high = claim.bounds.high
    assert high is not None
    at_most = (
        f"at most {percent(high)}" if high >= 0 else f"takes at least {percent(-high)} less time"
    )
    return _decide(
        claim,
        GateVerdict.PASS,
        f"no slowdown above {percent(claim.rules.tolerance)} ({at_most})",
    )


def decide_inconclusive(claim: Claim, doubt: str, end: End | None) -> CellDecision:
    """Return INCONCLUSIVE with what is known.

    Args:
        claim: What there is.
        doubt: Why a slowdown that was seen is not believed; empty if none was seen.
        end: Why the run ended before the plan's last look; None if it did not.
    """
    decision = _decide(claim, GateVerdict.INCONCLUSIVE, "")
    num_launches = sum(1 for launch in claim.launches if len(launch))
    words = doubt or _describe_open(claim, decision.summary, num_launches)
    if end:
        words = f"{end.value} after {_count(num_launches, 'launch', 'launches')}: {words}"
    return _decide(claim, GateVerdict.INCONCLUSIVE, words, end)


def advice(decision: CellDecision) -> str:
    """Return what to do next about a cell; empty where there is nothing to do."""
    if decision.verdict is GateVerdict.FAIL:
        return (
            "profile this cell on base and on head; if several commits lie between them, gate one "
            "halfway with --head to find which slowed it"
        )
    if decision.end is End.BROKEN_OFF:
        return ""  # the report says to run it again
    if decision.verdict is GateVerdict.INCONCLUSIVE:
        if decision.summary is None or decision.summary.num_launches < 2:
            return "give the gate more --minutes or fewer cells, this one was hardly measured"
        # What this run could not exclude would have been the tolerance to pass by.
        not_excluded = max(decision.tolerance, decision.slowdown_at_most or 0.0)
        return (
            "run again on a quieter machine or with more --minutes, or raise this cell's tolerance "
            f"above {percent(not_excluded)}"
        )
    return ""


def percent(share: float) -> str:
    """Return a share as `3%` or `4.1%`."""
    return f"{_digits(share)}%"


def _decide(
    claim: Claim, verdict: GateVerdict, reason: str, end: End | None = None
) -> CellDecision:
    return CellDecision(
        verdict=verdict,
        reason=reason,
        margin=claim.rules.margin,
        tolerance=claim.rules.tolerance,
        summary=summarize(claim.launches),
        slowdown_at_least=claim.bounds.low,
        slowdown_at_most=claim.bounds.high,
        num_confirming=claim.num_confirming,
        end=end,
    )


def _describe_open(claim: Claim, summary: Summary | None, num_launches: int) -> str:
    if num_launches < 2:
        return f"measured in {_count(num_launches, 'launch', 'launches')}, 2 or more are needed"
    if summary is None:
        return "a pair's ratio is not a finite number"
    if claim.bounds.low is None or claim.bounds.high is None:
        return f"too few pairs to bound the slowdown ({_count(summary.num_pairs, 'pair', 'pairs')})"
    return (
        f"between {_digits(claim.bounds.low)} and {percent(claim.bounds.high)}: neither above "
        f"{percent(claim.rules.margin)} nor below {percent(claim.rules.tolerance)}; "
        f"pairs spread {percent(summary.robust_sd)}"
    )


def _adjusted(claim: Claim) -> str:
    cells = _count(claim.num_cells, "cell", "cells")
    return f"adjusted for {cells} and {_count(claim.num_looks, 'look', 'looks')}"


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def _digits(share: float) -> str:
    text = f"{100 * share:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
