"""One launch: fresh workers of all arms, every cell once, its rounds side by side in time."""

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from indoor.gate.records import LaunchTrace
from indoor.gate.worker.outcome import (
    CONTROL,
    NUM_DISCARDED,
    CellFailure,
    Gauge,
    LaunchOutcome,
    LaunchRules,
)
from indoor.gate.worker.process import Arm, Worker, WorkerLostError

NUM_CONTROL_PAIRS = 12
CONTROL_ITERATIONS = 300
"""About 2 ms of copies within the second-level cache."""

LONG_S = 0.1
"""Filling the caches again takes a few milliseconds; of a round as long it is no matter, and a
second round would cost as much as another pair."""

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


class _TestEndedError(Exception):
    """A test that ended while its rounds were timed."""

    def __init__(self, arm: str, message: dict[str, Any]) -> None:
        super().__init__(arm)
        self.arm = arm
        self.message = message


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
    padding = "x" * order.randrange(MAX_PADDING)
    names = list(cells)
    order.shuffle(names)
    try:
        with _crew([a for a in arms if a.name in needed], rules, number, padding) as workers:
            launch = _Launch(workers, cells, gauges, rules, number, confirms, order, outcome)
            launch.run(names, share)
    except (WorkerLostError, KeyboardInterrupt, OSError) as stopped:
        return replace(outcome, stopped=stopped)
    return outcome


@contextmanager
def _crew(
    arms: Sequence[Arm], rules: LaunchRules, number: int, padding: str
) -> Iterator[dict[str, Worker]]:
    """Start a worker of each arm, and end them all whatever happens."""
    workers: dict[str, Worker] = {}
    environment = {"INDOOR_GATE_PADDING": padding, "PYTHONHASHSEED": str(number)}
    try:
        for arm in arms:
            log = rules.logs / f"launch{number:02d}-{arm.name}.log"
            workers[arm.name] = Worker(arm, log, environment)
        yield workers
    finally:
        for worker in workers.values():
            worker.kill()


