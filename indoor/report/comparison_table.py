"""The tables of one run against an earlier one."""

from itertools import pairwise

from indoor.records import Measurement
from indoor.report import units
from indoor.report.blocks import Block, Column, Facts, Grid, Heading, Paragraph
from indoor.report.comparison import Change, case_name, compare_runs
from indoor.report.select import allocators, place
from indoor.runs.results import RunResult


def comparison_blocks(baseline: RunResult, candidate: RunResult) -> list[Block]:
    """Return the table of changes, what differs besides, and the cases that only one run has."""
    found = compare_runs(baseline, candidate)
    blocks: list[Block] = [
        Heading(f"Against {baseline.source}"),
        Paragraph(
            "Advisory. The two runs were not interleaved in time: on a shared machine the same "
            "code differs by 10% and more from run to run. Neither a pass nor a failure follows."
        ),
    ]
    if found.differences:
        blocks.append(
            Facts(
                tuple(
                    (label, f"{then} in the baseline, {this} in this run")
                    for label, then, this in found.differences
                )
            )
        )
    if found.refusal is not None:
        blocks.append(Paragraph(found.refusal, "strong"))
    elif found.changes:
        blocks += _grids(candidate, found.changes)
        blocks.append(
            Paragraph(
                "Medians; + is more than before. The speedups are each run's own, from its own "
                "interleaved pairs, and so are their intervals.",
                "faint",
            )
        )
    else:
        blocks.append(Paragraph("The two runs have no case in common.", "strong"))
    if found.missing:
        blocks.append(Paragraph(f"Only in the baseline: {'; '.join(found.missing)}."))
    if found.new:
        blocks.append(Paragraph(f"Only in this run: {'; '.join(found.new)}."))
    return blocks


def _grids(candidate: RunResult, changes: tuple[Change, ...]) -> list[Block]:
    """Return a table of the matrix's cells and one of everything else, where there are any."""
    main = allocators(candidate)[:1]
    cells: list[Change] = []
    others: list[Change] = []
    for change in changes:
        one = change.candidate.measurement
        (cells if one.case == "latency" and one.allocator in main else others).append(change)
    return [
        *([_cells(candidate, cells)] if cells else []),
        *([_others(others)] if others else []),
    ]


def _cells(candidate: RunResult, changes: list[Change]) -> Grid:
    rank = place(candidate)
    ordered = sorted(
        ((change.candidate.measurement, change) for change in changes),
        key=lambda pair: (pair[0].threads or 0, pair[0].batch or 0, rank(pair[0].variant)),
    )
    return Grid(
        columns=(
            Column("threads"),
            Column("batch"),
            Column("variant", "left"),
            Column("before\nms"),
            Column("now\nms"),
            Column("change"),
            Column("speedup\nbefore"),
            Column("95%\ninterval"),
            Column("speedup\nnow"),
            Column("95%\ninterval"),
        ),
        rows=tuple(
            (
                str(now.threads),
                str(now.batch),
                now.variant or "",
                _figure(change.baseline.measurement),
                _figure(now),
                _percentage(change),
                *_speedup(change.baseline.measurement),
                *_speedup(now),
            )
            for now, change in ordered
        ),
        num_keys=3,
        rules=frozenset(
            index
            for index, ((one, _), (following, _)) in enumerate(pairwise(ordered))
            if one.threads != following.threads
        ),
    )


def _others(changes: list[Change]) -> Grid:
    return Grid(
        columns=(
            Column("case", "left"),
            Column("unit", "left"),
            Column("before"),
            Column("now"),
            Column("change"),
        ),
        rows=tuple(
            (
                case_name(change.candidate.measurement),
                "MB" if change.candidate.measurement.case == "peak-memory" else "ms",
                _figure(change.baseline.measurement),
                _figure(change.candidate.measurement),
                _percentage(change),
            )
            for change in changes
        ),
    )


def _percentage(change: Change) -> str:
    return units.NOTHING if change.change is None else f"{100 * change.change:+.1f}%"


def _figure(one: Measurement) -> str:
    if one.case == "peak-memory":
        return units.megabytes(one.peak_memory_bytes)
    return units.milliseconds(one.latency.median_s if one.latency is not None else None)


def _speedup(one: Measurement) -> tuple[str, str]:
    if one.speedup is None:
        return "", ""
    return units.ratio(one.speedup.speedup), units.ratio_interval(one.speedup.interval)
