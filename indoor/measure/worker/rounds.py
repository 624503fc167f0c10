"""What a test handed to pytest-benchmark's fixture, as rounds; and the frozen workload."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import AsyncGenerator, Awaitable, Generator
from dataclasses import dataclass, field
from typing import Any, Callable  # noqa: UP035 - for older Pythons

from .clocks import Real

CONTROL_BYTES = 128 * 1024
"""Fits the second-level cache of every CPU of the last ten years."""

LAZY = (
    (Awaitable, "an awaitable"),
    (AsyncGenerator, "an async generator"),
    (Generator, "a generator"),
)
"""What does its work only when it is asked for its values, and how that is called."""


class NothingTimedError(Exception):
    """What a test handed over does none of its work while it is timed."""


@dataclass(frozen=True)
class Asked:
    """How often a test wants its target called, where it says so.

    `rounds` are timed, after `warmup_rounds`; a target may not bear more of them.
    """

    rounds: int
    warmup_rounds: int
    iterations: int

    @property
    def is_cold(self) -> bool:
        """Whether it is the very first call that the test is about."""
        return (self.rounds, self.warmup_rounds, self.iterations) == (1, 0, 1)

    def had(self, num_rounds: int) -> bool:
        """Return whether so many are all that it asked for, or more."""
        return num_rounds >= self.rounds + self.warmup_rounds


@dataclass
class Rounds:
    """What a test handed to `benchmark`, as rounds of a given number of iterations.

    `clock` times them; None for the fixture's own.
    """

    fixture: Any
    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    setup: Callable[[], Any] | None = None
    teardown: Callable[..., Any] | None = None
    asked: Asked | None = None
    clock: Callable[[], float] | None = None
    seconds: list[float] = field(default_factory=list)
    num_done: int = 0
    result: Any = None
    has_result: bool = False

    @property
    def fixed_iterations(self) -> int | None:
        """The only number of iterations that the test allows, if it names one."""
        return self.asked.iterations if self.asked else None

    def time(self, iterations: int) -> float:
        """Return the seconds of one round as pytest-benchmark times it."""
        from pytest_benchmark.fixture import PauseInstrumentation

        args, kwargs = self._arguments()
        runner = self.fixture._make_runner(self.target, args, kwargs)
        clock = self.clock or self.fixture._timer
        pause: Any = PauseInstrumentation
        with pause():
            if iterations == 1:
                self.result = None  # the last round's, which would take memory beside the next
                seconds, self.result = runner(None, clock)
                self.has_result = True
            else:
                self.result, self.has_result = None, False  # an earlier round's is not the last
                seconds = runner(range(iterations), clock)
        if self.has_result:
            refuse_lazy(self.result)
        if self.teardown is not None:
            self.teardown(*args, **kwargs)
        self.num_done += 1
        return float(seconds)

    def final_result(self) -> Any:
        """Return what the test gets back from `benchmark`."""
        if not self.has_result:
            args, kwargs = self._arguments()
            self.result = self.target(*args, **kwargs)
            refuse_lazy(self.result)
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


def refuse_lazy(result: object) -> None:
    """Raise NothingTimedError where a call only made something that would do the work."""
    for kind, name in LAZY:
        if isinstance(result, kind):
            if close := getattr(result, "close", None):
                close()  # or Python would complain that nobody awaited it
            raise NothingTimedError(
                f"its target returned {name}, which does its work when nobody times it; expected a "
                "function that does it itself, such as lambda: asyncio.run(work()), or list(work())"
            )


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
        start = Real.wall()
        for _ in range(iterations):
            memmove(self._target, self._source, CONTROL_BYTES)
        return Real.wall() - start


def give_stats(fixture: Any, iterations: int, seconds: list[float]) -> None:
    """Let `benchmark.stats` hold the gate's own rounds, which pytest-benchmark is not to save."""
    if not seconds:
        return
    fixture._add_stats = lambda _: None
    stats = fixture._make_stats(iterations)
    for value in seconds:
        stats.update(value)
