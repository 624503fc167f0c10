"""Variants in a process of their own: same logits, turns, memory, and what a lost one costs."""

import gc
import os
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytest_benchmark.utils import NameWrapper

from bench.cases import Cell
from bench.measuring import Shared
from indoor.errors import IndoorError
from indoor.measure import current_allocator
from indoor.measure.pairs import Plan, RemoteCall, measure_interleaved
from indoor.model import read_manifest
from indoor.pipeline.evaluation import checkpoint_hashes
from indoor.runs.partial import PartialRun
from indoor.runtimes import find_variant, load_variant, own_process
from indoor.runtimes.own_process import Host, measure_peak

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
FLOAT32, INT8 = find_variant("float32"), find_variant("int8")


@pytest.fixture
def run_folder(home: Path) -> Path:
    """The tiny run's folder."""
    return home / "runs" / "tiny"


@pytest.fixture
def apart(run_folder: Path) -> Any:
    """A process for one thread and batches of two, closed when the test ends."""
    with Host("float32", run_folder, batch=2, threads=1) as process:
        yield process


@pytest.fixture
def shared(run_folder: Path, photographs: Path, tmp_path: Path) -> Shared:
    """What a narrow session shares, whose cells are kept in `tmp_path`."""
    settings: Any = SimpleNamespace(
        skip_broken=False,
        full=False,
        batches=(1,),
        threads=(1,),
        suite_batches=(1,),
        suite_threads=lambda _: (1,),
        device="cpu",
        variants=("float32", "int8"),
        cell_s=0.1,
        percentiles=None,
    )
    prepared: Any = SimpleNamespace(
        root=photographs,
        run_folder=run_folder,
        manifest=read_manifest(run_folder / "float32.safetensors"),
        checkpoint_sha256=checkpoint_hashes(run_folder),
    )
    options = {"min_rounds": 5, "timer": NameWrapper(time.perf_counter), "disable_gc": False}
    config: Any = SimpleNamespace(
        _benchmarksession=SimpleNamespace(options=options),
        pluginmanager=SimpleNamespace(getplugin=lambda _: None),
    )
    identity: Any = None
    return Shared(config, settings, prepared, identity, PartialRun(tmp_path / "cells"))


def options_of(shared: Shared) -> dict[str, Any]:
    """Return pytest-benchmark's options, to be changed."""
    config: Any = shared.config
    options: dict[str, Any] = config._benchmarksession.options
    return options


def test_a_process_computes_the_same_bits(apart: Host, run_folder: Path, one_thread: None) -> None:  # noqa: ARG001
    """Logits that come from another process are those of this one."""
    apart.load(FLOAT32)
    apart.show(IMAGES)
    logits, seconds = apart.run("float32")
    assert torch.equal(logits, load_variant(FLOAT32, run_folder)(IMAGES))
    assert seconds > 0


def test_turns_are_taken_across_processes(apart: Host) -> None:
    """A call that waits in another process is measured beside the others, with its own faults."""
    apart.load(FLOAT32)
    apart.show(IMAGES)
    series = measure_interleaved(
        {"float32": apart.subject("float32", max_warmup_s=1.0)},
        Plan(budget_s=0.0, min_rounds=3, min_warmup_s=0.0),
        seed=0,
    )["float32"]
    assert len(series.seconds) == len(series.num_faults) == 3
    assert min(series.seconds) > 0


def test_a_turn_calls_with_what_was_shown_last(tmp_path: Path) -> None:
    """What is called is remembered between turns, and no longer than until something changes."""
    seen: list[tuple[str, int]] = []

    class Called:
        def __init__(self, name: str) -> None:
            self.variant = SimpleNamespace(name=name, device="cpu")

        def __call__(self, images: torch.Tensor) -> None:
            seen.append((self.variant.name, len(images)))

    process = own_process.Variants()
    process._loaded = {name: Called(name) for name in "ab"}  # type: ignore[assignment]
    for batch in (1, 2):
        torch.save(torch.zeros(batch, 3), tmp_path / "images.pt")
        process.do({"do": "show", "path": str(tmp_path / "images.pt")})
        for name in ("a", "b", "a"):
            told = process.do({"do": "turn", "variant": name, "num_discarded": 0})
            assert told["seconds"] > 0
    assert seen == [(name, batch) for batch in (1, 2) for name in "aba"]
    process._labelling = lambda: seen.append(("labels", 0)) or []
    process.do({"do": "turn", "variant": "a", "num_discarded": 1, "labels": True})
    assert seen[-2:] == [("labels", 0)] * 2


