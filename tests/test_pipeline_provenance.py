"""A prepared run measures what was asked for, whatever other commands left in its folder."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from indoor import files, places
from indoor.cli import main
from indoor.dataset import identify, soundness
from indoor.errors import IndoorError
from indoor.machine import read_machine
from indoor.model import build_model, read_manifest, sources, verify
from indoor.pipeline import Prepared, prepare
from indoor.pipeline import preparation as preparation_module
from indoor.quantize import default_config

FORCED = ("--observer", "minmax", "--num-calibration", 1, "--force")
"""How `indoor quantize` makes an int8 whose check fails, and keeps it."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, photographs: Path, backbone: Path) -> Prepared:
    """A run on the drawn photographs, from the backbone's weights."""
    home = tmp_path_factory.mktemp("provenance")
    return prepare(photographs, backbone, home=home, arch="resnet18", evaluates=False)


@pytest.fixture
def again(
    first: Prepared, tmp_path: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Prepared, list[str]]]:
    """Prepare once more in a copy of the run's home, INDOOR_HOME; return run and what was said."""
    home = Path(shutil.copytree(first.run_folder.parent.parent, tmp_path / "home"))
    monkeypatch.setenv("INDOOR_HOME", str(home))

    def call(root: Path | None = None, **how: bool) -> tuple[Prepared, list[str]]:
        said: list[str] = []
        run = prepare(
            root or first.root,
            backbone,
            home=home,
            arch="resnet18",
            evaluates=False,
            say=said.append,
            **how,
        )
        return run, said

    return call


def indoor(*words: object) -> int:
    """Run one command."""
    return main([str(word) for word in words])


def fewer_of(root: Path, folder: Path) -> Path:
    """Return a copy of a data set that lacks one train photograph."""
    fewer = Path(shutil.copytree(root, folder / "fewer"))
    lines = (fewer / "TrainImages.txt").read_text().splitlines()
    (fewer / "TrainImages.txt").write_text("\n".join(lines[1:]))
    return fewer


def test_the_checkpoints_say_what_they_were_made_from(first: Prepared, backbone: Path) -> None:
    """float32 names its weights, recipe and photographs, int8 the float32, by their content."""
    float32 = read_manifest(first.run_folder / "float32.safetensors")
    int8 = read_manifest(first.run_folder / "int8.safetensors")
    assert float32.provenance is not None
    assert float32.provenance.made_from == {"weights": files.sha256_of_file(backbone)}
    assert float32.provenance.recipe == "head"
    assert float32.provenance.settings["epochs"] == 20
    assert float32.provenance.run == first.run_folder.name
    assert float32.provenance.torch == str(torch.__version__)
    assert float32.provenance.device == "cpu"
    assert float32.provenance.environment is not None
    assert float32.provenance.data == identify(first.root, test=False)
    assert (first.data.seed, first.data.val_fraction) == (0, 0.15)
    assert int8.provenance is not None
    assert int8.provenance.made_from == {"float32": float32.content_sha256}
    assert int8.provenance.data == float32.provenance.data


@pytest.mark.parametrize(
    "words",
    [
        FORCED,
        ("--seed", 3),
        ("--batch", 4),
    ],
    ids=["an experiment", "another seed", "another batch"],
)
def test_an_int8_of_other_settings_is_made_anew(
    first: Prepared, again: Callable[..., tuple[Prepared, list[str]]], words: tuple[object, ...]
) -> None:
    """What `indoor quantize` put into a prepared run's folder is not measured as the default."""
    name = first.run_folder.name
    assert indoor("quantize", name, "--data", first.root, *words) == 0
    run, said = again()
    assert [line.split()[0] for line in said] == ["kept", "quantized"]
    assert run.quantization.config == default_config()
    assert run.quantization.calibration_sha256 == first.quantization.calibration_sha256
    assert not run.quantization.forced
    assert again()[1] == []


