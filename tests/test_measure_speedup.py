"""Timings to speedups and latencies."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, quantile_test

from indoor.measure import MIN_PAIRS, geometric_mean, paired_speedup, summarize_latency
from indoor.records import Interval, PairedSpeedup

TIMES = st.floats(min_value=1e-4, max_value=10.0)
PAIRS = st.lists(st.tuples(TIMES, TIMES), min_size=MIN_PAIRS, max_size=40)


def speedup_of(
    baseline_s: list[float] | np.ndarray, candidate_s: list[float] | np.ndarray
) -> PairedSpeedup:
    """Return the speedup of int8 over float32 from these times."""
    return paired_speedup(list(baseline_s), list(candidate_s), baseline="float32", candidate="int8")


def cell(speedup: float, low: float, high: float, candidate: str = "int8") -> PairedSpeedup:
    """Return a cell with that speedup and interval."""
    return PairedSpeedup(
        baseline="float32",
        candidate=candidate,
        num_pairs=20,
        speedup=speedup,
        interval=Interval(low=low, high=high),
        log_ratio_robust_sd=0.02,
        log_ratio_lag1=0.0,
    )


@pytest.mark.parametrize(
    ("num_pairs", "rank"),
    # The binomial table's P(X <= rank - 1) <= 0.025 < P(X <= rank) with p = 1/2:
    # 1/64 (7/64); 2/512 * 5 = 10/512 (46/512); 11/1024 (56/1024); 0.0207 (0.0577).
    [(6, 1), (9, 2), (10, 2), (20, 6)],
)
def test_the_interval_is_the_binomial_tables_order_statistics(num_pairs: int, rank: int) -> None:
    """The limits are the rank-th smallest and largest ratio of the table."""
    ratios = [1 + k / 100 for k in range(1, num_pairs + 1)]
    shuffled = np.random.default_rng(0).permutation(ratios)
    result = speedup_of(shuffled, np.ones(num_pairs))
    assert result.interval.low == pytest.approx(ratios[rank - 1], rel=1e-12)
    assert result.interval.high == pytest.approx(ratios[num_pairs - rank], rel=1e-12)
    assert result.interval.level == 0.95
    assert result.num_pairs == num_pairs


@pytest.mark.parametrize("num_pairs", range(MIN_PAIRS, 60))
def test_the_interval_is_scipys_and_the_narrowest_that_covers(num_pairs: int) -> None:
    """Scipy's quantile test gives the same limits, and one rank further in covers below 95%."""
    ratios = np.exp(np.random.default_rng(num_pairs).normal(size=num_pairs))
    result = speedup_of(ratios, np.ones(num_pairs))
    expected = quantile_test(np.log(ratios), p=0.5).confidence_interval(0.95)
    assert math.log(result.interval.low) == pytest.approx(expected.low, abs=1e-12)
    assert math.log(result.interval.high) == pytest.approx(expected.high, abs=1e-12)
    rank = int(np.searchsorted(np.sort(ratios), result.interval.low * (1 - 1e-9))) + 1
    assert 1 - 2 * binom.cdf(rank - 1, num_pairs, 0.5) >= 0.95
    assert 1 - 2 * binom.cdf(rank, num_pairs, 0.5) < 0.95


