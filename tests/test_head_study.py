"""Tests of the script that sets the reference's loop against cached features."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

from killing import small_weights

from indoor.model import FORMAT, save_float
from indoor.records import CheckpointManifest
from indoor.train.head import HEAD_EPOCHS

REPOSITORY = Path(__file__).resolve().parent.parent


def test_both_ways_end_at_one_head(photographs: Path, tmp_path: Path) -> None:
    """The study records both times, their ratio, and heads that differ by rounding alone."""
    weights = small_weights()
    checkpoint = tmp_path / "weights.safetensors"
    manifest = CheckpointManifest(
        format=FORMAT,
        arch="resnet18",
        precision="float32",
        classes=tuple("abcdefg"),
        preprocessing=weights.preprocessing,
        weights=weights.source,
    )
    save_float(checkpoint, weights.model, manifest)
    out = tmp_path / "study.json"
    command = [sys.executable, "-m", "bench.studies.head", "--model", "resnet18", "--threads", "1"]
    command += ["--data", str(photographs), "--weights", str(checkpoint), "--out", str(out)]
    done = subprocess.run(
        [*command, "--photographs", "12"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "heads differ by" in done.stdout
    record = json.loads(out.read_bytes())
    assert record["epochs"] == HEAD_EPOCHS
    assert (record["num_train"], record["num_val"], record["threads"]) == (12, 2, 1)
    assert 0 <= record["max_abs_difference"] <= 1e-4
    assert len(record["reference_epochs_s"]) == HEAD_EPOCHS
    assert len(record["ours_runs_s"]) == 5
    assert record["reference_s"] == HEAD_EPOCHS * median(record["reference_epochs_s"])
    assert record["ratio"] == record["reference_s"] / median(record["ours_runs_s"])
    assert record["val_accuracy"]["reference"] == record["val_accuracy"]["ours"]


def test_a_users_mistake_is_one_line(photographs: Path) -> None:
    """Weights that are not there end the script with status 2 and no traceback."""
    command = [sys.executable, "-m", "bench.studies.head", "--data", str(photographs)]
    done = subprocess.run(
        [*command, "--weights", "nowhere.pt"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no file nowhere.pt")
    assert done.stderr.count("\n") == 1
