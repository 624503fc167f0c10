"""Pairs of timings, taken side by side, to a speedup with its interval."""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from indoor.measure.pair_statistics import LEVEL, lag1, robust_sd, sign_rank
from indoor.records import Interval, PairedSpeedup

MIN_PAIRS = 6
"""With five pairs even the whole range covers the median with only 1 - 2/32 = 93.75%."""


def paired_speedup(
    baseline_s: Sequence[float],
    candidate_s: Sequence[float],
    *,
    baseline: str,
    candidate: str,
    blocked: tuple[Sequence[float], Sequence[float]] | None = None,
) -> PairedSpeedup:
    """Return how many times as fast the candidate is, from calls interleaved in time.

    The speedup is the median of the pairs' ratios baseline / candidate, taken on the log scale,
    so that swapping the two gives the reciprocal. Its interval is that of the sign test: the two
    order statistics which enclose the median with a probability of at least 95%, whatever the shape
    of the noise (`sign_rank`). It does assume that pairs are independent of each other, which
    `log_ratio_lag1` lets a reader judge.

    Args:
        baseline_s: Seconds of each pair's baseline call, above 0, in the order of time.
        candidate_s: Seconds of the same pairs' candidate calls.
        baseline: The baseline's name.
        candidate: The candidate's name.
        blocked: Seconds of the baseline's and of the candidate's calls where each had a block of
            time of its own, not interleaved; recorded for comparison, never claimed.

    Raises:
        ValueError: Fewer pairs than `MIN_PAIRS` (no 95% interval exists: the case is unpaired),
            numbers of calls that differ, or a time that is not positive and finite.
    """
    if len(baseline_s) != len(candidate_s):
        raise ValueError(
            f"pairs need as many calls of each, got {len(baseline_s)} and {len(candidate_s)}"
        )
    if len(baseline_s) < MIN_PAIRS:
        raise ValueError(
            f"{len(baseline_s)} pairs are too few for a 95% interval, expected {MIN_PAIRS} or more"
        )
    log_ratios = _logs(baseline_s) - _logs(candidate_s)
    ordered, rank = np.sort(log_ratios), sign_rank(len(log_ratios), (1 - LEVEL) / 2)
    low, high = float(ordered[rank - 1]), float(ordered[-rank])
    return PairedSpeedup(
        baseline=baseline,
        candidate=candidate,
        num_pairs=len(baseline_s),
        speedup=math.exp(float(np.median(log_ratios))),
        interval=Interval(low=math.exp(low), high=math.exp(high), level=LEVEL),
        log_ratio_robust_sd=robust_sd(log_ratios),
        log_ratio_lag1=lag1([log_ratios]),
        blocked_speedup=None if blocked is None else _ratio_of_medians(*blocked),
    )


def geometric_mean(speedups: Sequence[PairedSpeedup]) -> tuple[float, Interval]:
    """Return the geometric mean of several cells' speedups, with its interval.

    The interval combines those of the cells on the log scale by the method of variance estimates
    recovery (Zou and Donner, Statistics in Medicine 27, 2008, 1693-1702): the distance from the
    mean to its lower limit is the root of the sum of the squared distances of the cells, and
    likewise above, so asymmetric intervals stay so. It assumes that the cells' noise is
    independent; what cells of one process share, such as its memory layout, it cannot see.

    Args:
        speedups: One or more, of the same two variants.

    Raises:
        ValueError: There are none, or they compare different variants.
    """
    if not speedups:
        raise ValueError("the geometric mean needs one speedup or more, got none")
    pairs = sorted({(s.baseline, s.candidate) for s in speedups})
    if len(pairs) > 1:
        raise ValueError(f"a mean over different comparisons means nothing, got {pairs}")
    if any(s.interval.level != LEVEL for s in speedups):
        raise ValueError(f"expected intervals of level {LEVEL}")
    logs = [math.log(s.speedup) for s in speedups]
    mean = math.fsum(logs) / len(logs)
    below = math.hypot(
        *(log - math.log(s.interval.low) for log, s in zip(logs, speedups, strict=True))
    )
    above = math.hypot(
        *(math.log(s.interval.high) - log for log, s in zip(logs, speedups, strict=True))
    )
    return math.exp(mean), Interval(
        low=math.exp(mean - below / len(logs)),
        high=math.exp(mean + above / len(logs)),
        level=LEVEL,
    )


def _logs(seconds: Sequence[float]) -> np.ndarray:
    values = np.asarray(seconds, dtype=np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("a call took a time that is not positive and finite")
    return np.log(values)


def _ratio_of_medians(baseline_s: Sequence[float], candidate_s: Sequence[float]) -> float:
    if not baseline_s or not candidate_s:
        raise ValueError("a blocked ratio needs calls of both variants, got none of one")
    return statistics.median(baseline_s) / statistics.median(candidate_s)
