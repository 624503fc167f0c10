"""Saved runs looked after: `indoor results list`, `promote` and `prune`."""

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_records import AMX, ZEN3, full_json, identity

from indoor.cli import main
from indoor.errors import IndoorError
from indoor.locks import take_lock
from indoor.runs.comparable import comparable_machines
from indoor.runs.pruning import old_partial_runs
from indoor.runs.saved import read_run
from indoor.runs.storage import (
    gate_record,
    list_runs,
    lock_results,
    read_promoted,
    write_promoted,
)

FOLDER = "Linux-CPython-3.11-64bit"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three whole runs of one machine, each with its picture, and what is no run."""
    folder = tmp_path / "results"
    for number in (1, 2, 3):
        save(folder, number)
    for name in ("published", "studies"):
        (folder / name).mkdir()
        (folder / name / "famous.json").write_text("{}")
    return folder


def save(results: Path, number: int, machine: Any = ZEN3, **changes: Any) -> Path:
    """Save a run as the suite would, and return its file."""
    path = results / FOLDER / f"{number:04}_resnet50.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(full_json(machine, identity(machine, **changes))))
    path.with_suffix(".png").write_bytes(b"picture")
    path.with_suffix(".html").write_bytes(b"page")
    return path


@pytest.fixture
def call(results: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Call `indoor results` on the folder; returns what `--json` prints, exit 0 expected."""

    def call(*words: object) -> Any:
        status = main(["results", *map(str, words), "--results", str(results), "--json"])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return json.loads(printed.out)

    return call


