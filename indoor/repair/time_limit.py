"""How long a search may take, asked between batches."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from indoor.progress import Progress

Item = TypeVar("Item")


class OutOfTime(Exception):  # noqa: N818 - it ends a step and is no error
    """The time is over in the middle of a step, whose work is given up."""


class TimeLimit:
    """So many seconds from now on.

    Args:
        seconds: Above 0.
        clock: Seconds; only differences count.
        already_s: Seconds that are over already.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        already_s: float = 0.0,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._began = clock() - already_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    @property
    def left_s(self) -> float:
        """Seconds that are left; below 0 where it is over."""
        return self.seconds - self.elapsed_s

    def checked(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items; raise OutOfTime where one is asked for when the time is over."""
        for item in items:
            if self.left_s <= 0:
                raise OutOfTime
            yield item

    def some(self, items: Iterable[Item], share: float) -> Iterator[Item]:
        """Yield the first item, and others for as long as a share of what is left now."""
        end_s = self.elapsed_s + share * max(self.left_s, 0.0)
        for item in items:
            yield item
            if self.elapsed_s >= end_s:
                return


class LimitedProgress:
    """A progress that raises OutOfTime when the time is over, which ends the work it hears of."""

    def __init__(self, progress: Progress, limit: TimeLimit) -> None:
        self._progress = progress
        self._limit = limit
        self.start = progress.start
        self.finish = progress.finish

    def advance(self, count: int = 1) -> None:
        """Count further steps as done."""
        self._progress.advance(count)
        if self._limit.left_s <= 0:
            raise OutOfTime
