"""Accuracies that several processes compute: those of one, each photograph counted once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ranked import Ended, Jobs, command

from indoor.pipeline import evaluation, predictions


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """One fork server for the module."""
    return Jobs(tmp_path_factory.mktemp("jobs"))


def evaluate_by_quick_form(*words: object) -> int:
    """Evaluate in twelve batches of one, of which every third tries float32's quick form."""
    predictions.NUM_TRIED, evaluation.forward_batch = 4, lambda _: 1
    return command(*words)


WORK = {"batches": command, "quick form": evaluate_by_quick_form}
SIZES = {"batches": (0, 2, 3), "quick form": (0, 2)}


@pytest.fixture(scope="module")
def ended(jobs: Jobs, home: Path, photographs: Path) -> dict[tuple[str, int], Ended]:
    """How evaluations of the run `tiny` end, by what they do and on how many ranks."""
    words = ["evaluate", "tiny", "--data", photographs, "--json"]
    return {
        (name, size): jobs.run(size, work, *words, INDOOR_HOME=str(home))
        for name, work in WORK.items()
        for size in SIZES[name]
    }


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("batches", 2), ("batches", 3), ("quick form", 2)])
def test_the_report_is_that_of_one_process(
    ended: dict[tuple[str, int], Ended], name: str, size: int
) -> None:
    """Every figure, note and pair, also where a rank has no batch: 12 photographs are two of 8."""
    alone, shared = ended[name, 0], ended[name, size]
    assert alone.statuses == (0,), alone.errors
    assert shared.statuses == (0,) * size, shared.errors
    first, *others = shared.printed
    assert json.loads(first) == json.loads(alone.printed[0])
    assert set(others) == {""}
    assert shared.told == alone.told


@pytest.mark.slow
def test_torchrun_shares_an_evaluation(
    home: Path, photographs: Path, ended: dict[tuple[str, int], Ended]
) -> None:
    """The real launcher, as the documents tell to call it: one report, that of one process."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["-m", "indoor", "evaluate", "tiny", "--data", str(photographs), "--json"]
    done = subprocess.run(
        [*launch, *words],
        env=os.environ | {"INDOOR_HOME": str(home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(ended["batches", 0].printed[0])
