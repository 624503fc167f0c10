"""Speedups and accuracies to one sentence: whether int8 pays."""

import itertools
import math

import pytest

from indoor.records import Interval, PairedEvaluation, Rate
from indoor.report.verdict import describe_accuracy, describe_speedup, verdict


def accuracy(
    difference: float, low: float, high: float, p: float = 0.5, num_photographs: int = 1340
) -> PairedEvaluation:
    """Return a paired evaluation with that difference of top-1, its interval and McNemar's p."""
    return PairedEvaluation(
        baseline="float32",
        candidate="int8",
        num_photographs=num_photographs,
        num_both_right=700,
        num_only_baseline_right=20,
        num_only_candidate_right=7,
        num_both_wrong=613,
        agreement=Rate(num_hits=97, num_total=100, value=0.97, interval=Interval(low=0, high=1)),
        difference=difference,
        difference_interval=Interval(low=low, high=high),
        mcnemar_p=p,
        sqnr_db=30.0,
    )


FAST = (2.0, Interval(low=1.9, high=2.1))
SLOW = (1.0, Interval(low=0.95, high=1.05))
UNCLEAR = (1.2, Interval(low=1.05, high=1.4))
BROKEN = (math.nan, Interval(low=math.nan, high=math.nan))
SOUND = accuracy(-0.002, -0.008, 0.004)
WORSE = accuracy(-0.03, -0.04, -0.02, p=0.001)
VAGUE = accuracy(-0.01, -0.02, 0.0)
NAN = accuracy(math.nan, math.nan, math.nan)


@pytest.mark.parametrize(
    ("speedup", "pair", "answer"),
    [
        (FAST, SOUND, "pays"),
        (FAST, VAGUE, "cannot tell"),
        (FAST, WORSE, "does not pay"),
        (FAST, None, "cannot tell"),
        (FAST, NAN, "cannot tell"),
        (UNCLEAR, SOUND, "cannot tell"),
        (UNCLEAR, WORSE, "does not pay"),
        (SLOW, SOUND, "does not pay"),
        (SLOW, None, "does not pay"),
        (None, SOUND, "cannot tell"),
        (None, WORSE, "does not pay"),
        (None, None, "cannot tell"),
        (BROKEN, SOUND, "cannot tell"),
    ],
)
def test_an_interval_must_clear_its_threshold(
    speedup: tuple[float, Interval] | None, pair: PairedEvaluation | None, answer: str
) -> None:
    """Both intervals on the good side pay, one on the bad side does not, all else is open."""
    assert verdict("int8", speedup=speedup, accuracy=pair).answer == answer


@pytest.mark.parametrize(
    ("speedup", "pair"), list(itertools.product([FAST, None], [SOUND, VAGUE, None]))
)
def test_a_collapsed_model_never_pays(
    speedup: tuple[float, Interval] | None, pair: PairedEvaluation | None
) -> None:
    """A finding of the quantization check decides, whatever was measured, and is told."""
    result = verdict("int8", speedup=speedup, accuracy=pair, findings=["one class for all"])
    assert result.answer == "does not pay"
    assert result.reasons[-1] == "collapsed: one class for all"


def test_thresholds_are_exclusive_and_the_callers() -> None:
    """An interval that only touches its threshold does not clear it; thresholds can be moved."""
    touching = (1.5, Interval(low=1.25, high=1.75))
    pair = accuracy(0.0, -0.01, 0.01)
    at = verdict("int8", speedup=touching, accuracy=pair, min_speedup=1.25, max_drop=0.02)
    below = verdict("int8", speedup=touching, accuracy=pair, min_speedup=1.2, max_drop=0.02)
    strict = verdict("int8", speedup=touching, accuracy=pair, min_speedup=1.2, max_drop=0.01)
    assert (at.answer, below.answer, strict.answer) == ("cannot tell", "pays", "cannot tell")


def test_the_sentence_carries_the_figures() -> None:
    """Speedup, interval, threshold, difference, its interval and the tolerance all stand in it."""
    assert verdict("int8", speedup=FAST, accuracy=SOUND).sentence == (
        "int8 pays: 2.00x (95% interval 1.90 to 2.10) as fast as float32, above the 1.10x asked "
        "for; no difference in top-1 shown (-0.20 points, 95% interval -0.80 to +0.40, "
        "1,340 photographs); a loss above 1.5 points is excluded."
    )


def test_the_sentence_says_what_this_run_cannot_tell() -> None:
    """What was not measured, and what is not excluded, is named."""
    unpaired = verdict("int8", speedup=None, accuracy=None)
    assert unpaired.sentence == (
        "This run cannot tell whether int8 pays: no paired timings, so no speedup is claimed; "
        "accuracy was not measured."
    )
    vague = verdict("int8", speedup=UNCLEAR, accuracy=VAGUE)
    assert "not clear of the 1.10x asked for" in vague.reasons[0]
    assert "a loss above 1.5 points is not excluded" in vague.reasons[1]


def test_the_sentence_says_why_it_does_not_pay() -> None:
    """A shown loss and a missing speedup are told as such."""
    result = verdict("int8", speedup=SLOW, accuracy=WORSE)
    assert result.sentence.startswith("int8 does not pay: 1.00x")
    assert "below the 1.10x asked for" in result.reasons[0]
    assert result.reasons[1] == (
        "top-1 is lower (-3.00 points, 95% interval -4.00 to -2.00, 1,340 photographs, "
        "McNemar p 0.001); that is a loss above 1.5 points"
    )


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (accuracy(-0.01, -0.02, -0.001, p=0.03), "top-1 is lower ("),
        (accuracy(0.01, 0.001, 0.02, p=0.03), "top-1 is higher ("),
        (accuracy(-0.01, -0.02, -0.001, p=0.06), "top-1 may be lower ("),
        (accuracy(-0.01, -0.02, 0.001, p=0.04), "no difference in top-1 shown ("),
    ],
)
def test_a_difference_is_sure_only_if_interval_and_test_agree(
    pair: PairedEvaluation, words: str
) -> None:
    """The interval must exclude 0 and McNemar's exact p must be below 5%."""
    assert describe_accuracy(pair).startswith(words)


def test_words_for_accuracy_and_speedup() -> None:
    """No loss is never claimed; tiny p is told as such, a rounded zero has no sign."""
    assert describe_accuracy(accuracy(-0.00001, -0.003, 0.003)) == (
        "no difference in top-1 shown (0.00 points, 95% interval -0.30 to +0.30, 1,340 photographs)"
    )
    assert describe_accuracy(accuracy(0.05, 0.04, 0.06, p=1e-9)) == (
        "top-1 is higher (+5.00 points, 95% interval +4.00 to +6.00, 1,340 photographs, "
        "McNemar p below 0.001)"
    )
    assert describe_speedup(2.314, Interval(low=2.2, high=2.4)) == (
        "2.31x (95% interval 2.20 to 2.40)"
    )
