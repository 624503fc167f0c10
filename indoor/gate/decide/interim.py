"""What one look says of the cells: beyond their margin, within their tolerance, or neither yet."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from indoor.gate.decide.decisions import Bounds, CellRules, CellState, decide
from indoor.gate.decide.evidence import (
    Evidence,
    gather,
    lower_bound,
    p_faster,
    p_mean_above,
    p_slower,
    upper_bound,
)
from indoor.gate.records import GateVerdict
from indoor.gate.settings import PlanRules
from indoor.measure.pair_statistics import holm

_REPRODUCING_ALPHA = 0.15
"""One-sided, against no difference at all, of the few confirming launches.

What was found by chance is reproduced by chance no more often, so a false alarm takes both chances.
Of four launches one alone cannot make it: all else equal, its p value is 0.196.
"""


@dataclass(frozen=True)
class Finding:
    """A cell beyond its margin on one side, at the level that Holm gave it."""

    name: str
    is_slower: bool
    bounds: Bounds


def look(state: Mapping[str, CellState], plan: PlanRules) -> list[Finding]:
    """Set the open cells' evidence and bounds; return those beyond their margin."""
    for cell in state.values():
        if cell.is_open:
            cell.evidence, cell.doubt = gather(cell.launches), ""
    alpha = plan.alpha_fail / len(plan.looks)
    is_slower, slower_levels = holm(_p_values(state, p_slower, GateVerdict.FAIL), alpha)
    is_faster, faster_levels = holm(_p_values(state, p_faster, GateVerdict.IMPROVED), alpha)
    findings = []
    for i, (name, cell) in enumerate(state.items()):
        if not cell.is_open:
            continue
        cell.bounds = Bounds.between(
            lower_bound(cell.evidence, slower_levels[i]),
            upper_bound(cell.evidence, plan.alpha_pass / len(plan.looks)),
        )
        if is_slower[i] or is_faster[i]:
            level = slower_levels[i] if is_slower[i] else faster_levels[i]
            low, high = lower_bound(cell.evidence, level), upper_bound(cell.evidence, level)
            findings.append(Finding(name, is_slower[i], Bounds.between(low, high)))
    return findings


def pass_cells(state: Mapping[str, CellState], plan: PlanRules) -> None:
    """Pass open cells on the look's own evidence; one that was found slower is not asked."""
    alpha = plan.alpha_pass / len(plan.looks)
    for cell in state.values():
        tolerance = math.log1p(cell.rules.tolerance)
        if cell.is_open and not cell.doubt and p_faster(cell.evidence, -tolerance) <= alpha:
            decide(cell, GateVerdict.PASS, plan, len(state))


def is_reproduced(fresh: Evidence, finding: Finding, rules: CellRules) -> bool:
    """Return whether the fresh launches lie beyond the margin, and beyond chance, as well."""
    same_side = fresh if finding.is_slower else fresh.mirrored()
    return (
        same_side.mean > math.log1p(rules.margin)
        and p_mean_above(same_side, 0.0) < _REPRODUCING_ALPHA
    )


def _p_values(
    state: Mapping[str, CellState], test: Callable[[Evidence, float], float], shown: GateVerdict
) -> list[float]:
    """Return one p value for every cell of the run, so that their number never shrinks.

    A decided cell is one that was rejected already, or one with nothing to show.
    """
    return [
        test(cell.evidence, math.log1p(cell.rules.margin))
        if cell.is_open
        else float(cell.decision is None or cell.decision.verdict is not shown)
        for cell in state.values()
    ]
