"""Tests of the script that measures what many saved runs cost."""

import json
from pathlib import Path

import pytest
from runtime_records import many_json

from bench.studies import fleet


@pytest.mark.slow
def test_the_study_measures_files_and_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command has its time and memory, and the index says what the files say."""
    source = tmp_path / "run.json"
    source.write_text(json.dumps(many_json()))
    words = ["--run", str(source), "--folder", str(tmp_path / "fleet"), "--runs", "5"]
    out = tmp_path / "study.json"
    assert fleet.main([*words, "--machines", "2", "--out", str(out)]) == 0
    assert "5 runs of 2 machines" in capsys.readouterr().out
    record = json.loads(out.read_bytes())
    assert record["same"] is True
    assert len(record["costs"]) == 6
    assert all(one["seconds"] > 0 and one["memory_bytes"] > 0 for one in record["costs"].values())
