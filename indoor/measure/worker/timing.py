"""Rounds timed on demand: turns, warm-up, and how many iterations make a round."""

from __future__ import annotations

import functools
import resource
from dataclasses import dataclass
from typing import Any, Callable  # noqa: UP035 - for older Pythons

from .clocks import Real, cpu_ns, other_share, settle, stay_on

WARMUP_GAIN = 0.03
"""A warm-up has ended when its latest calls are not faster than the earlier by more than this."""

CALIBRATION_CALLS = 2

MAX_STILL_S = 0.25
MIN_MOVED = 0.01
"""A clock that moved by less of rounds that took longer than that is frozen."""


@dataclass(frozen=True)
class TurnResult:
    """A turn's last call: its seconds, and the minor page faults of its process meanwhile.

    `idle_share` is the CPU time that the waiting processes used meanwhile, as a share of the wall's
    time; None where there are none, or where the system does not tell.
    """

    seconds: float
    num_faults: int
    idle_share: float | None = None


@dataclass(frozen=True)
class Warmup:
    """How many calls a warm-up made, and whether they had stopped getting faster."""

    num_calls: int
    stable: bool
    fastest_s: float


def timed(
    call: Callable[[], object], clock: Callable[[], float] = Real.wall
) -> Callable[[], float]:
    """Return a function that makes one call and returns its seconds."""

    def once() -> float:
        start = clock()
        call()
        return clock() - start

    return once


def minor_faults() -> int:
    """Return the minor page faults of this process so far (pages mapped without reading a disk)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def take_turn(
    once: Callable[[], float],
    num_discarded: int,
    *,
    count_faults: Callable[[], int] = minor_faults,
    settles: bool = False,
    peers: tuple[int, ...] = (),
) -> TurnResult:
    """Make the calls of a turn and return what the last one took.

    The first ones are left out, since the turn before was another's and has emptied the caches.

    Args:
        once: Makes one call and returns its seconds.
        num_discarded: Calls that are left out, 0 or more.
        count_faults: The process's minor page faults so far.
        settles: Whether to wait until the peers' threads rest before the last call.
        peers: The processes that wait meanwhile.
    """
    for _ in range(num_discarded):
        once()
    if settles:
        settle(peers)
    if not peers:
        faults = count_faults()
        return TurnResult(once(), count_faults() - faults)
    before, faults, start = cpu_ns(peers), count_faults(), Real.wall()
    seconds = once()
    took = Real.wall() - start
    num_faults, after = count_faults() - faults, cpu_ns(peers)
    if before is None or after is None or took <= 0:
        return TurnResult(seconds, num_faults)
    return TurnResult(seconds, num_faults, max(0, after - before) / 1e9 / took)


def warm_up(
    once: Callable[[], float],
    *,
    min_calls: int,
    min_s: float,
    max_s: float,
    clock: Callable[[], float] = Real.wall,
) -> Warmup:
    """Call until the calls stop getting faster, for `min_s` at least, and give up after `max_s`.

    Warming makes calls faster and noise makes them slower, so minima are compared: it is over once
    the fastest of the latest third of the calls (two at least) is not faster than the fastest of
    all earlier ones by more than `WARMUP_GAIN`.

    Args:
        once: Makes one call and returns its seconds.
        min_calls: Are made however long they take, 1 or more.
        min_s: For a CPU to raise its clock.
        max_s: For calls that go on getting faster.
        clock: Seconds; only differences count.
    """
    seconds: list[float] = []
    began = clock()
    while True:
        seconds.append(once())
        elapsed = clock() - began
        if len(seconds) >= min_calls:
            stable = has_settled(seconds)
            if elapsed >= max_s or (stable and elapsed >= min_s):
                return Warmup(len(seconds), stable, min(seconds))


def has_settled(seconds: list[float]) -> bool:
    """Return whether the latest calls are as fast as the earlier ones; unknown of two calls."""
    num_latest = max(2, len(seconds) // 3)
    earlier, latest = seconds[:-num_latest], seconds[-num_latest:]
    return bool(earlier) and min(latest) >= (1 - WARMUP_GAIN) * min(earlier)


def calibrate(time_round: Callable[[int], float], min_s: float) -> tuple[int, float]:
    """Return how many iterations make a round of so many seconds, and what such a round took.

    By a clock that stands still no number does, so one that hardly moves is given up.
    """
    iterations = 1
    seconds, took_s = fastest_round(time_round, iterations, 0), 0.0
    while seconds < min_s and (took_s < MAX_STILL_S or seconds > MIN_MOVED * took_s):
        # Ten times at most, since a first guess from a very short round is poor.
        factor = min(10.0, max(1.2, 1.1 * min_s / max(seconds, 1e-9)))
        iterations = max(iterations + 1, int(iterations * factor))
        began = Real.wall()
        seconds = fastest_round(time_round, iterations, 0)
        took_s = Real.wall() - began
    return iterations, seconds


def fastest_round(time_round: Callable[[int], float], iterations: int, for_s: float) -> float:
    """Return what the fastest of a few rounds took, of those within so many seconds."""
    once = functools.partial(time_round, iterations)
    return warm_up(once, min_calls=CALIBRATION_CALLS, min_s=for_s, max_s=for_s).fastest_s


def answer(
    message: dict[str, Any],
    time_round: Callable[[int], float],
    peers: tuple[int, ...] = (),
    fixed_iterations: int | None = None,
) -> dict[str, Any]:
    """Do what `pairs.RemoteCall` asks of something that can be timed, and return what to tell it.

    Args:
        message: `warm_up`, `turn` or `calibrate` with its numbers, and perhaps a `cpu` to stay on.
        time_round: Returns the seconds of a round of that many iterations.
        peers: The processes that wait meanwhile.
        fixed_iterations: The only number of iterations that is allowed, if so.
    """
    stay_on(message.get("cpu"))
    once = functools.partial(time_round, message.get("iterations", 1))
    if message["do"] == "warm_up":
        limits = {name: message[name] for name in ("min_calls", "min_s", "max_s")}
        return vars(warm_up(once, **limits))
    if message["do"] == "turn":
        settles = message.get("settles", False)
        return vars(take_turn(once, message["num_discarded"], settles=settles, peers=peers))
    assert message["do"] == "calibrate", message
    beside: list[float] = []
    shares: list[float] = []

    def watched(iterations: int) -> float:
        told: list[float] = []
        began = Real.wall()
        shares.append(other_share(lambda: told.append(time_round(iterations))))
        beside.append(Real.wall() - began - told[0])
        return told[0]

    if fixed_iterations is None:
        iterations, seconds = calibrate(watched, message["min_s"])
    else:
        iterations = fixed_iterations
        seconds = fastest_round(watched, iterations, message["min_s"])
    return {
        "iterations": iterations,
        "seconds": seconds,
        "beside_s": max(0.0, min(beside)),  # what a round costs besides: its setup, say
        "other_share": shares[-1],
    }
