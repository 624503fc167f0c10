"""The summaries of a folder's runs, kept beside them so that nobody reads 10,000 files for a list.

The files decide. A line of the index stands for a file in the state in which it was read (size,
times, inode), or, where that is another one as in a copied folder, for a file of the same SHA-256.
Whatever is missing, damaged, or of other records than this version's is read from its file again.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from indoor.errors import IndoorError
from indoor.files import checked_line, checked_lines, file_key, sha256_of_file, write_bytes
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import Machine, RunIdentity, Sha256, to_builtins, to_json
from indoor.runs.results import load_results
from indoor.runs.summary import Ratio, RunSummary, summarize
from indoor.workers import Start, here

INDEX = ".index"
"""No `.json`: pytest-benchmark would take such a file for a run."""

_VERSION = 1
"""Counted up when a summary means something else; what it holds is in `_head`, too."""

_AHEAD = 16
"""Files whose reading is begun before the result is asked for."""

_STEP = 50
"""Runs read between two writes, which is what a kill can cost: some seconds of reading."""


def read_summaries(
    paths: Sequence[Path], *, progress: Progress = NO_PROGRESS, start: Start = here
) -> Iterator[tuple[Path, RunSummary | IndoorError]]:
    """Yield each run in short, or why it cannot be read, in the order given.

    Args:
        paths: The files; those of a folder share the index in it, which is brought up to date.
        progress: Hears of each file.
        start: Begins the reading of a file, some files ahead of what is asked for.
    """
    indices: dict[Path, _Index] = {}
    begun: deque[tuple[Path, Callable[[], RunSummary | IndoorError]]] = deque()
    ahead = 0 if start is here else _AHEAD
    progress.start("reading runs", len(paths))
    try:
        for path in paths:
            if path.parent not in indices:
                indices[path.parent] = _Index(path.parent)
            begun.append((path, _begin(path, indices[path.parent], start)))
            if len(begun) > ahead:
                yield _end(begun, progress)
        while begun:
            yield _end(begun, progress)
    finally:
        for index in indices.values():
            index.write()
        progress.finish()


def _end(
    begun: deque[tuple[Path, Callable[[], RunSummary | IndoorError]]], progress: Progress
) -> tuple[Path, RunSummary | IndoorError]:
    path, result = begun.popleft()
    found = path, result()
    progress.advance()
    return found


def _begin(path: Path, index: "_Index", start: Start) -> Callable[[], RunSummary | IndoorError]:
    """Begin to read a file unless it is known; return what ends that, and keeps what was read."""
    state = ""
    with suppress(OSError):  # what cannot be read is told by `load_results`
        # The state first: of a file that changes after this it is not the state any more.
        state = file_key(path, "run") or ""
        known = index.find(path.name, state=state)
        if known is None and index.has(path.name):
            known = index.find(path.name, state=state, content=sha256_of_file(path))
        if known is not None:
            return partial(_same, known)
    reading = start(_read, path)

    def end() -> RunSummary | IndoorError:
        content, found = reading()
        if content and isinstance(found, RunSummary):
            index.add(path.name, state, content, found)
        return found

    return end


def _same(known: RunSummary) -> RunSummary:
    return known


def _read(path: Path) -> tuple[Sha256, RunSummary | IndoorError]:
    """Return the content's hash, empty where that changed meanwhile, and what is to be told."""
    content = ""
    with suppress(OSError):
        content = sha256_of_file(path)
    try:
        (result,) = load_results([path])
        found: RunSummary | IndoorError = summarize(result)
    except IndoorError as error:
        return "", error
    with suppress(OSError):
        if content == sha256_of_file(path):
            return content, found
    return "", found


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A line: a file's name, its state and content when it was read, and its summary's JSON."""

    name: str
    state: str
    sha256: Sha256
    summary: msgspec.Raw


@dataclass(frozen=True, kw_only=True)
class _Summary:
    """A summary's JSON, in which members of the run and its machine may be names of parts."""

    run: dict[str, Any]
    machine: dict[str, Any]
    allocator: str | None
    datetime: str
    num_benchmarks: int
    ratios: tuple[Ratio, ...]


