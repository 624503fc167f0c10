"""Which figure of a run is meant: its cells, its variants in order, its accuracies."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from indoor.measure import geometric_mean
from indoor.records import (
    Allocator,
    Evaluation,
    Interval,
    Measurement,
    PairedEvaluation,
    PairedSpeedup,
)
from indoor.runs.results import MeasuredCase, RunResult

HEADLINE_BATCHES = (8, 16)
"""The batches whose speedups the headline's geometric mean is over."""

_ORDER = {"float32": 0, "bfloat16": 1, "int8": 2, None: 3}


@dataclass(frozen=True, kw_only=True)
class MeanSpeedup:
    """A geometric mean of speedups over the batches it says."""

    value: float
    interval: Interval
    batches: tuple[int, ...]


def latencies(result: RunResult, allocator: Allocator | None = None) -> tuple[MeasuredCase, ...]:
    """Return the cases of the matrix batch x threads, of one allocator or of all."""
    return tuple(
        case
        for case in result.cases
        if case.measurement.case == "latency"
        and (allocator is None or case.measurement.allocator == allocator)
    )


def allocators(result: RunResult) -> tuple[Allocator, ...]:
    """Return the matrix's allocators: first the one of most cells, which the run is about."""
    counts = Counter(case.measurement.allocator for case in latencies(result))
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


def variants(result: RunResult) -> tuple[str, ...]:
    """Return the names of all variants: float32, then bfloat16, then int8, then others."""
    names = {
        case.measurement.variant: _ORDER[case.measurement.precision]
        for case in result.cases
        if case.measurement.variant is not None
    }
    return tuple(sorted(names, key=lambda name: (names[name], name)))


def precision(result: RunResult, variant: str) -> str | None:
    """Return the precision that a variant computes in."""
    return next(
        (
            case.measurement.precision
            for case in result.cases
            if case.measurement.variant == variant and case.measurement.precision
        ),
        None,
    )


def batch_sizes(cases: Iterable[MeasuredCase]) -> tuple[int, ...]:
    """Return the batch sizes of the cases, ascending."""
    return tuple(sorted({c.measurement.batch for c in cases if c.measurement.batch is not None}))


def thread_counts(cases: Iterable[MeasuredCase]) -> tuple[int, ...]:
    """Return the thread counts of the cases, ascending."""
    return tuple(
        sorted({c.measurement.threads for c in cases if c.measurement.threads is not None})
    )


def all_threads(result: RunResult, allocator: Allocator) -> int | None:
    """Return the largest thread count of an allocator's matrix; None where there is none."""
    counts = thread_counts(latencies(result, allocator))
    return counts[-1] if counts else None


def cell(
    result: RunResult, variant: str, batch: int, threads: int, allocator: Allocator
) -> Measurement | None:
    """Return the measurement of one cell of the matrix, where there is one."""
    wanted = (variant, batch, threads)
    for case in latencies(result, allocator):
        known = case.measurement
        if (known.variant, known.batch, known.threads) == wanted:
            return known
    return None


def evaluations(result: RunResult) -> dict[str, Evaluation]:
    """Return each variant's accuracy, in the order of `variants`; a missing one is left out."""
    found: dict[str, Evaluation] = {}
    for case in result.cases:
        record = case.measurement.evaluation
        if record is not None:
            found.setdefault(record.variant, record)
    order = {name: index for index, name in enumerate(variants(result))}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def pairs(result: RunResult) -> dict[str, PairedEvaluation]:
    """Return each candidate's accuracy against the baseline's on the same photographs."""
    found: dict[str, PairedEvaluation] = {}
    for case in result.cases:
        record = case.measurement.paired_evaluation
        if record is not None:
            found.setdefault(record.candidate, record)
    order = {name: index for index, name in enumerate(variants(result))}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def size_bytes(result: RunResult, variant: str) -> int | None:
    """Return the size on disk of a variant's weights."""
    return next(
        (
            case.measurement.size_bytes
            for case in result.cases
            if case.measurement.variant == variant and case.measurement.size_bytes is not None
        ),
        None,
    )


def mean_speedup(
    result: RunResult, variant: str, threads: int, allocator: Allocator
) -> MeanSpeedup | None:
    """Return a variant's speedup over the headline's batches, or over all where one is missing.

    Returns:
        None where no batch has a paired speedup.
    """
    known: dict[int, PairedSpeedup] = {}
    for case in latencies(result, allocator):
        one = case.measurement
        if one.variant == variant and one.threads == threads and one.batch and one.speedup:
            known[one.batch] = one.speedup
    if not known:
        return None
    chosen = HEADLINE_BATCHES if set(HEADLINE_BATCHES) <= set(known) else tuple(sorted(known))
    value, interval = geometric_mean([known[batch] for batch in chosen])
    return MeanSpeedup(value=value, interval=interval, batches=chosen)
