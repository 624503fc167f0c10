"""Tests of the script that tells what a round of the suite costs beside its calls."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from suite_process import ROOT, environment

from bench.studies.rounds import MOST


@pytest.mark.slow
def test_a_turns_cost_is_told_apart_from_its_call(home: Path, tmp_path: Path) -> None:
    """Here, and in a process of its own now and before; the exit status judges the shortest."""
    out = tmp_path / "rounds.json"
    command = [sys.executable, "-m", "bench.studies.rounds", str(home / "runs" / "tiny")]
    command += ["--variant", "float32", "apart", "--threads", "1", "--size", "32"]
    done = subprocess.run(
        [*command, "--seconds", "0", "--out", str(out)],
        cwd=ROOT,
        env=environment() | {"INDOOR_RUNTIMES": str(ROOT / "tests" / "toy_runtimes")},
        capture_output=True,
        text=True,
        check=False,
    )
    record = json.loads(out.read_bytes())
    assert done.returncode == (record["share_of_the_shortest"] > MOST), done.stderr
    rows = {row["variant"]: row for row in record["rows"]}
    assert {name: row["own_process"] for name, row in rows.items()} == {
        "float32": False,
        "apart": True,
        "apart, before": True,
    }
    assert all(row["call_s"] > 0 and row["cost_s"] > 0 for row in rows.values())
    assert record["num_rounds"] == 12
    assert record["shortest"] in ("float32", "apart")
    assert 0 <= record["rest_s"] < 0.1
    assert "us a turn" in done.stdout
