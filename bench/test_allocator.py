"""Large activations with the other allocator setting, in a fresh process (the full matrix only)."""

from typing import Any

import pytest

from bench.adapter import Replay, replayed_rounds, use_later
from bench.cases import allocator_cell
from bench.cases import parametrize as pytest_generate_tests
from bench.lab import Lab
from indoor.records import Allocator, to_builtins

__all__ = ["pytest_generate_tests"]


@pytest.mark.benchmark(timer=replayed_rounds)
def test_other_allocator(benchmark: Any, lab: Lab, variant: str, allocator: Allocator) -> None:
    """The largest batch on the most threads as in the matrix, but for glibc's thresholds."""
    cell = allocator_cell(lab.settings)
    benchmark.group = f"allocator {allocator}, {cell}"
    use_later(benchmark)
    if benchmark.disabled:
        benchmark.pedantic(lab.call(variant, cell.batch))
        return
    result = lab.cell_with(allocator, cell)
    Replay(lambda: result, result.series[variant].seconds).hand_to(benchmark)
    measurement = lab.describe_latency(result, variant, allocator, None)
    benchmark.extra_info["indoor"] = to_builtins(measurement)
