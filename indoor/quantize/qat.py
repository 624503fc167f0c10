"""Quantization-aware training: weights learn to give float32's logits through int8's rounding."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize, QConfig, prepare_qat
from torch.ao.quantization import fake_quantize as kinds

from indoor.model import fold
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize.eager_flow import fused_copy
from indoor.quantize.engines import known_deprecations_filtered
from indoor.records import QuantizationConfig
from indoor.train.loop import Schedule, learning_rate_factor

STEP = 0.5
"""The share of the loss that a step would take away if its gradient held all the way."""


@dataclass(frozen=True)
class Training:
    """Photographs to train on: `batches(epoch)`, epochs from 1, gives float32 `(B, 3, H, W)`."""

    num_photographs: int
    batches: Callable[[int], Iterable[Tensor]]


def train_quantized(
    model: nn.Module,
    observed: nn.Module,
    config: QuantizationConfig,
    training: Training,
    *,
    progress: Progress = NO_PROGRESS,
) -> nn.Module:
    """Return the network with weights that were trained through int8's rounding.

    Weights and activations are rounded as int8 will round them (fake quantization); gradients pass
    straight through. It starts from the calibration, with batch norms folded and the ranges fixed
    (Wu et al., arXiv 2004.09602, section 5), and learns float32's logits. A step is as long as the
    loss is high (Loizou et al., arXiv 2002.10542), so that there is no rate to choose.

    Args:
        model: The float32 network, in eval mode; it stays as it is.
        observed: Its fused copy whose observers have seen the calibration.
        config: How it will be converted, and for how many epochs it trains.
        training: What it trains on.
        progress: Hears of each photograph.

    Returns:
        What torch's `convert` takes, as it takes `observed`.
    """
    student: nn.Module = _prepare(model, observed, config)
    teacher = fold(model)
    optimizer = torch.optim.SGD(student.parameters(), lr=STEP)
    schedule = Schedule(
        num_photographs=training.num_photographs, batch=config.batch, epochs=config.qat_epochs
    )
    for epoch in range(1, config.qat_epochs + 1):
        said = f"quantization-aware epoch {epoch} of {config.qat_epochs}"
        progress.start(said, training.num_photographs)
        first = (epoch - 1) * schedule.steps_per_epoch
        for step, photographs in enumerate(training.batches(epoch), first):
            loss = nn.functional.mse_loss(student(photographs), teacher(photographs))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            gradients = (p.grad for p in student.parameters() if p.grad is not None)
            slope = sum(float(gradient.square().sum()) for gradient in gradients)
            factor = learning_rate_factor(step, schedule.num_steps, schedule.num_warmup)
            optimizer.param_groups[0]["lr"] = STEP * factor * loss.item() / slope if slope else 0.0
            optimizer.step()
            progress.advance(len(photographs))
        progress.finish()
    return student.requires_grad_(False)


def _prepare(model: nn.Module, observed: nn.Module, config: QuantizationConfig) -> Any:
    """Return a copy with fake quantization where the observers are, and the scales they chose."""
    fused: Any = fused_copy(model)
    per_channel = config.weights == "per-channel"
    kind = (kinds.default_weight_fake_quant, kinds.default_per_channel_weight_fake_quant)[
        per_channel
    ]
    # Averaged over steps, as torch has it by default, a scale would lag behind its weights.
    weights = kind.with_args(averaging_constant=1.0)
    with known_deprecations_filtered():
        fused.qconfig = QConfig(FakeQuantize, weights)  # type: ignore[no-untyped-call]
        prepare_qat(fused.train(), inplace=True)  # type: ignore[no-untyped-call]
    for name, module in fused.named_modules():
        if type(module) is FakeQuantize and name.endswith("activation_post_process"):
            observer: Any = observed.get_submodule(name)
            module.activation_post_process = observer
            scale, zero_point = observer.calculate_qparams()
            module.scale.copy_(scale)
            module.zero_point.copy_(zero_point)
            module.disable_observer()
    return fused.eval().requires_grad_(True).to(memory_format=torch.channels_last)
