"""A gate run from two trees to one report: facts first, then launches until all is decided."""

import math
import random
import time
from collections.abc import Mapping

from indoor.errors import IndoorError
from indoor.gate.decide.decisions import CellDecision, CellRules
from indoor.gate.decide.failures import Failures
from indoor.gate.decide.instrument import judge_instrument
from indoor.gate.decide.procedure import LaunchRequest, LaunchResult, run_plan
from indoor.gate.facts.preparation import Preparation, prepare_sides
from indoor.gate.names import matches
from indoor.gate.progress import Progress, log_ratios
from indoor.gate.records import CheckReport, GateReport, GateVerdict
from indoor.gate.settings import rules_for, selects, unmatched_globs
from indoor.gate.sides.locks import machine_lock
from indoor.gate.sides.opening import GateJob, Sides, open_sides
from indoor.gate.signals import signals_as_interrupts
from indoor.gate.worker import (
    CONTROL,
    Collected,
    Gauge,
    LaunchOutcome,
    LaunchRules,
    collect_cells,
    run_launch,
)
from indoor.measure.process import ChildLostError
from indoor.records import write_record

AGAIN_SHARE = 0.2
"""Of a launch's time, for the second copy of base; the cheapest cells, one at least."""

MAX_SHARE = 2.0
"""Decided cells leave their time to open ones: these get up to so many times their usual pairs."""


def run_gate(job: GateJob) -> GateReport:
    """Compare head with base.

    Args:
        job: What to compare, and by which rules.

    Returns:
        The report; where the run was interrupted or a worker was lost, what was measured by then,
        marked partial.

    Raises:
        IndoorError: The job cannot be done as it was asked for; one line.
    """
    progress = Progress(job)
    with signals_as_interrupts():
        try:
            with machine_lock(job.lock_wait_s, job.say), open_sides(job) as sides:
                progress.begin(sides)
                _Gate(job, sides, progress).run()
        except KeyboardInterrupt as interrupt:
            progress.break_off(f"interrupted ({str(interrupt) or 'Ctrl-C'})")
        except ChildLostError as lost:
            progress.break_off(f"a worker was lost: {lost}")
        except OSError as error:  # a full disk, too many processes: nobody's code got worse
            progress.break_off(f"this machine cannot go on: {error}")
    report = progress.report()
    if job.out is not None:
        try:
            write_record(job.out, report)
        except IndoorError as error:
            progress.break_off(str(error))
            return progress.report()
    return report


