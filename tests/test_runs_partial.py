"""The finished cells of an interrupted run: which are taken, and when they were measured."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from report_records import identity

from bench.cases import Cell
from indoor.measure.pairs import Series
from indoor.measure.worker import Warmup
from indoor.records import WeightSource
from indoor.runs.comparable import Subject, unfinished_key
from indoor.runs.partial import PartialRun

CELL = Cell(batch=8, threads=2)
SERIES = {
    "float32": Series(
        seconds=(0.2, 0.25),
        num_faults=(5, 0),
        warmup=Warmup(num_calls=3, stable=True, fastest_s=0.2),
    )
}


def test_finished_cells_come_back_bit_for_bit(tmp_path: Path) -> None:
    """What one process stored another one loads, and counts it as resumed."""
    stored = PartialRun(tmp_path / "key").store(CELL, ("float32",), "default", SERIES, None)
    later = PartialRun(tmp_path / "key")
    assert later.load(CELL, ("float32",), "default") == stored
    assert later.num_resumed == later.num_kept == 1


def test_a_cell_of_many_variants_is_stored(tmp_path: Path) -> None:
    """However many names there are, a file system takes the file's name."""
    names = tuple(f"float32-of-a-runtime-with-a-long-name-{i}" for i in range(100))
    series = dict.fromkeys(names, SERIES["float32"])
    stored = PartialRun(tmp_path / "key").store(CELL, names, "default", series, None)
    assert PartialRun(tmp_path / "key").load(CELL, names, "default") == stored


@pytest.mark.parametrize(
    ("cell", "names", "allocator"),
    [
        (Cell(batch=8, threads=1), ("float32",), "default"),
        (CELL, ("float32", "int8"), "default"),
        (CELL, ("float32",), "retain"),
    ],
)
def test_other_cells_are_not_taken_for_finished(
    tmp_path: Path, cell: Cell, names: tuple[str, ...], allocator: str
) -> None:
    """Batch, threads, the variants beside it and the allocator decide what was measured."""
    finished = PartialRun(tmp_path / "key")
    finished.store(CELL, ("float32",), "default", SERIES, None)
    assert finished.load(cell, names, allocator) is None


def test_a_broken_cell_is_measured_again(tmp_path: Path) -> None:
    """A file that is no cell counts as none, and so does one with other variants in it."""
    finished = PartialRun(tmp_path / "key")
    finished.store(CELL, ("float32",), "default", SERIES, None)
    (path,) = (tmp_path / "key").iterdir()
    path.rename(finished.path(CELL, ("int8",), "default"))
    assert finished.load(CELL, ("int8",), "default") is None
    path.write_text("{")
    assert finished.load(CELL, ("float32",), "default") is None


def test_saved_cells_are_removed_and_others_stay(tmp_path: Path) -> None:
    """A narrowed run that is saved leaves the interrupted run's other cells alone."""
    folder = tmp_path / ".partial" / "key"
    PartialRun(folder).store(CELL, ("float32",), "default", SERIES, None)
    narrowed = PartialRun(folder)
    narrowed.store(Cell(batch=1, threads=1), ("float32",), "default", SERIES, None)
    narrowed.discard()
    assert list(folder.iterdir()) == [narrowed.path(CELL, ("float32",), "default")]
    last = PartialRun(folder)
    assert last.load(CELL, ("float32",), "default") is not None
    last.discard()
    assert list(tmp_path.iterdir()) == []


def test_fresh_forgets_the_interrupted_run(tmp_path: Path) -> None:
    """--fresh removes what there is."""
    PartialRun(tmp_path / "key").store(CELL, ("float32",), "default", SERIES, None)
    assert PartialRun(tmp_path / "key", fresh=True).load(CELL, ("float32",), "default") is None


def test_the_key_changes_with_anything_in_the_configuration() -> None:
    """Same values, same key; one digit of one hash, another one."""
    here = Subject(run=identity(timer="time.perf_counter"), allocator="default")
    assert unfinished_key(here, {"float32": "1"}) == unfinished_key(here, {"float32": "1"})
    assert unfinished_key(here, {"float32": "1"}) != unfinished_key(here, {"float32": "2"})


@pytest.mark.parametrize(
    "changes",
    [
        {"timer": "time.process_time"},
        {"environment": {"ONEDNN_MAX_CPU_ISA": "AVX2"}},
        {"checkpoint_sha256": {"float32": "0" * 64}},
        {"arch": "resnet18"},
        {"machine": dataclasses.replace(identity().machine, torch="2.15.0")},
    ],
)
def test_another_measurement_is_not_gone_on_with(changes: dict[str, Any]) -> None:
    """CPU seconds and wall seconds, or the times of two kernels, never meet in one run."""
    one = identity(timer="time.perf_counter", environment={})
    other = dataclasses.replace(one, **changes)
    assert unfinished_key(Subject(run=one)) != unfinished_key(Subject(run=other))


def test_weights_that_were_fetched_or_lay_there_are_the_same() -> None:
    """The second run finds in the cache what the first one downloaded, and goes on with it."""
    fetched = WeightSource(kind="imagenet-download", name="resnet50.pth", sha256="1" * 64)
    cached = dataclasses.replace(fetched, kind="imagenet-cache")
    keys = {unfinished_key(Subject(run=identity(weights=w))) for w in (fetched, cached)}
    assert len(keys) == 1


def test_a_resumed_cell_keeps_its_date_and_load(tmp_path: Path) -> None:
    """It is told apart from those measured now, and says when it was measured."""
    stored = PartialRun(tmp_path / "key").store(CELL, ("float32",), "default", SERIES, None)
    resumed = PartialRun(tmp_path / "key").load(CELL, ("float32",), "default")
    assert resumed is not None
    assert (stored.resumed, resumed.resumed) == (False, True)
    assert (resumed.measured_at, resumed.load_1min) == (stored.measured_at, stored.load_1min)
