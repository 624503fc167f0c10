"""Stored baselines of the suite: which is chosen or refused, what saving does to them, the gate."""

import dataclasses
import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gate_trees import wait_until
from report_records import scaled
from suite_process import (
    HEAR_INTERRUPTS,
    LATENCY,
    NARROW,
    ROOT,
    TIMEOUT_S,
    Suite,
    edit,
    environment,
    finish,
    lines_with,
    measurements,
    python_path,
    save_tiny,
)

import bench.saving
from bench import gate_option
from bench.options import Settings
from bench.saving import Saving
from indoor.cli.arguments import parse
from indoor.runs.baseline import Choice, choose_baseline, find_runs
from indoor.runs.comparable import Subject
from indoor.runs.storage import lock_results, write_promoted

FAKE_GATE = """
import json, sys
from pathlib import Path
words = sys.argv[1:]
Path(words[words.index("--out") + 1]).write_text(json.dumps(words))
print("| the gate's own table |")
sys.exit(3)
"""

TELL_SAVING = """
import os
from pathlib import Path

import bench.saving

lock = bench.saving.lock_results


def tell_and_lock(results, **rest):
    (Path(os.environ["SAVING"]) / str(os.getpid())).touch()
    return lock(results, **rest)


bench.saving.lock_results = tell_and_lock
"""
"""A plugin that tells when a run is about to save."""

POLL_S = 0.05
"""How often who waits for a lock looks at it."""


@dataclasses.dataclass
class Storage:
    """pytest-benchmark's storage as far as it is asked here."""

    path: Path

    def query(self, pattern: str = "*") -> list[Path]:
        """Return the files whose names begin so, of one machine's folder."""
        return sorted(self.path.glob(f"*/{pattern.rstrip('*')}*.json"))


def gate_config(*arguments: str) -> Any:
    """Return as much of pytest's config as the gate's command asks for."""
    known = {"no_download": "--no-download" in arguments, "skip_broken": False}
    return SimpleNamespace(
        invocation_params=SimpleNamespace(args=arguments, dir=ROOT),
        getoption=known.get,
        pluginmanager=SimpleNamespace(getplugin=lambda _: None),
    )


def test_the_gate_gets_what_was_given_to_the_suite(tmp_path: Path) -> None:
    """Data and the rest are passed on as absolute paths, defaults are left to the gate."""
    settings: Any = SimpleNamespace(
        gate="origin/main",
        data=tmp_path / "data",
        weights=None,
        arch="resnet18",
        device="cpu",
        home=tmp_path / "home",
    )
    config = gate_config("bench", "--data=data", "--model", "resnet18", "--no-download")
    command = gate_option.gate_command(config, settings, tmp_path / "gate.json")
    assert command[:5] == [sys.executable, "-m", "indoor", "gate", "--base=origin/main"]
    assert command[5:9] == ["--suite", "bench", "--out", str(tmp_path / "gate.json")]
    assert command[9:] == [
        f"--suite-argument=--data={tmp_path / 'data'}",
        "--suite-argument=--model=resnet18",
        "--suite-argument=--no-download",
    ]
    parsed = parse(command[3:])
    assert (parsed.base, parsed.suite) == ("origin/main", "bench")
    assert (parsed.out, parsed.format) == (tmp_path / "gate.json", "table")
    assert parsed.suite_arguments == [word.partition("=")[2] for word in command[9:]]


