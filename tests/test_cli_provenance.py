"""The commands pair and evaluate what belongs together, and say what they cannot know."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indoor.cli import main
from indoor.dataset import IndoorScenes
from indoor.errors import IndoorError
from indoor.model import load_float, read_manifest
from indoor.pipeline import predictions
from indoor.records import to_builtins


@pytest.fixture
def world(
    home: Path, tmp_path: Path, photographs: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Call `indoor` in a copy of the shared home whose run is `a`; words for data are added."""
    runs = tmp_path / "home" / "runs"
    shutil.copytree(home / "runs" / "tiny", runs / "a")
    monkeypatch.setenv("INDOOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    train = ["--weights", backbone, "--model", "resnet18", "--epochs", "1"]

    def call(command: str, *words: object, data: Path = photographs) -> int:
        more = [*train] if command == "train" else []
        return main([str(word) for word in (command, *words, "--data", data, *more)])

    return call


@pytest.fixture
def other_data(photographs: Path, tmp_path: Path) -> Path:
    """The photographs without one class."""
    root = Path(shutil.copytree(photographs, tmp_path / "other"))
    for name in ("TrainImages.txt", "TestImages.txt"):
        lines = (root / name).read_text().splitlines()
        (root / name).write_text("\n".join(line for line in lines if not line.startswith("bars")))
    shutil.rmtree(root / "Images" / "bars")
    return root


def as_format_1(path: Path) -> None:
    """Write a checkpoint again as an indoor of before format 2 wrote it."""
    import safetensors.torch

    about = to_builtins(replace(read_manifest(path), format=1))
    for field in ("provenance", "content_sha256"):
        about.pop(field)
    tensors = safetensors.torch.load_file(path)
    path.write_bytes(safetensors.torch.save(tensors, {"indoor": json.dumps(about)}))


def remove_float32(home: Path) -> None:
    """Remove the float32 of the run `a`, which another training does not replace."""
    (home / "runs" / "a" / "float32.safetensors").unlink()


def read_json(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what a command printed as JSON."""
    return json.loads(capsys.readouterr().out)


def test_int8_of_an_earlier_training_is_left_out(
    world: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After another training float32 is evaluated alone, and one line says why and what to do.

    The training itself is refused for as long as the earlier one's float32 is there.
    """
    assert world("train", "--name", "a", "--seed", "1") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "another --name" in said[0]
    remove_float32(tmp_path / "home")
    assert world("train", "--name", "a", "--seed", "1") == 0
    capsys.readouterr()
    assert world("evaluate", "a", "--json") == 0
    report = read_json(capsys)
    assert "int8" not in [evaluation["variant"] for evaluation in report["evaluations"]]
    note = report["left_out"]["int8"]
    assert "int8.safetensors was made from another float32.safetensors" in note
    assert "indoor quantize " in note
    assert "/runs/a --data " in note  # by its folder, as INDOOR_HOME is set
    assert world("evaluate", "a") == 0
    printed = capsys.readouterr().out  # in lines of the terminal's width, which may cut a path
    assert "".join(note.split()) in "".join(printed.split())
    assert world("quantize", "a") == 0
    capsys.readouterr()
    assert world("evaluate", "a", "--json") == 0
    report = read_json(capsys)
    assert "int8" in [evaluation["variant"] for evaluation in report["evaluations"]]
    assert (report["notes"], report["left_out"]) == ([], {})


def test_int8_of_other_classes_is_left_out(
    world: Callable[..., int],
    other_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An int8 of three classes beside a float32 of two is no traceback."""
    remove_float32(tmp_path / "home")
    assert world("train", "--name", "a", data=other_data) == 0
    capsys.readouterr()
    assert world("evaluate", "a", "--json", data=other_data) == 0
    report = read_json(capsys)
    assert {evaluation["variant"] for evaluation in report["evaluations"]} <= {
        "float32",
        "bfloat16",
    }
    assert "int8" in report["left_out"]


def test_int8_copied_from_another_run_is_left_out(
    world: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that was copied into the run's folder is told as one that was trained over."""
    assert world("train", "--name", "b", "--seed", "1") == 0
    runs = tmp_path / "home" / "runs"
    shutil.copy(runs / "a" / "int8.safetensors", runs / "b")
    capsys.readouterr()
    assert world("evaluate", "b", "--json") == 0
    assert "another float32" in read_json(capsys)["left_out"]["int8"]


def test_a_prediction_of_an_unpaired_int8_is_refused(
    world: Callable[..., int],
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Asked for int8 by name, the answer is one line and exit 2."""
    photo = str(photographs / "Images" / "bars" / "bars_00.jpg")
    remove_float32(tmp_path / "home")
    assert world("train", "--name", "a", "--seed", "1") == 0
    capsys.readouterr()
    assert main(["predict", "--run", "a", "--variant", "int8", photo]) == 2
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1
    assert "another float32.safetensors" in said.err
    assert main(["predict", "--run", "a", photo]) == 0


def test_validation_is_the_runs_own(
    world: Callable[..., int],
    tmp_path: Path,
    photographs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run of seed 1 is evaluated on what seed 1 kept out of training, without saying so again."""
    assert world("train", "--name", "b", "--seed", "1") == 0
    capsys.readouterr()
    seen: list[str] = []
    load = IndoorScenes.__getitem__

    def note(scenes: IndoorScenes, index: int) -> Any:
        seen.append(scenes.samples[index].name)
        return load(scenes, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IndoorScenes, "__getitem__", note)
        assert world("evaluate", "b", "--split", "val", "--json") == 0
    kept_out = {sample.name for sample in IndoorScenes(photographs, "val", seed=1).samples}
    assert set(seen) == kept_out
    report = read_json(capsys)
    assert report["data"]["seed"] == 1
    manifest = load_float(tmp_path / "home" / "runs" / "b" / "float32.safetensors").manifest
    assert report["evaluations"][0]["top1"]["value"] == manifest.metrics["val_accuracy"]


def test_who_trains_on_keeps_what_the_weights_never_saw(
    world: Callable[..., int],
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The split is that of the run whose weights they are; another seed is refused."""
    assert world("train", "--name", "b", "--seed", "1") == 0
    words = ["train", "--data", str(photographs), "--weights", "b", "--name", "c", "--epochs", "1"]
    assert main(words) == 0
    data = read_manifest(tmp_path / "home" / "runs" / "c" / "float32.safetensors").provenance.data
    assert (data.seed, data.val_fraction) == (1, 0.15)
    capsys.readouterr()
    assert main([*words[:-4], "--name", "d", "--seed", "2"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--seed 2: float32.safetensors was trained with seed 1, and on most of" in line
    assert not (tmp_path / "home" / "runs" / "d" / "float32.safetensors").exists()


@pytest.mark.parametrize("command", ["evaluate", "quantize"])
def test_another_seed_than_the_runs_is_refused(
    world: Callable[..., int], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Where the seed would choose another validation split, one line says both seeds."""
    assert world("train", "--name", "b", "--seed", "1") == 0
    capsys.readouterr()
    words = ["--split", "val"] if command == "evaluate" else []
    status = world(command, "b", "--seed", "2", *words)
    said = capsys.readouterr()
    if command == "quantize":  # here the seed chooses the calibration photographs, and no split
        assert status == 0
        return
    assert status == 2
    assert len(said.err.splitlines()) == 1
    assert "--seed 2" in said.err
    assert "seed 1" in said.err


def test_a_run_of_format_1_says_that_its_split_is_unknown(
    world: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an earlier indoor did not record is said, and --seed decides."""
    folder = tmp_path / "home" / "runs" / "a"
    for precision in ("float32", "int8"):
        as_format_1(folder / f"{precision}.safetensors")
    assert world("evaluate", "a", "--split", "val", "--seed", "4", "--json") == 0
    report = read_json(capsys)
    assert report["data"]["seed"] == 4
    assert any("not recorded" in note and "seed 4" in note for note in report["notes"])
    assert any("int8" in note and "not recorded" in note for note in report["notes"])
    assert "int8" in [evaluation["variant"] for evaluation in report["evaluations"]]


def test_int8_of_format_1_beside_a_newer_float32_is_left_out(
    world: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An earlier indoor's int8 cannot be of a float32 that this one trained."""
    as_format_1(tmp_path / "home" / "runs" / "a" / "int8.safetensors")
    assert world("evaluate", "a", "--json") == 0
    report = read_json(capsys)
    assert "int8" not in [evaluation["variant"] for evaluation in report["evaluations"]]
    assert "another float32" in report["left_out"]["int8"]


def test_a_flipped_bit_makes_no_plain_weights_of_a_checkpoint(
    backbone: Path, tmp_path: Path
) -> None:
    """Where the manifest's own name is damaged, its classes and preprocessing are not guessed."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(backbone.read_bytes().replace(b'"indoor":', b'"indooR":', 1))
    with pytest.raises(IndoorError, match=r"is damaged .*copy or make it again"):
        load_float(path)


def test_a_run_that_changes_while_it_is_evaluated_is_one_line(
    world: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Figures of one float32 are not paired with those of the next one."""
    assert world("train", "--name", "b", "--seed", "1") == 0
    capsys.readouterr()
    runs = tmp_path / "home" / "runs"
    predict = predictions.predict

    def trained_meanwhile(*words: Any, **more: Any) -> Any:
        shutil.copy(runs / "b" / "float32.safetensors", runs / "a")
        return predict(*words, **more)

    monkeypatch.setattr(predictions, "predict", trained_meanwhile)
    assert world("evaluate", "a") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "changed while it was evaluated" in said.err


def test_validation_of_other_photographs_is_refused(
    world: Callable[..., int],
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Which photographs were trained on is known of the training's data set alone."""
    grown = Path(shutil.copytree(photographs, tmp_path / "grown"))
    (grown / "Images/bars/new.jpg").write_bytes((grown / "Images/bars/bars_11.jpg").read_bytes())
    with (grown / "TrainImages.txt").open("a") as file:
        file.write("\nbars/new.jpg")
    assert world("evaluate", "a", "--split", "val", data=grown) == 2
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1
    assert "other train photographs" in said.err
    assert world("evaluate", "a", data=grown) == 0
