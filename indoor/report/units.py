"""Figures as text: units, digits, signs and intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from indoor.records import Interval

NOTHING = "-"
"""What stands in a cell that has no figure."""

_NUM_DIGITS = 3
_TIMES = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


def digits(value: float) -> str:
    """Return the value with three significant digits and no exponent: 0.512, 5.12, 51.2, 5,120."""
    size = abs(value)
    if size >= 10 ** (_NUM_DIGITS - 1) - 0.5:
        return f"{value:,.0f}"
    for decimals, limit in ((1, 9.995), (2, 0.9995)):
        if size >= limit:
            return f"{value:.{decimals}f}"
    return f"{value:.3f}"


def count(value: float | None) -> str:
    """Return a count with separators, such as 41,000; below 10 with one decimal."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if 0.05 <= value < 9.95 else f"{value:,.0f}"


@dataclass(frozen=True)
class TimeUnit:
    """What times are told in: its name, and how many of it are a second."""

    name: str
    per_s: float

    def text(self, seconds: float | None) -> str:
        """Return seconds in it, without its name and with three significant digits."""
        return NOTHING if seconds is None else digits(self.per_s * seconds)


MS = TimeUnit("ms", 1e3)
US = TimeUnit("µs", 1e6)


def milliseconds(seconds: float | None) -> str:
    """Return seconds as milliseconds without the unit, three significant digits."""
    return MS.text(seconds)


def time_of_one(seconds: float | None) -> str:
    """Return a short time with its unit and three significant digits, such as 59.3 ms."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    unit, size = next(((u, s) for u, s in _TIMES if seconds >= 0.9995 * s), _TIMES[-1])
    value = seconds / size
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def duration(seconds: float) -> str:
    """Return a long time, such as `45 s` or `7 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def moment(iso: str) -> str:
    """Return a moment in ISO 8601 as people write it, in UTC where it says its zone."""
    try:
        known = datetime.fromisoformat(iso)
        if known.tzinfo is None:
            return known.strftime("%Y-%m-%d %H:%M:%S")
        return known.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError):  # the first day of all, in a zone that is ahead of UTC
        return iso


def megabytes(size_bytes: int | None) -> str:
    """Return bytes as megabytes (10^6) without the unit, three significant digits."""
    return NOTHING if size_bytes is None else digits(size_bytes / 1e6)


def ratio(value: float) -> str:
    """Return a speedup, such as 9.09x."""
    return f"{digits(value)}x"


def ratio_interval(interval: Interval) -> str:
    """Return a speedup's interval, such as 9.02-9.15."""
    return f"{digits(interval.low)}-{digits(interval.high)}"


def percent(share: float) -> str:
    """Return a share in 0..1 as a percentage without the sign, two decimals."""
    return f"{100 * share:.2f}"


def percent_interval(interval: Interval) -> str:
    """Return the interval of a share, such as 76.9-81.0."""
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}"


def share(value: float) -> str:
    """Return a share as a percentage without needless zeros: 0.01 is 1%, 0.025 is 2.5%."""
    return f"{100 * value:.3g}%"


def points(share: float) -> str:
    """Return percentage points with a sign, two decimals."""
    return signed(100 * share, 2)


def slowdown(ratio: float | None) -> str:
    """Return head's time / base's as a change: 1.049 is +4.9%; `-` where it is not known."""
    if ratio is None or not math.isfinite(ratio):
        return NOTHING
    return f"{signed(100 * (ratio - 1), 1)}%"


def slowdown_interval(interval: Interval | None) -> str:
    """Return the interval of a ratio as a change, such as `-0.4 to +1.2%`."""
    if interval is None or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return NOTHING
    low, high = (signed(100 * (end - 1), 1) for end in (interval.low, interval.high))
    return f"{low} to {high}%"


def threads(number: int) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{number} thread" if number == 1 else f"{number} threads"


def listed(parts: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def batches(sizes: tuple[int, ...]) -> str:
    """Return `batch 8`, `batches 8 and 16`, `batches 1, 8 and 16`."""
    noun = "batch" if len(sizes) == 1 else "batches"
    return f"{noun} {listed(list(map(str, sizes)))}"


def clean(text: str) -> str:
    """Return the text on one line, without characters that steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def signed(value: float, decimals: int) -> str:
    """Return the value with its sign; one that rounds to zero has none."""
    text = f"{value:+,.{decimals}f}"
    return text if any(digit in text for digit in "123456789") else text[1:]
