"""Bounds and p values over launches of pairs, and Holm's procedure."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, quantile_test, t, ttest_1samp
from scipy.stats.mstats import trimmed_mean, trimmed_stde

from bench.studies import coverage as gate_coverage_study
from indoor.gate.decide.evidence import (
    MIN_LAUNCH_SD,
    MIN_TRIMMED,
    Launches,
    gather,
    lower_bound,
    p_faster,
    p_mean_above,
    p_slower,
    summarize,
    upper_bound,
)
from indoor.measure.pair_statistics import holm, holm_adjusted

RATIOS = st.floats(min_value=-0.5, max_value=0.5, allow_subnormal=False)
LAUNCHES = st.lists(
    st.lists(RATIOS, min_size=1, max_size=12).map(np.array), min_size=2, max_size=14
)
ALPHAS = st.floats(min_value=1e-5, max_value=0.4)


def draw(seed: int, num_launches: int, num_pairs: int, shift: float = 0.0) -> Launches:
    """Return normal log-ratios: pairs of sd 2%, launches of sd 0.3%."""
    rng = np.random.default_rng(seed)
    return [
        shift + rng.normal(0, 0.003) + rng.normal(0, 0.02, num_pairs) for _ in range(num_launches)
    ]


def test_the_bound_over_launches_is_student_by_hand() -> None:
    """Medians 1, 2, 3%: 2% - 2.920 * 1% / sqrt(3), with the t table's 2 degrees at 5%."""
    launches = [np.full(40, 0.01), np.full(40, 0.02), np.full(40, 0.03)]
    assert lower_bound(launches, 0.05) == pytest.approx(0.02 - 2.920 * 0.01 / 3**0.5, abs=1e-5)
    assert upper_bound(launches, 0.05) == pytest.approx(0.02 + 2.920 * 0.01 / 3**0.5, abs=1e-5)


def test_the_bound_over_many_launches_is_trimmed_by_hand() -> None:
    """Medians 0 to 9%: 2 to 7% are kept, mean 4.5%; winsorized squares 42.5, so sd 2.173 / 0.6%.

    The t table has 2.132 for 4 degrees of freedom at 5%.
    """
    launches = [np.full(40, percent / 100) for percent in (3, 9, 0, 5, 1, 8, 2, 7, 4, 6)]
    error = 0.01 * (42.5 / 9) ** 0.5 / 0.6 / 10**0.5
    assert lower_bound(launches, 0.05) == pytest.approx(0.045 - 2.132 * error, abs=1e-5)
    assert upper_bound(launches, 0.05) == pytest.approx(0.045 + 2.132 * error, abs=1e-5)


def test_outlying_processes_do_not_stretch_the_bound() -> None:
    """Two of twelve launches that are 20% off, to either side, hardly move it."""
    launches = draw(3, 12, 10)
    off = [launches[0] + 0.2, launches[1] - 0.2, *launches[2:]]
    width = upper_bound(launches, 0.01) - lower_bound(launches, 0.01)
    assert upper_bound(off, 0.01) - lower_bound(off, 0.01) < 1.5 * width


def test_the_bound_over_pairs_is_the_binomial_tables_by_hand() -> None:
    """Of ten pairs the second smallest has error 11/1024, the third 56/1024."""
    launches = [np.array([-0.9, -0.5, 0.1, 0.1, 0.1]), np.array([-0.7, 0.1, 0.1, 0.1, 0.1])]
    assert lower_bound(launches, 12 / 1024) <= -0.7
    three = [np.array([-0.9, 0.1, 0.1, 0.1, 0.1]), np.array([-0.7, -0.5, 0.1, 0.1, 0.1])]
    # Both medians are 0.1, so that Student alone would say about 0.1.
    assert lower_bound(three, 0.055) == -0.5
    assert lower_bound(three, 0.054) == -0.7
    assert lower_bound(three, 1 / 1024) == -0.9
    assert lower_bound(three, 0.9 / 1024) == -math.inf


@settings(max_examples=60)
@given(launches=LAUNCHES, threshold=st.sampled_from([-0.03, 0.0, 0.01, 0.03]))
def test_p_values_are_the_larger_of_scipys_two(launches: Launches, threshold: float) -> None:
    """The oracles are binomtest on the signs and ttest_1samp on the medians."""
    pairs = np.concatenate(launches)
    medians = np.array([np.median(launch) for launch in launches])
    signs = binomtest(int((pairs > threshold).sum()), len(pairs), alternative="greater").pvalue
    if len(medians) >= MIN_TRIMMED or medians.std(ddof=1) < MIN_LAUNCH_SD:
        assert p_slower(launches, threshold) >= signs * (1 - 1e-9)
        return
    student = ttest_1samp(medians, threshold, alternative="greater").pvalue
    assert p_slower(launches, threshold) == pytest.approx(max(signs, student), rel=1e-6)
    assert p_mean_above(launches, threshold) == pytest.approx(student, rel=1e-6)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.000625])
