"""A network's last layer: which it is, and networks that have another one."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import nn


def head_of(model: nn.Module) -> tuple[str, nn.Linear]:
    """Return the float32 layer that gives the logits, the last linear one, and its name.

    Raises:
        ValueError: There is none.
    """
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not found:
        raise ValueError(f"a {type(model).__name__} has no float32 linear layer to replace")
    return found[-1]


def replace_head(model: nn.Module, num_classes: int, seed: int) -> nn.Module:
    """Return a copy of the network whose last layer is new, with `nn.Linear`'s initialisation.

    Args:
        model: A network with a float32 last layer; it stays as it is.
        num_classes: The number of logits of the copy, 1 or more.
        seed: Decides the new layer's weights.

    Returns:
        The copy, in the mode (train or eval) of the original.

    Raises:
        ValueError: `model` has no linear layer, or there is no class.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}, expected 1 or more")
    name, old = head_of(model)
    generator = torch.Generator().manual_seed(seed)
    new = nn.Linear(old.in_features, num_classes, device="meta").to_empty(device="cpu")
    # nn.Linear.reset_parameters: kaiming_uniform_ with a = sqrt(5) is uniform in +-1/sqrt(inputs),
    # the bias the same; done by hand as it must draw from our generator and not the global one.
    bound = 1 / math.sqrt(old.in_features)
    with torch.no_grad():
        new.weight.uniform_(-bound, bound, generator=generator)
        new.bias.uniform_(-bound, bound, generator=generator)
    result = copy.deepcopy(model)
    result.set_submodule(name, new.to(old.weight.device).train(old.training))
    return result


def reorder_head(model: nn.Module, order: Sequence[int]) -> nn.Module:
    """Return a copy of the network whose output `i` is the original's output `order[i]`."""
    result = copy.deepcopy(model)
    _, head = head_of(result)
    with torch.no_grad():
        head.weight.copy_(head.weight[list(order)])
        head.bias.copy_(head.bias[list(order)])
    return result
