"""The observers by percentile and by squared error: their ranges, and their place in torch."""

from functools import partial

import pytest
import torch
from quantizable import config, network, noise
from torch import Tensor

from indoor.evaluate import sqnr_db
from indoor.quantize import quantize
from indoor.quantize.config import qconfig_of
from indoor.quantize.observers import mse_range, percentile_range, squared_errors
from indoor.records import Observer

RANGES = [(0, 127), (0, 255)]


def values(kind: str, count: int = 4096) -> Tensor:
    """Return activations of a kind, float32 `(N,)`."""
    drawn = torch.randn(count, generator=torch.Generator().manual_seed(1))
    drawn[0] = 12.0 if "outlier" in kind else drawn[0]
    return drawn.relu() if "relu" in kind else drawn


def observed(observer: Observer, ends: tuple[int, int], *batches: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest value that the observer's scale can represent."""
    made = qconfig_of(config(observer=observer, activation_range=ends)).activation()
    for batch in batches:
        made(batch)
    scale, zero_point = made.calculate_qparams()
    low, high = (float(scale) * (end - int(zero_point)) for end in ends)
    return low, high


def test_percentiles_leave_a_ten_thousandth_out_at_either_end() -> None:
    """Of 100,000 values 10 may lie outside at either end, and bins are kept whole."""
    counts = [5, 10, *[0] * 6, 10, 5]
    counts[4] = 100_000 - sum(counts)
    assert percentile_range(torch.tensor(counts), 0.0, 10.0) == pytest.approx((1.0, 9.0))
    assert percentile_range(torch.tensor([11, 99_989]), -1.0, 1.0) == pytest.approx((-1.0, 1.0))


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize(("low", "high"), [(-2.0, 3.0), (-0.7, 0.9), (0.0, 3.0), (-2.0, 0.0)])
def test_errors_are_those_of_rounded_values(ends: tuple[int, int], low: float, high: float) -> None:
    """The integral over the bins is the mean over many values spread evenly in them."""
    histogram = torch.tensor([3.0, 1.0, 0.0, 7.0])
    each = 40_000
    spread = torch.linspace(-2, 3, 4 * each + 1, dtype=torch.float64)[:-1]
    scale = (high - low) / (ends[1] - ends[0])
    zero_point = ends[0] - round(low / scale)
    levels = (spread / scale).round().clamp(ends[0] - zero_point, ends[1] - zero_point)
    expected = ((spread - levels * scale) ** 2).unflatten(0, (4, each)).mean(dim=1) @ (
        histogram.double()
    )
    actual = squared_errors(histogram, -2.0, 3.0, *ends, low, high)
    assert float(actual) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("ends", RANGES)
@pytest.mark.parametrize("kind", ["normal", "normal, an outlier", "relu", "relu, an outlier"])
def test_no_pair_of_ends_errs_less(kind: str, ends: tuple[int, int]) -> None:
    """The range by squared error is as good as the best of all pairs of bins' edges."""
    drawn = values(kind)
    smallest, largest = float(drawn.min()), float(drawn.max())
    histogram = drawn.histc(64, smallest, largest)
    errors = partial(squared_errors, histogram, smallest, largest, *ends)
    edges = torch.linspace(smallest, largest, 65, dtype=torch.float64)
    pairs = torch.cartesian_prod(edges[edges <= 0], edges[edges > 0])
    low, high = mse_range(histogram, smallest, largest, *ends)
    assert smallest <= low <= 0 < high <= largest
    assert float(errors(low, high)) <= 1.001 * float(errors(pairs[:, 0], pairs[:, 1]).min())


def test_fewer_levels_are_clipped_closer() -> None:
    """At 0..127 the squared error asks for a narrower range; torch's own search sees no levels."""
    drawn = values("normal", 200_000)
    coarse, fine = (observed("mse", ends, drawn) for ends in RANGES)
    assert coarse[1] - coarse[0] < 0.95 * (fine[1] - fine[0])
    coarse, fine = (observed("histogram", ends, drawn) for ends in RANGES)
    assert coarse[1] - coarse[0] == pytest.approx(fine[1] - fine[0], rel=1e-6)


@pytest.mark.parametrize("observer", ["percentile", "mse"])
def test_an_outlier_does_not_decide(observer: Observer) -> None:
    """One value far out, in a later batch, hardly moves the range, which min-max gives it all."""
    batches = values("normal", 400_000), values("normal, an outlier")
    low, high = observed(observer, (0, 255), *batches)
    assert -6 < low < -3
    assert 3 < high < 8
    assert observed("minmax", (0, 255), *batches)[1] == pytest.approx(12, rel=0.01)


@pytest.mark.parametrize("observer", ["percentile", "mse"])
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_constant_is_kept(observer: Observer, value: float) -> None:
    """An activation that never changes has a range from 0 to it."""
    low, high = observed(observer, (0, 255), torch.full((8,), value))
    assert (low, high) == pytest.approx((min(value, 0), max(value, 0)), abs=1e-4)


@pytest.mark.parametrize("observer", ["percentile", "mse"])
@pytest.mark.parametrize("ends", RANGES)
def test_networks_are_quantized_with_them(observer: Observer, ends: tuple[int, int]) -> None:
    """A network's int8 logits are near its float32 ones, calibrated by them."""
    inputs = noise(4)
    model = network(inputs)
    int8 = quantize(model, config(observer=observer, activation_range=ends), [inputs])
    assert sqnr_db(model(inputs), int8(inputs)) > 10
