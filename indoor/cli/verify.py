"""`indoor data verify`: everything wrong with a data set, at once."""

import argparse

from indoor.cli.bar import Bar
from indoor.cli.output import Outcome
from indoor.dataset import verify


def run(parsed: argparse.Namespace) -> Outcome:
    """Check lists and photographs; exit 1 where there is a problem."""
    report = verify(parsed.root, progress=Bar())
    width = max(len(name) for name in (*report.classes, "class"))
    splits = (report.num_train, report.num_val, report.num_test)
    lines = [f"{'class':{width}}  train    val   test"]
    lines += [_row(name, width, [split[name] for split in splits]) for name in report.classes]
    lines.append(_row("all", width, [sum(split.values()) for split in splits]))
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"problem: {problem}" for problem in report.problems]
    lines.append(f"{len(report.problems)} problems" if report.problems else "no problem found")
    return Outcome(record=report, text="\n".join(lines), status=int(bool(report.problems)))


def _row(name: str, width: int, counts: list[int]) -> str:
    return f"{name:{width}}" + "".join(f"  {count:5}" for count in counts)
