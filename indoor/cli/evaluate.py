"""`indoor evaluate`: the accuracies of a run's checkpoints, and what differs."""

import argparse

from indoor.cli.bar import Bar
from indoor.cli.chosen_run import data_root, run_folder
from indoor.cli.output import Outcome, use_color, width
from indoor.devices import choose_device
from indoor.machine import read_machine
from indoor.pipeline import evaluate_run
from indoor.report import render_evaluation


def run(parsed: argparse.Namespace) -> Outcome:
    """Evaluate all variants that the run has on the same photographs."""
    folder = run_folder(parsed)
    report = evaluate_run(
        data_root(parsed),
        folder,
        read_machine(),
        split=parsed.split,
        seed=parsed.seed,
        skip_broken=parsed.skip_broken,
        device=choose_device(parsed.device).type,
        progress=Bar(),
    )
    return Outcome(record=report, text=render_evaluation(report, width=width(), color=use_color()))