class _Index:
    """The index of a folder: what it holds already, and the lines that are to be written.

    What many runs share, such as a machine's instruction set or the variants, is a line of its
    own (`part`), which the runs' lines name by its hash and which is one object in the memory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, _Entry] = {}
        self._parts: dict[str, bytes] = {}
        self._objects: dict[tuple[str, object], object] = {}
        self._new: list[bytes] = []
        self._num_new = 0
        self._goes_on = self._load()

    def has(self, name: str) -> bool:
        """Return whether some state of the file is known."""
        return name in self._entries

    def find(self, name: str, *, state: str, content: str | None = None) -> RunSummary | None:
        """Return what is known of a file in this state, or, where it is given, of this content."""
        entry = self._entries.get(name)
        if entry is None or (content or entry.sha256) != entry.sha256:
            return None
        if content is None:
            return self._decode(entry.summary) if state and state == entry.state else None
        found = self._decode(entry.summary)
        if found is not None and state:
            self._put(replace(entry, state=state))
        return found

    def add(self, name: str, state: str, content: str, summary: RunSummary) -> None:
        """Keep what was read of a file; a text that is no UTF-8 is read again each time."""
        members = to_builtins(summary)
        run = members["run"]
        assert isinstance(run, dict)
        machine = run.pop("machine")
        line = {**members, "run": self._apart(run), "machine": self._apart(machine)}
        with suppress(UnicodeEncodeError):
            raw = msgspec.Raw(msgspec.json.encode(line))
            self._put(_Entry(name=name, state=state, sha256=content, summary=raw))

    def write(self) -> None:
        """Write what is new; a place that cannot be written to costs the next reader's time."""
        if not self._new:
            return
        with suppress(OSError, IndoorError):
            path = self._folder / INDEX
            if self._goes_on:
                # One unbuffered write: lines that processes append side by side stay whole.
                with path.open("ab", buffering=0) as file:
                    file.write(b"".join(self._new))
            else:
                write_bytes(path, self._whole())
                self._goes_on = True
        self._new, self._num_new = [], 0

    def _load(self) -> bool:
        """Read the index; return whether lines may be added to it as it is."""
        try:
            data = (self._folder / INDEX).read_bytes()
        except OSError:
            return False
        lines = checked_lines(data)
        if next(lines) != _head():
            return False
        goes_on, num_runs = data.endswith(b"\n"), 0
        for line in lines:
            kind, _, text = (line or b"").partition(b" ")
            if kind == b"part":
                digest, _, value = text.partition(b" ")
                self._parts[digest.decode()] = value
                continue
            try:
                entry = msgspec.json.decode(text, type=_Entry)
            except msgspec.MsgspecError:  # a damaged line has no text
                goes_on = False
            else:
                self._entries[entry.name] = entry
                num_runs += 1
        return goes_on and num_runs <= 2 * len(self._entries) + _STEP

    def _whole(self) -> bytes:
        here = [one for one in self._entries.values() if (self._folder / one.name).is_file()]
        parts = [_part_line(digest, value) for digest, value in self._parts.items()]
        return b"".join([checked_line(_head()), *parts, *map(_run_line, here)])

    def _put(self, entry: _Entry) -> None:
        self._entries[entry.name] = entry
        self._new.append(_run_line(entry))
        self._num_new += 1
        if self._num_new >= _STEP:
            self.write()

    def _apart(self, members: Mapping[str, object]) -> dict[str, object]:
        """Return a record's members, each that is none of one value as the name of its part."""
        return {
            name: self._part(value) if isinstance(value, dict | list | tuple) else value
            for name, value in members.items()
        }

    def _part(self, value: object) -> dict[str, str]:
        text = to_json(value)
        digest = hashlib.sha256(text).hexdigest()[:32]
        if digest not in self._parts:
            self._parts[digest] = text
            self._new.append(_part_line(digest, text))
        return {"part": digest}

    def _decode(self, summary: msgspec.Raw) -> RunSummary | None:
        """Return the summary; None where a part of it is not there."""
        try:
            line = msgspec.json.decode(summary, type=_Summary)
            machine = Machine(**self._together(line.machine, Machine))
            return RunSummary(
                run=RunIdentity(machine=machine, **self._together(line.run, RunIdentity)),
                allocator=line.allocator,
                datetime=line.datetime,
                num_benchmarks=line.num_benchmarks,
                ratios=line.ratios,
            )
        except (KeyError, TypeError, msgspec.MsgspecError):
            return None

    def _together(self, members: Mapping[str, Any], record_type: type) -> dict[str, Any]:
        kinds = _kinds(record_type)
        return {
            name: self._object(value["part"], name, kinds[name])
            if isinstance(value, dict)
            else value
            for name, value in members.items()
        }

    def _object(self, digest: str, name: str, kind: Any) -> object:
        """Return what a part holds: one object for all runs that have it."""
        key = (digest, name)
        if key not in self._objects:
            self._objects[key] = msgspec.json.decode(self._parts[digest], type=kind)
        return self._objects[key]


@cache
def _head() -> bytes:
    """Return the first line: which version of the summaries, and of the records in them."""
    shape = msgspec.json.encode(msgspec.json.schema(RunSummary))  # a default may be a tuple
    return b"index %d %s" % (_VERSION, hashlib.sha256(shape).hexdigest()[:32].encode())


@cache
def _kinds(record_type: type) -> dict[str, Any]:
    return get_type_hints(record_type, include_extras=True)


def _part_line(digest: str, value: bytes) -> bytes:
    return checked_line(b"part %s %s" % (digest.encode(), value))


def _run_line(entry: _Entry) -> bytes:
    return checked_line(b"run %s" % msgspec.json.encode(entry))
