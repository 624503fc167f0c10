"""The arguments of `indoor history`."""

import argparse
import functools
from pathlib import Path
from typing import Any

from indoor.cli.parser import add_html, command, group, positive


def add_history(commands: Any) -> None:
    """Add `indoor history`, whose work is done by `indoor.cli.history.run`."""
    history = command(
        commands,
        "history",
        "what gates remember together: each cell's time over the commits, and which commit "
        "changed it",
        "indoor history gate.json --format markdown --plot history.png",
        formats=("text", "markdown", "json"),
    )
    history.add_argument(
        "files",
        type=Path,
        nargs="*",
        metavar="FILE",
        help="what `indoor gate --out` wrote, to be kept first (default: keep nothing new)",
    )
    runs = group(history, "runs")
    runs.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="where history/commits.jsonl is kept (default: results/)",
    )
    runs.add_argument(
        "--last",
        type=positive,
        default=365,
        metavar="N",
        help="tell of the newest N kept commits (default: 365)",
    )
    output = group(history, "output")
    newest = output.add_argument(
        "--newest",
        action="store_true",
        help="print only the newest kept commit before HEAD: the base of the next link",
    )
    output.add_argument(
        "--alarm",
        type=positive,
        metavar="N",
        help="exit 1 where a slowdown came with one of the newest N commits (default: exit 0)",
    )
    output.add_argument(
        "--plot", type=Path, metavar="PNG", help="also plot the chains (default: no plot)"
    )
    add_html(output)
    output.add_argument(
        "--width", type=positive, metavar="N", help="columns (default: the terminal's)"
    )
    history.set_defaults(check=functools.partial(_check, history, newest))


def _check(
    history: argparse.ArgumentParser, newest: argparse.Action, parsed: argparse.Namespace
) -> None:
    """End with a mistake where `--newest` stands beside words that it would not heed."""
    if parsed.newest and (parsed.files or parsed.plot or parsed.html or parsed.alarm):
        history.error(
            f"{newest.option_strings[0]} prints a commit and nothing else; expected no FILE, "
            "--plot, --html or --alarm beside it; leave them out"
        )
