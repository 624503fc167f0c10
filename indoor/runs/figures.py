"""Whether the figures in a run's file are figures: numbers, in order, and those of their rounds."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indoor.errors import IndoorError
from indoor.records import Interval, Measurement

MOST = 1e18
"""No time, size, count or ratio of a measurement is as large; what is was changed or damaged."""

_STATS = ("rounds", "min", "q1", "median", "q3")

_NUMBERS = (*_STATS, "max", "mean", "stddev", "iqr", "total", "ops")

_ROUNDING = 1e-6
"""How far a figure may be from what it was worked out from: sums are rounded, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """What pytest-benchmark keeps of a case's rounds: seconds a call, not a photograph."""

    num_rounds: int
    minimum_s: float
    q1_s: float
    median_s: float
    q3_s: float


_NO_FIGURES = (str, bool, type(None))


def no_numbers(data: object) -> Iterator[tuple[str, str]]:
    """Yield what is no finite number below `data`, or absurdly large, with the members to it.

    Seeds may be as large as they like: nothing is worked out from them.
    """
    if not _all_are_figures(data):  # a run has 100,000 of them, and as a rule all are
        yield from _no_numbers(data, "")


def _all_are_figures(data: object) -> bool:
    """Return whether nothing at all has to be looked at more closely."""
    groups: list[Any] = [[data]]
    for group in groups:  # which grows meanwhile
        for value in group.values() if type(group) is dict else group:
            kind = type(value)
            if kind is str or value is None:
                continue
            if kind is float or kind is int:
                if not -MOST < value < MOST:
                    return False
            elif kind is dict or kind is list:
                groups.append(value)
            elif not isinstance(value, _NO_FIGURES):
                return False
    return True


def _no_numbers(data: object, member: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, int | float):
        if abs(data) < MOST:
            return
        if data != data or data in (math.inf, -math.inf):
            yield member, f"{data} is no finite number"
        else:
            yield member, f"{_number(data)} is no figure that can be measured"
    elif isinstance(data, dict):
        for name, value in data.items():
            if name != "seed" and not isinstance(value, _NO_FIGURES):
                yield from _no_numbers(value, f"{member}.{name}" if member else str(name))
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from _no_numbers(value, f"{member}[{index}]")


def check_numbers(data: Mapping[str, object], source: str) -> None:
    """Refuse a member of the file around the benchmarks that is no number.

    Raises:
        IndoorError: One line that names the first.
    """
    around = {name: value for name, value in data.items() if name != "benchmarks"}
    for member, problem in no_numbers(around):
        raise IndoorError(
            f"{source}: {member}: {problem}; expected the file as pytest-benchmark wrote it; "
            "measure again"
        )


def read_rounds(stats: object, where: str) -> Rounds:
    """Return what pytest-benchmark keeps of the rounds of a case of ours.

    Raises:
        IndoorError: Something is missing or no time, or it is not that of the rounds themselves.
    """
    problem = _fault(stats, needed=_STATS) or _disorder(stats, ours=True)
    if problem:
        raise _unusable(where, problem)
    assert isinstance(stats, Mapping)
    return Rounds(
        num_rounds=stats["rounds"],
        minimum_s=stats["min"],
        q1_s=stats["q1"],
        median_s=stats["median"],
        q3_s=stats["q3"],
    )


def check_stats(stats: object, where: str) -> None:
    """Refuse statistics of another suite's benchmark that are none; it need not have any.

    Raises:
        IndoorError: As for `read_rounds`.
    """
    if not stats:
        return
    problem = _fault(stats, needed=()) or _disorder(stats, ours=False)
    if problem:
        raise _unusable(where, problem)


def contradiction(measurement: Measurement, rounds: Rounds) -> str | None:
    """Return which figure of a case does not agree with the others, after its member; None: all do.

    Whoever changed one of them, or took it from another run, did not change those that it was
    worked out from.
    """
    return next(_contradictions(measurement, rounds), None)


