"""`indoor evaluate`: the accuracies of a run's checkpoints, and what differs."""

import argparse

from indoor.cli.bar import Bar
from indoor.cli.chosen_run import checkpoint, data_root, opened_run
from indoor.cli.output import Outcome, tell, use_color, width
from indoor.dataset import read_split_lists
from indoor.dataset.lists import photographs_folder
from indoor.devices import choose_device
from indoor.hints import command_line, run_word
from indoor.machine import read_machine
from indoor.pipeline import evaluate_run
from indoor.report import render_evaluation
from indoor.runtimes import find_variant


def run(parsed: argparse.Namespace) -> Outcome:
    """Evaluate variants that the run has on the same photographs."""
    named, device = checkpoint(parsed.run), choose_device(parsed.device).type
    for name in parsed.variant or ():
        find_variant(name, device)
    root = data_root(parsed)
    opened = opened_run(named, root)
    report = evaluate_run(
        root,
        opened.folder,
        read_machine(),
        split=parsed.split,
        seed=parsed.seed,
        skip_broken=parsed.skip_broken,
        device=device,
        variants=parsed.variant,
        progress=Bar(),
        say=tell,
    )
    lists = read_split_lists(root)
    following = command_line(
        "predict",
        photographs_folder(root) / (lists.test or lists.train)[0],
        run=run_word(opened.folder),
        variant=report.evaluations[-1].variant,
        device=parsed.device if parsed.device != "cpu" else None,
    )
    text = render_evaluation(report, width=width(), color=use_color())
    return Outcome(record=report, text=f"{text.rstrip()}\n\nnext: {following}", notes=opened.notes)
