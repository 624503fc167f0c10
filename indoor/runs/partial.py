"""The finished cells of a run that is not saved yet, so that it can go on after an interruption."""

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from indoor.errors import IndoorError
from indoor.machine import read_moment
from indoor.measure.pairs import Series
from indoor.records import Sha256, read_record, write_record


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A place in the suite's matrix: its variants are measured side by side."""

    batch: int
    threads: int
    device: str = "cpu"

    def __str__(self) -> str:
        """Return the cell in words."""
        words = f"batch {self.batch}, {self.threads} thread{'s' if self.threads > 1 else ''}"
        return words if self.device == "cpu" else f"{words}, {self.device}"


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What was measured in one cell: the rounds by variant, and when (ISO 8601 in UTC).

    `blocked` has the seconds of calls that were not interleaved, in the one cell of a run where
    they were measured. `resumed` is whether an interrupted run measured it.
    """

    batch: int
    threads: int
    series: dict[str, Series]
    blocked: dict[str, tuple[float, ...]] | None
    measured_at: str
    load_1min: float | None = None
    idle: dict[str, float] = field(default_factory=dict)
    resumed: bool = field(default=False, compare=False)
    content_sha256: Sha256 | None = field(default=None, compare=False)
    """The hash of its file without this one; `write_record` works it out."""


def finished_cell(
    cell: Cell,
    series: dict[str, Series],
    blocked: dict[str, tuple[float, ...]] | None = None,
    idle: dict[str, float] | None = None,
) -> CellResult:
    """Return what was measured in a cell until this moment."""
    measured_at, load_1min = read_moment()
    return CellResult(
        batch=cell.batch,
        threads=cell.threads,
        series=series,
        blocked=blocked,
        measured_at=measured_at,
        load_1min=load_1min,
        idle=idle or {},
    )


class PartialRun:
    """A folder with a file for each finished cell, each written whole or not at all."""

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self._folder = folder
        self._used: set[Path] = set()
        self.num_resumed = 0
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)

    def load(self, cell: Cell, variants: tuple[str, ...], allocator: str) -> CellResult | None:
        """Return the cell as an interrupted run measured it with just these variants, if any."""
        path = self.path(cell, variants, allocator)
        if not path.is_file():
            return None
        try:
            result = read_record(path, CellResult)
        except IndoorError:
            return None  # measured again; a broken file is no result
        if set(result.series) != set(variants):
            return None
        self._used.add(path)
        self.num_resumed += 1
        return dataclasses.replace(result, resumed=True)

    def store(
        self,
        cell: Cell,
        variants: tuple[str, ...],
        allocator: str,
        series: dict[str, Series],
        blocked: dict[str, tuple[float, ...]] | None,
        idle: dict[str, float] | None = None,
    ) -> CellResult:
        """Keep a finished cell until the run is saved."""
        result = finished_cell(cell, series, blocked, idle)
        path = self.path(cell, variants, allocator)
        write_record(path, result)
        self._used.add(path)
        return result

    @property
    def num_kept(self) -> int:
        """Cells that the same command would not measure again."""
        return sum(path.is_file() for path in self._used)

    def discard(self) -> None:
        """Remove the cells that this session used: they are in a saved run now."""
        for path in self._used:
            path.unlink(missing_ok=True)
        self._used.clear()
        for folder in (self._folder, self._folder.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def path(self, cell: Cell, variants: tuple[str, ...], allocator: str) -> Path:
        """Return the cell's file; a name of 15 variants would be longer than a file's may be."""
        names = hashlib.sha256("+".join(variants).encode()).hexdigest()[:16]
        return self._folder / f"batch{cell.batch}-threads{cell.threads}-{allocator}-{names}.json"
