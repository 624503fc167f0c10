"""The seconds of a case's rounds to its latencies per photograph."""

import math
import statistics
from collections.abc import Sequence

from indoor.measure.pair_statistics import LEVEL
from indoor.records import LatencySummary


def summarize_latency(seconds: Sequence[float], batch: int) -> LatencySummary:
    """Return median, p90 and p99 of the rounds, in seconds per photograph.

    A percentile is the smallest round that at least that share of the rounds does not exceed
    (nearest rank, so it is a time that was measured). It is given only if, with 95% confidence,
    the slowest round is at or above the true percentile: `1 - share ** rounds >= 0.95`, which
    takes 29 rounds for p90 and 299 for p99. With fewer it would be the luck of this run.

    Args:
        seconds: What each round took for a whole batch, above 0.
        batch: Photographs per round, 1 or more.

    Returns:
        The summary; `left_out` says of each percentile that is None why.

    Raises:
        ValueError: No rounds, a batch below 1, or a time that is not positive and finite.
    """
    if batch < 1:
        raise ValueError(f"batch {batch} is no number of photographs, expected 1 or more")
    if not seconds:
        raise ValueError("a latency needs one round or more, got none")
    if not all(math.isfinite(s) and s > 0 for s in seconds):
        raise ValueError("a round took a time that is not positive and finite")
    per_photograph_s = sorted(s / batch for s in seconds)
    left_out: dict[str, str] = {}
    percentiles: dict[int, float | None] = {}
    for percent in (90, 99):
        num_needed = _num_rounds_needed(percent)
        if len(seconds) >= num_needed:
            rank = -(-percent * len(seconds) // 100)
            percentiles[percent] = per_photograph_s[rank - 1]
        else:
            percentiles[percent] = None
            left_out[f"p{percent}_s"] = (
                f"{len(seconds)} rounds; with fewer than {num_needed} the slowest round can lie "
                f"below the true p{percent}"
            )
    return LatencySummary(
        median_s=statistics.median(per_photograph_s),
        p90_s=percentiles[90],
        p99_s=percentiles[99],
        left_out=left_out,
    )


def _num_rounds_needed(percent: int) -> int:
    return math.ceil(math.log(1 - LEVEL) / math.log(percent / 100))
