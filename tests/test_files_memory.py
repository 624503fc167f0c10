"""What a file holds is found out once, and remembered across processes while the file stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indoor import files
from indoor.errors import IndoorError
from indoor.files import recall, remember, remembered_sha256, sha256_of_file
from indoor.locks import locked


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The memory's file, in a folder of its own."""
    monkeypatch.setenv("INDOOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "facts-1.txt"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that was not written a moment ago."""
    path = tmp_path / "x"
    path.write_bytes(b"indoor")
    time.sleep(0.06)
    return path


def restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows, as a new one would not know it."""
    monkeypatch.setattr(files, "_MEMORY", files._Memory())


def forbid_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make reading a file's content a failure."""
    monkeypatch.setattr(files, "sha256_of_file", lambda path: pytest.fail(f"{path} hashed again"))


def test_an_unchanged_file_is_hashed_once(
    store: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next process reads the answer and not the file."""
    expected = sha256_of_file(old)
    assert remembered_sha256(old) == expected
    assert store.is_file()
    restart(monkeypatch)
    forbid_hashing(monkeypatch)
    assert remembered_sha256(old) == expected


@pytest.mark.parametrize("keeps_mtime", [False, True])
def test_a_changed_file_is_hashed_again(store: Path, old: Path, keeps_mtime: bool) -> None:
    """New content of the same size is noticed, even where the mtime was put back."""
    before = old.stat()
    first = remembered_sha256(old)
    with old.open("r+b") as file:
        file.write(b"INDOOR")
    if keeps_mtime:
        os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.is_file()
    assert remembered_sha256(old) == sha256_of_file(old) != first


def test_a_fresh_file_is_not_remembered(store: Path, tmp_path: Path) -> None:
    """What was written a moment ago may change once more without another time."""
    path = tmp_path / "fresh"
    path.write_bytes(b"indoor")
    assert remembered_sha256(path) == sha256_of_file(path)
    assert not store.exists()


def test_a_file_that_changes_meanwhile_is_not_remembered(store: Path, old: Path) -> None:
    """A fact found out on the old content is no fact of the new one."""
    key = files.file_key(old, "kind")
    old.write_bytes(b"other")
    remember(key, "value", old)
    assert recall(key) is None
    assert not store.exists()


def test_damage_is_forgotten(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that was cut off or changed counts for nothing; the others stay."""
    for number in range(4):
        remember(f"kind:{number}", f"value {number}")
    lines = store.read_bytes().splitlines(keepends=True)
    store.write_bytes(
        lines[0] + lines[1].replace(b"1\n", b"7\n") + b"\xff\n" + lines[2] + lines[3][:-4]
    )
    restart(monkeypatch)
    assert [recall(f"kind:{number}") for number in range(4)] == ["value 0", None, "value 2", None]
    remember("kind:4", "value 4")
    restart(monkeypatch)
    assert recall("kind:2") == "value 2"


def test_a_place_that_cannot_be_written_to_costs_nothing(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a store each process remembers for itself."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("INDOOR_CACHE", str(tmp_path / "cache"))
    expected = sha256_of_file(old)
    assert remembered_sha256(old) == expected
    forbid_hashing(monkeypatch)
    assert remembered_sha256(old) == expected


def test_an_empty_variable_is_none(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everywhere, INDOOR_CACHE= means the user's own cache, and not the working directory."""
    monkeypatch.setenv("INDOOR_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    remembered_sha256(old)
    assert not (tmp_path / "facts-1.txt").exists()
    assert (tmp_path / "xdg" / "indoor" / "facts-1.txt").is_file()


def test_processes_write_side_by_side(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four writers at once lose no line."""
    code = (
        "import sys\nfrom indoor.files import remember\n"
        "for i in range(300): remember(f'kind:{sys.argv[1]}-{i}', 'x' * 60)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    restart(monkeypatch)
    keys = [f"kind:{n}-{i}" for n in range(4) for i in range(300)]
    assert all(recall(key) == "x" * 60 for key in keys)
    assert len(store.read_bytes().splitlines()) == 1200


def test_the_memory_does_not_grow_for_ever(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its limit the older half is forgotten."""
    monkeypatch.setattr(files, "_MAX_FACTS", 10)
    for number in range(12):
        remember(f"kind:{number}", "value")
    restart(monkeypatch)
    assert [recall(f"kind:{number}") for number in (6, 7, 11)] == [None, "value", "value"]
    assert len(store.read_bytes().splitlines()) == 5


def test_a_lock_that_is_held_is_told(tmp_path: Path) -> None:
    """Who waits hears for what; who does not wait gets the error that was given."""
    path = tmp_path / "folder" / ".lock"
    said: list[str] = []
    with locked(path, "a test"):
        with (
            pytest.raises(IndoorError, match="somebody else"),
            locked(path, "a test", wait_s=0, busy="somebody else", say=said.append),
        ):
            pass
        assert said == []
        with (
            pytest.raises(IndoorError, match="too long"),
            locked(path, "a test", wait_s=0.1, busy="too long", say=said.append),
        ):
            pass
    assert said == [f"waiting up to 0 s for a test (process {os.getpid()}) to end"]


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """The folder, the system's reason and the remedy stand in it."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(
            IndoorError,
            match=r"cannot make the folder .*file.*expected a place .*; choose another",
        ),
        locked(tmp_path / "file" / ".lock", "a test"),
    ):
        pass