def test_the_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of 400 seeded runs with skewed noise, at least 93% of the intervals hold the true median."""
    generator = np.random.default_rng(1)
    num_hits = 0
    for _ in range(400):
        noise = generator.exponential(0.1, size=21) - 0.1 * math.log(2)  # median 0
        interval = speedup_of(2 * np.exp(noise), np.ones(21)).interval
        num_hits += interval.low <= 2 <= interval.high
    assert 0.93 * 400 <= num_hits < 400


def test_the_speedup_is_the_median_of_the_ratios_on_the_log_scale() -> None:
    """Of an even number of pairs it is the geometric mean of the two in the middle."""
    result = speedup_of([1, 2, 4, 8, 16, 32], [1, 1, 1, 1, 1, 1])
    assert result.speedup == pytest.approx(math.sqrt(4 * 8))


def test_drift_common_to_a_pair_cancels() -> None:
    """A machine that slows down tenfold during the run leaves the speedup where it was."""
    drift = np.linspace(1, 10, 12)
    result = speedup_of(0.3 * drift, 0.1 * drift)
    assert result.speedup == pytest.approx(3)
    assert result.interval.low == pytest.approx(3)
    assert result.interval.high == pytest.approx(3)
    assert result.log_ratio_robust_sd == pytest.approx(0, abs=1e-12)
    assert result.log_ratio_lag1 is None


def test_the_spread_is_robust_and_on_the_log_scale() -> None:
    """1.4826 times the median absolute deviation: of 0..5 it is 1.5, an outlier changes nothing."""
    logs = np.array([0.0, 1, 2, 3, 4, 5])
    outlier = np.array([0.0, 1, 2, 3, 4, 500])
    ones = np.ones(6)
    assert speedup_of(np.exp(logs), ones).log_ratio_robust_sd == pytest.approx(1.4826 * 1.5)
    assert speedup_of(np.exp(outlier), ones).log_ratio_robust_sd == pytest.approx(1.4826 * 1.5)


@pytest.mark.parametrize(
    ("logs", "lag1"),
    [([1, -1, 1, -1, 1, -1], -5 / 6), ([1, 1, 1, -1, -1, -1], 3 / 6)],
)
def test_lag1_is_the_autocorrelation_in_the_order_of_time(logs: list[int], lag1: float) -> None:
    """Alternating pairs are correlated negatively, pairs in two blocks positively."""
    assert speedup_of(np.exp(logs), np.ones(6)).log_ratio_lag1 == pytest.approx(lag1)


def test_the_blocked_ratio_stands_beside_and_changes_nothing() -> None:
    """It is the ratio of the two blocks' medians; speedup and interval stay those of the pairs."""
    times = ([2.0] * 6, [1.0] * 6)
    plain = paired_speedup(*times, baseline="a", candidate="b")
    beside = paired_speedup(
        *times, baseline="a", candidate="b", blocked=([3.0, 9.0, 4.0], [1.0, 3.0])
    )
    assert plain.blocked_speedup is None
    assert beside.blocked_speedup == pytest.approx(4 / 2)
    assert (beside.speedup, beside.interval) == (plain.speedup, plain.interval)


@pytest.mark.parametrize(
    ("baseline_s", "candidate_s", "message"),
    [
        ([1.0] * 5, [1.0] * 5, "5 pairs are too few for a 95% interval, expected 6 or more"),
        ([], [], "0 pairs are too few"),
        ([1.0] * 7, [1.0] * 6, "as many calls of each, got 7 and 6"),
        ([1.0] * 5 + [0.0], [1.0] * 6, "not positive and finite"),
        ([1.0] * 6, [1.0] * 5 + [math.nan], "not positive and finite"),
    ],
)
def test_pairs_that_give_no_interval_are_refused(
    baseline_s: list[float], candidate_s: list[float], message: str
) -> None:
    """Too few pairs, pairs with one half, and times that are none raise ValueError."""
    with pytest.raises(ValueError, match=message):
        speedup_of(baseline_s, candidate_s)


def test_a_blocked_ratio_needs_both_blocks() -> None:
    """An empty block raises ValueError."""
    with pytest.raises(ValueError, match="calls of both variants, got none of one"):
        paired_speedup([1.0] * 6, [1.0] * 6, baseline="a", candidate="b", blocked=([1.0], []))


@settings(deadline=None)
@given(PAIRS)
def test_swapping_the_variants_mirrors_everything(pairs: list[tuple[float, float]]) -> None:
    """The speedup becomes its reciprocal, the limits change places, the spread stays."""
    there = speedup_of([b for b, _ in pairs], [c for _, c in pairs])
    back = speedup_of([c for _, c in pairs], [b for b, _ in pairs])
    assert back.speedup == pytest.approx(1 / there.speedup)
    assert back.interval.low == pytest.approx(1 / there.interval.high)
    assert back.interval.high == pytest.approx(1 / there.interval.low)
    assert back.log_ratio_robust_sd == pytest.approx(there.log_ratio_robust_sd, abs=1e-12)


@settings(deadline=None)
@given(PAIRS, st.floats(min_value=0.01, max_value=100))
def test_a_slower_candidate_divides_the_speedup(
    pairs: list[tuple[float, float]], factor: float
) -> None:
    """Candidate times multiplied by a constant divide speedup and limits by it."""
    before = speedup_of([b for b, _ in pairs], [c for _, c in pairs])
    after = speedup_of([b for b, _ in pairs], [factor * c for _, c in pairs])
    assert after.speedup == pytest.approx(before.speedup / factor)
    assert after.interval.low == pytest.approx(before.interval.low / factor)
    assert after.interval.high == pytest.approx(before.interval.high / factor)


