"""The usual ways to call a benchmark slower, so that they can be tried on the gate's traces."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import comb
from scipy.stats import mannwhitneyu

Rounds = npt.NDArray[np.float64]
"""Seconds of a benchmark's rounds in one run, all above 0."""

ASV_P = 0.002
"""`asv continuous` calls two results different below this (asv 0.6, `asv/commands/compare.py`)."""

ASV_FACTOR = 1.1
"""`asv continuous --factor`'s default: a smaller change is not shown."""

RIVALS: Mapping[str, str] = {
    "median-5": "`--benchmark-compare-fail=median:5%`",
    "median-10": "`--benchmark-compare-fail=median:10%`",
    "min-5": "`--benchmark-compare-fail=min:5%`",
    "mann-whitney": "Mann-Whitney, p < 0.002",
    "mann-whitney-5": "Mann-Whitney, p < 0.002, factor 1.05",
    "asv": "Mann-Whitney as in asv: p < 0.002, factor 1.1",
}
"""Every rule's key and what it is called in a table."""


def compare_fail(
    base: Rounds, head: Rounds, stat: Literal["median", "min"], percent: float
) -> bool:
    """Return whether pytest-benchmark's `--benchmark-compare-fail=STAT:PERCENT%` is red.

    Args:
        base: The stored run's rounds.
        head: The new run's rounds.
        stat: What is compared.
        percent: How much greater it may be.
    """
    compute = np.median if stat == "median" else np.min
    return bool(compute(head) / compute(base) * 100 - 100 > percent)


def mann_whitney(base: Rounds, head: Rounds, *, p: float = ASV_P, factor: float = 1.0) -> bool:
    """Return whether head is slower by the two-sample test that asv uses.

    As in asv the test is two-sided, and is not asked where so few rounds could never reach `p`.
    asv then looks at the overlap of 99% intervals, which so few rounds do not have.

    Args:
        base: Rounds of the earlier run.
        head: Rounds of the later run.
        p: Red needs a smaller one.
        factor: Red needs head's median above base's by more than this factor.
    """
    if np.median(head) <= factor * np.median(base):
        return False
    if 1 / comb(len(base) + len(head), min(len(base), len(head))) >= p:
        return False
    return bool(mannwhitneyu(base, head).pvalue < p)


def judge_as_rivals(base: Rounds, head: Rounds) -> dict[str, bool]:
    """Return for each of `RIVALS` whether it is red."""
    # The rule with no factor is the weakest of the three: only where it is red can the others be.
    differs = mann_whitney(base, head)
    factor = float(np.median(head) / np.median(base))
    return {
        "median-5": compare_fail(base, head, "median", 5),
        "median-10": compare_fail(base, head, "median", 10),
        "min-5": compare_fail(base, head, "min", 5),
        "mann-whitney": differs,
        "mann-whitney-5": differs and factor > 1.05,
        "asv": differs and factor > ASV_FACTOR,
    }
