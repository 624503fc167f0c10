"""Photographs from their files to the model's input, which no forward pass contains."""

from typing import Any

import torch
from torch import Tensor

from bench.cases import parametrize as pytest_generate_tests
from bench.measuring import Shared
from indoor.dataset import load_batches
from indoor.devices import use_threads
from indoor.measure import summarize_latency
from indoor.records import to_builtins

__all__ = ["pytest_generate_tests"]

NUM_PHOTOGRAPHS = 64
NUM_ROUNDS = 7


def test_decode(benchmark: Any, shared: Shared, threads: int) -> None:
    """Decode and transform photographs of the test split, whose files the system has cached."""
    benchmark.group = "decode"
    scenes = shared.scenes()
    indices = shared.positions(min(NUM_PHOTOGRAPHS, len(scenes)))

    def decode() -> Tensor:
        batches = load_batches(scenes, len(indices), num_threads=threads, indices=indices)
        inputs, _labels = next(iter(batches))
        return inputs

    # Each decoding thread transforms on its own; torch's threads inside would be too many.
    with use_threads(1):
        inputs = benchmark.pedantic(decode, rounds=NUM_ROUNDS, warmup_rounds=1)
    expected = torch.stack([scenes[index][0] for index in indices])
    assert torch.equal(inputs, expected), "threads gave other photographs than one by one"
    if benchmark.disabled:
        return
    latency = summarize_latency(benchmark.stats.stats.data, len(indices))
    measurement = shared.measurement(
        "decode",
        batch=len(indices),
        threads=threads,
        latency=latency,
        photographs_per_s=1 / latency.median_s,
    )
    benchmark.extra_info["indoor"] = to_builtins(measurement)
