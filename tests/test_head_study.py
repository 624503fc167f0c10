"""Tests of the script that sets the reference's loop against cached features."""

import json
from pathlib import Path
from statistics import median

import pytest
from killing import small_weights

from bench.studies import head, run
from indoor.model import FORMAT, save_float
from indoor.records import CheckpointManifest
from indoor.train.head import HEAD_EPOCHS


@pytest.mark.usefixtures("one_thread")
def test_both_ways_end_at_one_head(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    words = ["--model", "resnet18", "--threads", "1", "--data", str(photographs)]
    words += ["--weights", str(checkpoint), "--out", str(out), "--photographs", "12"]
    assert head.main(words) == 0
    assert "heads differ by" in capsys.readouterr().out
    record = json.loads(out.read_bytes())
    assert record["epochs"] == HEAD_EPOCHS
    assert (record["num_train"], record["num_val"], record["threads"]) == (12, 2, 1)
    assert 0 <= record["max_abs_difference"] <= 1e-4
    assert len(record["reference_epochs_s"]) == HEAD_EPOCHS
    assert len(record["ours_runs_s"]) == 5
    assert record["reference_s"] == HEAD_EPOCHS * median(record["reference_epochs_s"])
    assert record["ratio"] == record["reference_s"] / median(record["ours_runs_s"])
    assert record["val_accuracy"]["reference"] == record["val_accuracy"]["ours"]


def test_a_users_mistake_is_one_line(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights that are not there end the script with status 2 and no traceback."""
    with pytest.raises(SystemExit) as ended:
        run(lambda: head.main(["--data", str(photographs), "--weights", "nowhere.pt"]))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: there is no file nowhere.pt")
    assert said.count("\n") == 1
