"""What stands at the end of `pytest bench`: our tables, the plot, and the comparison in words."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.baseline import Choice
from bench.ratios import render_ratios
from indoor.errors import IndoorError
from indoor.report import plot_latency, render
from indoor.runs.results import RunResult, load_results


def write_tables(reporter: Any, saved: Path, baseline: Path | None) -> None:
    """Print the saved run's tables, and draw its plot beside the file.

    Args:
        reporter: pytest's terminal reporter.
        saved: The file of this run.
        baseline: The file to compare with; None for none.
    """
    reporter.section("what this run found", sep="=")
    results = load_results([saved])
    reporter.write(
        render(
            results,
            width=shutil.get_terminal_size().columns,
            color=bool(reporter.hasmarkup),
            baseline=_load(baseline),
        )
    )
    reporter.write_line(f"saved: {saved}")
    plot = saved.with_suffix(".png")
    try:
        plot_latency(results, plot)
    except IndoorError as error:
        reporter.write_line(f"no plot: {error}")
    else:
        reporter.write_line(f"plot: {plot}")


def write_ratios(reporter: Any, saved: Path, elsewhere: Sequence[Path]) -> None:
    """Print the speedups of the saved run beside those of runs of other machines."""
    for path in elsewhere:
        there, here = load_results([path, saved])
        reporter.write(
            render_ratios(
                there,
                here,
                width=shutil.get_terminal_size().columns,
                color=bool(reporter.hasmarkup),
            )
        )


def write_comparison(
    reporter: Any, choice: Choice, problems: Sequence[str], unmatched: Sequence[str]
) -> None:
    """Print with what the run was compared, what only one of the two holds, and what got worse."""
    for line in (*choice.lines, *unmatched):
        reporter.write_line(line)
    for line in problems:
        reporter.write_line(f"REGRESSION {line}", red=True)
    if problems:
        reporter.write_line(
            f"{len(problems)} {'case' if len(problems) == 1 else 'cases'} slower than "
            "--benchmark-compare-fail allows: exit 1; this run does not become the baseline. Two "
            "runs apart in time differ by 10% and more on a shared machine; run it again to see",
            red=True,
        )


def _load(baseline: Path | None) -> RunResult | None:
    """Return the baseline, unless it is of another version or another suite."""
    if baseline is None:
        return None
    try:
        return load_results([baseline])[0]
    except IndoorError:
        return None
