"""float32's figures by its quick form: its answers, and what is said of them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from indoor.measure.logit_statistics import MAX_SQNR_DB
from indoor.model import fuse
from indoor.pipeline import evaluate_run, predictions
from indoor.records import EvaluationReport

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDED = "float32-folded"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try the quick form on so few photographs that twelve are enough for it."""
    monkeypatch.setattr(predictions, "NUM_TRIED", 4)


def evaluated(photographs: Path, home: Path) -> EvaluationReport:
    """Return the report of the run `tiny`, float32 beside its folded form."""
    return evaluate_run(photographs, home / "runs" / "tiny", variants=(FOLDED,))


@pytest.fixture(scope="module")
def by_itself(photographs: Path, home: Path) -> EvaluationReport:
    """The report where float32 computes everything itself, as on so few photographs."""
    return evaluated(photographs, home)


def test_few_photographs_are_not_worth_trying(by_itself: EvaluationReport) -> None:
    """The test split's twelve are computed by float32 alone, and nothing is said."""
    assert by_itself.notes == ()


@pytest.mark.usefixtures("few")
def test_the_answers_are_float32s_own(
    photographs: Path, home: Path, by_itself: EvaluationReport
) -> None:
    """Hits, classes and confusions are the same; a note tells how many it computed itself."""
    report = evaluated(photographs, home)
    for quick, own in zip(report.evaluations, by_itself.evaluations, strict=True):
        assert (quick.top1, quick.top5, quick.confusion) == (own.top1, own.top5, own.confusion)
        assert quick.loss == pytest.approx(own.loss, rel=1e-5)
    (note,) = report.notes
    assert note.startswith("float32 computed 8 of 12 photographs itself, each near tie among them")


@pytest.mark.usefixtures("few")
def test_the_sqnr_of_another_float32_is_against_float32_itself(
    photographs: Path, home: Path, by_itself: EvaluationReport
) -> None:
    """And not against the quick form, whose rounding is as large."""
    (pair,), (own,) = evaluated(photographs, home).pairs, by_itself.pairs
    assert pair.sqnr_db < MAX_SQNR_DB
    assert pair.sqnr_db == pytest.approx(own.sqnr_db, abs=6)
    assert pair.agreement == own.agreement


@pytest.mark.usefixtures("few")
def test_a_quick_form_of_another_network_is_not_believed(
    photographs: Path,
    home: Path,
    by_itself: EvaluationReport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """float32 computes everything itself then, and the note says why."""

    def changed(model: nn.Module) -> nn.Module:
        with torch.no_grad():
            model.get_parameter("fc.bias")[0] += 0.1
        return fuse(model)

    monkeypatch.setattr(predictions, "fuse", changed)
    report = evaluated(photographs, home)
    assert report.evaluations == by_itself.evaluations
    assert report.pairs == by_itself.pairs
    (note,) = report.notes
    assert note.startswith("float32 computed every photograph itself: by its quick form a photo")
