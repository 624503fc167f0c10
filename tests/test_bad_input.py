"""Bad input gets one line that says what, the value and the remedy; exit 2; nothing lost."""

# ruff: noqa: D103 - a case's name says what is wrong

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from indoor.cli import main
from indoor.cli.arguments import build_parser
from indoor.model import build_model


class Code:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Return a call that makes a folder."""
        return os.mkdir, ("code-was-executed",)


@dataclass
class World:
    """A good data set to spoil, and a folder for whatever else a case needs."""

    data: Path
    folder: Path

    def train_list(self) -> Path:
        """Return the train list's path."""
        return self.data / "TrainImages.txt"

    def photograph(self) -> Path:
        """Return the path of a train photograph."""
        return self.data / "Images" / self.train_list().read_text().splitlines()[0]

    def weights(self, arch: str = "resnet18", num_classes: int = 3) -> Path:
        """Save a plain state dict and return its path."""
        path = self.folder / "weights.pt"
        torch.save(build_model(arch, num_classes, seed=0).state_dict(), path)
        return path


def train(world: World, *words: object) -> list[str]:
    """Return the words of a quick training on the world's data."""
    return ["train", "--data", world.data, "--no-download", "--model", "resnet18", *words]


def missing_folder(world: World) -> list[object]:
    return ["data", "verify", world.folder / "nowhere"]


def missing_photograph(world: World) -> list[object]:
    world.photograph().unlink()
    return train(world)


def empty_list(world: World) -> list[object]:
    world.train_list().write_text("\n")
    return train(world)


def no_lists(world: World) -> list[object]:
    world.train_list().unlink()
    return train(world)


def truncated_photograph(world: World) -> list[object]:
    path = world.photograph()
    path.write_bytes(path.read_bytes()[:400])
    return train(world)


def text_named_jpg(world: World) -> list[object]:
    world.photograph().write_text("this is no picture")
    return train(world)


def class_without_folder(world: World) -> list[object]:
    with world.train_list().open("a") as file:
        file.write("\nattic/one.jpg")
    return train(world)


def path_out_of_the_data(world: World) -> list[object]:
    with world.train_list().open("a") as file:
        file.write("\nbars/../../../secret.jpg")
    return train(world)


def prediction_of_a_cut_photograph(world: World) -> list[object]:
    path = world.photograph()
    path.write_bytes(path.read_bytes()[:400])
    return ["predict", "--run", "tiny", path]


def missing_weights(world: World) -> list[object]:
    return train(world, "--weights", world.folder / "none.pt")


def weights_with_code(world: World) -> list[object]:
    path = world.folder / "evil.pt"
    path.write_bytes(pickle.dumps(Code()))
    return train(world, "--weights", path)


def weights_of_another_architecture(world: World) -> list[object]:
    return [*train(world, "--weights", world.weights("resnet18")), "--model", "resnet50"]


