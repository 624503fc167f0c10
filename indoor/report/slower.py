"""The lines that say why cells of a narrower precision are slower than float32's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from indoor.records import Allocator, PairedSpeedup, Precision
from indoor.report import units
from indoor.report.blocks import Block, Items, Paragraph
from indoor.runs.ratios import paired_ratio
from indoor.runs.results import MeasuredCase, RunResult
from indoor.runs.select import described, label, latencies, precision_that_ran

if TYPE_CHECKING:
    from indoor.measure.slow_pair import Cause

_WIDEST = get_args(Precision)[0]

_CERTAIN = {"shown": "", "part": "in part ", "possible": "perhaps ", "open": ""}


@dataclass(frozen=True, kw_only=True)
class SlowCell:
    """A cell, how much slower it is than which float32, and why, the most certain cause first."""

    case: MeasuredCase
    speedup: PairedSpeedup
    causes: "tuple[Cause, ...]"


def slower_blocks(result: RunResult, allocator: Allocator) -> list[Block]:
    """Return a line for each cause, the most certain first; nothing where no cell is slower.

    Cells of one variant with the same causes are one entry, with the figures of the slowest.
    """
    groups: dict[object, list[SlowCell]] = {}
    for one in slow_cells(result, allocator):
        kinds = tuple((cause.kind, cause.certainty) for cause in one.causes)
        key = one.case.measurement.variant, one.speedup.baseline, kinds
        groups.setdefault(key, []).append(one)
    lines = tuple(line for group in groups.values() for line in _lines(group))
    if not lines:
        return []
    return [Paragraph(f"Slower than {_WIDEST}, and why, by what was recorded:"), Items(lines)]


def slow_cells(result: RunResult, allocator: Allocator) -> Iterator[SlowCell]:
    """Yield the cells of a narrower precision that are slower than float32, in tables' order.

    A cell is slower where the whole interval of its speedup is below 1: over the run's baseline,
    or, where it is not, over the fastest float32 of its own runtime.
    """
    cases, kinds = latencies(result, allocator), described(result)
    of_run = [case.measurement for case in result.cases]
    wide = [
        case
        for case in cases
        if (kind := kinds.get(case.measurement.variant or "")) and kind.precision == _WIDEST
    ]
    for name, kind in kinds.items():
        if kind.precision == _WIDEST:
            continue
        for case in cases:
            if case.measurement.variant != name or (found := _reference(case, wide)) is None:
                continue
            from indoor.measure.slower import why_slower  # numpy and scipy come with it

            reference, paired = found
            causes = why_slower(case.measurement, reference.measurement, of_run)
            yield SlowCell(case=case, speedup=paired, causes=causes)


def _reference(
    case: MeasuredCase, wide: Sequence[MeasuredCase]
) -> tuple[MeasuredCase, PairedSpeedup] | None:
    """Return the float32 that a cell is shown to be slower than, and by how much; None: none."""
    one = case.measurement
    beside = [
        other
        for other in wide
        if (other.measurement.batch, other.measurement.threads) == (one.batch, one.threads)
        and other.measurement.latency is not None
    ]
    if one.latency is None:
        return None
    if (paired := one.speedup) is not None and paired.interval.high < 1:
        found = [other for other in beside if other.measurement.variant == paired.baseline]
        return (found[0], paired) if found else None
    own = [
        other
        for other in beside
        if other.measurement.runtime == one.runtime
        and precision_that_ran(other.measurement) == _WIDEST
    ]
    fastest = min(own, key=lambda other: other.rounds.median_s, default=None)
    ratio = None if fastest is None else paired_ratio(fastest, case)
    if fastest is None or ratio is None or ratio.interval.high >= 1:
        return None
    return fastest, ratio


def _lines(group: list[SlowCell]) -> Iterator[str]:
    slowest = min(group, key=lambda one: one.speedup.speedup)
    others = [one.case for one in group if one is not slowest]
    also = f"; likewise at {units.listed([_cell(other) for other in others])}" if others else ""
    name = f"{label(slowest.case.measurement)} at {_cell(slowest.case)}"
    paired = slowest.speedup
    for index, cause in enumerate(slowest.causes):
        head = f"{name}, besides"
        if not index:
            head = (
                f"{name}, {units.ratio(paired.speedup)} ({units.ratio_interval(paired.interval)}) "
                f"as fast as {paired.baseline}{also}"
            )
        yield f"{head}: {_CERTAIN[cause.certainty]}{cause.kind}: {units.clean(cause.words)}."


def _cell(case: MeasuredCase) -> str:
    one = case.measurement
    return f"batch {one.batch} with {units.threads(one.threads or 1)}"
