"""A progress bar on standard error for work that takes longer than two seconds."""

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PATIENCE_S = 2.0


def new_bar(console: Console, *more: ProgressColumn, auto_refresh: bool = True) -> Progress:
    """Return a bar with what was done of how much and for how long; it disappears at its end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *more,
        console=console,
        transient=True,
        auto_refresh=auto_refresh,
    )


class Bar:
    """Draws a bar once a piece of work has taken `PATIENCE_S`, and a line when it ends.

    Where the console is no terminal only that line appears.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._description = ""
        self._total = 0
        self._done = 0
        self._began = 0.0

    def start(self, description: str, total: int) -> None:
        """Begin work of `total` steps; work that was not finished is given up."""
        self._close()
        self._description, self._total, self._done = description, total, 0
        self._began = time.perf_counter()

    def advance(self, count: int = 1) -> None:
        """Count further steps, and draw the bar if it is time."""
        self._done += count
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], count)
        elif self._console.is_terminal and self._elapsed() > PATIENCE_S:
            self._bar = new_bar(self._console, TimeRemainingColumn())
            self._bar.add_task(self._description, total=self._total, completed=self._done)
            self._bar.start()

    def finish(self) -> None:
        """Take the bar away and say what it took, if it took long."""
        took = self._elapsed()
        self._close()
        if took > PATIENCE_S:
            self._console.print(
                f"{self._description}: {self._done} in {took:.1f} s", highlight=False, markup=False
            )

    def _elapsed(self) -> float:
        return time.perf_counter() - self._began

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
