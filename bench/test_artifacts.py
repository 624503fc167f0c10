"""What a variant costs to have: size on disk and time to load, and the memory it takes to run."""

from typing import Any

import pytest
import torch

from bench.adapter import MEMORY_GROUP, Replay, replayed_rounds, use_later
from bench.cases import Cell, memory_batch
from bench.cases import parametrize as pytest_generate_tests
from bench.measuring import Shared
from indoor.measure import summarize_latency
from indoor.records import to_builtins
from indoor.runtimes import check_output, load_variant
from indoor.runtimes.own_process import measure_peak

__all__ = ["pytest_generate_tests"]

NUM_LOADS = 5


@pytest.mark.benchmark(timer=replayed_rounds)
def test_load(benchmark: Any, shared: Shared, variant: str) -> None:
    """From the artefact's file, which the system has cached, to a network that can run."""
    benchmark.group = "load"
    use_later(benchmark)
    known, folder = shared.variant(variant), shared.prepared.run_folder
    batch = min(shared.settings.suite_batches)  # which a static variant has an artefact for
    cell = Cell(batch=batch, threads=torch.get_num_threads(), device=known.device)
    check_output(known, shared.call(variant, batch)(), shared.reference(cell))
    if benchmark.disabled:
        benchmark.pedantic(load_variant, args=(known, folder, batch)).close()
        return
    seconds = shared.time_loads(variant, NUM_LOADS, batch)
    report = shared.prepared.report
    assert report is not None, "a run that measures evaluates, too"
    measurement = shared.measurement(
        "load",
        variant,
        latency=summarize_latency(seconds, 1),
        size_bytes=shared.loaded(variant, batch).size_bytes(),
        build_s=shared.build_s(variant, batch),
        evaluation=next((e for e in report.evaluations if e.variant == variant), None),
        paired_evaluation=next((p for p in report.pairs if p.candidate == variant), None),
        ran=shared.ran(variant, batch),
        ran_batch=batch,
    )
    Replay(lambda: seconds, seconds).hand_to(benchmark)
    benchmark.extra_info["indoor"] = to_builtins(measurement)


@pytest.mark.benchmark(timer=replayed_rounds)
def test_peak_memory(benchmark: Any, shared: Shared, variant: str) -> None:
    """The highest resident memory of a fresh process that loads this variant alone and runs it.

    The time is that process's own, from the file to the first logits.
    """
    benchmark.group = MEMORY_GROUP
    use_later(benchmark)
    batch, threads = memory_batch(shared.settings), shared.most_threads
    folder, images = shared.prepared.run_folder, shared.photographs(batch)
    peak = measure_peak(shared.variant(variant), folder, images, threads)
    if benchmark.disabled:
        benchmark.pedantic(lambda: peak)
        return
    measurement = shared.measurement(
        "peak-memory",
        variant,
        batch=batch,
        threads=threads,
        peak_memory_bytes=peak.peak_memory_bytes,
        ran=peak.ran,
    )
    Replay(lambda: peak, [peak.seconds]).hand_to(benchmark)
    benchmark.extra_info["indoor"] = to_builtins(measurement)
