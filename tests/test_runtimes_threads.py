"""A variant that computes on other threads than asked, or spins while it waits, costs itself."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_runtimes_process import run_folder, shared  # noqa: F401 - fixtures

import indoor.runtimes
from bench.cases import Cell
from bench.measuring import Shared
from indoor.devices import use_threads
from indoor.errors import IndoorError
from indoor.machine import num_usable_cores
from indoor.runtimes import base

RUNTIME = '''
"""A runtime that a test wrote."""
import hashlib
import threading
import torch
from indoor.model import load_float
from indoor.records import Variant

VARIANTS = tuple(
    Variant(name=name, runtime="odd", precision="float32", checkpoint="float32",
            min_sqnr_db=60.0, own_process=True, order=order)
    for name, order in (("greedy", 50), ("restless", 51))
)

def why_not(variant):
    return None

def prepare(variant, checkpoint, batch):
    return checkpoint

def spin():
    while True:
        hashlib.sha256(bytes(1 << 24))  # outside Python's lock

def load(variant, artefact, threads):
    if variant.name == "greedy":
        torch.set_num_threads(threads + 1)
    else:
        threading.Thread(target=spin, daemon=True).start()
    model = load_float(artefact).model.requires_grad_(False)
    return model
'''

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")


@pytest.fixture
def odd(
    shared: Shared,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shared]:
    """What a session shares, with both odd runtimes beside float32, in batches of 8."""
    (tmp_path / "odd.py").write_text(RUNTIME, encoding="utf-8")
    monkeypatch.setattr(indoor.runtimes, "__path__", [*indoor.runtimes.__path__, str(tmp_path)])
    base._registry.cache_clear()
    yield shared
    for _, loaded in shared._loaded.values():
        loaded.close()
    base._registry.cache_clear()


def test_a_variant_that_spins_leaves_the_cell_before_its_rounds(odd: Shared) -> None:
    """Its own cells say why in one line; the others' rounds are taken without it."""
    odd.settings.variants = ("float32", "restless")  # type: ignore[misc]
    cell = Cell(batch=1, threads=1)
    with use_threads(1):
        found = odd.cell(cell)
        assert set(found.series) == {"float32"}
        assert found.idle["float32"] <= 0.01
        with pytest.raises(IndoorError, match=r"^restless: its process uses .* while it waits"):
            odd.rounds(cell, "restless")


@pytest.mark.skipif(num_usable_cores() < 2, reason="needs two cores")
def test_more_threads_than_asked_for_are_refused(odd: Shared) -> None:
    """The eager variant heeds the number; the other's case fails in one line."""
    cell = Cell(batch=8, threads=1)
    with use_threads(1):
        for name in ("float32", "greedy"):
            call = odd.call(name, 8)
            call()
            if name == "float32":
                assert odd.busy_threads(cell, name, call) == 1
                continue
            with pytest.raises(IndoorError, match=r"^greedy: 2 threads computed, expected the 1 "):
                odd.busy_threads(cell, name, call)
