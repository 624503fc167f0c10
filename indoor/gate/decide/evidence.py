"""Bounds and p values on the median log-ratio of pairs that were taken in launches of processes.

A log-ratio is ln(head's time / base's time), so above 0 is slower. Two questions are asked of the
same pairs, and the more cautious answer counts. The sign test on all pairs is exact whatever the
shape of the noise, but takes every pair for independent. Student's t over the medians of the
launches allows for processes that differ (memory layout); from ten launches on it is the trimmed
one of Tukey and McLaughlin (Sankhya A 25, 1963), which a few outlying processes cannot stretch.
`bench/studies/coverage.py` holds them against a hierarchical bootstrap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from indoor.measure.pair_statistics import LEVEL, lag1, robust_sd, sign_rank

Launches = Sequence[np.ndarray]
"""One array of log-ratios a launch."""

MIN_LAUNCH_SD = 1e-3
"""The least standard deviation of launch medians that is believed: 0.1%.

A coarse timer gives equal medians, from which t would conclude with certainty. Two identical models
in one process differed by 0.29%, so no real spread of processes is made wider than it is.
"""

TRIMMED_SHARE = 0.2
"""Of the launch medians, at either end: the usual one."""

MIN_TRIMMED = 10
"""Fewer launches would leave too few degrees of freedom for the small errors of a look."""


@dataclass(frozen=True)
class Evidence:
    """What the tests need of the launches.

    `num_launches` are those with a pair; `known` is False where a log-ratio is not finite or there
    are fewer than two such launches, and then nothing can be shown.
    """

    ordered: np.ndarray
    """All log-ratios, rising, float64 `(num_pairs,)`."""
    num_launches: int
    known: bool
    mean: float
    """Of the launches' medians, trimmed from `MIN_TRIMMED` launches on."""
    standard_error: float
    """Of `mean`."""
    num_degrees: int
    """Of freedom of `standard_error`."""

    def mirrored(self) -> "Evidence":
        """Return the evidence with base and head swapped."""
        return Evidence(
            ordered=-self.ordered[::-1],
            num_launches=self.num_launches,
            known=self.known,
            mean=-self.mean,
            standard_error=self.standard_error,
            num_degrees=self.num_degrees,
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A cell's log-ratios for the reader: the median, its unadjusted 95% interval, the spread."""

    center: float
    low: float
    high: float
    num_pairs: int
    num_launches: int
    robust_sd: float
    """Of single pairs: 1.4826 times the median absolute deviation."""
    lag1: float | None
    """Autocorrelation of neighbouring pairs within a launch; None where all pairs are equal."""


def gather(launches: Launches | Evidence) -> Evidence:
    """Return what the tests need of the launches; launches without a pair are left out."""
    if isinstance(launches, Evidence):
        return launches
    filled = [np.asarray(launch, dtype=np.float64) for launch in launches if len(launch)]
    pairs = np.sort(np.concatenate(filled)) if filled else np.empty(0)
    if len(filled) < 2 or not np.isfinite(pairs).all():
        return Evidence(pairs, len(filled), False, math.nan, math.inf, 0)
    medians = sorted(float(np.median(launch)) for launch in filled)
    return Evidence(pairs, len(filled), True, *_trimmed_mean(medians))


def _trimmed_mean(ordered: Sequence[float]) -> tuple[float, float, int]:
    """Return the trimmed mean of rising values, its standard error and degrees of freedom.

    The error comes from the winsorized values: those cut off count as the last ones kept. Tukey's
    and McLaughlin's degrees, one less than the kept values, err up to twice too often in the far
    tail (0.10% instead of 0.05% for 10 normal values). One less for each value cut off at one end
    errs 0.035 to 0.055%, as a million draws of 10 to 36 values told.
    """
    num = len(ordered)
    num_cut = int(TRIMMED_SHARE * num) if num >= MIN_TRIMMED else 0
    kept = ordered[num_cut : num - num_cut]
    winsorized = [kept[0]] * num_cut + list(kept) + [kept[-1]] * num_cut
    # fsum, since it does not depend on the order: swapping the sides mirrors to the last bit.
    center = math.fsum(winsorized) / num
    variance = math.fsum((value - center) ** 2 for value in winsorized) / (num - 1)
    sd = max(math.sqrt(variance) * num / len(kept), MIN_LAUNCH_SD)
    return math.fsum(kept) / len(kept), sd / math.sqrt(num), len(kept) - max(1, num_cut)


def lower_bound(launches: Launches | Evidence, alpha: float) -> float:
    """Return a one-sided lower confidence bound of the median log-ratio.

    It is the smaller of the sign test's order statistic over all pairs and Student's t bound,
    trimmed or not, over the medians of the launches.

    Args:
        launches: The log-ratios of each launch; two launches or more for anything finite.
        alpha: The bound's error, in 0..0.5, both excluded.

    Returns:
        -inf where too little is known.

    Raises:
        ValueError: `alpha` is out of range.
    """
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}, expected between 0 and 0.5")
    evidence = gather(launches)
    if not evidence.known:
        return -math.inf
    rank = sign_rank(len(evidence.ordered), alpha)
    if rank == 0:
        return -math.inf
    by_launches = evidence.mean - evidence.standard_error * _t_quantile(evidence.num_degrees, alpha)
    return min(float(evidence.ordered[rank - 1]), by_launches)


