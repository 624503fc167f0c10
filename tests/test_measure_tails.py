"""MLPerf's early stopping: how many calls a percentile takes, and which call it is."""

import pytest
from scipy.stats import binom

from indoor.measure.tails import CONFIDENCE, min_calls, mlperf_tails


@pytest.mark.parametrize(("percentile", "calls"), [(90.0, 64), (99.0, 662), (99.9, 6636)])
def test_the_fewest_calls_are_those_of_the_rules(percentile: float, calls: int) -> None:
    """One call less leaves more than 1% for at most one slow call; 64 and 662 are MLPerf's own."""
    assert min_calls(percentile) == calls
    slow = 1 - percentile / 100
    assert binom.cdf(1, calls, slow) <= 1 - CONFIDENCE < binom.cdf(1, calls - 1, slow)


def test_by_hand_the_slowest_of_64_calls_is_p90() -> None:
    """0.9^64 + 64 x 0.1 x 0.9^63 = 0.0096, and with 63 calls 0.0105; nothing is discarded yet."""
    p90, p99, p999 = mlperf_tails([float(call) for call in range(1, 65)], batch=4)
    assert (p90.percentile, p90.num_calls, p90.min_calls, p90.value_s) == (90.0, 64, 64, 16.0)
    assert (p99.min_calls, p99.value_s) == (662, None)
    assert (p999.min_calls, p999.value_s) == (6636, None)
    assert mlperf_tails([1.0] * 63, batch=1)[0].value_s is None


@pytest.mark.parametrize("calls", [64, 82, 100, 662, 1000, 20_000])
def test_the_discarded_calls_are_the_binomial_bounds(calls: int) -> None:
    """The t-th slowest counts, t the last for which scipy's binomial allows it."""
    for tail in mlperf_tails([float(call) for call in range(1, calls + 1)], batch=1):
        slow = 1 - tail.percentile / 100
        bounds = binom.cdf(range(1, calls + 1), calls, slow)
        num_allowed = int((bounds <= 1 - CONFIDENCE).sum())
        assert tail.value_s == (calls + 1 - num_allowed if num_allowed else None)
        assert (tail.value_s is None) == (calls < tail.min_calls)
