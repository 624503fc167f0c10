"""Which candidate comes next, which of two is better, and what is said of them."""

from dataclasses import replace
from typing import Any

import pytest
from searched import PLAIN, judged, search, speed, tried

from indoor.measure.proportions import wilson
from indoor.records import PairedSpeedup
from indoor.repair.ladder import Candidate, is_better, next_candidate
from indoor.repair.records import Step, Tried, answer
from indoor.repair.render import describe_answer, search_blocks
from indoor.report.text import as_text

BAR = 0.1
PLAIN_LOSES = tried("plain", 5)
PLAIN_LOSES_MUCH = tried("plain", 400, 6.5)
OBSERVERS = tuple(
    tried("observer", 5, sqnr, observer=observer, bias_corrected=True)
    for observer, sqnr in (("mse", 31), ("percentile", 29), ("minmax", 33), ("moving-average", 28))
)
CORRECTED = tried("bias correction", 5, 31, bias_corrected=True)
EQUALISED = tried("equalisation", 5, 32, observer="minmax", bias_corrected=True, equalised=True)
ROUNDED = tried("rounding", 5, 30, bias_corrected=True, rounding="gptq")
LAST = tried("float layers", 5, 32, bias_corrected=True, float_layers=("fc",))
NO_COST = (PLAIN_LOSES, CORRECTED, ROUNDED, LAST, *OBSERVERS, EQUALISED)


def following(*before: Tried) -> Candidate | None:
    """Return what comes next after these."""
    return next_candidate(PLAIN, before, BAR)


def floats(count: int, lost: int) -> Tried:
    """Return a candidate with so many layers in float32."""
    layers = tuple(map(str, range(count)))
    return tried(
        "float layers", lost, 36, observer="minmax", bias_corrected=True, float_layers=layers
    )


def test_the_ladder_climbs_on_what_was_best() -> None:
    """Plain first, each observer, then each repair on the highest SQNR where all agree alike."""
    order = []
    before: list[Tried] = []
    for _ in range(9):
        candidate = following(*before)
        assert candidate is not None
        order.append((candidate.step, candidate.config.observer))
        before.append(NO_COST[len(before)])
    assert order == [
        ("plain", "histogram"),
        ("bias correction", "histogram"),
        ("rounding", "histogram"),
        ("float layers", "histogram"),
        ("observer", "mse"),
        ("observer", "percentile"),
        ("observer", "minmax"),
        ("observer", "moving-average"),
        ("equalisation", "minmax"),
    ]
    assert following(*NO_COST[:2]).config.bias_corrected  # type: ignore[union-attr]
    without = (PLAIN_LOSES, tried("bias correction", 5, 20, bias_corrected=True))
    assert not following(*without).config.bias_corrected  # type: ignore[union-attr]


def seen(same: int, of: int, sqnr_db: float, step: Step = "observer", **changes: Any) -> Tried:
    """Return a candidate that a search recorded: its agreement, of how many, and its SQNR."""
    one = replace(judged(of=of, sqnr_db=sqnr_db), agreement=wilson(same, of))
    return replace(tried(step, observer="percentile", **changes), judged=one)


@pytest.mark.parametrize(
    ("recorded", "equalised"),
    [
        ((seen(3252, 3448, 12.31), seen(3284, 3448, 10.75, equalised=True)), True),
        ((seen(2976, 3448, 8.04), seen(3057, 3448, 7.56, equalised=True)), True),
        ((seen(1641, 1660, 31.92), seen(1647, 1660, 34.68, equalised=True)), True),
        ((seen(1647, 1660, 35.62), seen(1651, 1660, 35.03, equalised=True)), False),
        ((seen(492, 496, 34.09), seen(493, 496, 33.54, equalised=True)), False),
        ((seen(8, 8, 29.0), seen(7, 8, 30.0, equalised=True)), True),
    ],
    ids=["MobileNetV3", "moving averages", "ResNet-50", "4 of 1,660", "1 of 496", "1 of 8"],
)
def test_a_clear_agreement_goes_before_sqnr(recorded: tuple[Tried, ...], equalised: bool) -> None:
    """Agreement with float32 beyond chance chooses what is built on, in either order; else SQNR."""
    for before in (recorded, recorded[::-1]):
        candidate = following(PLAIN_LOSES_MUCH, *before)
        assert candidate is not None
        assert candidate.config.equalised is equalised


