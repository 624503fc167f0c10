"""What the suite knows of pytest-benchmark's inside, and how it hands rounds to its fixture."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from indoor.files import remove_leftovers, write_text

Result = TypeVar("Result")


MEMORY_GROUP = "seconds of the process that told its memory"
"""The group of a case whose figure is no time: its seconds, which a file of theirs has to have."""


def without_memory(groups: Sequence[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    """Return what pytest-benchmark is to print: its tables know seconds alone."""
    timed = [(name, [b for b in found if b["group"] != MEMORY_GROUP]) for name, found in groups]
    return [(name, found) for name, found in timed if found]


def session_of(config: pytest.Config) -> Any:
    """Return pytest-benchmark's session: its storage, its options and its results."""
    return config._benchmarksession  # type: ignore[attr-defined]


def clock_of(config: pytest.Config) -> Callable[[], float]:
    """Return the clock that `--benchmark-timer` names."""
    clock: Callable[[], float] = session_of(config).options["timer"].target
    return clock


def as_saved(output: object) -> dict[str, object]:
    """Return pytest-benchmark's JSON as somebody will read it from its file."""
    from pytest_benchmark.utils import safe_dumps

    data = json.loads(safe_dumps(output))  # type: ignore[no-untyped-call]
    assert isinstance(data, dict)
    return data


def write_whole(session: Any) -> None:
    """Have pytest-benchmark's session write its files whole or not at all.

    By itself it writes in place, so that a run that is killed meanwhile leaves half a file.
    """
    from pytest_benchmark.utils import safe_dumps

    storage, save_json = session.storage, session.save_json

    def as_text(output: object) -> str:
        return str(safe_dumps(output, ensure_ascii=True, indent=4))  # type: ignore[no-untyped-call]

    def save_whole(output_json: object, save: str) -> None:
        path = storage.get(f"{storage._next_num}_{save}.json")
        remove_leftovers(path.parent)  # of runs with other names, which were killed
        write_text(path, as_text(output_json))
        storage.logger.info(f"Saved benchmark data in: {path}")

    def save_json_whole(output_json: object) -> None:
        path = Path(session.json)
        if path.is_symlink() or (path.exists() and not path.is_file()):  # such as /dev/stdout
            save_json(output_json)
            return
        write_text(path, as_text(output_json))
        session.logger.info(f"Wrote benchmark data in: {path}", purple=True)

    storage.save, session.save_json = save_whole, save_json_whole


class _ReplayTimer:
    """A timer for `@pytest.mark.benchmark(timer=...)`; it tells real time unless it is fed."""

    __name__ = "replayed_rounds"

    def __init__(self) -> None:
        self._readings: list[float] = []

    def feed(self, seconds: Sequence[float]) -> None:
        """Have the next pairs of readings differ by `seconds`, one after another."""
        # Every round starts at 0, so that no difference of large numbers rounds a time.
        self._readings = [reading for took in reversed(seconds) for reading in (took, 0.0)]

    def __call__(self) -> float:
        """Return the next reading."""
        return self._readings.pop() if self._readings else time.perf_counter()


replayed_rounds = _ReplayTimer()
"""Its name stands as `options.timer` in pytest-benchmark's JSON."""


def use_later(benchmark: Any) -> None:
    """Tell the fixture that what comes before its call takes long and may be interrupted.

    Without it an interruption leaves the warning that the fixture was not used, which an error
    filter turns into a traceback and another exit status.
    """
    benchmark.skipped = True  # pytest-benchmark sets it anew when the test ends by itself


class Replay(Generic[Result]):
    """A call that is not computed again while its rounds are replayed.

    pytest-benchmark computes its statistics from its own calls between two readings of the timer,
    so the rounds go to it that way, and JSON, comparison and histogram work as ever. All but the
    last call return at once; the last one, and any after it, really computes.
    """

    def __init__(self, call: Callable[[], Result], seconds: Sequence[float]) -> None:
        self._call = call
        self._seconds = seconds
        self._num_skipped = len(seconds) - 1

    def __call__(self) -> Result | None:
        """Return the call's result, or None in the rounds before the last."""
        if self._num_skipped > 0:
            self._num_skipped -= 1
            return None
        return self._call()

    def hand_to(self, benchmark: Any) -> Result:
        """Give the rounds to the fixture and return the result of the last call."""
        replayed_rounds.feed(self._seconds)
        result: Result = benchmark.pedantic(self, rounds=len(self._seconds), iterations=1)
        return result