@pytest.mark.parametrize("num_launches", [9, 10, 24, 36])
def test_bounds_are_the_wider_of_scipys_two(num_launches: int, alpha: float) -> None:
    """quantile_test's one-sided interval and Student's, or the trimmed mean's, are the oracle."""
    launches = draw(1, num_launches, 12)
    pairs = np.concatenate(launches)
    medians = np.array([np.median(launch) for launch in launches])
    signs = quantile_test(pairs, p=0.5, alternative="greater")
    by_signs = signs.confidence_interval(confidence_level=1 - alpha).low
    df, mean, error = num_launches - 1, medians.mean(), medians.std(ddof=1) / num_launches**0.5
    if num_launches >= MIN_TRIMMED:
        limits = {"limits": (0.2, 0.2)}
        num_cut = num_launches // 5
        df, mean = num_launches - 3 * num_cut, trimmed_mean(medians, **limits)
        # scipy divides by 0.6 though it keeps a whole number of values.
        error = trimmed_stde(medians, **limits) * 0.6 / (1 - 2 * num_cut / num_launches)
    by_launches = t(df=df, loc=mean, scale=error).ppf(alpha)
    assert lower_bound(launches, alpha) == pytest.approx(min(by_signs, by_launches), rel=1e-9)


@given(launches=LAUNCHES, alpha=ALPHAS, threshold=st.floats(-0.2, 0.2))
def test_p_values_and_bounds_agree(launches: Launches, alpha: float, threshold: float) -> None:
    """The p value is at most alpha exactly where the bound of alpha is beyond the threshold."""
    low, high = lower_bound(launches, alpha), upper_bound(launches, alpha)
    if abs(low - threshold) > 1e-9:
        assert (p_slower(launches, threshold) <= alpha) == (low > threshold)
    if abs(high + threshold) > 1e-9:
        assert (p_faster(launches, threshold) <= alpha) == (high < -threshold)


@given(launches=LAUNCHES, alpha=ALPHAS)
def test_swapping_base_and_head_mirrors(launches: Launches, alpha: float) -> None:
    """Bounds, p values and the summary change sides, to the last bit."""
    swapped = [-launch for launch in launches]
    assert lower_bound(swapped, alpha) == -upper_bound(launches, alpha)
    assert p_slower(swapped, 0.01) == p_faster(launches, 0.01)
    ours, theirs = summarize(launches), summarize(swapped)
    assert ours is not None
    assert theirs is not None
    assert (theirs.center, theirs.low, theirs.high) == (-ours.center, -ours.high, -ours.low)
    assert theirs.robust_sd == pytest.approx(ours.robust_sd)


@given(launches=LAUNCHES, alpha=ALPHAS, shift=st.floats(-0.3, 0.3))
def test_a_constant_factor_shifts(launches: Launches, alpha: float, shift: float) -> None:
    """Head slower by a factor moves both bounds by its logarithm and no more."""
    moved = [launch + shift for launch in launches]
    for bound in (lower_bound, upper_bound):
        assert bound(moved, alpha) == pytest.approx(bound(launches, alpha) + shift, abs=1e-9)


@given(launches=LAUNCHES)
def test_the_median_lies_within_its_interval(launches: Launches) -> None:
    """The summary never contradicts itself."""
    summary = summarize(launches)
    assert summary is not None
    assert summary.low <= summary.center <= summary.high
    assert summary.num_pairs == sum(map(len, launches))
    assert summary.num_launches == len(launches)


@pytest.mark.parametrize("more", [(12, 10), (6, 40), (20, 40)])
def test_more_of_the_same_does_not_widen(more: tuple[int, int]) -> None:
    """More launches, or more pairs in each, narrow the interval on average of 60 draws."""
    widths = [
        [upper_bound(d, 0.025) - lower_bound(d, 0.025) for d in (draw(s, *size) for s in range(60))]
        for size in ((6, 10), more)
    ]
    assert np.mean(widths[1]) < np.mean(widths[0])


