"""A bit that flipped on the disk is found in whatever is read again and believed."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gate_records import red_gate
from searched import search

from bench.cases import Cell
from indoor.errors import IndoorError
from indoor.gate.records import GateReport
from indoor.measure.pairs import Series
from indoor.measure.worker import Warmup
from indoor.model import hash_tensors, write_plain
from indoor.records import read_record, write_record
from indoor.repair.records import Search
from indoor.runs.partial import PartialRun
from indoor.train.features import _HASH, _read_chunk
from indoor.train.resume_state import State, read_state, write_state

NUM_FLIPPED = 150

CELL = Cell(batch=8, threads=2)
WARMUP = Warmup(num_calls=3, stable=True, fastest_s=0.2)


def finished_cell(folder: Path) -> tuple[Path, Callable[[], object]]:
    """Store a finished cell of a run that is not saved yet."""
    names = ("float32",)
    rounds = tuple(0.2 + n / 7e4 for n in range(40))
    series = {"float32": Series(seconds=rounds, num_faults=(0,) * 40, warmup=WARMUP)}
    PartialRun(folder).store(CELL, names, "default", series, None)
    path = PartialRun(folder).path(CELL, names, "default")
    return path, lambda: PartialRun(folder).load(CELL, names, "default")


def gate(folder: Path) -> tuple[Path, Callable[[], object]]:
    """Write what `indoor gate --out` does."""
    write_record(folder / "gate.json", red_gate())
    return folder / "gate.json", lambda: read_record(folder / "gate.json", GateReport)


def searched(folder: Path) -> tuple[Path, Callable[[], object]]:
    """Write what a search for int8 keeps of its steps."""
    write_record(folder / "search.json", search())
    return folder / "search.json", lambda: read_record(folder / "search.json", Search)


def state(folder: Path) -> tuple[Path, Callable[[], object]]:
    """Write what a training keeps of an epoch."""
    write_state(folder / "x.safetensors", State({"w": torch.arange(300.0)}, 3, None))

    def read() -> object:
        found = read_state(folder / "x.safetensors")
        return None if found is None else (found.tensors["w"].tolist(), found.num_epochs)

    return folder / "x.safetensors", read


def features(folder: Path) -> tuple[Path, Callable[[], object]]:
    """Write the features of some photographs."""
    values = {"features": torch.arange(300.0).reshape(30, 10)}
    write_plain(folder / "x.safetensors", values, {_HASH: hash_tensors(values)})

    def read() -> object:
        found = _read_chunk(folder / "x.safetensors", 30)
        return None if found is None else found.tolist()

    return folder / "x.safetensors", read


@pytest.mark.parametrize("write", [finished_cell, gate, searched, state, features])
def test_a_flipped_bit_is_found(
    write: Callable[[Path], tuple[Path, Callable[[], object]]], tmp_path: Path
) -> None:
    """The file is refused, or what it says is what was written: no wrong figure is believed."""
    path, read = write(tmp_path)
    data, whole = path.read_bytes(), read()
    assert whole is not None
    generator = np.random.default_rng(4)
    num_found = 0
    for _ in range(NUM_FLIPPED):
        changed: Any = bytearray(data)
        changed[int(generator.integers(0, len(data)))] ^= 1 << int(generator.integers(0, 8))
        path.write_bytes(bytes(changed))
        found = None
        with contextlib.suppress(IndoorError):
            found = read()
        assert found in (None, whole)
        num_found += found is None
    assert num_found > NUM_FLIPPED // 2
