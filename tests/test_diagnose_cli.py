"""`indoor diagnose`: what it prints, draws and refuses."""

import contextlib
import io
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from quantizable import config
from test_report_page import Read

from indoor.cli import main
from indoor.cli.arguments import parse
from indoor.diagnose.causes import apply, find
from indoor.diagnose.plot import plot_diagnosis
from indoor.diagnose.records import Diagnosis, LayerError
from indoor.diagnose.render import render_diagnosis
from indoor.records import from_json


@pytest.fixture(scope="module")
def words(photographs: Path, home: Path) -> list[str]:
    """The command on the session's run."""
    return ["diagnose", str(home / "runs" / "tiny"), "--data", str(photographs)]


@dataclass(frozen=True)
class Told:
    """What the command said and drew of the session's run."""

    json: str
    picture: Path
    page: str

    @property
    def diagnosis(self) -> Diagnosis:
        """The record that it printed."""
        return from_json(self.json, Diagnosis, "standard output")


@pytest.fixture(scope="module")
def told(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The command's JSON and picture."""
    picture, printed = tmp_path_factory.mktemp("told") / "layers.png", io.StringIO()
    page = picture.with_suffix(".html")
    written = ["--plot", str(picture), "--html", str(page)]
    with contextlib.redirect_stdout(printed):
        assert main([*words, "--json", *written, "--photographs", "2"]) == 0
    return Told(printed.getvalue(), picture, page.read_text(encoding="utf-8"))


def layer(name: str, share: float, **figures: object) -> LayerError:
    """Return a layer of which little is known."""
    known: dict[str, object] = {
        "layer": name,
        "kind": "convolution",
        "weight_sqnr_db": 10.0,
        "activation_sqnr_db": 40.0,
        "accumulated_sqnr_db": 9.0,
        "isolated_logit_sqnr_db": 12.0,
        "isolated_weight_logit_sqnr_db": 12.0,
        "cosine": 0.9,
        "saturated": 0.0,
        "dead": 0.0,
        "mean_shift": 0.0,
        "share": share,
    }
    return LayerError(**(known | figures))  # type: ignore[arg-type]


def test_json_is_the_whole_record(told: Told) -> None:
    """All layers, with a run's name alone, and the picture beside it."""
    found = told.diagnosis
    assert len(found.layers) == 30
    assert (found.num_photographs, found.split, found.arch) == (2, "val", "resnet18")
    assert told.picture.read_bytes().startswith(b"\x89PNG")


def test_the_table_has_the_worst_layers_first(
    told: Told, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files give the same as their run; the rest is counted, and `--layers` shows it."""
    run = Path(words[1])
    named = ["diagnose", str(run / "float32.safetensors"), str(run / "int8.safetensors")]
    assert main([*named, *words[2:], "--width", "160", "--photographs", "2"]) == 0
    text = capsys.readouterr().out
    found = told.diagnosis
    worst = [one.layer for one in found.worst_first]
    table = text[text.index("\nLayers\n") :]
    lines = [line.split()[0] for line in table.splitlines() if line.strip()]
    assert [name for name in lines if name in worst] == worst[:20]
    assert "10 more layers have" in table
    every = render_diagnosis(found, every_layer=True, width=160)
    assert all(f"\n{name} " in every for name in worst)


def test_the_next_line_has_all_remedies_and_what_was_chosen_before(
    told: Path,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It can be typed: the configuration that was diagnosed, with the options that help."""
    found = told.diagnosis
    blamed = [
        layer("conv1", 0.6, causes=("shifted means",)),
        layer("fc", 0.4, causes=("unequal channels",)),
    ]
    ill = replace(found, findings=find(blamed, found.config))
    monkeypatch.setattr("indoor.cli.diagnose.diagnose", lambda *_, **__: ill)
    assert main(words) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("next: indoor quantize ")
    asked = parse(shlex.split(line)[2:])
    assert (asked.bias_correction, asked.equalise) == (True, True)
    assert (asked.observer, asked.engine) == (found.config.observer, found.config.engine)


def test_the_page_holds_every_layer_and_their_picture(told: Told) -> None:
    """The worst first in the table, in their order in the picture above it."""
    read = Read(told.page)
    assert read.tags.count("figure") == 1
    assert [row[0] for row in read.tables[-1][1:]] == [
        one.layer for one in told.diagnosis.worst_first
    ]


def test_an_int8_of_another_float32_is_refused(
    words: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Layers of networks that are not one another's compare nothing."""
    from indoor.model import load_float, save_float

    run = tmp_path / "other"
    shutil.copytree(home / "runs" / "tiny", run)
    loaded = load_float(run / "float32.safetensors")
    with torch.no_grad():
        loaded.model.get_parameter("fc.bias").add_(1.0)
    save_float(run / "float32.safetensors", loaded.model, loaded.manifest)
    assert main(["diagnose", str(run), *words[2:]]) == 2
    assert "made from another float32.safetensors" in capsys.readouterr().err
    int8 = home / "runs" / "tiny" / "int8.safetensors"
    assert main(["diagnose", str(run), str(int8), *words[2:]]) == 2
    assert "is made of another float32, expected what was quantized of" in capsys.readouterr().err


def test_an_int8_is_that_of_the_file_that_was_named(
    words: list[str],
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file becomes a run with a hash of its own; the int8 recorded the file's."""
    monkeypatch.setenv("INDOOR_HOME", str(tmp_path / "home"))
    float32 = tmp_path / "my_float32.safetensors"
    shutil.copy(home / "runs" / "tiny" / "float32.safetensors", float32)
    int8 = home / "runs" / "tiny" / "int8.safetensors"
    assert main(["diagnose", str(float32), str(int8), *words[2:], "--photographs", "1"]) == 0
    (run,) = (tmp_path / "home" / "runs").glob("my_float32-*")
    assert main(["quantize", str(float32), *words[2:]]) == 0
    again = ["diagnose", str(float32), str(run / "int8.safetensors"), *words[2:]]
    assert main([*again, "--photographs", "1"]) == 0


def test_a_cause_is_told_once_with_its_layers_and_the_option() -> None:
    """The worst layer's figures stand for all of them."""
    layers = (
        layer("conv1", 0.2, causes=("per-tensor weights",), per_channel_sqnr_db=30.0),
        layer("conv2", 0.5, causes=("per-tensor weights",), per_channel_sqnr_db=38.0),
        layer("conv3", 0.3, causes=()),
    )
    (found,) = find(layers, config())
    assert found.layers == ("conv2", "conv1")
    assert found.figures == ("conv2: its int8 weights leave 10.0 dB, with a scale a channel 38.0")
    assert found.remedy == "--granularity per-channel"


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        ("vpmaddubsw saturation", "--activations 0..127"),
        ("range from the wrong inputs", "--num-calibration 128"),
        ("outliers", "--observer percentile"),
        ("per-tensor weights", "--granularity per-channel"),
        ("unequal channels", "--equalise"),
        ("shifted means", "--bias-correction"),
        ("first or last layer", "--float-layers conv1"),
    ],
)
def test_each_cause_has_an_option_of_quantize(cause: str, remedy: str) -> None:
    """What helps can be typed, and is understood by the parser."""
    blamed = layer("conv1", 1.0, causes=(cause,), per_channel_sqnr_db=30.0)
    asked = config(activation_range=(0, 255), weights="per-tensor")
    (found,) = find([blamed], asked)
    assert found.remedy == remedy
    assert parse(["quantize", "run", *found.remedy.split()])
    changed = apply(found.remedy, asked)
    assert changed != asked
    assert apply(found.remedy, changed) == changed


@pytest.mark.parametrize(
    ("cause", "tried", "remedy"),
    [
        ("range from the wrong inputs", {"num_calibration": 512}, "--observer minmax"),
        ("outliers", {"observer": "percentile"}, "--observer mse"),
        ("unequal channels", {"equalised": True}, "--qat-epochs 3"),
        ("shifted means", {"bias_corrected": True}, "--qat-epochs 3"),
    ],
)
def test_what_is_in_force_is_no_remedy(cause: str, tried: dict[str, object], remedy: str) -> None:
    """Where the first option was taken already, the next one is named."""
    blamed = layer("conv1", 1.0, causes=(cause,))
    (found,) = find([blamed], replace(config(observer="histogram"), **tried))
    assert found.remedy == remedy


def test_a_record_that_was_kept_is_shown_again(told: Told, tmp_path: Path) -> None:
    """Markdown and picture need no checkpoint."""
    assert "| layer |" in render_diagnosis(told.diagnosis, format="markdown")
    plot_diagnosis(told.diagnosis, tmp_path / "layers.png")
    assert (tmp_path / "layers.png").read_bytes() == told.picture.read_bytes()
