"""Which place of the float32 network a quantized module stands for, and what it does there."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional, Quantize

from indoor.diagnose.records import Kind
from indoor.quantize import eager_flow
from indoor.quantize.engines import EngineBound

NUM_CODES = 256
"""Whatever range was calibrated: a kernel's outputs are clamped to uint8's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A layer of both networks.

    `point` is the module of the float32 network whose output is the layer's, `quantized` the one
    of the int8 network that gives the same. `twin` computes what `point` does with the int8
    weights, `per_channel` with weights of one scale an output channel; None: nothing is replaced.
    `compute` is the twin, or what `point` does.
    """

    name: str
    kind: Kind
    point: nn.Module
    quantized: nn.Module
    scale: float
    zero_point: int
    twin: nn.Module | None
    per_channel: nn.Module | None
    compute: Callable[[Tensor], Tensor]

    def codes(self, values: Tensor) -> Tensor:
        """Return the values' whole numbers, as float32 and not yet clamped to uint8."""
        return torch.round(values / self.scale).add_(self.zero_point)

    def rounded(self, values: Tensor) -> Tensor:
        """Return the values as the layer's codes hold them."""
        return torch.fake_quantize_per_tensor_affine(
            values, self.scale, self.zero_point, 0, NUM_CODES - 1
        )


def fused_copy(model: nn.Module) -> nn.Module:
    """Return an eval copy whose modules are named and fused as the int8 network's are.

    Raises:
        ValueError: It is not quantizable.
    """
    fused = eager_flow.fused_copy(model)
    module: Any
    for module in fused.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # what a layer gave is kept, and compared
    return fused.requires_grad_(False).to(memory_format=torch.channels_last)


def pair_layers(fused: nn.Module, int8_model: nn.Module) -> tuple[Pair, ...]:
    """Return the layers that both networks have, in the order of their names' registration.

    Args:
        fused: What `fused_copy` made of the float32 network.
        int8_model: What was quantized of it.

    Raises:
        ValueError: The int8 network has a layer that the float32 one lacks, or none at all.
    """
    network = int8_model.network if isinstance(int8_model, EngineBound) else int8_model
    pairs = tuple(_pairs(fused, dict(network.named_modules())))
    if not pairs:
        raise ValueError(f"a {type(network).__name__} has no quantized layer, expected an int8 one")
    return pairs


def _pairs(fused: nn.Module, quantized: dict[str, nn.Module]) -> Iterator[Pair]:
    originals = dict(fused.named_modules())
    for name, module in quantized.items():
        scale, zero_point = (getattr(module, key, None) for key in ("scale", "zero_point"))
        if scale is None or zero_point is None:
            continue
        original = originals.get(name)
        if original is None:
            raise ValueError(f"the int8 network has {name}, which the float32 one lacks")
        point, gives = original, module
        if isinstance(original, FloatFunctional):  # its methods are called, not itself
            point, gives = (m.get_submodule("activation_post_process") for m in (original, module))
        packed = callable(getattr(module, "_weight_bias", None))
        twin = _twin(original, module) if packed else None
        yield Pair(
            name=name,
            kind=_kind(original, module),
            point=point,
            quantized=gives,
            scale=float(scale),
            zero_point=int(zero_point),
            twin=twin,
            per_channel=_per_channel(original, module) if packed else None,
            compute=twin or point.forward,
        )


def _kind(original: nn.Module, quantized: nn.Module) -> Kind:
    if isinstance(original, FloatFunctional):
        return "operation"
    if isinstance(quantized, Quantize):
        return "input"
    if any(isinstance(part, nn.Conv2d) for part in original.modules()):
        return "convolution"
    if any(isinstance(part, nn.Linear) for part in original.modules()):
        return "linear"
    return "activation"


def weighted(original: nn.Module) -> Any:
    """Return the convolution or linear layer within a fused module."""
    return next(p for p in original.modules() if isinstance(p, nn.Conv2d | nn.Linear))


def _twin(original: nn.Module, quantized: Any) -> nn.Module:
    """Return the float32 module with the weights and bias of the quantized one."""
    weight, bias = quantized._weight_bias()
    return _with(original, weight.dequantize(), bias)


def _per_channel(original: nn.Module, quantized: Any) -> nn.Module | None:
    """Return the float32 module with its weights in one scale an output channel."""
    weight, bias = quantized._weight_bias()
    if weight.qscheme() == torch.per_channel_affine:
        return None
    values = weighted(original).weight
    scales = (values.abs().amax(dim=tuple(range(1, values.dim()))) / 127).clamp_min(1e-12)
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return _with(
        original, torch.fake_quantize_per_channel_affine(values, scales, zeros, 0, -128, 127), bias
    )


def _with(original: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    twin = copy.deepcopy(original)
    layer = weighted(twin)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
    return twin.to(memory_format=torch.channels_last)
