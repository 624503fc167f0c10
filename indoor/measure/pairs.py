"""Measures several things side by side in time, so that noise hits them alike."""

import inspect
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from indoor.measure.process import ChildProcess
from indoor.measure.speedup import paired_speedup
from indoor.measure.worker import TurnResult, Warmup, calibrate, minor_faults, take_turn, warm_up
from indoor.records import PairedSpeedup

MIN_WARMUP_CALLS = 3
"""One cold call, and two to see whether the next is still faster."""

MIN_ROUND_S = 0.001
"""Of `measure_pair`: ten thousand times what a clock tells apart."""

Clock = Callable[[], float]


class Subject(Protocol):
    """What is measured, in this process or another."""

    def warm_up(self, *, min_calls: int, min_s: float, max_s: float) -> Warmup:
        """Call until the calls stop getting faster; see `measure.worker.warm_up`."""

    def turn(self, num_discarded: int) -> TurnResult:
        """Make that many calls, leave them out, and return what one more took."""


@dataclass(frozen=True)
class LocalCall:
    """A call in this process: `once` makes it and returns its seconds, as `timed` does."""

    once: Callable[[], float]
    count_faults: Callable[[], int] = minor_faults
    clock: Clock = time.perf_counter

    def warm_up(self, *, min_calls: int, min_s: float, max_s: float) -> Warmup:
        """Call until the calls stop getting faster."""
        return warm_up(self.once, min_calls=min_calls, min_s=min_s, max_s=max_s, clock=self.clock)

    def turn(self, num_discarded: int) -> TurnResult:
        """Make that many calls, leave them out, and return what one more took."""
        return take_turn(self.once, num_discarded, count_faults=self.count_faults)


class UnexpectedAnswerError(Exception):
    """What a process said where a time was expected; `name` is the process's."""

    def __init__(self, name: str, message: dict[str, Any]) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


@dataclass(frozen=True)
class RemoteCall:
    """A call in another process, which hands messages to `measure.worker.answer`.

    `fields` go with each message, such as the iterations of a round. Methods raise ChildLostError,
    or UnexpectedAnswerError where the process says something else.
    """

    process: ChildProcess
    timeout_s: float
    fields: Mapping[str, Any]

    def warm_up(self, *, min_calls: int, min_s: float, max_s: float) -> Warmup:
        """Have it call until the calls stop getting faster."""
        return Warmup(**self.ask("warm_up", min_calls=min_calls, min_s=min_s, max_s=max_s))

    def turn(self, num_discarded: int) -> TurnResult:
        """Have it make that many calls, leave them out, and tell what one more took."""
        return TurnResult(**self.ask("turn", num_discarded=num_discarded))

    def ask(self, what: str, **fields: Any) -> dict[str, Any]:
        """Return the answer to a message, without the event's name."""
        self.send(what, **fields)
        return self.hear(what)

    def send(self, what: str, **fields: Any) -> None:
        """Send a message whose answer is to be heard later."""
        self.process.send(what, **self.fields, **fields)

    def hear(self, what: str) -> dict[str, Any]:
        """Return the answer to the message that was sent, without the event's name."""
        message = self.process.receive(self.timeout_s)
        if message["event"] != what:
            raise UnexpectedAnswerError(self.process.name, message)
        return {name: value for name, value in message.items() if name != "event"}


def take_rounds(
    turns: Mapping[str, Callable[[], TurnResult]], order: random.Random
) -> Iterator[dict[str, TurnResult]]:
    """Yield rounds for ever: each takes a turn of every name, in random order.

    Turns of one name are correlated (its neighbours in time met the same other load), but the ratio
    of two turns of one round is not: the source of the method is duet benchmarking (Bulej et al.,
    ICPE 2020).
    """
    names = list(turns)
    while True:
        order.shuffle(names)
        yield {name: turns[name]() for name in names}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to measure a cell; all times in seconds.

    `budget_s` ends the rounds unless there are fewer than `min_rounds`, `max_rounds` ends them in
    any case. Where `wanted_rounds` are more than the budget holds, they go on for `longest_s` at
    most. A turn makes `num_calls` calls, 2 or more, of which the last is timed. A variant's
    warm-up takes `min_warmup_s` at least and is given up after `max_warmup_s`.
    """

    budget_s: float
    min_rounds: int = 12
    max_rounds: int = 1000
    num_calls: int = 2
    min_warmup_s: float = 0.2
    max_warmup_s: float = 5.0
    wanted_rounds: int = 0
    longest_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            ValueError: A number of rounds below 1, or fewer than two calls a turn.
        """
        if not 1 <= self.min_rounds <= self.max_rounds:
            raise ValueError(
                f"min_rounds {self.min_rounds}, max_rounds {self.max_rounds}: "
                "expected 1 <= min_rounds <= max_rounds"
            )
        if self.num_calls < 2:
            raise ValueError(
                f"num_calls {self.num_calls} leaves none to discard, expected 2 or more"
            )


@dataclass(frozen=True, kw_only=True)
class Series:
    """One variant's rounds in the order of time; element i of two series of a cell is a pair.

    `seconds` are those of one call, `num_faults` the minor page faults of the process during it.
    """

    seconds: tuple[float, ...]
    num_faults: tuple[int, ...]
    warmup: Warmup


