"""From photographs' bytes to the names of their labels: what an application waits for."""

from typing import Any

import pytest

from bench.adapter import Replay, replayed_rounds, use_later
from bench.cases import Cell
from bench.cases import parametrize_labels as pytest_generate_tests
from bench.labels import Labels, measure_labels
from bench.measuring import Shared
from indoor.devices import use_threads
from indoor.records import to_builtins

__all__ = ["pytest_generate_tests"]


@pytest.fixture(scope="module")
def measured() -> dict[Cell, Labels]:
    """The cells that were measured, for all of their variants."""
    return {}


@pytest.mark.benchmark(timer=replayed_rounds)
def test_label(
    benchmark: Any,
    shared: Shared,
    measured: dict[Cell, Labels],
    variant: str,
    batch: int,
    threads: int,
) -> None:
    """Files in memory are decoded, transformed, computed and named; interleaved as a cell is."""
    cell = Cell(batch=batch, threads=threads, device=shared.settings.device)
    benchmark.group = f"from bytes to labels, {cell}"
    use_later(benchmark)
    with use_threads(threads):
        classes = shared.loaded(variant, batch).manifest.classes
        answers = shared.call(variant, batch)().argmax(dim=1).tolist()
        expected = [classes[answer] for answer in answers]
        if benchmark.disabled:
            benchmark.pedantic(shared.call(variant, batch), warmup_rounds=1)
            return
        shared.refuse_a_lie(variant, batch)
        if cell not in measured:
            measured[cell] = measure_labels(shared, cell)
        found = measured[cell]
        rounds = found.series(variant)
        assert found.names[variant] == expected, f"{variant} names bytes otherwise than tensors"
        Replay(lambda: expected, rounds.seconds).hand_to(benchmark)
    measurement = shared.describe_rounds("label", variant, found.result)
    benchmark.extra_info["indoor"] = to_builtins(measurement)
