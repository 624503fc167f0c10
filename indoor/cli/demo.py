"""`indoor demo`: draw the embedded data set."""

import argparse

from indoor import places
from indoor.cli.bar import Bar
from indoor.cli.output import Outcome
from indoor.dataset import identify
from indoor.demo import draw_demo
from indoor.hints import command_line


def run(parsed: argparse.Namespace) -> Outcome:
    """Draw the scenes and say what was drawn."""
    out = parsed.out or places.demo_folder(places.data_folder())
    counts = {"num_train": parsed.train, "num_test": parsed.test}
    draw_demo(
        out,
        seed=parsed.seed,
        progress=Bar(),
        **{name: count for name, count in counts.items() if count is not None},
    )
    data = identify(out)
    return Outcome(
        record=data,
        text=f"drew {data.num_classes} classes in {out}: {data.num_train} train, "
        f"{data.num_val} validation, {data.num_test} test\nnext: {command_line('train', data=out)}",
    )
