"""What one look says of the cells: beyond their margin, within their tolerance, or neither yet."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from indoor.gate.decide.decisions import CellDecision, CellRules, Claim, Range, decide_within
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


@dataclass
class CellState:
    """What the plan knows of a cell so far."""

    rules: CellRules
    launches: list[np.ndarray] = field(default_factory=list)
    num_confirming: int = 0
    evidence: Evidence = field(default_factory=lambda: gather([]))
    """At the last look, before any confirmation."""
    at_look: Range = field(default_factory=Range)
    """The adjusted bounds at the last look."""
    doubt: str = ""
    """Why a slowdown seen at the last look was not believed; empty if there was none."""
    dropped: bool = False
    decision: CellDecision | None = None

    @property
    def is_open(self) -> bool:
        """Whether the cell still wants launches."""
        return not self.dropped and self.decision is None


@dataclass(frozen=True)
class Finding:
    """A cell beyond its margin on one side, at the level that Holm gave it."""

    name: str
    is_slower: bool
    bounds: Range


def look(state: Mapping[str, CellState], plan: PlanRules) -> list[Finding]:
    """Set the open cells' evidence and bounds; return those beyond their margin."""
    cells = list(state.values())
    for cell in cells:
        if cell.is_open:
            cell.evidence, cell.doubt = gather(cell.launches), ""
    alpha = plan.alpha_fail / len(plan.looks)
    is_slower, slower_levels = holm(_p_values(cells, p_slower, GateVerdict.FAIL), alpha)
    is_faster, faster_levels = holm(_p_values(cells, p_faster, GateVerdict.IMPROVED), alpha)
    findings = []
    for i, (name, cell) in enumerate(state.items()):
        if not cell.is_open:
            continue
        cell.at_look = Range.between(
            lower_bound(cell.evidence, slower_levels[i]),
            upper_bound(cell.evidence, plan.alpha_pass / len(plan.looks)),
        )
        if is_slower[i] or is_faster[i]:
            level = slower_levels[i] if is_slower[i] else faster_levels[i]
            bounds = Range.between(
                lower_bound(cell.evidence, level), upper_bound(cell.evidence, level)
            )
            findings.append(Finding(name, is_slower[i], bounds))
    return findings


def pass_cells(state: Mapping[str, CellState], plan: PlanRules) -> None:
    """Pass open cells on the look's own evidence; one that was found slower is not asked."""
    for cell in state.values():
        tolerance = math.log1p(cell.rules.tolerance)
        alpha = plan.alpha_pass / len(plan.looks)
        if cell.is_open and not cell.doubt and p_faster(cell.evidence, -tolerance) <= alpha:
            cell.decision = decide_within(claim(cell, plan, len(state)))


def is_reproduced(fresh: Evidence, finding: Finding, rules: CellRules) -> bool:
    """Return whether the fresh launches lie beyond the margin, and beyond chance, as well."""
    same_side = fresh if finding.is_slower else fresh.mirrored()
    return (
        same_side.mean > math.log1p(rules.margin)
        and p_mean_above(same_side, 0.0) < _REPRODUCING_ALPHA
    )


def claim(cell: CellState, plan: PlanRules, num_cells: int) -> Claim:
    """Return what a decision on the cell would rest on now."""
    return Claim(
        rules=cell.rules,
        bounds=cell.at_look,
        launches=tuple(cell.launches),
        num_confirming=cell.num_confirming,
        num_to_reproduce=plan.num_confirming,
        num_cells=num_cells,
        num_looks=len(plan.looks),
    )


def _p_values(
    cells: Sequence[CellState], test: Callable[[Evidence, float], float], shown: GateVerdict
) -> list[float]:
    """Return one p value for every cell of the run, so that their number never shrinks.

    A decided cell is one that was rejected already, or one with nothing to show.
    """
    return [
        test(cell.evidence, math.log1p(cell.rules.margin))
        if cell.is_open
        else float(cell.decision is None or cell.decision.verdict is not shown)
        for cell in cells
    ]
