"""The observers that torch lacks: a range by percentile, and one by the mean squared error.

Both are torch's histogram observer with another search.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.ao.quantization.observer import HistogramObserver

TAIL = 1e-4
"""The share of values that `percentile` clips at either end, as NVIDIA's 99.99 percentile does."""

_NUM_CANDIDATES = 64
_MAX_ROUNDS = 8


class PercentileObserver(HistogramObserver):
    """Chooses the range outside of which a ten-thousandth of the values lies at either end."""

    def _non_linear_param_search(self) -> tuple[Tensor, Tensor]:
        """Return both ends, which torch's observer makes scale and zero point of."""
        smallest, largest = float(self.min_val), float(self.max_val)
        low, high = percentile_range(self.histogram, smallest, largest)
        return self.min_val.new_tensor(low), self.min_val.new_tensor(high)


class MseObserver(HistogramObserver):
    """Chooses the range with the smallest squared error for the levels that it really has."""

    def _non_linear_param_search(self) -> tuple[Tensor, Tensor]:
        """Return both ends, which torch's observer makes scale and zero point of."""
        smallest, largest = float(self.min_val), float(self.max_val)
        levels = (self.quant_min, self.quant_max)
        low, high = mse_range(self.histogram, smallest, largest, *levels)
        return self.min_val.new_tensor(low), self.min_val.new_tensor(high)


def percentile_range(histogram: Tensor, smallest: float, largest: float) -> tuple[float, float]:
    """Return the range that leaves out at most `TAIL` of the values at either end.

    As NVIDIA's pytorch-quantization chooses it, whose ranges are symmetric: the edges of the bins
    in which the percentiles lie.

    Args:
        histogram: How many values lie in each of equal bins; of any float type `(bins,)`.
        smallest: The first bin's lower edge.
        largest: The last bin's upper edge.
    """
    below = histogram.double().cumsum(0)
    tail = TAIL * float(below[-1])
    first = int(torch.searchsorted(below, tail, right=True))
    last = int(torch.searchsorted(below, float(below[-1]) - tail))
    width = (largest - smallest) / len(histogram)
    return smallest + width * first, smallest + width * (last + 1)


def mse_range(
    histogram: Tensor, smallest: float, largest: float, quant_min: int, quant_max: int
) -> tuple[float, float]:
    """Return the range whose rounding and clipping together have the smallest squared error.

    The error is that of the levels `quant_min..quant_max` with their zero point, integrated over
    each bin; torch's own histogram observer counts on 256 levels whatever the range. Either end is
    searched in turn, first over all of its way to 0 and then around the best, until neither moves.

    Args:
        histogram: As in `percentile_range`.
        smallest: As there.
        largest: As there.
        quant_min: The smallest level.
        quant_max: The largest level.
    """
    low, high = smallest, largest
    if not largest > smallest:
        return low, high
    errors = partial(squared_errors, histogram, smallest, largest, quant_min, quant_max)
    for _ in range(_MAX_ROUNDS):
        before = (low, high)
        if smallest < 0:
            low = _best_end(partial(errors, highs=high), low, smallest)
        if largest > 0:
            high = _best_end(partial(errors, low), high, largest)
        if (low, high) == before:
            break
    return low, high


def _best_end(errors: Callable[[Tensor], Tensor], now: float, farthest: float) -> float:
    """Return the end up to `farthest` with the smallest error; `now` where none has a smaller."""
    best, middle, reach = now, farthest / 2, farthest / 2
    for _ in range(2):  # all the way from 0, then between the best one's neighbours
        steps = torch.linspace(-1, 1, _NUM_CANDIDATES + 1, dtype=torch.float64)
        candidates = torch.cat([torch.tensor([best], dtype=torch.float64), middle + reach * steps])
        candidates = candidates[(candidates / farthest > 0) & (candidates / farthest <= 1)]
        best = float(candidates[errors(candidates).argmin()])
        middle, reach = best, 2 * reach / _NUM_CANDIDATES
    return best


def squared_errors(
    histogram: Tensor,
    smallest: float,
    largest: float,
    quant_min: int,
    quant_max: int,
    lows: Tensor | float,
    highs: Tensor | float,
) -> Tensor:
    """Return the sum of the squared errors of all values for each candidate range, float64 `(K,)`.

    Within a bin values count as evenly spread. In steps, a value u becomes the level k next to it,
    and the integral of (u - k)^2 is k / 12 + (u - k)^3 / 3, which is continuous where k changes.
    """
    low = torch.as_tensor(lows, dtype=torch.float64).clamp(max=0)
    high = torch.as_tensor(highs, dtype=torch.float64).clamp(min=0)
    step = (high - low).reshape(-1) / (quant_max - quant_min)
    zero_point = (quant_min - (low / step).round()).clamp(quant_min, quant_max)
    edges = torch.linspace(smallest, largest, len(histogram) + 1, dtype=torch.float64)
    values = edges / step[:, None]
    ends = [(end - zero_point)[:, None] for end in (quant_min, quant_max)]
    levels = values.round().clamp(*ends)
    integral = levels / 12 + (values - levels) ** 3 / 3
    width = (largest - smallest) / len(histogram)
    errors: Tensor = step**3 * (integral.diff(dim=1) @ histogram.double()) / width
    return errors
