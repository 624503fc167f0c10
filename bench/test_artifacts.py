"""What a variant costs to have: size on disk and time to load, and the memory it takes to run."""

from typing import Any

import pytest
import torch

from bench.adapter import Replay, replayed_rounds, use_later
from bench.cases import Cell, memory_batch
from bench.cases import parametrize as pytest_generate_tests
from bench.lab import Lab
from bench.probe import measure_peak
from indoor.measure import summarize_latency
from indoor.records import to_builtins
from indoor.runtimes import all_variants, check_output, load_variant

__all__ = ["pytest_generate_tests"]

NUM_LOADS = 5


def test_load(benchmark: Any, lab: Lab, variant: str) -> None:
    """From the checkpoint's file, which the system has cached, to a model that can run."""
    benchmark.group = "load"
    known = all_variants()[variant]
    folder = lab.prepared.run_folder
    loaded = benchmark.pedantic(
        load_variant, args=(known, folder), rounds=NUM_LOADS, warmup_rounds=1
    )
    photographs = lab.photographs(1)
    check_output(
        known, loaded(photographs), lab.reference(Cell(batch=1, threads=torch.get_num_threads()))
    )
    if benchmark.disabled:
        return
    report = lab.prepared.report
    assert report is not None, "a run that measures evaluates, too"
    measurement = lab.measurement(
        "load",
        variant,
        latency=summarize_latency(benchmark.stats.stats.data, 1),
        size_bytes=(folder / f"{known.checkpoint}.safetensors").stat().st_size,
        evaluation=next((e for e in report.evaluations if e.variant == variant), None),
        paired_evaluation=next((p for p in report.pairs if p.candidate == variant), None),
    )
    benchmark.extra_info["indoor"] = to_builtins(measurement)


@pytest.mark.benchmark(timer=replayed_rounds)
def test_peak_memory(benchmark: Any, lab: Lab, variant: str) -> None:
    """The highest resident memory of a fresh process that loads this variant alone and runs it.

    The time is that process's own, from the file to the first logits.
    """
    benchmark.group = "peak memory"
    use_later(benchmark)
    batch, threads = memory_batch(lab.settings), lab.most_threads
    peak = measure_peak(lab.prepared.run_folder, variant, lab.photographs(batch), threads)
    if benchmark.disabled:
        benchmark.pedantic(lambda: peak)
        return
    Replay(lambda: peak, [peak.seconds]).hand_to(benchmark)
    measurement = lab.measurement(
        "peak-memory",
        variant,
        batch=batch,
        threads=threads,
        peak_memory_bytes=peak.peak_memory_bytes,
    )
    benchmark.extra_info["indoor"] = to_builtins(measurement)
