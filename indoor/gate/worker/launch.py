"""One launch: fresh workers of all arms, every cell once, its rounds side by side in time."""

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import indoor
from indoor.gate.records import LaunchTrace
from indoor.gate.worker.arms import Arm, LaunchRules, start_worker
from indoor.gate.worker.gauge import (
    MIN_PAIR_S,
    NUM_DISCARDED,
    SPIN_S,
    CostlyCellError,
    Gauge,
    NeverDoneError,
    beyond_share_s,
    find_gauge,
    limited_gauge,
    longest_launch_s,
)
from indoor.gate.worker.outcome import CONTROL, CellFailure, LaunchOutcome
from indoor.measure.pairs import RemoteCall, UnexpectedAnswerError, take_rounds
from indoor.measure.process import ChildLostError, ChildProcess
from indoor.measure.worker import TurnResult

NUM_CONTROL_PAIRS = 12
CONTROL_ITERATIONS = 300
"""About 2 ms of copies within the second-level cache."""

WARMUP_S = 0.05

MAX_LOST = 4
"""Where so many workers are lost before a launch's first cell is done, no test is to blame."""

MAX_PADDING = 4096
"""Bytes of environment that move the stack, so that no launch's layout is another's."""


def run_launch(
    arms: Sequence[Arm],
    cells: Mapping[str, Sequence[str]],
    gauges: Mapping[str, Gauge],
    rules: LaunchRules,
    *,
    number: int,
    confirms: bool,
    order: random.Random,
    share: float = 1.0,
) -> LaunchOutcome:
    """Start every arm anew and measure the cells in pairs.

    Only one worker runs at a time: the others wait for a message, in a test or between two. A test
    that hangs or ends its worker costs its own cell: the others go on in fresh workers.

    Args:
        arms: The first is base; each has a name of its own.
        cells: The names of the arms that measure each cell; base is always among them.
        gauges: Of the cells that an earlier launch measured.
        rules: What all launches share.
        number: Counts the launches.
        confirms: Whether it is to reproduce a finding.
        order: Decides the orders of cells and of turns, and the layouts.
        share: How many times its usual pairs a cell gets, up to the plan's most.

    Returns:
        What was measured, which is less than was asked for if the launch was stopped or a test
        failed.

    Raises:
        IndoorError: A worker cannot be started, or imports from elsewhere than its tree.
    """
    outcome = LaunchOutcome()
    needed = {name for names in cells.values() for name in names}
    layout = {
        "INDOOR_GATE_PADDING": "x" * order.randrange(MAX_PADDING),
        "PYTHONHASHSEED": str(number),
    }
    names = list(cells)
    order.shuffle(names)
    crew = {arm.name: arm for arm in arms if arm.name in needed}
    workers: dict[str, ChildProcess] = {}
    cpu = order.choice(sorted(indoor.CPUS_AT_START))
    num_lost = 0
    restarted: float | None = None
    try:
        while names:
            with ExitStack() as stack:
                for name, arm in crew.items():
                    log = rules.logs / f"launch{number:02d}-{name}.log"
                    workers[name] = start_worker(arm, log, layout)
                    stack.callback(workers[name].kill)
                left, lost = _Launch(
                    arms=crew,
                    workers=workers,
                    cells=cells,
                    gauges={**gauges, **outcome.gauges},
                    rules=rules,
                    number=number,
                    confirms=confirms,
                    order=order,
                    outcome=outcome,
                    cpu=cpu,
                    restarted=restarted,
                ).run(names, share)
            restarted = None if lost else time.monotonic()
            num_lost += lost is not None
            if lost is not None and num_lost == MAX_LOST == len(cells) - len(left):
                return replace(outcome, stopped=lost)
            names = left
    except (ChildLostError, KeyboardInterrupt, OSError) as stopped:
        return replace(outcome, stopped=stopped)
    return outcome


