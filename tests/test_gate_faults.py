"""What a gate makes of workers that die, trees that are broken, full disks, and of its own end."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from gate_trees import (
    GATE_TOML,
    HANG,
    KILL,
    NAP,
    ONE_LAUNCH,
    SUITE,
    cell,
    config,
    gate,
    git,
    left_behind,
    num_worktrees,
    own_temporary_files,
    running,
    trap,
    wait_until,
    workers,
    write_repository,
    write_tree,
)

from indoor.cli import main
from indoor.errors import IndoorError
from indoor.gate.controller import run_gate
from indoor.gate.decide.verdicts import exit_status
from indoor.gate.records import GateReport, GateVerdict
from indoor.gate.sides.setup import GateJob
from indoor.records import read_record

BROKEN = "raise ImportError('naps needs a newer Python')\n"

FILL = """with open(os.environ["FULL"], "wb") as file:
            while file.write(bytes(4096)):
                file.flush()"""
"""Writes to a file until the disk is full, and fails then."""

SLOW_FACTS = """
import os
import subprocess
import time
from pathlib import Path


def pytest_runtestloop(session):
    child = subprocess.Popen(["sleep", "600"])
    told = Path(os.environ["PREPARING"])
    told.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
    told.with_suffix(".new").replace(told)
    time.sleep(600)
"""
"""A facts plugin that tells its process and its child's, and never comes to an end."""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path) -> Iterator[Path]:
    """The folder of a test's temporary files; no gate may leave a tree, a log or a process."""
    with own_temporary_files(tmp_path / "temporary") as folder:
        yield folder
        wait_until(lambda: not workers(folder), "all workers end")
        assert left_behind(folder) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs a right that this user does not have")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def measured_launches(report: GateReport) -> list[int]:
    """Return which launches the report has pairs of."""
    (trace,) = (trace for trace in report.traces if trace.name == NAP)
    return [one.launch for one in trace.launches if one.seconds["head"]]


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process runs; one that its parent has not asked after does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run_with_trap(tmp_path: Path, what: str, **rules: float) -> GateReport:
    """Run a gate on a head that falls into a trap in its second launch; keep it as gate.json."""
    base = write_tree(tmp_path / "base")
    head = write_tree(tmp_path / "head", {"naps.py": trap(what, launch=2)})
    job = GateJob(
        start=base,
        base_root=base,
        head_root=head,
        config=config(**rules),
        out=tmp_path / "gate.json",
    )
    report = run_gate(job)
    assert (head / "trapped").exists()
    return report


def assert_partial(report: GateReport) -> None:
    """Assert that the run ended amid its second launch, kept the first, and is never green."""
    assert (report.verdict, report.partial) == (GateVerdict.INCONCLUSIVE, True)
    assert exit_status(report) == exit_status(report, allow_inconclusive=True) == 3
    assert measured_launches(report) == [1]
    assert cell(report, "test_nap").verdict is GateVerdict.INCONCLUSIVE
    assert "\n" not in report.reason


def test_a_worker_that_is_killed_leaves_a_partial_run(tmp_path: Path) -> None:
    """SIGKILL amid a pair, as the kernel does when memory is short, is named; exit 3."""
    report = run_with_trap(tmp_path, KILL)
    assert_partial(report)
    assert "a worker was lost: head: died by SIGKILL" in report.reason
    assert read_record(tmp_path / "gate.json", GateReport) == report


def test_a_worker_that_hangs_is_ended_with_its_children(tmp_path: Path, temporary: Path) -> None:
    """After hang_s that launch has no pairs; neither the worker nor its child process stays."""
    child = "subprocess.Popen(['sleep', '600'])"
    report = run_with_trap(tmp_path, f"{child}; {HANG}", hang_s=2.0)
    assert f"{NAP} failed on head: no answer for 2 s (it hangs)" in report.notes
    assert (report.partial, measured_launches(report)) == (False, [1, 3])
    assert workers(temporary) == []


