"""The sequential procedure: which cells the next launch measures, and when each one is decided.

It is a generator without clock, files or chance, so that the controller and the replay study drive
the very same rules. Each look spends an equal part of every error rate, and the parts add up (union
bound), so the looks may depend on each other as they like.
"""

import itertools
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from indoor.gate.decide.decisions import Bounds, CellDecision, CellState, End, decide
from indoor.gate.decide.evidence import (
    Evidence,
    gather,
    lower_bound,
    p_faster,
    p_mean_above,
    p_slower,
    upper_bound,
)
from indoor.gate.limits import CellRules
from indoor.gate.records import GateVerdict
from indoor.gate.settings import PlanRules
from indoor.measure.pair_statistics import holm

MIN_FRESH = 2
"""Launches since the last look without which another one would hardly see anything new."""

_REPRODUCING_ALPHA = 0.15
"""One-sided, against no difference at all, of the few confirming launches.

What was found by chance is reproduced by chance no more often, so a false alarm takes both chances.
Of four launches one alone cannot make it: all else equal, its p value is 0.196.
"""


@dataclass(frozen=True)
class LaunchRequest:
    """The next launch of fresh processes measures just these cells."""

    cells: tuple[str, ...]
    confirms: bool


@dataclass(frozen=True)
class LaunchResult:
    """What a launch brought: log-ratios by cell, ln(head's time / base's).

    A requested cell that is missing in `pairs` got none this time. Dropped cells leave the plan,
    undecided ones its result too; the controller judges them. `launches_left` is how many more
    there is time for, where that is limited; after 0, or where the run `broke_off`, nothing more is
    asked for.
    """

    pairs: Mapping[str, np.ndarray]
    dropped: frozenset[str] = frozenset()
    launches_left: int | None = None
    broke_off: bool = False

    @property
    def end(self) -> End | None:
        """Why no other launch can follow; None if one can."""
        if self.broke_off:
            return End.BROKEN_OFF
        return End.TIME_UP if self.launches_left == 0 else None


@dataclass(frozen=True)
class _Finding:
    """A cell beyond its margin on one side, at the level that Holm gave it."""

    name: str
    is_slower: bool
    bounds: Bounds


def run_plan(
    cells: Mapping[str, CellRules], plan: PlanRules
) -> Generator[LaunchRequest, LaunchResult, dict[str, CellDecision]]:
    """Ask for launches until every cell is decided, the looks are used up, or time is.

    At a look, Holm's procedure over all cells of the run names those slower, and those faster, than
    their margin; fresh launches must reproduce each. A slowdown that is not reproduced leaves its
    cell open. What is left passes if a slowdown as large as its tolerance can be excluded. When
    there is just time to reproduce a finding, the next look is taken at once. A cell that is open
    when all is used up passes at the first wider rung that its last look excluded.

    Args:
        cells: The limits of each cell, by name.
        plan: The rules of the run.

    Yields:
        The next launch; send its result.

    Returns:
        The decisions, in the order of `cells`, without those dropped undecided.

    Raises:
        ValueError: The plan contradicts itself, or a result names a cell that was not asked for.
    """
    _check(plan)
    state = {name: CellState(rules) for name, rules in cells.items()}
    num_launches = num_looks = num_passing = 0
    last_look = 0
    end: End | None = None
    while num_looks < len(plan.looks) and not end and _open_cells(state):
        request = LaunchRequest(_open_cells(state), confirms=False)
        result = yield request
        end = _take(state, request, result)
        num_launches += 1
        is_last_look = num_looks + 1 == len(plan.looks)
        num_fresh = plan.num_confirming if is_last_look else MIN_FRESH
        last_chance = result.launches_left in (
            plan.num_confirming,
            plan.num_confirming + 1,
        ) and num_launches >= max(plan.looks[0], last_look + num_fresh)
        is_planned = num_launches >= plan.looks[num_looks]
        if not is_planned and not end and not last_chance:
            continue
        last_look = num_launches
        num_looks += 1
        findings = _look(state, plan)
        end = yield from _confirm(state, findings, plan, end)
        if is_planned and not end and not is_last_look:
            num_passing += 1
            _pass_cells(state, plan)
    _end(state, plan, end, num_passing)
    return {name: cell.decision for name, cell in state.items() if cell.decision is not None}


def _end(
    state: Mapping[str, CellState], plan: PlanRules, end: End | None, num_passing: int
) -> None:
    """Decide the cells that are open when nothing else is asked for.

    The looks that never came leave their part of `alpha_pass` to the last one. Of a run that broke
    off the minutes are not used: it takes no wider rung, and its last look no more than its part.
    """
    num_left = 1 if end is End.BROKEN_OFF else len(plan.looks) - num_passing
    alpha = plan.alpha_pass * num_left / len(plan.looks)
    for cell in state.values():
        if not cell.is_open:
            continue
        high = upper_bound(cell.evidence, alpha)
        cell.bounds = replace(cell.bounds, high=Bounds.between(-math.inf, high).high)
        rungs = cell.rules.rungs[: 1 if end is End.BROKEN_OFF else None]
        rung = _rung(cell, rungs, alpha)
        is_accepted = rung is not None and rung <= cell.rules.accepts
        verdict = GateVerdict.PASS if is_accepted else GateVerdict.INCONCLUSIVE
        decide(cell, verdict, plan, len(state), end, rung=rung)


