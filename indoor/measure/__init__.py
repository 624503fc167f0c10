"""Timing side by side, and what the times say: pairs, warm-up, intervals, latencies; no torch."""

from indoor.measure.allocator import allocator_environment, current_allocator, peak_memory_bytes
from indoor.measure.latency import summarize_latency
from indoor.measure.pairs import measure_pair
from indoor.measure.speedup import MIN_PAIRS, geometric_mean, paired_speedup

__all__ = [
    "MIN_PAIRS",
    "allocator_environment",
    "current_allocator",
    "geometric_mean",
    "measure_pair",
    "paired_speedup",
    "peak_memory_bytes",
    "summarize_latency",
]
