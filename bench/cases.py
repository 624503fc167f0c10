"""The suite's cases: which there are on this machine, and what their tests are called."""

from collections.abc import Iterator

import pytest

from bench.options import SETTINGS, Settings
from indoor.errors import IndoorError
from indoor.machine import num_usable_cores
from indoor.measure import current_allocator
from indoor.runs.partial import Cell
from indoor.runtimes import find_variant, native_variants

MEMORY_BATCH = 8
"""The batch whose peak memory is measured, and that of the blocked ratio."""


def check_variants(settings: Settings) -> None:
    """Refuse variants that do not exist or that this machine only emulates.

    Raises:
        pytest.UsageError: One line.
    """
    try:
        for name in settings.variants or ():
            find_variant(name)
    except IndoorError as error:
        raise pytest.UsageError(f"--{error}") from error


def variants(settings: Settings) -> tuple[str, ...]:
    """Return the names of the variants to measure, the baseline first."""
    wanted = settings.variants
    return tuple(v.name for v in native_variants() if wanted is None or v.name in wanted)


def cells(settings: Settings) -> tuple[Cell, ...]:
    """Return the matrix of batches and numbers of threads."""
    return tuple(
        Cell(batch=batch, threads=threads)
        for batch in settings.suite_batches
        for threads in settings.suite_threads(num_usable_cores())
    )


def allocator_cell(settings: Settings) -> Cell:
    """Return the cell that the full matrix shows with both allocators: the largest activations."""
    threads = settings.suite_threads(num_usable_cores())
    return Cell(batch=max(settings.suite_batches), threads=threads[-1])


def decode_threads(settings: Settings) -> tuple[int, ...]:
    """Return the numbers of threads that photographs are decoded with: the least and the most."""
    counts = settings.suite_threads(num_usable_cores())
    return tuple(dict.fromkeys((counts[0], counts[-1])))


def memory_batch(settings: Settings) -> int:
    """Return the batch that peak memory is measured with: 8, or the nearest selected."""
    return min(settings.suite_batches, key=lambda batch: abs(batch - MEMORY_BATCH))


def default_names(settings: Settings) -> frozenset[str]:
    """Return the node ids that a run without narrowing options has on this machine."""
    narrowing = {"variants": None, "batches": None, "threads": None, "full": False}
    default = Settings(**{**vars(settings), **narrowing})
    return frozenset(
        f"bench/{module}::{name}[{parameters}]"
        for module, name, ids in (
            ("test_latency.py", "test_latency", (i for _, i in _latency(default))),
            ("test_artifacts.py", "test_load", variants(default)),
            ("test_artifacts.py", "test_peak_memory", variants(default)),
            ("test_decode.py", "test_decode", (f"threads{n}" for n in decode_threads(default))),
        )
        for parameters in ids
    )


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give a test of the suite the cases that its arguments ask for."""
    settings = metafunc.config.stash[SETTINGS]
    wanted = set(metafunc.fixturenames)
    if {"variant", "batch", "threads"} <= wanted:
        rows = list(_latency(settings))
        metafunc.parametrize(
            ("variant", "batch", "threads"), [row for row, _ in rows], ids=[i for _, i in rows]
        )
    elif {"variant", "allocator"} <= wanted:
        other = "default" if current_allocator() == "retain" else "retain"
        pairs = [(name, other) for name in variants(settings)]
        metafunc.parametrize(("variant", "allocator"), pairs, ids=[f"{v}-{a}" for v, a in pairs])
    elif "variant" in wanted:
        metafunc.parametrize("variant", variants(settings))
    elif "threads" in wanted:
        counts = decode_threads(settings)
        metafunc.parametrize("threads", counts, ids=[f"threads{count}" for count in counts])


def _latency(settings: Settings) -> Iterator[tuple[tuple[str, int, int], str]]:
    """Yield (variant, batch, threads) and the test's id, a cell's variants one after another."""
    for cell in cells(settings):
        for name in variants(settings):
            yield (
                (name, cell.batch, cell.threads),
                f"{name}-batch{cell.batch}-threads{cell.threads}",
            )