def test_a_killed_gate_is_cleared_away_by_the_next(tmp_path: Path, temporary: Path) -> None:
    """Its workers die with it, and the next gate removes its worktree and says so.

    Its file holds what was measured, and says that it is not the end.
    """
    repo = write_repository(tmp_path / "repository")
    (repo / "naps.py").write_text(trap(HANG, launch=2))
    out = tmp_path / "gate.json"
    with running(repo, "--base", "HEAD", "--out", str(out)) as process:
        wait_until((repo / "trapped").exists, "the worker hangs")
        assert len(workers(temporary)) == 3
        process.kill()
        process.wait()
    wait_until(lambda: not workers(temporary), "the workers die")
    kept = read_record(out, GateReport)
    assert_partial(kept)
    assert kept.reason == "not finished: it still runs, or it was killed"
    assert num_worktrees(repo) == 2
    git(repo, "checkout", "naps.py")
    job = GateJob(start=repo, base="HEAD", config=config(max_minutes=ONE_LAUNCH))
    report = run_gate(job)
    assert any("left by a gate that died" in note for note in report.notes)
    assert num_worktrees(repo) == 1
    assert measured_launches(report) == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_gate_keeps_what_it_measured(
    tmp_path: Path, temporary: Path, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM amid a launch: exit 3, a partial report, no worktree, no worker."""
    repo = write_repository(tmp_path / "repository")
    (repo / "naps.py").write_text(trap(HANG, launch=2))
    out = tmp_path / "gate.json"
    with running(repo, "--base", "HEAD", "--out", str(out)) as process:
        wait_until((repo / "trapped").exists, "the worker hangs")
        process.send_signal(number)
        printed, told = process.communicate(timeout=20)
    assert process.returncode == 3
    report = read_record(out, GateReport)
    assert_partial(report)
    assert report.reason.startswith("interrupted (")
    assert "INCONCLUSIVE" in printed
    assert "Traceback" not in told
    assert workers(temporary) == []
    assert num_worktrees(repo) == 1


def never_prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Write a repository whose facts are never collected; return it and the file that tells who."""
    told = folder / "preparing"
    monkeypatch.setenv("PREPARING", str(told))
    settings = f'facts = "suite/facts.py"\n{GATE_TOML}'
    files = {"suite/facts.py": SLOW_FACTS, "suite/gate.toml": settings}
    return write_repository(folder / "repository", files), told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_gate_that_is_interrupted_while_it_prepares_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The process that collects facts, its child and the worktree are gone; exit 3, partial."""
    repo, told = never_prepared(tmp_path, monkeypatch)
    out = tmp_path / "gate.json"
    with running(repo, "--base", "HEAD", "--out", str(out)) as process:
        wait_until(told.exists, "base is prepared", 60)
        preparing = [psutil.Process(int(pid)) for pid in told.read_text().split()]
        assert num_worktrees(repo) == 2
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    wait_until(lambda: not any(map(is_alive, preparing)), "what prepared base ends")
    assert num_worktrees(repo) == 1
    report = read_record(out, GateReport)
    assert (report.verdict, report.partial) == (GateVerdict.INCONCLUSIVE, True)
    assert report.reason == f"interrupted ({'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'})"
    assert cell(report, "test_nap").reason == "not measured"
    assert "Traceback" not in said


def test_what_prepares_ends_with_a_gate_that_is_killed(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would train on beside the next gate's timings; Linux ends it with its parent."""
    repo, told = never_prepared(tmp_path, monkeypatch)
    with running(repo, "--base", "HEAD") as process:
        wait_until(told.exists, "base is prepared", 60)
        facts, child = (psutil.Process(int(pid)) for pid in told.read_text().split())
        process.kill()
        process.communicate(timeout=60)
    wait_until(lambda: not is_alive(facts), "what prepared base ends")
    child.kill()  # its own child is not tied to the gate
    for name in left_behind(temporary):  # as the next gate would
        shutil.rmtree(temporary / name)


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM], ids=["processes", "memory"])
@pytest.mark.parametrize(("start", "launches"), [(2, []), (6, [1])], ids=["collect", "launch 2"])
def test_a_machine_that_cannot_start_a_worker_is_no_pass(
    tmp_path: Path,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    start: int,
    launches: list[int],
) -> None:
    """It is nobody's fault: partial, exit 3, and the launch's other worker and its pipes are gone.

    Both sides' collection and the first launch start two workers each, the second launch three.
    """
    num_started = 0

    def start_worker(*words: Any, **options: Any) -> subprocess.Popen[bytes]:
        nonlocal num_started
        num_started += 1
        if num_started == start:
            raise OSError(code, os.strerror(code))
        return subprocess.Popen(*words, **options)

    scarce = SimpleNamespace(**{**vars(subprocess), "Popen": start_worker})
    monkeypatch.setattr("indoor.measure.process.subprocess", scarce)
    tree = write_tree(tmp_path / "tree")
    out = tmp_path / "gate.json"
    before = psutil.Process().num_fds()
    report = run_gate(GateJob(start=tree, base_root=tree, config=config(), out=out))
    assert num_started == start
    assert (report.verdict, report.partial) == (GateVerdict.INCONCLUSIVE, True)
    assert exit_status(report) == exit_status(report, allow_inconclusive=True) == 3
    assert report.reason == f"this machine cannot go on: [Errno {code}] {os.strerror(code)}"
    assert sorted({one.launch for trace in report.traces for one in trace.launches}) == launches
    assert read_record(out, GateReport) == report
    assert workers(temporary) == []
    assert psutil.Process().num_fds() == before


