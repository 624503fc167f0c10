"""What stands at the end of `pytest bench`: our tables, the plot, and the comparison in words."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indoor.errors import IndoorError
from indoor.report import plot_latency, render
from indoor.report.comparison import render_ratios
from indoor.runs.baseline import Choice
from indoor.runs.results import load_results


def write_tables(reporter: Any, saved: Path, choice: Choice) -> None:
    """Print the saved run's tables beside what was chosen, and draw its plot beside the file.

    Args:
        reporter: pytest's terminal reporter.
        saved: The file of this run.
        choice: What to compare with.
    """
    reporter.section("what this run found", sep="=")
    (result,) = load_results([saved])
    width, color = shutil.get_terminal_size().columns, bool(reporter.hasmarkup)
    baseline = choice.runs[0].result if choice.runs else None
    reporter.write(render([result], width=width, color=color, baseline=baseline))
    reporter.write_line(f"saved: {saved}")
    plot = saved.with_suffix(".png")
    try:
        plot_latency([result], plot)
    except IndoorError as error:
        reporter.write_line(f"no plot: {error}")
    else:
        reporter.write_line(f"plot: {plot}")
    for run in choice.elsewhere:
        assert run.result is not None
        reporter.write(render_ratios(run.result, result, width=width, color=color))


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
