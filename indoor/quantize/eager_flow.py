"""The eager flow of torch.ao.quantization: fuse, prepare, convert, all on the network's modules."""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import convert, prepare

from indoor.quantize.config import qconfig_of
from indoor.quantize.engines import EngineBound, known_deprecations_filtered, using_engine
from indoor.records import QuantizationConfig


def observe(model: nn.Module, config: QuantizationConfig, example: Tensor) -> nn.Module:  # noqa: ARG001
    """Return a fused copy of the float network with observers (`conversion.Flow`)."""
    prepared: Any = fused_copy(model)
    prepared.qconfig = qconfig_of(config)
    with known_deprecations_filtered():
        prepare(prepared, inplace=True)  # type: ignore[no-untyped-call]
    _write_over(prepared)
    assert isinstance(prepared, nn.Module)
    return prepared


def convert_observed(
    observed: nn.Module,
    model: nn.Module,  # noqa: ARG001
    config: QuantizationConfig,
) -> EngineBound:
    """Turn an observed network into int8, in place (`conversion.Flow`)."""
    with using_engine(config.engine), known_deprecations_filtered():
        convert(observed, inplace=True)  # type: ignore[no-untyped-call]
    return EngineBound(observed, config.engine)


def fused_copy(model: nn.Module) -> nn.Module:
    """Return a copy whose convolutions hold their batch norms and ReLUs.

    Raises:
        ValueError: It is not quantizable.
    """
    require_quantizable(model)
    fused: Any = copy.deepcopy(model).eval()
    with known_deprecations_filtered():
        fused.fuse_model(is_qat=False)
    assert isinstance(fused, nn.Module)
    return fused


def require_quantizable(model: nn.Module) -> None:
    """Raise ValueError unless it is a float network of torchvision's quantizable ones."""
    has_batch_norms = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    if not callable(getattr(model, "fuse_model", None)) or not has_batch_norms:
        raise ValueError(
            f"cannot quantize a {type(model).__name__}: expected a float32 network of "
            "torchvision.models.quantization with its batch norms, built with quantize=False"
        )


def _write_over(prepared: nn.Module) -> None:
    """Have ReLUs and sums written over their inputs, which nobody else reads.

    It changes no bit. At 16 photographs every large activation that is not allocated saves glibc
    mapping it anew: 24,000 page faults a photograph become 18,000.
    """
    for module in prepared.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
        elif isinstance(module, FloatFunctional):
            setattr(module, "add_relu", partial(_add_relu, module))  # noqa: B010 - of its class


def _add_relu(module: Any, x: Tensor, y: Tensor) -> Tensor:
    """Return what `FloatFunctional.add_relu` does; the conversion replaces the module."""
    result: Tensor = module.activation_post_process(torch.add(x, y).relu_())
    return result
