"""How the pipeline's functions are called from Python: what they take, and what they refuse."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from indoor.errors import IndoorError
from indoor.machine import read_machine
from indoor.model import LoadedModel, load_float, sources
from indoor.pipeline import evaluate_run, preparation, prepare
from indoor.quantize import default_config, quantize_checkpoint

RUN = "home/runs/tiny"
FLOAT32 = f"{RUN}/float32.safetensors"
PHOTOGRAPHS = Path("photographs")


@pytest.fixture
def place(
    tmp_path: Path, photographs: Path, home: Path, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working directory: `photographs`, `home` with a run, and a `backbone.safetensors`."""
    (tmp_path / "photographs").symlink_to(photographs)
    shutil.copytree(home, tmp_path / "home")
    shutil.copy(backbone, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("of", [str, Path], ids=["text", "path-control"])
@pytest.mark.parametrize(
    "call",
    [
        lambda of: prepare(
            of("photographs"), of(FLOAT32), home=of("made"), arch="resnet18", evaluates=False
        ).run_folder.is_relative_to("made"),
        lambda of: evaluate_run(of("photographs"), of(RUN), split="val").evaluations,
        lambda of: quantize_checkpoint(load_float(of(FLOAT32)), of("photographs"), out=of("i8")),
        lambda of: load_float(of(FLOAT32)).path == Path(FLOAT32),
    ],
    ids=["prepare", "evaluate_run", "quantize_checkpoint", "load_float"],
)
@pytest.mark.usefixtures("place")
def test_a_path_may_be_text(
    call: Callable[[Callable[[str], str | Path]], object], of: Callable[[str], str | Path]
) -> None:
    """As everywhere in Python."""
    assert call(of)


@pytest.mark.parametrize("weights", ["backbone.safetensors", FLOAT32, RUN])
@pytest.mark.usefixtures("place")
def test_the_weights_say_which_network_they_are(weights: str) -> None:
    """A file or run of another network than the default is no mistake."""
    prepared = prepare("photographs", weights, home="made", evaluates=False)
    assert prepared.manifest.arch == "resnet18"
    named = prepare("photographs", weights, home="made", arch="resnet18", evaluates=False)
    assert named.run_folder == prepared.run_folder


@pytest.mark.usefixtures("place")
def test_a_backbone_says_which_network_it_is_and_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was read for the run's name is what is trained."""
    state = load_float("backbone.safetensors").model.state_dict()
    torch.save({k: v for k, v in state.items() if not k.startswith("fc.")}, "no-head.pt")
    read: list[str] = []

    def watched(path: Path, **how: Any) -> LoadedModel:
        read.append(Path(path).name)
        return load_float(path, **how)

    def trained(*_: object, arch: str, **__: object) -> None:
        raise InterruptedError(arch)

    monkeypatch.setattr(sources, "load_float", watched)
    monkeypatch.setattr(preparation, "load_float", watched)
    monkeypatch.setattr(preparation, "fine_tune", trained)
    with pytest.raises(InterruptedError, match="resnet18"):
        prepare("photographs", "no-head.pt", home="made", evaluates=False)
    assert read == ["no-head.pt"]


@pytest.mark.parametrize("given", [FLOAT32, Path(FLOAT32)], ids=["text", "path"])
@pytest.mark.usefixtures("place")
def test_a_checkpoint_is_quantized_from_its_file(given: str | Path) -> None:
    """As from what `load_float` made of it."""
    from_file = quantize_checkpoint(given, "photographs", default_config(), out="a.safetensors")
    loaded = load_float(FLOAT32)
    assert from_file == quantize_checkpoint(loaded, "photographs", out="b.safetensors")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: prepare("photographs", "backbone.safetensors", arch="resnet18", recipe="all"),  # type: ignore[arg-type]
            "recipe is 'all', expected one of head, full",
        ),
        (lambda: prepare(PHOTOGRAPHS, Path(FLOAT32), home=Path(), arch="resnet34"), "unknown arch"),
        (lambda: prepare("photographs", FLOAT32, device="gpu"), "unknown device 'gpu'; expected"),
        (lambda: evaluate_run("photographs", RUN, device="gpu"), "unknown device 'gpu'; expected"),
        (lambda: evaluate_run("photographs", RUN, device="cpu:0"), "unknown device 'cpu:0'"),
        (
            lambda: evaluate_run(PHOTOGRAPHS, Path(RUN), read_machine(), split="validation"),  # type: ignore[arg-type]
            "split is 'validation', expected one of train, val, test",
        ),
        (lambda: prepare("nowhere"), "there is no folder nowhere; expected a data set"),
        (lambda: prepare("photographs", "nowhere.pt"), "nowhere.pt: there is no such file"),
        (lambda: evaluate_run("photographs", "nowhere"), "there is no file nowhere/float32"),
        (lambda: quantize_checkpoint("nowhere.pt", "photographs", out="a"), "there is no file"),
        (lambda: quantize_checkpoint(FLOAT32, "nowhere", out="a"), "there is no folder nowhere"),
        (lambda: load_float(""), "expected a file of weights"),
    ],
    ids=[
        "recipe",
        "arch-control",
        "device of prepare",
        "device of evaluate_run",
        "numbered device",
        "split-control",
        "no data",
        "no weights",
        "no run",
        "no checkpoint",
        "no data to quantize on",
        "no name",
    ],
)
@pytest.mark.usefixtures("place")
def test_what_cannot_be_meant_is_told_in_one_line(
    call: Callable[[], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the value was and what was expected, before anything is made."""
    monkeypatch.setenv("INDOOR_HOME", "made")
    with pytest.raises((ValueError, IndoorError)) as refused:
        call()
    (line,) = str(refused.value).splitlines()
    assert message in line
    assert not list(Path().glob("made/runs/*/*.safetensors"))
