"""The lines that say why cells of a narrower precision are slower than float32's."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from indoor.records import Allocator, PairedSpeedup, Precision
from indoor.report import units
from indoor.report.blocks import Block, Items, Paragraph
from indoor.report.select import described, label, latencies, precision_that_ran
from indoor.runs.ratios import paired_ratio
from indoor.runs.results import MeasuredCase, RunResult

if TYPE_CHECKING:
    from indoor.measure.slow_pair import Cause

_WIDEST = get_args(Precision)[0]

_CERTAIN = {"shown": "", "part": "in part ", "possible": "perhaps ", "open": ""}

Slow = tuple[MeasuredCase, PairedSpeedup, "tuple[Cause, ...]"]


def slower_blocks(result: RunResult, allocator: Allocator) -> list[Block]:
    """Return a line for each cause, the most certain first; nothing where no cell is slower.

    A cell is slower where the whole interval of its speedup is below 1: over the run's baseline,
    or, where it is not, over the fastest float32 of its own runtime. Cells of one variant with the
    same causes are one entry, with the figures of the slowest.
    """
    groups: dict[object, list[Slow]] = {}
    for case, paired, causes in _slow_cells(result, allocator):
        kinds = tuple((cause.kind, cause.certainty) for cause in causes)
        groups.setdefault((case.measurement.variant, paired.baseline, kinds), []).append(
            (case, paired, causes)
        )
    lines = tuple(line for group in groups.values() for line in _lines(group))
    if not lines:
        return []
    return [Paragraph(f"Slower than {_WIDEST}, and why, by what was recorded:"), Items(lines)]


def _slow_cells(result: RunResult, allocator: Allocator) -> Iterator[Slow]:
    cases, kinds = latencies(result, allocator), described(result)
    of_run = [case.measurement for case in result.cases]
    for name, kind in kinds.items():
        if kind.precision == _WIDEST:
            continue
        for case in cases:
            if case.measurement.variant != name or (found := _reference(case, cases)) is None:
                continue
            from indoor.measure.slower import why_slower  # numpy and scipy come with it

            reference, paired = found
            yield case, paired, why_slower(case.measurement, reference.measurement, of_run)


def _reference(
    case: MeasuredCase, cases: tuple[MeasuredCase, ...]
) -> tuple[MeasuredCase, PairedSpeedup] | None:
    """Return the float32 that a cell is shown to be slower than, and by how much; None: none."""
    one = case.measurement
    beside = [
        other
        for other in cases
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
        and other is not case
    ]
    fastest = min(own, key=lambda other: other.rounds.median_s, default=None)
    ratio = None if fastest is None else paired_ratio(fastest, case)
    if fastest is None or ratio is None or ratio.interval.high >= 1:
        return None
    return fastest, ratio


def _lines(group: list[Slow]) -> Iterator[str]:
    case, paired, causes = min(group, key=lambda one: one[1].speedup)
    one = case.measurement
    others = [other for other, _, _ in group if other is not case]
    also = f"; likewise at {units.listed([_cell(other) for other in others])}" if others else ""
    name = f"{label(one)} at {_cell(case)}"
    for index, cause in enumerate(causes):
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
