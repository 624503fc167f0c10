"""A runtime dropped in as one file shows up everywhere; one that crashes costs its own cells."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gate_trees import git
from suite_process import QUICK, ROOT, Suite, environment, lines_with, measurements, save_tiny

from indoor.gate.records import GateReport
from indoor.records import read_record

TOYS = ROOT / "tests" / "toy_runtimes"
MAX_LINES = 60
MATRIX = ("--variant", "float32,toy,apart,crashing", "--batch", "1,2", "--threads", "1")


@pytest.fixture(scope="module")
def suite(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The suite on the tiny network, with a home and a storage of its own."""
    folder = tmp_path_factory.mktemp("toys")
    weights = folder / "tiny.safetensors"
    save_tiny(weights, photographs)
    return Suite(photographs, weights, folder / "home", folder / "results")


@pytest.fixture(scope="module")
def done(suite: Suite) -> subprocess.CompletedProcess[str]:
    """A run of the suite with all three toys, dropped into a folder that the registry searches."""
    return subprocess.run(
        suite.command(*MATRIX, *QUICK),
        cwd=ROOT,
        env=environment() | {"INDOOR_RUNTIMES": str(TOYS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def indoor(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with the toys."""
    return subprocess.run(
        [sys.executable, "-m", "indoor", *words],
        cwd=ROOT,
        env=environment() | {"INDOOR_RUNTIMES": str(TOYS), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", sorted(TOYS.glob("*.py")), ids=lambda path: path.name)
def test_a_runtime_is_one_short_file(path: Path) -> None:
    """Sixty lines are enough for one."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.slow
def test_a_toy_is_measured_and_recorded(
    suite: Suite, done: subprocess.CompletedProcess[str]
) -> None:
    """Each case of a toy holds its runtime, precision and device, and its speedup is paired."""
    found = measurements(suite.saved()[0])
    for name in ("toy", "apart"):
        latency = found[f"test_latency[{name}-batch2-threads1]"]
        assert (latency.runtime, latency.precision, latency.device) == (name, "float32", "cpu")
        assert latency.speedup is not None, done.stdout
        assert latency.speedup.num_pairs >= 12
        assert (latency.output_sqnr_db or 0) >= 60
        assert found[f"test_load[{name}]"].evaluation is not None
        assert (found[f"test_load[{name}]"].size_bytes or 0) > 0
        assert found[f"test_peak_memory[{name}]"].ran is not None
    listed = found["test_load[toy]"].run.variants or ()
    toys = ("toy", "apart", "crashing")
    assert listed[0].name == "float32"
    assert tuple(v.name for v in listed if v.runtime in toys) == toys


@pytest.mark.slow
def test_a_toys_own_process_has_its_threads(suite: Suite, done: object) -> None:  # noqa: ARG001
    """It is another process than pytest's and than the other measurements', with one thread."""
    ran = measurements(suite.saved()[0])["test_peak_memory[apart]"].ran
    assert ran is not None
    assert ran.kernels["threads"] == 1
    assert ran.kernels["pid"] != os.getpid()


@pytest.mark.slow
def test_a_toy_stands_in_the_tables(done: subprocess.CompletedProcess[str]) -> None:
    """What the run found names both toys, in their order."""
    tables = done.stdout.split("what this run found")[1]
    assert "toy on cpu: toy (float32); apart on cpu: apart (float32)" in " ".join(tables.split())
    assert tables.index("\ntoy ") < tables.index("\napart ")


@pytest.mark.slow
def test_a_toy_stands_in_the_reports_json_and_csv(suite: Suite, done: object) -> None:  # noqa: ARG001
    """`indoor report` tells both, and needs no runtime for it."""
    path = str(suite.saved()[0])
    record = json.loads(indoor("report", path, "--format", "json", INDOOR_RUNTIMES="").stdout)
    cases = record["runs"][0]["cases"]
    assert {"toy", "apart"} <= {case["measurement"]["runtime"] for case in cases}
    csv = indoor("report", path, "--format", "csv", INDOOR_RUNTIMES="").stdout.splitlines()
    assert "device" in csv[0].split(",")
    assert lines_with("\n".join(csv), ",toy,toy,float32,cpu,")


@pytest.mark.slow
def test_a_crash_costs_its_own_cells(suite: Suite, done: subprocess.CompletedProcess[str]) -> None:
    """All cases of the others are there; each of the crashing one says in a line what happened."""
    assert done.returncode == 1, done.stdout
    names = set(measurements(suite.saved()[0]))
    for name in ("float32", "toy", "apart"):
        assert {f"test_latency[{name}-batch{batch}-threads1]" for batch in (1, 2)} <= names
    assert not [name for name in names if "crashing" in name]
    assert done.stdout.splitlines().count("crashing: died by SIGABRT") == 4
    assert len(lines_with(done.stdout, "FAILED bench/")) == 4
    assert lines_with(done.stdout, "not evaluated: crashing: died by SIGABRT")
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_a_toy_predicts(suite: Suite, done: object, photographs: Path) -> None:  # noqa: ARG001
    """Each of the commands finds it, the one in a process of its own as well."""
    (run,) = (suite.home / "runs").glob("*/float32.safetensors")
    photograph = next(photographs.rglob("*.jpg"))
    told = [
        json.loads(indoor("predict", str(photograph), "--run", str(run), *words, "--json").stdout)
        for words in ((), ("--variant", "toy"), ("--variant", "apart"))
    ]
    assert [one[0]["guesses"][0]["name"] for one in told] == [told[0][0]["guesses"][0]["name"]] * 3
    crashed = indoor("predict", str(photograph), "--run", str(run), "--variant", "crashing")
    assert crashed.returncode == 2
    assert crashed.stderr.startswith("indoor: crashing: died by SIGABRT")
    assert len(crashed.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_toy_stands_in_the_gate(suite: Suite, tmp_path: Path) -> None:
    """In a copy of the project with the file dropped in, its cell is timed and its facts compared.

    The gate's time is up after its first launch, which is no verdict and is not asked for one.
    """
    tree, out = tmp_path / "tree", tmp_path / "gate.json"
    ignored = shutil.ignore_patterns("__pycache__", "studies")
    for folder in ("indoor", "bench"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tree / name)
    shutil.copy(TOYS / "toy.py", tree / "indoor" / "runtimes" / "toy.py")
    settings = (tree / "bench" / "gate.toml").read_text(encoding="utf-8")
    settings = settings.replace('"float32,int8"', '"toy"').replace('"1,8"', '"1"')
    (tree / "bench" / "gate.toml").write_text(settings, encoding="utf-8")
    git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", "all")
    words = [f"--data={suite.photographs}", f"--weights={suite.weights}", "--model=resnet18"]
    gate = subprocess.run(
        [
            *(sys.executable, "-m", "indoor", "gate", "--base", "HEAD", "--out", str(out)),
            *("--minutes", "0.0001", *(f"--suite-argument={word}" for word in words)),
        ],
        cwd=tree,
        env=environment() | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    report = read_record(out, GateReport)
    (cell,) = report.cells
    assert cell.name.startswith("bench/test_latency.py::test_latency[toy-batch1-"), gate.stderr
    assert {check.name for check in report.checks} >= {"size of toy", "logits of toy"}, gate.stderr
