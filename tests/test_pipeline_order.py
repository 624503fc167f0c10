"""Figures of a network whose outputs stand in another order than the classes are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from indoor.errors import IndoorError
from indoor.pipeline import evaluate_run
from indoor.records import Split


def answering(
    monkeypatch: pytest.MonkeyPatch, order: list[int], num_right: int, num_photographs: int = 120
) -> None:
    """Let every network answer so many of the photographs right, by outputs in that order."""
    labels = torch.arange(num_photographs) % 3
    answers = torch.where(torch.arange(num_photographs) < num_right, labels, (labels + 1) % 3)
    logits = torch.nn.functional.one_hot(torch.tensor(order)[answers], 3).float()

    def predict(*_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return logits, labels

    monkeypatch.setattr("indoor.pipeline.predictions.predict", predict)


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_wrong_order_is_one_line(
    home: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch, split: Split
) -> None:
    """It tells both accuracies, what answers for what, and what to do."""
    answering(monkeypatch, [1, 0, 2], 108)
    with pytest.raises(IndoorError) as refused:
        evaluate_run(photographs, home / "runs" / "tiny", split=split)
    line = str(refused.value)
    assert "float32.safetensors has its outputs in another order" in line
    assert "33.3% of 120 photographs" in line
    assert "90.0% in the order" in line
    assert "'bars' for 'checks', 'checks' for 'bars'" in line
    assert "'classes'" in line


@pytest.mark.parametrize("num_right", [120, 80, 40, 0], ids=["right", "weak", "chance", "wrong"])
def test_an_order_that_is_right_has_its_figures(
    home: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch, num_right: int
) -> None:
    """Only where nothing is right but in another order are there no figures."""
    answering(monkeypatch, [0, 1, 2], num_right)
    if num_right == 0:
        with pytest.raises(IndoorError, match="another order"):
            evaluate_run(photographs, home / "runs" / "tiny")
        return
    report = evaluate_run(photographs, home / "runs" / "tiny")
    assert report.evaluations[0].top1.num_hits == num_right
