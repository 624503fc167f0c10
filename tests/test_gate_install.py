"""The gate from a plain installation, beside a suite that knows nothing of this project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from gate_trees import NAP, REPOSITORY, SUITE, num_worktrees, write_repository

from indoor.gate.records import GateReport, GateVerdict
from indoor.records import read_record


def test_a_plain_install_gates_any_suite(tmp_path: Path) -> None:
    """`pip install` without -e brings all that a gate on another repository's suite needs."""
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(
        REPOSITORY / "indoor", source / "indoor", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
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
