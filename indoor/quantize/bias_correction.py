"""Bias correction: each layer's mean output over photographs becomes float32's again."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule

from indoor.model import fold
from indoor.quantize.engines import known_deprecations_filtered
from indoor.quantize.float_layer import FloatLayer, how_convolved, multiply

MOST_PHOTOGRAPHS = 256
"""More tell nothing new of a mean, and their activations would fill the memory."""
_CHUNK = 16


def correct_biases(
    float_model: nn.Module, int8_model: nn.Module, batches: Sequence[Tensor]
) -> nn.Module:
    """Return a copy of an int8 network whose biases make up for its layers' shifted means.

    In the order of the calls, each layer's bias takes the difference between float32's mean output
    before the ReLU and its own, a channel each, and what follows sees the output with the new bias
    (Nagel et al., arXiv 1906.04721, section 4.2, with means measured on photographs; NNCF calls it
    full bias correction). Nothing else changes, and inference costs the same.

    Args:
        float_model: The network that was quantized, in eval mode; it stays as it is.
        int8_model: What it became.
        batches: Photographs float32 `(B, 3, H, W)`, passed through the transform of inference; of
            more than 256 the first 256 count.

    Returns:
        The copy, in eval mode.

    Raises:
        ValueError: There is no photograph.
    """
    if not sum(map(len, batches)):
        raise ValueError("there is no photograph to take means of, expected at least 1")
    photographs = torch.cat(tuple(batches))[:MOST_PHOTOGRAPHS]
    expected = _mean_outputs(float_model, photographs)
    with torch.no_grad(), known_deprecations_filtered():
        corrected = copy.deepcopy(int8_model)
        # One pass for all of them: a layer's input is only right once all before it are corrected.
        hooks = [
            module.register_forward_pre_hook(partial(_correct, expected[name]))
            for name, module in corrected.get_submodule("network").named_modules()
            if isinstance(module, WeightedQuantizedModule | FloatLayer)
        ]
        corrected(photographs)
    for hook in hooks:
        hook.remove()
    return corrected


def _mean_outputs(float_model: nn.Module, photographs: Tensor) -> dict[str, Tensor]:
    """Return each layer's mean output before its ReLU, float32 `(C,)`, by the layer's name."""
    network, sums = fold(float_model), dict[str, Tensor]()

    def add(name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        total = _channel_means(output) * len(output)
        sums[name] = sums[name] + total if name in sums else total

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(partial(add, name))
    with torch.inference_mode():
        for chunk in torch.split(photographs, _CHUNK):
            network(chunk)
    return {name: total.clone() / len(photographs) for name, total in sums.items()}


def _correct(expected: Tensor, layer: Any, inputs: tuple[Tensor]) -> None:
    """Shift a quantized layer's bias before it computes.

    A layer is linear before its ReLU, so that the mean of its outputs is its output for the mean
    photograph: one of them is convolved in float32, and not all.
    """
    (activations,) = inputs
    parts = (part.dequantize().sum(0, keepdim=True) for part in torch.split(activations, _CHUNK))
    mean_input = torch.stack(list(parts)).sum(0) / len(activations)
    if isinstance(layer, FloatLayer):
        outputs = multiply(mean_input, layer.weight, layer.bias, layer.convolution)
        layer.bias = layer.bias + (expected - _channel_means(outputs))
    else:
        packed, bias = layer._weight_bias()
        outputs = multiply(mean_input, packed.dequantize(), bias, how_convolved(layer))
        layer.set_weight_bias(packed, bias + (expected - _channel_means(outputs)))


def _channel_means(outputs: Tensor) -> Tensor:
    """Return the mean over all but the channels of `(B, C)` or `(B, C, H, W)`."""
    return outputs.flatten(2).mean((0, 2)) if outputs.ndim > 2 else outputs.mean(0)
