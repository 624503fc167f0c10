"""What pairs of timings say: bounds of their median, their spread, tests of several at once."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import bdtr

LEVEL = 0.95
"""Of every interval that is shown."""

_ROBUST_SD_OF_MAD = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""


@lru_cache(maxsize=4096)
def sign_rank(num_values: int, alpha: float) -> int:
    """Return which smallest value bounds the median from below with error `alpha`, below 0.5.

    It is the sign test's order statistic, which assumes that the values are independent and nothing
    of their noise's shape (Conover, Practical Nonparametric Statistics, 3rd ed. 1999, section 3.2).
    The bound from above is the value with that rank from the largest.

    Returns:
        A rank from 1; 0 where no value does.
    """
    num_below = np.arange((num_values + 1) // 2)
    return int(np.count_nonzero(bdtr(num_below, num_values, 0.5) <= alpha))


@lru_cache(maxsize=4096)
def quantile_ranks(num_values: int, share: float, alpha: float) -> tuple[int, int]:
    """Return which smallest values bound a quantile from below and above, each with error `alpha`.

    The number of values below it is binomial (Conover, Practical Nonparametric Statistics, 3rd ed.
    1999, section 3.2); for the median the ranks are `sign_rank`'s, from either end.

    Returns:
        Ranks from 1; 0 and `num_values + 1` where there are too few values for a bound.
    """
    at_most = bdtr(np.arange(num_values), num_values, share)
    low = int(np.count_nonzero(at_most <= alpha))
    high = int(np.count_nonzero(at_most < 1 - alpha)) + 1
    return low, high


def robust_sd(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation from the median."""
    return _ROBUST_SD_OF_MAD * float(np.median(np.abs(values - np.median(values))))


def lag1(groups: Sequence[np.ndarray]) -> float | None:
    """Return the autocorrelation of neighbours, about each group's own mean.

    Groups are values in the order of time that hang together, such as those of one process, so that
    processes may differ.

    Returns:
        None where all values are equal.
    """
    centered = [np.asarray(group) - np.mean(group) for group in groups if len(group)]
    variance = math.fsum(float(c @ c) for c in centered)
    # Rounding leaves a trace of variance among equal values, whose pattern means nothing.
    if variance <= sum(map(len, centered)) * (8 * np.finfo(np.float64).eps) ** 2:
        return None
    return math.fsum(float(c[:-1] @ c[1:]) for c in centered) / variance


def holm(p_values: Sequence[float], alpha: float) -> tuple[list[bool], list[float]]:
    """Return which hypotheses Holm's procedure rejects, and the level each was held against.

    The source is Scandinavian Journal of Statistics 6, 1979, 65-70. A hypothesis that stands is
    held against the level at which the procedure stopped, so that the bound of that level agrees
    with the answer.
    """
    rejected = [False] * len(p_values)
    levels = [alpha] * len(p_values)
    stopped_at: float | None = None
    for step, index in enumerate(_rising(p_values)):
        level = alpha / (len(p_values) - step)
        if stopped_at is None and p_values[index] > level:
            stopped_at = level
        rejected[index] = stopped_at is None
        levels[index] = level if stopped_at is None else stopped_at
    return rejected, levels


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Return the smallest level at which `holm` rejects each hypothesis."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for step, index in enumerate(_rising(p_values)):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _rising(p_values: Sequence[float]) -> list[int]:
    return sorted(range(len(p_values)), key=lambda index: p_values[index])
