"""What a message tells people to type next works when it is pasted."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from indoor.cli import main
from indoor.cli.arguments import parse
from indoor.dataset import read_split_lists
from indoor.errors import IndoorError
from indoor.hints import command_line, run_word
from indoor.model import describe_pair, load_float, save_float
from indoor.quantize import load_int8
from indoor.runs.storage import find_run

AWKWARD = (
    "plain",
    "my photos",
    "it's",
    'a "quoted" one',
    "$HOME",
    "two  blanks",
    "back\\slash",
    "Größe-室内",
    "star*",
    "semi;colon",
    "-dash",
    "--data",
)
"""Names of folders that people have, and that a shell reads in its own way."""


def pasted(line: str) -> list[str]:
    """Return the words after `indoor` as a shell would pass them on."""
    program, *words = shlex.split(line)
    assert program == "indoor"
    return words


def hint_in(text: str) -> str:
    """Return the command in a message: from `indoor` to the line's or the clause's end."""
    found = re.search(r"\bindoor (?:train|quantize|evaluate|predict|results|data)\b.*", text)
    assert found, text
    line = found[0].partition("`")[0]
    for end in range(len(line), 0, -1):  # the longest beginning that a parser reads
        try:
            parse(pasted(line[:end]))
        except (SystemExit, ValueError):
            continue
        return line[:end]
    raise AssertionError(text)


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("folder", ["", "/data of mine"])
def test_a_path_survives_the_shell(name: str, folder: str) -> None:
    """Whatever a folder is called, the parser gets it back whole, as a word and as a value."""
    path = Path(folder, name)
    parsed = parse(pasted(command_line("quantize", path, data=path)))
    assert (Path(parsed.run), parsed.data) == (path, path)


def test_options_that_were_not_asked_for_stay_out() -> None:
    """None and False leave an option out; True is a flag; names get their dashes."""
    line = command_line("train", data=None, skip_broken=True, no_download=False, epochs=3)
    assert line == "indoor train --skip-broken --epochs 3"


@pytest.mark.parametrize(
    ("where", "called"),
    [
        ("data/runs/mine", "mine"),
        ("data/runs/my run", "my run"),
        ("data/runs/-mine", "data/runs/-mine"),
        ("data/runs/shadowed", "data/runs/shadowed"),
        ("elsewhere/mine", "elsewhere/mine"),
        ("data/runs/deep/mine", "data/runs/deep/mine"),
    ],
)
def test_a_run_is_called_by_what_finds_it(
    where: str, called: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in the data folder has its name, unless something else would be taken for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INDOOR_HOME", raising=False)
    Path(where).mkdir(parents=True)
    Path("shadowed").mkdir()
    assert str(run_word(Path(where))) == called


@pytest.mark.parametrize("home", ["data", "other data"])
def test_with_indoor_home_a_run_is_called_by_its_folder(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next command may be typed without the variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INDOOR_HOME", home)
    folder = Path(home, "runs", "mine")
    folder.mkdir(parents=True)
    assert run_word(folder) == folder


def _no_such_run(home: Path, data: Path) -> None:  # noqa: ARG001
    find_run(data.parent, "0099")


def _wrong_lists(home: Path, data: Path) -> None:  # noqa: ARG001
    (data / "TestImages.txt").write_text("a line without a class")
    read_split_lists(data)


def _not_int8(home: Path, data: Path) -> None:  # noqa: ARG001
    load_int8(home / "runs" / "tiny run" / "float32.safetensors")


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (_no_such_run, {"action": "list", "results": "DATA/.."}),
        (_wrong_lists, {"root": "DATA"}),
        (_not_int8, {"run": "HOME/runs/tiny run/float32.safetensors", "data": "ROOT"}),
    ],
    ids=["no such run", "wrong lists", "not int8"],
)
def test_a_remedy_is_a_command(
    fail: Callable[[Path, Path], None],
    expected: dict[str, str],
    home: Path,
    photographs: Path,
    tmp_path: Path,
) -> None:
    """A message that names a command names it whole, with the paths that it is about."""
    data = tmp_path / "my photos" / "of rooms"
    shutil.copytree(photographs, data)
    folder = tmp_path / "my home"
    shutil.copytree(home / "runs" / "tiny", folder / "runs" / "tiny run")
    with pytest.raises(IndoorError) as caught:
        fail(folder, data)
    parsed = vars(parse(pasted(hint_in(str(caught.value)))))
    for name, value in expected.items():
        value = value.replace("DATA/..", str(data.parent)).replace("DATA", str(data))
        assert str(parsed[name]) == value.replace("HOME", str(folder))


@pytest.mark.parametrize("data", [None, "my photos"])
def test_an_int8_of_another_float32_is_made_again_by_the_command_told(
    data: str | None, home: Path, tmp_path: Path
) -> None:
    """The remedy names the run, and the data set where it is known."""
    folder = tmp_path / "my runs" / "tiny"
    shutil.copytree(home / "runs" / "tiny", folder)
    _change_the_float32(folder)
    may_be_paired, line = describe_pair(folder, root=Path(data) if data else None)
    assert not may_be_paired
    parsed = parse(pasted(hint_in(line)))
    assert (parsed.run, str(parsed.data)) == (str(folder), data or "ROOT")


def _change_the_float32(folder: Path) -> None:
    path = folder / "float32.safetensors"
    loaded = load_float(path)
    with torch.no_grad():
        loaded.model.fc.bias.add_(1)
    save_float(path, loaded.model, loaded.manifest)


@pytest.mark.parametrize(
    ("words", "following"),
    [
        (["quantize"], {"skip_broken": False}),
        (["quantize", "--skip-broken"], {"skip_broken": True}),
        (["evaluate"], {"device": "cpu"}),
        (["evaluate", "--device", "auto"], {"device": "auto"}),
    ],
    ids=" ".join,
)
def test_what_was_asked_for_is_carried_on(
    words: list[str],
    following: dict[str, object],
    home: Path,
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The next command has the data set and the options that it needs, too."""
    folder = tmp_path / "my runs" / "tiny"
    shutil.copytree(home / "runs" / "tiny", folder)
    assert main([words[0], str(folder), "--data", str(photographs), *words[1:]]) == 0
    line = capsys.readouterr().out.rstrip().splitlines()[-1]
    parsed = vars(parse(pasted(line.removeprefix("next: "))))
    assert parsed["run"] == str(folder)
    assert {name: parsed[name] for name in following} == following


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenes", "indoor_home"),
    [
        ("../it's $HOME", None),
        ("scenes", "my home"),
    ],
)
def test_the_whole_way_by_pasting_what_each_command_printed(
    scenes: str,
    indoor_home: str | None,
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From drawn scenes to a named photograph each next line is a command that works.

    The network and the number of epochs are added to the one that trains, to be quick; with
    INDOOR_HOME each line is pasted where the variable is not set.
    """
    here = tmp_path / "here"
    (here / "data").mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.delenv("INDOOR_HOME", raising=False)

    def call(words: list[str], home: str | None = None) -> str:
        with monkeypatch.context() as patch:
            if home:
                patch.setenv("INDOOR_HOME", home)
            assert main(words) == 0
        return capsys.readouterr().out

    def following(out: str) -> list[str]:
        line = next(line for line in out.splitlines() if line.startswith("next: "))
        return pasted(line.removeprefix("next: "))

    at, home = (text and text.replace("/absolute", str(tmp_path)) for text in (scenes, indoor_home))
    out = call(["demo", "--out", str(at), "--train", "6", "--test", "2"], home)
    quick = ["--weights", str(backbone), "--model", "resnet18", "--epochs", "1"]
    commands = ["demo"]
    for expected in ("train", "quantize", "evaluate", "predict"):
        words = following(out)
        commands.append(words[0])
        assert words[0] == expected
        out = call(
            words + (quick if expected == "train" else []), home if expected == "train" else None
        )
    assert "%" in out
    assert (Path(home or "data") / "runs" / Path(str(at)).name / "int8.safetensors").is_file()