def _contradictions(one: Measurement, rounds: Rounds) -> Iterator[str]:
    latency, speedup = one.latency, one.speedup
    if latency is not None:
        per_photograph_s = rounds.median_s / (one.batch or 1)
        if not _agree(latency.median_s, per_photograph_s):
            yield (
                f"latency.median_s: {latency.median_s:g} is not the {per_photograph_s:g} s of "
                "its rounds"
            )
        known = [latency.median_s, latency.p90_s, latency.p99_s]
        if not _ascend([value for value in known if value is not None]):
            yield "latency: median_s, p90_s and p99_s do not ascend"
        told = one.photographs_per_s
        if told is not None and not _agree(told * latency.median_s, one.num_processes or 1):
            yield f"photographs_per_s: {told:g} is not that of the median latency"
    for member, interval in _intervals(one):
        if interval.level != Interval.level:
            yield (
                f"{member}: an interval of {100 * interval.level:g}%, where every table says "
                f"{Interval.level:.0%}"
            )
    if speedup is not None:
        interval = speedup.interval
        if interval.low <= 0 or not _ascend([interval.low, speedup.speedup, interval.high]):
            yield (
                f"speedup: {speedup.speedup:g} is not within its interval, "
                f"{interval.low:g} to {interval.high:g}"
            )
    if one.evaluation is not None:
        for name, rate in (("top1", one.evaluation.top1), ("top5", one.evaluation.top5)):
            if not _agree(rate.value, rate.num_hits / rate.num_total):
                yield f"evaluation.{name}: {rate.value:g} is not {rate.num_hits}/{rate.num_total}"
            elif not _ascend([0.0, rate.interval.low, rate.value, rate.interval.high, 1.0]):
                yield f"evaluation.{name}: {rate.value:g} is not within its interval"
    pair = one.paired_evaluation
    if pair is not None:
        interval = pair.difference_interval
        if not _ascend([interval.low, pair.difference, interval.high]):
            yield f"paired_evaluation.difference: {pair.difference:g} is not within its interval"


def _intervals(one: Measurement) -> Iterator[tuple[str, Interval]]:
    """Yield the intervals that tables show, with the members to them."""
    if one.speedup is not None:
        yield "speedup.interval", one.speedup.interval
    if one.evaluation is not None:
        yield "evaluation.top1.interval", one.evaluation.top1.interval
        yield "evaluation.top5.interval", one.evaluation.top5.interval
    if one.paired_evaluation is not None:
        yield "paired_evaluation.difference_interval", one.paired_evaluation.difference_interval


def _fault(stats: object, needed: Sequence[str]) -> str | None:
    """Return which of pytest-benchmark's statistics is missing or no number."""
    if not isinstance(stats, Mapping):
        return f"stats is {_kind(stats)}"
    for name in needed:
        if name not in stats:
            return f"stats.{name} is missing"
    for name, value in stats.items():
        values = {name: value}
        if name == "data":
            if not isinstance(value, list):
                return f"stats.data is {_kind(value)}"
            values = {f"data[{index}]": round_s for index, round_s in enumerate(value)}
        elif name not in _NUMBERS:
            continue
        for member, number in values.items():
            if isinstance(number, bool) or not isinstance(number, int | float):
                return f"stats.{member} is {_kind(number)}"
            if not 0 <= number < MOST:  # nor is NaN
                return f"stats.{member} is {_number(number)}"
    return next((f"stats.{member}: {problem}" for member, problem in no_numbers(stats)), None)


def _disorder(stats: object, *, ours: bool) -> str | None:
    """Return which of them cannot be where the others are what they are."""
    assert isinstance(stats, Mapping)
    data = stats.get("data")
    if "rounds" in stats and (not isinstance(stats["rounds"], int) or stats["rounds"] < 1):
        return f"stats.rounds is {stats['rounds']:g}"
    if ours and stats["min"] <= 0:
        return f"stats.min is {stats['min']:g}"
    known = [name for name in ("min", "q1", "median", "q3", "max") if name in stats]
    if not _ascend([stats[name] for name in known]):
        return f"{', '.join(known)} do not ascend"
    if not data:
        return None
    if stats.get("rounds", len(data)) != len(data):
        return f"stats.rounds is {stats['rounds']}, and stats.data holds {len(data)}"
    ordered = sorted(data)
    middle = (ordered[(len(data) - 1) // 2] + ordered[len(data) // 2]) / 2
    for name, value in (("min", ordered[0]), ("median", middle), ("max", ordered[-1])):
        if name in stats and not _agree(stats[name], value):
            return f"stats.{name} is {stats[name]:g}, and that of stats.data is {value:g}"
    return None


def _agree(there: float, here: float) -> bool:
    return math.isclose(there, here, rel_tol=_ROUNDING, abs_tol=1e-12)


def _ascend(values: Sequence[float]) -> bool:
    return all(low <= high or _agree(low, high) for low, high in itertools.pairwise(values))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return repr(value) if isinstance(value, str | bool) else f"a {type(value).__name__}"


def _number(value: float) -> str:
    """Return it in a few digits; Python has whole numbers that no float can hold."""
    try:
        return f"{value:g}"
    except OverflowError:
        return f"{str(value)[:6]}... ({len(str(value))} digits)"


def _unusable(where: str, problem: str) -> IndoorError:
    return IndoorError(
        f"{where} has no usable stats; expected pytest-benchmark's rounds, min, q1, median and "
        f"q3, finite numbers above 0 and those of its rounds ({problem}); measure again"
    )
