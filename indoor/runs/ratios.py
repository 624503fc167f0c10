"""Cases of a run against each other, from their rounds: in pairs where these were interleaved."""

import math
import statistics
from collections.abc import Sequence

from indoor.records import Interval, PairedSpeedup
from indoor.runs.results import MeasuredCase

# indoor.measure brings numpy and scipy, which reading and most tables do without.


def is_interleaved(one: MeasuredCase, other: MeasuredCase) -> bool:
    """Return whether round i of both is a pair: a turn each, side by side in time.

    That is so where both took as many rounds of one cell, and the suite paired each of them with
    the same baseline, or with the other.
    """
    here, there = one.measurement, other.measurement
    baselines = {
        case.measurement.variant if paired is None else paired.baseline
        for case, paired in ((one, here.speedup), (other, there.speedup))
    }
    cells = {
        (m.case, m.batch, m.threads, m.num_processes, m.allocator, m.device) for m in (here, there)
    }
    paired = [m.speedup for m in (here, there) if m.speedup is not None]
    return (
        len(cells) == len(baselines) == 1
        and len(one.seconds) == len(other.seconds) > 0
        and bool(paired)
        and all(p.num_pairs == len(one.seconds) for p in paired)
    )


def paired_ratio(baseline: MeasuredCase, candidate: MeasuredCase) -> PairedSpeedup | None:
    """Return how many times as fast the candidate is; None where there are not enough pairs."""
    from indoor.measure import MIN_PAIRS, paired_speedup

    if not is_interleaved(baseline, candidate) or len(baseline.seconds) < MIN_PAIRS:
        return None
    return paired_speedup(
        baseline.seconds,
        candidate.seconds,
        baseline=baseline.measurement.variant or "",
        candidate=candidate.measurement.variant or "",
    )


def percentile(seconds: Sequence[float], share: float) -> tuple[float, Interval] | None:
    """Return a percentile of the rounds with its interval, which assumes nothing of their noise.

    The value is `summarize_latency`'s: the median of the rounds, or the nearest rank.

    Args:
        seconds: The rounds, in any order.
        share: Of the percentile, such as 0.9.

    Returns:
        An interval that is open above, at infinity, where there are too few rounds to bound it;
        None where they are too few to bound it from below, too.
    """
    from indoor.measure.pair_statistics import LEVEL, quantile_ranks

    low, high = quantile_ranks(len(seconds), share, (1 - LEVEL) / 2)
    if low < 1:
        return None
    ordered = [*sorted(seconds), math.inf]
    if share == 0.5:
        value = statistics.median(seconds)
    else:
        value = ordered[-(-round(1e6 * share) * len(seconds) // 1_000_000) - 1]
    return value, Interval(low=ordered[low - 1], high=ordered[high - 1], level=LEVEL)
