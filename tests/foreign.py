"""State dicts of networks that take no space: each tensor one value, a number of its own."""

from collections.abc import Mapping
from functools import cache

import torch
import torchvision.models
from torch import Tensor, nn

SMALL = "resnet18"
_HEADS = {"mobilenet_v2": "classifier.1.", "mobilenet_v3_large": "classifier.3."}


@cache
def _shapes(arch: str, num_classes: int) -> dict[str, torch.Size]:
    with torch.device("meta"):
        options = {"init_weights": False} if arch in ("googlenet", "inception_v3") else {}
        model: nn.Module = getattr(torchvision.models, arch)(num_classes=num_classes, **options)
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def network(
    arch: str = SMALL, num_classes: int = 3, *, first: float = 1.0, head: bool = True
) -> dict[str, Tensor]:
    """Return torchvision's state dict, whose nth floating tensor is full of `first + n / 1000`."""
    state = {}
    for number, (name, shape) in enumerate(_shapes(arch, num_classes).items()):
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif head or not name.startswith(_HEADS.get(arch, "fc.")):
            state[name] = torch.tensor(first + number / 1000).expand(shape)
    return state


def renamed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the state dict with a prefix before each name."""
    return {prefix + name: tensor for name, tensor in state.items()}


def moved(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the state dict with other starts of names; an empty one leaves tensors out."""
    result = {}
    for name, tensor in state.items():
        start = next((start for start in names if name.startswith(start)), None)
        if start is None:
            result[name] = tensor
        elif names[start]:
            result[names[start] + name.removeprefix(start)] = tensor
    return result


def linear(num_outputs: int, num_inputs: int, value: float = 0.5) -> dict[str, Tensor]:
    """Return the weight and the bias of a linear layer."""
    weight = torch.tensor(value).expand(num_outputs, num_inputs)
    return {"weight": weight, "bias": torch.tensor(value).expand(num_outputs)}


def hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict with the names of transformers' ResNetForImageClassification."""
    result = {}
    for name, tensor in state.items():
        parts = name.split(".")
        kind = "convolution"
        if "bn" in name or "downsample.1" in name:
            kind = "normalization"
        if parts[0] == "fc":
            new = f"classifier.1.{parts[1]}"
        elif parts[0] in ("conv1", "bn1"):
            new = f"resnet.embedder.embedder.{kind}.{parts[1]}"
        else:
            block = f"resnet.encoder.stages.{int(parts[0][-1]) - 1}.layers.{parts[1]}"
            number = "shortcut" if parts[2] == "downsample" else f"layer.{int(parts[2][-1]) - 1}"
            new = f"{block}.{number}.{kind}.{parts[-1]}"
        result[new] = tensor
    return result
