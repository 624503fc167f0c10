"""What the repository carries besides code: small, and readable by the commands that quote it."""

import subprocess
from pathlib import Path

import pytest

from bench.studies.gate import main
from indoor.files import read_bytes
from indoor.gate.records import GateReport
from indoor.records import read_record
from indoor.runs.results import load_results
from indoor.runs.saved import read_run

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "results" / "studies"


def test_tracked_files_are_small() -> None:
    """Working tree's tracked files, pictures included: under 6 MB, and no raw JSON to diff."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    present = [path for path in files if path.is_file()]
    assert sum(path.stat().st_size for path in present) < 6_000_000
    records = [path for path in present if path.suffix == ".json" and "results" in path.parts]
    assert all(path.read_bytes().count(b"\n") <= 300 for path in records), "pack it: .json.gz"


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("results/published/*.json*")), ids=lambda path: path.name
)
def test_published_runs_are_reported(path: Path) -> None:
    """`indoor report` and `--benchmark-compare` take the published file as it lies there."""
    (run,) = load_results([path])
    assert run.source == path.name
    assert run.cases
    saved = read_run(path)
    assert saved is not None
    assert saved.identity is not None
    assert path.name.startswith(f"{saved.name}.json")


@pytest.mark.parametrize(
    "path",
    sorted(p for what in ("traces", "recorded", "run") for p in STUDIES.glob(f"gate-{what}-*")),
    ids=lambda path: path.name,
)
def test_recorded_traces_can_be_replayed(path: Path) -> None:
    """Every file of traces is a gate's report with launches to draw from."""
    report = read_record(path, GateReport)
    assert any(launch.seconds for trace in report.traces for launch in trace.launches)


def test_the_documented_tables_are_what_the_studies_say(capsys: pytest.CaptureFixture[str]) -> None:
    """`bench.studies.gate table` prints the tables of the error study, figure for figure."""
    studies = [*STUDIES.glob("gate-replay-*"), *STUDIES.glob("gate-complete-*")]
    assert main(["table", *map(str, studies)]) == 0
    page = read_bytes(ROOT / "docs" / "gate-error-study.md").decode()
    quoted, printed = (
        {line for line in text.splitlines() if line.startswith(("| **", "| no change |"))}
        for text in (page, capsys.readouterr().out)
    )
    assert quoted == printed