def truncated_weights(world: World) -> list[object]:
    path = world.folder / "cut.safetensors"
    save_file({"fc.weight": torch.zeros(3, 512)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    return train(world, "--weights", path)


def weights_that_are_a_folder(world: World) -> list[object]:
    return train(world, "--weights", world.folder)


def unknown_run(world: World) -> list[object]:
    return ["quantize", "never-made", "--data", world.data]


def unknown_engine(world: World) -> list[object]:
    return ["quantize", "tiny", "--data", world.data, "--engine", "cudnn"]


def calibration_batch_0(world: World) -> list[object]:
    return ["quantize", "tiny", "--data", world.data, "--batch", 0]


def another_activation_range(world: World) -> list[object]:
    return ["quantize", "tiny", "--data", world.data, "--activations", "0..64"]


def other_classes_than_the_run(world: World) -> list[object]:
    for name in ("TrainImages.txt", "TestImages.txt"):
        path = world.data / name
        lines = [line for line in path.read_text().splitlines() if not line.startswith("bars")]
        path.write_text("\n".join(lines))
    shutil.rmtree(world.data / "Images" / "bars")
    return ["evaluate", "tiny", "--data", world.data]


def no_photograph_to_predict(world: World) -> list[object]:
    return ["predict", "--run", "tiny", world.folder / "none.jpg"]


def prediction_of_a_text(world: World) -> list[object]:
    (world.folder / "note.jpg").write_text("text")
    return ["predict", "--run", "tiny", world.folder / "note.jpg"]


def results_that_are_no_json(world: World) -> list[object]:
    (world.folder / "r.json").write_text("{")
    return ["report", world.folder / "r.json"]


def results_of_something_else(world: World) -> list[object]:
    (world.folder / "r.json").write_text('{"rows": []}')
    return ["report", world.folder / "r.json"]


def no_results(world: World) -> list[object]:
    return ["report", "--results", world.folder]


def epochs_0(world: World) -> list[object]:
    return train(world, "--epochs", 0)


def resolution_for_the_head_recipe(world: World) -> list[object]:
    return train(world, "--size", 64)


def unknown_model(world: World) -> list[object]:
    return [*train(world), "--model", "resnet34"]


def no_command(world: World) -> list[object]:  # noqa: ARG001 - every case has this form
    return []


def drawing_over_photographs(world: World) -> list[object]:
    return ["demo", "--out", world.data]


def home_that_is_a_file(world: World) -> list[object]:
    path = world.folder / "file"
    path.write_text("")
    os.environ["INDOOR_HOME"] = str(path)  # the fixture's monkeypatch puts it back
    return train(world)


CASES: list[tuple[Callable[[World], list[object]], str]] = [
    (missing_folder, "nowhere"),
    (missing_photograph, "bars_00.jpg"),
    (empty_list, "TrainImages.txt"),
    (no_lists, "TrainImages.txt"),
    (truncated_photograph, "bars_00.jpg"),
    (text_named_jpg, "bars_00.jpg"),
    (class_without_folder, "attic"),
    (path_out_of_the_data, "secret.jpg"),
    (missing_weights, "none.pt"),
    (weights_with_code, "evil.pt"),
    (weights_of_another_architecture, "resnet50"),
    (truncated_weights, "cut.safetensors"),
    (weights_that_are_a_folder, "world"),
    (unknown_run, "'never-made'"),
    (unknown_engine, "cudnn"),
    (calibration_batch_0, "0 is not 1 or more"),
    (another_activation_range, "0..64"),
    (other_classes_than_the_run, "3 classes"),
    (no_photograph_to_predict, "none.jpg"),
    (prediction_of_a_text, "note.jpg"),
    (prediction_of_a_cut_photograph, "bars_00.jpg"),
    (results_that_are_no_json, "r.json"),
    (results_of_something_else, "r.json"),
    (no_results, "pytest bench"),
    (epochs_0, "0 is not 1 or more"),
    (resolution_for_the_head_recipe, "--size 64"),
    (unknown_model, "resnet34"),
    (no_command, "COMMAND"),
    (drawing_over_photographs, "data"),
    (home_that_is_a_file, "file"),
]


@pytest.mark.parametrize(("case", "words"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_bad_input_gets_one_line(
    case: Callable[[World], list[object]],
    words: str,
    home: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line on standard error that names the culprit, exit 2, and every file as it was."""
    world = World(data=tmp_path / "data", folder=tmp_path / "world")
    shutil.copytree(photographs, world.data)
    world.folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INDOOR_HOME", str(home))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    arguments = [str(word) for word in case(world)]
    before = snapshot(home / "runs" / "tiny") | snapshot(world.data)

    status = main(arguments)

    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert words in said.err
    assert "Traceback" not in said.err
    assert "--skip-broken" not in said.err or takes_skip_broken(arguments), said.err
    assert status == 2
    assert snapshot(home / "runs" / "tiny") | snapshot(world.data) == before
    assert not (tmp_path / "code-was-executed").exists()


def takes_skip_broken(arguments: list[str]) -> bool:
    """Return whether the command has the option that a message names as its remedy."""
    try:
        build_parser().parse_args([*arguments, "--skip-broken"])
    except SystemExit:
        return False
    return True


def snapshot(folder: Path) -> dict[Path, bytes]:
    """Return every file below the folder with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
