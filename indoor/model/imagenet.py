"""What torchvision publishes of each architecture: ImageNet weights, and the photographs' size."""

from dataclasses import replace
from typing import Any

from indoor.model.network import ARCHS, INCEPTIONS, without_thin
from indoor.records import Preprocessing
from indoor.transforms import DEFAULT_PREPROCESSING
from indoor.vision import torchvision

NUM_IMAGENET_CLASSES = 1000

_HALF = (0.5, 0.5, 0.5)


def preprocessing_of(arch: str) -> Preprocessing:
    """Return how photographs are prepared for an architecture where nobody says it.

    The whole photograph, at the size of torchvision's own test. The two Inceptions were trained on
    values in -1..1; torchvision has the network make these of ImageNet's mean and deviation, which
    is the same.
    """
    size = _published(arch).transforms.keywords["crop_size"]
    usual = replace(DEFAULT_PREPROCESSING, size=size)
    is_inception = without_thin(arch) in INCEPTIONS
    return replace(usual, mean=_HALF, std=_HALF) if is_inception else usual


def smallest_size(arch: str) -> int:
    """Return the side in pixels of the smallest photograph that the network can compute."""
    height, width = _published(arch).meta["min_size"]
    return max(int(height), int(width))


def _published(arch: str) -> Any:
    return torchvision.models.get_model_weights(without_thin(arch))["IMAGENET1K_V1"]


IMAGENET_URLS: dict[str, str] = {arch: _published(arch).url for arch in ARCHS}
"""torchvision's first ImageNet weights, whose file names end in the start of their SHA-256.

V1 and not V2: it is what `resnet50(pretrained=True)` gave the reference, it loses less in int8
(0.21 points of ImageNet top-1 against 0.58), and its features serve a new head better.
"""
