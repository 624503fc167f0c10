"""Which figure of a run is meant: its cells, its variants in order, its accuracies."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from indoor.records import (
    Allocator,
    Evaluation,
    Interval,
    Measurement,
    PairedEvaluation,
    PairedSpeedup,
    Precision,
    Variant,
)
from indoor.runs.results import MeasuredCase, RunResult

HEADLINE_BATCHES = (8, 16)
"""The batches whose speedups the headline's geometric mean is over."""

Record = TypeVar("Record")

# fmt: off
_EARLIER = (
    Variant(name="float32", runtime="eager", precision="float32", checkpoint="float32",
            role="baseline", order=0, colour="#0072b2", marker="o"),
    Variant(name="bfloat16", runtime="eager", precision="bfloat16", checkpoint="float32",
            role="plain", order=10, colour="#e69f00", marker="s"),
    Variant(name="int8", runtime="eager", precision="int8", checkpoint="int8",
            role="judged", order=20, colour="#d55e00", marker="^"),
)
# fmt: on
"""What there was when files did not describe their variants, which is until version 2."""


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


def described(result: RunResult) -> dict[str, Variant]:
    """Return what the measured variants are, by name, in the order of tables."""
    known = {one.name: one for one in result.cases[0].measurement.run.variants or ()}
    for one in _measurements(result):
        if one.variant is not None and one.precision is not None and one.variant not in known:
            kind = next(earlier for earlier in _EARLIER if earlier.precision == one.precision)
            if kind.name != one.variant:
                kind = replace(kind, name=one.variant, colour=None, marker=None)
            known[one.variant] = kind
    measured = {one.variant for one in _measurements(result)}
    ordered = sorted(known.values(), key=lambda one: (one.order, one.name))
    return {one.name: one for one in ordered if one.name in measured}


def variants(result: RunResult) -> tuple[str, ...]:
    """Return the names of all variants in the order of tables; undescribed ones come last."""
    known = described(result)
    names = {one.variant for one in _measurements(result) if one.variant is not None}
    return (*known, *sorted(names - known.keys()))


def place(result: RunResult) -> Callable[[str | None], int]:
    """Return what sorts variants by name: their place in `variants`; others come last."""
    known = {name: index for index, name in enumerate(variants(result))}
    return lambda name: known.get(name or "", len(known))


def precision_that_ran(one: Measurement) -> Precision | None:
    """Return what a case's multiply-adds were computed in; what it says, where none are told."""
    if one.ran is None:
        return one.precision
    from indoor.measure.proof import proof_of  # numpy and scipy come with it

    proof = proof_of(one)
    return (proof.precision if proof is not None else None) or one.precision


def label(one: Measurement) -> str:
    """Return a case's variant as tables name it: with what ran, where that is something else."""
    if one.ran is None and not one.run.variants:
        return one.variant or ""
    from indoor.measure.proof import row_name

    if one.run.variants is None:  # then its own precision is all that is known of the claim
        known = Variant(
            name=one.variant or "",
            runtime=one.runtime or "",
            precision=one.precision or "float32",
            checkpoint="float32",
        )
        one = replace(one, run=replace(one.run, variants=(known,)))
    return row_name(replace(one, precision=precision_that_ran(one)))


def cell_anchor(one: Measurement) -> str:
    """Return what a page calls a cell of the matrix."""
    return re.sub(r"[^\w.-]+", "-", f"{one.allocator}-{one.threads}-{one.batch}-{one.variant}")


def labels(result: RunResult) -> dict[str, str]:
    """Return each variant by its name as tables call it, on a second line what ran instead."""
    others: dict[str, str] = {}
    for one in _measurements(result):
        if one.variant is not None and (told := label(one)) != one.variant:
            others.setdefault(one.variant, told.replace(" ", "\n", 1))
    return {name: others.get(name, name) for name in variants(result)}


