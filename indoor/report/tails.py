"""The table of high percentiles by MLPerf's rule, each VALID or INVALID."""

from indoor.records import Measurement, Tail
from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Paragraph
from indoor.runs.select import label


def tails_blocks(cases: list[Measurement], unit: units.TimeUnit) -> list[Block]:
    """Return the table of the cells that have such percentiles; nothing where none has."""
    known = [one for one in cases if one.tails]
    if not known:
        return []
    percentiles = sorted({tail.percentile for one in known for tail in one.tails})
    rows = []
    for one in known:
        tails = {tail.percentile: tail for tail in one.tails}
        figures = [_figure(tails.get(percentile), unit) for percentile in percentiles]
        rows.append((str(one.threads), str(one.batch), label(one), *figures))
    columns = (
        Column("threads"),
        Column("batch"),
        Column("variant", "left"),
        *(Column(f"p{percentile:g}\n{unit.name}") for percentile in percentiles),
    )
    return [
        Grid(columns=columns, rows=tuple(rows), num_keys=3),
        Paragraph(
            "Percentiles by MLPerf's rule of early stopping, per photograph: a figure is VALID, "
            "and INVALID says how many calls there were of those that the rule asks for.",
            "faint",
        ),
    ]


def _figure(tail: Tail | None, unit: units.TimeUnit) -> str:
    if tail is None:
        return units.NOTHING
    if tail.value_s is None:
        return f"INVALID ({tail.num_calls:,} of {tail.min_calls:,})"
    return unit.text(tail.value_s)
