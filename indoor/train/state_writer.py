"""When a training's states are written, and what is told of it before they stand."""

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from indoor.progress import NO_PROGRESS, Progress
from indoor.train.resume_state import State, random_state, write_state

KEEP_EVERY_S = 300.0
"""Of an epoch that takes longer, a state is kept so often: a kill costs no more."""


class StateWriter(AbstractContextManager["StateWriter"]):
    """Writes a training's states, each in place of the one before; leave it, and the last is there.

    A GPU's epoch may be over before half a gigabyte is hashed and on the disk, so there a thread
    writes a copy while the next epoch begins. A CPU has its state on the disk before it goes on.
    On both an epoch is told as finished once its state stands, so none that was told is lost.

    Args:
        path: The file; None writes nothing.
        device: Where the training computes.
        progress: Hears what is told to `progress` of this, in its order: what follows a state only
            once that stands.
    """

    def __init__(
        self, path: Path | None, device: torch.device, progress: Progress = NO_PROGRESS
    ) -> None:
        self._path, self._device = path, device
        self._threads = None if device.type == "cpu" else ThreadPoolExecutor(1, "indoor state")
        self._writing: Future[None] | None = None
        self._written_at = time.monotonic()
        self._told = _Told(progress, self._is_writing)

    @property
    def progress(self) -> Progress:
        """What to tell the training's progress to."""
        return self._told

    def __exit__(self, *_: object) -> None:
        """Wait for the state that is being written.

        Raises:
            IndoorError: It could not be written.
        """
        try:
            self._wait()
            self._told.catch_up()
        finally:
            if self._threads is not None:
                self._threads.shutdown()

    def write(self, state: State) -> None:
        """Write a state, or have it written.

        Raises:
            IndoorError: It, or the one before, could not be written.
        """
        if self._path is None:
            return
        if self._threads is None:
            write_state(self._path, state)
            self._written_at = time.monotonic()
            return
        self._wait()
        self._written_at = time.monotonic()
        copies = {name: tensor.to("cpu", copy=True) for name, tensor in state.tensors.items()}
        self._writing = self._threads.submit(
            write_state, self._path, replace(state, tensors=copies)
        )

    def write_within(self, step: int, num_steps: int, capture: Callable[[], State]) -> None:
        """Write a state within an epoch once `KEEP_EVERY_S` have passed since the one before.

        At the epoch's end nothing is written, as its own state follows.

        Args:
            step: How many steps of the epoch are done, from 1 on.
            num_steps: The epoch's.
            capture: Returns the state, to which `step` and `random_state` are added.

        Raises:
            IndoorError: As for `write`.
        """
        is_due = time.monotonic() - self._written_at >= KEEP_EVERY_S
        if self._path is not None and step < num_steps and is_due:
            state = capture()
            tensors = state.tensors | random_state(self._device)
            self.write(replace(state, tensors=tensors, step=step))

    def _is_writing(self) -> bool:
        """Whether a state does not stand yet, or could not be written."""
        writing = self._writing
        return writing is not None and not (writing.done() and writing.exception() is None)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None


class _Told:
    """Passes on what it is told, in order, and holds it back while a state is being written."""

    def __init__(self, progress: Progress, is_held: Callable[[], bool]) -> None:
        self._progress, self._is_held = progress, is_held
        self._waiting: deque[Callable[[], None]] = deque()

    def start(self, description: str, total: int) -> None:
        self._tell(partial(self._progress.start, description, total))

    def advance(self, count: int = 1) -> None:
        self._tell(partial(self._progress.advance, count))

    def finish(self) -> None:
        self._tell(self._progress.finish)

    def _tell(self, what: Callable[[], None]) -> None:
        self._waiting.append(what)
        self.catch_up()

    def catch_up(self) -> None:
        """Pass on what waits, unless it has to."""
        while self._waiting and not self._is_held():
            self._waiting.popleft()()
