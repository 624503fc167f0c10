"""A suite of two short models, which stands in for networks where hundreds of gates are run."""

from pathlib import Path

from indoor.gate.example_suite import write_small_suite

_MODELS = '''"""A small convolutional network on one thread, a millisecond or a few a call."""

import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)

NETWORK = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(32, 15),
).eval()


@torch.inference_mode()
def logits(photographs):
    return NETWORK(photographs)
'''

_TESTS = '''"""Benchmarks of the network at two batch sizes."""

import models
import pytest
import torch


@pytest.mark.parametrize("batch", [1, 8])
def test_network(benchmark, batch):
    photographs = torch.rand(batch, 3, 64, 64)
    assert benchmark(models.logits, photographs).shape == (batch, 15)
'''


def write_models(root: Path) -> None:
    """Write a tree with a small network and its benchmarks.

    Args:
        root: A folder that does not exist yet.
    """
    write_small_suite(root, "models", _MODELS, _TESTS)
