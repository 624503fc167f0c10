"""What a test handed to pytest-benchmark's fixture, as rounds; and the frozen workload."""

from __future__ import annotations

import ctypes
import mmap
import time
from dataclasses import dataclass, field
from typing import Any, Callable  # noqa: UP035 - for older Pythons

CONTROL_BYTES = 128 * 1024
"""Fits the second-level cache of every CPU of the last ten years."""


@dataclass
class Rounds:
    """What a test handed to `benchmark`, as rounds of a given number of iterations."""

    fixture: Any
    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    setup: Callable[[], Any] | None = None
    teardown: Callable[..., Any] | None = None
    fixed_iterations: int | None = None
    seconds: list[float] = field(default_factory=list)
    result: Any = None
    has_result: bool = False

    def time(self, iterations: int) -> float:
        """Return the seconds of one round as pytest-benchmark times it."""
        from pytest_benchmark.fixture import PauseInstrumentation

        args, kwargs = self._arguments()
        runner = self.fixture._make_runner(self.target, args, kwargs)
        pause: Any = PauseInstrumentation
        with pause():
            if iterations == 1:
                self.result = None  # the last round's, which would take memory beside the next
                seconds, self.result = runner(None)
                self.has_result = True
            else:
                self.result, self.has_result = None, False  # an earlier round's is not the last
                seconds = runner(range(iterations))
        if self.teardown is not None:
            self.teardown(*args, **kwargs)
        return float(seconds)

    def final_result(self) -> Any:
        """Return what the test gets back from `benchmark`."""
        if not self.has_result:
            args, kwargs = self._arguments()
            self.result = self.target(*args, **kwargs)
            if self.teardown is not None:
                self.teardown(*args, **kwargs)
        return self.result

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.setup is None:
            return self.args, self.kwargs
        made = self.setup()
        if not made:
            return self.args, self.kwargs
        if self.args or self.kwargs:
            raise TypeError("Can't use `args` or `kwargs` if `setup` returns the arguments.")
        args, kwargs = made
        return args, kwargs


class Control:
    """A frozen workload that no tree can change: the C library's memmove between two buffers."""

    def __init__(self) -> None:
        self._pages = [mmap.mmap(-1, CONTROL_BYTES) for _ in range(2)]
        self._source, self._target = (
            ctypes.addressof(ctypes.c_char.from_buffer(page)) for page in self._pages
        )

    def time(self, iterations: int) -> float:
        """Return the seconds of that many copies."""
        memmove = ctypes.memmove
        start = time.perf_counter()
        for _ in range(iterations):
            memmove(self._target, self._source, CONTROL_BYTES)
        return time.perf_counter() - start


def give_stats(fixture: Any, iterations: int, seconds: list[float]) -> None:
    """Let `benchmark.stats` hold the gate's own rounds, which pytest-benchmark is not to save."""
    if not seconds:
        return
    fixture._add_stats = lambda _: None
    stats = fixture._make_stats(iterations)
    for value in seconds:
        stats.update(value)
