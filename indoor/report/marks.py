"""Small drawings in a line of SVG each: so many fit on a page that a plot library is too much."""

import statistics
from collections.abc import Sequence

from indoor.report.blocks import Picture

_WIDTH, _HEIGHT = 240, 48
_NUM_BARS = 30


def histogram(values: Sequence[float], unit: str) -> Picture:
    """Return how values are spread over their range, in bars of equal width.

    Args:
        values: At least 1, finite.
        unit: What they are told in.
    """
    low, high = min(values), max(values)
    width = (high - low) / _NUM_BARS or 1.0
    counts = [0] * _NUM_BARS
    for value in values:
        counts[min(_NUM_BARS - 1, int((value - low) / width))] += 1
    step, most = _WIDTH / _NUM_BARS, max(counts)
    path = "".join(
        f"M{index * step:g} {_HEIGHT}h{step - 1:g}v{-_HEIGHT * count / most:.1f}h{1 - step:g}z"
        for index, count in enumerate(counts)
        if count
    )
    alt = f"{len(values)} rounds from {low:.4g} to {high:.4g} {unit}"
    return Picture(_drawing(f'<path d="{path}"/>'), alt)


def dots(values: Sequence[float], what: str) -> Picture:
    """Return values in their order, from left to right, with a line at 0.

    Args:
        values: At least 1, finite.
        what: What the values are, in words.
    """
    low, high = min(0.0, *values), max(0.0, *values)
    span = (high - low) or 1.0

    def height(value: float) -> float:
        return (_HEIGHT - 4) * (high - value) / span + 2

    step = _WIDTH / len(values)
    level = f"M0 {height(0.0):.1f}H{_WIDTH}"
    # A line of no length with round ends is a dot.
    path = "".join(
        f"M{(index + 0.5) * step:.1f} {height(value):.1f}h0" for index, value in enumerate(values)
    )
    middle = statistics.median(values)
    alt = f"{len(values)} {what} in their order, {low:+.1%} to {high:+.1%}, median {middle:+.1%}"
    return Picture(
        _drawing(f'<path class="level" d="{level}"/><path class="dots" d="{path}"/>'), alt
    )


def _drawing(inside: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" class="mark">{inside}</svg>'
