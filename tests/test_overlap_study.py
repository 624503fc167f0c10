"""Tests of the scripts that tell how busy a device is kept, and what runs where there is a GPU."""

import json
import sys
from pathlib import Path

import pytest
import torch

from bench.studies import gpu, overlap, run
from bench.studies.gpu import Step, run_step

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_way_trains_on_the_same_batches(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The study compares the batches first, and records each way's turns and its share."""
    out = tmp_path / "study.json"
    words = ["--data", str(photographs), "--model", "resnet18", "--size", "32", "--batch", "6"]
    words += ["--minutes", "0.01", "--out", str(out)]
    assert overlap.main(words) == 0
    assert "as before, bit for bit" in capsys.readouterr().out
    record = json.loads(out.read_bytes())
    assert record["same_batches"] is True
    assert (record["num_train"], record["num_val"], record["batch"]) == (18, 3, 6)
    assert (record["device"], record["num_workers"]) == ("cpu", 0)
    assert len(record["seconds"]) == 6
    assert record["photographs_per_s"].keys() == record["seconds"].keys()
    assert list(record["shares"]) == [
        "epoch, before / steps alone",
        "epoch / steps alone",
        "validation, before / forward passes alone",
        "validation / forward passes alone",
    ]


def test_a_rate_is_that_of_the_median_turn() -> None:
    """By hand: 4 turns, and half as fast as its steps alone."""
    seconds = {overlap.STEP: [1.0, 1.0, 1.0, 9.0], overlap.NOW: [2.0, 2.0, 2.0, 18.0]}
    assert overlap.share(seconds, overlap.STEP, overlap.NOW)["speedup"] == 0.5


def test_too_few_photographs_are_one_line(
    photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch that the data set cannot fill ends the script with status 2."""
    with pytest.raises(SystemExit) as ended:
        run(lambda: overlap.main(["--data", str(photographs), "--batch", "99"]))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has 21 train photographs, expected 297 of them, 99 or more" in line


def test_without_a_gpu_there_is_nothing_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and status 2, before anything is drawn."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        run(lambda: gpu.main(["--out", str(tmp_path / "gpu")]))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: device 'cuda' is not usable")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "most_s", "is_killed", "expected"),
    [
        ("print('done')", 60.0, False, "ok in 0 s: done"),
        ("raise SystemExit('no')", 60.0, False, "FAILED with status 1 after 0 s: no"),
        ("import time; time.sleep(60)", 0.2, False, "FAILED: stopped after 0 s"),
        ("import time; time.sleep(60)", 0.2, True, "ok, killed after 0 s"),
    ],
)
def test_a_step_tells_how_it_ended(
    tmp_path: Path, code: str, most_s: float, is_killed: bool, expected: str
) -> None:
    """Its last line where it ended, and that it was killed where that was to be."""
    step = Step("a, b", [sys.executable, "-I", "-S", "-c", code], most_s, is_killed)
    assert run_step(step, tmp_path, most_s) == expected
    assert (tmp_path / "a-b.txt").is_file()


def test_every_step_is_a_command_that_exists(photographs: Path, tmp_path: Path) -> None:
    """Its words are those of this Python, and the data set is the one that was named."""
    found = gpu.steps(photographs, tmp_path)
    assert {step.words[0] for step in found} == {sys.executable}
    assert len({step.name for step in found}) == len(found)
    assert sum(step.most_s for step in found) < 12 * 60  # each at most; all have eight minutes
