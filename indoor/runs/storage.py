"""The saved runs in results/, which of them were promoted to baselines, and the lock over both.

A folder of results holds one folder a machine, as pytest-benchmark names it, with files
`NNNN_name.json`. The promoted ones are named in a small file beside them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indoor.errors import IndoorError
from indoor.files import read_bytes
from indoor.records import (
    Machine,
    Measurement,
    RunIdentity,
    from_builtins,
    read_record,
    write_record,
)

POINTER = ".promoted"
"""No `.json`: pytest-benchmark would take such a file for a run."""

LOCK = ".lock"
_NUMBERED = re.compile(r"(\d{4,})_.*\.json")


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A file of the storage; `identity` is None where it is not of this suite.

    `benchmarks` are pytest-benchmark's entries by node id; `saved_at` is ISO 8601, empty where the
    file does not say. `promoted` is whether a person made it a baseline.
    """

    path: Path
    benchmarks: Mapping[str, dict[str, Any]]
    identity: RunIdentity | None
    allocator: str | None
    saved_at: str = ""
    promoted: bool = False

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.name.removesuffix(".gz").removesuffix(".json")

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it is no baseline by itself: `narrowed`, `failed`, `regressed`; none for most."""
        if self.identity is None:
            return ()
        reason = self.identity.not_a_baseline
        words = ("narrowed" if self.identity.narrowed else None, reason)
        return tuple(dict.fromkeys(word for word in words if word))


@dataclass(frozen=True, kw_only=True)
class _Promotions:
    """What the file beside the runs holds: the names of the promoted ones."""

    format: int
    runs: tuple[str, ...]


def list_runs(results: Path) -> tuple[Path, ...]:
    """Return the saved runs by machine folder and number, the oldest first.

    Raises:
        IndoorError: There is no such folder.
    """
    if not results.is_dir():
        raise IndoorError(
            f"no folder {results}; expected results that `pytest bench` saved; "
            "name their folder with --results"
        )
    found = [path for path in results.glob("*/*.json") if number_of(path) is not None]
    return tuple(sorted(found, key=lambda path: (path.parent.name, number_of(path), path.name)))


def number_of(path: Path) -> int | None:
    """Return the number that the run's file name begins with; None where it has none."""
    match = _NUMBERED.fullmatch(path.name)
    return int(match[1]) if match else None


def gate_record(results: Path, name: str) -> Path:
    """Return where a run's gate keeps what it measured: where nobody takes it for a run."""
    return results / "gates" / f"gate_{name}.json"


def read_run(path: Path) -> SavedRun | None:
    """Read a saved run; None where the file is cut off or is not pytest-benchmark's.

    Raises:
        IndoorError: The file that names the promoted runs beside it cannot be read.
    """
    try:
        data = json.loads(read_bytes(path))
        benchmarks = {entry["fullname"]: entry for entry in data["benchmarks"]}
        assert all(isinstance(entry["stats"]["median"], float) for entry in benchmarks.values())
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        return None
    ours = [_measurement(entry, str(path)) for entry in benchmarks.values()]
    known = [measurement for measurement in ours if measurement is not None]
    # The full matrix holds a few cases with the other allocator; most are the run's own.
    allocators = [measurement.allocator for measurement in known]
    return SavedRun(
        path=path,
        benchmarks=benchmarks,
        identity=known[0].run if known else None,
        allocator=max(set(allocators), key=allocators.count) if allocators else None,
        saved_at=str(data.get("datetime") or ""),
        promoted=path.name in read_promoted(path.parent),
    )


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


@contextmanager
def lock_results(results: Path, wait_s: float | None = None) -> Iterator[None]:
    """Hold the lock over a folder of results: nobody saves, promotes or prunes meanwhile.

    Args:
        results: The folder, which is made where it is missing.
        wait_s: How long to wait for somebody else; None for as long as it takes.

    Raises:
        IndoorError: Somebody else holds it for longer than `wait_s`, or it cannot be made.
    """
    import filelock  # not for `indoor --help`

    lock = filelock.FileLock(results / LOCK)
    try:
        results.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=-1 if wait_s is None else wait_s)
    except filelock.Timeout as error:
        raise IndoorError(
            f"{results / LOCK} is held by another process for more than {wait_s:g} s; expected "
            "its end; look for a run that is stopped or stuck"
        ) from error
    except OSError as error:
        raise IndoorError(
            f"cannot lock {results}: {error.strerror or error}; expected a folder with write "
            "permission"
        ) from error
    try:
        yield
    finally:
        lock.release()


def machine_differences(there: Machine, here: Machine) -> dict[str, tuple[object, object]]:
    """Return the fields in which two machines differ, with both values; empty for the same one.

    The kernel, Python and torch are not the machine: what an upgrade does is a fair question.
    """
    pairs: dict[str, tuple[object, object]] = {
        field: (getattr(there, field), getattr(here, field))
        for field in ("cpu_model", "num_cores", "isa", "memory_bytes")
    }
    # Memory is what the kernel leaves over, which differs a little from boot to boot.
    before, now = there.memory_bytes, here.memory_bytes
    if before and now and abs(before - now) < 0.05 * now:
        del pairs["memory_bytes"]
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}


def mismatch(run: SavedRun, identity: RunIdentity, allocator: str | None) -> str | None:
    """Return in a word why a run's times are not comparable with another's; None where they are."""
    there = run.identity
    if there is None:
        return "of another suite"
    if there.machine.cpu_model != identity.machine.cpu_model:
        return "of another CPU"
    for reason, same in (
        ("of another machine", not machine_differences(there.machine, identity.machine)),
        ("of another model", there.arch == identity.arch),
        ("of other data", there.data.sha256 == identity.data.sha256),
        ("of other weights", there.weights.identity == identity.weights.identity),
        ("of another preprocessing", there.preprocessing == identity.preprocessing),
        ("with another allocator", run.allocator == allocator),
    ):
        if not same:
            return reason
    return None


def _measurement(entry: Mapping[str, Any], source: str) -> Measurement | None:
    try:
        return from_builtins(entry["extra_info"]["indoor"], Measurement, source)
    except (IndoorError, KeyError, TypeError):
        return None
