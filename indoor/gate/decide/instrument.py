"""Whether the run can be trusted: the A/A arm, the frozen control workload, the idle workers."""

import itertools
import math
from collections.abc import Mapping, Sequence

from indoor.gate.decide.decisions import report_cell
from indoor.gate.decide.evidence import (
    Launches,
    gather,
    lower_bound,
    p_faster,
    p_slower,
    summarize,
    upper_bound,
)
from indoor.gate.limits import CellRules
from indoor.gate.records import CellReport, GateVerdict, InstrumentReport
from indoor.gate.settings import PlanRules
from indoor.gate.wording import percent, percent_range
from indoor.gate.worker import CONTROL

MAX_IDLE_SHARE = 0.05
"""CPU time of waiting workers, as a share of the timed round, above which a launch is disturbed."""

_MAX_DISTURBED = 0.1
"""The share of a cell's launches that may be disturbed; one of two or more may be in any case."""
_CONTROL_MARGINS = 2
"""Base and head may lay out memory differently, which moves even a frozen workload a little."""


def judge_instrument(
    again: Mapping[str, Launches],
    control: Launches | None,
    idle_shares: Mapping[str, Sequence[float]],
    plan: PlanRules,
    *,
    num_judgements: int = 1,
) -> InstrumentReport:
    """Return what the run measured of itself, and why it is not to be trusted, if so.

    The second copy of base, and the control, must not be shown to differ from base by more than the
    margin (the control: twice the margin), to either side. Too few launches find nothing, and their
    cells are INCONCLUSIVE.

    Args:
        again: Of some cells, ln(second copy of base / base) by launch.
        control: ln(frozen workload in head's worker / in base's) by launch; None if it did not run.
        idle_shares: Of each cell, those of its launches, 0 or more (`LaunchTrace.idle_share`).
        plan: The rules of the run.
        num_judgements: How often in the run this is asked, all of which share the error rate.
    """
    alpha = plan.alpha_instrument / num_judgements
    findings = []
    copies = []
    for name, launches in again.items():
        report, moved = _judge(name, launches, plan.margin, alpha / (2 * len(again)), plan)
        copies.append(report)
        if moved:
            findings.append(
                f"a second copy of base took {moved} than base itself in {name}, so this run would "
                "blame identical code; close other programs or use a quieter machine, and run again"
            )
    frozen = None
    if control is not None:
        margin = _CONTROL_MARGINS * plan.margin
        frozen, moved = _judge(CONTROL, control, margin, alpha / 2, plan)
        if moved:
            findings.append(
                f"a workload that is the same on both sides took {moved} in head's worker than in "
                "base's, so head's worker as a whole is off; compare the environments of both "
                "sides (threads, allocator, packages), and run again"
            )
    findings += [
        f"waiting workers used more than {percent(MAX_IDLE_SHARE)} of a timed round's time in "
        f"{num_disturbed} of {len(shares)} launches of {name} (up to {percent(max(shares))}); "
        "look for background threads in the suite, such as a spinning thread pool "
        "(OMP_WAIT_POLICY=passive), and run again"
        for name, shares in idle_shares.items()
        if (num_disturbed := sum(share > MAX_IDLE_SHARE for share in shares))
        > min(len(shares) - 1, max(1, _MAX_DISTURBED * len(shares)))
    ]
    return InstrumentReport(
        again=tuple(copies),
        control=frozen,
        max_idle_share=max(itertools.chain.from_iterable(idle_shares.values()), default=None),
        findings=tuple(findings),
    )


def _judge(
    name: str, launches: Launches, margin: float, alpha: float, plan: PlanRules
) -> tuple[CellReport, str]:
    """Return the report on identical code, and by how much it differs in words; empty if not."""
    evidence = gather(launches)
    summary = summarize(launches)
    threshold = math.log1p(margin)
    moved = ""
    if min(p_slower(evidence, threshold), p_faster(evidence, threshold)) <= alpha:
        low = math.expm1(lower_bound(evidence, alpha))
        high = math.expm1(upper_bound(evidence, alpha))
        longer = f"{percent_range(low, high)} more time"
        moved = longer if low > 0 else f"{percent_range(-high, -low)} less time"
    if moved:
        verdict, reason = GateVerdict.UNRELIABLE, f"identical code took {moved}"
    elif summary is None or not evidence.known:
        verdict, reason = GateVerdict.INCONCLUSIVE, "fewer than 2 launches with usable pairs"
    else:
        verdict = GateVerdict.PASS
        reason = f"no difference above {percent(margin)} shown between identical code"
    rules = CellRules(margin, plan.tolerance * margin / plan.margin)
    return report_cell(name, verdict, reason, rules, summary), moved
