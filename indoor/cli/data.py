"""`indoor data verify`: everything that is wrong with a data set, at once."""

import argparse

from indoor.cli.bar import Bar
from indoor.cli.output import Outcome, use_color, width
from indoor.dataset import verify
from indoor.report.blocks import Column, Grid
from indoor.report.text import as_text


def run(parsed: argparse.Namespace) -> Outcome:
    """Check lists and photographs; exit 1 where there is a problem."""
    report = verify(parsed.root, progress=Bar())
    splits = {"train": report.num_train, "val": report.num_val, "test": report.num_test}
    classes = [(name, *(str(split[name]) for split in splits.values())) for name in report.classes]
    table = Grid(
        columns=(Column("class", "left"), *map(Column, splits)),
        rows=(*classes, ("all", *(str(sum(split.values())) for split in splits.values()))),
        rules=frozenset({len(classes) - 1}),
    )
    lines = [
        *(f"note: {note}" for note in report.notes_in_brief),
        *(f"problem: {problem}" for problem in report.problems_in_brief),
        f"{len(report.problems):,} problems" if report.problems else "no problem found",
    ]
    return Outcome(
        record=report,
        text=as_text([table], width=width(), color=use_color()) + "\n".join(lines),
        status=int(bool(report.problems)),
    )
