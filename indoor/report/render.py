"""Runs as one text: tables, markdown, JSON or CSV."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from indoor.records import EvaluationReport, Machine
from indoor.report.accuracy import accuracy_blocks, accuracy_grids
from indoor.report.blocks import Block, Column, Facts, Grid, Heading, PageBlock, Paragraph
from indoor.report.caption import (
    caption,
    describe_assumed,
    describe_cpu,
    describe_data,
    describe_isa,
    describe_weights,
    short_caption,
    weights_warning,
)
from indoor.report.comparison import comparison_blocks
from indoor.report.costs import costs_blocks
from indoor.report.execution import execution_blocks
from indoor.report.export import as_csv, as_json
from indoor.report.fleet import Fleet, survey
from indoor.report.fleet_tables import fleet_blocks, fleet_csv, fleet_json
from indoor.report.markdown import as_markdown
from indoor.report.matrix import matrix_blocks
from indoor.report.page import write_page
from indoor.report.run_page import run_page_blocks
from indoor.report.summary import headline_blocks
from indoor.report.text import as_text
from indoor.report.units import MS, TimeUnit
from indoor.runs.groups import groups_by_place
from indoor.runs.results import RunResult
from indoor.runs.summary import summarize

if TYPE_CHECKING:
    from indoor.machine import Advice

ReportFormat = Literal["table", "markdown", "json", "csv"]

_UNKNOWN = "format {!r}, expected table, markdown, json or csv"


def render(
    results: Sequence[RunResult],
    *,
    format: ReportFormat = "table",  # noqa: A002 - the option of every command that prints
    width: int = 80,
    color: bool = False,
    baseline: RunResult | None = None,
    unit: TimeUnit = MS,
) -> str:
    """Return what the runs found.

    Runs are never merged: each has its own tables under its own caption. Several are grouped by
    their machines, and end with an overview of these.

    Args:
        results: One run or more.
        format: `table` for a terminal, `markdown` as GitHub reads it, `json` and `csv` as
            docs/results.md describes them.
        width: Characters a line of `table`, 40 or more; from 80 on nothing has to be stacked.
        color: Whether `table` may hold escape codes.
        baseline: An earlier run to compare each with, advisory; `csv` leaves it out.
        unit: Of the times in `table` and `markdown`.

    Returns:
        Text that ends with a newline.

    Raises:
        ValueError: There is no run, or the format is unknown.
    """
    if not results:
        raise ValueError("a report needs one run or more, got none")
    match format:
        case "json":
            return as_json(results, baseline)
        case "csv":
            return as_csv(results)
        case "table" | "markdown":
            blocks = [
                block for run in _by_machine(results) for block in _run_blocks(run, baseline, unit)
            ]
            return _printed([*blocks, *_overview(results)], format, width, color)
        case _:
            raise ValueError(_UNKNOWN.format(format))


def render_fleet(
    fleet: Fleet,
    *,
    format: ReportFormat = "table",  # noqa: A002 - as above
    width: int = 80,
    color: bool = False,
) -> str:
    """Return many runs in short, as `render` does a few.

    Raises:
        ValueError: The format is unknown.
    """
    match format:
        case "json":
            return fleet_json(fleet)
        case "csv":
            return fleet_csv(fleet)
        case "table" | "markdown":
            return _printed(fleet_blocks(fleet), format, width, color)
        case _:
            raise ValueError(_UNKNOWN.format(format))


def write_report_page(
    results: Sequence[RunResult],
    path: Path,
    *,
    baseline: RunResult | None = None,
    unit: TimeUnit = MS,
) -> None:
    """Write what the runs found as one page of HTML, those of one machine together.

    Raises:
        IndoorError: Jinja2 or matplotlib is not installed, or `path` cannot be written.
    """
    about = results[0].cases[0].measurement.run
    title = f"{about.arch} on {about.data.name}" if len(results) == 1 else f"{len(results)} runs"

    def blocks() -> Iterator[PageBlock]:
        for run in _by_machine(results):
            yield from run_page_blocks(run, _run_blocks(run, baseline, unit), unit)
        yield from _overview(results)

    write_page(path, f"indoor report: {title}", blocks())


def _overview(results: Sequence[RunResult]) -> list[Block]:
    """Return several runs' machines side by side; nothing for one run."""
    if len(results) == 1:
        return []
    return list(fleet_blocks(survey((Path(one.source), summarize(one)) for one in results)))


