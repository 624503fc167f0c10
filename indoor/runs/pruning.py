"""Which saved results are thrown away, and which are kept however old they are."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indoor.errors import IndoorError
from indoor.runs.groups import groups_by_subject
from indoor.runs.saved import read_runs
from indoor.runs.storage import gate_record, list_runs

_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """What is to go, and what stays although it is old, with the reason."""

    num_runs: int
    runs: tuple[Path, ...]
    partial: tuple[Path, ...]
    kept: dict[Path, str]


def plan_pruning(results: Path, keep: int, partial_days: int) -> Pruning:
    """Choose all but the newest runs of each machine folder; hold the lock meanwhile.

    A run whose removal would change what a later one is compared with stays, and so does a file
    that is not a run of this suite.

    Args:
        results: The folder with a folder a machine.
        keep: How many of each folder are new.
        partial_days: For how many days nobody wrote into an interrupted run that is removed.
    """
    removed: list[Path] = []
    kept: dict[Path, str] = {}
    runs = list_runs(results)
    for folder in dict.fromkeys(path.parent for path in runs):
        here = [path for path in runs if path.parent == folder]
        wanted = _wanted(here) if len(here) > keep else {}
        removed += [path for path in here[:-keep] if path not in wanted]
        kept |= {path: wanted[path] for path in here[:-keep] if path in wanted}
    return Pruning(
        num_runs=len(runs),
        runs=tuple(removed),
        partial=tuple(old_partial_runs(results, partial_days)),
        kept=kept,
    )


def prune(results: Path, pruning: Pruning) -> None:
    """Remove what was chosen, each run with its picture, its page and its gate's record.

    Raises:
        IndoorError: A file cannot be removed; those named before it are gone.
    """
    for path in pruning.runs:
        pictures = (path.with_suffix(".png"), path.with_suffix(".html"))
        for companion in (*pictures, gate_record(results, path.stem), path):
            _remove(companion)
    for path in pruning.partial:
        _remove(path)


def old_partial_runs(results: Path, days: int) -> list[Path]:
    """Return the folders of interrupted runs in which nothing was written for so many days."""
    since = time.time() - days * _DAY_S
    return [
        folder
        for folder in sorted((results / ".partial").glob("*/"))
        if _written_at(folder) < since
    ]


def _wanted(runs: Sequence[Path]) -> dict[Path, str]:
    """Return the runs of one folder that stay whatever their age, each with the reason."""
    found: dict[Path, str] = {}
    groups, kept = groups_by_subject(), set[int]()
    for known in read_runs(runs[::-1]):
        path = known.path
        if known.fault == "of another suite":
            found[path] = "it is not of this suite"
        elif known.subject is None:
            found[path] = "it cannot be read"
        elif known.promoted:
            found[path] = "it is promoted"
        elif not known.problems and (group := groups.number(known.subject)) not in kept:
            kept.add(group)
            found[path] = "it is the newest whole run of its machine, network and data"
    return found


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise IndoorError(
            f"cannot remove {path}: {error.strerror or error}; expected write permission in its "
            "folder; older runs are removed already, the same command goes on from there"
        ) from error


def _written_at(folder: Path) -> float:
    """Return when something in the folder was written last; now where it is changing."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()
