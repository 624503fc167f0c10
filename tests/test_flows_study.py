"""Tests of the script that sets flows, engines and observers side by side."""

import json
from pathlib import Path

import pytest

from bench.studies import flows
from indoor.quantize import default_config, supported_engines

pytestmark = pytest.mark.slow

OWN = default_config().engine


@pytest.fixture(scope="module")
def record(home: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the study writes of both older flows on drawn photographs."""
    out = tmp_path_factory.mktemp("study") / "flows.json"
    words = ["--weights", str(home / "runs" / "tiny" / "float32.safetensors")]
    words += ["--data", str(photographs), "--out", str(out), "--threads", "1", "--seconds", "0"]
    words += ["--no-compile", "--flows", "eager", "fx", "--observers", "minmax"]
    assert flows.main(words) == 0
    found: dict = json.loads(out.read_bytes())
    return found


def test_each_engine_and_flow_has_a_row(record: dict) -> None:
    """Every flow on the default engine, and the first flow on all others, on all photographs."""
    rows = [(row["config"]["flow"], row["config"]["engine"]) for row in record["rows"]]
    others = [("eager", engine) for engine in supported_engines() if engine != OWN]
    assert rows == [("eager", OWN), ("fx", OWN), *others]
    assert {row["pair"]["num_photographs"] for row in record["rows"]} == {12}


def test_equal_checkpoints_share_their_figures(record: dict) -> None:
    """FX chose what eager did, which the row says; only the time to quantize is its own."""
    eager, fx = record["rows"][:2]
    assert (eager["same_as"], fx["same_as"]) == (None, "eager")
    assert fx["pair"] == eager["pair"]
    assert fx["quantize_s"] != eager["quantize_s"]
    assert eager["ms"] > 0
    assert fx["ms"] is None


def test_the_table_names_what_the_rows_belong_to(record: dict) -> None:
    """CPU, threads, photographs and float32's accuracy stand above a row a configuration."""
    from indoor.records import from_builtins

    text = flows.describe(from_builtins(record, flows.Study, "memory"))
    assert "1 threads, batch 16; resnet18, calibrated on" in text
    assert "| fx (bit for bit eager) |" in text
    assert "Not compiled: --no-compile" in text
