"""Reports of gates as people hand them to the studies: joined, changed, given twice."""

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.studies.gate import replay_files
from bench.studies.reading import read_reports
from indoor.errors import IndoorError
from indoor.gate.settings import PlanRules

STUDIES = Path(__file__).resolve().parent.parent / "results/studies"
RECORDED = STUDIES / "gate-traces-epyc-zen4-1-recorded.json.gz"
CELL = r"bench/test_latency\.py::test_latency\[float32-batch8-threads2\]"

Change = Callable[[dict[str, Any]], object]


def first(report: dict[str, Any]) -> dict[str, Any]:
    """The first launch of the first cell."""
    launch: dict[str, Any] = report["traces"][0]["launches"][0]
    return launch


def rounds(report: dict[str, Any]) -> list[Any]:
    """Its rounds on base."""
    seconds: list[Any] = first(report)["seconds"]["base"]
    return seconds


def replace_round(value: object) -> Change:
    """Put another value in the place of the first round."""
    return lambda report: rounds(report).__setitem__(0, value)


MEMBERS: dict[str, tuple[Change, str]] = {
    "a negative round": (replace_round(-1.0), rf"{CELL} has in launch \d+ no time \(seconds\.base"),
    "a round of zero": (replace_round(0.0), rf"{CELL} has in launch \d+ no time"),
    "a round of minus zero": (replace_round(-0.0), rf"{CELL} has in launch \d+ no time"),
    "a round of 1e300": (replace_round(1e300), rf"{CELL} has .* is 1e\+300"),
    "NaN for a round-control": (replace_round(float("nan")), "holds no GateReport: JSON is malf"),
    "a string for a round-control": (replace_round("NaN"), "holds no GateReport: Expected `float`"),
    "true for a round-control": (replace_round(True), "holds no GateReport: Expected `float`"),
    "null for a round-control": (replace_round(None), "holds no GateReport: Expected `float`"),
    "arms of two lengths": (lambda report: rounds(report).pop(), rf"{CELL} has .* are no pairs"),
    "a launch twice": (
        lambda report: report["traces"][0]["launches"].append(first(report)),
        rf"{CELL} has launch \d+ twice",
    ),
    "a cell twice": (
        lambda report: report["traces"].append(report["traces"][0]), rf"{CELL} is there twice"),
    "two gates' cells in one report": (
        lambda report: report["traces"].extend(copy.deepcopy(report["traces"])),
        rf"{CELL} is there twice",
    ),
    "a version from the future": (
        lambda report: report.__setitem__("schema_version", 99), "has schema version 99; expected"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), MEMBERS.values(), ids=MEMBERS)
def test_a_report_that_cannot_be_is_refused(tmp_path: Path, change: Change, message: str) -> None:
    """One line that names the file and the cell, and no study."""
    report = json.loads(gzip.decompress(RECORDED.read_bytes()))
    change(report)
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(report))
    with pytest.raises(IndoorError, match=message) as caught:
        replay_files([path], PlanRules(), title="t", num_gates=1, seed=0, rival_launches=2)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["one file", "a copy", "a packed copy"])
def test_a_gate_that_is_given_twice_is_refused(tmp_path: Path, kind: str) -> None:
    """Its launches would count twice, and every interval be too narrow."""
    again = {"one file": RECORDED, "a copy": tmp_path / "copy.json"}.get(
        kind, tmp_path / "copy.json.gz"
    )
    if again is not RECORDED:
        data = RECORDED.read_bytes()
        again.write_bytes(data if again.suffix == ".gz" else gzip.decompress(data))
    with pytest.raises(IndoorError, match=r"holds the same gate as .*recorded\.json\.gz; expected"):
        read_reports([RECORDED, again])


@pytest.mark.parametrize(
    "join",
    [
        lambda text: text + text,
        lambda text: f"[{text},{text}]",
        lambda text: f"{text}\n{text}\n",
        lambda text: gzip.compress(text.encode()) * 2,
    ],
    ids=["cat-control", "jq -s-control", "JSON lines-control", "members of gzip-control"],
)
def test_joined_reports_are_refused(tmp_path: Path, join: Callable[[str], Any]) -> None:
    """Several documents are no report."""
    joined = join(gzip.decompress(RECORDED.read_bytes()).decode())
    path = tmp_path / "gate.json"
    path.write_bytes(joined if isinstance(joined, bytes) else joined.encode())
    with pytest.raises(IndoorError, match="holds no GateReport"):
        read_reports([path])


def test_the_published_reports_are_read() -> None:
    """All that the error study quotes; a control."""
    for pattern in ("gate-run-*", "gate-traces-*", "gate-recorded-*"):
        paths = sorted(STUDIES.glob(pattern))
        assert paths
        assert all(report.traces for report in read_reports(paths))
