"""The files of saved runs in results/, which of them are promoted, and the lock over both.

A folder of results holds one folder a machine, as pytest-benchmark names it, with files
`NNNN_name.json`. The promoted ones are named in a small file beside them.
"""

import datetime
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from indoor.errors import IndoorError
from indoor.hints import command_line
from indoor.locks import locked
from indoor.records import read_record, write_record

POINTER = ".promoted"
"""No `.json`: pytest-benchmark would take such a file for a run."""

LOCK = ".lock"

GATES = "gates"
"""The folder beside those of the machines in which runs' gates keep what they measured."""

LOCK_WAIT_S = 120.0
"""Saving takes seconds; somebody who holds the lock for minutes is stopped or stuck."""

_NUMBERED = re.compile(r"(\d{4,})_.*\.json")


@dataclass(frozen=True, kw_only=True)
class _Promotions:
    """What the file beside the runs holds: the names of the promoted ones."""

    format: int
    runs: tuple[str, ...]


def list_runs(results: Path) -> tuple[Path, ...]:
    """Return the saved runs by machine folder and number, the oldest first.

    Raises:
        IndoorError: There is no such folder, or it or one within cannot be read.
    """
    if not results.is_dir():
        raise IndoorError(
            f"no folder {results}; expected results that `pytest bench` saved; "
            "name their folder with --results"
        )
    try:
        folders = [path for path in results.iterdir() if path.is_dir()]
        found = [
            path
            for folder in folders
            for path in folder.iterdir()
            if path.suffix == ".json" and number_of(path) is not None and not path.is_fifo()
        ]
    except OSError as error:
        raise IndoorError(
            f"cannot list {error.filename}: {error.strerror}; expected a readable folder"
        ) from error
    return tuple(sorted(found, key=lambda path: (path.parent.name, number_of(path), path.name)))


def files_below(folder: Path) -> tuple[Path, ...]:
    """Return every file below a folder that may be a run: JSON, packed or not, and none hidden.

    Raises:
        IndoorError: There is none, or a folder cannot be read.
    """
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise IndoorError(
            f"cannot list {error.filename}: {error.strerror}; expected a readable folder"
        ) from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != GATES)
        found += [
            Path(place, name)
            for name in sorted(names)
            if name.endswith((".json", ".json.gz")) and not name.startswith(".")
        ]
    if not found:
        raise IndoorError(
            f"no results below {folder}: expected *.json or *.json.gz that `pytest bench` saved; "
            "name another folder, or the files"
        )
    return tuple(found)


def named_or_newest(files: Sequence[Path], results: Path | None) -> tuple[Path, ...]:
    """Return the files that were named, or the newest result that the suite saved.

    Args:
        files: What was named.
        results: Where `<machine>/NNNN_name.json` is looked for; None for `results`.

    Raises:
        IndoorError: Both are given, or there is no result.
    """
    if files and results:
        raise IndoorError(
            f"--results {results} with {files[0]}: it is where the newest run is looked for, and "
            "files are named; expected one of the two; leave one out"
        )
    if files:
        return tuple(files)
    results = results or Path("results")
    saved = list_runs(results) if results.is_dir() else ()
    if not saved:
        raise IndoorError(
            f"no results in {results}: expected {results}/<machine>/NNNN_name.json; "
            "make some with pytest bench, or name the files"
        )
    return (max(saved, key=lambda path: path.stat().st_mtime),)


def number_of(path: Path) -> int | None:
    """Return the number that the run's file name begins with; None where it has none."""
    match = _NUMBERED.fullmatch(path.name)
    return int(match[1]) if match else None


def find_run(results: Path, wanted: str) -> Path:
    """Return the saved run of that number or path.

    Raises:
        IndoorError: There is none, or more than one.
    """
    runs = list_runs(results)
    if wanted.isascii() and wanted.isdigit():
        found = [path for path in runs if number_of(path) == int(wanted)]
    else:
        file = Path(wanted)
        found = [path for path in runs if path.resolve() == file.resolve()]
        if not found and file.is_file():
            raise IndoorError(
                f"{file} is not among the runs in {results}; expected {results}/<machine>/"
                f"NNNN_name.json; name it with --benchmark-compare={file} instead"
            )
    if not found:
        known = ", ".join(path.name.split("_")[0] for path in runs[-8:]) or "none yet"
        raise IndoorError(
            f"no run {wanted!r} in {results}; expected a file there or a number: {known}; "
            f"see {command_line('results', 'list', results=results)}"
        )
    if len(found) > 1:
        raise IndoorError(
            f"{len(found)} runs have the number {wanted}; expected one; name its file: "
            f"{', '.join(map(str, found))}"
        )
    return found[0]


def name_run(arch: str, commit: str | None, dirty: bool | None, remark: str | None) -> str:
    """Return what follows the number in the name of a run's file that is saved now."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d_%H%M%S")
    parts = [arch, (commit or "unversioned")[:12], now]
    if dirty:
        parts.append("uncommitted-changes")
    return "_".join([*parts, *([remark] if remark else [])])


def gate_record(results: Path, name: str) -> Path:
    """Return where a run's gate keeps what it measured: where nobody takes it for a run."""
    return results / GATES / f"gate_{name}.json"


def read_promoted(folder: Path) -> tuple[str, ...]:
    """Return the names of the files in the folder that were promoted, the latest last.

    Raises:
        IndoorError: The file that names them cannot be read.
    """
    pointer = folder / POINTER
    if not pointer.is_file():
        return ()
    return read_record(pointer, _Promotions).runs


def write_promoted(folder: Path, names: Iterable[str]) -> None:
    """Name the promoted files of a folder, all or none; hold the lock while you do."""
    write_record(folder / POINTER, _Promotions(format=1, runs=tuple(names)))


def lost_promotions(folders: Iterable[Path]) -> tuple[tuple[Path, str], ...]:
    """Return folder and name of each promoted run whose file is gone."""
    return tuple(
        (folder, name)
        for folder in sorted(set(folders))
        for name in read_promoted(folder)
        if not (folder / name).is_file()
    )


def lock_results(
    results: Path,
    wait_s: float = LOCK_WAIT_S,
    say: Callable[[str], None] = lambda _: None,
) -> AbstractContextManager[None]:
    """Hold the lock over a folder of results: nobody saves, promotes or prunes meanwhile.

    Args:
        results: The folder, which is made where it is missing.
        wait_s: How long to wait for somebody else.
        say: Hears whom it waits for.

    Raises:
        IndoorError: Somebody else holds it for longer than `wait_s`, or it cannot be made.
    """
    lock = results / LOCK
    return locked(
        lock,
        f"another process that saves, promotes or prunes in {results}",
        wait_s=wait_s,
        busy=f"{lock} is held by another process for more than {wait_s:g} s; expected its end; "
        "look for a run that is stopped or stuck",
        say=say,
        cannot="lock",
    )