class _Gate:
    """One run: its cells, its arms, and the rounds so far."""

    def __init__(self, job: GateJob, sides: Sides, progress: Progress) -> None:
        self._job = job
        self._plan = job.config.plan
        self._sides = sides
        self._progress = progress
        self._order = random.Random(job.seed)
        self._rules = LaunchRules(
            plan=self._plan,
            start_s=job.config.start_s,
            hang_s=job.config.hang_s,
            logs=sides.scratch,
            check_imports=sides.check_imports,
        )
        self._gauges: dict[str, Gauge] = {}
        self._again: tuple[str, ...] = ()
        self._failures: Failures | None = None
        self._num_launches = 0
        self._stopped: BaseException | None = None

    def run(self) -> None:
        """Collect, prepare, compare what needs no clock, then measure."""
        began = time.monotonic()
        cells = self._survey()
        if cells is None:
            return
        self._job.say(
            f"head {self._sides.head.label}, base {self._sides.base.label}, cells: {len(cells)}"
        )
        preparation = prepare_sides(
            self._sides, self._progress.collected, self._rules, self._job.say
        )
        self._progress.checks.extend(preparation.checks)
        self._progress.prepare_s = time.monotonic() - began
        failed = [c.name for c in preparation.checks if c.verdict is GateVerdict.FAIL]
        if failed:
            self._progress.note(f"nothing was timed: {', '.join(failed)} failed without a clock")
        elif not preparation.is_ready:
            self._progress.break_off(preparation.reason)
        elif cells:
            self._measure(cells, preparation)

    def _survey(self) -> dict[str, CellRules] | None:
        """Return the cells that both sides have; None where a side has no suite to speak of."""
        found: dict[str, Collected] = {}
        lost: dict[str, ChildLostError] = {}
        for name in ("base", "head"):
            try:
                found[name] = collect_cells(self._sides.arm(name), self._rules)
            except ChildLostError as error:
                if error.cut_off:
                    raise
                lost[name] = error
        self._progress.collected.update(found)
        config = self._job.config
        if len(lost) == 2:
            raise IndoorError(
                f"neither side's suite {config.suite} can be collected (head {lost['head'].reason})"
                "; expected a suite that pytest collects; run pytest on it"
            )
        if "base" in lost:
            self._progress.doubt(
                f"base's suite cannot be collected ({lost['base'].reason}), so there is nothing to "
                "compare with; name another --base"
            )
            return None
        base = {n: m for n, m in found["base"].cells.items() if selects(config, n)}
        if not base:
            raise IndoorError(
                f"no test of base uses benchmark and fits select ({', '.join(config.select)}); "
                "expected one or more; correct gate.toml"
                if config.select
                else f"no test of base's suite {config.suite} uses benchmark; expected one or more"
            )
        if "head" in lost:
            self._progress.checks.append(
                CheckReport(
                    name="collection",
                    verdict=GateVerdict.FAIL,
                    base=f"{len(base)} cells",
                    head="none",
                    reason=f"head's suite cannot be collected: {lost['head'].reason}",
                )
            )
            return None
        head = {n: m for n, m in found["head"].cells.items() if selects(config, n)}
        for glob in unmatched_globs(config, [*found["base"].cells, *found["head"].cells]):
            self._progress.note(f"{glob} in gate.toml matches no cell")
        self._progress.vanished = tuple(name for name in base if name not in head)
        for name in self._progress.vanished:
            if any(matches(name, glob) for glob in config.allow_vanished):
                self._progress.note(f"{name} vanished, which allow_vanished allows")
        self._progress.new = tuple(name for name in head if name not in base)
        rules = {}
        for name in base:
            if name in head:
                margin, tolerance = rules_for(config, name, head[name] or base[name])
                rules[name] = CellRules(margin=margin, tolerance=tolerance)
        self._progress.rules = rules
        return rules

    def _measure(self, cells: Mapping[str, CellRules], preparation: Preparation) -> None:
        began = time.monotonic()
        deadline = began + 60 * self._plan.max_minutes
        arms = [
            self._sides.arm("base", preparation.words["base"], preparation.homes["base"]),
            self._sides.arm("head", preparation.words["head"], preparation.homes["head"]),
            self._sides.arm("again", preparation.words["base"], preparation.homes["base"]),
        ]
        self._failures = Failures(self._progress, arms[1], self._rules)
        # A copy, since cells that both sides skip leave the report.
        cells = dict(cells)
        procedure = run_plan(cells, self._plan)
        request = next(procedure)
        took: list[float] = []
        try:
            while True:
                started = time.monotonic()
                try:
                    outcome = run_launch(
                        arms,
                        self._arms_of(request),
                        self._gauges,
                        self._rules,
                        number=self._num_launches + 1,
                        confirms=request.confirms,
                        order=self._order,
                        # Starting workers costs as much for one cell as for all.
                        share=min(MAX_SHARE, len(cells) / len(request.cells)),
                    )
                except (KeyboardInterrupt, OSError) as stopped:  # while the workers are ended
                    outcome = LaunchOutcome(stopped=stopped)
                self._stopped = outcome.stopped
                ended = time.monotonic()
                self._progress.measure_s = ended - began
                # The next launches take about as long as the last two; those that confirm, less,
                # and after them all open cells are measured again.
                if not request.confirms or not took:
                    took = [*took, ended - started][-2:]
                launch_s = sum(took) / len(took)
                left = max(0, int((deadline - ended) / launch_s))
                result = self._take(outcome, request, left)
                request = procedure.send(result)
        except StopIteration as stop:
            decisions: dict[str, CellDecision] = stop.value
        self._progress.decisions = decisions
        again = self._progress.pairs("again", self._gauges)
        again = {cell: launches for cell, launches in again.items() if launches}
        control = self._progress.pairs("head", (CONTROL,)).get(CONTROL)
        self._progress.instrument = judge_instrument(
            again, control, self._progress.idle_shares(), self._plan
        )
        if self._stopped is not None:
            raise self._stopped

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
        self, outcome: LaunchOutcome, request: LaunchRequest, launches_left: int
    ) -> LaunchResult:
        """Keep what a launch measured, and return it as the plan wants it."""
        self._num_launches += 1
        first = not self._gauges
        self._gauges |= outcome.gauges
        if first and self._gauges:
            self._again = _cheapest(self._gauges)
        for cell, trace in outcome.traces.items():
            gauge = self._gauges.get(cell)
            self._progress.add_trace(cell, gauge.iterations if gauge else 1, trace)
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
            f"{self._progress.measure_s:.0f} s so far"
            + (f"; next look after launch {looks[0]}" if looks and not request.confirms else "")
        )
        pairs = {
            cell: log_ratios(trace, "head")
            for cell, trace in outcome.traces.items()
            if cell in request.cells and "head" in trace.seconds
        }
        return LaunchResult(
            pairs=pairs, dropped=dropped, launches_left=launches_left, broke_off=broke_off
        )

    def _judge_failures(self, outcome: LaunchOutcome, request: LaunchRequest) -> frozenset[str]:
        """Return the cells that leave the plan; others may take over as those of the A/A arm."""
        assert self._failures is not None
        dropped = self._failures.judge(outcome.failures, request.cells)
        lost = {f.cell for f in outcome.failures if f.cell not in request.cells} | dropped
        if lost & set(self._again):
            lost |= self._progress.broken_cells.keys()
            self._again = _cheapest({c: g for c, g in self._gauges.items() if c not in lost})
        return dropped

    def _save(self) -> bool:
        """Keep what there is so far in case all is killed; return whether that worked."""
        if self._job.out is not None:
            try:
                write_record(self._job.out, self._progress.report(unfinished=True))
            except IndoorError as error:
                self._progress.break_off(str(error))
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
