"""The forward pass: seconds a batch by variant, batch and threads."""

from typing import Any

import pytest

from bench.adapter import Replay, replayed_rounds, use_later
from bench.cases import Cell
from bench.cases import parametrize as pytest_generate_tests
from bench.lab import Lab
from indoor.devices import use_threads
from indoor.records import to_builtins
from indoor.runtimes import all_variants, check_output

__all__ = ["pytest_generate_tests"]


@pytest.mark.benchmark(timer=replayed_rounds)
def test_latency(benchmark: Any, lab: Lab, variant: str, batch: int, threads: int) -> None:
    """A batch of transformed photographs to logits; all variants of a cell are interleaved."""
    cell = Cell(batch=batch, threads=threads)
    benchmark.group = f"latency, {cell}"
    use_later(benchmark)
    known = all_variants()[variant]
    call = lab.call(variant, batch)
    with use_threads(threads):
        reference = lab.reference(cell)
        if benchmark.disabled:
            check_output(known, benchmark.pedantic(call), reference)
            return
        output_sqnr_db = check_output(known, call(), reference)
        result = lab.cell(cell)
        logits = Replay(call, result.series[variant].seconds).hand_to(benchmark)
        check_output(known, logits, reference)
    measurement = lab.describe_latency(result, variant, lab.allocator, output_sqnr_db)
    benchmark.extra_info["indoor"] = to_builtins(measurement)
