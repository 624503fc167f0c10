"""Processes side by side, bytes to labels, and the machine's limits, without the suite around."""

import subprocess
import time
from pathlib import Path

import pytest
import torch

from indoor.dataset import IndoorScenes
from indoor.errors import IndoorError
from indoor.machine import computes_bfloat16
from indoor.measure.pairs import Plan, measure_interleaved
from indoor.runtimes import find_variant, limits, load_variant, side_by_side
from indoor.runtimes.labels import hold
from indoor.runtimes.limits import (
    COPIED_BYTES,
    L2_BYTES,
    NUM_SLIDES,
    Limit,
    best_limits,
    measure_bandwidths,
    measure_limits,
)
from indoor.runtimes.own_process import Host, repeat
from indoor.runtimes.side_by_side import measure_throughput
from indoor.transforms import inference_transform

FLOAT32 = find_variant("float32")
IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def run_folder(home: Path) -> Path:
    """The tiny run's folder."""
    return home / "runs" / "tiny"


def test_calls_are_repeated_from_a_common_start() -> None:
    """None before it, and one at least; the time counts from the start to the last call's end."""
    start = time.monotonic() + 0.1
    began: list[float] = []
    told = repeat(lambda: began.append(time.monotonic()) or 1.0, start, 0.0)
    assert began[0] >= start
    assert told["seconds"] == [1.0]
    assert 0 <= told["ended"] < 60


def test_processes_compute_side_by_side(run_folder: Path) -> None:
    """Two of one thread each, whose photographs are added up."""
    found = measure_throughput(FLOAT32, run_folder, IMAGES, num_processes=2, for_s=0.1)
    assert found.photographs_per_s > 0
    assert len(found.seconds) >= 2


def test_processes_that_pin_themselves_to_one_core_are_refused() -> None:
    """Both may run on CPU 3 alone; where one may run anywhere, nothing is in the other's way."""
    side_by_side._refuse_pinned("toy", [frozenset({3}), frozenset({2, 3})])
    with pytest.raises(
        IndoorError, match=r"^toy: 2 processes .* pin themselves to 1 CPU, expected 2 or more"
    ):
        side_by_side._refuse_pinned("toy", [frozenset({3}), frozenset({3})])


def test_bytes_become_the_labels_of_their_tensors(
    run_folder: Path,
    photographs: Path,
    one_thread: None,  # noqa: ARG001
) -> None:
    """In this process and in one of its own, decoded in one thread and in two."""
    loaded = load_variant(FLOAT32, run_folder, 3)
    scenes = IndoorScenes(photographs, "test", inference_transform(loaded.manifest.preprocessing))
    paths = [scenes.samples[place].path for place in (0, 5, 10)]
    logits = loaded(torch.stack([scenes[place][0] for place in (0, 5, 10)]))
    expected = [loaded.manifest.classes[answer] for answer in logits.argmax(dim=1).tolist()]
    assert hold(loaded, paths, 1)() == hold(loaded, paths, 2)() == expected
    with Host("float32", run_folder, batch=3, threads=1) as host:
        host.load(FLOAT32)
        assert host.hold("float32", paths, 2) == expected
        subject = host.subject("float32", max_warmup_s=1.0, labels=True)
        plan = Plan(budget_s=0.0, min_rounds=2, min_warmup_s=0.0)
        assert len(measure_interleaved({"float32": subject}, plan, seed=0)["float32"].seconds) == 2


def test_the_limits_of_this_machine() -> None:
    """Each precision that it computes natively has the fastest of several kernels."""
    found = measure_limits((1,), 0.0)
    best = best_limits(found)
    expected = {"float32", "int8", *(("bfloat16",) if computes_bfloat16() else ())}
    assert {precision for precision, _ in best} == expected
    assert len({one.kernel for one in found}) > 3
    for limit in best.values():
        assert limit.multiply_adds_per_s > 1e7
    assert best["float32", 1].multiply_adds_per_s == max(
        one.multiply_adds_per_s for one in found if one.precision == "float32"
    )


def test_the_bandwidths_of_this_machine() -> None:
    """Bytes a second of memory and of L2, by threads, each read and written."""
    found = {(one.level, one.threads): one for one in measure_bandwidths((1, 2), 0.0)}
    assert set(found) == {(level, n) for level in ("memory", "L2") for n in (1, 2)}
    assert all(one.bytes_per_s > 1e8 for one in found.values())
    assert found["memory", 1].num_bytes == 2 * COPIED_BYTES
    assert found["L2", 2].num_bytes == 2 * 2 * NUM_SLIDES * L2_BYTES


def test_a_limit_that_cannot_be_measured_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its process said last, and how it ended."""
    ended = subprocess.CompletedProcess((), 1, "", "Traceback\nRuntimeError: no kernel\n")
    monkeypatch.setattr(limits.subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(IndoorError, match=r"^the limit .* exit status 1: RuntimeError: no kernel;"):
        measure_limits((1,), 0.0)


def test_the_best_of_several_looks_counts() -> None:
    """Other work on the machine can only make a look slower."""
    slow, quick = (
        Limit(precision="float32", threads=2, kernel="mm", multiply_adds=10**9, seconds=seconds)
        for seconds in (0.2, 0.1)
    )
    for looks in ((slow, quick), (quick, slow)):
        assert best_limits(looks) == {("float32", 2): quick}
    assert quick.multiply_adds_per_s == 1e10
