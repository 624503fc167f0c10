"""`indoor history`: gates remembered as a chain over the commits, and what changed on it."""

import argparse
from pathlib import Path

from indoor.cli.output import Outcome, tell, use_color, width
from indoor.errors import FINDING, IndoorError
from indoor.history.history import newest_changes, tell_history
from indoor.history.keep import Kept, keep_gates, newest_kept, read_branch, read_history
from indoor.history.page import history_page_blocks
from indoor.history.plot import plot_history
from indoor.history.render import render_history
from indoor.report.page import write_page


def run(parsed: argparse.Namespace) -> Outcome:
    """Keep the gates that were named, then tell what is kept."""
    results = parsed.results or Path("results")
    if parsed.newest:
        commit = newest_kept(read_history(results), read_branch(Path.cwd()))
        if commit is None:
            raise IndoorError(
                f"{results}/history holds no commit that HEAD comes after; expected a kept gate of "
                "this branch; keep one with `indoor history FILE`"
            )
        return Outcome(record=commit, text=commit)
    kept = _kept(parsed, results)
    history = tell_history(kept.commits, num_newest=parsed.last)
    if parsed.plot:
        plot_history(history, parsed.plot)
    if parsed.html:
        write_page(parsed.html, "indoor history", history_page_blocks(history))
    found = parsed.alarm is not None and newest_changes(history, kept.commits, parsed.alarm)
    return Outcome(
        record=None,
        text=render_history(
            history, format=parsed.format, width=parsed.width or width(), color=use_color()
        ),
        status=FINDING if found else 0,
        notes=kept.left_out,
    )


def _kept(parsed: argparse.Namespace, results: Path) -> Kept:
    if not parsed.files:
        return read_history(results)
    return keep_gates(results, parsed.files, read_branch(Path.cwd()), say=tell)
