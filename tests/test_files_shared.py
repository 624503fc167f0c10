"""What several processes do to files at once, what a killed one leaves, and what is no file."""

import gzip
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.adapter import write_whole
from indoor import files
from indoor.errors import IndoorError
from indoor.files import (
    new_folder,
    read_bytes,
    read_limited,
    remove_leftovers,
    replace_file,
    write_text,
)
from indoor.records import DataIdentity, from_json
from indoor.runs.document import read_document

NUM_PROCESSES = 8
ROOT = Path(__file__).resolve().parent.parent

SAVE = """
import logging, sys
from pathlib import Path
from types import SimpleNamespace
from pytest_benchmark.storage.file import FileStorage
from bench.adapter import write_whole
from indoor.files import recall, remember, write_text
from indoor.runs.storage import lock_results

results, number = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.read()
for turn in range(5):
    storage = FileStorage(results, logging.getLogger(), "machine")
    session = SimpleNamespace(storage=storage, save_json=None)
    write_whole(session)
    with lock_results(results):
        storage.save({"number": number, "turn": turn, "filling": "x" * 20_000}, "run")
    write_text(results / "the-same.txt", number * 50_000)
    remember(f"kind:{number}-{turn}", "kept")
"""


def python(code: str, *words: object, **environment: str) -> subprocess.Popen[str]:
    """Start a Python that knows indoor and the suite."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_eight_processes_that_save_at_once_lose_nothing(tmp_path: Path) -> None:
    """Forty runs have forty files of numbers without a gap, each whole; so has what is shared."""
    results, cache = tmp_path / "results", tmp_path / "cache"
    processes = [
        python(SAVE, results, number, INDOOR_CACHE=str(cache)) for number in range(NUM_PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * NUM_PROCESSES
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    saved = sorted((results / "machine").iterdir())
    count = 5 * NUM_PROCESSES
    assert [path.name for path in saved] == [f"{n:04d}_run.json" for n in range(1, count + 1)]
    found = [read_document(path) for path in saved]
    keys = {(one["number"], one["turn"]) for one in found}  # type: ignore[index]
    assert len(keys) == count
    text = (results / "the-same.txt").read_text()
    assert re.fullmatch(r"(\d)\1*", text)
    assert len(text) == 50_000
    assert len((cache / "facts-1.txt").read_bytes().splitlines()) == count
    assert not list(results.rglob("*.tmp"))


HOLD = """
import sys
import tempfile
from pathlib import Path
from indoor.files import new_folder, replace_file

replace = {"file": replace_file, "folder": new_folder}[sys.argv[2]]
with replace(Path(sys.argv[1])) as temporary:
    if temporary.is_dir():
        (temporary / "part").write_text("half")
    else:
        temporary.write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_only_what_a_dead_writer_left_is_removed(tmp_path: Path, kind: str) -> None:
    """A write in progress keeps its file, whoever tidies; that of a killed one goes."""
    target = tmp_path / "target"
    process = python(HOLD, target, kind)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    remove_leftovers(tmp_path)
    (half,) = tmp_path.iterdir()
    assert half.name.startswith(".target.")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert half.exists()
    write_text(tmp_path / "other", "x")
    assert half.exists()
    if kind == "file":
        write_text(target, "whole")
    else:
        with new_folder(target) as made:
            (made / "part").write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "target"]
    text = (target / "part").read_text() if kind == "folder" else target.read_text()
    assert text == "whole"


def test_a_writer_that_ends_first_does_not_take_anothers_file(tmp_path: Path) -> None:
    """Two threads write one name, one within the other's block; the last one counts."""
    path = tmp_path / "x"
    with replace_file(path) as first:
        first.write_text("first")
        write_text(path, "second")
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    """After an exception nothing is left; at the end everybody may read it."""

    def fail() -> None:
        with new_folder(tmp_path / "made") as folder:
            (folder / "part").write_text("x")
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert not list(tmp_path.iterdir())
    with new_folder(tmp_path / "made") as folder:
        (folder / "part").write_text("x")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o777 & ~files._umask()


def test_a_pipe_is_read_and_one_that_nobody_writes_to_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell's `<(...)` goes on to work, however late it begins to write."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(files, "_PIPE_WAIT_S", 0.1)
    with pytest.raises(OSError, match="a pipe that nobody writes to"):
        read_limited(pipe, 1000)

    def write() -> None:
        with pipe.open("wb") as file:
            time.sleep(0.3)
            file.write(b"late" * 200)

    monkeypatch.setattr(files, "_PIPE_WAIT_S", 20.0)
    writer = threading.Thread(target=write)
    writer.start()
    assert read_limited(pipe, 1000) == b"late" * 200
    writer.join()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.symlink_to("/dev/zero"), "neither a file nor a pipe"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(bytes(1001)), "holds 1,001 bytes, and 1,000 are read"),
        (lambda path: path.write_bytes(gzip.compress(bytes(1001))), "unpacks to more bytes, and"),
        (lambda path: path.write_bytes(gzip.compress(b"x")[:-3]), "packed is damaged"),
    ],
    ids=["device", "folder", "long", "packed", "cut"],
)
def test_what_cannot_be_meant_is_not_read(tmp_path: Path, make: object, reason: str) -> None:
    """The system's errors, and ours of the same kind, say why."""
    path = tmp_path / "x"
    make(path)  # type: ignore[operator]
    with pytest.raises(OSError, match=reason):
        read_bytes(path, most=1000)


def test_a_record_that_is_nested_without_end_is_one_line() -> None:
    """Also in a member that nobody reads."""
    text = '{"more": ' + "[" * 200_000 + "]" * 200_000 + "}"
    with pytest.raises(IndoorError, match=r"^x holds no DataIdentity: .*recursion"):
        from_json(text, DataIdentity, "x")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_tidied_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Another process may take a temporary name for a dead writer's until its lock is on it."""
    name = {"file": "mkstemp", "folder": "mkdtemp"}[kind]
    make, made = getattr(tempfile, name), []

    def tidied(*words: Any) -> Any:
        made.append(make(*words))
        if len(made) == 1:
            remove_leftovers(tmp_path)
            assert not list(tmp_path.iterdir())
        return made[-1]

    monkeypatch.setattr(tempfile, name, tidied)
    target = tmp_path / "target"
    if kind == "file":
        write_text(target, "whole")
    else:
        with new_folder(target) as folder:
            (folder / "part").write_text("whole")
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_saved_run_tidies_what_runs_of_other_names_left(tmp_path: Path) -> None:
    """Their names hold the time, so no later run has the same."""
    leftover = tmp_path / ".0001_resnet50_earlier.png.x1.tmp"
    leftover.write_bytes(b"half")
    (tmp_path / ".hidden").write_text("no temporary file")
    storage = SimpleNamespace(
        get=lambda name: tmp_path / name, _next_num="0002", logger=SimpleNamespace(info=print)
    )
    session = SimpleNamespace(storage=storage, save_json=None)
    write_whole(session)
    storage.save({}, "resnet50_now")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".hidden",
        "0002_resnet50_now.json",
    ]
