"""What quantizing each layer costs: by itself, and together with all the others."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from indoor.diagnose.causes import causes_of
from indoor.diagnose.pairing import NUM_CODES, Pair, fused_copy, pair_layers, weighted
from indoor.diagnose.records import LayerError
from indoor.diagnose.replay import Replay
from indoor.measure.logit_statistics import decibels
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize.equalisation import equalise

PIECE = 8
"""Photographs at a time, of which every layer's output is kept: 0.5 GB of a ResNet-50."""

_BULK = 0.999
_STEPS = 2
"""From how many steps on a kernel is wrong; engines may round a half differently."""


@dataclass(kw_only=True)
class _Sums:
    """What is added up of one layer over the photographs."""

    signal: float = 0.0
    weight_noise: float = 0.0
    per_channel_noise: float = 0.0
    rounding_noise: float = 0.0
    clipping_noise: float = 0.0
    shifted_noise: float = 0.0
    logit_noise: float = 0.0
    weight_logit_noise: float = 0.0
    int8_signal: float = 0.0
    int8_noise: float = 0.0
    product: float = 0.0
    num: int = 0
    num_clipped: int = 0
    num_overflowed: int = 0
    num_judged: int = 0
    histogram: Tensor = field(default_factory=lambda: torch.zeros(NUM_CODES, dtype=torch.int64))
    channels: list[Tensor] = field(default_factory=list)
    """A call each: what `_by_channel` returns."""
    ends: list[Tensor] = field(default_factory=list)
    """A call each: every channel's least and greatest output, `(2, C)`."""


def layer_errors(
    float_model: nn.Module,
    int8_model: nn.Module,
    images: Tensor,
    *,
    activation_range: tuple[int, int] = (0, 255),
    equalised: bool = False,
    progress: Progress = NO_PROGRESS,
) -> tuple[LayerError, ...]:
    """Return what each layer of an int8 network loses, with the causes that its figures show.

    float32 is run once a few photographs, and once more for each layer from that layer on, with
    its weights in int8 and its output rounded, and again with its weights alone.

    Args:
        float_model: The float32 network that was quantized, not fused; it stays as it is.
        int8_model: What `quantize` made of it or `load_int8` read, with the same modules' names.
        images: Photographs through the transform of inference, float32 `(B, 3, H, W)`.
        activation_range: What was calibrated: `QuantizationConfig.activation_range`.
        equalised: Whether the float32 network's channels were levelled before it was quantized;
            then its layers are compared as they were after that. The logits are the same.
        progress: Hears of the photographs, once a layer.

    Returns:
        One a layer that was called, in the order of the calls.

    Raises:
        ValueError: There is no photograph, or the networks have not the same layers.
    """
    if not len(images):
        raise ValueError("there are 0 photographs, expected 1 or more")
    fused = fused_copy(equalise(float_model) if equalised else float_model)
    pairs = {pair.name: pair for pair in pair_layers(fused, int8_model)}
    replay = Replay(fused, {name: pair.point for name, pair in pairs.items()})
    sums = {name: _Sums() for name in pairs}
    signal = 0.0
    progress.start("layers, one at a time", len(images) * len(pairs))
    try:
        for piece in torch.split(images, PIECE):
            signal += _add_piece(pairs, sums, replay, int8_model, piece, progress)
    finally:
        progress.finish()
    order = list(replay.outputs())
    weighted_layers = [name for name in order if pairs[name].kind in ("convolution", "linear")]
    ends = {*weighted_layers[:1], *weighted_layers[-1:]}
    noise = sum(one.logit_noise for one in sums.values())
    found = [
        _judge(pairs[name], sums[name], signal, noise, activation_range, name in ends)
        for name in order
    ]
    return tuple(replace(one, causes=causes_of(one)) for one in found)


