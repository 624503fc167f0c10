"""`indoor report`: the tables of benchmark results."""

import argparse
from pathlib import Path

from indoor.cli.output import Outcome, use_color, width
from indoor.errors import IndoorError
from indoor.records import to_json
from indoor.report import plot_latency, render
from indoor.report.units import MS, US
from indoor.runs.results import load_results, measurement_schema
from indoor.runs.storage import newest_run


def run(parsed: argparse.Namespace) -> Outcome:
    """Render the files that were named, or the newest result; or print the schema."""
    if parsed.schema:
        if unread := [str(one) for one in (*parsed.files, parsed.baseline, parsed.plot) if one]:
            raise IndoorError(
                f"--schema with {', '.join(unread)}: it prints the schema of any measurement, and "
                "no result is read; expected --schema alone; leave one of them out"
            )
        return Outcome(record=None, text=to_json(measurement_schema(), indent=2).decode("utf-8"))
    if parsed.unit and parsed.format in ("json", "csv"):
        raise IndoorError(
            f"--unit {parsed.unit} with --format {parsed.format}: times there are in seconds; "
            "expected table or markdown; leave --unit out"
        )
    results = load_results(parsed.files or [newest_run(parsed.results or Path("results"))])
    baseline = load_results([parsed.baseline])[0] if parsed.baseline else None
    text = render(
        results,
        format=parsed.format,
        width=parsed.width or width(),
        color=use_color(),
        baseline=baseline,
        unit=US if parsed.unit == "us" else MS,
    )
    if parsed.plot:
        plot_latency(results, parsed.plot)
    return Outcome(record=None, text=text)
