"""Which data set and which run's checkpoints a command means."""

import argparse
from pathlib import Path

from indoor import places
from indoor.cli.bar import Bar
from indoor.demo import draw_demo
from indoor.errors import IndoorError


def data_root(parsed: argparse.Namespace) -> Path:
    """Return `--data`, or the drawn data set, which is drawn first where there is none yet."""
    if parsed.data is not None:
        return Path(parsed.data)
    root = places.demo_folder(places.data_folder())
    if not root.is_dir():
        draw_demo(root, progress=Bar())
    return root


def run_folder(parsed: argparse.Namespace) -> Path:
    """Return the folder of the run that was named, given by its folder, or by a checkpoint in it.

    Raises:
        IndoorError: There is no such run; the message names those that there are.
    """
    runs = places.runs_folder(places.data_folder())
    given = Path(parsed.run)
    for folder in (given, given.parent, runs / parsed.run):
        if (folder / "float32.safetensors").is_file() and (
            folder != given.parent or given.exists()
        ):
            return folder
    known = sorted(path.parent.name for path in runs.glob("*/float32.safetensors"))
    raise IndoorError(
        f"no run {parsed.run!r}: expected a name in {runs} ({', '.join(known) or 'none yet'}) or a "
        "folder with float32.safetensors; make one with indoor train"
    )
