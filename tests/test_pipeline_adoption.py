"""A file of weights that becomes a run: once, of its own content, with its history."""

import shutil
import threading
from pathlib import Path

import pytest
import torch

from indoor.errors import IndoorError
from indoor.files import sha256_of_file
from indoor.model import build_model, load_float, read_manifest, recorded_split
from indoor.pipeline import OpenedRun, adoption, open_run, prepare
from indoor.places import find_checkpoint


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A state dict of three outputs that says nothing else."""
    path = tmp_path / "best.pt"
    torch.save(build_model("resnet18", 3, seed=0).state_dict(), path)
    return path


def test_a_file_that_changed_is_another_run(
    weights: Path, photographs: Path, tmp_path: Path
) -> None:
    """What was measured under the first name stays what it was."""
    first = open_run(weights, tmp_path, photographs).folder
    before = (first / "float32.safetensors").read_bytes()
    torch.save(build_model("resnet18", 3, seed=1).state_dict(), weights)
    second = open_run(weights, tmp_path, photographs).folder
    assert first != second
    assert {first.name[:-8], second.name[:-8]} == {"best-"}
    assert (first / "float32.safetensors").read_bytes() == before


def test_a_file_that_changes_while_it_is_read_is_refused(
    weights: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that writes over it must not give a run the name of other weights."""
    load = adoption.load_weights

    def written_meanwhile(*words: object) -> object:
        found = load(*words)  # type: ignore[arg-type]
        torch.save(build_model("resnet18", 3, seed=1).state_dict(), weights)
        return found

    monkeypatch.setattr(adoption, "load_weights", written_meanwhile)
    with pytest.raises(IndoorError, match=r"best.pt changed while it was read; .*start again"):
        open_run(weights, tmp_path, photographs)
    assert not (tmp_path / "runs").exists()


def test_other_data_gives_another_run(weights: Path, photographs: Path, tmp_path: Path) -> None:
    """The classes that a file was taken to have are part of which run it is."""
    other = Path(shutil.copytree(photographs, tmp_path / "other"))
    (other / "Images" / "bars").rename(other / "Images" / "beams")
    for name in ("TrainImages.txt", "TestImages.txt"):
        text = (other / name).read_text().replace("bars/", "beams/")
        (other / name).write_text(text)
    folders = {open_run(weights, tmp_path, root).folder for root in (photographs, other, None)}
    assert len(folders) == 3
    classes = {read_manifest(folder / "float32.safetensors").classes for folder in folders}
    assert classes == {
        ("bars", "checks", "rings"),
        ("beams", "checks", "rings"),
        ("class 0", "class 1", "class 2"),
    }


def test_a_file_that_names_its_classes_is_one_run_with_and_without_data(
    home: Path, photographs: Path, tmp_path: Path
) -> None:
    """`predict`, which needs no data set, finds what `quantize` made."""
    path = Path(shutil.copy(home / "runs" / "tiny" / "float32.safetensors", tmp_path / "best.pt"))
    assert len({open_run(path, tmp_path, root).folder for root in (photographs, None)}) == 1


def test_outputs_that_are_as_many_as_imagenets_have_its_names(tmp_path: Path) -> None:
    """A thousand outputs without names are ImageNet's, each name once, and said so."""
    path = tmp_path / "resnet18-f37072fd.pth"
    torch.save(build_model("resnet18", 1000, seed=0).state_dict(), path)
    manifest = read_manifest(open_run(path, tmp_path).folder / "float32.safetensors")
    assert manifest.classes[0] == "tench"
    assert len(set(manifest.classes)) == 1000
    assert any("taken to be ImageNet's 1000" in clause for clause in manifest.weights.assumed)


def test_a_checkpoint_of_ours_keeps_its_history(
    home: Path, photographs: Path, tmp_path: Path
) -> None:
    """Recipe, settings and the split that its training kept out are those of its training."""
    source = home / "runs" / "tiny" / "float32.safetensors"
    path = Path(shutil.copy(source, tmp_path / "best.safetensors"))
    before = read_manifest(source).provenance
    manifest = read_manifest(open_run(path, tmp_path, photographs).folder / "float32.safetensors")
    there = manifest.provenance
    assert before is not None
    assert there is not None
    assert (there.recipe, there.settings, there.data) == (
        before.recipe,
        before.settings,
        before.data,
    )
    assert there.made_from == {"weights": sha256_of_file(path)}
    assert recorded_split(manifest) == (0, 0.15)


def test_of_a_strangers_file_no_split_is_claimed(
    weights: Path, photographs: Path, tmp_path: Path
) -> None:
    """Which photographs its training saw is not known, and not recorded as if it were."""
    manifest = read_manifest(
        open_run(weights, tmp_path, photographs).folder / "float32.safetensors"
    )
    assert recorded_split(manifest) is None


def test_preparing_again_makes_nothing_anew(
    weights: Path, photographs: Path, tmp_path: Path
) -> None:
    """Also for weights of which no split is known: int8 is recognised as made of them."""
    how = {"home": tmp_path, "arch": "resnet18", "evaluates": False, "seed": 3}
    prepare(photographs, weights, **how)  # type: ignore[arg-type]
    said: list[str] = []
    prepare(photographs, weights, say=said.append, **how)  # type: ignore[arg-type]
    assert said == []


def test_two_at_once_make_one_run(weights: Path, photographs: Path, tmp_path: Path) -> None:
    """Whoever comes second finds the run of the first."""
    opened: list[OpenedRun] = []
    threads = [
        threading.Thread(target=lambda: opened.append(open_run(weights, tmp_path, photographs)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 3
    assert len({run.folder for run in opened}) == 1
    assert load_float(opened[0].folder / "float32.safetensors").manifest.classes


def test_what_another_command_put_there_is_not_written_over(
    weights: Path, home: Path, photographs: Path, tmp_path: Path
) -> None:
    """It may be somebody's only copy."""
    path = open_run(weights, tmp_path, photographs).folder / "float32.safetensors"
    shutil.copy(home / "runs" / "tiny" / "float32.safetensors", path)
    before = path.read_bytes()
    with pytest.raises(IndoorError, match="was not made for this run"):
        open_run(weights, tmp_path, photographs)
    assert path.read_bytes() == before


def test_a_run_that_is_there_needs_no_write_permission(
    weights: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once adopted, a file is found in a home that nobody may write to."""
    first = open_run(weights, tmp_path, photographs)
    monkeypatch.setattr(adoption, "locked", lambda *_, **__: pytest.fail("it locked"))
    assert open_run(weights, tmp_path, photographs) == first


@pytest.mark.parametrize("named", ["tiny", "runs/tiny", "runs/tiny/float32.safetensors"])
def test_a_run_is_weights_for_a_preparation(
    home: Path, photographs: Path, tmp_path: Path, named: str
) -> None:
    """`prepare` takes a run's name, folder or file for the weights in it."""
    shutil.copytree(home / "runs" / "tiny", tmp_path / "runs" / "tiny")
    source = tmp_path / "runs" / "tiny" / "float32.safetensors"
    weights = named if named == "tiny" else tmp_path / named
    run = prepare(photographs, weights, home=tmp_path, arch="resnet18", evaluates=False)
    assert run.manifest.weights.sha256 == sha256_of_file(source)
    assert find_checkpoint(str(run.run_folder), tmp_path).parent == run.run_folder