@pytest.mark.parametrize(
    "words",
    [("--rounding", "gptq", "--float-layers", "fc"), ("--seed", 3)],
    ids=["repaired", "another seed"],
)
def test_an_int8_of_other_settings_is_kept_for_those_who_ask(
    first: Prepared, again: Callable[..., tuple[Prepared, list[str]]], words: tuple[object, ...]
) -> None:
    """`keeps_int8` measures what `indoor quantize` chose, and says nothing of making another."""
    assert indoor("quantize", first.run_folder.name, "--data", first.root, *words) == 0
    run, said = again(keeps_int8=True)
    assert said == []
    there = verify(run.run_folder / places.INT8).quantization
    assert run.quantization == there
    assert run.quantization.config != default_config()
    assert run.checkpoint_sha256["int8"] != first.checkpoint_sha256["int8"]


@pytest.mark.parametrize("spoiled", ["missing", "damaged", "photographs", "float32", "forced"])
def test_an_int8_that_cannot_be_kept_is_refused_and_left(
    first: Prepared,
    again: Callable[..., tuple[Prepared, list[str]]],
    tmp_path: Path,
    spoiled: str,
) -> None:
    """One line says why, and what lies there stays as it is."""
    run, data = places.runs_folder(tmp_path / "home") / first.run_folder.name, first.root
    path = run / places.INT8
    if spoiled == "missing":
        path.unlink()
        reason = "there is no file .*int8"
    elif spoiled == "damaged":
        path.write_bytes(path.read_bytes()[:-1])
        reason = r"int8\.safetensors is damaged"
    elif spoiled == "photographs":
        data = fewer_of(first.root, tmp_path)
        assert indoor("quantize", run.name, "--data", data) == 0
        reason = "was calibrated on other photographs"
    elif spoiled == "float32":
        words = ("--weights", run / places.FLOAT32, "--epochs", 1, "--name", "other")
        assert indoor("train", "--data", data, *words) == 0
        assert indoor("quantize", "other", "--data", data) == 0
        shutil.copyfile(run.parent / "other" / places.INT8, path)
        reason = "is not of this float32"
    else:
        assert indoor("quantize", run.name, "--data", data, *FORCED) == 0
        reason = "failed its check"
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(IndoorError, match=reason) as refused:
        again(keeps_int8=True)
    assert "\n" not in str(refused.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert len(list(run.glob("int8*"))) == (before is not None)


def test_an_int8_of_other_photographs_is_made_anew(
    first: Prepared, again: Callable[..., tuple[Prepared, list[str]]], tmp_path: Path
) -> None:
    """The same settings on another data set of the same classes give another int8."""
    fewer = fewer_of(first.root, tmp_path)
    assert indoor("quantize", first.run_folder.name, "--data", fewer) == 0
    run, said = again()
    assert [line.split()[0] for line in said] == ["kept", "quantized"]
    assert run.quantization == first.quantization


def test_an_int8_of_an_earlier_indoor_is_made_anew(
    again: Callable[..., tuple[Prepared, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody recorded what an int8 was made from, it is not taken for the one wanted."""

    def forget(path: Path) -> object:
        manifest = verify(path)
        return replace(manifest, provenance=None) if path.name == "int8.safetensors" else manifest

    monkeypatch.setattr(preparation_module, "verify", forget)
    _, said = again()
    assert [line.split()[0] for line in said] == ["quantized"]


def test_a_float32_of_another_command_is_refused(
    first: Prepared, again: Callable[..., tuple[Prepared, list[str]]], backbone: Path
) -> None:
    """Who trained into a prepared run's folder keeps the result, and is told to move it."""
    name = first.run_folder.name
    (places.runs_folder(places.data_folder()) / name / places.FLOAT32).unlink()
    words = ("--name", name, "--model", "resnet18", "--weights", backbone, "--epochs", 2)
    assert indoor("train", "--data", first.root, *words) == 0
    with pytest.raises(IndoorError, match=rf"{name}.*was not made for this run.*move it") as failed:
        again()
    assert "\n" not in str(failed.value)


def test_a_float32_copied_from_another_run_is_refused(
    again: Callable[..., tuple[Prepared, list[str]]],
    photographs: Path,
    tmp_path: Path,
    backbone: Path,
) -> None:
    """A file that was copied from elsewhere is told as well."""
    home = tmp_path / "elsewhere"
    other = prepare(photographs, backbone, home=home, arch="resnet18", seed=1, evaluates=False)
    run, _ = again()
    shutil.copy(other.run_folder / "float32.safetensors", run.run_folder)
    with pytest.raises(IndoorError, match="was not made for this run"):
        again()


def test_downloaded_and_cached_weights_are_the_same(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that began with a download goes on from torch's cache, and trains nothing again."""
    state = build_model("resnet18", 1000, seed=9).state_dict()
    torch.save(state, tmp_path / "file.pth")
    served = tmp_path / f"resnet18-{files.sha256_of_file(tmp_path / 'file.pth')[:8]}.pth"
    (tmp_path / "file.pth").rename(served)

    def fetch(url: str, path: Path, **_: object) -> None:
        assert url.endswith(path.name)
        path.parent.mkdir(parents=True)
        shutil.copy(served, path)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setitem(sources.IMAGENET_URLS, "resnet18", f"https://nowhere/{served.name}")
    monkeypatch.setattr(sources, "fetch", fetch)
    said: list[str] = []
    config = replace(default_config(), num_calibration=4)

    def call() -> Prepared:
        return prepare(
            photographs,
            None,
            home=tmp_path / "home",
            arch="resnet18",
            config=config,
            evaluates=False,
            say=said.append,
        )

    first = call()
    assert first.manifest.weights.kind == "imagenet-download"
    said.clear()
    second = call()
    assert second.run_folder == first.run_folder
    assert said == []


def test_a_second_preparation_reads_no_content(
    again: Callable[..., tuple[Prepared, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What did not change is neither hashed nor decoded nor loaded again, in a new process too."""
    import time

    time.sleep(0.06)
    expected, _ = again()
    monkeypatch.setattr(files, "_MEMORY", files._Memory())
    for module, name in (
        (files, "sha256_of_file"),
        (soundness, "read_photograph_bytes"),
        (sources, "load_float"),
        (preparation_module, "load_float"),
    ):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("read again"))
    run, said = again()
    assert said == []
    assert run.checkpoint_sha256 == expected.checkpoint_sha256
    assert run.data == expected.data


def test_a_changed_photograph_is_noticed(photographs: Path, tmp_path: Path) -> None:
    """What is remembered of a file counts only while it stays as it was."""
    root = Path(shutil.copytree(photographs, tmp_path / photographs.name))
    path = root / "Images/bars/bars_11.jpg"
    before = identify(root)
    path.write_bytes(path.read_bytes() + b"\0")
    assert identify(root).sha256 != before.sha256


def test_figures_of_other_photographs_are_taken_again(
    first: Prepared, tmp_path: Path, backbone: Path
) -> None:
    """An evaluation that holds other data's figures, or a flipped bit, is not used."""
    home = Path(shutil.copytree(first.run_folder.parent.parent, tmp_path / "home"))

    def call() -> tuple[Prepared, list[str]]:
        said: list[str] = []
        run = prepare(first.root, backbone, home=home, arch="resnet18", say=said.append)
        return run, said

    run, said = call()
    assert said[0].startswith("evaluated on 12 test photographs")
    assert call()[1] == []
    path = run.run_folder / "evaluation.json"
    text = path.read_text()
    assert '"num_photographs": 12' in text
    path.write_text(text.replace('"num_photographs": 12', '"num_photographs": 13', 1))
    run, said = call()
    assert said[0].startswith("evaluating again: ")
    assert "damaged" in said[0]
    assert path.read_text() == text
    assert hashlib.sha256(text.encode()).hexdigest() == files.sha256_of_file(path)
    assert run.report is not None
    assert run.report.cpu_model == read_machine().cpu_model
