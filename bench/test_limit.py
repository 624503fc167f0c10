"""The most multiply-adds a second that this machine reaches, by precision and threads."""

from typing import Any

import pytest

from bench.adapter import Replay, replayed_rounds, use_later
from bench.cases import parametrize as pytest_generate_tests
from bench.measuring import Shared
from indoor.records import Precision, to_builtins
from indoor.runtimes.limits import best_limits

__all__ = ["pytest_generate_tests"]


@pytest.mark.benchmark(timer=replayed_rounds)
def test_limit(benchmark: Any, shared: Shared, precision: Precision, threads: int) -> None:
    """Large kernels in a process of their own; the times are those of the fastest kernel."""
    benchmark.group = "limit"
    use_later(benchmark)
    if benchmark.disabled:
        benchmark.pedantic(lambda: None)
        return
    best = best_limits(shared.limits)[precision, threads]
    seconds = [
        one.seconds
        for one in shared.limits
        if (one.precision, one.threads, one.kernel) == (precision, threads, best.kernel)
    ]
    Replay(lambda: best, seconds).hand_to(benchmark)
    measurement = shared.measurement(
        "limit",
        precision=precision,
        threads=threads,
        multiply_adds_per_s=best.multiply_adds_per_s,
    )
    benchmark.extra_info["indoor"] = to_builtins(measurement)