def measure_interleaved(
    subjects: Mapping[str, Subject],
    plan: Plan,
    *,
    seed: int,
    clock: Clock = time.perf_counter,
    after_warmup: Callable[[], None] = lambda: None,
    after_round: Callable[[int, int], None] = lambda _done, _expected: None,
) -> dict[str, Series]:
    """Warm all subjects up, then measure them in rounds until the plan's time is over.

    Args:
        subjects: What to measure, by variant; one or more.
        plan: How long.
        seed: Decides the orders.
        clock: Seconds that the budget counts; only differences count.
        after_warmup: Called while nothing computes, before the first round.
        after_round: Hears, outside the clock, the rounds done and those expected.

    Returns:
        A series a variant, all of the same length, in the order of `subjects`.

    Raises:
        ValueError: There is nothing to measure.
    """
    if not subjects:
        raise ValueError("there is nothing to measure, expected one call or more")
    warmups = {
        name: subject.warm_up(
            min_calls=MIN_WARMUP_CALLS, min_s=plan.min_warmup_s, max_s=plan.max_warmup_s
        )
        for name, subject in subjects.items()
    }
    after_warmup()
    turns = {name: partial(subject.turn, plan.num_calls - 1) for name, subject in subjects.items()}
    rounds: list[dict[str, TurnResult]] = []
    began = clock()
    for one in take_rounds(turns, random.Random(seed)):
        rounds.append(one)
        elapsed = clock() - began
        after_round(len(rounds), _expected_rounds(len(rounds), elapsed, plan))
        is_over = elapsed >= plan.budget_s and len(rounds) >= plan.min_rounds
        is_over &= elapsed >= plan.longest_s or len(rounds) >= plan.wanted_rounds
        if is_over or len(rounds) == plan.max_rounds:
            break
    return {
        name: Series(
            seconds=tuple(one[name].seconds for one in rounds),
            num_faults=tuple(one[name].num_faults for one in rounds),
            warmup=warmups[name],
        )
        for name in subjects
    }


def measure_blocked(
    subjects: Mapping[str, Subject], num_calls: int
) -> dict[str, tuple[float, ...]]:
    """Measure each subject in a block of time of its own, as benchmarks usually do.

    It stands beside an interleaved measurement to show what the difference is; nothing is claimed
    from it. The calls are expected to be warm; the first of each block is left out nevertheless.

    Args:
        subjects: What to measure, by variant.
        num_calls: Timed calls of each, 1 or more.

    Returns:
        The seconds of each call, by variant.

    Raises:
        ValueError: `num_calls` is below 1.
    """
    if num_calls < 1:
        raise ValueError(f"num_calls {num_calls}, expected 1 or more")
    return {
        name: tuple(subject.turn(int(i == 0)).seconds for i in range(num_calls))
        for name, subject in subjects.items()
    }


def measure_pair(
    baseline: Callable[[], object],
    candidate: Callable[[], object],
    *,
    budget_s: float = 5.0,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> PairedSpeedup:
    """Measure how many times as fast one function is as another, in this process.

    Both are warmed up, then take turns in random order, so that what else the machine does hits
    both alike. A round calls a short function often enough for the clock. What one process has in
    common, such as its memory's layout, stays in the figure; `gate_callables` has fresh ones.

    Args:
        baseline: Called without arguments; its result is dropped.
        candidate: Likewise.
        budget_s: Seconds of measuring after the warm-up; 12 pairs are taken however long it is.
        seed: Decides the orders.
        clock: Seconds; only differences count.

    Returns:
        The median of the pairs' ratios baseline / candidate (above 1: the candidate is faster) with
        its 95% interval (see `paired_speedup`).

    Raises:
        ValueError: One is no function, or a call of it does none of its work.
    """
    calls = {"baseline": baseline, "candidate": candidate}
    subjects = {}
    for name, call in calls.items():
        if reason := why_no_call(call):
            raise ValueError(
                f"{name} is {call!r}, {reason}; expected a function without arguments that does "
                "its work when it is called"
            )
        subjects[name] = LocalCall(_one_of_many(call, clock), clock=clock)
    series = measure_interleaved(subjects, Plan(budget_s=budget_s), seed=seed, clock=clock)
    return paired_speedup(
        series["baseline"].seconds,
        series["candidate"].seconds,
        baseline="baseline",
        candidate="candidate",
    )


def why_no_call(call: object) -> str:
    """Return why a call of it would do none of its work; empty where it can be timed."""
    if not callable(call):
        return "which cannot be called"
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        return "a call of which only makes a generator"
    if inspect.iscoroutinefunction(call):
        return "a call of which only makes a coroutine"
    return ""


def _one_of_many(call: Callable[[], object], clock: Clock) -> Callable[[], float]:
    """Return a function that makes calls for `MIN_ROUND_S` and returns the seconds of one."""

    def time_round(iterations: int) -> float:
        start = clock()
        for _ in range(iterations):
            call()
        return clock() - start

    iterations, _ = calibrate(time_round, MIN_ROUND_S)
    return lambda: time_round(iterations) / iterations


def _expected_rounds(num_rounds: int, elapsed: float, plan: Plan) -> int:
    """Return how many rounds there will be if they go on as they did."""
    if elapsed <= 0:
        return plan.max_rounds
    affordable = int(num_rounds * plan.budget_s / elapsed)
    wanted = min(plan.wanted_rounds, int(num_rounds * plan.longest_s / elapsed))
    return max(num_rounds, min(plan.max_rounds, max(plan.min_rounds, affordable, wanted)))
