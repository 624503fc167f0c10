"""The saved runs in pytest-benchmark's storage."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from indoor.errors import IndoorError
from indoor.records import Measurement, RunIdentity, from_builtins

__all__ = ["SavedRun", "find_runs"]

FIRST = "0001"
"""The number that the first run of an empty storage gets."""

NUMBERED = "[0-9][0-9][0-9][0-9]_"


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A file of the storage; `identity` is None where it is not of this suite.

    `benchmarks` are pytest-benchmark's entries by node id.
    """

    path: Path
    benchmarks: Mapping[str, dict[str, Any]]
    identity: RunIdentity | None
    allocator: str | None

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


def find_runs(storage: Any, compare: bool | str) -> tuple[SavedRun, ...]:
    """Return the saved runs that may be meant, by name; what cannot be read is left out.

    Args:
        storage: pytest-benchmark's.
        compare: True for all, else a number, a file, or a pattern of them.

    Raises:
        pytest.UsageError: The storage holds runs, but none that `compare` names; one line.
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


def _read_all(storage: Any, pattern: str) -> tuple[SavedRun, ...]:
    runs = (_read(path, storage) for path in storage.query(pattern))
    return tuple(run for run in runs if run is not None)


def _read(path: Path, storage: Any) -> SavedRun | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        benchmarks = {entry["fullname"]: entry for entry in data["benchmarks"]}
        assert all(isinstance(entry["stats"]["median"], float) for entry in benchmarks.values())
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        return None
    shown = path.relative_to(storage.path) if path.is_relative_to(storage.path) else path
    ours = [_measurement(entry, str(path)) for entry in benchmarks.values()]
    known = [measurement for measurement in ours if measurement is not None]
    # The full matrix holds a few cases with the other allocator; most are the run's own.
    allocators = [measurement.allocator for measurement in known]
    return SavedRun(
        path=shown,
        benchmarks=benchmarks,
        identity=known[0].run if known else None,
        allocator=max(set(allocators), key=allocators.count) if allocators else None,
    )


def _measurement(entry: Mapping[str, Any], source: str) -> Measurement | None:
    try:
        return from_builtins(entry["extra_info"]["indoor"], Measurement, source)
    except (IndoorError, KeyError, TypeError):
        return None
