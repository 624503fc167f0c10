"""Lines and bars on the real terminal while pytest captures what tests print."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
from rich.console import Console

from indoor.cli.bar import new_bar

REFRESH_S = 1.0


def say(config: pytest.Config, line: str) -> None:
    """Write a line through pytest's reporter."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None and config.getoption("verbose") >= 0:
        reporter.ensure_newline()
        reporter.write_line(line)


@contextmanager
def uncaptured(config: pytest.Config) -> Iterator[None]:
    """Let what is written in the block reach the terminal."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
        yield


class QuietBar:
    """A bar that is drawn only when it is told something, so no thread disturbs a measurement."""

    def __init__(self, config: pytest.Config, description: str) -> None:
        self._console = Console(stderr=True)
        self._bar = new_bar(self._console, auto_refresh=False)
        self._task = self._bar.add_task(description, total=None)
        self._next_refresh = time.perf_counter() + REFRESH_S
        if self._console.is_terminal:
            reporter = config.pluginmanager.getplugin("terminalreporter")
            if reporter is not None:
                reporter.ensure_newline()

    def __enter__(self) -> "QuietBar":
        """Show nothing yet."""
        return self

    def update(self, done: int, expected: int) -> None:
        """Draw the bar, once a second at most."""
        if self._console.is_terminal and time.perf_counter() >= self._next_refresh:
            self._bar.start()
            self._bar.update(self._task, completed=done, total=expected, refresh=True)
            self._next_refresh = time.perf_counter() + REFRESH_S

    def __exit__(self, *_: object) -> None:
        """Take the bar away; one that was never started would print an empty line."""
        if self._bar.live.is_started:
            self._bar.stop()
