"""Tests of the study that sets our own work before a revision against that of now."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.studies.own_work import _differences

REPOSITORY = Path(__file__).resolve().parent.parent


def test_the_working_tree_against_a_revision(photographs: Path, home: Path, tmp_path: Path) -> None:
    """One run measures all tasks on both sides, whose results are the same."""
    out = tmp_path / "study.json"
    command = [sys.executable, "-m", "bench.studies.own_work", "--before", "HEAD", "--threads", "1"]
    command += ["--data", str(photographs), "--run", str(home / "runs" / "tiny"), "--out", str(out)]
    done = subprocess.run(
        [*command, "--parts", "2", "--photographs", "4", "--calibration", "4"],
        cwd=REPOSITORY,
        env=os.environ | {"INDOOR_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "nothing differs"
    record = json.loads(out.read_bytes())
    assert record["num_labels_changed"] == 0
    assert [one["now"]["num_photographs"] for one in record["evaluate"]] == [6, 6]
    assert record["calibrate"][0]["now"]["num_photographs"] == 4
    assert [len(one["now"]["seconds"]["int8"]) for one in record["load"]] == [5, 5]


def test_another_result_is_told() -> None:
    """A label, an int8 tensor or a feature that is another one now is no faster way to the same."""
    same: dict[str, Any] = {"num_hits": 3, "num_top5_hits": 5}
    found: dict[str, Any] = {
        "evaluate": [{"before": same, "now": same | {"num_hits": 4}}],
        "features": [{"before": {"answers": [1]}, "now": {"answers": [2]}}],
        "calibrate": [
            {
                "before": {"tensors_sha256": "a", "num_agreeing": 1},
                "now": {"tensors_sha256": "b", "num_agreeing": 1},
            }
        ],
        "features_sqnr_db": 40.0,
        "num_labels_changed": 2,
    }
    assert [line.partition(" ")[0] for line in _differences(found)] == [
        "evaluate:",
        "features:",
        "calibrate:",
        "features:",
        "evaluate:",
    ]


def test_a_users_mistake_is_one_line(photographs: Path, tmp_path: Path) -> None:
    """A run without an int8 ends the study with status 2 and no traceback."""
    command = [sys.executable, "-m", "bench.studies.own_work", "--data", str(photographs)]
    done = subprocess.run(
        [*command, "--run", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no ")
    assert done.stderr.count("\n") == 1
