"""The suite's cases: which there are on this machine, and what their tests are called."""

import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest

from bench.options import SETTINGS, Settings, mistakes_in_one_line
from indoor.devices import choose_device
from indoor.machine import num_usable_cores
from indoor.measure import current_allocator
from indoor.records import Precision, Variant
from indoor.runs.partial import Cell
from indoor.runtimes import (
    all_variants,
    find_variant,
    native_variants,
    plain_variants,
    unusable_runtimes,
    why_not,
)
from indoor.runtimes.limits import limited_precisions

MEMORY_BATCH = 8
"""The batch whose peak memory is measured, and that of the blocked ratio."""


def resolve_device(settings: Settings) -> Settings:
    """Return the settings with a device that is there, having looked at the variants, too.

    Raises:
        pytest.UsageError: There is no such device, or one that was named cannot run there.
    """
    with mistakes_in_one_line("--device: "):
        device = choose_device(settings.device).type
    with mistakes_in_one_line():  # a folder of runtimes that is none
        all_variants(device)
    with mistakes_in_one_line("--"):
        for name in settings.variants or ():
            find_variant(name, device)
    return dataclasses.replace(settings, device=device)


def left_out(settings: Settings) -> tuple[str, ...]:
    """Return a line for what is not measured here.

    That is each variant that was not named and that the device cannot compute, those of one runtime
    and reason together, each file among the runtimes that counts as none, and the numbers of
    threads that were named and are above the cores.
    """
    lines = [_threads_left_out(settings)]
    if settings.variants is None:
        names: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for variant in all_variants(settings.device).values():
            if reason := why_not(variant):
                names[variant.runtime, reason].append(variant.name)
        lines += [f"left out {', '.join(few)}: {reason}" for (_, reason), few in names.items()]
        lines += [f"left out {file}: {reason}" for file, reason in unusable_runtimes().items()]
    return tuple(filter(None, lines))


def _threads_left_out(settings: Settings) -> str:
    num_cores = num_usable_cores()
    named = (count for count in settings.threads or () if isinstance(count, int))
    above = [str(count) for count in named if count > num_cores]
    cores = f"{num_cores} core{'' if num_cores == 1 else 's'}"
    return f"left out --threads {', '.join(above)}: this process may use {cores}" if above else ""


def variants(settings: Settings) -> tuple[str, ...]:
    """Return the names of the variants to measure, the baseline first."""
    native = native_variants(settings.device)
    if settings.variants is not None:
        return tuple(v.name for v in native if v.name in settings.variants)
    return tuple(v.name for v in (native if settings.full else short_run(native)))


def left_to_the_full_run(settings: Settings) -> tuple[str, ...]:
    """Return the names of the variants that this machine computes and a short run leaves out."""
    if settings.variants is not None:
        return ()
    measured = variants(settings)
    return tuple(v.name for v in native_variants(settings.device) if v.name not in measured)


def short_run(native: Sequence[Variant]) -> tuple[Variant, ...]:
    """Return what a short run measures of the variants that this machine computes, in their order.

    The eager ones show what a precision is worth without any effort; beside these stand the
    preferred ones.
    """
    names = {v.name for v in plain_variants(native)} | preferred(native)
    return tuple(v for v in native if v.name in names)


def preferred(native: Sequence[Variant]) -> frozenset[str]:
    """Return the names of the best-ranked variant of each precision."""
    best: dict[Precision, str] = {}
    ranked = [v for v in native if v.rank is not None]
    for variant in sorted(ranked, key=lambda v: (v.rank, v.name)):
        best.setdefault(variant.precision, variant.name)
    return frozenset(best.values())


def is_of_a_limit(item: pytest.Item) -> bool:
    """Return whether a test is about the machine's limit in a precision."""
    return "precision" in getattr(getattr(item, "callspec", None), "params", {})


def cells(settings: Settings) -> tuple[Cell, ...]:
    """Return the matrix of batches and numbers of threads.

    A short run that nobody narrowed has its largest batch on the most threads alone: on one thread
    that cell takes as long as all others together.
    """
    batches, threads = settings.suite_batches, settings.suite_threads(num_usable_cores())
    named = settings.full or settings.batches or settings.threads
    return tuple(
        Cell(batch=batch, threads=count, device=settings.device)
        for batch in batches
        for count in threads
        if named or batch < max(batches) or count == threads[-1]
    )


def in_order(items: Sequence[pytest.Item], seed: int) -> list[pytest.Item]:
    """Return tests with those of a cell together, and the cells in an order that the seed decides.

    What earlier cells left in the allocator changes a later one's times by up to 25%, so that a
    fixed order would give each cell an error of its own that no repetition shows. Other tests come
    first, and last those that want a second look at the machine at the run's end.
    """
    groups: defaultdict[tuple[int, int], list[pytest.Item]] = defaultdict(list)
    first: list[pytest.Item] = []
    last: list[pytest.Item] = []
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if {"variant", "batch", "threads"} <= params.keys():
            groups[params["batch"], params["threads"]].append(item)
        else:
            (last if is_of_a_limit(item) else first).append(item)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    return [*first, *(item for cell in order for item in groups[cell]), *last]


