"""A file of weights is taken wherever a run is, and a run wherever a file is."""

# ruff: noqa: D103 - a member's name says what it is

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from indoor.cli import main
from indoor.files import sha256_of_file
from indoor.hints import run_word
from indoor.model import load_float, read_manifest, save_float
from indoor.pipeline import open_run, prepare
from indoor.places import find_checkpoint

CLASSES = ("bars", "checks", "rings")


@dataclass(frozen=True)
class World:
    """A working directory, the home of its runs, and a network that no run holds."""

    here: Path
    runs: Path
    float32: Path

    @property
    def state(self) -> dict[str, Tensor]:
        """The network's state dict."""
        return {**load_float(self.float32).model.state_dict()}

    def save(self, name: str, **about: object) -> Path:
        """Write the network with torch.save, alone or beside what is said about it."""
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state_dict": self.state, **about} if about else self.state, path)
        return path

    def copy(self, name: str) -> Path:
        """Copy the checkpoint of ours."""
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(self.float32, path))


@pytest.fixture
def world(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of the shared home, and a network like the run's with its last layer turned round."""
    runs = tmp_path / "home" / "runs"
    shutil.copytree(home / "runs" / "tiny", runs / "tiny")
    here = tmp_path / "work"
    here.mkdir()
    loaded = load_float(runs / "tiny" / "float32.safetensors")
    with torch.no_grad():
        loaded.model.get_submodule("fc").bias[0] += 0.25  # type: ignore[index, operator, union-attr]
    save_float(tmp_path / "net", loaded.model, loaded.manifest)
    monkeypatch.setenv("INDOOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(here)
    return World(here=here, runs=runs, float32=tmp_path / "net")


def indoor(*words: object) -> int:
    """Run one command."""
    return main([str(word) for word in words])


def same_folder_other_name(world: World) -> str:
    return str(shutil.copy(world.float32, world.runs / "tiny" / "other.pt"))


def our_checkpoint_elsewhere(world: World) -> str:
    return str(world.copy("models/best.safetensors"))


def our_checkpoint_as_pt(world: World) -> str:
    return str(world.copy("best.pt"))


def state_dict_with_classes(world: World) -> str:
    return str(world.save("best.pt", classes=list(CLASSES)))


def state_dict_alone(world: World) -> str:
    return str(world.save("plain.pth"))


def safetensors_of_others(world: World) -> str:
    save_file({k: v.contiguous() for k, v in world.state.items()}, world.here / "model.safetensors")
    return "model.safetensors"


def float16_state_dict(world: World) -> str:
    halved = {k: v.half() if v.is_floating_point() else v for k, v in world.state.items()}
    torch.save({"state_dict": halved, "classes": list(CLASSES)}, world.here / "half.pt")
    return "half.pt"


def no_suffix(world: World) -> str:
    world.save("checkpoint", classes=list(CLASSES))
    return "checkpoint"


def several_dots(world: World) -> str:
    world.save("resnet18.v2.best.pth.tar", classes=list(CLASSES))
    return "resnet18.v2.best.pth.tar"


def blanks(world: World) -> str:
    return str(world.save("my best model (2).pt", classes=list(CLASSES)))


def leading_dash(world: World) -> str:
    world.save("-best.pt", classes=list(CLASSES))
    return "./-best.pt"


def leading_dot(world: World) -> str:
    world.save(".best.pt", classes=list(CLASSES))
    return ".best.pt"


def another_script(world: World) -> str:
    world.save("küche-厨房.pt", classes=list(CLASSES))
    return "küche-厨房.pt"


def quotes_and_dollars(world: World) -> str:
    world.save("it's $best`.pt", classes=list(CLASSES))
    return "it's $best`.pt"


def long_name(world: World) -> str:
    name = "epoch=12-step=3456-val_loss=0.12-" * 7 + ".ckpt"
    world.save(name, classes=list(CLASSES))
    return name


def home_folder(world: World) -> str:
    world.save("best.pt", classes=list(CLASSES))
    return "~/best.pt"


def trailing_slash(world: World) -> str:
    return f"{world.save('best.pt', classes=list(CLASSES))}/"


def symlink(world: World) -> str:
    (world.here / "latest.pt").symlink_to(world.save("models/epoch-3.pt", classes=list(CLASSES)))
    return "latest.pt"


def symlink_into_a_cache(world: World) -> str:
    blob = world.copy("blobs/3f786850e387550fdab836ed7e6dc881de23001b")
    (world.here / "snapshot").mkdir()
    (world.here / "snapshot" / "model.safetensors").symlink_to(blob)
    return "snapshot/model.safetensors"


def others_file_named_float32(world: World) -> str:
    (world.here / "downloads").mkdir()
    path = world.here / "downloads" / "float32.safetensors"
    save_file({k: v.contiguous() for k, v in world.state.items()}, path)
    return str(path)


def folder_of_others_float32(world: World) -> str:
    others_file_named_float32(world)
    return "downloads"


def pickle_named_float32(world: World) -> str:
    return str(world.save("downloads/float32.safetensors", classes=list(CLASSES)))


def read_only_folder(world: World) -> str:
    path = world.save("mounted/best.pt", classes=list(CLASSES))
    path.chmod(0o444)
    path.parent.chmod(0o555)
    return str(path)


def file_in_the_folder_of_runs(world: World) -> str:
    shutil.copy(world.float32, world.runs / "loose.safetensors")
    return "loose.safetensors"


def same_names_in_another_order(world: World) -> str:
    state = world.state
    order = [2, 0, 1]
    state["fc.weight"], state["fc.bias"] = state["fc.weight"][order], state["fc.bias"][order]
    torch.save({"state_dict": state, "classes": [CLASSES[i] for i in order]}, "turned.pt")
    return "turned.pt"


FILES = [
    same_folder_other_name,
    our_checkpoint_elsewhere,
    our_checkpoint_as_pt,
    state_dict_with_classes,
    state_dict_alone,
    safetensors_of_others,
    float16_state_dict,
    no_suffix,
    several_dots,
    blanks,
    leading_dash,
    leading_dot,
    another_script,
    quotes_and_dollars,
    long_name,
    home_folder,
    trailing_slash,
    symlink,
    symlink_into_a_cache,
    others_file_named_float32,
    folder_of_others_float32,
    pickle_named_float32,
    read_only_folder,
    file_in_the_folder_of_runs,
    same_names_in_another_order,
]


def evaluated(capsys: pytest.CaptureFixture[str], named: object, data: Path) -> Any:
    """Return the record of an evaluation that ended well."""
    capsys.readouterr()
    status = indoor("evaluate", named, "--data", data, "--json")
    said = capsys.readouterr()
    assert status == 0, said.err
    return json.loads(said.out)


@pytest.mark.parametrize("member", FILES, ids=[member.__name__ for member in FILES])
def test_a_file_becomes_one_run_of_its_own(
    world: World, photographs: Path, member: Callable[[World], str]
) -> None:
    """The run holds the file's network and says so; the same file finds it without writing."""
    named = member(world)
    home = world.runs.parent
    path = find_checkpoint(named, home)
    opened = open_run(path, home, photographs)
    assert opened.folder.parent == world.runs
    assert opened.folder.name not in ("tiny", "expected")
    assert re.fullmatch(r"[\w.+=-]+-[0-9a-f]{8}", opened.folder.name)
    loaded = load_float(opened.folder / "float32.safetensors")
    for name, tensor in world.state.items():
        torch.testing.assert_close(loaded.model.state_dict()[name], tensor, rtol=1e-3, atol=1e-3)
    assert loaded.manifest.classes == CLASSES
    assert loaded.manifest.weights.sha256 == sha256_of_file(path)
    files = {path: path.stat().st_mtime_ns for path in opened.folder.iterdir()}
    assert open_run(find_checkpoint(named, home), home, photographs).folder == opened.folder
    assert {path: path.stat().st_mtime_ns for path in opened.folder.iterdir()} == files
    assert find_checkpoint(str(run_word(opened.folder)), home).parent == opened.folder


@pytest.mark.parametrize(
    "member",
    [
        same_folder_other_name,
        state_dict_alone,
        *(
            pytest.param(member, marks=pytest.mark.slow)
            for member in (blanks, others_file_named_float32, quotes_and_dollars)
        ),
    ],
    ids=lambda member: member.__name__,
)
def test_every_command_finds_a_files_run(
    world: World,
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
    member: Callable[[World], str],
) -> None:
    """Quantize's next line can be pasted, and evaluate and predict find its int8 by the file."""
    named = member(world)
    assert indoor("quantize", named, "--data", photographs, "--force") == 0
    said = capsys.readouterr()
    line = next(line for line in said.out.splitlines() if line.startswith("next: "))
    assert pasted(line.removeprefix("next: ")) == 0
    report = evaluated(capsys, named, photographs)
    assert "int8" in [one["variant"] for one in report["evaluations"]]
    assert report["weights"]["sha256"] == sha256_of_file(Path(named))
    photo = photographs / "Images" / "bars" / "bars_00.jpg"
    data = ("--data", photographs)
    assert indoor("predict", "--run", named, "--variant", "int8", *data, photo) == 0
    assert len([path for path in world.runs.iterdir() if path.is_dir()]) == 2


def test_int8_that_was_never_made_is_told_with_the_command_that_makes_it(
    world: World, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Predicting with int8 of a file that was never quantized names quantize, not a path."""
    named, photo = world.copy("mine.safetensors"), photographs / "Images" / "bars" / "bars_00.jpg"
    assert indoor("predict", "--run", named, "--variant", "int8", photo) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "int8.safetensors" in x]
    assert "has no int8.safetensors yet; make it with indoor quantize" in line


def pasted(line: str) -> int:
    """Run a command line as a shell would hand it over."""
    program, *words = shlex.split(line)
    assert program == "indoor"
    return main(words)


def the_runs_name(world: World) -> str:  # noqa: ARG001 - every member has this form
    return "tiny"


def the_runs_name_with_a_slash(world: World) -> str:  # noqa: ARG001
    return "tiny/"


def the_runs_folder(world: World) -> str:
    return str(world.runs / "tiny")


def the_runs_folder_with_a_slash(world: World) -> str:
    return f"{world.runs / 'tiny'}/"


def the_runs_float32(world: World) -> str:
    return str(world.runs / "tiny" / "float32.safetensors")


def a_relative_folder(world: World) -> str:  # noqa: ARG001
    return "../home/runs/tiny"


def a_folder_below_home(world: World) -> str:  # noqa: ARG001
    return "~/../home/runs/tiny"


def a_symlink_to_the_folder(world: World) -> str:
    (world.here / "latest").symlink_to(world.runs / "tiny")
    return "latest"


def a_symlink_to_the_float32(world: World) -> str:
    (world.here / "latest.pt").symlink_to(world.runs / "tiny" / "float32.safetensors")
    return "latest.pt"


def a_symlink_among_the_runs(world: World) -> str:
    (world.runs / "latest").symlink_to("tiny")
    return "latest"


def a_folder_of_the_same_name_beside(world: World) -> str:
    (world.here / "tiny").mkdir()
    return "tiny"


def the_working_directory(world: World) -> str:
    os.chdir(world.runs / "tiny")
    return "."


def a_name_with_a_dot(world: World) -> str:
    (world.runs / "tiny").rename(world.runs / "tiny.v2")
    return "tiny.v2"


def a_name_like_a_files(world: World) -> str:
    (world.runs / "tiny").rename(world.runs / "resnet18.pt")
    return "resnet18.pt"


def a_name_with_blanks(world: World) -> str:
    (world.runs / "tiny").rename(world.runs / "my run")
    return "my run"


RUNS = [
    (the_runs_name, True),
    (the_runs_name_with_a_slash, True),
    (the_runs_folder, True),
    (the_runs_folder_with_a_slash, True),
    (the_runs_float32, True),
    (a_relative_folder, True),
    (a_folder_below_home, False),
    (a_symlink_to_the_folder, True),
    (a_symlink_to_the_float32, False),
    (a_symlink_among_the_runs, True),
    (a_folder_of_the_same_name_beside, True),
    (the_working_directory, True),
    (a_name_with_a_dot, True),
    (a_name_like_a_files, True),
    (a_name_with_blanks, True),
]
RUN_IDS = [f"{member.__name__}{'-control' if control else ''}" for member, control in RUNS]


@pytest.mark.parametrize("member", [member for member, _ in RUNS], ids=RUN_IDS)
def test_a_run_is_itself(world: World, photographs: Path, member: Callable[[World], str]) -> None:
    """However a run is named, it is that run, with its int8; nothing is copied."""
    named, home = member(world), world.runs.parent
    before = sorted(world.runs.rglob("*"))
    opened = open_run(find_checkpoint(named, home), home, photographs)
    assert (opened.folder / "int8.safetensors").is_file()
    assert opened.notes == ()
    assert sorted(world.runs.rglob("*")) == before
    assert find_checkpoint(str(run_word(opened.folder)), home).parent.samefile(opened.folder)


@pytest.mark.parametrize(
    "member",
    [the_runs_name, a_symlink_to_the_folder, a_name_like_a_files],
    ids=lambda m: m.__name__,
)
def test_training_starts_from_a_run(
    world: World, photographs: Path, member: Callable[[World], str]
) -> None:
    """`train --weights` takes a run wherever it takes a file, and its architecture with it."""
    named = member(world)
    first = sha256_of_file(find_checkpoint(named, world.runs.parent))
    words = ["--epochs", 1, "--name", "next", "--data", photographs]
    assert indoor("train", "--weights", named, *words) == 0
    manifest = read_manifest(world.runs / "next" / "float32.safetensors")
    assert manifest.arch == "resnet18"
    assert manifest.weights.sha256 == first


def test_a_runs_int8_means_the_run(
    world: World, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evaluating by int8's file evaluates the run, and predicting by it predicts with int8."""
    named = world.runs / "tiny" / "int8.safetensors"
    assert "int8" in [
        one["variant"] for one in evaluated(capsys, named, photographs)["evaluations"]
    ]
    photo = photographs / "Images" / "bars" / "bars_00.jpg"
    answers = []
    for words in (["--run", named], ["--run", "tiny", "--variant", "int8"]):
        assert indoor("predict", *words, photo) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def nothing(world: World) -> tuple[object, str]:  # noqa: ARG001
    return "", "no run ''"


def no_such_run(world: World) -> tuple[object, str]:  # noqa: ARG001
    return "nobody", "(tiny)"


def no_such_file(world: World) -> tuple[object, str]:  # noqa: ARG001
    return "best.pth", "there is no such file"


def no_such_folder(world: World) -> tuple[object, str]:  # noqa: ARG001
    return "no/where", "there is no such file"


def somebody_elses_home(world: World) -> tuple[object, str]:  # noqa: ARG001
    return "~nobody-of-that-name/best.pt", "there is no such file"


def name_too_long_for_a_file(world: World) -> tuple[object, str]:  # noqa: ARG001
    return "x" * 300, "expected"


def folder_without_float32(world: World) -> tuple[object, str]:
    world.save("models/a.pt")
    world.save("models/b.pth")
    return "models", "a.pt, b.pth"


def empty_folder(world: World) -> tuple[object, str]:
    (world.here / "empty").mkdir()
    return "empty", "without float32.safetensors"


def data_set(world: World) -> tuple[object, str]:
    (world.here / "d" / "Images").mkdir(parents=True)
    return "d", "without float32.safetensors"


def run_of_int8_alone(world: World) -> tuple[object, str]:
    (world.runs / "tiny" / "float32.safetensors").unlink()
    return "tiny", "int8.safetensors"


def int8_alone(world: World) -> tuple[object, str]:
    shutil.copy(world.runs / "tiny" / "int8.safetensors", world.here / "int8.safetensors")
    return "int8.safetensors", "holds an int8 model, expected float32"


def int8_under_another_name(world: World) -> tuple[object, str]:
    shutil.copy(world.runs / "tiny" / "int8.safetensors", world.runs / "tiny" / "fast.pt")
    return world.runs / "tiny" / "fast.pt", "holds an int8 model, expected float32"


def something_else_of_the_run(world: World) -> tuple[object, str]:
    return world.runs / "tiny" / "curves.json", "curves.json holds no weights"


def run_and_file_of_one_name(world: World) -> tuple[object, str]:
    world.save("tiny")
    return "tiny", "./tiny"


def run_and_other_run_of_one_name(world: World) -> tuple[object, str]:
    (world.here / "tiny").mkdir()
    shutil.copy(world.float32, world.here / "tiny" / "float32.safetensors")
    return "tiny", "./tiny"


def dangling_symlink(world: World) -> tuple[object, str]:
    (world.here / "latest.pt").symlink_to("gone.pt")
    return "latest.pt", "there is no such file"


def empty_file(world: World) -> tuple[object, str]:
    (world.here / "best.pt").touch()
    return "best.pt", "is empty"


def other_number_of_classes(world: World) -> tuple[object, str]:
    state = world.state
    state["fc.weight"], state["fc.bias"] = torch.randn(7, 512), torch.zeros(7)
    torch.save(state, world.here / "seven.pt")
    return "seven.pt", "indoor train --weights"


def other_names(world: World) -> tuple[object, str]:
    world.save("best.pt", classes=["attic", "cellar", "roof"])
    return "best.pt", "attic"


MISTAKES = [
    (nothing, True),
    (no_such_run, True),
    (no_such_file, False),
    (no_such_folder, False),
    (somebody_elses_home, False),
    (name_too_long_for_a_file, False),
    (folder_without_float32, False),
    (empty_folder, False),
    (data_set, False),
    (run_of_int8_alone, False),
    (int8_alone, False),
    (int8_under_another_name, False),
    (something_else_of_the_run, False),
    (run_and_file_of_one_name, False),
    (run_and_other_run_of_one_name, False),
    (dangling_symlink, False),
    (empty_file, False),
    (other_number_of_classes, False),
    (other_names, False),
]


@pytest.mark.parametrize(
    "member",
    [member for member, _ in MISTAKES],
    ids=[f"{m.__name__}{'-control' if control else ''}" for m, control in MISTAKES],
)
def test_what_is_no_run_and_no_file_is_one_line(
    world: World,
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
    member: Callable[[World], tuple[object, str]],
) -> None:
    """The line says what was named, what it is, and what to name instead; no run is made of it."""
    named, words = member(world)
    before = sorted(path for path in world.runs.rglob("*") if ".lock" not in path.name)
    assert indoor("evaluate", named, "--data", photographs) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert words in said.err
    after = sorted(path for path in world.runs.rglob("*") if ".lock" not in path.name)
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("command", ["quantize", "evaluate", "predict", "predict --data", "train"])
def test_a_guess_is_said_by_every_command(
    world: World,
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    words: tuple[str, ...],
) -> None:
    """Whoever reads the output reads what the file does not say."""
    named = state_dict_alone(world)
    photo = photographs / "Images" / "bars" / "bars_00.jpg"
    data = ("--data", photographs)
    calls: dict[str, tuple[object, ...]] = {
        "quantize": ("quantize", named, "--force", *data),
        "evaluate": ("evaluate", named, *data),
        "predict": ("predict", "--run", named, photo),
        "predict --data": ("predict", "--run", named, *data, photo),
        "train": ("train", "--weights", named, "--epochs", 1, *data),
    }
    assert indoor(*calls[command], *words) == 0
    said = capsys.readouterr()
    text = " ".join((said.out + said.err).split())
    assert "says no mean and std: ImageNet's" in text
    assert ("names no classes" in text) == (command != "train")
    if command.startswith("predict"):
        assert ("class 0" in text or "class 1" in text or "class 2" in text) == (
            command == "predict"
        )


def test_preparing_says_what_it_guessed(world: World, photographs: Path) -> None:
    """The suite's preparation says it, and what it prepared has it in its record."""
    said: list[str] = []
    run = prepare(
        photographs,
        state_dict_alone(world),
        home=world.runs.parent,
        arch="resnet18",
        evaluates=False,
        say=said.append,
    )
    assert any("names no classes: taken to be the data set's 3" in line for line in said)
    assert any("names no classes" in clause for clause in run.manifest.weights.assumed)
    assert any(line.startswith("training skipped") for line in said)


def test_a_random_beginning_stays_said(world: World, photographs: Path, backbone: Path) -> None:
    """A checkpoint that began at random is no trained one when it is adopted as a file."""
    assert read_manifest(backbone).weights.kind == "none"
    words = ["--epochs", 1, "--name", "next", "--data", photographs]
    assert indoor("train", "--weights", backbone, *words) == 0
    path = shutil.copy(world.runs / "next" / "float32.safetensors", world.here / "best.pt")
    opened = open_run(Path(path), world.runs.parent, photographs)
    (clause,) = read_manifest(opened.folder / "float32.safetensors").weights.assumed
    assert clause.startswith("began at random")