@pytest.mark.parametrize(
    "launches",
    [
        [],
        [np.array([])],
        [np.full(40, 0.5)],
        [np.full(40, 0.5), np.array([])],
        [np.full(40, 0.5), np.array([0.5, math.nan])],
        [np.full(40, 0.5), np.array([0.5, math.inf])],
    ],
    ids=["nothing", "no pair", "one launch", "one launch with pairs", "nan", "infinite"],
)
def test_the_unknown_shows_nothing(launches: Launches) -> None:
    """Too few launches, and ratios that are no numbers, bound nothing and have p = 1."""
    assert (lower_bound(launches, 0.05), upper_bound(launches, 0.05)) == (-math.inf, math.inf)
    assert p_slower(launches, 0.01) == p_faster(launches, 0.01) == 1
    assert p_mean_above(launches, 0.0) == 1
    assert not gather(launches).known


def test_equal_medians_leave_a_doubt() -> None:
    """A coarse timer's equal medians do not collapse the interval to a point."""
    launches = [np.full(20, 0.01)] * 6
    expected = 0.01 - t(df=5).ppf(0.975) * MIN_LAUNCH_SD / 6**0.5
    assert lower_bound(launches, 0.025) == pytest.approx(expected)
    assert p_slower(launches, 0.01) == pytest.approx(1)
    assert p_slower(launches, 0.02) == 1
    summary = summarize(launches)
    assert summary is not None
    assert (summary.robust_sd, summary.lag1) == (0, None)


def test_one_odd_launch_is_not_drowned_by_many_pairs() -> None:
    """Forty pairs a launch do not hide that the processes disagree."""
    launches = [np.full(40, value) for value in (0.05, 0.05, 0.05, 0.05, 0.05, -0.05)]
    assert lower_bound(launches, 0.01) < 0
    assert p_slower(launches, 0.01) > 0.05


def test_the_summary_by_hand() -> None:
    """Median, 1.4826 times the median deviation, and neighbours that alternate."""
    summary = summarize([np.array([-0.02, 0.02, -0.02, 0.02]), np.array([-0.02, 0.02])])
    assert summary is not None
    assert summary.center == 0
    assert summary.robust_sd == pytest.approx(1.4826 * 0.02)
    # Four products of -0.0004 within the launches, over six squares of 0.0004.
    assert summary.lag1 == pytest.approx(-4 / 6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.1, math.nan])
def test_an_impossible_level_is_refused(alpha: float) -> None:
    """The message names the value and the range."""
    with pytest.raises(ValueError, match="expected between 0 and"):
        lower_bound(draw(0, 4, 4), alpha)


def test_holm_by_hand() -> None:
    """0.01, 0.013 and 0.02 pass 5% / 4, / 3, / 2; 0.06 stands, held against 5%."""
    rejected, levels = holm([0.02, 0.06, 0.01, 0.013], 0.05)
    assert rejected == [True, False, True, True]
    assert levels == pytest.approx([0.025, 0.05, 0.0125, 0.05 / 3])


def test_holm_stops_at_the_first_that_stands() -> None:
    """After 0.03 > 5% / 3 nothing more falls, though 0.04 < 5% / 1; both have the stop's level."""
    rejected, levels = holm([0.001, 0.03, 0.04, 0.5], 0.05)
    assert rejected == [True, False, False, False]
    assert levels == pytest.approx([0.0125, 0.05 / 3, 0.05 / 3, 0.05 / 3])
    assert holm([], 0.05) == ([], [])


def test_holms_adjusted_p_values_by_hand() -> None:
    """3 x 0.01, 2 x 0.02 and 0.03, none below the one before: 0.03, 0.04, 0.04; 1 at most."""
    assert holm_adjusted([0.02, 0.03, 0.01]) == pytest.approx([0.04, 0.04, 0.03])
    assert holm_adjusted([0.7, 0.6]) == [1.0, 1.0]


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8), alpha=ALPHAS)
def test_holm_rejects_what_bonferroni_does(p_values: list[float], alpha: float) -> None:
    """And each answer agrees with the level that is told with it."""
    rejected, levels = holm(p_values, alpha)
    for p, is_rejected, level in zip(p_values, rejected, levels, strict=True):
        assert is_rejected == (p <= level)
        if p <= alpha / len(p_values):
            assert is_rejected


def test_the_coverage_study_prints_and_records_every_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few runs a row make the whole table, and the record holds what it shows."""
    out = tmp_path / "study" / "coverage.json"
    options = ["--runs", "60", "--bootstrap-runs", "1", "--resamples", "20", "--out", str(out)]
    assert gate_coverage_study.main(options) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    wider = [row["errors"]["0.025"] for row in rows if row["method"] == "wider of the last two"]
    assert len(wider) * len(gate_coverage_study.METHODS) == len(rows)
    assert len(capsys.readouterr().out.splitlines()) == 4 + len(wider)
    assert np.mean(wider) < 0.025
