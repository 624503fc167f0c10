"""Logits to figures: one model, and two on the same photographs."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from torch import Tensor

from indoor.errors import IndoorError
from indoor.evaluate import compare, evaluate, predict, sqnr_db
from indoor.measure.logit_statistics import MAX_SQNR_DB
from indoor.measure.proportions import difference_interval, mcnemar_p, wilson
from indoor.records import EvaluationReport, PairedEvaluation, from_json, to_json

Z2 = float(ndtri(0.975)) ** 2

COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 2000)).map(
    lambda counts: (counts[0], counts[1], counts[0] + counts[1] + counts[2])
)


class Listener:
    """A progress that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def start(self, description: str, total: int) -> None:
        """Write down the beginning."""
        self.heard.append((description, total))

    def advance(self, count: int = 1) -> None:
        """Write down a step."""
        self.heard.append(count)

    def finish(self) -> None:
        """Write down the end."""
        self.heard.append("finish")


def logits_for(predictions: list[int], num_classes: int = 3) -> Tensor:
    """Return logits whose largest value stands at each photograph's predicted class."""
    return torch.nn.functional.one_hot(torch.tensor(predictions), num_classes).float()


def batches_of(*sizes: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches whose labels count on, with inputs that hold the label everywhere."""
    first = 0
    for size in sizes:
        labels = torch.arange(first, first + size)
        yield labels.float()[:, None, None, None].expand(size, 3, 2, 2), labels
        first += size


def test_predict_keeps_the_order_and_tells_its_progress() -> None:
    """Logits and labels of all batches come in their order; the listener counts photographs."""
    listener = Listener()
    logits, labels = predict(
        lambda x: x[:, :2, 0, 0], batches_of(2, 1), listener, description="test", num_photographs=3
    )
    assert labels.tolist() == [0, 1, 2]
    assert labels.dtype == torch.int64
    assert logits.tolist() == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    assert listener.heard == [("test", 3), 2, 1, "finish"]


def test_predict_gives_plain_float32_from_any_model() -> None:
    """A bfloat16 model's logits become float32, without gradients and outside inference mode."""
    weight = torch.nn.Parameter(torch.ones(2, 3, dtype=torch.bfloat16))
    logits, _ = predict(lambda x: x[:, :, 0, 0].bfloat16() @ weight.T, batches_of(2))
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert not logits.is_inference()
    assert torch.is_grad_enabled()


def test_predict_copies_what_the_model_may_overwrite() -> None:
    """A model that answers in the same buffer every time does not change earlier logits."""
    buffer = torch.zeros(1, 2)
    logits, _ = predict(lambda x: buffer.fill_(float(x[0, 0, 0, 0])), batches_of(1, 1, 1))
    assert logits[:, 0].tolist() == [0.0, 1.0, 2.0]


def test_predict_ends_its_progress_when_the_model_fails() -> None:
    """The bar is closed before the error goes on."""
    listener = Listener()

    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        predict(fail, batches_of(1), listener)
    assert listener.heard[-1] == "finish"


def test_predict_needs_photographs() -> None:
    """No batch at all is a ValueError."""
    with pytest.raises(ValueError, match="nothing to predict, expected one batch or more"):
        predict(lambda x: x, [])


def test_evaluate_counts_what_hands_count() -> None:
    """Five photographs of two classes: top-1 3/5, class means 2/3 and 1/2, confusion and all."""
    labels = torch.tensor([0, 0, 0, 1, 1])
    result = evaluate(
        logits_for([0, 0, 2, 1, 0]), labels, ["hall", "pool", "shop"], variant="int8", split="test"
    )
    assert (result.variant, result.split, result.num_photographs) == ("int8", "test", 5)
    assert (result.top1.num_hits, result.top1.num_total, result.top1.value) == (3, 5, 0.6)
    assert result.mean_class_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result.confusion == ((2, 0, 1), (1, 1, 0), (0, 0, 0))
    right = math.log(math.e + 2) - 1  # cross-entropy of logits (1, 0, 0), true class first
    wrong = math.log(math.e + 2)
    assert result.loss == pytest.approx((3 * right + 2 * wrong) / 5, rel=1e-6)


def test_classes_without_photographs_have_no_accuracy() -> None:
    """They are left out of the per-class figures and of their mean."""
    result = evaluate(
        logits_for([0, 2]), torch.tensor([0, 2]), ["hall", "pool", "shop"], variant="a", split="val"
    )
    assert [c.name for c in result.per_class] == ["hall", "shop"]
    assert result.mean_class_accuracy == 1.0


def test_top5_looks_at_five_places() -> None:
    """The true class at the fifth place is a hit, at the sixth it is not."""
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1, 0]]).repeat(2, 1)
    result = evaluate(logits, torch.tensor([4, 5]), list("abcdefg"), variant="a", split="test")
    assert result.top1.num_hits == 0
    assert result.top5.num_hits == 1


