"""`indoor report`: the tables of benchmark results."""

import argparse
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from indoor.cli.bar import Bar
from indoor.cli.output import Outcome, use_color, width
from indoor.errors import IndoorError
from indoor.machine import num_usable_cores
from indoor.records import to_json
from indoor.report import plot_latency, render, render_fleet, survey, write_report_page
from indoor.report.fleet_tables import fleet_blocks
from indoor.report.page import write_page
from indoor.report.units import MS, US
from indoor.runs.index import read_summaries
from indoor.runs.results import load_results, measurement_schema
from indoor.runs.storage import files_below, named_or_newest
from indoor.runs.summary import RunSummary
from indoor.workers import workers

MOST_TABLES = 20
"""Runs of which each has its tables; more are told in short unless somebody asks for these."""


def run(parsed: argparse.Namespace) -> Outcome:
    """Render the files that were named, or the newest result; or print the schema."""
    if parsed.schema:
        if unread := [
            str(one)
            for one in (*parsed.files, parsed.results, parsed.baseline, parsed.plot, parsed.html)
            if one
        ]:
            raise IndoorError(
                f"--schema with {', '.join(unread)}: it prints the schema of any measurement, and "
                "no result is read; expected --schema alone; leave one of them out"
            )
        return Outcome(record=None, text=to_json(measurement_schema(), indent=2).decode("utf-8"))
    if parsed.baseline and parsed.format == "csv":
        raise IndoorError(
            f"--baseline {parsed.baseline} with --format csv: it holds single runs alone; expected "
            "table, markdown or json; leave one of them out"
        )
    if parsed.unit and parsed.format in ("json", "csv"):
        raise IndoorError(
            f"--unit {parsed.unit} with --format {parsed.format}: times there are in seconds; "
            "expected table or markdown; leave --unit out"
        )
    files = _files(parsed)
    if _is_summary(parsed, files):
        return _summary(parsed, files)
    results = load_results(files)
    baseline = load_results([parsed.baseline])[0] if parsed.baseline else None
    unit = US if parsed.unit == "us" else MS
    text = render(
        results,
        format=parsed.format,
        width=parsed.width or width(),
        color=use_color(),
        baseline=baseline,
        unit=unit,
    )
    if parsed.html:
        write_report_page(results, parsed.html, baseline=baseline, unit=unit)
    if parsed.plot:
        plot_latency(results, parsed.plot)
    return Outcome(record=None, text=text)


def _files(parsed: argparse.Namespace) -> tuple[Path, ...]:
    """Return the files that were named, all those below a folder that was, or the newest."""
    chosen = named_or_newest(parsed.files, parsed.results)
    return tuple(
        file for path in chosen for file in (files_below(path) if path.is_dir() else [path])
    )


def _is_summary(parsed: argparse.Namespace, files: Sequence[Path]) -> bool:
    """Return whether the runs are told in short: where that is asked for, or they are many.

    Raises:
        IndoorError: It is asked for beside what is of single runs.
    """
    of_runs = {"--baseline": parsed.baseline, "--plot": parsed.plot, "--unit": parsed.unit}
    given = [name for name, value in of_runs.items() if value is not None]
    if parsed.summary and given:
        raise IndoorError(
            f"--summary with {given[0]}: it shows no single run; expected one of the two; leave "
            "one out"
        )
    if parsed.summary is not None:
        return bool(parsed.summary)
    return len(files) > MOST_TABLES and not given and parsed.format in ("table", "markdown")


def _summary(parsed: argparse.Namespace, files: Sequence[Path]) -> Outcome:
    named = {path for path in parsed.files if not path.is_dir()}
    with workers(num_usable_cores()) as start:
        found = read_summaries(files, progress=Bar(), start=start)
        fleet = survey(_readable(found, named))
    if parsed.html:
        write_page(parsed.html, f"indoor report: {len(files)} runs", fleet_blocks(fleet))
    text = render_fleet(
        fleet, format=parsed.format, width=parsed.width or width(), color=use_color()
    )
    return Outcome(record=None, text=text)


def _readable(
    found: Iterator[tuple[Path, RunSummary | IndoorError]], named: Set[Path]
) -> Iterator[tuple[Path, RunSummary | IndoorError]]:
    """Yield them; a file that was named itself has to be a run, one in a folder is left out."""
    for path, run in found:
        if isinstance(run, IndoorError) and path in named:
            raise run
        yield path, run
