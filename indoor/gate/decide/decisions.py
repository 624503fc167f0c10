"""One cell: what is known of it, its decision, and the words that say why."""

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from indoor.gate.decide.evidence import Evidence, Summary, gather, summarize
from indoor.gate.limits import CellRules
from indoor.gate.records import CellReport, GateVerdict
from indoor.gate.settings import PlanRules
from indoor.gate.wording import count, percent, percent_range
from indoor.records import Interval


class End(Enum):
    """Why a run ended before the plan's last look."""

    TIME_UP = "time ran out"
    BROKEN_OFF = "the run broke off"


@dataclass(frozen=True)
class Bounds:
    """A slowdown's, adjusted for all cells and looks, as shares such as 0.012; None: unknown."""

    low: float | None = None
    high: float | None = None

    @classmethod
    def between(cls, low: float, high: float) -> "Bounds":
        """Return the slowdowns between two log-ratios; infinite ones are unknown."""
        return cls(*(math.expm1(end) if math.isfinite(end) else None for end in (low, high)))

    def words(self) -> str:
        """Return bounds that are known as `1.2 to 3.4%`."""
        assert self.low is not None
        assert self.high is not None
        return percent_range(self.low, self.high)


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
    rung: float | None = None
    """The smallest of the cell's tolerances that its upper bound clears; above what is accepted it
    passes nothing. None: it clears none, or none counts."""
    accepted: float
    """The widest rung that is a PASS."""


@dataclass
class CellState:
    """What the plan knows of a cell so far."""

    rules: CellRules
    launches: list[np.ndarray] = field(default_factory=list)
    num_confirming: int = 0
    evidence: Evidence = field(default_factory=lambda: gather([]))
    """At the last look, before any confirmation."""
    bounds: Bounds = field(default_factory=Bounds)
    """At the last look."""
    doubt: str = ""
    """Why a slowdown seen at the last look was not believed; empty if there was none."""
    dropped: bool = False
    decision: CellDecision | None = None

    @property
    def is_open(self) -> bool:
        """Whether the cell still wants launches."""
        return not self.dropped and self.decision is None


def decide(
    cell: CellState,
    verdict: GateVerdict,
    plan: PlanRules,
    num_cells: int,
    end: End | None = None,
    *,
    rung: float | None = None,
) -> None:
    """Set a cell's decision: the verdict, its figures, and what it rests on in words.

    Args:
        cell: What is known of it.
        verdict: What they amount to, as the look found.
        plan: The rules of the run.
        num_cells: All cells of the run, for which the bounds are adjusted.
        end: Why the run ended before the plan's last look; None if it did not.
        rung: The smallest tolerance that the look's upper bound clears; always there for a PASS.
    """
    summary = summarize(cell.launches)
    low, high = cell.bounds.low, cell.bounds.high
    reproduced = (
        f"(adjusted for {count(num_cells, 'cell')} and {count(len(plan.looks), 'look')}), "
        f"margin {percent(cell.rules.margin)}, reproduced in {plan.num_confirming} fresh launches"
    )
    match verdict:
        case GateVerdict.FAIL:
            reason = f"slower by {cell.bounds.words()} {reproduced}"
        case GateVerdict.IMPROVED:
            assert low is not None
            assert high is not None
            reason = f"takes {percent_range(-high, -low)} less time {reproduced}"
        case GateVerdict.PASS:
            assert rung is not None
            reason = _describe_rung(cell, rung)
            if rung > cell.rules.tolerance:
                reason += f"; {percent(cell.rules.tolerance)} could not be shown in the time"
        case _:
            num_launches = sum(1 for launch in cell.launches if len(launch))
            reason = cell.doubt or _describe_open(cell, summary, num_launches)
            if rung is not None:
                accepted = percent(cell.rules.accepts)
                reason = (
                    f"{_describe_rung(cell, rung)}, but {accepted} is the most that is accepted"
                )
            if end:
                reason = f"{end.value} after {count(num_launches, 'launch')}: {reason}"
    cell.decision = CellDecision(
        verdict=verdict,
        reason=reason,
        margin=cell.rules.margin,
        tolerance=cell.rules.tolerance,
        summary=summary,
        slowdown_at_least=low,
        slowdown_at_most=high,
        num_confirming=cell.num_confirming,
        end=end,
        rung=rung,
        accepted=cell.rules.accepts,
    )


def advice(decision: CellDecision) -> str:
    """Return what to do next about a cell; empty where there is nothing to do."""
    if decision.verdict is GateVerdict.FAIL:
        return (
            "profile this cell on base and on head; if several commits lie between them, gate one "
            "halfway with --head to find which slowed it"
        )
    # Where the run broke off the report says to run it again.
    if decision.verdict is not GateVerdict.INCONCLUSIVE or decision.end is End.BROKEN_OFF:
        return ""
    if decision.summary is None or decision.summary.num_launches < 2:
        return "give the gate more --minutes or fewer cells, this one was hardly measured"
    if decision.rung is not None:
        return (
            "run again on a quieter machine or with more --minutes, or accept "
            f"{percent(decision.rung)} here (--accept {percent(decision.rung)})"
        )
    # What this run could not exclude would have been the tolerance to pass by.
    not_excluded = max(decision.accepted, decision.slowdown_at_most or 0.0)
    return (
        "run again on a quieter machine or with more --minutes, or raise this cell's tolerance "
        f"above {percent(not_excluded)}"
    )


def report_cell(
    name: str,
    verdict: GateVerdict,
    reason: str,
    rules: CellRules,
    summary: Summary | None = None,
    **more: Any,
) -> CellReport:
    """Return a cell as it is stored and shown; without a summary nothing was measured of it."""
    if summary is not None:
        is_bounded = math.isfinite(summary.low) and math.isfinite(summary.high)
        more |= {
            "ratio": math.exp(summary.center),
            "interval": Interval(low=math.exp(summary.low), high=math.exp(summary.high))
            if is_bounded
            else None,
            "num_pairs": summary.num_pairs,
            "num_launches": summary.num_launches,
            "robust_sd": summary.robust_sd,
            "lag1": summary.lag1,
        }
    return CellReport(
        name=name,
        verdict=verdict,
        reason=reason,
        margin=rules.margin,
        tolerance=rules.tolerance,
        accepted=rules.accepts,
        **more,
    )


def _describe_rung(cell: CellState, rung: float) -> str:
    high = cell.bounds.high
    assert high is not None
    at_most = (
        f"at most {percent(high)}" if high >= 0 else f"takes at least {percent(-high)} less time"
    )
    return f"no slowdown above {percent(rung)} ({at_most})"


def _describe_open(cell: CellState, summary: Summary | None, num_launches: int) -> str:
    if num_launches < 2:
        return f"measured in {count(num_launches, 'launch')}, 2 or more are needed"
    if summary is None:
        return "a pair's ratio is not a finite number"
    if cell.bounds.low is None or cell.bounds.high is None:
        return f"too few pairs to bound the slowdown ({count(summary.num_pairs, 'pair')})"
    return (
        f"between {percent(cell.bounds.low).removesuffix('%')} and "
        f"{percent(cell.bounds.high)}: neither above "
        f"{percent(cell.rules.margin)} nor below {percent(cell.rules.tolerance)}; "
        f"pairs spread {percent(summary.robust_sd)}"
    )
