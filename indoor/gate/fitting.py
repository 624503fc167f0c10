"""Which cells the minutes hold: where they are too few for all, the costliest are left out."""

import math
from collections.abc import Collection, Mapping

from indoor.gate.decide.decisions import report_cell
from indoor.gate.limits import CellRules
from indoor.gate.records import CellReport, GateVerdict
from indoor.gate.settings import PlanRules
from indoor.gate.worker import MIN_LAUNCHES, Gauge, longest_launch_s

DEAR_SHARE = 0.1
"""A cell that takes more of a launch is worth naming where launches are too few."""

NUM_NAMED = 3


def cells_without_room(
    costs: Mapping[str, float], fixed_s: float, left_s: float, num_launches: int
) -> tuple[str, ...]:
    """Return the cells without which so many launches fit; none where nothing would help.

    Args:
        costs: Seconds of a launch that each cell takes, of those that may be left out.
        fixed_s: Seconds that a launch takes besides.
        left_s: What there is for all launches.
        num_launches: So many are to come, 1 or more.

    Returns:
        The costliest, dearest last.
    """
    room_s = left_s / num_launches - fixed_s
    by_cost = sorted(costs, key=lambda cell: costs[cell])
    kept = 0
    while kept < len(by_cost) and costs[by_cost[kept]] <= room_s:
        room_s -= costs[by_cost[kept]]
        kept += 1
    return tuple(by_cost[kept:]) if kept else ()


def costliest(gauges: Mapping[str, Gauge], measured: Collection[str], launch_s: float) -> str:
    """Return the few cells that take most of a launch, as `; ...`; empty where none stands out.

    Args:
        gauges: How cells are measured.
        measured: Those of the launch.
        launch_s: What it took.
    """
    costs = {cell: gauge.launch_s for cell, gauge in gauges.items() if cell in measured}
    dear = sorted((c for c in costs if costs[c] > DEAR_SHARE * launch_s), key=lambda c: -costs[c])
    words = ", ".join(f"{cell} ({costs[cell]:.0f} s)" for cell in dear[:NUM_NAMED])
    return f"; the costliest: {words}" if words else ""


def report_left_out(cell: str, rules: CellRules, plan: PlanRules, cost: str) -> CellReport:
    """Return the report of a cell that is left out since a launch with it takes too long.

    Args:
        cell: Its name.
        rules: Its limits.
        plan: The rules of the run.
        cost: What it takes of a launch, in words.
    """
    minutes = math.ceil(plan.max_minutes)
    return report_cell(
        cell,
        GateVerdict.INCONCLUSIVE,
        f"left out: it takes {cost} of a launch, and {plan.max_minutes:g} minutes are to hold "
        f"{MIN_LAUNCHES} launches of all cells, {longest_launch_s(plan):.0f} s each at most",
        rules,
        advice=f"give the gate more --minutes than {minutes}, or leave the test out for good "
        "(--deselect among the arguments in gate.toml)",
    )
