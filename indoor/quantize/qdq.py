"""An int8 checkpoint as a module in float32 with its quantization written out, for any runtime.

Every runtime's int8 is made from this one module: the weights, scales and zero points that our own
calibration chose once. What differs between two runtimes' rows is then the runtime alone.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.intrinsic.quantized import ConvReLU2d
from torch.ao.nn.quantized import Conv2d, DeQuantize, Linear, QFunctional, Quantize
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule
from torch.ao.quantization.fx import _decomposed  # noqa: F401 - registers the operators below
from torch.nn import functional

from indoor.quantize.checkpoints import load_int8, weight_tensors
from indoor.quantize.engines import EngineBound

_OPERATORS: Any = torch.ops.quantized_decomposed


def load_qdq(checkpoint: Path, *, round_sums: bool) -> nn.Module:
    """Return an int8 checkpoint's network as float32 between quantize and dequantize operators.

    These are `quantized_decomposed`'s, which torch.export keeps, Inductor's x86 passes look for and
    the export to ONNX turns into QuantizeLinear and DequantizeLinear. The logits are float32's, not
    rounded to int8.

    Args:
        checkpoint: A file of `save_int8`.
        round_sums: Whether a convolution whose output is added to a block's identity is rounded to
            int8 before, as the eager network does and ONNX Runtime's QLinearAdd needs it. Where it
            is not, Inductor makes the sum part of the convolution.

    Returns:
        A module in eval mode from float32 `(B, 3, H, W)` to float32 logits `(B, C)`.

    Raises:
        IndoorError: As `load_int8`.
    """
    bound = load_int8(checkpoint).model
    assert isinstance(bound, EngineBound)
    network: Any = bound.network
    first = _Rounded(network.conv1)
    last = [_Rounded(m) for m in network.layer4.modules() if isinstance(m, QFunctional)][-1]
    _replace_children(network, round_sums)
    network.maxpool = nn.Sequential(network.maxpool, first)
    network.avgpool = nn.Sequential(network.avgpool, last)
    assert isinstance(network, nn.Module)
    return network.eval().requires_grad_(False)


def _replace_children(parent: nn.Module, round_sums: bool) -> None:
    summed = [name for name, child in parent.named_children() if type(child) is Conv2d][-1:]
    has_sum = any(isinstance(child, QFunctional) for child in parent.children())
    for name, child in list(parent.named_children()):
        if isinstance(child, WeightedQuantizedModule):
            rounds = type(child) is not Linear and (round_sums or not (has_sum and name in summed))
            setattr(parent, name, _Layer(child, rounds))
        elif isinstance(child, QFunctional):
            setattr(parent, name, _Sum(child))
        elif isinstance(child, Quantize):
            setattr(parent, name, _Rounded(child))
        elif isinstance(child, DeQuantize):
            setattr(parent, name, nn.Identity())
        else:
            _replace_children(child, round_sums)


class _Rounded(nn.Module):
    """Rounds to uint8 and back, with the scale and zero point of a quantized module's output."""

    def __init__(self, quantized: Any) -> None:
        super().__init__()
        scale, zero_point = float(quantized.scale), int(quantized.zero_point)
        self.parameters_ = (scale, zero_point, 0, 255, torch.uint8)

    def forward(self, x: Tensor) -> Tensor:
        rounded = _OPERATORS.quantize_per_tensor.default(x, *self.parameters_)
        result: Tensor = _OPERATORS.dequantize_per_tensor.default(rounded, *self.parameters_)
        return result


class _Layer(nn.Module):
    """A convolution or linear layer whose weights are int8."""

    weight: Tensor
    scale: Tensor
    zero_point: Tensor
    bias: Tensor

    def __init__(self, quantized: Any, rounds: bool) -> None:
        super().__init__()
        self.rounded = _Rounded(quantized) if rounds else nn.Identity()
        self.relu = nn.ReLU() if isinstance(quantized, ConvReLU2d) else nn.Identity()
        self.convolution = (
            None if isinstance(quantized, Linear) else (quantized.stride, quantized.padding)
        )
        tensors = weight_tensors(quantized)
        self.register_buffer("weight", tensors["weight"])
        self.register_buffer("bias", tensors["bias"])
        self.register_buffer("scale", tensors["weight.scale"].float())
        self.register_buffer("zero_point", tensors["weight.zero_point"])

    def forward(self, x: Tensor) -> Tensor:
        range_ = (-128, 127, torch.int8)
        scales = (self.scale, self.zero_point)
        if self.scale.dim():
            dequantize = _OPERATORS.dequantize_per_channel.default
            weight = dequantize(self.weight, *scales, 0, *range_)
        else:
            dequantize = _OPERATORS.dequantize_per_tensor.tensor
            weight = dequantize(self.weight, *scales, *range_)
        if self.convolution is None:
            y = functional.linear(x, weight, self.bias)
        else:
            y = functional.conv2d(x, weight, self.bias, *self.convolution)
        result: Tensor = self.rounded(self.relu(y))
        return result


class _Sum(nn.Module):
    """A block's sum with its identity, as the network calls it."""

    def __init__(self, quantized: Any) -> None:
        super().__init__()
        self.rounded = _Rounded(quantized)

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        result: Tensor = self.rounded(functional.relu(x + y))
        return result
