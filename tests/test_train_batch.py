"""Tests of `--batch`: what it changes, what it leaves, and what it means to a resumed training."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killing import small_weights

from indoor.cli import main
from indoor.model import thin
from indoor.train import TrainResult, fine_tune

pytestmark = pytest.mark.usefixtures("one_thread")

ARCH = thin("resnet18")

Train = Callable[..., TrainResult]


@pytest.fixture
def train(photographs: Path, tmp_path: Path) -> Train:
    """Return a function that trains one epoch into `x`, and says its lines into `said`."""

    def run(recipe: str = "head", name: str = "x", **options: Any) -> TrainResult:
        given = {"epochs": 1, "arch": ARCH, "device": "cpu", "out": tmp_path / "runs" / name}
        given |= options
        return fine_tune(photographs, small_weights(arch=ARCH), recipe=recipe, **given)  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize(("recipe", "usual"), [("head", 16), ("full", 32)])
def test_a_batch_decides_the_steps_and_is_recorded(train: Train, recipe: str, usual: int) -> None:
    """Another batch makes another checkpoint; the recipe's own makes that of none, to the byte."""
    none, same, other = (
        train(recipe, name, batch=batch)
        for name, batch in (("none", None), ("same", usual), ("other", 7))
    )
    found = [result.path.read_bytes() for result in (none, same, other)]
    assert found[0] == found[1] != found[2]
    assert [one.curves.settings["batch"] for one in (none, same, other)] == [usual, usual, 7]
    assert other.manifest.provenance.settings["batch"] == 7


@pytest.mark.parametrize(
    ("recipe", "batch", "least"), [("head", 0, "1"), ("full", 1, "2"), ("full", -3, "2")]
)
def test_a_senseless_batch_is_refused(train: Train, recipe: str, batch: int, least: str) -> None:
    """No photograph a step, and one where batch norms train."""
    with pytest.raises(ValueError, match=rf"^batch is {batch}, expected {least} or more with the"):
        train(recipe, batch=batch)


def test_the_command_refuses_it_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is looked for."""
    assert main(["train", "--data", "nowhere", "--recipe", "full", "--batch", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--batch 1 with --recipe full: expected 2 photographs or more" in line


class _Cut:
    """Ends a training, as a kill would, once its first epoch is over."""

    start = advance = staticmethod(lambda *_: None)

    @staticmethod
    def finish() -> None:
        raise KeyboardInterrupt


def test_another_batch_is_not_resumed_and_says_so(train: Train, tmp_path: Path) -> None:
    """The line names both; the training is that of a new folder, and the state is gone after it."""
    with pytest.raises(KeyboardInterrupt):
        train("full", epochs=2, batch=5, progress=_Cut())
    kept = shutil.copytree(tmp_path / "runs" / "x", tmp_path / "runs" / "y")
    said: list[str] = []
    result = train("full", epochs=2, batch=7, say=said.append)
    (line,) = said
    assert f"{result.path.parent / '.resume'} holds an interrupted training with batch 5" in line
    assert "batch 5, not 7; this one begins anew" in line
    assert "give its arguments" in line
    assert not (result.path.parent / ".resume").exists()
    clean = train("full", "clean", epochs=2, batch=7)
    assert result.path.read_bytes() == clean.path.read_bytes()
    # The one before goes on where its own batch is given, without a word.
    again = train("full", "y", epochs=2, batch=5, say=said.append)
    assert len(said) == 1
    assert again.path.parent == kept
    first = json.loads((kept / "curves.json").read_text())["settings"]
    assert first["batch"] == 5


@pytest.mark.parametrize(
    ("options", "what"),
    [({"seed": 1}, "seed 0, not 1"), ({"epochs": 3}, "other epochs, photographs, weights or")],
)
def test_other_arguments_are_told_too(train: Train, options: dict[str, int], what: str) -> None:
    """What differs where the record has it, else what it may be."""
    with pytest.raises(KeyboardInterrupt):
        train("full", epochs=2, progress=_Cut())
    said: list[str] = []
    train("full", **{"epochs": 2, **options}, say=said.append)
    assert what in said[0]
