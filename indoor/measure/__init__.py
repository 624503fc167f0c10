"""Timing side by side, and what the times say: pairs, warm-up, intervals, latencies; no torch."""

from indoor.measure.latency import summarize_latency
from indoor.measure.speedup import MIN_PAIRS, geometric_mean, paired_speedup

__all__ = ["MIN_PAIRS", "geometric_mean", "paired_speedup", "summarize_latency"]
