"""Which saved results are thrown away, and which are kept however old they are."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from indoor.cli.output import Outcome
from indoor.errors import IndoorError
from indoor.runs.storage import SavedRun, gate_record, list_runs, mismatch, read_run

DAY_S = 86_400


def prune(results: Path, keep: int, partial_days: int, *, dry_run: bool) -> Outcome:
    """Remove all but the newest runs of each machine folder; hold the lock while you do.

    A run whose removal would change what a later one is compared with stays, and so does a file
    that is not a run of this suite.

    Args:
        results: The folder with a folder a machine.
        keep: How many of each folder are new.
        partial_days: For how many days nobody wrote into an interrupted run that is removed.
        dry_run: Only say what would be removed.

    Raises:
        IndoorError: A file cannot be removed; those named before it are gone.
    """
    removed: list[Path] = []
    kept: dict[Path, str] = {}
    runs = list_runs(results)
    for folder in dict.fromkeys(path.parent for path in runs):
        here = [path for path in runs if path.parent == folder]
        wanted = _wanted(here) if len(here) > keep else {}
        removed += [path for path in here[:-keep] if path not in wanted]
        kept |= {path: wanted[path] for path in here[:-keep] if path in wanted}
    partial = _old_partial(results, partial_days)
    if not dry_run:
        for path in removed:
            for companion in (path.with_suffix(".png"), gate_record(results, path.stem), path):
                _remove(companion)
        for path in partial:
            _remove(path)
    verb = "would remove" if dry_run else "removed"
    lines = [
        *(f"{verb} {path}" for path in (*removed, *partial)),
        *(f"kept {path}: {reason}" for path, reason in kept.items()),
    ]
    return Outcome(
        record={
            "dry_run": dry_run,
            "removed": [str(path.relative_to(results)) for path in (*removed, *partial)],
            "kept": {str(path.relative_to(results)): reason for path, reason in kept.items()},
        },
        text="\n".join(lines or [f"nothing to remove among {len(runs)} runs"]),
    )


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


def _wanted(runs: Sequence[Path]) -> dict[Path, str]:
    """Return the runs of one folder that stay whatever their age, each with the reason."""
    found: dict[Path, str] = {}
    newest: list[SavedRun] = []
    for path in reversed(runs):
        known = read_run(path)
        if known is None:
            found[path] = "it cannot be read"
        elif known.identity is None:
            found[path] = "it is not of this suite"
        elif known.promoted:
            found[path] = "it is promoted"
        elif not known.problems and not any(_same(one, known) for one in newest):
            newest.append(known)
            found[path] = "it is the newest whole run of its machine, network and data"
    return found


def _same(one: SavedRun, other: SavedRun) -> bool:
    assert other.identity is not None
    return mismatch(one, other.identity, other.allocator) is None


def _old_partial(results: Path, days: int) -> list[Path]:
    """Return the folders of interrupted runs in which nothing was written for so many days."""
    since = time.time() - days * DAY_S
    return [
        folder
        for folder in sorted((results / ".partial").glob("*/"))
        if _written_at(folder) < since
    ]


def _written_at(folder: Path) -> float:
    """Return when something in the folder was written last; now where it is changing."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return time.time()