@dataclass(kw_only=True)
class _Launch:
    """The state of a launch: what each worker said last, and which cells it has left."""

    arms: Mapping[str, Arm]
    workers: Mapping[str, ChildProcess]
    cells: Mapping[str, Sequence[str]]
    gauges: dict[str, Gauge]
    rules: LaunchRules
    number: int
    confirms: bool
    order: random.Random
    outcome: LaunchOutcome
    cpu: int
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    costly: set[str] = field(default_factory=set)
    restarted: float | None = None
    """When those of before were ended for a cell that is left out, if they were."""

    def run(self, names: Sequence[str], share: float) -> tuple[list[str], ChildLostError | None]:
        """Go through the cells in that order.

        Returns:
            The cells that are left, and the worker that was lost in the test of another.

        Raises:
            ChildLostError: One was lost that no test is to blame for.
        """
        known = self._collect()
        if self.restarted is not None:
            self.outcome.once_s.append(time.monotonic() - self.restarted)
        present = []
        for cell in names:
            lacking = [arm for arm in self.cells[cell] if cell not in known[arm]]
            for arm in lacking:
                self._fail(cell, arm, "missing", "this collection of the suite has no such id")
            if not lacking:
                present.append(cell)
        pids = {name: worker.pid for name, worker in self.workers.items()}
        for name in self.workers:
            self.left[name] = [cell for cell in present if name in self.cells[cell]]
        try:
            for name, worker in self.workers.items():
                peers = [pid for other, pid in pids.items() if other != name]
                worker.send("order", cells=self.left[name], peers=peers)
                if self.left[name]:  # one after another: two teams of threads would fight for CPUs
                    self.said[name] = worker.receive(self.rules.start_s)
            for cell in present:
                arms = list(self.cells[cell])
                self._measure(cell, arms, share)
                for arm in arms:
                    self._end_test(cell, arm)
        except ChildLostError as lost:
            left = self._blame_test(lost, present)
            return left, None if isinstance(lost, NeverDoneError) else lost
        for name, worker in self.workers.items():
            if self.said.get(name):
                worker.send("next")
        for worker in self.workers.values():
            worker.wait(self.rules.hang_s)
        return [], None

    def _blame_test(self, lost: ChildLostError, present: Sequence[str]) -> list[str]:
        """Let a lost worker cost the cell whose test it was in; return the cells that are left.

        Raises:
            ChildLostError: It was killed from outside, or was in no test.
        """
        unfinished = [c for c in present if any(c in self.left[arm] for arm in self.cells[c])]
        if (lost.cut_off and not lost.hangs) or not self.left[lost.name]:
            raise lost
        culprit = self.left[lost.name][0]
        for cell in unfinished:  # what was measured of it may have failed later
            self.outcome.traces.pop(cell, None)
        self.outcome.failures[:] = [f for f in self.outcome.failures if f.cell not in unfinished]
        if isinstance(lost, NeverDoneError):  # it hangs or is slow: no time to compare head's with
            self._fail(culprit, lost.name, "costly", f"more than {self._patience_s:.0f} s")
        else:
            self._fail(culprit, lost.name, "lost", lost.reason)
        return [cell for cell in unfinished if cell != culprit]

    @property
    def _patience_s(self) -> float:
        """Seconds in which base is to tell how long a cell takes; half a launch is not worth it."""
        return min(self.rules.hang_s, longest_launch_s(self.rules.plan) / 2)

    def _collect(self) -> dict[str, dict[str, Any]]:
        known = {}
        for name, worker in self.workers.items():
            message = worker.receive(self.rules.start_s)
            self.rules.check_imports(self.arms[name], message["modules"])
            known[name] = message["cells"]
        return known

    def _measure(self, cell: str, arms: Sequence[str], share: float) -> None:
        """Take the cell's pairs, unless a test has ended without handing anything to time."""
        if any(self.said[arm]["event"] != "ready" for arm in arms):
            return
        try:
            if "head" in arms and CONTROL not in self.outcome.traces:
                self._measure_control(("base", "head"))
            gauge = self._gauge_of(cell, arms)
            # On two CPUs of which another program uses one, an arm each would differ all along.
            cpu = self.cpu if gauge.has_one_thread else None
            settles = cpu is None and gauge.discarded_s < SPIN_S
            calls = self._calls(arms, iterations=gauge.iterations, cpu=cpu, settles=settles)
            self._warm_up(calls, gauge)
            num_pairs = gauge.num_pairs
            # A second copy of base alone is not what is doubtful.
            if "head" in arms and not gauge.is_limited:
                most = max(num_pairs, self.rules.plan.max_pairs)
                num_pairs = min(most, int(num_pairs * share))
            rounds = self._take_pairs(calls, num_pairs, gauge.num_discarded)
        except UnexpectedAnswerError as ended:  # the test was over while its rounds were timed
            self.said[ended.name] = ended.message
            return
        except CostlyCellError as costly:
            self.costly.add(cell)
            self._fail(cell, "base", "costly", str(costly))
            return
        if gauge.is_limited:  # before, nobody knew how long it takes
            pair_s = sum(turn.seconds for a_round in rounds for turn in a_round.values())
            self.outcome.gauges[cell] = replace(gauge, pair_s=max(MIN_PAIR_S, pair_s / len(rounds)))
        idle = [
            t.idle_share for a_round in rounds for t in a_round.values() if t.idle_share is not None
        ]
        self.outcome.traces[cell] = LaunchTrace(
            launch=self.number,
            confirms=self.confirms,
            seconds={
                arm: tuple(a_round[arm].seconds / gauge.iterations for a_round in rounds)
                for arm in arms
            },
            idle_share=sum(idle) / len(idle) if idle else None,
        )

    def _gauge_of(self, cell: str, arms: Sequence[str]) -> Gauge:
        """Return how the cell is measured, which the first launch finds out."""
        if cell in self.gauges:
            return self.gauges[cell]
        cold = [asked for arm in arms if (asked := self.said[arm].get("cold"))]
        if len(cold) == len(arms):  # else one that warms up would be beside one that does not
            gauge = limited_gauge(cold[0], self.rules.plan)
        else:
            plan, num_cells = self.rules.plan, len(self.cells)
            spent = (beyond_share_s(g, plan, num_cells) for g in self.outcome.gauges.values())
            calls = self._calls(arms)
            calls["base"] = replace(calls["base"], timeout_s=self._patience_s)
            began = time.monotonic()
            try:
                gauge = find_gauge(calls, plan, num_cells, sum(spent))
            finally:
                self.outcome.once_s.append(time.monotonic() - began)
        self.gauges[cell] = self.outcome.gauges[cell] = gauge
        return gauge

    @staticmethod
    def _warm_up(calls: Mapping[str, RemoteCall], gauge: Gauge) -> None:
        if gauge.num_warmups is None:
            min_calls, for_s = 2 if gauge.num_discarded else 1, WARMUP_S  # a long round is dear
        else:
            min_calls, for_s = gauge.num_warmups, 0.0
        for call in calls.values() if min_calls else ():
            call.warm_up(min_calls=min_calls, min_s=for_s, max_s=for_s)

    def _measure_control(self, arms: Sequence[str]) -> None:
        calls = self._calls(arms, iterations=CONTROL_ITERATIONS, cpu=self.cpu, control=True)
        rounds = self._take_pairs(calls, NUM_CONTROL_PAIRS, NUM_DISCARDED)
        self.outcome.traces[CONTROL] = LaunchTrace(
            launch=self.number,
            confirms=self.confirms,
            seconds={arm: tuple(a_round[arm].seconds for a_round in rounds) for arm in arms},
        )

    def _calls(self, arms: Sequence[str], **fields: Any) -> dict[str, RemoteCall]:
        return {arm: RemoteCall(self.workers[arm], self.rules.hang_s, fields) for arm in arms}

    def _take_pairs(
        self, calls: Mapping[str, RemoteCall], num_pairs: int, num_discarded: int
    ) -> list[dict[str, TurnResult]]:
        turns = {arm: partial(call.turn, num_discarded) for arm, call in calls.items()}
        return list(islice(take_rounds(turns, self.order), num_pairs))

    def _end_test(self, cell: str, arm: str) -> None:
        """Let the test go on to its assertions, then the worker to its next test."""
        worker = self.workers[arm]
        said = self.said[arm]
        if said["event"] == "ready":
            # One that is left out is not to run just to be done.
            word = "leave" if cell in self.costly else "finish"
            said = worker.ask(word, self.rules.hang_s)
        assert (said["event"], said["cell"]) == ("tested", cell), f"{arm} said {said} in {cell}"
        self.rules.check_imports(self.arms[arm], said["modules"])
        gauge = self.gauges.get(cell)
        if cell in self.costly:
            pass  # which was told
        elif said["limit"] and not (gauge and gauge.is_limited):
            limited = limited_gauge(said["limit"], self.rules.plan)
            self.gauges[cell] = self.outcome.gauges[cell] = limited
            self._fail(cell, arm, "limited", said["message"])
        elif said["outcome"] != "passed":
            self._fail(cell, arm, said["outcome"], said["message"])
        elif not said["timed"]:
            self._fail(cell, arm, "untimed", "the test passed without calling benchmark")
        self.left[arm].remove(cell)
        if self.left[arm]:
            self.said[arm] = worker.ask("next", self.rules.start_s)

    def _fail(self, cell: str, arm: str, outcome: str, message: str) -> None:
        self.outcome.traces.pop(cell, None)  # no time is worth keeping of a test that failed
        self.outcome.failures.append(
            CellFailure(cell=cell, arm=arm, outcome=outcome, message=message)
        )
