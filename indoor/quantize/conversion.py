"""Post-training quantization of a network by one of the flows: observe, calibrate, convert."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule

from indoor.errors import IndoorError
from indoor.hints import TORCHAO, lacking
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize import bias_correction, eager_flow, rounding
from indoor.quantize.config import validate_config
from indoor.quantize.eager_flow import require_quantizable
from indoor.quantize.engines import EngineBound, known_deprecations_filtered, using_engine
from indoor.quantize.equalisation import equalise
from indoor.quantize.float_layer import keep_in_float
from indoor.quantize.qat import Training, train_quantized
from indoor.quantize.rounding import Roundings
from indoor.records import QuantizationConfig

_FLOAT_LAYERS = (nn.Conv2d, nn.Linear)


class Flow(Protocol):
    """A way to choose the numbers of an int8 network, which is of the same kind whichever chose."""

    def observe(self, model: nn.Module, config: QuantizationConfig, example: Tensor) -> nn.Module:
        """Return a copy of the float network that observes its activations when it is called.

        `example` is a batch of the photographs that it will see.
        """

    def convert_observed(
        self, observed: nn.Module, model: nn.Module, config: QuantizationConfig
    ) -> EngineBound:
        """Return the int8 network; `model` is what was observed, which is not changed."""


def quantize(
    model: nn.Module,
    config: QuantizationConfig,
    calibration: Iterable[Tensor],
    *,
    training: Training | None = None,
    roundings: Roundings | None = None,
    progress: Progress = NO_PROGRESS,
) -> nn.Module:
    """Return an int8 model made from a float one.

    Static post-training quantization: convolutions are fused with their batch norms and ReLUs,
    observers see the calibration, and every convolution, addition and linear layer becomes its
    quantized module. `config.flow` says whose observers and whose rules choose the scales.

    Args:
        model: One of torchvision's quantizable networks, float32 and not yet fused. It is not
            changed.
        config: Flow, engine, range, observers, weights and repairs. `num_calibration`, `batch` and
            `seed` say how `calibration` was drawn; they are not used here.
        calibration: Batches float32 `(B, 3, H, W)`, passed through the transform of inference.
        training: What it trains on where `qat_epochs` is 1 or more.
        roundings: What GPTQ chose for this network from this calibration before; see
            `round_together`.
        progress: Hears of the training.

    Returns:
        A model in eval mode from float32 `(B, 3, H, W)` to float32 logits `(B, C)`, which keeps
        to the configured engine whatever torch's global one is.

    Raises:
        IndoorError: The configuration cannot be had on this machine, or `calibration` is empty.
        ValueError: The model is not quantizable.
    """
    validate_config(config)
    require_quantizable(model)
    flow = _flow_of(config)
    kept: list[Tensor] = []
    batches = _some(calibration)
    model = rounded = equalise(model) if config.equalised else model
    if config.rounding == "gptq":
        first = list(_first(batches, rounding.MOST_PHOTOGRAPHS))
        rounded = rounding.round_together(model, config, first, known=roundings, progress=progress)
        batches = chain(first, batches)
    if config.bias_corrected:
        batches = _keeping(batches, kept)
    with torch.no_grad():
        observed = _calibrated(flow, rounded, config, batches)
    if config.qat_epochs:
        if training is None:
            raise ValueError(f"qat_epochs is {config.qat_epochs} and training None")
        observed = train_quantized(model, observed, config, training, progress=progress)
    with torch.no_grad():
        converted = flow.convert_observed(observed, rounded, config)
    # torchvision's own helper sets no qconfig for x86 and onednn and hands back a float network.
    modules = converted.network.named_modules()
    left = [name for name, module in modules if isinstance(module, _FLOAT_LAYERS)]
    assert not left, f"still float32 after the conversion: {', '.join(left)}"
    assert count_quantized_modules(converted), "no quantized module after the conversion"
    keep_in_float(converted.network, model, config.float_layers)
    converted.eval()
    if config.bias_corrected:
        return bias_correction.correct_biases(model, converted, kept)
    return converted


def _some(calibration: Iterable[Tensor]) -> Iterator[Tensor]:
    """Return the batches that hold photographs; raise where there is none."""
    batches = (photographs for photographs in calibration if len(photographs))
    first = next(batches, None)
    if first is None:
        raise IndoorError(
            "calibration saw 0 photographs; expected at least 1: a scale cannot be chosen from "
            "nothing; give it photographs of the train split"
        )
    return chain([first], batches)


def _first(batches: Iterator[Tensor], num: int) -> Iterator[Tensor]:
    """Yield the batches that hold the first `num` photographs, and take no more of them."""
    while num > 0 and (photographs := next(batches, None)) is not None:
        num -= len(photographs)
        yield photographs


def _keeping(batches: Iterator[Tensor], kept: list[Tensor]) -> Iterator[Tensor]:
    """Yield batches one at a time, as whoever gives them may end them; keep those that count."""
    for photographs in _first(batches, bias_correction.MOST_PHOTOGRAPHS):
        kept.append(photographs)
        yield photographs
    yield from batches


def _calibrated(
    flow: Flow, model: nn.Module, config: QuantizationConfig, batches: Iterator[Tensor]
) -> nn.Module:
    """Return a copy of the float network whose observers have seen the calibration."""
    first = next(batches)
    observed = flow.observe(model, config, first)
    for photographs in chain([first], batches):
        observed(photographs)
    return observed


def _flow_of(config: QuantizationConfig) -> Flow:
    if config.flow == "eager":
        return eager_flow
    if config.flow == "fx":
        from indoor.quantize import fx_flow

        return fx_flow
    if reason := lacking(TORCHAO, "torchao"):
        raise IndoorError(f"flow pt2e: {reason}, or choose --flow eager")
    with _quiet("torch.utils._pytree"):  # tells of each class that torchao registers
        from indoor.quantize import pt2e_flow

    return pt2e_flow


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger's warnings back inside the block."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


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
