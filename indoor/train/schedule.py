"""How fast each weight learns, and the running average of a training's weights."""

import hashlib
import math

import torch
from torch import Tensor, nn


def generator_for(*key: str | int) -> torch.Generator:
    """Return a CPU generator whose numbers depend on the key alone.

    Deriving one per (seed, epoch, photograph) leaves no generator state to save, so a resumed
    training draws what an uninterrupted one draws.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def learning_rate_factor(step: int, num_steps: int, num_warmup: int) -> float:
    """Return the share of the full learning rate at a step: a linear rise, then half a cosine.

    Args:
        step: From 0.
        num_steps: All steps of the training.
        num_warmup: The steps of the rise; the step after them has the full rate.

    Returns:
        A factor in 0..1, above 0 before the last step's end (Goyal et al., arXiv 1706.02677, for
        the rise; Loshchilov and Hutter, arXiv 1608.03983, for the cosine).
    """
    if step < num_warmup:
        return (step + 1) / (num_warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / max(1, num_steps - num_warmup)))


def parameter_groups(
    model: nn.Module, *, learning_rate: float, backbone_factor: float, weight_decay: float
) -> list[dict[str, object]]:
    """Return an optimizer's groups: the new head fast, the backbone slowly, decay where it fits.

    Weight decay pulls convolution and fc weights only: on batch-norm scales and on biases it
    changes the function without regularising it (He et al., arXiv 1812.01187, section 3.1).

    Args:
        model: A ResNet; the parameters of `fc` are the head's.
        learning_rate: The head's.
        backbone_factor: The backbone's learning rate as a share of the head's.
        weight_decay: For the groups that decay.

    Returns:
        Up to four groups with `params`, `lr`, `full_lr` (which the schedule scales) and
        `weight_decay`.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        key = (name.startswith("fc."), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (1.0 if is_head else backbone_factor),
            "full_lr": learning_rate * (1.0 if is_head else backbone_factor),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (is_head, decays), parameters in groups.items()
    ]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the model: weights and batch-norm statistics alike.

    The statistics are averaged too because they belong to the weights: averaged weights with the
    last step's statistics are no network that was ever near the training's path.

    Args:
        average: Changed in place.
        model: The network in training.
        step: Updates before this one; early ones count for more, or the average would remember
            its beginning (`min(decay, (1 + step) / (10 + step))`, as TensorFlow's
            ExponentialMovingAverage has it).
        decay: The share that stays, in 0..1.
    """
    kept = min(decay, (1 + step) / (10 + step))
    current = model.state_dict()
    floats: list[Tensor] = []
    targets: list[Tensor] = []
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            targets.append(tensor)
            floats.append(current[name])
        else:
            tensor.copy_(current[name])
    torch._foreach_lerp_(targets, floats, 1 - kept)
