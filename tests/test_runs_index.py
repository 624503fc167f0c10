"""The summaries kept beside saved runs: they save reading, and never say what the files do not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from report_records import AMX, ZEN3, full_json, identity
from runtime_records import many_json

from indoor.errors import IndoorError
from indoor.runs import index
from indoor.runs.index import INDEX, read_summaries
from indoor.runs.results import load_results
from indoor.runs.summary import RunSummary, summarize


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs of two machines in one folder."""
    there = tmp_path / "results" / "Linux-CPython-3.11-64bit"
    there.mkdir(parents=True)
    for number, machine in enumerate((ZEN3, AMX, ZEN3), start=1):
        data = full_json(machine, identity(machine, commit=f"{number:040}"))
        (there / f"{number:04}_resnet50.json").write_text(json.dumps(data))
    return there


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read from first to last, as far as they were."""
    names: list[str] = []

    def load(paths: list[Path]) -> object:
        names.extend(path.name for path in paths)
        return load_results(paths)

    monkeypatch.setattr(index, "load_results", load)
    return names


def summaries(folder: Path) -> dict[str, RunSummary | IndoorError]:
    """What is known of the folder's runs by the names of their files."""
    return {path.name: found for path, found in read_summaries(sorted(folder.glob("*.json")))}


def commits(folder: Path) -> list[str | None]:
    """Their commits' last digits."""
    found = summaries(folder).values()
    return [one.run.commit[-1] if isinstance(one, RunSummary) and one.run.commit else None
            for one in found]  # fmt: skip


def test_what_the_index_says_is_what_the_files_say(folder: Path, whole: list[str]) -> None:
    """Read again from the index, every record is equal to the one from the file."""
    (folder / "0004_many.json").write_text(json.dumps(many_json()))
    files = sorted(folder.glob("*.json"))
    expected = {path.name: summarize(*load_results([path])) for path in files}
    assert summaries(folder) == expected
    assert len(whole) == 4
    assert summaries(folder) == expected
    assert len(whole) == 4
    assert len(expected["0004_many.json"].ratios) > 8


def test_machines_share_what_they_have_in_common(folder: Path) -> None:
    """The instruction set of two runs of a machine is one object, however many runs there are."""
    summaries(folder)
    first, other, third = summaries(folder).values()
    assert isinstance(first, RunSummary)
    assert isinstance(other, RunSummary)
    assert isinstance(third, RunSummary)
    assert first.run.machine.isa is third.run.machine.isa
    assert first.run.machine.isa != other.run.machine.isa


def cut(data: bytes) -> bytes:
    """The end is missing, in the middle of a line."""
    return data[:-40]


def flipped(kind: bytes) -> Callable[[bytes], bytes]:
    """A bit within the first line of a kind is another."""

    def flip(data: bytes) -> bytes:
        place = data.index(b" %s " % kind) + 60
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return flip


def of_another_version(data: bytes) -> bytes:
    """The first line names other records."""
    first, _, rest = data.partition(b"\n")
    return index.checked_line(first.partition(b" ")[2][:-4] + b"0000") + rest


def without_parts(data: bytes) -> bytes:
    """What the runs share is gone."""
    return b"".join(line for line in data.splitlines(keepends=True) if b" part " not in line[:20])


def swapped(data: bytes) -> bytes:
    """A line is whole and holds what nobody wrote."""
    return data + index.checked_line(b"run {}") + index.checked_line(b"part")


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flipped(b"part"),
        flipped(b"run"),
        of_another_version,
        without_parts,
        swapped,
        lambda _: b"",
        lambda _: b"\x00\xff" * 4096,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data[:-1],
    ],
    ids=["cut", "part", "run", "version", "no parts", "swapped", "empty", "garbage", "CRLF", "end"],
)
def test_a_damaged_index_is_made_again(
    damage: Callable[[bytes], bytes], folder: Path, whole: list[str]
) -> None:
    """Whatever became of it, the runs are told as they are, and the next call reads no file."""
    expected = summaries(folder)
    (folder / INDEX).write_bytes(damage((folder / INDEX).read_bytes()))
    assert summaries(folder) == expected
    whole.clear()
    assert summaries(folder) == expected
    assert whole == []


def test_a_file_that_was_written_again_is_read_again(folder: Path, whole: list[str]) -> None:
    """The same name and length, another content: the index says nothing of it any more."""
    assert commits(folder) == ["1", "2", "3"]
    path = folder / "0002_resnet50.json"
    text = path.read_text()
    path.write_text(text.replace(f"{2:040}", f"{7:040}"))
    whole.clear()
    assert commits(folder) == ["1", "7", "3"]
    assert whole == ["0002_resnet50.json"]


def test_a_copied_folder_is_not_read_again(folder: Path, whole: list[str]) -> None:
    """Inodes and times are others there; the content is the same."""
    expected = summaries(folder)
    copy = shutil.copytree(folder, folder.parent / "copy")
    whole.clear()
    assert summaries(copy) == expected
    assert whole == []


def test_a_run_that_is_gone_is_gone(folder: Path) -> None:
    """A line of the index makes no run."""
    summaries(folder)
    (folder / "0001_resnet50.json").unlink()
    assert list(summaries(folder)) == ["0002_resnet50.json", "0003_resnet50.json"]


def test_what_cannot_be_read_is_never_remembered(folder: Path) -> None:
    """It is told each time, and is a run once it is whole."""
    path = folder / "0003_resnet50.json"
    text = path.read_text()
    for _ in range(2):
        path.write_text(text[:-100])
        assert isinstance(summaries(folder)[path.name], IndoorError)
    path.write_text(text)
    assert commits(folder) == ["1", "2", "3"]


def test_a_place_that_cannot_be_written_to_costs_time_alone(folder: Path, whole: list[str]) -> None:
    """Without an index every call reads the files."""
    (folder / INDEX).mkdir()
    for num_read in (3, 6):
        assert commits(folder) == ["1", "2", "3"]
        assert len(whole) == num_read


def test_a_reading_that_was_cut_off_goes_on(
    folder: Path, whole: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before a kill stands in the index."""
    monkeypatch.setattr(index, "_STEP", 1)
    paths = sorted(folder.glob("*.json"))
    reading = read_summaries(paths)
    next(reading)
    next(reading)
    monkeypatch.setattr(index._Index, "write", lambda _: None)  # nothing at its end
    reading.close()
    monkeypatch.undo()
    whole.clear()
    monkeypatch.setattr(index, "load_results", lambda p: whole.append(p[0].name) or load_results(p))
    assert commits(folder) == ["1", "2", "3"]
    assert whole == ["0003_resnet50.json"]


def test_two_that_add_at_once_lose_nothing(folder: Path) -> None:
    """Each adds its own lines to the end, and a reader takes the latest of a file."""
    paths = sorted(folder.glob("*.json"))
    list(read_summaries(paths[:1]))
    one, other = read_summaries(paths[:2]), read_summaries(paths[2:])
    next(one)
    next(other)
    list(other)
    list(one)
    data = (folder / INDEX).read_bytes()
    assert all(f'"name":"{path.name}"'.encode() in data for path in paths)
    assert commits(folder) == ["1", "2", "3"]
