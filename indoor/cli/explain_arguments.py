"""The arguments of `indoor explain`."""

import argparse
from pathlib import Path
from typing import Any

from indoor.cli.parser import add_html, command, group, minutes, numbers, positive


def add_explain(commands: Any) -> None:
    """Add `indoor explain`."""
    explain = command(
        commands,
        "explain",
        "why one variant is faster than another: the logarithm of the speedup by its causes",
        "indoor explain mit67 --data data/mit67 --batch 1,32 --threads 1,2",
        formats=("table", "markdown", "json"),
    )
    explain.add_argument(
        "run",
        metavar="RUN",
        help="a run's name in data/runs, its folder, any file of weights, or a .json file of "
        "--out, which is shown again",
    )
    group(explain, "data").add_argument(
        "--data", type=Path, metavar="ROOT", help="the data set (default: the drawn one)"
    )
    what = group(explain, "what is compared")
    what.add_argument(
        "--pair",
        type=_pair,
        action="append",
        metavar="NAMES",
        help="two variants, such as float32,int8; may be repeated (default: eager float32 and "
        "int8, and the best runtime's)",
    )
    what.add_argument(
        "--batch", type=numbers, metavar="SIZES", help="photographs a batch (default: 1,32)"
    )
    what.add_argument(
        "--threads",
        type=numbers,
        metavar="NUMBERS",
        help="numbers of threads (default: 1 and all usable CPUs)",
    )
    what.add_argument(
        "--minutes", type=minutes, metavar="M", help="for all experiments (default: 20)"
    )
    output = group(explain, "output")
    output.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where the rounds go (default: data/explained/RUN.json)",
    )
    add_html(output)
    output.add_argument(
        "--layers",
        action="store_true",
        help="also each operator's time, layer by layer, and its place under the roofline",
    )
    output.add_argument(
        "--width", type=positive, metavar="N", help="columns (default: the terminal's)"
    )


def _pair(text: str) -> tuple[str, str]:
    """Read the names of two different variants."""
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names) or len(set(names)) < 2:
        raise argparse.ArgumentTypeError(
            f"{text!r} does not name two variants, such as float32,int8"
        )
    return names[0], names[1]
