"""Weights rounded so that their errors cancel in a layer's output, not each to the nearest code."""

import copy
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from indoor.model import fold
from indoor.model.network import batch_norms, gain_of
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize.config import qconfig_of
from indoor.quantize.gptq import rounded
from indoor.records import QuantizationConfig, WeightGranularity

Roundings = dict[tuple[bool, WeightGranularity], dict[str, Tensor]]
"""How far each layer's weights were moved, for an equalised network or not and for a grid."""

MOST_PHOTOGRAPHS = 64
_POSITIONS_ACROSS = 8
"""Of each photograph so many places across and down count; neighbours show nearly the same."""


def round_together(
    model: nn.Module,
    config: QuantizationConfig,
    batches: Sequence[Tensor],
    *,
    known: Roundings | None = None,
    progress: Progress = NO_PROGRESS,
) -> nn.Module:
    """Return a copy of a float32 network whose weights lie on int8's grid, chosen by GPTQ.

    A weight's error is made up for by others of its output channel as far as their inputs go
    together, as neighbouring pixels do. The scales stay those of the original, and rounding to the
    nearest finds the chosen codes again, so that every flow can go on from the copy.

    Args:
        model: In eval mode, with its batch norms; it stays as it is.
        config: Says the grid, and which layers stay float32.
        batches: Photographs float32 `(B, 3, H, W)`; the first 64 count.
        known: What was chosen before for this network from these photographs, and is not chosen
            anew; what is chosen now is added.
        progress: Hears of each layer.

    Raises:
        IndoorError: What a layer is given is not finite.
    """
    known = {} if known is None else known
    grid = config.equalised, config.weights
    if grid not in known:
        known[grid] = _choose(model, config, batches, progress)
    result = copy.deepcopy(model)
    with torch.no_grad():
        for name, moved in known[grid].items():
            if name not in config.float_layers:
                layer: Any = result.get_submodule(name)
                layer.weight += moved
    return result


def _choose(
    model: nn.Module, config: QuantizationConfig, batches: Sequence[Tensor], progress: Progress
) -> dict[str, Tensor]:
    """Return what is to be added to each layer's weights; layers do not depend on each other."""
    photographs = list(islice((image for batch in batches for image in batch), MOST_PHOTOGRAPHS))
    network, grams = fold(model), dict[str, Tensor]()
    layers = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    for name, module in layers.items():
        module.register_forward_pre_hook(partial(_add_gram, grams, name))
    norms = batch_norms(model)
    with torch.inference_mode():
        for chunk in torch.split(torch.stack(photographs), config.batch):
            network(chunk)
    progress.start("choosing how each layer's weights are rounded", len(grams))
    chosen = {}
    with torch.no_grad():
        for name, gram in grams.items():
            weight = layers[name].weight
            difference = (rounded(weight, _steps(weight, config), gram) - weight).flatten(1)
            if name in norms:
                norm: Any = model.get_submodule(norms[name])
                gain = gain_of(norm)[:, None]
                difference = torch.where(gain == 0, 0, difference / gain)
            chosen[name] = difference.view_as(weight)
            progress.advance()
    progress.finish()
    return chosen


def _add_gram(grams: dict[str, Tensor], name: str, layer: nn.Module, inputs: tuple[Tensor]) -> None:
    """Add the products of what each two weights of a group multiply, `(groups, d, d)`."""
    (x,) = inputs
    if isinstance(layer, nn.Conv2d):
        down, across = (
            step * max(1, size // step // _POSITIONS_ACROSS)
            for size, step in zip(x.shape[2:], layer.stride, strict=True)
        )
        how: Any = layer
        columns = functional.unfold(x, how.kernel_size, how.dilation, how.padding, (down, across))
        grouped = columns.view(len(x), layer.groups, -1, columns.shape[2])
        rows = grouped.permute(1, 0, 3, 2).flatten(1, 2)
    else:
        rows = x.flatten(0, -2)[None]
    gram = rows.mT @ rows
    grams[name] = grams[name] + gram if name in grams else gram


def _steps(weight: Tensor, config: QuantizationConfig) -> Tensor:
    """Return the scale of each output channel's codes, `(out,)`."""
    observer = qconfig_of(config).weight()
    observer(weight)
    scales: Tensor = observer.calculate_qparams()[0]
    return scales.float().expand(len(weight))
