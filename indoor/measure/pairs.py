"""The runner that measures several variants side by side in time, so that noise hits them alike."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from indoor.machine import minor_faults

MIN_WARMUP_CALLS = 3
"""One cold call, and two to see whether the next is still faster."""

WARMUP_GAIN = 0.03
"""A warm-up has ended when its latest calls are not faster than the earlier by more than this."""

Clock = Callable[[], float]
Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to measure a cell; all times in seconds.

    `budget_s` ends the rounds unless there are fewer than `min_rounds`, `max_rounds` ends them in
    any case. A turn makes `num_calls` calls, 2 or more, of which the last is timed. A variant's
    warm-up takes `min_warmup_s` at least and is given up after `max_warmup_s`.
    """

    budget_s: float
    min_rounds: int = 12
    max_rounds: int = 1000
    num_calls: int = 2
    min_warmup_s: float = 0.2
    max_warmup_s: float = 5.0

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
class Warmup:
    """How many calls a warm-up made, and whether they had stopped getting faster."""

    num_calls: int
    stable: bool


@dataclass(frozen=True, kw_only=True)
class Series:
    """One variant's rounds in the order of time; element i of two series of a cell is a pair.

    `seconds` are those of one call, `num_faults` the minor page faults of the process during it.
    """

    seconds: tuple[float, ...]
    num_faults: tuple[int, ...]
    warmup: Warmup


def measure_interleaved(
    calls: Mapping[str, Call],
    plan: Plan,
    *,
    seed: int,
    clock: Clock = time.perf_counter,
    count_faults: Callable[[], int] = minor_faults,
    after_round: Callable[[int, int], None] = lambda _done, _expected: None,
) -> dict[str, Series]:
    """Measure all calls in rounds: each round makes a turn of every call, in random order.

    A turn's first calls are made and left out, since the call before it was another variant's and
    has emptied the caches. Rounds of one variant are correlated (its neighbours in time met the
    same other load), but the ratio of two calls of one round is not: the source of the method is
    duet benchmarking (Bulej et al., ICPE 2020).

    Args:
        calls: What to measure, by variant; one or more.
        plan: How long.
        seed: Decides the orders.
        clock: Seconds; only differences count.
        count_faults: The process's minor page faults so far.
        after_round: Hears, outside the clock, the rounds done and those expected.

    Returns:
        A series a variant, all of the same length, in the order of `calls`.

    Raises:
        ValueError: There is nothing to measure.
    """
    if not calls:
        raise ValueError("there is nothing to measure, expected one call or more")
    order = random.Random(seed)
    warmups = {name: warm_up(call, plan, clock=clock) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    faults: dict[str, list[int]] = {name: [] for name in calls}
    names = list(calls)
    began = clock()
    num_rounds = 0
    while num_rounds < plan.max_rounds:
        order.shuffle(names)
        for name in names:
            took, num_faults = _turn(calls[name], plan.num_calls, clock, count_faults)
            seconds[name].append(took)
            faults[name].append(num_faults)
        num_rounds += 1
        elapsed = clock() - began
        after_round(num_rounds, _expected_rounds(num_rounds, elapsed, plan))
        if elapsed >= plan.budget_s and num_rounds >= plan.min_rounds:
            break
    return {
        name: Series(
            seconds=tuple(seconds[name]), num_faults=tuple(faults[name]), warmup=warmups[name]
        )
        for name in calls
    }


def measure_blocked(
    calls: Mapping[str, Call], num_calls: int, *, clock: Clock = time.perf_counter
) -> dict[str, tuple[float, ...]]:
    """Measure each call in a block of time of its own, as benchmarks usually do.

    It stands beside an interleaved measurement to show what the difference is; nothing is claimed
    from it. The calls are expected to be warm; the first of each block is left out nevertheless.

    Args:
        calls: What to measure, by variant.
        num_calls: Timed calls of each, 1 or more.
        clock: Seconds; only differences count.

    Returns:
        The seconds of each call, by variant.

    Raises:
        ValueError: `num_calls` is below 1.
    """
    if num_calls < 1:
        raise ValueError(f"num_calls {num_calls}, expected 1 or more")
    blocks: dict[str, tuple[float, ...]] = {}
    for name, call in calls.items():
        call()
        blocks[name] = tuple(_timed(call, clock) for _ in range(num_calls))
    return blocks


def warm_up(call: Call, plan: Plan, *, clock: Clock = time.perf_counter) -> Warmup:
    """Call until the calls stop getting faster.

    Warming makes calls faster and noise makes them slower, so minima are compared: it is over once
    the fastest of the latest third of the calls (two at least) is not faster than the fastest of
    all earlier ones by more than `WARMUP_GAIN`.

    Args:
        call: What to warm up.
        plan: Gives the least and the longest time.
        clock: Seconds; only differences count.

    Returns:
        How many calls it took; `stable` is False where the longest time ran out first.
    """
    seconds: list[float] = []
    began = clock()
    while True:
        seconds.append(_timed(call, clock))
        elapsed = clock() - began
        stable = len(seconds) >= MIN_WARMUP_CALLS and _has_settled(seconds)
        if stable and elapsed >= plan.min_warmup_s:
            return Warmup(num_calls=len(seconds), stable=True)
        if elapsed >= plan.max_warmup_s and len(seconds) >= MIN_WARMUP_CALLS:
            return Warmup(num_calls=len(seconds), stable=stable)


def _turn(
    call: Call, num_calls: int, clock: Clock, count_faults: Callable[[], int]
) -> tuple[float, int]:
    """Return the seconds and the page faults of a turn's last call."""
    for _ in range(num_calls - 1):
        call()
    faults_before = count_faults()
    took = _timed(call, clock)
    return took, count_faults() - faults_before


def _timed(call: Call, clock: Clock) -> float:
    start = clock()
    call()
    return clock() - start


def _has_settled(seconds: list[float]) -> bool:
    num_latest = max(2, len(seconds) // 3)
    earlier, latest = seconds[:-num_latest], seconds[-num_latest:]
    return min(latest) >= (1 - WARMUP_GAIN) * min(earlier)


def _expected_rounds(num_rounds: int, elapsed: float, plan: Plan) -> int:
    """Return how many rounds there will be if they go on as they did."""
    if elapsed <= 0:
        return plan.max_rounds
    affordable = int(num_rounds * plan.budget_s / elapsed)
    return max(num_rounds, min(plan.max_rounds, max(plan.min_rounds, affordable)))