def test_what_can_be_told_from_the_highest_agreement_only_is_left_out() -> None:
    """Three in a row, each like its neighbour: the highest SQNR near the highest agreement."""
    three = (
        seen(900, 1000, 20, equalised=True),
        seen(915, 1000, 19, rounding="gptq"),
        seen(930, 1000, 18),
    )
    candidate = following(PLAIN_LOSES_MUCH, *three)
    assert candidate is not None
    assert (candidate.config.equalised, candidate.config.rounding) == (False, "gptq")


def test_a_step_that_failed_is_passed_over() -> None:
    """What has no figures is not tried again, and nothing builds on it."""
    failed = tried("bias correction", failed="cannot", bias_corrected=True)
    candidate = following(PLAIN_LOSES, failed)
    assert candidate is not None
    assert (candidate.step, candidate.config.bias_corrected) == ("rounding", False)


def test_what_lay_there_lends_its_repairs_and_not_its_calibration() -> None:
    """An int8 that was calibrated on more photographs does not make every step as slow."""
    there = tried("as it was", 5, 40, observer="mse", num_calibration=512)
    candidate = following(there, PLAIN_LOSES)
    assert candidate is not None
    assert (candidate.config.observer, candidate.config.num_calibration) == ("mse", 64)


@pytest.mark.parametrize(
    ("before", "step"),
    [
        (NO_COST, "float layers"),
        ((tried("plain", 0), *NO_COST[1:]), "float layers"),
        ((tried("plain", 1), *NO_COST[1:], floats(1, 3)), None),
        ((tried("plain", 0), *NO_COST[1:8]), "equalisation"),
        ((*NO_COST, floats(1, 0)), None),
        ((*NO_COST, floats(1, 3), floats(2, 0)), "QAT"),
        ((*NO_COST, *(floats(n, 3) for n in (1, 2, 4, 8, 16))), "QAT"),
        ((*NO_COST, floats(2, 0), tried("QAT", 0, 40, qat_epochs=1)), None),
        ((*NO_COST, floats(2, 0), tried("QAT", 9, 40, qat_epochs=1)), "QAT"),
    ],
    ids=[
        "missed",
        "met",
        "met and all tried",
        "met early",
        "met by the last layer",
        "met slowly",
        "missed by all",
        "trained",
        "again",
    ],
)
def test_what_costs_time_waits_for_a_need(before: tuple[Tried, ...], step: str | None) -> None:
    """float32 layers and training come only where no plain kernels hold the bar."""
    candidate = following(*before)
    assert (candidate and candidate.step) == step


def test_what_is_proven_may_have_less_noise_still() -> None:
    """4,000 photographs without a flip prove 0.1 points; what costs no call time is tried on."""
    proven = Tried(step="plain", config=PLAIN, made_s=1.0, judged=judged(of=4000))
    all_proven = [
        replace(one, judged=judged(of=4000, sqnr_db=one.judged.sqnr_db))
        for one in (*NO_COST[1:], floats(1, 3))
        if one.judged is not None
    ]
    steps = [following(proven), following(proven, *all_proven)]
    assert [step and step.step for step in steps] == ["bias correction", None]


def test_the_fewest_float_layers_are_looked_for() -> None:
    """The counts double until one meets the bar, and then the gap below it is halved."""
    counts = []
    before = list(NO_COST)
    while (candidate := following(*before)) and candidate.step == "float layers":
        counts.append(candidate.num_float_layers)
        before.append(floats(candidate.num_float_layers, 0 if counts[-1] >= 6 else 3))
    assert counts == [1, 2, 4, 8, 6, 5]