class _Launch:
    """The state of a launch: what each worker said last."""

    def __init__(
        self,
        workers: dict[str, Worker],
        cells: Mapping[str, Sequence[str]],
        gauges: Mapping[str, Gauge],
        rules: LaunchRules,
        number: int,
        confirms: bool,
        order: random.Random,
        outcome: LaunchOutcome,
    ) -> None:
        self._workers = workers
        self._cells = cells
        self._gauges = dict(gauges)
        self._rules = rules
        self._number = number
        self._confirms = confirms
        self._order = order
        self._outcome = outcome
        self._said: dict[str, dict[str, Any]] = {}
        self._left: dict[str, list[str]] = {}
        self._cpu = order.choice(_usable_cpus())

    def run(self, names: Sequence[str], share: float) -> None:
        """Go through the cells in that order."""
        known = self._collect()
        present = []
        for cell in names:
            lacking = [arm for arm in self._cells[cell] if cell not in known[arm]]
            for arm in lacking:
                self._fail(cell, arm, "missing", "the suite has no such test any more")
            if not lacking:
                present.append(cell)
        pids = {name: worker.pid for name, worker in self._workers.items()}
        for name, worker in self._workers.items():
            self._left[name] = [cell for cell in present if name in self._cells[cell]]
            worker.send("order", cells=self._left[name])
            if self._left[name]:  # one after another: two teams of threads would fight for CPUs
                self._said[name] = worker.receive(self._rules.start_s)
                worker.send("peers", pids=[pid for other, pid in pids.items() if other != name])
        for cell in present:
            arms = list(self._cells[cell])
            self._measure(cell, arms, share)
            for arm in arms:
                self._end_test(cell, arm)
        for name, worker in self._workers.items():
            if self._said.get(name):
                worker.send("next")
        for worker in self._workers.values():
            worker.wait(self._rules.hang_s)

    def _collect(self) -> dict[str, dict[str, Any]]:
        known = {}
        for name, worker in self._workers.items():
            message = worker.receive(self._rules.start_s)
            self._rules.check_imports(worker.arm, message["modules"])
            known[name] = message["cells"]
        return known

    def _measure(self, cell: str, arms: Sequence[str], share: float) -> None:
        """Take the cell's pairs, unless a test has ended without handing anything to time."""
        if any(self._said[arm]["event"] != "ready" for arm in arms):
            return
        try:
            if "head" in arms and CONTROL not in self._outcome.traces:
                self._measure_control(("base", "head"))
            gauge = self._gauges.get(cell) or self._find_gauge(cell, arms)
            # On two CPUs of which another program uses one, an arm each would differ all along.
            cpu = self._cpu if gauge.other_share < MAX_OTHER_SHARE else None
            fields = {
                "iterations": gauge.iterations,
                "seconds": WARMUP_S,
                "calls": 2 if gauge.num_discarded else 1,  # a long round is dear
                "cpu": cpu,
            }
            for arm in arms:
                self._ask(arm, "warm", "warm", **fields)
            num_pairs = gauge.num_pairs
            if "head" in arms:  # a second copy of base alone is not what is doubtful
                most = max(num_pairs, self._rules.plan.max_pairs)
                num_pairs = min(most, int(num_pairs * share))
            seconds, idle = self._pairs(
                arms,
                num_pairs,
                "turn",
                "round",
                iterations=gauge.iterations,
                discard=gauge.num_discarded,
                settle=cpu is None and gauge.discarded_s < SPIN_S,
                cpu=cpu,
            )
        except _TestEndedError as ended:
            self._said[ended.arm] = ended.message
            return
        self._outcome.traces[cell] = LaunchTrace(
            launch=self._number,
            confirms=self._confirms,
            seconds={
                arm: tuple(value / gauge.iterations for value in values)
                for arm, values in seconds.items()
            },
            idle_share=sum(idle) / len(idle) if idle else None,
        )

    def _find_gauge(self, cell: str, arms: Sequence[str]) -> Gauge:
        """Calibrate the timer on base, and give the cell its share of a launch.

        The others are asked as well, since head may use more threads than base does.
        """
        plan = self._rules.plan
        found, *others = [
            self._ask(arm, "calibrate", "calibrated", seconds=ROUND_S) for arm in arms
        ]
        num_discarded = NUM_DISCARDED if float(found["seconds"]) < LONG_S else 0
        # A coarse timer may see nothing pass; its ratios are then no numbers, and nothing is shown.
        pair_s = max(1e-9, 2 * (1 + num_discarded) * float(found["seconds"]))
        num_pairs = min(plan.max_pairs, max(plan.min_pairs, int(plan.launch_s / pair_s)))
        gauge = Gauge(
            iterations=int(found["iterations"]),
            num_pairs=num_pairs,
            pair_s=pair_s,
            num_discarded=num_discarded,
            other_share=max(float(told["other_share"]) for told in (found, *others)),
        )
        self._gauges[cell] = self._outcome.gauges[cell] = gauge
        return gauge

    def _measure_control(self, arms: Sequence[str]) -> None:
        seconds, _ = self._pairs(
            arms,
            NUM_CONTROL_PAIRS,
            "control",
            "control",
            iterations=CONTROL_ITERATIONS,
            discard=NUM_DISCARDED,
            settle=False,
            cpu=self._cpu,
        )
        self._outcome.traces[CONTROL] = LaunchTrace(
            launch=self._number,
            confirms=self._confirms,
            seconds={arm: tuple(values) for arm, values in seconds.items()},
        )

    def _pairs(
        self,
        arms: Sequence[str],
        num_pairs: int,
        what: str,
        answer: str,
        *,
        iterations: int,
        discard: int,
        settle: bool,
        cpu: int | None,
    ) -> tuple[dict[str, list[float]], list[float]]:
        """Return each arm's rounds, and the CPU time of those that waited as shares of them."""
        fields = {"iterations": iterations, "discard": discard, "settle": settle, "cpu": cpu}
        seconds: dict[str, list[float]] = {arm: [] for arm in arms}
        idle: list[float] = []
        turns = list(arms)
        for _ in range(num_pairs):
            self._order.shuffle(turns)
            for arm in turns:
                told = self._ask(arm, what, answer, **fields)
                seconds[arm].append(float(told["seconds"]))
                if told.get("idle") is not None:
                    idle.append(float(told["idle"]))
        return seconds, idle

    def _ask(self, arm: str, what: str, answer: str, **fields: Any) -> dict[str, Any]:
        message = self._workers[arm].ask(what, self._rules.hang_s, **fields)
        if message["event"] != answer:
            raise _TestEndedError(arm, message)
        return message

    def _end_test(self, cell: str, arm: str) -> None:
        """Let the test go on to its assertions, then the worker to its next test."""
        worker = self._workers[arm]
        said = self._said[arm]
        if said["event"] == "ready":
            said = worker.ask("finish", self._rules.hang_s)
        assert (said["event"], said["cell"]) == ("tested", cell), f"{arm} said {said} in {cell}"
        self._rules.check_imports(worker.arm, said["modules"])
        if said["outcome"] != "passed":
            self._fail(cell, arm, said["outcome"], said["message"])
        elif not said["timed"]:
            self._fail(cell, arm, "untimed", "the test passed without calling benchmark")
        self._left[arm].remove(cell)
        if self._left[arm]:
            self._said[arm] = worker.ask("next", self._rules.start_s)

    def _fail(self, cell: str, arm: str, outcome: str, message: str) -> None:
        self._outcome.traces.pop(cell, None)  # no time is worth keeping of a test that failed
        self._outcome.failures.append(
            CellFailure(cell=cell, arm=arm, outcome=outcome, message=message)
        )


def _usable_cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
