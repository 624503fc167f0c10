"""Tests of the study that sets our own work before a revision against that of now."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.studies import own_work, run
from bench.studies.own_work import _differences


@pytest.mark.slow
def test_the_working_tree_against_a_revision(
    photographs: Path,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One run measures all tasks on both sides, whose results are the same."""
    out = tmp_path / "study.json"
    monkeypatch.setenv("INDOOR_HOME", str(tmp_path / "home"))
    words = ["--before", "HEAD", "--threads", "1", "--data", str(photographs)]
    words += ["--run", str(home / "runs" / "tiny"), "--out", str(out)]
    status = own_work.main([*words, "--parts", "2", "--photographs", "4", "--calibration", "4"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert printed.splitlines()[-1] == "nothing differs"
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


def test_a_users_mistake_is_one_line(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run without an int8 ends the study with status 2 and no traceback."""
    with pytest.raises(SystemExit) as ended:
        run(lambda: own_work.main(["--data", str(photographs), "--run", str(tmp_path)]))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: there is no ")
    assert said.count("\n") == 1