def test_top5_of_fewer_classes_is_always_right() -> None:
    """With three classes the true one is among the five."""
    result = evaluate(logits_for([1, 2]), torch.tensor([0, 0]), "abc", variant="a", split="test")
    assert (result.top1.num_hits, result.top5.num_hits) == (0, 2)


def test_equal_logits_count_for_the_first_class_everywhere() -> None:
    """A model that gives one value for all classes is right for class 0 alone, also at place 5."""
    labels = torch.arange(7)
    result = evaluate(torch.zeros(7, 7), labels, list("abcdefg"), variant="int8", split="test")
    assert result.top1.num_hits == 1
    assert result.top5.num_hits == 5
    assert [row[0] for row in result.confusion] == [1] * 7


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 8))
def test_figures_agree_with_each_other(seed: int, num_photographs: int, num_classes: int) -> None:
    """Top-1 is the confusion's diagonal and argmax's hits, and never above top-5."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(0, 4, (num_photographs, num_classes), generator=generator).float()
    labels = torch.randint(0, num_classes, (num_photographs,), generator=generator)
    classes = [str(index) for index in range(num_classes)]
    result = evaluate(logits, labels, classes, variant="a", split="test")
    assert result.top1.num_hits == sum(result.confusion[i][i] for i in range(num_classes))
    assert result.top1.num_hits == int((logits.argmax(1) == labels).sum())
    assert result.top1.num_hits == sum(c.accuracy.num_hits for c in result.per_class)
    assert sum(sum(row) for row in result.confusion) == num_photographs
    assert result.top1.num_hits <= result.top5.num_hits <= num_photographs


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 4), [0, 1], r"logits \(2, 4\) do not fit 2 labels and 3 classes"),
        (torch.zeros(2, 3), [0], r"logits \(2, 3\) do not fit 1 labels"),
        (torch.zeros(3), [0, 0, 0], r"logits \(3,\) do not fit"),
        (torch.zeros(0, 3), [], "no photographs, expected one or more"),
        (torch.zeros(1, 3), [3], r"a label lies outside 0\.\.2"),
        (torch.zeros(1, 3), [-1], r"a label lies outside 0\.\.2"),
    ],
)
def test_what_does_not_fit_is_refused(logits: Tensor, labels: list[int], message: str) -> None:
    """Shapes and labels that cannot belong together raise ValueError."""
    with pytest.raises(ValueError, match=message):
        evaluate(logits, torch.tensor(labels, dtype=torch.int64), "abc", variant="a", split="test")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_model_that_gives_no_numbers_has_no_accuracy(value: float) -> None:
    """NaN and infinity are one line that says for how many photographs, not an accuracy."""
    broken = logits_for([0, 1, 2])
    broken[1, 0] = value
    message = "int8 gives logits that are not finite for 1 of 3 photographs"
    with pytest.raises(IndoorError, match=message):
        evaluate(broken, torch.tensor([0, 1, 2]), "abc", variant="int8", split="test")
    with pytest.raises(IndoorError, match=message):
        compare(
            logits_for([0, 1, 2]),
            broken,
            torch.tensor([0, 1, 2]),
            baseline="float32",
            candidate="int8",
        )


def test_compare_counts_the_pair() -> None:
    """2 both right, 1 lost, 1 gained, 2 both wrong, one of them with the same answer."""
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    pair = compare(
        logits_for([0, 1, 2, 1, 0, 0]),
        logits_for([0, 1, 0, 0, 0, 1]),
        labels,
        baseline="float32",
        candidate="int8",
    )
    assert (pair.baseline, pair.candidate, pair.num_photographs) == ("float32", "int8", 6)
    assert pair.num_both_right == 2
    assert pair.num_only_baseline_right == 1
    assert pair.num_only_candidate_right == 1
    assert pair.num_both_wrong == 2
    assert (pair.agreement.num_hits, pair.agreement.num_total) == (3, 6)
    assert pair.difference == 0
    assert pair.mcnemar_p == 1
    # Three of six one-hot rows differ, each by a squared norm of 2, against 6 in all: 0 dB.
    assert pair.sqnr_db == pytest.approx(0, abs=1e-6)


def test_the_difference_is_the_candidates_minus_the_baselines() -> None:
    """Two photographs lost of four give -0.5, and the interval lies around it."""
    labels = torch.zeros(4, dtype=torch.int64)
    pair = compare(
        logits_for([0, 0, 0, 0]),
        logits_for([0, 0, 1, 1]),
        labels,
        baseline="float32",
        candidate="int8",
    )
    assert pair.difference == -0.5
    assert pair.difference_interval == difference_interval(2, 0, 4)
    assert pair.difference_interval.low < -0.5 < pair.difference_interval.high


def test_equal_models_make_a_record_that_survives_json() -> None:
    """Agreement everywhere has a finite SQNR and an interval of some width, and reads back."""
    logits, labels = logits_for([0, 1]), torch.tensor([0, 1])
    pair = compare(logits, logits, labels, baseline="float32", candidate="again")
    assert pair.sqnr_db == MAX_SQNR_DB
    assert pair.difference_interval.low < 0 < pair.difference_interval.high
    assert from_json(to_json(pair), PairedEvaluation, "pair") == pair
    with pytest.raises(IndoorError, match="holds no EvaluationReport"):
        from_json(to_json(pair), EvaluationReport, "pair")


@pytest.mark.parametrize(
    ("baseline", "candidate", "num_labels", "message"),
    [
        ((2, 3), (2, 4), 2, r"logits \(2, 3\) and \(2, 4\) with 2 labels are no pair"),
        ((2, 3), (3, 3), 2, r"\(2, 3\) and \(3, 3\)"),
        ((2, 3), (2, 3), 1, "with 1 labels are no pair"),
        ((0, 3), (0, 3), 0, "no photographs, expected one or more"),
    ],
)
def test_logits_that_are_no_pair_are_refused(
    baseline: tuple[int, int], candidate: tuple[int, int], num_labels: int, message: str
) -> None:
    """Different shapes or counts raise ValueError."""
    with pytest.raises(ValueError, match=message):
        compare(
            torch.zeros(baseline),
            torch.zeros(candidate),
            torch.zeros(num_labels, dtype=torch.int64),
            baseline="a",
            candidate="b",
        )


def test_sqnr_is_the_ratio_of_norms_over_all_values() -> None:
    """Norm 5 against noise of norm 0.5 is 20 dB."""
    reference = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    assert sqnr_db(reference, reference * 1.1) == pytest.approx(20, abs=1e-4)
    noisy = reference + torch.tensor([[0.3, 0.0], [0.4, 0.0]])
    assert sqnr_db(reference, noisy) == pytest.approx(20, abs=1e-4)


def test_sqnr_stays_within_what_json_can_hold() -> None:
    """Equal tensors and a silent reference give the two ends, not infinity."""
    ones, zeros = torch.ones(3), torch.zeros(3)
    assert sqnr_db(ones, ones) == MAX_SQNR_DB
    assert sqnr_db(zeros, zeros) == MAX_SQNR_DB
    assert sqnr_db(zeros, ones) == -MAX_SQNR_DB


@pytest.mark.parametrize(
    ("actual", "message"),
    [
        (torch.ones(2), r"shapes differ: \(3,\) and \(2,\)"),
        (torch.tensor([1.0, math.nan, 1.0]), "not finite"),
    ],
)
def test_sqnr_of_what_cannot_be_compared_is_refused(actual: Tensor, message: str) -> None:
    """Other shapes and NaN raise ValueError."""
    with pytest.raises(ValueError, match=message):
        sqnr_db(torch.ones(3), actual)


def test_wilson_has_the_published_and_the_computed_figures() -> None:
    """55% of 1,340 gives 52.3 to 57.6; 0 of 10 gives 0 to z2 / (10 + z2); by formula elsewhere."""
    rate = wilson(737, 1340)
    assert (rate.num_hits, rate.num_total, rate.value) == (737, 1340, 0.55)
    assert round(100 * rate.interval.low, 1) == 52.3
    assert round(100 * rate.interval.high, 1) == 57.6
    none = wilson(0, 10).interval
    assert none.low == 0
    assert none.high == pytest.approx(Z2 / (10 + Z2))
    center = (7 + Z2 / 2) / (10 + Z2)
    half = math.sqrt(Z2) / (10 + Z2) * math.sqrt(10 * 0.7 * 0.3 + Z2 / 4)
    assert wilson(7, 10).interval.low == pytest.approx(center - half)
    assert wilson(7, 10).interval.high == pytest.approx(center + half)


@pytest.mark.parametrize(("hits", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_counts_that_are_no_share(hits: int, total: int) -> None:
    """Negative hits, more hits than photographs, and no photographs raise ValueError."""
    with pytest.raises(ValueError, match=f"{hits} of {total} is no share"):
        wilson(hits, total)


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [
        (7, 0, 2 / 2**7),
        (8, 1, 2 * (1 + 9) / 2**9),
        (6, 0, 2 / 2**6),
        (5, 0, 2 / 2**5),
        (3, 3, 1.0),
        (0, 0, 1.0),
        # 2 * sum of C(27, k) for k = 0..7, over 2^27
        (20, 7, 2 * (1 + 27 + 351 + 2925 + 17550 + 80730 + 296010 + 888030) / 2**27),
    ],
)
def test_mcnemar_is_the_fair_coins_probability(lost: int, gained: int, p: float) -> None:
    """The two-sided binomial tail, counted by hand; 7:0, 8:1 and 20:7 are below 5%, 5:0 is not."""
    assert mcnemar_p(lost, gained) == pytest.approx(p, rel=1e-9)
    assert mcnemar_p(gained, lost) == pytest.approx(p, rel=1e-9)
    assert (p < 0.05) == ((lost, gained) in {(7, 0), (8, 1), (6, 0), (20, 7)})


def test_mcnemar_refuses_negative_counts() -> None:
    """A count below 0 is a ValueError."""
    with pytest.raises(ValueError, match="-1 and 1 are no counts, expected 0 or more"):
        mcnemar_p(-1, 1)


def test_tangos_interval_has_the_published_figures() -> None:
    """Airway reactivity in 21 children, 7 against 1 (Fagerland and others 2014): -0.517, -0.026."""
    interval = difference_interval(7, 1, 21)
    assert interval.low == pytest.approx(-0.517, abs=5e-4)
    assert interval.high == pytest.approx(-0.026, abs=5e-4)
    assert interval.level == 0.95


@pytest.mark.parametrize("total", [1, 240, 1340])
def test_full_agreement_still_leaves_an_interval(total: int) -> None:
    """Without one discordant photograph the limits are z2 / (n + z2) to either side, never 0."""
    interval = difference_interval(0, 0, total)
    assert interval.high == pytest.approx(Z2 / (total + Z2))
    assert interval.low == pytest.approx(-Z2 / (total + Z2))


def test_total_disagreement_reaches_the_end() -> None:
    """All photographs lost: from -1 up to -(n - z2) / (n + z2)."""
    interval = difference_interval(10, 0, 10)
    assert interval.low == -1
    assert interval.high == pytest.approx(-(10 - Z2) / (10 + Z2))


@settings(deadline=None)
@given(COUNTS)
def test_the_limits_are_roots_of_the_closed_form(counts: tuple[int, int, int]) -> None:
    """Both limits solve the quartic of Yang, Sun and Hardin (Statistics in Medicine 32, 2013)."""
    lost, gained, total = counts
    n, d, s = total / Z2, gained - lost, gained + lost
    quartic = [
        total**2 * (n + 1) ** 2,
        -total * d * (n + 1) * (4 * n + 1),
        2 * total * d**2 * (3 * n + 2) / Z2 - total**2 * (s / Z2 + 1),
        total * d * (2 * s / Z2 + 1) - d**3 * (4 * n + 1) / Z2,
        d**2 * (d**2 / Z2 - s) / Z2,
    ]
    roots = np.roots(quartic).real
    interval = difference_interval(lost, gained, total)
    assert interval.low == pytest.approx(roots.min(), abs=1e-6)
    assert interval.high == pytest.approx(roots.max(), abs=1e-6)


@settings(deadline=None)
@given(COUNTS)
def test_the_interval_is_that_of_mcnemars_score(counts: tuple[int, int, int]) -> None:
    """It excludes 0 just where (b - c)^2 / (b + c) exceeds z2, encloses the estimate, mirrors."""
    lost, gained, total = counts
    interval = difference_interval(lost, gained, total)
    mirrored = difference_interval(gained, lost, total)
    assert -1 <= interval.low < (gained - lost) / total < interval.high <= 1
    assert (mirrored.low, mirrored.high) == (-interval.high, -interval.low)
    excludes_zero = interval.low > 0 or interval.high < 0
    assert excludes_zero == ((gained - lost) ** 2 > Z2 * (gained + lost))


@pytest.mark.parametrize(
    ("lost", "gained", "total"), [(-1, 0, 5), (0, -1, 5), (3, 3, 5), (0, 0, 0)]
)
def test_counts_that_are_no_pair_are_refused(lost: int, gained: int, total: int) -> None:
    """Negative counts, more than all, and none raise ValueError."""
    with pytest.raises(ValueError, match=f"{lost} and {gained} of {total} photographs"):
        difference_interval(lost, gained, total)
