"""An int8 checkpoint as a module in float32 with its quantization written out, for any runtime.

Every runtime's int8 is made from this one module: the weights, scales and zero points that our own
calibration chose once. What differs between two runtimes' rows is then the runtime alone.
"""

import operator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.ao.nn.intrinsic.quantized import ConvReLU2d
from torch.ao.nn.quantized import (
    DeQuantize,
    Dropout,
    Hardswish,
    QFunctional,
    Quantize,
)
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule
from torch.ao.quantization.fx import _decomposed  # noqa: F401 - registers the operators below
from torch.nn import functional

from indoor.quantize.checkpoints import load_int8, weight_tensors
from indoor.quantize.engines import EngineBound
from indoor.quantize.float_layer import FloatLayer, how_convolved, multiply

_OPERATORS: Any = torch.ops.quantized_decomposed

_POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_POOLING_CALLS = (
    functional.max_pool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    torch.max_pool2d,
    "mean",
)
"""What the eager network computes in int8, and so rounds to its input's scale."""

_MOVING_CALLS = (
    operator.getitem,
    torch.flatten,
    torch.transpose,
    "chunk",
    "contiguous",
    "transpose",
    "view",
)
"""What moves values and changes none."""


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
        A module in eval mode from float32 `(B, 3, H, W)` to float32 logits `(B, C)`, whose layers
        keep their names.

    Raises:
        IndoorError: As `load_int8`.
    """
    bound = load_int8(checkpoint).model
    assert isinstance(bound, EngineBound)
    network = bound.network
    for name, module in list(network.named_modules()):
        stand_in = _stand_in(module)
        if stand_in is not None:
            network.set_submodule(name, stand_in)
    graph = _Tracer().trace(network)
    _skip_identities(network, graph)
    _leave_logits(network, graph)
    if not round_sums:
        _leave_sums(network, graph)
    _round_again(network, graph)
    return fx.GraphModule(network, graph, "QdqNetwork").eval().requires_grad_(False)


def _stand_in(quantized: nn.Module) -> nn.Module | None:
    """Return what computes as the quantized module does, in float32; None: it stays."""
    match quantized:
        case WeightedQuantizedModule():
            return _Layer(quantized)
        case FloatLayer():
            return _KeptLayer(quantized)
        case QFunctional():
            return _Functional(quantized)
        case Hardswish():
            return nn.Sequential(nn.Hardswish(), _Rounded.to_output(quantized))
        case nn.Hardsigmoid():  # torch's kernel writes all of 0..1 in 256 steps, whatever is asked
            return nn.Sequential(nn.Hardsigmoid(), _Rounded(1 / 256, 0))
        case Quantize():
            return _Rounded.to_output(quantized)
        case DeQuantize() | Dropout():
            return nn.Identity()
    return None


class _Rounded(nn.Module):
    """Rounds to uint8 and back, by a scale and a zero point."""

    def __init__(self, scale: float, zero_point: int) -> None:
        super().__init__()
        self.parameters_ = (scale, zero_point, 0, 255, torch.uint8)

    @classmethod
    def to_output(cls, quantized: Any) -> "_Rounded":
        """Return the rounding of a quantized module's output."""
        return cls(float(quantized.scale), int(quantized.zero_point))

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

    def __init__(self, quantized: Any) -> None:
        super().__init__()
        self.rounded: nn.Module = _Rounded.to_output(quantized)
        self.relu = nn.ReLU() if isinstance(quantized, ConvReLU2d) else nn.Identity()
        self.convolution = how_convolved(quantized)
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
        y = multiply(x, weight, self.bias, self.convolution)
        result: Tensor = self.rounded(self.relu(y))
        return result


class _KeptLayer(nn.Module):
    """A convolution or linear layer whose weights are float32."""

    weight: Tensor
    bias: Tensor

    def __init__(self, kept: FloatLayer) -> None:
        super().__init__()
        self.rounded: nn.Module = nn.Identity()
        if kept.scale is not None:
            self.rounded = _Rounded.to_output(kept)
        self.relu = nn.ReLU() if kept.rectifies else nn.Identity()
        self.kept = kept.convolution
        self.register_buffer("weight", kept.weight)
        self.register_buffer("bias", kept.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = multiply(x, self.weight, self.bias, self.kept)
        result: Tensor = self.rounded(self.relu(y))
        return result


class _Functional(nn.Module):
    """A sum, product or concatenation, as the network calls it."""

    def __init__(self, quantized: Any) -> None:
        super().__init__()
        self.rounded = _Rounded.to_output(quantized)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        result: Tensor = self.rounded(torch.add(x, y))
        return result

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        result: Tensor = self.rounded(functional.relu(torch.add(x, y)))
        return result

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        result: Tensor = self.rounded(torch.mul(x, y))
        return result

    def cat(self, parts: list[Tensor], dim: int = 0) -> Tensor:
        result: Tensor = self.rounded(torch.cat(parts, dim=dim))
        return result


class _Tracer(fx.Tracer):
    """Follows a call through the network, and not into a layer."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        is_ours = isinstance(module, _Layer | _KeptLayer | _Rounded)
        return is_ours or super().is_leaf_module(module, name)


def _skip_identities(network: nn.Module, graph: fx.Graph) -> None:
    """Take out of the graph what the conversion left in the place of batch norms and others."""
    for node in list(graph.nodes):
        if isinstance(_module_of(network, node), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _leave_logits(network: nn.Module, graph: fx.Graph) -> None:
    """Have the last layer not round what nobody reads in int8."""
    last = next(n for n in graph.nodes if n.op == "output").args[0]
    module = _module_of(network, last)
    assert isinstance(module, _Layer | _KeptLayer)
    module.rounded = nn.Identity()


def _leave_sums(network: nn.Module, graph: fx.Graph) -> None:
    """Have one convolution of each sum not round what nobody but the sum reads."""
    for node in graph.nodes:
        if node.target is not torch.add:
            continue
        for term in node.args:
            layer = _module_of(network, term)
            if not isinstance(layer, _Layer | _KeptLayer) or len(term.users) > 1:
                continue
            if isinstance(layer.relu, nn.Identity):
                layer.rounded = nn.Identity()
                break


def _round_again(network: nn.Module, graph: fx.Graph) -> None:
    """Round what the eager network computes in int8 without a scale of its own.

    A pooling rounds to its input's. What was moved only is rounded once more, which changes
    nothing, since runtimes look for the quantization right before a convolution.
    """
    steps: dict[fx.Node, _Rounded] = {}
    for node in list(graph.nodes):
        module = _module_of(network, node)
        rounded = module if isinstance(module, _Rounded) else getattr(module, "rounded", None)
        if isinstance(rounded, _Rounded):
            steps[node] = rounded
            continue
        step = steps.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
        pools = isinstance(module, _POOLING) or node.target in _POOLING_CALLS
        if step is None or not (pools or node.target in _MOVING_CALLS):
            continue
        steps[node] = step
        if pools or any(_reads_int8(network, user) for user in node.users):
            name = f"rounded_{node.name}"
            network.add_module(name, _Rounded(*step.parameters_[:2]))
            with graph.inserting_after(node):
                again = graph.call_module(name, (node,))
            node.replace_all_uses_with(
                again, delete_user_cb=lambda user, one=again: user is not one
            )
            steps[again] = step


def _reads_int8(network: nn.Module, node: fx.Node) -> bool:
    """Tell whether a runtime computes the node in int8 where its inputs are quantized."""
    if node.target in (torch.add, torch.mul, torch.cat):
        return True
    return getattr(_module_of(network, node), "convolution", None) is not None


def _module_of(network: nn.Module, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None
