"""`indoor quantize --auto`: its options, what it prints, and its exit status."""

import json
import shlex
from pathlib import Path

import pytest
import torch
from searching import draw, shorten_ladder, write_float32

from indoor.cli import main
from indoor.model import read_manifest, read_tensors

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = ("--num-calibration", "24", "--batch", "8", "--auto")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set of three classes."""
    return draw(tmp_path_factory.mktemp("drawn"))


@pytest.fixture
def run(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run called `small` that has a float32, and a ladder of few steps."""
    shorten_ladder(monkeypatch)
    monkeypatch.setenv("INDOOR_HOME", str(tmp_path))
    write_float32(tmp_path / "runs" / "small" / "float32.safetensors", root)
    return tmp_path / "runs" / "small"


def test_a_search_prints_what_it_tried_and_how_to_make_it_again(
    run: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has a row a candidate, and its command makes the same int8 by itself."""
    status = main(["quantize", "small", "--data", str(root), *WORDS, "--max-drop", "50"])
    out = capsys.readouterr().out
    assert status == 0
    assert "The bar is met" in out
    assert "a loss of at most 50 percentage points of top-1, absolute" in out
    assert "plain" in out
    found, _ = read_tensors(run / "int8.safetensors")
    again = out.partition("the same again: ")[2].partition("\n")[0]
    assert main(shlex.split(again)[1:]) == 0
    made, _ = read_tensors(run / "int8.safetensors")
    assert found.keys() == made.keys()
    assert all(torch.equal(found[name], made[name]) for name in found)


def test_the_record_is_json(run: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was tried is for machines, too; a bar that nothing holds exits with 1."""
    words = [*WORDS, "--max-drop", "0", "--json"]
    status = main(["quantize", "small", "--data", str(root), *words])
    record = json.loads(capsys.readouterr().out)
    assert status == (1 if record["answer"] == "missed" else 0)
    best = record["search"]["tried"][record["search"]["best"]]
    assert best["config"] == record["quantization"]["config"]
    quantization = read_manifest(run / "int8.safetensors").quantization
    assert quantization is not None
    assert quantization.config.observer == best["config"]["observer"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-drop", "0.1"], "--max-drop is for --auto"),
        (["--minutes", "1"], "--minutes is for --auto"),
        (["--auto", "--observer", "mse"], "--observer is what --auto chooses"),
        (["--auto", "--qat-epochs", "1"], "--qat-epochs is what --auto chooses"),
        (["--auto", "--force"], "--force keeps a model that collapsed"),
        (["--auto", "--minutes", "0"], "0 is not a number of minutes above 0"),
    ],
)
def test_an_option_that_nobody_would_heed_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the search chooses is not given, and what is for it needs it."""
    assert main(["quantize", "small", *words]) == 2
    assert message in capsys.readouterr().err
