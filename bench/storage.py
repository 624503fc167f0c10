"""Which saved runs pytest-benchmark's storage holds, and which of them are meant."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from indoor.errors import IndoorError
from indoor.runs.storage import SavedRun, read_promoted, read_run

FIRST = "0001"
"""The number that the first run of an empty storage gets."""

NUMBERED = "[0-9][0-9][0-9][0-9]_"


def find_runs(storage: Any, compare: bool | str) -> tuple[SavedRun, ...]:
    """Return the saved runs that may be meant, by name; what cannot be read is left out.

    Args:
        storage: pytest-benchmark's.
        compare: True for all, else a number, a file, or a pattern of them.

    Raises:
        pytest.UsageError: The storage holds runs, but none that `compare` names, or the file that
            names the promoted ones cannot be read; one line.
    """
    everything = _read_all(storage, NUMBERED)
    if compare is True:
        return everything
    try:
        found = _read_all(storage, str(compare))
    except ValueError as error:
        raise pytest.UsageError(f"--benchmark-compare={compare}: {error}") from error
    if found or (not everything and str(compare) == FIRST):
        return found
    known = ", ".join(run.name.split("_")[0] for run in everything[-8:])
    raise pytest.UsageError(
        f"--benchmark-compare={compare}: there is no such run in {storage}; expected "
        f"{f'one of {known}' if known else 'none yet, since none was saved'}"
    )


def lost_promotions(storage: Any) -> tuple[str, ...]:
    """Return a line for each promoted run whose file is gone, since another is taken instead."""
    folders = sorted({path.parent for path in storage.query(NUMBERED)})
    return tuple(
        f"WARNING: {name} was promoted and is not in {folder.name} any more; "
        "promote another with `indoor results promote`"
        for folder in folders
        for name in read_promoted(folder)
        if not (folder / name).is_file()
    )


def _read_all(storage: Any, pattern: str) -> tuple[SavedRun, ...]:
    try:
        runs = [read_run(path) for path in storage.query(pattern)]
    except IndoorError as error:
        raise pytest.UsageError(str(error)) from error
    return tuple(
        dataclasses.replace(run, path=_shown(run.path, storage.path)) for run in runs if run
    )


def _shown(path: Path, folder: Path) -> Path:
    """Return the path as pytest-benchmark shows it: below its storage, wherever that is."""
    return path.relative_to(folder) if path.is_relative_to(folder) else path