def _check(plan: PlanRules) -> None:
    looks = plan.looks
    if not looks or looks[0] < 2 or any(b <= a for a, b in itertools.pairwise(looks)):
        raise ValueError(f"looks is {looks}, expected rising numbers of launches from 2 on")
    if plan.num_confirming < 2:
        raise ValueError(f"num_confirming is {plan.num_confirming}, expected 2 or more")


def _open_cells(state: Mapping[str, CellState]) -> tuple[str, ...]:
    return tuple(name for name, cell in state.items() if cell.is_open)


def _take(
    state: Mapping[str, CellState], request: LaunchRequest, result: LaunchResult
) -> End | None:
    """Add what a launch brought to its cells; return why it was the last one, if it was."""
    strangers = sorted((set(result.pairs) - set(request.cells)) | (result.dropped - set(state)))
    if strangers:
        raise ValueError(f"the launch brought {strangers}, expected only {list(request.cells)}")
    for name in result.dropped:
        state[name].dropped = True
    for name in request.cells:
        cell = state[name]
        cell.num_confirming += request.confirms
        if len(result.pairs.get(name, ())):
            cell.launches.append(np.asarray(result.pairs[name], dtype=np.float64))
    return result.end


def _look(state: Mapping[str, CellState], plan: PlanRules) -> list[_Finding]:
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
            findings.append(_Finding(name, is_slower[i], Bounds.between(low, high)))
    return findings


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


def _confirm(
    state: Mapping[str, CellState],
    findings: Sequence[_Finding],
    plan: PlanRules,
    end: End | None,
) -> Generator[LaunchRequest, LaunchResult, End | None]:
    """Let fresh launches reproduce what the look found; return why none can follow, if so."""
    first = {finding.name: len(state[finding.name].launches) for finding in findings}
    num_done = 0
    while num_done < plan.num_confirming and not end:
        request = LaunchRequest(tuple(n for n in first if state[n].is_open), confirms=True)
        if not request.cells:
            break
        end = _take(state, request, (yield request))
        num_done += 1
    for finding in findings:
        cell = state[finding.name]
        if not cell.is_open:
            continue
        fresh = gather(cell.launches[first[finding.name] :])
        # A flaky test brings fewer launches than were asked for, which prove less.
        is_whole = fresh.num_launches == plan.num_confirming
        if is_whole and _is_reproduced(fresh, finding, cell.rules):
            cell.bounds = finding.bounds
            verdict = GateVerdict.FAIL if finding.is_slower else GateVerdict.IMPROVED
            decide(cell, verdict, plan, len(state))
        elif finding.is_slower:
            if is_whole:
                why = f"not reproduced in {num_done} fresh launches"
            elif end is End.BROKEN_OFF:
                why = "not reproduced by then"
            elif num_done < plan.num_confirming:
                why = "not reproduced in time"
            else:
                why = f"its test passed in only {fresh.num_launches} of {num_done} fresh launches"
            cell.doubt = f"slower by {finding.bounds.words()} at the last look, but {why}"
    return end


def _is_reproduced(fresh: Evidence, finding: _Finding, rules: CellRules) -> bool:
    """Return whether the fresh launches lie beyond the margin, and beyond chance, as well."""
    same_side = fresh if finding.is_slower else fresh.mirrored()
    return (
        same_side.mean > math.log1p(rules.margin)
        and p_mean_above(same_side, 0.0) < _REPRODUCING_ALPHA
    )


def _pass_cells(state: Mapping[str, CellState], plan: PlanRules) -> None:
    """Pass open cells on the look's own evidence, at their first rung."""
    alpha = plan.alpha_pass / len(plan.looks)
    for cell in state.values():
        if cell.is_open and (rung := _rung(cell, cell.rules.rungs[:1], alpha)) is not None:
            decide(cell, GateVerdict.PASS, plan, len(state), rung=rung)


def _rung(cell: CellState, rungs: Sequence[float], alpha: float) -> float | None:
    """Return the first rung that the last look's upper bound clears; None for a doubtful cell.

    One bound, with the error `alpha`, holds for all rungs at once: asking for another spends no
    more.
    """
    low = cell.bounds.low
    if cell.doubt or (low is not None and low > cell.rules.margin):
        return None
    cleared = (r for r in rungs if p_faster(cell.evidence, -math.log1p(r)) <= alpha)
    return next(cleared, None)