def allocator_cell(settings: Settings) -> Cell:
    """Return the cell that the full matrix shows with both allocators: the largest activations."""
    threads = settings.suite_threads(num_usable_cores())
    batch = max(settings.suite_batches)
    return Cell(batch=batch, threads=threads[-1], device=settings.device)


def decode_threads(settings: Settings) -> tuple[int, ...]:
    """Return the numbers of threads that photographs are decoded with: the least and the most."""
    counts = settings.suite_threads(num_usable_cores())
    return tuple(dict.fromkeys((counts[0], counts[-1])))


def memory_batch(settings: Settings) -> int:
    """Return the batch that peak memory is measured with: 8, or the nearest selected."""
    return min(settings.suite_batches, key=lambda batch: abs(batch - MEMORY_BATCH))


def label_cells(settings: Settings) -> tuple[Cell, ...]:
    """Return where bytes become labels: the smallest batch and that of memory, most threads."""
    threads = settings.suite_threads(num_usable_cores())[-1]
    batches = dict.fromkeys((min(settings.suite_batches), memory_batch(settings)))
    return tuple(Cell(batch=b, threads=threads, device=settings.device) for b in batches)


def limits(settings: Settings) -> tuple[tuple[Precision, int], ...]:
    """Return the precisions and numbers of threads whose limit is measured: the CPU's alone."""
    counts = settings.suite_threads(num_usable_cores())
    known = limited_precisions() if settings.device == "cpu" else ()
    return tuple((precision, count) for precision in known for count in counts)


def default_names(settings: Settings) -> frozenset[str]:
    """Return the node ids that a run without narrowing options has on this machine."""
    narrowing = {"variants": None, "batches": None, "threads": None, "full": False}
    default = Settings(**{**vars(settings), **narrowing})
    return frozenset(
        f"bench/{module}::{name}[{parameters}]"
        for module, name, ids in CASES
        for parameters in ids(default)
    )


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give a test of the suite the cases that its arguments ask for."""
    settings = metafunc.config.stash[SETTINGS]
    wanted = set(metafunc.fixturenames)
    if {"variant", "batch", "threads"} <= wanted:
        _parametrize_cells(metafunc, cells(settings))
    elif {"variant", "allocator"} <= wanted:
        other = "default" if current_allocator() == "retain" else "retain"
        pairs = [(name, other) for name in variants(settings)]
        ids = [f"{name}-{other}" for name in _ids(settings)]
        metafunc.parametrize(("variant", "allocator"), pairs, ids=ids)
    elif {"precision", "threads"} <= wanted:
        metafunc.parametrize(("precision", "threads"), limits(settings), ids=_limit_ids(settings))
    elif "variant" in wanted:
        metafunc.parametrize("variant", variants(settings), ids=_ids(settings))
    elif "threads" in wanted:
        counts = decode_threads(settings)
        metafunc.parametrize("threads", counts, ids=_decode_ids(settings))


def parametrize_labels(metafunc: pytest.Metafunc) -> None:
    """Give a test the cells in which bytes become labels."""
    _parametrize_cells(metafunc, label_cells(metafunc.config.stash[SETTINGS]))


def _parametrize_cells(metafunc: pytest.Metafunc, found: Sequence[Cell]) -> None:
    settings = metafunc.config.stash[SETTINGS]
    rows = [(name, cell.batch, cell.threads) for cell in found for name in variants(settings)]
    ids = _cell_ids(settings, found)
    metafunc.parametrize(("variant", "batch", "threads"), rows, ids=ids)


def _cell_ids(settings: Settings, found: Sequence[Cell]) -> list[str]:
    """Return what the tests of the cells are called, a cell's variants one after another."""
    return [
        f"{name}-batch{cell.batch}-threads{cell.threads}"
        for cell in found
        for name in _ids(settings)
    ]


def _ids(settings: Settings) -> tuple[str, ...]:
    """Return how tests' names call the variants: with their device, unless it is the CPU."""
    suffix = "" if settings.device == "cpu" else f"-{settings.device}"
    return tuple(f"{name}{suffix}" for name in variants(settings))


def _decode_ids(settings: Settings) -> list[str]:
    return [f"threads{count}" for count in decode_threads(settings)]


def _limit_ids(settings: Settings) -> list[str]:
    return [f"{precision}-threads{count}" for precision, count in limits(settings)]


CASES: tuple[tuple[str, str, Callable[[Settings], Sequence[str]]], ...] = (
    ("test_latency.py", "test_latency", lambda s: _cell_ids(s, cells(s))),
    ("test_to_label.py", "test_label", lambda s: _cell_ids(s, label_cells(s))),
    ("test_throughput.py", "test_throughput", _ids),
    ("test_artifacts.py", "test_load", _ids),
    ("test_artifacts.py", "test_peak_memory", _ids),
    ("test_decode.py", "test_decode", _decode_ids),
    ("test_limit.py", "test_limit", _limit_ids),
)
"""The tests of a run that nobody narrowed: their file, their function, and what their cases are
called."""