def test_what_a_library_prints_disturbs_no_answer(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONEDNN_VERBOSE=1 prints a line a primitive to standard output; the peak is told anyway."""
    monkeypatch.setenv("ONEDNN_VERBOSE", "1")
    peak = measure_peak(FLOAT32, run_folder, IMAGES, threads=1)
    assert (peak.peak_memory_bytes or 10**9) > 50e6
    assert peak.seconds > 0
    assert peak.ran is not None


@pytest.mark.parametrize("cell_s", [15.0, 600.0, 6000.0])
def test_a_long_cell_is_not_a_hang(shared: Shared, cell_s: float) -> None:
    """Each answer has its own time, which the longest warm-up is added to; a cell has no limit."""
    shared.settings.cell_s = cell_s  # type: ignore[misc]
    cell, other = Cell(batch=1, threads=1), "retain"
    with ExitStack() as stack:
        hosts = shared._hosts(cell, other, stack)
        subject = shared._subject("int8", cell, hosts)
    assert isinstance(subject, RemoteCall)
    assert subject.timeout_s == own_process.ANSWER_S + shared.plan().max_warmup_s > cell_s / 4


def test_the_other_allocators_cell_is_measured_in_a_fresh_process(shared: Shared) -> None:
    """All variants are paired there, and the result says with which allocator."""
    other = "default" if current_allocator() == "retain" else "retain"
    cell = Cell(batch=1, threads=1)
    found = shared.cell(cell, other).series
    assert len(found["float32"].seconds) == len(found["int8"].seconds) >= 12
    assert shared.rounds(cell, "int8", other) == found["int8"]


def test_many_rounds_may_be_asked_for(shared: Shared) -> None:
    """More rounds than a cell has at most by itself are made if pytest-benchmark is told so."""
    options_of(shared)["min_rounds"] = 2000
    assert shared.plan().min_rounds == shared.plan().max_rounds == 2000


def test_mlperfs_percentiles_get_their_rounds_at_batch_1(shared: Shared) -> None:
    """662 are wanted for p99, as far as thirty times a cell's seconds hold them; elsewhere none."""
    shared.settings.percentiles = "mlperf"  # type: ignore[misc]
    single, several = shared.plan(1), shared.plan(8)
    assert (single.wanted_rounds, several.wanted_rounds) == (662, 0)
    assert single.longest_s == pytest.approx(3.0)
    assert (single.max_rounds, several.max_rounds) == (6636, 1000)


def test_garbage_is_not_collected_while_rounds_are_made(shared: Shared) -> None:
    """--benchmark-disable-gc counts for the rounds of a cell, and for no longer."""
    options_of(shared)["disable_gc"] = True
    seen = []
    plain = shared.call

    def watched(variant: str, batch: int) -> Any:
        call = plain(variant, batch)
        return lambda: seen.append(gc.isenabled()) or call()

    shared.call = watched  # type: ignore[method-assign]
    shared.cell(Cell(batch=1, threads=1))
    assert set(seen) == {False}
    assert gc.isenabled()


def test_a_process_that_dies_is_told_in_one_line(apart: Host) -> None:
    """The signal and what it said last; a later message finds it dead, too."""
    apart.load(FLOAT32)
    os.kill(apart._process.pid, 6)
    with pytest.raises(IndoorError, match=r"^float32: died by SIGABRT") as caught:
        apart.show(IMAGES)
    assert "\n" not in str(caught.value)


def test_what_a_runtime_raises_is_told_in_one_line(apart: Host, tmp_path: Path) -> None:
    """Its process goes on."""
    with pytest.raises(IndoorError, match=r"^float32: KeyError: 'no-such'$"):
        apart.run("no-such")
    apart.load(FLOAT32)
    assert apart.ask("memory", variant="float32").keys() == {"peak_memory_bytes"}
    with (
        Host("int8", tmp_path, batch=1, threads=1) as lacking,
        pytest.raises(IndoorError, match=r"^int8: there is no file .*int8\.safetensors"),
    ):
        lacking.load(INT8)