def test_ctrl_c_reaches_the_gate_which_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The gate is asked once to stop, and its own exit status is returned after it tidied up."""
    marker = tmp_path / "tidied"
    code = (
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n"
        f"    pathlib.Path({str(marker)!r}).touch()\n"
        "    sys.exit(3)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    out = tmp_path / "out"
    interrupts = 0
    wait = subprocess.Popen.wait

    def interrupted_once(process: subprocess.Popen[bytes]) -> int:
        nonlocal interrupts
        interrupts += 1
        if interrupts == 1:
            while "ready" not in out.read_text():
                pass
            raise KeyboardInterrupt
        return wait(process, timeout=30)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted_once)
    with out.open("wb") as printed:
        assert gate_option._wait([sys.executable, "-c", code], printed) == 3
    assert marker.is_file()


def test_a_suite_that_is_told_to_end_ends_its_gate(tmp_path: Path) -> None:
    """SIGTERM, as from `timeout`, is passed on: the gate tidies up, and nothing runs on."""
    gate = (
        "import signal, sys, time\n"
        "try:\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    print('tidied', flush=True)\n"
        "    sys.exit(3)\n"
    )
    suite = (
        "import sys\n"
        "from bench import gate_option\n"
        f"with open({str(tmp_path / 'out')!r}, 'wb') as out:\n"
        f"    sys.exit(gate_option._wait([sys.executable, '-c', {gate!r}], out))\n"
    )
    command = [sys.executable, "-c", HEAR_INTERRUPTS, sys.executable, "-c", suite]
    process = subprocess.Popen(command, cwd=ROOT)
    out = tmp_path / "out"
    wait_until(lambda: out.is_file() and bool(out.read_text()), "the gate starts", 60)
    process.terminate()
    assert process.wait(timeout=30) == 3
    assert out.read_text().split() == ["ready", "tidied"]


def saving_into(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Saving:
    """Return what saves a run of one benchmark there, without judging it."""
    storage = SimpleNamespace(
        path=folder,
        query=lambda: sorted(folder.glob("0*.json")),
        get=lambda name: folder / name,
        logger=logging.getLogger(),
        _next_num="0002",
    )
    one = SimpleNamespace(fullname="test", has_error=False)
    session = SimpleNamespace(storage=storage, benchmarks=[one], save_json=None)
    saving = Saving(cast(Any, SimpleNamespace(_benchmarksession=session)), cast(Settings, None))
    monkeypatch.setattr(saving, "_judge", lambda *_, **__: None)
    return saving


def test_a_run_that_cannot_be_written_leaves_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves no half file that looks like a run, as pytest-benchmark would."""
    saving = saving_into(tmp_path, monkeypatch)
    earlier = tmp_path / "0001_run.json"
    earlier.write_text("{}")

    def fill(_path: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with saving.judged(Choice(runs=(), lines=()), whole=True, failed=False):
        monkeypatch.setattr(Path, "write_bytes", fill)
        saving.storage.save({"benchmarks": []}, "run")
    assert saving.problem is not None
    assert "No space left on device; expected a folder with write permission" in saving.problem
    assert saving.storage.query() == [earlier]
    assert saving.saved() is None


def test_what_fails_after_the_run_is_saved_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another plugin's file that cannot be written is that plugin's trouble."""
    saving = saving_into(tmp_path, monkeypatch)
    whole = tmp_path / "0001_run.json"

    def end() -> None:
        with saving.judged(Choice(runs=(), lines=()), whole=True, failed=False):
            whole.write_text('{"benchmarks": []}')
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/elsewhere/junit.xml")

    with pytest.raises(PermissionError, match="junit"):
        end()
    assert (saving.problem, saving.storage.query()) == (None, [whole])


def test_a_folder_that_cannot_be_locked_any_more_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session goes on to its end, and why nothing was saved is known."""
    saving = saving_into(tmp_path, monkeypatch)
    (tmp_path / ".lock").mkdir()
    with saving.judged(Choice(runs=(), lines=()), whole=True, failed=False):
        assert saving.bench_session.autosave is None
    assert saving.problem is not None
    assert saving.problem.startswith(f"cannot lock {tmp_path}: ")


def test_a_whole_run_of_short_cells_is_narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All cases, each measured less: no baseline by itself, and the file says why."""
    monkeypatch.setattr(bench.saving, "default_names", lambda _: frozenset({"test"}))
    run: dict[str, Any] = {"narrowed": False}
    entry = SimpleNamespace(extra_info={"indoor": {"run": run}})
    settings = cast(Settings, SimpleNamespace(weakened=("--cell-seconds 1",), arch="resnet50"))
    session = SimpleNamespace(autosave=None)
    saving = Saving(cast(Any, SimpleNamespace(_benchmarksession=session)), settings)
    saving._judge({"test": entry}, Choice(runs=(), lines=()), failed=False, num_resumed=3)
    assert run == {
        "narrowed": True,
        "not_a_baseline": "narrowed",
        "weakened": ("--cell-seconds 1",),
        "num_resumed": 3,
    }


def test_a_gate_that_a_signal_ended_is_no_pass(tmp_path: Path) -> None:
    """Killed for memory is told as a shell would."""
    code = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    with (tmp_path / "out").open("wb") as printed:
        assert gate_option._wait([sys.executable, "-c", code], printed) == 128 + signal.SIGKILL


@dataclasses.dataclass(frozen=True)
class Two:
    """A storage into which two processes saved at once, what they printed, and what was seen.

    `early` are the files of the storage while somebody else held its lock.
    """

    suite: Suite
    printed: list[str]
    early: list[Path]


@pytest.fixture(scope="module")
def two(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Two:
    """Two runs that both wait for the lock before they save, and get it at the same moment."""
    folder = tmp_path_factory.mktemp("two")
    weights = folder / "tiny.safetensors"
    save_tiny(weights, photographs)
    suite = Suite(photographs, weights, folder / "home", folder / "results")
    prepared = suite.run("--benchmark-disable", *NARROW, target=LATENCY)
    assert prepared.returncode == 0, prepared.stdout
    (folder / "tell_saving.py").write_text(TELL_SAVING)
    saving = folder / "saving"
    saving.mkdir()
    known = environment() | {"PYTHONPATH": python_path(folder), "SAVING": str(saving)}
    plugin = ("-p", "tell_saving")
    with lock_results(suite.results):
        processes = [
            subprocess.Popen(
                suite.command(
                    *plugin, *NARROW, "--fresh", f"--cell-seconds={seconds}", target=LATENCY
                ),
                cwd=ROOT,
                env=known,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for seconds in (0.08, 0.09)  # finished cells of their own
        ]
        deadline = time.monotonic() + TIMEOUT_S
        while len(list(saving.iterdir())) < 2 and time.monotonic() < deadline:
            if any(process.poll() is not None for process in processes):
                break  # what it printed says why
            time.sleep(POLL_S)
        time.sleep(10 * POLL_S)
        early = suite.saved()
    printed = [process.communicate(timeout=TIMEOUT_S)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    assert len(list(saving.iterdir())) == 2, printed
    return Two(suite, printed, early)


@pytest.fixture
def suite(two: Two, tmp_path: Path) -> Suite:
    """The suite with a storage of its own that holds one whole run, 0001."""
    results = tmp_path / "results"
    shutil.copytree(two.suite.results, results)
    first, second = sorted(results.glob("*/*.json"))
    second.unlink()

    def whole(entry: dict[str, Any]) -> None:
        entry["extra_info"]["indoor"]["run"].update(narrowed=False, not_a_baseline=None)

    edit(first, whole)
    return dataclasses.replace(two.suite, results=results)


def test_a_run_waits_to_save_while_another_does(two: Two) -> None:
    """Nothing appears as long as the lock is held; afterwards it does."""
    assert two.early == []
    assert two.suite.saved() != []


def test_a_run_that_waits_to_save_says_for_whom(two: Two) -> None:
    """Both are told at once which process holds the lock, and that the wait has an end."""
    for text in two.printed:
        (line,) = lines_with(text, "waiting up to 120 s for another process that saves")
        assert f"(process {os.getpid()}) to end" in line


def test_options_that_measure_less_are_recorded(two: Two) -> None:
    """Each file says by which option its cells were measured less than by default."""
    found = [{m.run.weakened for m in measurements(path).values()} for path in two.suite.saved()]
    assert sorted(map(list, found)) == [
        [("--cell-seconds 0.08",)],
        [("--cell-seconds 0.09",)],
    ]


def test_two_runs_that_save_at_once_lose_neither(two: Two) -> None:
    """Each has a number, a file and a picture of its own, and says which."""
    files = two.suite.saved()
    assert [path.name[:5] for path in files] == ["0001_", "0002_"]
    assert all(len(measurements(path)) == 2 for path in files)
    assert all(path.with_suffix(".png").is_file() for path in files)
    told = {line.split()[-1] for text in two.printed for line in lines_with(text, "saved: ")}
    assert told == {str(path) for path in files}


@pytest.mark.slow
def test_a_run_that_fails_its_comparison_leaves_the_baseline_as_it_was(suite: Suite) -> None:
    """Neither the file nor the mark nor the choice changes; the run itself is saved as slower."""
    (baseline,) = suite.saved()
    edit(baseline, lambda entry: scaled(entry, 1e-6))
    write_promoted(baseline.parent, [baseline.name])
    kept = {path: path.read_bytes() for path in (baseline, baseline.parent / ".promoted")}
    done = suite.run(
        *("--benchmark-compare", "--benchmark-compare-fail=median:10%", *NARROW), target=LATENCY
    )
    assert done.returncode == 1, done.stdout
    assert lines_with(done.stdout, f"comparing with {baseline.stem} (promoted)")
    assert {path: path.read_bytes() for path in kept} == kept
    slower = suite.saved()[1]
    known = next(iter(measurements(slower).values())).run
    assert known.not_a_baseline == "regressed"
    (baseline.parent / ".promoted").unlink()
    choice = choose_baseline(
        find_runs(Storage(suite.results), True), True, Subject(run=known, allocator="default")
    )
    assert [run.path.name for run in choice.runs] == [baseline.name]


@pytest.mark.slow
def test_another_machines_run_is_refused_before_anything_is_prepared(suite: Suite) -> None:
    """Named by its file it ends the command with exit 4, the field in one line, nothing saved."""
    (baseline,) = suite.saved()
    machine = {"cpu_model": "Elbrus-8S", "num_cores": 999}
    edit(baseline, lambda entry: entry["extra_info"]["indoor"]["run"]["machine"].update(machine))
    done = suite.run(f"--benchmark-compare={baseline}", *NARROW, target=LATENCY)
    assert done.returncode == 4, done.stdout
    (error,) = lines_with(done.stdout, "ERROR: ")
    assert "cpu_model Elbrus-8S there" in error
    assert "num_cores 999 there" in error
    assert "prepared" not in done.stdout
    assert suite.saved() == [baseline]


@pytest.mark.slow
def test_ratios_of_another_machine_are_printed_where_allowed(suite: Suite) -> None:
    """With --allow-other-machine the run ends well, with both speedups and no compared times."""
    (baseline,) = suite.saved()
    edit(
        baseline,
        lambda entry: entry["extra_info"]["indoor"]["run"]["machine"].update(cpu_model="Elbrus-8S"),
    )
    arguments = (f"--benchmark-compare={baseline}", "--allow-other-machine", *NARROW)
    done = suite.run(*arguments, target=LATENCY)
    assert done.returncode == 0, done.stdout
    assert lines_with(done.stdout, f"Speedups beside {baseline.name}")
    assert lines_with(done.stdout, "comparing only the speedups with 0001_")
    assert "REGRESSION" not in done.stdout
    assert not lines_with(done.stdout, "Against 0001")


@pytest.mark.slow
def test_the_gates_verdict_is_the_suites(suite: Suite, tmp_path: Path) -> None:
    """After the suite the gate's table is printed and its exit status is pytest's."""
    fake = tmp_path / "fake.py"
    fake.write_text(FAKE_GATE)
    plugin = f"import sys, bench.gate_option as g\ng.COMMAND = (sys.executable, {str(fake)!r})\n"
    (tmp_path / "fake_gate.py").write_text(plugin)
    command = suite.command("-p", "fake_gate", "--gate", "HEAD~1", *NARROW, target=LATENCY)
    done = finish(["env", f"PYTHONPATH={python_path(tmp_path)}", *command], ROOT)
    assert done.returncode == 3, done.stdout
    after = done.stdout.partition("the gate: HEAD~1 against the working tree")[2]
    assert "| the gate's own table |" in after
    assert "the gate's exit status is 3; every pair is in" in after
    (record,) = suite.results.glob("gates/gate_*.json")
    assert f"--suite-argument=--data={suite.photographs}" in json.loads(record.read_text())
    assert record.stem == f"gate_{suite.saved()[-1].stem}"


@pytest.mark.parametrize(
    ("arguments", "target", "message"),
    [
        (("--allow-other-machine",), "bench", "--allow-other-machine: no run was named"),
        (("--gate", "HEAD", "indoor"), "bench", "--gate HEAD: expected `pytest bench"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    suite: Suite, arguments: tuple[str, ...], target: str, message: str
) -> None:
    """One line and exit 4, before torch is imported."""
    done = suite.run(*arguments, target=target)
    assert done.returncode == 4, done.stdout
    (error,) = lines_with(done.stdout, "ERROR: ")
    assert error.startswith(f"ERROR: {message}")
