"""Work that processes of our own share, as many as there are cores."""

import gc
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

_NUM_NEW = 200_000
"""Objects between two searches for cycles: a file of 3 MB makes 50,000, and none of them."""


class Start(Protocol):
    """Begins a piece of work, and returns what waits for its result."""

    def __call__(
        self, work: Callable[Given, Result], *args: Given.args, **named: Given.kwargs
    ) -> Callable[[], Result]:
        """Begin it; what it raises is raised where its result is asked for."""
        ...


def here(
    work: Callable[Given, Result], *args: Given.args, **named: Given.kwargs
) -> Callable[[], Result]:
    """Begin nothing before the result is asked for, and that in this process."""
    return partial(work, *args, **named)


def _begin() -> None:
    """Leave Ctrl-C to the one process that tells it; look for cycles in what is new, and rarely."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(_NUM_NEW)


@contextmanager
def workers(num_processes: int) -> Iterator[Start]:
    """Yield what begins work in processes that end with the block.

    They are forks, so that work needs no importing; where there is one core, or a system on which
    libraries do not survive that, the work is done here. Call it before anything has threads.

    Args:
        num_processes: How many at most.
    """
    if num_processes < 2 or sys.platform != "linux":
        yield here
        return
    pool = ProcessPoolExecutor(
        num_processes,
        multiprocessing.get_context("fork"),
        initializer=_begin,
    )

    def start(
        work: Callable[Given, Result], *args: Given.args, **named: Given.kwargs
    ) -> Callable[[], Result]:
        begun = pool.submit(work, *args, **named)

        def result() -> Result:
            try:
                return begun.result()
            except BrokenProcessPool:  # killed, as for its memory
                return work(*args, **named)

        return result

    try:
        yield start
    finally:
        pool.shutdown(cancel_futures=True)
