"""Runtimes that compute with something else than they claim, in the real suite."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from suite_process import QUICK, ROOT, Suite, environment, lines_with, measurements, save_tiny

import indoor.runtimes
from bench.measuring import Shared
from indoor.errors import IndoorError
from indoor.measure.proof import proof_of, row_name
from indoor.model import read_manifest
from indoor.pipeline.evaluation import checkpoint_hashes
from indoor.records import Measurement
from indoor.runtimes import base

LIARS = ROOT / "tests" / "liar_runtimes"
WORDS = ("--variant", "float32,pretender,rounder", "--batch", "2", "--threads", "1", *QUICK)
REFUSED = (
    r"pretender computes 100% of [0-9.]+ G multiply-adds in float32, 21 of 21 layers: conv1, "
    r"layer1\.0\.conv1, layer1\.0\.conv2 and 18 more; expected int8, and no time is worth "
    r"recording without it; repair its runtime, or leave the variant out"
)


@pytest.fixture(scope="module")
def suite(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The suite on the tiny network."""
    folder = tmp_path_factory.mktemp("liars")
    save_tiny(folder / "tiny.safetensors", photographs)
    return Suite(photographs, folder / "tiny.safetensors", folder / "home", folder / "results")


@pytest.fixture(scope="module")
def done(suite: Suite) -> subprocess.CompletedProcess[str]:
    """A run of the suite with both liars."""
    return subprocess.run(
        suite.command(*WORDS),
        cwd=ROOT,
        env=environment() | {"INDOOR_RUNTIMES": str(LIARS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def found(suite: Suite, done: subprocess.CompletedProcess[str]) -> dict[str, Measurement]:
    """What the run saved."""
    assert suite.saved(), done.stdout
    return measurements(suite.saved()[0])


@pytest.mark.slow
def test_an_int8_that_computes_float32_costs_its_own_cells(
    done: subprocess.CompletedProcess[str], found: dict[str, Measurement]
) -> None:
    """Each of its cases says in one line what ran where; it has no accuracy, and no row."""
    assert done.returncode == 1, done.stdout
    assert not [name for name in found if "pretender" in name]
    lines = [line for line in done.stdout.splitlines() if re.fullmatch(REFUSED, line)]
    assert len(lines) == len(lines_with(done.stdout, "FAILED bench/")) == 3, done.stdout
    assert re.search(f"not evaluated: {REFUSED}", " ".join(done.stdout.split()))
    assert "Traceback" not in done.stdout
    for name in ("float32", "rounder"):
        assert f"test_latency[{name}-batch2-threads1]" in found
        assert found[f"test_load[{name}]"].evaluation is not None


@pytest.mark.slow
def test_a_float32_that_computes_bfloat16_is_called_so(found: dict[str, Measurement]) -> None:
    """Its record holds what ran, and its row is named by it."""
    one = found["test_latency[rounder-batch2-threads1]"]
    proof = proof_of(one)
    assert (one.precision, row_name(one)) == ("bfloat16", "rounder (ran in bfloat16)")
    assert proof is not None
    assert proof.words.startswith(
        "bfloat16: 100% of 0.074 G multiply-adds; 21 of 21 layers told by"
    )
    assert found["test_peak_memory[rounder]"].precision == "bfloat16"


@pytest.mark.slow
def test_what_ran_is_stored_with_each_case(found: dict[str, Measurement]) -> None:
    """Latency, load and peak memory have it, of every variant that was measured."""
    cases = {"latency", "load", "peak-memory"}
    kept = [one for one in found.values() if one.case in cases]
    assert len(kept) == 6
    assert all(one.ran is not None for one in kept)


@pytest.fixture
def shared(home: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    """What the suite's tests share, with the liars registered."""
    monkeypatch.setattr(indoor.runtimes, "__path__", [*indoor.runtimes.__path__, str(LIARS)])
    base._registry.cache_clear()
    run_folder = home / "runs" / "tiny"
    prepared: Any = SimpleNamespace(
        root=photographs,
        run_folder=run_folder,
        manifest=read_manifest(run_folder / "float32.safetensors"),
        checkpoint_sha256=checkpoint_hashes(run_folder),
    )
    settings: Any = SimpleNamespace(skip_broken=False, suite_batches=(1,), device="cpu")
    nothing: Any = None
    monkeypatch.setattr(Shared, "process_options", lambda _: {})
    yield Shared(nothing, settings, prepared, nothing, nothing)
    base._registry.cache_clear()


@pytest.mark.slow
def test_cases_that_do_not_tell_what_ran_refuse_a_lie_too(shared: Shared) -> None:
    """Throughput and the times from bytes: refused, or recorded in the precision that ran."""
    with pytest.raises(IndoorError, match=r"^pretender computes 100% "):
        shared.refuse_a_lie("pretender", 1)
    assert shared.measurement("throughput", "rounder").precision == "float32", "not asked yet"
    shared.refuse_a_lie("rounder", 1)
    assert shared.measurement("throughput", "rounder").precision == "bfloat16"
