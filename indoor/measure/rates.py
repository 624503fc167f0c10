"""How often something happens, with the bound that so many tries allow."""

import math

from scipy.stats import binomtest

_LEVEL = 0.95
_PER_MILLE = 1000
_ROUNDING = 1e-9
"""Less than any digit that is printed; what is 0.1% but for the last bit stays 0.1%."""


def rate_at_most(hits: int, total: int) -> float:
    """Return the one-sided 95% upper bound of a rate (Clopper and Pearson, Biometrika 1934).

    It is exact for any number of tries: 0 of 60 gives 4.9%, 0 of 300 gives 1.0%.

    Args:
        hits: 0 to `total`.
        total: 1 or more.

    Raises:
        ValueError: The counts are not such counts.
    """
    return float(binomtest(hits, total, alternative="less").proportion_ci(_LEVEL).high)


def rate_at_least(hits: int, total: int) -> float:
    """Return the one-sided 95% lower bound of a rate; see `rate_at_most`."""
    return float(binomtest(hits, total, alternative="greater").proportion_ci(_LEVEL).low)


def format_at_most(share: float) -> str:
    """Return an upper bound as a percentage, never rounded down."""
    return format_share(min(1.0, math.ceil(_PER_MILLE * share - _ROUNDING) / _PER_MILLE))


def format_at_least(share: float) -> str:
    """Return a lower bound as a percentage, never rounded up."""
    return format_share(max(0.0, math.floor(_PER_MILLE * share + _ROUNDING) / _PER_MILLE))


def format_share(share: float) -> str:
    """Return a share as a percentage that says 0% and 100% only where nothing is missing."""
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    for digits in (1, 2, 3):
        text = f"{100 * share:.{digits}f}"
        if 0 < float(text) < 100:
            return f"{text}%"
    return "below 0.001%" if share < 0.5 else "above 99.999%"
