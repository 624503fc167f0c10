"""A small network with sensible activations, and configurations, for the tests of quantization."""

import copy
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from indoor.model import build_model
from indoor.quantize import supported_engines
from indoor.records import QuantizationConfig

SIZE = 64
SMALL = QuantizationConfig(
    flow="eager",
    engine=supported_engines()[0],
    activation_range=(0, 127),
    observer="minmax",
    weights="per-channel",
    num_calibration=8,
    batch=4,
    seed=0,
)


def config(**changes: Any) -> QuantizationConfig:
    """Return a configuration that any machine can quantize with, changed as asked."""
    return dataclasses.replace(SMALL, **changes)


def noise(num_photographs: int, seed: int = 0) -> Tensor:
    """Return normalised noise in the place of photographs, float32 `(B, 3, 64, 64)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_photographs, 3, SIZE, SIZE, generator=generator)


def network(inputs: Tensor, num_classes: int = 3, arch: str = "resnet18") -> nn.Module:
    """Return a ResNet-18 of random weights whose batch norms know the statistics of `inputs`."""
    model = build_model(arch, num_classes, seed=0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, not a moving one
            module.reset_running_stats()
    model.train()
    with torch.no_grad():
        model(inputs)
    return model.eval()


def fit_head(model: Any, inputs: Tensor, labels: Tensor, ridge: float = 300) -> None:
    """Give a network the last layer that answers these photographs best, by least squares."""
    body = copy.deepcopy(model)
    body.fc = nn.Identity()
    num_classes = model.fc.out_features
    with torch.no_grad():
        features = torch.cat([body(inputs), torch.ones(len(inputs), 1)], dim=1)
        targets = nn.functional.one_hot(labels, num_classes).float() * 2 - 1
        damping = ridge * torch.eye(len(inputs))
        head = features.T @ torch.linalg.solve(features @ features.T + damping, targets)
        model.fc.weight.copy_(head[:-1].T)
        model.fc.bias.copy_(head[-1])
