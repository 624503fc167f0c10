"""Which data set and which run's checkpoints a command means."""

import argparse
from pathlib import Path

from indoor import places
from indoor.cli.bar import Bar
from indoor.cli.output import tell
from indoor.demo import draw_demo
from indoor.pipeline import OpenedRun, open_run


def data_root(parsed: argparse.Namespace) -> Path:
    """Return `--data`, or the drawn data set, which is drawn first where there is none yet."""
    if parsed.data is not None:
        return Path(parsed.data)
    root = places.demo_folder(places.data_folder())
    if not root.is_dir():
        draw_demo(root, progress=Bar())
    return root


def checkpoint(named: str) -> Path:
    """Return the file that was named, or the checkpoint of the run that was."""
    return places.find_checkpoint(named, places.data_folder())


def opened_run(checkpoint: Path, root: Path | None) -> OpenedRun:
    """Return the run that a checkpoint stands for, or that a file by itself becomes."""
    return open_run(checkpoint, places.data_folder(), root, say=tell)
