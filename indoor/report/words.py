"""Figures as text: units, digits and intervals."""

from indoor.records import Interval

NOTHING = "-"
"""What stands in a cell that has no figure."""

_NUM_DIGITS = 3


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


def milliseconds(seconds: float | None) -> str:
    """Return seconds as milliseconds without the unit, three significant digits."""
    return NOTHING if seconds is None else digits(1e3 * seconds)


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


def threads(number: int) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{number} thread" if number == 1 else f"{number} threads"


def batches(sizes: tuple[int, ...]) -> str:
    """Return `batch 8`, `batches 8 and 16`, `batches 1, 8 and 16`."""
    if len(sizes) == 1:
        return f"batch {sizes[0]}"
    return f"batches {', '.join(map(str, sizes[:-1]))} and {sizes[-1]}"
