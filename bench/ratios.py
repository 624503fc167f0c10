"""The speedups of two machines side by side: what can be compared where times cannot."""

from indoor.records import Measurement
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph
from indoor.report.comparison import compare_runs
from indoor.report.text import as_text
from indoor.runs.results import RunResult


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
            str(one.threads),
            str(one.batch),
            one.variant or "",
            _speedup(change.baseline.measurement),
            _speedup(one),
        )
        for change in compare_runs(elsewhere, here).changes
        if (one := change.candidate.measurement).speedup is not None
        and change.baseline.measurement.speedup is not None
    )
    blocks: list[Block] = [
        Heading(f"Speedups beside {elsewhere.source}"),
        Paragraph(
            "Advisory. That run is of another machine, so times are not compared; each speedup is "
            "a run's own, from its own interleaved pairs. A difference is the machines' as well "
            "as the code's."
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


def _speedup(one: Measurement) -> str:
    assert one.speedup is not None
    value, interval = one.speedup.speedup, one.speedup.interval
    return f"{value:.2f}x ({interval.low:.2f} to {interval.high:.2f})"