def upper_bound(launches: Launches | Evidence, alpha: float) -> float:
    """Return a one-sided upper confidence bound: `lower_bound` with base and head swapped."""
    return -lower_bound(gather(launches).mirrored(), alpha)


def p_slower(launches: Launches | Evidence, threshold: float) -> float:
    """Return the p value against "the median log-ratio is at most `threshold`".

    The larger of the sign test's (a pair equal to the threshold speaks for the hypothesis) and the
    t test's. It is `lower_bound`'s dual: at most alpha exactly where that bound is above the
    threshold, but for rounding.

    Returns:
        1 where too little is known.
    """
    evidence = gather(launches)
    if not evidence.known:
        return 1.0
    num_pairs = len(evidence.ordered)
    num_not_above = int(np.searchsorted(evidence.ordered, threshold, side="right"))
    by_signs = float(bdtr(num_not_above, num_pairs, 0.5))
    return max(by_signs, p_mean_above(evidence, threshold))


def p_faster(launches: Launches | Evidence, threshold: float) -> float:
    """Return the p value against "the median log-ratio is at least -`threshold`".

    A negative threshold asks whether a slowdown as large as its size can be excluded.
    """
    return p_slower(gather(launches).mirrored(), threshold)


def p_mean_above(launches: Launches | Evidence, threshold: float) -> float:
    """Return the one-sided t test's p value over the medians of the launches alone.

    It serves the few fresh launches that must reproduce a finding, too few for more.
    """
    evidence = gather(launches)
    if not evidence.known:
        return 1.0
    t = (evidence.mean - threshold) / evidence.standard_error
    return float(stdtr(evidence.num_degrees, -t))


def summarize(launches: Launches) -> Summary | None:
    """Return the figures for the table; None where there is no pair or one is not finite.

    The interval is infinite where there are fewer than two launches.
    """
    evidence = gather(launches)
    pairs = evidence.ordered
    if not len(pairs) or not np.isfinite(pairs).all():
        return None
    return Summary(
        center=float(np.median(pairs)),
        low=lower_bound(evidence, (1 - LEVEL) / 2),
        high=upper_bound(evidence, (1 - LEVEL) / 2),
        num_pairs=len(pairs),
        num_launches=evidence.num_launches,
        robust_sd=robust_sd(pairs),
        lag1=lag1(launches),
    )


@lru_cache(maxsize=4096)
def _t_quantile(num_degrees: int, alpha: float) -> float:
    return -float(stdtrit(num_degrees, alpha))
