"""The light installation: what works without torch, and what says in one line that it does not."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from gate_trees import NAP, SUITE, write_repository

from indoor.gate.records import GateReport
from indoor.records import read_record

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "results" / "published" / "scene15-resnet50-epyc-avx512-vnni.json.gz"

HEAVY = {
    "torch": "torch",
    "torchvision": "torchvision",
    "pillow": "PIL",
    "safetensors": "safetensors",
}
"""What the light installation lacks, and how it is imported."""

WITHOUT = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {list(HEAVY.values())!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""A Python that finds none of them."""

INDOOR = f"{WITHOUT}from indoor.cli import main; raise SystemExit(main())"


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Call `indoor` with the words in a process that finds none of the heavy packages."""
    return subprocess.run(
        [sys.executable, "-c", INDOOR, *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def requirements(lines: list[str]) -> set[str]:
    """Return the requirements of a list, without extras, comments and empty lines."""
    return {re.sub(r"\[.*\]", "", line) for line in lines if line and not line.startswith("#")}


def test_the_light_list_is_the_whole_one_without_torch_and_photographs() -> None:
    """requirements-light.txt asks for what pyproject.toml does, but for four packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    light = requirements((ROOT / "requirements-light.txt").read_text("utf-8").splitlines())
    whole = requirements(project["dependencies"])
    assert light <= whole
    assert {re.split("[<>=]", line)[0] for line in whole - light} == HEAVY.keys()


def test_the_documented_line_is_one() -> None:
    """README and the list itself name the same line."""
    line = "pip install -r requirements-light.txt && pip install --no-deps ."
    for name in ("README.md", "requirements-light.txt"):
        assert line in (ROOT / name).read_text(encoding="utf-8")


def test_report_needs_no_torch(tmp_path: Path) -> None:
    """A published result is shown."""
    done = run(tmp_path, "report", PUBLISHED)
    assert (done.returncode, done.stderr) == (0, "")
    assert "int8 pays" in done.stdout


def test_results_need_no_torch(tmp_path: Path) -> None:
    """Saved results are listed and promoted."""
    saved = tmp_path / "results" / "Linux-CPython-3.11-64bit" / "0001_run.json"
    saved.parent.mkdir(parents=True)
    shutil.copy(PUBLISHED, saved)
    assert run(tmp_path, "results", "promote", "1", "--force").returncode == 0
    (entry,) = json.loads(run(tmp_path, "results", "list", "--json").stdout)
    assert (entry["number"], entry["promoted"]) == ("0001", True)


def test_doctor_needs_no_torch(tmp_path: Path) -> None:
    """What only torch could tell is unknown, with the reason, and no ground for a warning."""
    done = run(tmp_path, "doctor", "--json")
    found = json.loads(done.stdout)
    machine = found["machine"]
    assert (machine["torch"], machine["engines"]) == ("unknown", [])
    assert machine["unreadable"]["torch"] == machine["unreadable"]["engines"]
    assert machine["unreadable"]["torch"] == "torch cannot be imported: No module named 'torch'"
    assert machine["num_cores"] >= 1
    assert [item["level"] for item in found["advice"] if "int8 engines" in item["what"]] == ["note"]
    assert "engines" not in {item["kind"] for item in found["advice"]}
    shown = run(tmp_path, "doctor").stdout
    assert re.search("int8 engines +not readable", shown)


def test_the_gate_needs_no_torch(tmp_path: Path) -> None:
    """A whole gate of a suite that knows nothing of this project."""
    repo = write_repository(tmp_path / "repository")
    done = run(repo, "gate", "--base", "HEAD", "--suite", SUITE, "--out", tmp_path / "gate.json")
    report = read_record(tmp_path / "gate.json", GateReport)
    assert (done.returncode, [cell.name for cell in report.cells]) == (0, [NAP]), done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("demo",),
        ("data", "verify", "data"),
        ("train",),
        ("quantize", "RUN"),
        ("evaluate", "RUN"),
        ("predict", "--run", "RUN", "photo.jpg"),
    ],
    ids=lambda words: " ".join(words),
)
def test_what_needs_torch_says_so_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit 2, with the package that is missing and the remedy; nothing is left behind."""
    done = run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    command = " ".join(words[:2] if words[0] == "data" else words[:1])
    assert re.match(
        rf"indoor: indoor {command} needs (torch|torchvision|PIL|safetensors), which is not "
        "installed here; expected the whole installation.*; run pip install",
        line,
    )
    assert not list(tmp_path.iterdir())


def test_the_suite_needs_torch_and_says_so_in_one_line() -> None:
    """`pytest bench` is a usage error there, and no traceback."""
    suite = f"{WITHOUT}import pytest; raise SystemExit(pytest.main(['bench', '-q']))"
    done = subprocess.run(
        [sys.executable, "-c", suite], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line)
    assert line.startswith("ERROR: pytest bench needs torch, which is not installed here; expected")