def size_bytes(result: RunResult, variant: str) -> int | None:
    """Return the size on disk of a variant's weights."""
    known = (one.size_bytes for one in _measurements(result, variant))
    return next((one for one in known if one is not None), None)


def batch_sizes(cases: Iterable[MeasuredCase]) -> tuple[int, ...]:
    """Return the batch sizes of the cases, ascending."""
    return tuple(sorted({c.measurement.batch for c in cases if c.measurement.batch is not None}))


def thread_counts(cases: Iterable[MeasuredCase]) -> tuple[int, ...]:
    """Return the thread counts of the cases, ascending."""
    return tuple(
        sorted({c.measurement.threads for c in cases if c.measurement.threads is not None})
    )


def cells(
    result: RunResult, allocator: Allocator, threads: int
) -> dict[tuple[str, int], Measurement]:
    """Return the matrix's cells at one thread count, by variant and batch."""
    return {
        (one.variant, one.batch): one
        for one in (case.measurement for case in latencies(result, allocator))
        if one.threads == threads and one.variant is not None and one.batch is not None
    }


def evaluations(result: RunResult) -> dict[str, Evaluation]:
    """Return each variant's accuracy, in the order of `variants`; a missing one is left out."""
    known = (one.evaluation for one in _measurements(result))
    return _ordered(result, ((one.variant, one) for one in known if one is not None))


def pairs(result: RunResult) -> dict[str, PairedEvaluation]:
    """Return each candidate's accuracy against the baseline's on the same photographs."""
    known = (one.paired_evaluation for one in _measurements(result))
    return _ordered(result, ((one.candidate, one) for one in known if one is not None))


def headline_batches(measured: Iterable[int]) -> tuple[int, ...]:
    """Return which of the batches a mean is over: the headline's, or all where one is missing."""
    found = tuple(sorted(measured))
    return HEADLINE_BATCHES if set(HEADLINE_BATCHES) <= set(found) else found


def mean_speedup(speedups: Mapping[int, PairedSpeedup]) -> MeanSpeedup | None:
    """Return a variant's speedup over the headline's batches, or over all where one is missing.

    Args:
        speedups: Those of one variant and thread count, by batch.

    Returns:
        None where no batch has a paired speedup.
    """
    if not speedups:
        return None
    from indoor.measure import geometric_mean  # numpy and scipy, which no other table needs

    batches = headline_batches(speedups)
    value, interval = geometric_mean([speedups[batch] for batch in batches])
    return MeanSpeedup(value=value, interval=interval, batches=batches)


def headline_cells(result: RunResult) -> tuple[Allocator, int] | None:
    """Return the allocator and the largest thread count; None where no cell was timed."""
    allocator = next(iter(allocators(result)), None)
    counts = thread_counts(latencies(result, allocator))
    return None if allocator is None or not counts else (allocator, counts[-1])


def mean_speedups(
    names: Iterable[str], timed: Mapping[tuple[str, int], Measurement]
) -> dict[str, MeanSpeedup]:
    """Return the means of variants at one thread count, where they have paired speedups.

    Args:
        names: The variants, in the order of the means.
        timed: The `cells` at that thread count.
    """
    means = {}
    for name in names:
        speedups = {b: one.speedup for (v, b), one in timed.items() if v == name and one.speedup}
        if (mean := mean_speedup(speedups)) is not None:
            means[name] = mean
    return means


def _measurements(result: RunResult, variant: str | None = None) -> Iterator[Measurement]:
    """Yield the run's measurements, of one variant or of all."""
    for case in result.cases:
        if variant is None or case.measurement.variant == variant:
            yield case.measurement


def _ordered(result: RunResult, found: Iterable[tuple[str, Record]]) -> dict[str, Record]:
    """Return the first record of each variant, in the order of `variants`."""
    rank = place(result)
    records: dict[str, Record] = {}
    for name, record in sorted(found, key=lambda item: rank(item[0])):
        records.setdefault(name, record)
    return records