def test_a_base_that_does_not_import_is_no_verdict_on_head(tmp_path: Path) -> None:
    """There is nothing to compare with: INCONCLUSIVE, exit 3, and the error is named."""
    base = write_tree(tmp_path / "base", {"naps.py": BROKEN})
    report = gate(base, write_tree(tmp_path / "head"))
    assert (report.verdict, exit_status(report)) == (GateVerdict.INCONCLUSIVE, 3)
    assert "base's suite cannot be collected" in report.reason
    assert "naps needs a newer Python" in report.reason
    assert report.cells == ()


def test_a_head_that_does_not_import_fails(tmp_path: Path) -> None:
    """Head broke what base could do, which needs no clock: FAIL, exit 1, the error is named."""
    head = write_tree(tmp_path / "head", {"naps.py": BROKEN})
    report = gate(write_tree(tmp_path / "base"), head)
    assert (report.verdict, exit_status(report)) == (GateVerdict.FAIL, 1)
    (check,) = report.checks
    assert (check.name, check.verdict) == ("collection", GateVerdict.FAIL)
    assert "naps needs a newer Python" in check.reason


def test_a_head_that_is_killed_while_it_imports_is_no_fail(tmp_path: Path) -> None:
    """A lack of memory is not head's doing: INCONCLUSIVE, exit 3."""
    killed = f"import os\nimport signal\n\n{KILL}\n"
    head = write_tree(tmp_path / "head", {"naps.py": killed})
    report = gate(write_tree(tmp_path / "base"), head)
    assert (report.verdict, exit_status(report)) == (GateVerdict.INCONCLUSIVE, 3)
    assert "a worker was lost: head: died by SIGKILL" in report.reason
    assert report.checks == ()


def test_two_sides_that_do_not_import_are_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No verdict is possible on a suite that never ran: exit 2 and one line."""
    repo = write_repository(tmp_path / "repository", {"naps.py": BROKEN})
    monkeypatch.chdir(repo)
    assert main(["gate", "--suite", SUITE, "--base", "HEAD"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "neither side's suite suite can be collected" in line
    assert "naps needs a newer Python" in line


@pytest.mark.parametrize(
    "files",
    [
        {"pytest.ini": "[pytest]\naddopts = -k matches_nothing\n"},
        {"pytest.ini": "[pytest]\npython_files = bench_*.py\n"},
        {f"{SUITE}/test_naps.py": "def test_nothing():\n    pass\n"},
    ],
    ids=["deselected", "other-names", "no-fixture"],
)
def test_a_suite_without_benchmarks_is_a_mistake_and_no_verdict(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
) -> None:
    """A gate that measured nothing is neither red nor green: exit 2, and how to look for why."""
    repo = write_repository(tmp_path / "repository", files)
    monkeypatch.chdir(repo)
    assert main(["gate", "--suite", SUITE, "--base", "HEAD"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no test of base's suite {SUITE} uses benchmark" in line
    assert f"`pytest {SUITE} --collect-only -q`" in line


def test_a_base_without_the_cell_leaves_it_unjudged(tmp_path: Path) -> None:
    """What base never had is listed as new; the other cells decide."""
    new = "def test_new(benchmark):\n    benchmark(len, 'x')\n"
    base = write_tree(tmp_path / "base")
    report = gate(base, write_tree(tmp_path / "head", {"suite/test_new.py": new}))
    assert report.verdict is GateVerdict.PASS
    assert report.new == ("suite/test_new.py::test_new",)
    assert [one.name for one in report.cells] == [NAP]


def test_a_report_that_cannot_be_written_is_no_pass(tmp_path: Path) -> None:
    """From a limit on the size of files on, the run is over: exit 3, and the reason names it."""
    tree = write_tree(tmp_path / "tree")
    out = tmp_path / "gate.json"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(line: str) -> None:
        if line.startswith("launch 1"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))

    job = GateJob(start=tree, base_root=tree, config=config(), out=out, say=limit)
    try:
        report = run_gate(job)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (report.verdict, report.partial) == (GateVerdict.INCONCLUSIVE, True)
    assert exit_status(report) == 3
    assert "gate.json" in report.reason
    assert "File too large" in report.reason
    assert "\n" not in report.reason
    # What stands there is whole, and says of itself that it is not the end.
    kept = read_record(out, GateReport)
    assert (kept.verdict, kept.partial) == (GateVerdict.INCONCLUSIVE, True)
    assert measured_launches(kept) == [1]


def test_a_disk_that_fills_up_is_no_pass(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be written during the second launch: exit 3, never green, and nobody's fault."""
    monkeypatch.setenv("FULL", str(small_disk / "fill"))
    base = write_tree(tmp_path / "base")
    head = write_tree(tmp_path / "head", {"naps.py": trap(FILL, launch=2)})
    out = small_disk / "gate.json"
    with own_temporary_files(small_disk):
        job = GateJob(start=base, base_root=base, head_root=head, config=config(), out=out)
        report = run_gate(job)
        assert left_behind(small_disk) == []
    assert (head / "trapped").exists()
    assert (report.verdict, report.partial) == (GateVerdict.INCONCLUSIVE, True)
    assert exit_status(report) == 3
    assert "a worker was lost: head: ended with exit status" in report.reason
    assert "no space is left" in report.reason
    assert "\n" not in report.reason
    assert measured_launches(report) == [1]


