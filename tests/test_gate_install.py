"""The gate from a plain installation, beside a suite that knows nothing of this project."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from gate_trees import NAP, REPOSITORY, SUITE, num_worktrees, write_repository

from indoor.gate.records import GateReport, GateVerdict
from indoor.records import read_record

LIGHT = "pip install -r requirements-light.txt && pip install --no-deps ."
"""As README.md documents it (tests/test_cli_light.py looks)."""

PUBLISHED = "results/published/scene15-resnet50-epyc-avx512-vnni.json.gz"


def copy_of_the_project(folder: Path) -> Path:
    """Copy what an installation reads, so that none is built within the repository."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "indoor", folder / "indoor", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements-light.txt", PUBLISHED):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def test_a_plain_install_gates_any_suite(tmp_path: Path) -> None:
    """`pip install` without -e brings all that a gate on another repository's suite needs."""
    source, site = copy_of_the_project(tmp_path / "source"), tmp_path / "site"
    pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-index"]
    subprocess.run(
        [sys.executable, *pip, "--no-deps", "--no-build-isolation", "--target", site, source],
        check=True,
    )
    repo = write_repository(tmp_path / "repository")
    out = tmp_path / "gate.json"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"PYTHONPATH": str(site), "TMPDIR": str(temporary)}
    asked = "import indoor.gate; print(indoor.gate.__file__)"
    told = subprocess.run(
        [sys.executable, "-c", asked], cwd=repo, env=environment, capture_output=True, check=True
    )
    assert Path(told.stdout.decode().strip()).is_relative_to(site)
    done = subprocess.run(
        [sys.executable, "-m", "indoor", "gate", "--base", "HEAD", "--suite", SUITE, "--out", out],
        cwd=repo,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    report = read_record(out, GateReport)
    assert (done.returncode, report.verdict) == (0, GateVerdict.PASS), done.stderr
    assert [cell.name for cell in report.cells] == [NAP]
    assert num_worktrees(repo) == 1


def test_the_light_installation_gates_reports_and_diagnoses(tmp_path: Path) -> None:
    """A fresh environment made by the documented line has no torch, and four commands work."""
    source = copy_of_the_project(tmp_path / "source")
    venv.create(tmp_path / "environment", with_pip=True, symlinks=True)
    (tmp_path / "temporary").mkdir()
    dropped = ("PYTHON", "COV_", "COVERAGE", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)} | {
        "PATH": f"{tmp_path / 'environment' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(tmp_path / "temporary"),
    }

    def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, words)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    made = run(source, "sh", "-c", LIGHT)
    if any(words in made.stderr for words in ("Failed to establish", "NewConnectionError")):
        pytest.skip("no package index can be reached")
    assert made.returncode == 0, made.stderr
    assert run(source, "python", "-c", "import torch").returncode != 0

    repo = write_repository(tmp_path / "repository")
    gated = run(repo, "indoor", "gate", "--base", "HEAD", "--suite", SUITE, "--json")
    assert (gated.returncode, json.loads(gated.stdout)["verdict"]) == (0, "PASS"), gated.stderr
    assert "int8 pays" in run(repo, "indoor", "report", source / PUBLISHED).stdout
    saved = tmp_path / "results" / "Linux-CPython-3.11-64bit" / "0001_run.json"
    saved.parent.mkdir(parents=True)
    shutil.copy(source / PUBLISHED, saved)
    assert "0001" in run(tmp_path, "indoor", "results", "list").stdout
    diagnosed = run(repo, "indoor", "doctor", "--json")
    assert diagnosed.returncode in (0, 1), diagnosed.stderr
    assert json.loads(diagnosed.stdout)["machine"]["torch"] == "unknown"
    refused = run(repo, "indoor", "train")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "which is not installed here" in refused.stderr