@settings(deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_does_not_matter(
    pairs: list[tuple[float, float]], random: object
) -> None:
    """Permuted pairs give the same speedup and the same interval, which encloses it."""
    permuted = list(pairs)
    random.shuffle(permuted)  # type: ignore[attr-defined]
    first = speedup_of([b for b, _ in pairs], [c for _, c in pairs])
    second = speedup_of([b for b, _ in permuted], [c for _, c in permuted])
    assert (first.speedup, first.interval) == (second.speedup, second.interval)
    assert first.interval.low <= first.speedup * (1 + 1e-12)
    assert first.speedup <= first.interval.high * (1 + 1e-12)


def test_the_geometric_mean_combines_asymmetric_intervals() -> None:
    """2x and 8x give 4x; distances 0.3 and 0.4 below, 0.6 and 0.8 above give 0.5/2 and 1/2."""
    value, interval = geometric_mean(
        [
            cell(2, 2 * math.exp(-0.3), 2 * math.exp(0.6)),
            cell(8, 8 * math.exp(-0.4), 8 * math.exp(0.8)),
        ]
    )
    assert value == pytest.approx(4)
    assert interval.low == pytest.approx(4 * math.exp(-0.25))
    assert interval.high == pytest.approx(4 * math.exp(0.5))


def test_the_geometric_mean_of_one_cell_is_that_cell() -> None:
    """Its value and limits stay."""
    value, interval = geometric_mean([cell(2.5, 2.25, 3.0)])
    assert (value, interval.low, interval.high) == pytest.approx((2.5, 2.25, 3.0))


def test_the_geometric_means_interval_covers_the_truth() -> None:
    """Of 400 seeded runs of two cells, at least 93% of the intervals hold the true mean."""
    generator = np.random.default_rng(2)
    num_hits = 0
    for _ in range(400):
        cells = [
            speedup_of(truth * np.exp(generator.normal(0, 0.1, size=21)), np.ones(21))
            for truth in (2, 8)
        ]
        _, interval = geometric_mean(cells)
        num_hits += interval.low <= 4 <= interval.high
    assert 0.93 * 400 <= num_hits < 400


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "needs one speedup or more, got none"),
        ([cell(2, 1, 3), cell(2, 1, 3, "bfloat16")], "over different comparisons means nothing"),
    ],
)
def test_a_mean_of_nothing_or_of_different_things_is_refused(
    cells: list[PairedSpeedup], message: str
) -> None:
    """No cells, or cells of different variants, raise ValueError."""
    with pytest.raises(ValueError, match=message):
        geometric_mean(cells)


def test_a_mean_of_intervals_of_another_level_is_refused() -> None:
    """A 99% interval cannot be combined into a 95% one."""
    other = PairedSpeedup(
        baseline="a",
        candidate="b",
        num_pairs=9,
        speedup=2,
        interval=Interval(low=1, high=3, level=0.99),
        log_ratio_robust_sd=0,
        log_ratio_lag1=None,
    )
    with pytest.raises(ValueError, match=r"expected intervals of level 0\.95"):
        geometric_mean([other])


def test_latency_is_per_photograph_and_by_nearest_rank() -> None:
    """Of rounds 1..300 s at batch 2: median 150.5 / 2, p90 the 270th / 2, p99 the 297th / 2."""
    rounds = np.random.default_rng(0).permutation(np.arange(1.0, 301.0))
    summary = summarize_latency(list(rounds), batch=2)
    assert summary.median_s == 150.5 / 2
    assert summary.p90_s == 270 / 2
    assert summary.p99_s == 297 / 2
    assert summary.left_out == {}


@pytest.mark.parametrize(
    ("num_rounds", "left_out"),
    [
        (1, {"p90_s", "p99_s"}),
        (28, {"p90_s", "p99_s"}),
        (29, {"p99_s"}),
        (298, {"p99_s"}),
        (299, set()),
    ],
)
def test_a_percentile_that_the_count_cannot_carry_is_left_out(
    num_rounds: int, left_out: set[str]
) -> None:
    """0.9 ** 29 and 0.99 ** 299 are the first powers below 5%; the reason has the figures."""
    summary = summarize_latency([0.5] * num_rounds, batch=1)
    assert set(summary.left_out) == left_out
    for field, value in (("p90_s", summary.p90_s), ("p99_s", summary.p99_s)):
        assert (value is None) == (field in left_out)
    for reason in summary.left_out.values():
        assert reason.startswith(f"{num_rounds} rounds; with fewer than ")


@pytest.mark.parametrize(
    ("seconds", "batch", "message"),
    [
        ([], 1, "one round or more, got none"),
        ([0.5], 0, "batch 0 is no number of photographs, expected 1 or more"),
        ([0.5, -0.1], 1, "not positive and finite"),
        ([0.5, math.inf], 1, "not positive and finite"),
    ],
)
def test_rounds_that_are_none_are_refused(seconds: list[float], batch: int, message: str) -> None:
    """No rounds, no batch and impossible times raise ValueError."""
    with pytest.raises(ValueError, match=message):
        summarize_latency(seconds, batch)
