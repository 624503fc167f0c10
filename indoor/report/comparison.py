"""One run against an earlier one, case by case: advisory, since the two were apart in time."""

from dataclasses import dataclass
from itertools import pairwise

from indoor.records import Case, Measurement, PairedSpeedup
from indoor.report import units
from indoor.report.blocks import Block, Column, Facts, Grid, Heading, Paragraph
from indoor.report.text import as_text
from indoor.runs.comparable import CaseKey, Difference, case_key, comparable
from indoor.runs.results import MeasuredCase, RunResult
from indoor.runs.select import allocators, latencies, place

_KINDS: dict[Case, str] = {
    "latency": "",
    "load": "load",
    "peak-memory": "peak memory",
    "decode": "decode",
    "throughput": "throughput",
    "label": "from bytes to label",
    "limit": "measured limit",
}

_UNITS: dict[Case, str] = {"peak-memory": "MB", "throughput": "photos/s", "limit": "GMAC/s"}
_SCALES: dict[Case, float] = {"peak-memory": 1e-6, "throughput": 1.0, "limit": 1e-9}
"""Of what is no time, which is in ms."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A case that both runs measured; `change` is its median's growth, 0.1 for 10% slower."""

    baseline: MeasuredCase
    candidate: MeasuredCase
    change: float | None

    @property
    def pair(self) -> tuple[Measurement, Measurement]:
        """The earlier run's measurement, and this one's."""
        return self.baseline.measurement, self.candidate.measurement


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs, case by case.

    Attributes:
        changes: The cases of both, in this run's order.
        missing: Names of cases that only the baseline has.
        new: Names of cases that only this run has.
        differences: What else differs, so that a change of time need not come from the code.
        refusal: Why times are not compared; None where they are.
    """

    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    differences: tuple[Difference, ...]
    refusal: str | None


def compare_runs(baseline: RunResult, candidate: RunResult) -> Comparison:
    """Match two runs' cases by what they measure, not by the names of their tests.

    Args:
        baseline: The earlier run.
        candidate: The run in question.

    Returns:
        The comparison; without changes of time where `comparable` leaves none, since those would
        not be about the code.
    """
    before = {case_key(case.measurement): case for case in baseline.cases}
    now = {case_key(case.measurement): case for case in candidate.cases}
    found = comparable(baseline.subject, candidate.subject)
    refusal = None
    if found.level != "times":
        labels = " and ".join(dict.fromkeys(one.label for one in found.decisive))
        refusal = (
            f"Times are not compared, since the runs differ in {labels}: "
            f"take a baseline with the same {labels}."
        )
    return Comparison(
        changes=tuple(
            Change(
                baseline=before[key],
                candidate=case,
                change=None if refusal else _change(before[key].measurement, case.measurement),
            )
            for key, case in now.items()
            if key in before
        ),
        missing=_names(before, now),
        new=_names(now, before),
        differences=found.differences,
        refusal=refusal,
    )


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
        differences = (
            (one.label, f"{one.there} in the baseline, {one.here} in this run")
            for one in found.differences
        )
        blocks.append(Facts(tuple(differences)))
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


def render_ratios(
    elsewhere: RunResult, here: RunResult, *, width: int = 80, color: bool = False
) -> str:
    """Return the table of the speedups that both runs paired, and no times.

    Args:
        elsewhere: The run of another machine.
        here: This run.
        width: Characters a line.
        color: Whether escape codes may stand in it.
    """
    rows = tuple(
        (
            str(now.threads),
            str(now.batch),
            now.variant or "",
            _with_interval(then.speedup),
            _with_interval(now.speedup),
        )
        for then, now in (change.pair for change in compare_runs(elsewhere, here).changes)
        if then.speedup is not None and now.speedup is not None
    )
    blocks: list[Block] = [
        Heading(f"Speedups beside {elsewhere.source}"),
        Paragraph(
            "Advisory. That run is of another machine or environment, so times are not compared; "
            "each speedup is a run's own, from its own interleaved pairs. A difference is the "
            "machines' as well as the code's."
        ),
    ]
    if rows:
        columns = (
            Column("threads"),
            Column("batch"),
            Column("variant", "left"),
            Column("there\n(95% interval)", "left"),
            Column("here\n(95% interval)", "left"),
        )
        blocks.append(Grid(columns=columns, rows=rows, num_keys=3))
    else:
        blocks.append(Paragraph("The two runs have no paired speedup in common.", "strong"))
    return as_text(blocks, width=width, color=color)


def case_name(one: Measurement) -> str:
    """Return a case in words, such as `int8, batch 8, 2 threads`."""
    parts = [one.variant or one.precision or "", _KINDS[one.case]]
    if one.batch is not None:
        parts.append(f"batch {one.batch}")
    if one.threads is not None:
        parts.append(units.threads(one.threads))
    if one.num_processes is not None:
        noun = "process" if one.num_processes == 1 else "processes"
        parts.append(f"{one.num_processes} {noun}")
    if one.allocator != "default":
        parts.append(f"allocator {one.allocator}")
    return ", ".join(part for part in parts if part)


def _names(
    cases: dict[CaseKey, MeasuredCase], others: dict[CaseKey, MeasuredCase]
) -> tuple[str, ...]:
    """Return the names of the cases that the others lack."""
    return tuple(case_name(case.measurement) for key, case in cases.items() if key not in others)


def _change(baseline: Measurement, candidate: Measurement) -> float | None:
    then, now = _value(baseline), _value(candidate)
    return now / then - 1 if then and now is not None else None


def _value(one: Measurement) -> float | None:
    match one.case:
        case "peak-memory":
            return one.peak_memory_bytes
        case "throughput":
            return one.photographs_per_s
        case "limit":
            return one.multiply_adds_per_s
        case _:
            return one.latency.median_s if one.latency is not None else None


def _grids(candidate: RunResult, changes: tuple[Change, ...]) -> list[Block]:
    """Return a table of the matrix's cells and one of everything else, where there are any."""
    main = latencies(candidate, next(iter(allocators(candidate)), None))
    cells = [change for change in changes if change.candidate in main]
    others = [change for change in changes if change.candidate not in main]
    return [
        *([_cells(candidate, cells)] if cells else []),
        *([_others(others)] if others else []),
    ]