@torch.inference_mode()
def _add_piece(
    pairs: dict[str, Pair],
    sums: dict[str, _Sums],
    replay: Replay,
    int8_model: nn.Module,
    images: Tensor,
    progress: Progress,
) -> float:
    """Add what some photographs show of every layer, and return the power of float32's logits."""
    images = images.contiguous(memory_format=torch.channels_last)
    logits = replay.record(images, lambda name, x, y: _add_own(sums[name], pairs[name], x, y))
    kept = replay.outputs()
    with _watched(pairs, sums, kept):
        int8_model(images)
    for name in kept:
        _add_isolated(sums[name], pairs[name], replay, images, logits)
        progress.advance(len(images))
    return _power(logits)


def _add_own(sums: _Sums, pair: Pair, x: Tensor, y: Tensor) -> None:
    """Add what the layer does to float32's own values."""
    sums.signal += _power(y)
    sums.num += y.numel()
    before, changed = y, pair.rounded(y)
    if pair.twin is not None:
        noisy = pair.twin(x)
        sums.weight_noise += _power(noisy - y)
        if pair.per_channel is not None:
            sums.per_channel_noise += _power(pair.per_channel(x) - y)
        # A bias is added before the ReLU, so means are compared there.
        has_relu = weighted(pair.point) is not pair.point
        before = weighted(pair.point)(x) if has_relu else y
        changed = weighted(pair.twin)(x) if has_relu else noisy
    sums.shifted_noise += _power(changed - before)
    sums.channels.append(_by_channel(changed - before, before))
    others = [0, *range(2, y.dim())]
    sums.ends.append(torch.stack([y.amin(others), y.amax(others)]))
    codes = pair.codes(y)
    held = codes.clamp(0, NUM_CODES - 1)
    # Half a step beyond the last code still rounds to it.
    clipped = codes != held
    error = pair.rounded(y) - y
    sums.rounding_noise += _power(error)
    sums.clipping_noise += _power(error[clipped])
    sums.num_clipped += int(clipped.sum())
    sums.histogram += torch.bincount(held.to(torch.uint8).flatten(), minlength=NUM_CODES)


def _by_channel(error: Tensor, y: Tensor) -> Tensor:
    """Return each channel's count, and sums of the error, `y` and its square: `(4, C)`."""
    others = [0, *range(2, y.dim())]
    count = torch.full((y.shape[1],), y.numel() / y.shape[1], dtype=torch.float64)
    return torch.stack(
        [
            count,
            error.sum(others, dtype=torch.float64),
            y.sum(others, dtype=torch.float64),
            y.square().sum(others, dtype=torch.float64),
        ]
    )