def render_evaluation(report: EvaluationReport, *, width: int = 80, color: bool = False) -> str:
    """Return the accuracies of a network's variants as text, with what they belong to."""
    return as_text(evaluation_blocks(report), width=width, color=color)


def evaluation_blocks(report: EvaluationReport) -> list[Block]:
    """Return the accuracies of a network's variants, with what they belong to."""
    entries: tuple[tuple[str, str], ...] = (
        ("CPU", report.cpu_model),
        ("build", f"torch {report.torch_version}"),
        ("data", describe_data(report.data, report.preprocessing)),
        ("weights", describe_weights(report.weights)),
    )
    if assumed := describe_assumed(report.weights):
        entries += (("assumed", assumed),)
    blocks: list[Block] = [Facts(entries)]
    if warning := weights_warning(report.weights, report.data):
        blocks.append(Paragraph(warning, "strong"))
    blocks += [Paragraph(note, "strong") for note in (*report.notes, *report.left_out.values())]
    return [*blocks, *accuracy_grids(report.evaluations, report.pairs)]


def render_machine(
    machine: Machine, advice: "Sequence[Advice]", *, width: int = 80, color: bool = False
) -> str:
    """Return a machine and what is to be said of it as text."""
    memory = machine.memory_bytes
    no_engines = "not readable" if "engines" in machine.unreadable else "none"
    entries = [
        ("CPU", describe_cpu(machine)),
        ("instructions", describe_isa(machine)),
        ("int8 engines", ", ".join(machine.engines) or no_engines),
        ("build", f"torch {machine.torch}, torchvision {machine.torchvision}"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("memory", "not readable" if memory is None else f"{memory / 1e9:,.1f} GB"),
        ("governor", machine.governor or "not readable"),
        ("load", "not readable" if machine.load_1min is None else f"{machine.load_1min:.2f}"),
    ]
    blocks: list[Block] = [Facts(tuple(entries))]
    if advice:
        blocks.append(
            Grid(
                columns=(Column("", "left"), Column("found", "left"), Column("remedy", "left")),
                rows=tuple((item.level, item.what, item.remedy) for item in advice),
                num_keys=3,
                rules=frozenset(range(len(advice) - 1)),
            )
        )
    else:
        blocks.append(Paragraph("Nothing speaks against trusting figures of this machine."))
    return as_text(blocks, width=width, color=color)


def _printed(blocks: list[Block], form: ReportFormat, width: int, color: bool) -> str:
    return as_markdown(blocks) if form == "markdown" else as_text(blocks, width=width, color=color)


def _by_machine(results: Sequence[RunResult]) -> list[RunResult]:
    """Return the runs of each machine beside each other, otherwise in the order given."""
    groups = groups_by_place()
    return sorted(results, key=lambda one: groups.number(one.subject))


def _run_blocks(result: RunResult, baseline: RunResult | None, unit: TimeUnit) -> list[Block]:
    """Return a run's tables, each below what it belongs to."""
    run = result.cases[0].measurement.run
    blocks: list[Block] = [
        Heading(f"{run.arch} on {run.data.name}", level=1),
        Facts(tuple(caption(result).items())),
    ]
    if run.weakened:
        how = " and ".join(run.weakened)
        blocks.append(Paragraph(f"Narrowed: {how} measured each case less than by default."))
    elif run.narrowed:
        blocks.append(Paragraph("Narrowed: this run measured fewer cases than the suite holds."))
    if run.not_a_baseline in ("failed", "regressed"):
        blocks.append(Paragraph(f"This run {run.not_a_baseline}, so it is no baseline for others."))
    if result.num_foreign:
        blocks.append(Paragraph(f"{result.num_foreign} benchmarks are not this suite's: left out."))
    if warning := weights_warning(run.weights, run.data):
        blocks.append(Paragraph(warning, "strong"))
    blocks += headline_blocks(result, unit)
    short = Paragraph(short_caption(result), "faint")
    parts = [
        matrix_blocks(result, unit),
        execution_blocks(result),
        accuracy_blocks(result),
        costs_blocks(result, unit),
    ]
    if baseline is not None:
        parts.append(comparison_blocks(baseline, result))
    for part in parts:
        for block in part:
            blocks.append(block)
            if isinstance(block, Heading):
                blocks.append(short)
    return blocks
