"""Small trees of ordinary functions, and how tests run gates on them."""

import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from indoor.gate.controller import run_gate
from indoor.gate.records import CellReport, GateReport
from indoor.gate.settings import GateConfig, PlanRules
from indoor.gate.sides.setup import GateJob, Sides
from indoor.gate.worker import LaunchRules
from indoor.locks import LOCKS_FOLDER
from indoor.machine import unredirected_environment

REPOSITORY = Path(__file__).resolve().parent.parent
SUITE = "suite"
NAP = "suite/test_naps.py::test_nap"

PLAN = PlanRules(
    margin=0.5,
    tolerance=0.9,
    looks=(2, 3),
    num_confirming=2,
    alpha_fail=0.4,
    alpha_pass=0.4,
    launch_s=0.05,
    min_pairs=5,
    max_pairs=5,
    max_minutes=1.0,
)
"""Decides within two or three launches of five pairs, and asks for factors that no noise makes."""

ONE_LAUNCH = 1e-4
"""The minutes of a gate whose time is up after its first launch."""

LEAN = ("-p", "no:cov", "-p", "no:hypothesispytest", "-p", "no:xdist", "-p", "no:timeout")
"""Without the plugins that these suites do not use, a worker starts sooner."""

NAP_S = 0.002
LONG_NAP_S = 0.012

GATE_TOML = f"""
arguments = [{", ".join(f'"{word}"' for word in LEAN)}]

[plan]
margin = {PLAN.margin}
tolerance = {PLAN.tolerance}
looks = {list(PLAN.looks)}
num_confirming = {PLAN.num_confirming}
alpha_fail = {PLAN.alpha_fail}
alpha_pass = {PLAN.alpha_pass}
launch_s = {PLAN.launch_s}
min_pairs = {PLAN.min_pairs}
max_pairs = {PLAN.max_pairs}
max_minutes = {PLAN.max_minutes}
"""
"""The same rules as `config` has, for the command line."""

NAPS = """
import time

SECONDS = {seconds}


def nap():
    time.sleep(SECONDS)
    return SECONDS
"""

TEST_NAPS = """
import naps


def test_nap(benchmark):
    assert benchmark.pedantic(naps.nap, iterations=3) == naps.SECONDS
"""

TRAP = """
import os
import signal
import subprocess
import time
from pathlib import Path

SECONDS = {seconds}
HERE = Path(__file__).parent
calls = 0


def nap():
    global calls
    calls += 1
    if calls == 1:
        with (HERE / "starts").open("a") as file:
            file.write("x")
    if calls == 30 and (HERE / "starts").stat().st_size == {launch}:
        (HERE / "trapped").touch()
        {trap}
    time.sleep(SECONDS)
    return SECONDS
"""
"""Naps until the process that is the `launch`th to nap falls into the trap, amid its pairs."""

HANG = "time.sleep(600)"
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def naps(seconds: float = NAP_S) -> str:
    """Return a module whose `nap` sleeps for so long, which other load hardly prolongs."""
    return NAPS.format(seconds=seconds)


def trap(what: str, *, launch: int) -> str:
    """Return the same module with a trap: a line of code that runs once, amid that launch."""
    return TRAP.format(seconds=NAP_S, trap=what, launch=launch)


def write_tree(root: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write a tree with one cell, `NAP`, and more files, or others in place of its own."""
    # Without a configuration of its own, pytest would look for one in the folders above.
    every = {"pytest.ini": "[pytest]\n", "naps.py": naps(), "suite/test_naps.py": TEST_NAPS}
    for name, text in {**every, **(files or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return root


def write_repository(root: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write a tree with the quick rules in its `gate.toml`, and commit it."""
    ignored = "__pycache__/\n/starts\n/trapped\n"
    write_tree(root, {"suite/gate.toml": GATE_TOML, ".gitignore": ignored, **(files or {})})
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "base")
    return root


def environment_with(folder: Path, files: Mapping[str, str]) -> Path:
    """Make a virtual environment with those files before this one's packages; return its Python."""
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    (packages / "present.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    for name, text in files.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text)
    return folder / "bin" / "python"


def git(repo: Path, *words: str) -> str:
    """Run git in a test's repository and return what it says."""
    user = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(
        ["git", "-C", str(repo), *user, *words],
        check=True,
        capture_output=True,
        text=True,
        env=unredirected_environment(),
    ).stdout.strip()


def num_worktrees(repo: Path) -> int:
    """Return how many trees of the repository git knows, the working tree among them."""
    return git(repo, "worktree", "list", "--porcelain").count("worktree ")


def config(**changes: Any) -> GateConfig:
    """Return the quick rules, with changes to the plan where that has such a field."""
    in_plan = {key: value for key, value in changes.items() if hasattr(PLAN, key)}
    others = {key: value for key, value in changes.items() if key not in in_plan}
    return GateConfig(
        plan=replace(PLAN, **in_plan), **{"suite": SUITE, "arguments": LEAN, **others}
    )


def gate(base: Path, head: Path, *, seed: int = 0, **rules: Any) -> GateReport:
    """Run a gate in this process on two trees that lie ready."""
    job = GateJob(start=base, base_root=base, head_root=head, config=config(**rules), seed=seed)
    return run_gate(job)


def cell(report: GateReport, name: str) -> CellReport:
    """Return what the report says of the cell whose test has that name."""
    return next(one for one in report.cells if one.name.endswith(f"::{name}"))


@contextmanager
def running(repo: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `python -m indoor gate` on the suite until the block ends."""
    environment = unredirected_environment() | {"PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "indoor", "gate", "--suite", SUITE, *words],
        cwd=repo,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def own_temporary_files(folder: Path) -> Iterator[Path]:
    """Keep the gates' locks, worktrees and logs in that folder, apart from other gates'."""
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setenv("TMPDIR", str(folder))
        patch.setenv(LOCKS_FOLDER, str(folder))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


@contextmanager
def leaving_nothing(folder: Path) -> Iterator[Path]:
    """Keep the gates' files there, and see at the end that no tree, log or process is left."""
    with own_temporary_files(folder):
        yield folder
        assert left_behind(folder) == []
        assert workers(folder) == []


def launch_rules(sides: Sides, plan: PlanRules = PLAN) -> LaunchRules:
    """Return the rules of a launch on two trees."""
    return LaunchRules(
        plan=plan,
        start_s=60.0,
        hang_s=20.0,
        logs=sides.scratch,
        check_imports=sides.check_imports,
    )


def left_behind(folder: Path) -> list[str]:
    """Return the worktrees and logs that gates left among their temporary files."""
    return [path.name for path in folder.glob("indoor-gate-*") if path.is_dir()]


def workers(folder: Path) -> list[int]:
    """Return the living workers, and their children, of gates with those temporary files."""
    found = []
    for process in psutil.process_iter():
        try:
            variables = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if "INDOOR_LINK" in variables and variables.get("TMPDIR") == str(folder):
            found.append(process.pid)
    return found


def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Look again and again until it is so.

    Raises:
        AssertionError: It is not, for all that time.
    """
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.02)