@pytest.mark.parametrize(
    ("lost", "gained", "of", "expected"),
    [(1, 0, 1000, "met"), (2, 0, 1000, "missed"), (5, 4, 1000, "met"), (0, 0, 4000, "proven")],
)
def test_the_estimate_decides_and_the_interval_proves(
    lost: int, gained: int, of: int, expected: str
) -> None:
    """0.1 points are one photograph of 1,000, and proven by some 3,840 without a flip."""
    assert answer(judged(lost, gained, of), BAR) == expected


@pytest.mark.parametrize(
    ("challenger", "holder", "against", "expected"),
    [
        (tried("plain", 0, 20), tried("plain", 5, 40), None, True),
        (tried("plain", 5, 40), tried("plain", 0, 20), None, False),
        (tried("plain", 3, 20), tried("plain", 5, 40), None, False),
        (tried("plain", 6, 41), tried("plain", 5, 40), None, True),
        (tried("plain", 5, 20), tried("plain", 30, 40), None, True),
        (tried("plain", 5, 41), tried("plain", 5, 40), None, True),
        (tried("plain", 1, 41), tried("plain", 0, 40), None, True),
        (tried("plain", 0, 20), tried("plain", 0, 40), speed(1.3, 1.15, 1.4), True),
        (tried("plain", 0, 20), tried("plain", 0, 40), speed(1.1, 1.05, 1.2), False),
        (tried("plain", 0, 40), tried("plain", 0, 20), speed(0.8, 0.7, 0.9), False),
        (tried("plain", 0, 40), tried("plain", 0, 20), speed(0.91, 0.89, 0.99), True),
        (tried("plain", 0, 40), tried("plain", 0, 20), speed(0.98, 0.9, 1.05), True),
        (tried("plain", 5, 20), tried("plain", 0, 40), speed(2.0, 1.9, 2.1), False),
    ],
)
def test_the_fastest_that_holds_the_bar_is_best(
    challenger: Tried, holder: Tried, against: PairedSpeedup | None, expected: bool
) -> None:
    """The bar first, then speed from a tenth on, then SQNR; without the bar the loss."""
    assert is_better(challenger, holder, BAR, against) is expected


def text_of(*candidates: Tried, **changes: Any) -> str:
    """Return the table and the words."""
    return as_text(search_blocks(search(*candidates, **changes)), width=120, color=False)


@pytest.mark.parametrize(
    ("candidates", "words"),
    [
        (
            (tried("plain", 5),),
            "The bar is missed: the best candidate has a loss of 0.50 points, and",
        ),
        ((tried("plain", 1),), "met, and not proven: a loss of 0.10 points, at worst -0.56 (95%)"),
        ((tried("plain"),), "To prove it at 95% takes some 3,838 photographs"),
        ((tried("plain", 5),), "5 net are lost, and at most 1 may be; --max-drop 0.50 would be"),
        ((tried("plain"), tried("QAT", failed="no labels")), "QAT (histogram) has no figures: no"),
        ((tried("QAT", qat_epochs=1),), "QAT trained on the 400 photographs that did not judge"),
    ],
)
def test_the_answer_says_how_far_it_is(candidates: tuple[Tried, ...], words: str) -> None:
    """Absolute points everywhere, what is missing, and what would prove it."""
    assert words in " ".join(text_of(*candidates).split())


def test_a_search_that_ran_out_of_time_says_that_it_goes_on() -> None:
    """The same command is the remedy."""
    text = text_of(tried("plain"), ended="out of time")
    assert "the same command goes on" in " ".join(text.split())
    assert describe_answer(search(tried("plain"))).startswith("The bar is met, and not proven")


def test_a_slower_candidate_shows_its_cost() -> None:
    """What other kernels cost stands beside the gain; the same kernels show `=`."""
    slower = Tried(
        step="float layers",
        config=PLAIN,
        made_s=1.0,
        judged=judged(),
        against_plain=speed(0.9, 0.85, 0.95),
    )
    text = text_of(tried("plain", 5), slower, best=1)
    assert "0.900 (0.850-0.950)" in text
    assert "float layers *" in text