@pytest.fixture
def refused(results: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call `indoor results`, expect exit 2, and return the one line that says why."""

    def refused(*words: object) -> str:
        assert main(["results", *map(str, words), "--results", str(results)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return refused


def test_a_folder_that_nobody_may_read_is_told(
    results: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word its runs would be missing, from the list and from what is pruned."""
    entries = Path.iterdir

    def denied(folder: Path) -> Any:
        if folder.name == FOLDER:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return entries(folder)

    monkeypatch.setattr(Path, "iterdir", denied)
    for words in (["list"], ["prune", "--keep", "1"]):
        assert f"cannot list {results / FOLDER}: Permission denied" in refused(*words)


def test_what_is_no_file_is_no_run(results: Path, call: Callable[..., Any]) -> None:
    """A pipe or a socket that lies among the runs is not waited for."""
    os.mkfifo(results / FOLDER / "0004_pipe.json")
    assert [entry["number"] for entry in call("list")] == ["0001", "0002", "0003"]


def names(results: Path) -> list[str]:
    """Return the numbers of the saved runs."""
    return [path.name[:4] for path in list_runs(results)]


def test_list_says_what_each_run_is(call: Callable[..., Any], results: Path) -> None:
    """Commit, CPU, cases and how it ended, by number; published runs are not among them."""
    save(results, 4, narrowed=True, not_a_baseline="regressed", dirty=True)
    listed = call("list")
    assert [entry["number"] for entry in listed] == ["0001", "0002", "0003", "0004"]
    assert listed[0]["cpu_model"] == ZEN3.cpu_model
    assert listed[0]["num_cases"] == len(full_json(ZEN3)["benchmarks"])
    assert [entry["problems"] for entry in listed] == [[], [], [], ["narrowed", "regressed"]]
    assert listed[3]["dirty"] is True


def test_list_prints_a_table_that_fits(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 80 columns no line is longer, and nothing of a run's name is lost."""
    save(results, 4, AMX, not_a_baseline="failed")
    call = ["results", "list", "--results", str(results), "--width", "80"]
    assert main(call) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "failed" in out
    assert AMX.cpu_model in out


def test_list_shows_what_it_cannot_read(call: Callable[..., Any], results: Path) -> None:
    """A file that was cut off and one of another suite are listed as what they are."""
    (results / FOLDER / "0004_cut.json").write_text('{"benchmarks": [')
    (results / FOLDER / "0005_other.json").write_text(json.dumps({"benchmarks": []}))
    assert [entry["problems"] for entry in call("list")[3:]] == [
        ["unreadable"],
        ["of another suite"],
    ]


def test_an_empty_folder_is_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No runs yet is told with exit 0; a folder that is not there with exit 2, and is not made."""
    (tmp_path / "new").mkdir()
    assert main(["results", "list", "--results", str(tmp_path / "new")]) == 0
    assert "make one with pytest bench" in capsys.readouterr().out
    missing = tmp_path / "missing"
    assert main(["results", "prune", "--keep", "1", "--results", str(missing)]) == 2
    assert "no folder" in capsys.readouterr().err
    assert not missing.exists()


@pytest.mark.parametrize("word", ["2", "0002", "{folder}/0002_resnet50.json"])
def test_promote_takes_a_number_or_a_file(
    call: Callable[..., Any], results: Path, word: str
) -> None:
    """Either way the run is marked, beside it nothing that looks like a run appears."""
    before = sorted((results / FOLDER).glob("*.json"))
    promoted = call("promote", word.format(folder=results / FOLDER))
    assert promoted == {"promoted": "0002_resnet50.json", "folder": FOLDER, "replaced": []}
    assert [entry["promoted"] for entry in call("list")] == [False, True, False]
    assert sorted((results / FOLDER).glob("*.json")) == before


def test_promoting_replaces_the_one_of_the_same_subject(
    call: Callable[..., Any], results: Path
) -> None:
    """Another machine's promoted run stays, this machine's earlier one does not."""
    save(results, 4, AMX)
    call("promote", 1)
    call("promote", 4)
    assert call("promote", 3)["replaced"] == ["0001_resnet50.json"]
    assert set(read_promoted(results / FOLDER)) == {"0003_resnet50.json", "0004_resnet50.json"}


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"not_a_baseline": "failed"}, "failed"), ({"narrowed": True}, "narrowed")],
)
def test_a_failed_or_narrowed_run_is_promoted_only_by_force(
    call: Callable[..., Any],
    refused: Callable[..., str],
    results: Path,
    changes: dict[str, Any],
    word: str,
) -> None:
    """The line names the reason and --force; a refusal changes nothing."""
    save(results, 4, **changes)
    assert f"is {word}; expected a run of all cases" in refused("promote", 4)
    assert read_promoted(results / FOLDER) == ()
    call("promote", 4, "--force")
    assert read_promoted(results / FOLDER) == ("0004_resnet50.json",)


def test_a_regression_may_be_accepted(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Promoting a run that was slower than allowed needs no force, and says what it means."""
    save(results, 4, not_a_baseline="regressed")
    assert main(["results", "promote", "4", "--results", str(results)]) == 0
    assert "slower than --benchmark-compare-fail allowed" in capsys.readouterr().out


def test_what_cannot_be_promoted_is_one_line(refused: Callable[..., str], results: Path) -> None:
    """An unknown number, a number of two machines, a file elsewhere, and one that is cut off."""
    assert "no run '9' in" in refused("promote", 9)
    assert "a number: 0001, 0002, 0003" in refused("promote", 9)
    published = results / "published" / "famous.json"
    assert f"--benchmark-compare={published}" in refused("promote", published)
    (results / FOLDER / "0004_cut.json").write_text("{")
    assert "cannot be read" in refused("promote", 4)
    other = results / "Linux-CPython-3.12-64bit" / "0001_resnet50.json"
    other.parent.mkdir()
    other.write_bytes((results / FOLDER / "0001_resnet50.json").read_bytes())
    assert "2 runs have the number 1" in refused("promote", 1)


def test_prune_keeps_the_newest_and_the_promoted(call: Callable[..., Any], results: Path) -> None:
    """Of three runs with the oldest promoted the middle one goes, with its picture and gate."""
    call("promote", 1)
    gate = gate_record(results, "0002_resnet50")
    gate.parent.mkdir()
    gate.write_text("{}")
    pruned = call("prune", "--keep", 1)
    assert pruned["removed"] == [f"{FOLDER}/0002_resnet50.json"]
    assert pruned["kept"] == {f"{FOLDER}/0001_resnet50.json": "it is promoted"}
    assert names(results) == ["0001", "0003"]
    for suffix in (".png", ".html"):
        assert not (results / FOLDER / f"0002_resnet50{suffix}").exists()
    assert not gate.exists()
    assert (results / "published" / "famous.json").is_file()
    assert (results / "studies" / "famous.json").is_file()


def test_prune_keeps_what_a_run_would_be_compared_with(
    call: Callable[..., Any], results: Path
) -> None:
    """Where the newest runs are narrowed, the newest whole one stays although it is older."""
    save(results, 4, narrowed=True)
    save(results, 5, not_a_baseline="failed")
    call("prune", "--keep", 2)
    assert names(results) == ["0003", "0004", "0005"]


def test_prune_leaves_other_peoples_files(call: Callable[..., Any], results: Path) -> None:
    """A run of another suite and one that cannot be read stay, and are named."""
    save(results, 4)
    (results / FOLDER / "0001_resnet50.json").write_text(json.dumps({"benchmarks": []}))
    (results / FOLDER / "0002_resnet50.json").write_text("{")
    assert call("prune", "--keep", 1)["kept"] == {
        f"{FOLDER}/0001_resnet50.json": "it is not of this suite",
        f"{FOLDER}/0002_resnet50.json": "it cannot be read",
    }
    assert names(results) == ["0001", "0002", "0004"]


def test_a_dry_run_removes_nothing(call: Callable[..., Any], results: Path) -> None:
    """It names what would go."""
    pruned = call("prune", "--keep", 1, "--dry-run")
    assert len(pruned["removed"]) == 2
    assert names(results) == ["0001", "0002", "0003"]


def test_what_prune_cannot_remove_is_one_line(
    results: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's file: it is named, and the runs are still there."""

    def unlink(path: Path, **_: bool) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "unlink", unlink)
    said = refused("prune", "--keep", 1)
    assert said.startswith(f"indoor: cannot remove {results}")
    assert "Permission denied; expected write permission in its folder" in said
    assert names(results) == ["0001", "0002", "0003"]


def test_an_interrupted_run_that_is_going_on_is_not_old(results: Path) -> None:
    """A cell's file that is renamed while it is looked at was written just now."""
    folder = results / ".partial" / "going on"
    folder.mkdir(parents=True)
    (folder / "batch1.json.tmp").symlink_to(folder / "renamed")
    os.utime(folder, (0, 0))
    assert old_partial_runs(results, 8) == []


def test_prune_removes_old_interrupted_runs(call: Callable[..., Any], results: Path) -> None:
    """A folder in which nobody wrote for eight days goes; one of an hour ago may be going on."""
    for name, age_days in (("old", 8.0), ("new", 0.05)):
        folder = results / ".partial" / name
        folder.mkdir(parents=True)
        (folder / "batch1.json").write_text("{}")
        then = time.time() - 86_400 * age_days
        for path in (folder / "batch1.json", folder):
            os.utime(path, (then, then))
    assert call("prune", "--keep", 9)["removed"] == [".partial/old"]
    assert [path.name for path in (results / ".partial").iterdir()] == ["new"]


def test_prune_waits_for_a_run_that_is_saving(call: Callable[..., Any], results: Path) -> None:
    """While the lock is held nothing is removed; afterwards it is."""
    held = take_lock(results / ".lock")
    assert held is not None
    seen: list[list[str]] = []

    def release() -> None:
        seen.append(names(results))
        os.close(held)

    timer = threading.Timer(0.3, release)
    timer.start()
    call("prune", "--keep", 1)
    timer.join()
    assert seen == [["0001", "0002", "0003"]]
    assert names(results) == ["0003"]


def test_a_lock_that_stays_held_is_one_line(results: Path) -> None:
    """Whoever waits for nothing is told which file is held."""
    with (
        lock_results(results),
        pytest.raises(IndoorError, match=r"\.lock is held by another"),
        lock_results(results, wait_s=0.05),
    ):
        pass


def test_a_broken_pointer_is_one_line(refused: Callable[..., str], results: Path) -> None:
    """What was promoted is not guessed."""
    (results / FOLDER / ".promoted").write_text("{")
    assert ".promoted holds no" in refused("list")


def test_list_says_that_a_promoted_run_is_gone(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A promoted file that somebody removed by hand is missed aloud."""
    write_promoted(results / FOLDER, ["0009_gone.json"])
    assert main(["results", "list", "--results", str(results)]) == 0
    assert "0009_gone.json was promoted and is not in" in " ".join(capsys.readouterr().out.split())


def test_a_run_knows_its_date_and_allocator(results: Path) -> None:
    """Both stand in the file, beside what it measured."""
    known = read_run(results / FOLDER / "0001_resnet50.json")
    assert known.subject is not None
    assert known.subject.allocator == "default"
    assert known.result is not None
    assert known.result.datetime == full_json(ZEN3)["datetime"]
    assert not known.promoted


def test_a_machine_differs_by_name_of_field() -> None:
    """CPU and instruction sets differ, torch and the kernel are no part of the machine."""
    found = comparable_machines(ZEN3, AMX)
    assert {one.name for one in found.differences} == {"cpu_model", "isa"}
    assert comparable_machines(ZEN3, ZEN3).differences == ()
