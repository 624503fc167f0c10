"""Launches, one after another, until the plan has decided every cell or time is up."""

import math
import random
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from indoor.errors import IndoorError
from indoor.gate.decide.decisions import CellDecision
from indoor.gate.decide.failures import Failures
from indoor.gate.decide.instrument import judge_instrument
from indoor.gate.decide.procedure import LaunchRequest, LaunchResult, run_plan
from indoor.gate.fitting import cells_without_room, costliest, report_left_out
from indoor.gate.sides.setup import GateJob
from indoor.gate.tally import Tally, log_ratios
from indoor.gate.wording import listed
from indoor.gate.worker import (
    CONTROL,
    MIN_LAUNCHES,
    Arm,
    Gauge,
    LaunchOutcome,
    LaunchRules,
    passes_without_other_sides,
    run_launch,
)
from indoor.measure.process import ChildLostError
from indoor.records import write_record

AGAIN_SHARE = 0.2
"""Of a launch's time, for the second copy of base; the cheapest cells, one at least."""

MIN_LAUNCH_S = 1e-3
"""Whatever is subtracted from a launch, it took some time."""

MAX_SHARE = 2.0
"""Decided cells leave their time to open ones: these get up to so many times their usual pairs."""


def measure_cells(job: GateJob, arms: tuple[Arm, ...], rules: LaunchRules, tally: Tally) -> None:
    """Measure the cells of `tally.rules`, and leave in `tally` what was measured and decided.

    Args:
        job: What to compare.
        arms: Base, head and base's second copy, as prepared.
        rules: What all launches share.
        tally: Hears of everything at once, so that nothing is lost with an exception.

    Raises:
        ChildLostError, KeyboardInterrupt, OSError: What broke the run off.
    """
    _Measuring(job, arms, rules, tally).run()