@pytest.mark.parametrize("num_pages", [0, 2, 8], ids=["lock", "worktree", "plugin"])
def test_a_disk_without_room_to_begin_with_is_told(
    tmp_path: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    num_pages: int,
) -> None:
    """Whatever is the first that does not fit, one line says so, and no worktree is left."""
    repo = write_repository(tmp_path / "repository")
    monkeypatch.chdir(repo)
    page = resource.getpagesize()
    (small_disk / "fill").write_bytes(bytes((1 << 20) - num_pages * page))
    with own_temporary_files(small_disk):
        status = main(["gate", "--suite", SUITE, "--base", "HEAD"])
        assert left_behind(small_disk) == []
    told = capsys.readouterr()
    if num_pages == 2:  # git, which keeps the reason to itself
        assert status == 2
        (line,) = told.err.splitlines()
        assert "git cannot check 'HEAD' out" in line
        assert "free space there" in line
    else:
        assert status == 3
        assert "INCONCLUSIVE (partial)" in told.out
        assert "this machine cannot go on: [Errno 28] No space left on device" in told.out
    assert num_worktrees(repo) == 1


def test_two_gates_at_once_take_turns(tmp_path: Path) -> None:
    """The second says that it waits, since they would time each other; both end well."""
    tree = write_tree(tmp_path / "tree")
    repo = write_repository(tmp_path / "repository")
    out = tmp_path / "first.json"
    said: list[str] = []
    with running(repo, "--base", "HEAD", "--out", str(out)) as first:
        assert first.stderr is not None
        assert "cells: 1" in first.stderr.readline()
        rules = config(max_minutes=ONE_LAUNCH)
        job = GateJob(start=tree, base_root=tree, config=rules, say=said.append)
        second = run_gate(job)
        first.communicate(timeout=20)
    assert said[0].startswith("waiting up to 3600 s for another gate")
    assert f"process {first.pid}" in said[0]
    assert first.returncode == 0
    assert (measured_launches(second), second.partial) == ([1], False)
    assert json.loads(out.read_bytes())["verdict"] == "PASS"


def test_modules_of_the_other_tree_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A conftest that puts head's tree first would compare head with itself: exit 2, both paths."""
    root = tmp_path / "repository"
    line = f"import sys\n\nsys.path.insert(0, {str(root)!r})\n"
    repo = write_repository(root, {"suite/conftest.py": line})
    monkeypatch.chdir(repo)
    assert main(["gate", "--suite", SUITE, "--base", "HEAD"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert f"HEAD imported naps from {repo / 'naps.py'}" in told
    assert "expected it from" in told
    assert "indoor-gate-" in told.partition("expected it from")[2]
    assert num_worktrees(repo) == 1


def test_one_python_without_pytest_is_a_mistake(tmp_path: Path) -> None:
    """It is no regression of head's suite; the option is named."""
    tree = write_tree(tmp_path / "tree")
    job = GateJob(start=tree, head_python=Path("/bin/false"), config=config())
    with pytest.raises(IndoorError, match="--head-python /bin/false: it cannot run a suite"):
        run_gate(job)


def test_settings_above_a_tree_do_not_rename_its_cells(tmp_path: Path) -> None:
    """Settings are looked for in every folder above; base's worktree lies elsewhere."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    base = write_tree(tmp_path / "elsewhere" / "base")
    head = write_tree(tmp_path / "outer" / "head")
    (head / "pytest.ini").unlink()
    report = gate(base, head)
    assert report.verdict is GateVerdict.PASS, report.reason
    assert report.vanished == ()


def test_a_python_without_pytest_is_no_verdict(tmp_path: Path) -> None:
    """An interpreter that cannot run the suite on either side is a mistake, in one line."""
    tree = write_tree(tmp_path / "tree")
    python = Path("/bin/true")
    job = GateJob(start=tree, base_python=python, head_python=python, config=config())
    with pytest.raises(IndoorError, match="ended with exit status 0") as caught:
        run_gate(job)
    assert "\n" not in str(caught.value)
