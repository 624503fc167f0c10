"""Post-training quantization, eager mode: fuse, prepare, calibrate, convert."""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule
from torch.ao.quantization import convert, prepare

from indoor.errors import IndoorError
from indoor.quantize.bias_correction import correct_biases
from indoor.quantize.config import qconfig_of, validate_config
from indoor.quantize.engines import EngineBound, known_deprecations_filtered, using_engine
from indoor.quantize.equalisation import equalise
from indoor.records import QuantizationConfig

_FLOAT_LAYERS = (nn.Conv2d, nn.Linear)


def quantize(
    model: nn.Module, config: QuantizationConfig, calibration: Iterable[Tensor]
) -> nn.Module:
    """Return an int8 model made from a float one.

    The eager flow of torch.ao.quantization (its manual's "post training static quantization"):
    convolutions are fused with their batch norms and ReLUs, observers see the calibration, and
    every convolution, addition and linear layer becomes its quantized module.

    Args:
        model: One of torchvision's quantizable networks, float32 and not yet fused. It is not
            changed.
        config: Engine, range, observers, weights and repairs. `num_calibration`, `batch` and
            `seed` say how `calibration` was drawn; they are not used here.
        calibration: Batches float32 `(B, 3, H, W)`, passed through the transform of inference.

    Returns:
        A model in eval mode from float32 `(B, 3, H, W)` to float32 logits `(B, C)`, which keeps
        to the configured engine whatever torch's global one is.

    Raises:
        IndoorError: The configuration cannot be had on this machine, or `calibration` is empty.
        ValueError: The model is not quantizable.
    """
    validate_config(config)
    # Kept where they are looked at twice; they come decoded from files, one at a time.
    batches = list(calibration) if config.bias_corrected else calibration
    model = equalise(model) if config.equalised else model
    observed = _prepare_copy(model, config)
    num_photographs = 0
    with torch.no_grad():
        for photographs in batches:
            observed(photographs)
            num_photographs += len(photographs)
    if num_photographs == 0:
        raise IndoorError(
            "calibration saw 0 photographs; expected at least 1: a scale cannot be chosen from "
            "nothing; give it photographs of the train split"
        )
    converted = _convert(observed, config)
    return correct_biases(model, converted, list(batches)) if config.bias_corrected else converted


def _prepare_copy(model: nn.Module, config: QuantizationConfig) -> nn.Module:
    """Return a fused copy of the float model with observers; ValueError if not quantizable."""
    has_batch_norms = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    if not callable(getattr(model, "fuse_model", None)) or not has_batch_norms:
        raise ValueError(
            f"cannot quantize a {type(model).__name__}: expected a float32 network of "
            "torchvision.models.quantization with its batch norms, built with quantize=False"
        )
    prepared: Any = copy.deepcopy(model).eval()
    with known_deprecations_filtered():
        prepared.fuse_model(is_qat=False)
        prepared.qconfig = qconfig_of(config)
        prepare(prepared, inplace=True)  # type: ignore[no-untyped-call]
    _write_over(prepared)
    assert isinstance(prepared, nn.Module)
    return prepared


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


def _convert(prepared: nn.Module, config: QuantizationConfig) -> nn.Module:
    """Turn a prepared network into int8, in place, and bind it to the configured engine."""
    with using_engine(config.engine), known_deprecations_filtered():
        convert(prepared, inplace=True)  # type: ignore[no-untyped-call]
    # torchvision's own helper sets no qconfig for x86 and onednn and hands back a float network.
    left = [name for name, module in prepared.named_modules() if isinstance(module, _FLOAT_LAYERS)]
    assert not left, f"still float32 after the conversion: {', '.join(left)}"
    assert count_quantized_modules(prepared), "no quantized module after the conversion"
    return EngineBound(prepared, config.engine).eval()


def count_quantized_modules(model: nn.Module) -> int:
    """Count the modules that hold quantized weights: convolutions and linear layers."""
    return sum(isinstance(module, WeightedQuantizedModule) for module in model.modules())


def copy_weights(model: nn.Module) -> None:
    """Copy a network's weights, those that are packed for an engine too, to memory taken now."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.clone()
    if not isinstance(model, EngineBound):
        return
    with using_engine(model.engine), known_deprecations_filtered():
        for module in model.modules():
            if isinstance(module, WeightedQuantizedModule):
                layer: Any = module
                weight, bias = layer._weight_bias()
                layer.set_weight_bias(weight.clone(), bias)