@contextmanager
def _watched(
    pairs: dict[str, Pair], sums: dict[str, _Sums], kept: dict[str, list[Tensor]]
) -> Iterator[None]:
    """Add what the int8 network's layers give while the block runs it."""
    left = {name: iter(outputs) for name, outputs in kept.items()}

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if name not in left:
            return
        pair, one, expected = pairs[name], sums[name], next(left[name])
        actual = output.dequantize()
        one.int8_signal += _power(actual)
        one.int8_noise += _power(actual - expected)
        one.product += float((actual * expected).sum(dtype=torch.float64))
        if pair.twin is not None and output.is_quantized and inputs[0].is_quantized:
            exact = pair.codes(pair.twin(inputs[0].dequantize())).clamp_(0, NUM_CODES - 1)
            off = (exact - output.int_repr()).abs_() >= _STEPS
            one.num_overflowed += int(off.sum())
            one.num_judged += off.numel()

    hooks = [
        pair.quantized.register_forward_hook(partial(note, name)) for name, pair in pairs.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _add_isolated(sums: _Sums, pair: Pair, replay: Replay, images: Tensor, logits: Tensor) -> None:
    """Add what reaches the logits where this layer alone is quantized."""
    changed = replay.again(images, pair.name, lambda x: pair.rounded(pair.compute(x)))
    sums.logit_noise += _power(changed - logits)
    if pair.twin is not None:
        changed = replay.again(images, pair.name, pair.twin)
        sums.weight_logit_noise += _power(changed - logits)


def _judge(
    pair: Pair,
    sums: _Sums,
    logit_signal: float,
    logit_noise: float,
    activation_range: tuple[int, int],
    ends: bool,
) -> LayerError:
    """Return a layer's figures, its causes left open."""

    def sqnr_db(noise: float, signal: float = sums.signal) -> float:
        return decibels(math.sqrt(signal), math.sqrt(noise))

    has_weights = pair.twin is not None
    count, error, total, squares = _alike(sums.channels).sum(0)
    lowest, highest = _alike(sums.ends).unbind(1)
    extent = highest.amax(0) - lowest.amin(0)
    means = error / count
    variances = (squares / count - (total / count).square()).clamp_min(0)
    spread = float(variances.mean().sqrt())
    levels = activation_range[1] - activation_range[0] + 1
    dead, bulk = _occupied(sums.histogram, activation_range)
    lengths = math.sqrt(sums.signal * sums.int8_signal)
    return LayerError(
        layer=pair.name,
        kind=pair.kind,
        weight_sqnr_db=sqnr_db(sums.weight_noise) if has_weights else None,
        activation_sqnr_db=sqnr_db(sums.rounding_noise),
        accumulated_sqnr_db=sqnr_db(sums.int8_noise),
        isolated_logit_sqnr_db=sqnr_db(sums.logit_noise, logit_signal),
        isolated_weight_logit_sqnr_db=(
            sqnr_db(sums.weight_logit_noise, logit_signal) if has_weights else None
        ),
        cosine=sums.product / lengths if lengths else 1.0,
        saturated=sums.num_clipped / sums.num,
        dead=dead,
        mean_shift=float(means.square().mean().sqrt()) / spread if spread else 0.0,
        share=_part(sums.logit_noise, logit_noise),
        clipping=_part(sums.clipping_noise, sums.rounding_noise),
        bulk=bulk,
        quiet=min(1.0, float(extent.median()) / (levels * pair.scale)),
        constant=_part(float((count * means.square()).sum()), sums.shifted_noise),
        input_spread=_input_spread(weighted(pair.point).weight) if has_weights else 1.0,
        per_channel_sqnr_db=sqnr_db(sums.per_channel_noise) if pair.per_channel else None,
        overflowed=_part(sums.num_overflowed, sums.num_judged),
        ends=ends or pair.kind == "input",
    )


def _alike(calls: list[Tensor]) -> Tensor:
    """Return what was noted at each call, stacked; of calls with other channels the first's."""
    return torch.stack([one for one in calls if one.shape == calls[0].shape])


def _occupied(histogram: Tensor, activation_range: tuple[int, int]) -> tuple[float, float]:
    """Return the part of the range that no value reaches, and what holds most of the values."""
    low, high = activation_range
    levels = high - low + 1
    taken = histogram.nonzero().flatten().clamp(low, high)
    reached = int(taken[-1] - taken[0]) + 1
    below = histogram.cumsum(0) / histogram.sum()
    tail = (1 - _BULK) / 2
    first, last = int((below <= tail).sum()), int((below < 1 - tail).sum())
    return 1 - reached / levels, min(1.0, (last - first + 1) / levels)


def _input_spread(weight: Tensor) -> float:
    """Return how far the input channel of the largest weights is above the median one."""
    if weight.shape[1] == 1:
        return 1.0
    largest = weight.abs().amax([0, *range(2, weight.dim())])
    median = float(largest[largest > 0].median()) if bool(largest.any()) else 0.0
    return float(largest.max()) / median if median else 1.0


def _part(amount: float, whole: float) -> float:
    return min(1.0, amount / whole) if whole else 0.0


def _power(values: Tensor) -> float:
    return float(values.square().sum(dtype=torch.float64))
