"""Counts to shares with intervals, to tests, and to percentages in words."""

import math

from scipy.special import ndtri

from indoor.measure.pair_statistics import LEVEL
from indoor.records import Interval, Rate

# scipy.stats and scipy.optimize are imported where they are needed: they take half a second, which
# every worker of a gate would spend in every launch.

_Z = float(ndtri((1 + LEVEL) / 2))
_PER_MILLE = 1000
_ROUNDING = 1e-9
"""Less than any digit that is printed; what is 0.1% but for the last bit stays 0.1%."""


def wilson(hits: int, total: int) -> Rate:
    """Return `hits / total` with its 95% score interval.

    The interval is that of Wilson (Journal of the American Statistical Association 22, 1927,
    209-212); it stays in 0..1 and has a width at 0 and at `total` hits, too.

    Args:
        hits: 0 to `total`.
        total: 1 or more.

    Raises:
        ValueError: The counts are not such counts.
    """
    if not 0 <= hits <= total or total == 0:
        raise ValueError(f"{hits} of {total} is no share, expected 0 <= hits <= total, total >= 1")
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(LEVEL, method="wilson")
    return Rate(
        num_hits=hits,
        num_total=total,
        value=hits / total,
        interval=Interval(low=float(interval.low), high=float(interval.high), level=LEVEL),
    )


def mcnemar_p(num_only_baseline_right: int, num_only_candidate_right: int) -> float:
    """Return the two-sided p of McNemar's exact test that both models are equally accurate.

    Only photographs that one model alone has right say something; if the models are equal, each
    of those falls to either side like a fair coin (McNemar, Psychometrika 12, 1947, 153-157).

    Returns:
        1 where there is no such photograph.

    Raises:
        ValueError: A count is negative.
    """
    if min(num_only_baseline_right, num_only_candidate_right) < 0:
        raise ValueError(
            f"{num_only_baseline_right} and {num_only_candidate_right} are no counts, "
            "expected 0 or more"
        )
    num_discordant = num_only_baseline_right + num_only_candidate_right
    if num_discordant == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(num_only_candidate_right, num_discordant, 0.5).pvalue)


def difference_interval(
    num_only_baseline_right: int, num_only_candidate_right: int, total: int
) -> Interval:
    """Return the 95% interval of the candidate's accuracy minus the baseline's, paired.

    It is Tango's score interval (Statistics in Medicine 17, 1998, 891-908): the differences that a
    score test does not reject, which at 0 is McNemar's (without continuity correction). Unlike
    Wald's it has a width where the models agree everywhere: `z ** 2 / (total + z ** 2)` to either
    side.

    Args:
        num_only_baseline_right: Photographs that only the baseline has right.
        num_only_candidate_right: Photographs that only the candidate has right.
        total: All photographs, 1 or more.

    Returns:
        Limits in -1..1.

    Raises:
        ValueError: A count is negative, or they are more than `total`.
    """
    gained, lost = num_only_candidate_right, num_only_baseline_right
    if min(gained, lost) < 0 or gained + lost > total or total == 0:
        raise ValueError(
            f"{lost} and {gained} of {total} photographs are no counts of a pair, "
            "expected 0 or more each and no more than the total"
        )
    return Interval(
        low=_lower_limit(gained, lost, total),
        high=-_lower_limit(lost, gained, total),
        level=LEVEL,
    )


def rate_at_most(hits: int, total: int) -> float:
    """Return the one-sided 95% upper bound of a rate (Clopper and Pearson, Biometrika 1934).

    It is exact for any number of tries: 0 of 60 gives 4.9%, 0 of 300 gives 1.0%.

    Args:
        hits: 0 to `total`.
        total: 1 or more.

    Raises:
        ValueError: The counts are not such counts.
    """
    from scipy.stats import binomtest

    return float(binomtest(hits, total, alternative="less").proportion_ci(LEVEL).high)


def rate_at_least(hits: int, total: int) -> float:
    """Return the one-sided 95% lower bound of a rate; see `rate_at_most`."""
    from scipy.stats import binomtest

    return float(binomtest(hits, total, alternative="greater").proportion_ci(LEVEL).low)


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


def _lower_limit(gained: int, lost: int, total: int) -> float:
    """Return the smallest difference that the score test does not reject."""
    if lost == total:
        return -1.0

    def excess(difference: float) -> float:
        """Return the score's numerator minus z standard errors, whose root is the limit."""
        # The share lost that is most likely under this difference, the root of Tango's quadratic.
        linear = -gained - lost + (2 * total - gained + lost) * difference
        constant = -lost * difference * (1 - difference)
        root = math.sqrt(max(0.0, linear**2 - 8 * total * constant))
        share_lost = max(0.0, (root - linear) / (4 * total))
        variance = total * max(0.0, 2 * share_lost + difference * (1 - difference))
        return gained - lost - total * difference - _Z * math.sqrt(variance)

    # The estimate itself is a root, too, where the variance vanishes there: stay off it.
    estimate = (gained - lost) / total
    from scipy.optimize import brentq

    return float(brentq(excess, -1.0, estimate - 1e-12, xtol=1e-13))
