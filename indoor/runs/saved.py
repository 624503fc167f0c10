"""Saved runs as lists, baselines and pruning know them: what each is about, or what is wrong."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from indoor.errors import IndoorError
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import RunIdentity
from indoor.runs.comparable import Subject, comparable
from indoor.runs.groups import groups_by_subject, letter
from indoor.runs.index import read_summaries
from indoor.runs.results import ChangedRunError, ForeignRunError, RunResult, load_results
from indoor.runs.storage import read_promoted, write_promoted
from indoor.runs.summary import RunSummary
from indoor.workers import Start, here

Fault = Literal["unreadable", "changed", "of another suite"]
"""Cut off or of another version; changed after it was saved; another suite's, which is none."""

_FAULTS: dict[type, Fault] = {ForeignRunError: "of another suite", ChangedRunError: "changed"}


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A file of the storage.

    Attributes:
        path: The file.
        summary: What it is about; None where that is nothing of this suite, or cannot be trusted.
        promoted: Whether a person made it a baseline.
        fault: Why there is no summary; None where there is one.
        reason: The same in a line.
    """

    path: Path
    summary: RunSummary | None
    promoted: bool = False
    fault: Fault | None = None
    reason: str = ""

    @cached_property
    def result(self) -> RunResult | None:
        """All that the file holds, read when it is asked for; None where there is no summary.

        Raises:
            IndoorError: The file has become unreadable since.
        """
        if self.summary is None:
            return None
        (result,) = load_results([self.path])
        return result

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.name.removesuffix(".gz").removesuffix(".json")

    @property
    def subject(self) -> Subject | None:
        """What the run is about."""
        return self.summary.subject if self.summary else None

    @property
    def identity(self) -> RunIdentity | None:
        """What the run measured."""
        return self.summary.run if self.summary else None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it is no baseline by itself: a fault, `narrowed`, `failed`, `regressed`."""
        if self.identity is None:
            return (self.fault,) if self.fault else ()
        reason = self.identity.not_a_baseline
        words = ("narrowed" if self.identity.narrowed else None, reason)
        return tuple(dict.fromkeys(word for word in words if word))


def read_runs(
    paths: Sequence[Path], *, progress: Progress = NO_PROGRESS, start: Start = here
) -> Iterator[SavedRun]:
    """Yield saved runs; what cannot be read, or is not ours, is told by its `fault`.

    Args:
        paths: Their files.
        progress: Hears of each.
        start: As in `read_summaries`.

    Raises:
        IndoorError: A file that names the promoted runs of a folder cannot be read.
    """
    promoted: dict[Path, tuple[str, ...]] = {}
    for path, found in read_summaries(paths, progress=progress, start=start):
        if path.parent not in promoted:
            promoted[path.parent] = read_promoted(path.parent)
        is_promoted = path.name in promoted[path.parent]
        if isinstance(found, RunSummary):
            yield SavedRun(path=path, summary=found, promoted=is_promoted)
        else:
            yield SavedRun(
                path=path,
                summary=None,
                promoted=is_promoted,
                fault=_FAULTS.get(type(found), "unreadable"),
                reason=str(found),
            )


def read_run(path: Path) -> SavedRun:
    """Read a saved run as `read_runs` does."""
    (run,) = read_runs([path])
    return run


def group_runs(runs: Iterable[SavedRun]) -> list[str | None]:
    """Return a letter for each run: runs of one letter may be compared in time by default."""
    groups = groups_by_subject()
    return [None if run.subject is None else letter(groups.number(run.subject)) for run in runs]


def promote_run(path: Path, *, force: bool) -> tuple[SavedRun, tuple[str, ...]]:
    """Make a run the baseline of its machine and subject; hold the lock while you do.

    Args:
        path: The run's file.
        force: Whether it may be narrowed or failed.

    Returns:
        The run, and the names of the files that are not promoted any more.

    Raises:
        IndoorError: It is no run of this suite, or may not be a baseline.
    """
    chosen = read_run(path)
    if chosen.subject is None:
        if not _is_foreign(chosen):
            raise IndoorError(f"a run that cannot be read is no baseline: {chosen.reason}")
        raise IndoorError(
            f"{path} holds nothing of this suite; expected a run that `pytest bench` saved; "
            "promote another"
        )
    refused = [problem for problem in chosen.problems if problem in ("narrowed", "failed")]
    if refused and not force:
        raise IndoorError(
            f"{path} is {' and '.join(refused)}; expected a run of all cases without a failure; "
            "promote another, or this one with --force"
        )
    promoted = read_promoted(path.parent)
    others = [path.parent / name for name in promoted if name != path.name]
    replaced = tuple(run.path.name for run in read_runs(others) if _gives_way(run, chosen.subject))
    kept = [name for name in promoted if name not in {*replaced, path.name}]
    write_promoted(path.parent, [*kept, path.name])
    return chosen, replaced


def _gives_way(earlier: SavedRun, subject: Subject) -> bool:
    """Return whether an earlier promoted run is of the same machine and subject, or gone."""
    if _is_foreign(earlier):
        return False
    return earlier.subject is None or comparable(earlier.subject, subject).other is None


def _is_foreign(run: SavedRun) -> bool:
    return run.fault == "of another suite"
