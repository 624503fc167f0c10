"""One launch: fresh workers of all arms, every cell once, its rounds side by side in time."""

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import indoor
from indoor.gate.records import LaunchTrace
from indoor.gate.worker.arms import Arm, LaunchRules, start_worker
from indoor.measure.pairs import RemoteCall, UnexpectedAnswerError, take_rounds
from indoor.measure.process import ChildLostError, ChildProcess
from indoor.measure.worker import TurnResult

CONTROL = "control"
"""The name of the frozen workload's trace."""

NUM_DISCARDED = 1
"""Rounds at the start of a turn: the other side's turn has emptied the caches."""

NUM_CONTROL_PAIRS = 12
CONTROL_ITERATIONS = 300
"""About 2 ms of copies within the second-level cache."""

LONG_S = 0.1
"""Filling the caches again takes a few milliseconds; of a round as long, setup included, it is no
matter, and a second round would cost as much as another pair."""

SPIN_S = 0.015
"""A team of threads spins for some 6 ms when its work is done (libgomp's default), in the other
side's turn. Discarded rounds that take longer outlast it; before others the turn waits for it."""

ROUND_S = 0.005
"""Short functions are repeated until a round takes so long: 1,000 times a clock's resolution."""

MAX_OTHER_SHARE = 0.1
"""A round of whose CPU time other threads take less has one thread to speak of."""

WARMUP_S = 0.05
MAX_PADDING = 4096
"""Bytes of environment that move the stack, so that no launch's layout is another's."""


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """How a cell is measured in every launch, found once on base."""

    iterations: int
    num_pairs: int
    pair_s: float
    """Of the wall's time: a test's setup counts."""
    num_discarded: int = NUM_DISCARDED
    other_share: float = 0.0
    """Of a round's CPU time, what other threads than the test's take; the larger of both sides."""

    @property
    def discarded_s(self) -> float:
        """Seconds that a turn's discarded rounds take."""
        return self.pair_s / 2 * self.num_discarded / (1 + self.num_discarded)


@dataclass(frozen=True, kw_only=True)
class CellFailure:
    """A cell's test that did not pass, or measured nothing, on one arm."""

    cell: str
    arm: str
    outcome: str
    message: str


@dataclass(frozen=True, kw_only=True)
class LaunchOutcome:
    """What a launch measured, by cell; what failed; and the gauges of cells met for the first time.

    `stopped` is what broke the launch off, if something did: a lost worker, an interruption, a full
    disk. What was whole by then is here.
    """

    traces: dict[str, LaunchTrace] = field(default_factory=dict)
    failures: list[CellFailure] = field(default_factory=list)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    stopped: ChildLostError | KeyboardInterrupt | OSError | None = None


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

    Only one worker runs at a time: the others wait for a message, in a test or between two.

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
    try:
        with ExitStack() as stack:
            for name, arm in crew.items():
                log = rules.logs / f"launch{number:02d}-{name}.log"
                workers[name] = start_worker(arm, log, layout)
                stack.callback(workers[name].kill)
            _Launch(
                arms=crew,
                workers=workers,
                cells=cells,
                gauges=dict(gauges),
                rules=rules,
                number=number,
                confirms=confirms,
                order=order,
                outcome=outcome,
                cpu=order.choice(sorted(indoor.CPUS_AT_START)),
            ).run(names, share)
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

    def run(self, names: Sequence[str], share: float) -> None:
        """Go through the cells in that order."""
        known = self._collect()
        present = []
        for cell in names:
            lacking = [arm for arm in self.cells[cell] if cell not in known[arm]]
            for arm in lacking:
                self._fail(cell, arm, "missing", "the suite has no such test any more")
            if not lacking:
                present.append(cell)
        pids = {name: worker.pid for name, worker in self.workers.items()}
        for name, worker in self.workers.items():
            self.left[name] = [cell for cell in present if name in self.cells[cell]]
            peers = [pid for other, pid in pids.items() if other != name]
            worker.send("order", cells=self.left[name], peers=peers)
            if self.left[name]:  # one after another: two teams of threads would fight for CPUs
                self.said[name] = worker.receive(self.rules.start_s)
        for cell in present:
            arms = list(self.cells[cell])
            self._measure(cell, arms, share)
            for arm in arms:
                self._end_test(cell, arm)
        for name, worker in self.workers.items():
            if self.said.get(name):
                worker.send("next")
        for worker in self.workers.values():
            worker.wait(self.rules.hang_s)

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
            gauge = self.gauges.get(cell) or self._find_gauge(cell, arms)
            # On two CPUs of which another program uses one, an arm each would differ all along.
            cpu = self.cpu if gauge.other_share < MAX_OTHER_SHARE else None
            settles = cpu is None and gauge.discarded_s < SPIN_S
            calls = self._calls(arms, iterations=gauge.iterations, cpu=cpu, settles=settles)
            min_calls = 2 if gauge.num_discarded else 1  # a long round is dear
            for call in calls.values():
                call.warm_up(min_calls=min_calls, min_s=WARMUP_S, max_s=WARMUP_S)
            num_pairs = gauge.num_pairs
            if "head" in arms:  # a second copy of base alone is not what is doubtful
                most = max(num_pairs, self.rules.plan.max_pairs)
                num_pairs = min(most, int(num_pairs * share))
            rounds = self._take_pairs(calls, num_pairs, gauge.num_discarded)
        except UnexpectedAnswerError as ended:  # the test was over while its rounds were timed
            self.said[ended.name] = ended.message
            return
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

    def _find_gauge(self, cell: str, arms: Sequence[str]) -> Gauge:
        """Calibrate the timer on base, and give the cell its share of a launch.

        The others are asked as well, since head may use more threads or time than base does.
        """
        plan = self.rules.plan
        told = [call.ask("calibrate", min_s=ROUND_S) for call in self._calls(arms).values()]
        iterations = int(told[0]["iterations"])
        # On the wall, setup included, which is what a launch has to spend.
        round_s = sum(
            one["beside_s"] + one["seconds"] / one["iterations"] * iterations for one in told
        ) / len(told)
        num_discarded = NUM_DISCARDED if round_s < LONG_S else 0
        # A coarse timer may see nothing pass; its ratios are then no numbers, and nothing is shown.
        pair_s = max(1e-9, 2 * (1 + num_discarded) * round_s)
        cell_s = min(plan.launch_s, plan.cells_s / len(self.cells))
        num_pairs = min(plan.max_pairs, max(plan.min_pairs, int(cell_s / pair_s)))
        gauge = Gauge(
            iterations=iterations,
            num_pairs=num_pairs,
            pair_s=pair_s,
            num_discarded=num_discarded,
            other_share=max(float(one["other_share"]) for one in told),
        )
        self.gauges[cell] = self.outcome.gauges[cell] = gauge
        return gauge

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
            said = worker.ask("finish", self.rules.hang_s)
        assert (said["event"], said["cell"]) == ("tested", cell), f"{arm} said {said} in {cell}"
        self.rules.check_imports(self.arms[arm], said["modules"])
        if said["outcome"] != "passed":
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
