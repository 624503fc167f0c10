"""What is in a data set's files: their hashes, and which of them hold no whole photograph."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from indoor.dataset.photographs import (
    BrokenPhotographError,
    decode_photograph,
    read_photograph_bytes,
)
from indoor.machine import num_usable_cores
from indoor.progress import NO_PROGRESS, Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

_sound: set[str] = set()
"""The SHA-256 of each content that was decoded whole in this process. Content and not name, so that
a file that is replaced is looked at again."""


def find_broken(
    paths: Sequence[Path], *, progress: Progress = NO_PROGRESS
) -> dict[Path, BrokenPhotographError]:
    """Decode every file once and return those that hold no whole photograph, with the reason.

    Raises:
        IndoorError: A file is missing or cannot be read.
    """
    reasons = map_ordered(_reason_broken, paths, num_usable_cores())
    broken: dict[Path, BrokenPhotographError] = {}
    for path, reason in zip(paths, reasons, strict=True):
        if reason is not None:
            broken[path] = reason
        progress.advance()
    return broken


def hash_files(paths: Sequence[Path], *, progress: Progress = NO_PROGRESS) -> Iterator[str]:
    """Yield the SHA-256 of each file's content, in order.

    Raises:
        IndoorError: A file is missing or cannot be read.
    """
    for digest in map_ordered(_hash, paths, num_usable_cores()):
        progress.advance()
        yield digest


def map_ordered(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed in threads a little ahead.

    At most four results a thread wait for the caller, so a long list does not fill the memory.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="indoor") as executor:
        try:
            for item in items:
                pending.append(executor.submit(function, item))
                if len(pending) > 4 * num_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _hash(path: Path) -> str:
    return hashlib.sha256(read_photograph_bytes(path)).hexdigest()


def _reason_broken(path: Path) -> BrokenPhotographError | None:
    """Return why the file holds no whole photograph, or None where it does."""
    data = read_photograph_bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest in _sound:
        return None
    try:
        decode_photograph(data, str(path))
    except BrokenPhotographError as error:
        return error
    _sound.add(digest)
    return None
