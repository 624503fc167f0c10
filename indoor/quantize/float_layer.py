"""A layer that an int8 network keeps in float32, because its quantization costs too much."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.intrinsic.quantized import ConvReLU2d
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule
from torch.nn import functional

from indoor.errors import IndoorError
from indoor.model import fold, head_of


def keep_in_float(network: nn.Module, float_model: nn.Module, names: Sequence[str]) -> None:
    """Give some layers of a converted network the float32 network's weights, in place.

    Args:
        network: The int8 network, whatever flow made it; its modules have the float one's names.
        float_model: What it was made from, with its batch norms.
        names: Of convolutions and linear layers. The last layer's output is not rounded then;
            every other's is, with the scale that the int8 layer had.

    Raises:
        IndoorError: There is no such layer.
    """
    if not names:
        return
    folded = fold(float_model)
    known = {n: m for n, m in network.named_modules() if isinstance(m, WeightedQuantizedModule)}
    last, _ = head_of(float_model)
    for name in dict.fromkeys(names):
        if name not in known:
            shown = ", ".join([*list(known)[:2], last])
            raise IndoorError(
                f"float layer {name}: this network has none of that name; expected a convolution "
                f"or linear layer, such as {shown}; indoor diagnose lists them all"
            )
        quantized: Any = known[name]
        output = None if name == last else (float(quantized.scale), int(quantized.zero_point))
        original: Any = folded.get_submodule(name)
        weight = original.weight.clone(memory_format=torch.contiguous_format)
        bias = torch.zeros(len(weight)) if original.bias is None else original.bias.detach()
        rectifies = isinstance(quantized, ConvReLU2d)
        layer = FloatLayer(quantized, weight, bias, output, rectifies=rectifies)
        network.set_submodule(name, layer.eval())


class FloatLayer(nn.Module):
    """A convolution or linear layer that reads and writes uint8 and computes in float32.

    Args:
        layer: The one in whose place it is; says how it convolves.
        weight: float32 `(out, in / groups, ...)`.
        bias: float32 `(out,)`.
        output: The scale and the zero point of what it writes; None: float32, as nobody rounds it.
        rectifies: Whether a ReLU is part of it.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        layer: Any,
        weight: Tensor,
        bias: Tensor,
        output: tuple[float, int] | None,
        *,
        rectifies: bool,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.convolution = how_convolved(layer)
        self.scale: float | None = None
        self.zero_point: int | None = None
        if output is not None:
            self.scale, self.zero_point = output
        self.rectifies = rectifies

    def forward(self, x: Tensor) -> Tensor:
        """Return quint8 outputs of quint8 inputs, or float32 ones of the last layer."""
        y = multiply(x.dequantize(), self.weight, self.bias, self.convolution)
        y = functional.relu(y) if self.rectifies else y
        if self.scale is None or self.zero_point is None:
            return y
        return torch.quantize_per_tensor(y, self.scale, self.zero_point, torch.quint8)


def multiply(
    x: Tensor, weight: Tensor, bias: Tensor, convolution: tuple[Any, ...] | None
) -> Tensor:
    """Return a convolution, told by stride, padding, dilation and groups, or a linear layer."""
    if convolution is None:
        return functional.linear(x, weight, bias)
    return functional.conv2d(x, weight, bias, *convolution)


def how_convolved(layer: Any) -> tuple[Any, ...] | None:
    """Return what `multiply` asks for of a layer, quantized or not; None for a linear one."""
    if not hasattr(layer, "kernel_size"):
        return None
    return layer.stride, layer.padding, layer.dilation, layer.groups
