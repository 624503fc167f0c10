"""Large activations with the other allocator setting, in a fresh process (the full matrix only)."""

from typing import Any

import pytest

from bench.adapter import Replay, replayed_rounds, use_later
from bench.cases import allocator_cell
from bench.cases import parametrize as pytest_generate_tests
from bench.measuring import Shared
from indoor.records import Allocator, to_builtins

__all__ = ["pytest_generate_tests"]


@pytest.mark.benchmark(timer=replayed_rounds)
def test_other_allocator(
    benchmark: Any, shared: Shared, variant: str, allocator: Allocator
) -> None:
    """The largest batch on the most threads as in the matrix, but for glibc's thresholds."""
    cell = allocator_cell(shared.settings)
    benchmark.group = f"allocator {allocator}, {cell}"
    use_later(benchmark)
    if benchmark.disabled:
        benchmark.pedantic(shared.call(variant, cell.batch), warmup_rounds=1)
        return
    shared.refuse_a_lie(variant, cell.batch)
    rounds = shared.rounds(cell, variant, allocator)
    Replay(lambda: rounds, rounds.seconds).hand_to(benchmark)
    measurement = shared.describe_latency(cell, variant, allocator)
    benchmark.extra_info["indoor"] = to_builtins(measurement)
