"""Photographs a second with a process on each core, as servers are run."""

from typing import Any

import pytest

from bench.adapter import Replay, replayed_rounds, use_later
from bench.cases import memory_batch
from bench.cases import parametrize as pytest_generate_tests
from bench.measuring import Shared
from indoor.machine import num_usable_cores
from indoor.records import to_builtins

__all__ = ["pytest_generate_tests"]


@pytest.mark.benchmark(timer=replayed_rounds)
def test_throughput(benchmark: Any, shared: Shared, variant: str) -> None:
    """As many processes as cores, of one thread each, compute batches from a common start.

    The time is that of a batch, beside the others'.
    """
    batch = memory_batch(shared.settings)
    # A GPU has its own kernels side by side, and its memory is not there once a core.
    num_processes = 1 if shared.settings.on_gpu else num_usable_cores()
    benchmark.group = f"throughput, {num_processes} x 1 thread, batch {batch}"
    use_later(benchmark)
    if benchmark.disabled:
        benchmark.pedantic(shared.call(variant, batch), warmup_rounds=1)
        return
    shared.refuse_a_lie(variant, batch)
    found = shared.throughput(variant, num_processes)
    Replay(lambda: found, found.seconds).hand_to(benchmark)
    measurement = shared.measurement(
        "throughput",
        variant,
        batch=batch,
        threads=1,
        num_processes=num_processes,
        photographs_per_s=found.photographs_per_s,
    )
    benchmark.extra_info["indoor"] = to_builtins(measurement)
