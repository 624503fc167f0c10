"""High percentiles of latency by MLPerf's rule of early stopping: valid, or too few calls."""

import math
from collections.abc import Sequence
from functools import cache

from indoor.records import Tail

PERCENTILES = (90.0, 99.0, 99.9)

CONFIDENCE = 0.99


def mlperf_tails(seconds: Sequence[float], batch: int) -> tuple[Tail, ...]:
    """Return p90, p99 and p99.9 of the calls, each with the number of calls that it takes.

    The rule (MLPerf Inference rules, "Early stopping"; `loadgen/early_stopping.cc`, single stream,
    confidence 0.99): of n calls the t - 1 slowest are discarded, and the slowest of the others is
    the estimate, where t is the largest number such that with 99% confidence more than t of n
    calls would have taken longer than the true percentile p: P(Binomial(n, 1 - p) <= t) <= 0.01.
    Fewer calls than t = 1 asks for (64 for p90, 662 for p99) give no valid figure. The estimate
    lies above the true percentile in 99 of 100 runs; unlike a nearest rank it never flatters.

    Args:
        seconds: What each call took for a whole batch, in any order.
        batch: Photographs a call, 1 or more.

    Returns:
        A tail a percentile, in seconds a photograph.
    """
    ordered = sorted(seconds, reverse=True)
    tails = []
    for percentile in PERCENTILES:
        rank = _rank(len(ordered), percentile)
        tails.append(
            Tail(
                percentile=percentile,
                num_calls=len(ordered),
                min_calls=min_calls(percentile),
                value_s=ordered[rank - 1] / batch if rank else None,
            )
        )
    return tuple(tails)


@cache
def min_calls(percentile: float) -> int:
    """Return with how many calls a percentile begins to be valid, such as 64 for 90.0."""
    low, high = 1, 2
    while not _rank(high, percentile):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _rank(middle, percentile) else (middle, high)
    return high


def _rank(num_calls: int, percentile: float) -> int:
    """Return t, of the rule; 0 where there is none."""
    share = 1 - percentile / 100
    below, rank = _binomial(num_calls, 0, share), 0
    while rank < num_calls:
        below += _binomial(num_calls, rank + 1, share)
        if below > 1 - CONFIDENCE:
            break
        rank += 1
    return rank


def _binomial(num_calls: int, num_slow: int, share: float) -> float:
    """Return the probability that just so many calls are slow, each with that probability."""
    ways = math.lgamma(num_calls + 1)
    ways -= math.lgamma(num_slow + 1) + math.lgamma(num_calls - num_slow + 1)
    log = ways + num_slow * math.log(share) + (num_calls - num_slow) * math.log1p(-share)
    return math.exp(log)