class _Measuring:
    """The launches of one run: what the plan asks for next, and what was measured so far."""

    def __init__(
        self, job: GateJob, arms: tuple[Arm, ...], rules: LaunchRules, tally: Tally
    ) -> None:
        self._job = job
        self._plan = job.config.plan
        self._arms = arms
        self._rules = rules
        self._tally = tally
        self._order = random.Random(job.seed)
        self._gauges: dict[str, Gauge] = {}
        self._again: tuple[str, ...] = ()
        self._failures = Failures(
            tally.rules, partial(passes_without_other_sides, arms[1], rules=rules), tally.note
        )
        tally.broken_cells, tally.skipped = self._failures.broken, self._failures.skipped
        self._num_launches = 0
        self._stopped: BaseException | None = None

    def run(self) -> None:
        """Measure until every cell is decided or time is up; judge the instrument."""
        tally = self._tally
        began = time.monotonic()
        deadline = began + 60 * self._plan.max_minutes
        # What needs no clock has had its share of the run's error, if there was any of it.
        timing = tally.budget.timing if tally.budget else self._plan.alpha_fail
        procedure = run_plan(tally.rules, replace(self._plan, alpha_fail=timing))
        request = next(procedure)
        took: list[float] = []
        try:
            while True:
                started = time.monotonic()
                outcome = self._launch(request)
                self._stopped = outcome.stopped
                ended = time.monotonic()
                tally.measure_s = ended - began
                # The next launches take about as long as the last two; those that confirm, less,
                # and after them all open cells are measured again. Some things are done once.
                launch_s = ended - started - math.fsum(outcome.once_s)
                if not request.confirms or not took:
                    took = [*took, max(MIN_LAUNCH_S, launch_s)][-2:]
                crowded = frozenset[str]()
                if not request.confirms and not self._stopped:
                    crowded, freed_s = self._make_room(outcome, took[-1], deadline - ended)
                    if crowded:
                        took = [max(MIN_LAUNCH_S, took[-1] - freed_s)]
                left = max(0, int((deadline - ended) / (sum(took) / len(took))))
                self._tell_pace(ended - started, left, outcome)
                request = procedure.send(self._take(outcome, request, left, crowded))
        except StopIteration as stop:
            decisions: dict[str, CellDecision] = stop.value
        tally.decisions = decisions
        again = tally.pairs("again", self._gauges)
        tally.instrument = judge_instrument(
            {cell: launches for cell, launches in again.items() if launches},
            tally.pairs("head", (CONTROL,))[CONTROL],
            tally.idle_shares(),
            self._plan,
        )
        if self._stopped is not None:
            raise self._stopped

    def _make_room(
        self, outcome: LaunchOutcome, launch_s: float, left_s: float
    ) -> tuple[frozenset[str], float]:
        """Leave out the costliest cells where the minutes hold too few launches of all.

        One that looks slower on head stays, whatever it costs.

        Returns:
            Those left out, and the seconds of a launch that they would take.
        """
        num_done = self._num_launches + 1
        needed = min(MIN_LAUNCHES, self._plan.looks[0])
        if num_done >= needed or num_done + int(left_s / launch_s) >= needed:
            return frozenset(), 0.0
        gauges = self._gauges | outcome.gauges
        costs = {
            cell: gauges[cell].launch_s
            for cell, trace in outcome.traces.items()
            if cell in gauges and cell not in self._again and "head" in trace.seconds
            if np.median(log_ratios(trace, "head")) < math.log1p(self._tally.rules[cell].tolerance)
        }
        fixed_s = max(0.0, launch_s - math.fsum(costs.values()))
        crowded = cells_without_room(costs, fixed_s, left_s, needed - num_done)
        for cell in crowded:
            self._leave_out(cell, f"about {costs[cell]:.1f} s")
        return frozenset(crowded), math.fsum(costs[cell] for cell in crowded)

    def _leave_out(self, cell: str, cost: str) -> None:
        report = report_left_out(cell, self._tally.rules[cell], self._plan, cost)
        self._failures.broken[cell] = report
        self._tally.note(f"{cell} is {report.reason}; {report.advice}")

    def _tell_pace(self, launch_s: float, launches_left: int, outcome: LaunchOutcome) -> None:
        """Say early where time will be up before the first look; the first launch is no measure."""
        first, num_done = self._plan.looks[0], self._num_launches + 1
        if self._stopped or num_done + launches_left >= first:
            return
        if num_done == 2 or (num_done == 1 and not launches_left):
            needed = math.ceil(launch_s * (first + self._plan.num_confirming) / 60)
            self._tally.note(
                f"a launch takes {launch_s:.0f} s, so {self._plan.max_minutes:g} minutes hold "
                f"{num_done + launches_left} of the {first} that the first look is to see: give "
                f"it {needed} (--minutes), or fewer cells (select)"
                f"{costliest(self._gauges | outcome.gauges, outcome.traces, launch_s)}"
            )

    def _launch(self, request: LaunchRequest) -> LaunchOutcome:
        try:
            return run_launch(
                self._arms,
                self._arms_of(request),
                self._gauges,
                self._rules,
                number=self._num_launches + 1,
                confirms=request.confirms,
                order=self._order,
                # Starting workers costs as much for one cell as for all.
                share=min(MAX_SHARE, len(self._tally.rules) / len(request.cells)),
            )
        except (KeyboardInterrupt, OSError) as stopped:  # while the workers are ended
            return LaunchOutcome(stopped=stopped)

    def _arms_of(self, request: LaunchRequest) -> dict[str, tuple[str, ...]]:
        """Return which arms measure which cells in the next launch."""
        # A third worker's start is dear, and after the first look every other launch will do.
        number = self._num_launches + 1
        watches = not request.confirms and (number <= self._plan.looks[0] or number % 2 == 0)
        arms: dict[str, tuple[str, ...]] = {}
        for cell in request.cells:
            both = cell in self._again and watches
            arms[cell] = ("base", "head", "again") if both else ("base", "head")
        if watches:
            # The instrument is watched to the end, whatever became of its cell.
            for cell in self._again:
                arms.setdefault(cell, ("base", "again"))
        return arms

    def _take(
        self,
        outcome: LaunchOutcome,
        request: LaunchRequest,
        launches_left: int,
        crowded: frozenset[str],
    ) -> LaunchResult:
        """Keep what a launch measured, and return it as the plan wants it.

        `crowded` are cells that are left out from now on.
        """
        self._num_launches += 1
        first = not self._gauges
        cold = [c for c, g in outcome.gauges.items() if g.is_cold and c not in self._gauges]
        if cold:
            self._tally.note(
                f"asked for one round without warm-up, so that each launch times the first call "
                f"alone: {listed(cold)}; warmup_rounds=1 would have them timed warm"
            )
        self._gauges |= outcome.gauges
        if first and self._gauges:
            kept = {cell: g for cell, g in self._gauges.items() if cell not in crowded}
            self._again = _cheapest(kept)
        for cell, trace in outcome.traces.items():
            gauge = self._gauges.get(cell)
            self._tally.add_trace(cell, gauge.iterations if gauge else 1, trace)
        dropped: frozenset[str] = frozenset()
        try:  # a test may be run once more, alone, for which there is no time after Ctrl-C
            if self._stopped is None or isinstance(self._stopped, ChildLostError):
                dropped = self._judge_failures(outcome, request)
        except (KeyboardInterrupt, OSError) as stopped:
            self._stopped = stopped
        broke_off = self._stopped is not None or not self._save()
        looks = [look for look in self._plan.looks if look > self._num_launches]
        self._job.say(
            f"launch {self._num_launches}{' (to reproduce)' if request.confirms else ''}: "
            f"pairs of {len(outcome.traces.keys() & set(request.cells))} of "
            f"{len(request.cells)} open cells, "
            f"{self._tally.measure_s:.0f} s so far"
            + (f"; next look after launch {looks[0]}" if looks and not request.confirms else "")
        )
        pairs = {
            cell: log_ratios(trace, "head")
            for cell, trace in outcome.traces.items()
            if cell in request.cells and "head" in trace.seconds
        }
        return LaunchResult(
            pairs=pairs, dropped=dropped | crowded, launches_left=launches_left, broke_off=broke_off
        )

    def _judge_failures(self, outcome: LaunchOutcome, request: LaunchRequest) -> frozenset[str]:
        """Return the cells that leave the plan; others may take over as those of the A/A arm."""
        for failure in outcome.failures:
            sides = self._tally.sides
            if failure.arm == "base" and sides and (way := sides.remedy("base", failure.message)):
                self._tally.note(f"{failure.cell} fails on base{way}")
        passed = self._tally.pairs("head", [failure.cell for failure in outcome.failures])
        num_passed = {cell: len(launches) for cell, launches in passed.items()}
        costly = {f.cell: f.message for f in outcome.failures if f.outcome == "costly"}
        for cell, cost in costly.items():
            self._leave_out(cell, cost)
        failures = [failure for failure in outcome.failures if failure.cell not in costly]
        dropped = self._failures.judge(failures, request.cells, num_passed) | frozenset(costly)
        lost = {f.cell for f in outcome.failures if f.cell not in request.cells} | dropped
        if lost & set(self._again):
            lost |= self._failures.broken.keys()
            self._again = _cheapest({c: g for c, g in self._gauges.items() if c not in lost})
        return dropped

    def _save(self) -> bool:
        """Keep what there is so far in case all is killed; return whether that worked."""
        if self._job.out is not None:
            try:
                write_record(self._job.out, self._tally.report(unfinished=True))
            except IndoorError as error:
                self._tally.break_off(str(error))
                return False
        return True


def _cheapest(gauges: Mapping[str, Gauge]) -> tuple[str, ...]:
    """Return the cells that a second copy of base measures, too."""
    costs = {cell: gauge.pair_s * gauge.num_pairs for cell, gauge in gauges.items()}
    budget = AGAIN_SHARE * math.fsum(costs.values())
    chosen: list[str] = []
    for cell in sorted(costs, key=lambda name: costs[name]):
        if chosen and sum(costs[name] for name in [*chosen, cell]) / 2 > budget:
            break
        chosen.append(cell)
    return tuple(chosen[:2])
