"""What is in a data set's files: their hashes, and which of them hold no whole photograph."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import PIL

from indoor.dataset.jpeg_stream import VERSION, find_stream_damage
from indoor.dataset.photographs import (
    BrokenPhotographError,
    decode_photograph,
    read_photograph_bytes,
    unreadable,
)
from indoor.files import file_key, recall, remember, remembered_sha256
from indoor.machine import num_usable_cores
from indoor.progress import NO_PROGRESS, Progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def find_broken(
    paths: Sequence[Path], *, progress: Progress = NO_PROGRESS
) -> dict[Path, BrokenPhotographError]:
    """Decode every file once and return those that hold no whole photograph, with the reason.

    Raises:
        IndoorError: A file is missing or cannot be read.
    """
    doubtful = [path for path in paths if not _is_known_sound(path)]
    progress.advance(len(paths) - len(doubtful))
    broken: dict[Path, BrokenPhotographError] = {}
    reasons = map_ordered(_reason_broken, doubtful, num_usable_cores())
    for path, reason in zip(doubtful, reasons, strict=True):
        if reason is not None:
            broken[path] = reason
        progress.advance()
    return broken


def find_broken_and_damaged(
    paths: Sequence[Path], *, progress: Progress = NO_PROGRESS
) -> tuple[dict[Path, BrokenPhotographError], dict[Path, str]]:
    """Return what `find_broken` does, and the whole ones that libjpeg calls damaged.

    Returns:
        Broken files with the reason, and JPEGs whose compressed data do not add up with what
        libjpeg says of them.

    Raises:
        IndoorError: A file is missing or cannot be read.
    """
    broken: dict[Path, BrokenPhotographError] = {}
    damaged: dict[Path, str] = {}
    found = map_ordered(_what_is_wrong, paths, num_usable_cores())
    for path, wrong in zip(paths, found, strict=True):
        if isinstance(wrong, BrokenPhotographError):
            broken[path] = wrong
        elif wrong:
            damaged[path] = wrong
        progress.advance()
    return broken, damaged


def hash_files(paths: Sequence[Path], *, progress: Progress = NO_PROGRESS) -> Iterator[str]:
    """Yield the SHA-256 of each file's content, in order; a file that stays is hashed once.

    Raises:
        IndoorError: A file is missing or cannot be read.
    """
    known = [_known_hash(path) for path in paths]
    fresh = [path for path, digest in zip(paths, known, strict=True) if digest is None]
    found = map_ordered(_hash, fresh, num_usable_cores())
    for digest in known:
        yield next(found) if digest is None else digest
        progress.advance()


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


def _known_hash(path: Path) -> str | None:
    try:
        return recall(file_key(path, "sha256"))
    except OSError as error:
        raise unreadable(path, error) from error


def _hash(path: Path) -> str:
    try:
        return remembered_sha256(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _is_known_sound(path: Path) -> bool:
    """Whether this content was decoded whole before; of content and not of name."""
    digest = _known_hash(path)
    return digest is not None and recall(_sound_key(digest)) is not None


def _reason_broken(path: Path) -> BrokenPhotographError | None:
    """Return why the file holds no whole photograph, or None where it does."""
    data = read_photograph_bytes(path)
    key = _sound_key(hashlib.sha256(data).hexdigest())
    if recall(key) is None:
        try:
            decode_photograph(data, str(path))
        except BrokenPhotographError as error:
            return error
        remember(key, "yes")
    return None


def _what_is_wrong(path: Path) -> BrokenPhotographError | str:
    """Return why the file is broken, or else what libjpeg says of it; empty: nothing."""
    reason = None if _is_known_sound(path) else _reason_broken(path)
    return reason or _stream_damage(path)


def _stream_damage(path: Path) -> str:
    """Return what libjpeg says of the compressed data; empty: nothing."""
    digest = _known_hash(path)
    data = None if digest else read_photograph_bytes(path)
    key = _stream_key(digest or hashlib.sha256(data or b"").hexdigest())
    known = recall(key)
    if known is None:
        known = find_stream_damage(read_photograph_bytes(path) if data is None else data) or ""
        remember(key, known)
    return known


def _stream_key(sha256: str) -> str:
    return f"stream-{VERSION}:{sha256}"


def _sound_key(sha256: str) -> str:
    return f"decodes-{PIL.__version__}:{sha256}"