def _cells(candidate: RunResult, changes: list[Change]) -> Grid:
    rank = place(candidate)
    ordered = sorted(
        ((*change.pair, change) for change in changes),
        key=lambda row: (row[1].threads or 0, row[1].batch or 0, rank(row[1].variant)),
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
                _figure(then),
                _figure(now),
                _percentage(change),
                *_speedup(then),
                *_speedup(now),
            )
            for then, now, change in ordered
        ),
        num_keys=3,
        rules=frozenset(
            index
            for index, ((_, one, _), (_, following, _)) in enumerate(pairwise(ordered))
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
                case_name(now),
                _UNITS.get(now.case, "ms"),
                _figure(then),
                _figure(now),
                _percentage(change),
            )
            for (then, now), change in ((change.pair, change) for change in changes)
        ),
    )


def _percentage(change: Change) -> str:
    return units.NOTHING if change.change is None else f"{100 * change.change:+.1f}%"


def _figure(one: Measurement) -> str:
    value = _value(one)
    return units.NOTHING if value is None else units.digits(value * _SCALES.get(one.case, 1e3))


def _speedup(one: Measurement) -> tuple[str, str]:
    if one.speedup is None:
        return "", ""
    return units.ratio(one.speedup.speedup), units.ratio_interval(one.speedup.interval)


def _with_interval(paired: PairedSpeedup) -> str:
    interval = paired.interval
    return f"{paired.speedup:.2f}x ({interval.low:.2f} to {interval.high:.2f})"
