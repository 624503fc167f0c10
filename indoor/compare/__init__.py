"""Pairs of timings to speedups with intervals, rounds to latencies, and both to a verdict."""

from indoor.compare.latency import summarize_latency
from indoor.compare.speedup import MIN_PAIRS, geometric_mean, paired_speedup
from indoor.compare.verdict import (
    MAX_DROP,
    MIN_SPEEDUP,
    Answer,
    Verdict,
    describe_accuracy,
    describe_speedup,
    is_difference_shown,
    verdict,
)

__all__ = [
    "MAX_DROP",
    "MIN_PAIRS",
    "MIN_SPEEDUP",
    "Answer",
    "Verdict",
    "describe_accuracy",
    "describe_speedup",
    "geometric_mean",
    "is_difference_shown",
    "paired_speedup",
    "summarize_latency",
    "verdict",
]
