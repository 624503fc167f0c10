"""The forward pass: seconds a batch by variant, batch and threads."""

from typing import Any

import pytest

from bench.adapter import Replay, replayed_rounds, use_later
from bench.cases import Cell
from bench.cases import parametrize as pytest_generate_tests
from bench.measuring import Shared
from indoor.devices import use_threads
from indoor.records import to_builtins
from indoor.runtimes import check_output

__all__ = ["pytest_generate_tests"]


@pytest.mark.benchmark(timer=replayed_rounds)
def test_latency(benchmark: Any, shared: Shared, variant: str, batch: int, threads: int) -> None:
    """A batch of transformed photographs to logits; all variants of a cell are interleaved."""
    cell = Cell(batch=batch, threads=threads, device=shared.settings.device)
    benchmark.group = f"latency, {cell}"
    use_later(benchmark)
    known = shared.variant(variant)
    with use_threads(threads):
        call = shared.call(variant, batch)
        reference = shared.reference(cell)
        if benchmark.disabled:
            check_output(known, benchmark.pedantic(call, warmup_rounds=1), reference)
            return
        first = call()
        output_sqnr_db = check_output(known, first, reference)
        found: dict[str, Any] = {
            "output_sqnr_db": output_sqnr_db,
            "output_max_difference": None
            if output_sqnr_db is None
            else float((first - reference).abs().max()),
            "num_busy_threads": shared.busy_threads(cell, variant, call),
        }
        rounds = shared.rounds(cell, variant)
        ran = shared.ran(variant, batch)
        logits = Replay(call, rounds.seconds).hand_to(benchmark)
        check_output(known, logits, reference)
    measurement = shared.describe_latency(cell, variant, ran=ran, **found)
    benchmark.extra_info["indoor"] = to_builtins(measurement)
