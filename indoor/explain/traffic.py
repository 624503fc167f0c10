"""What the multiply-adds of a network must read and write, layer by layer."""

import torch
from torch import Tensor, nn

from indoor.model.network import build_empty
from indoor.records import Precision


def layer_traffic(
    arch: str, num_classes: int, size: int, batch: int, precision: Precision
) -> tuple[tuple[int, int, int], ...]:
    """Return the bytes of each convolution's and linear layer's input, weights and output.

    Args:
        arch: One of `ARCHS`.
        num_classes: The number of logits.
        size: The photographs' height and width.
        batch: Photographs a call.
        precision: Of activations and weights.
    """
    network, size_bytes = build_empty(arch, num_classes), getattr(torch, precision).itemsize
    found: list[tuple[int, int, int]] = []

    def count(module: nn.Module, images: tuple[Tensor], output: Tensor) -> None:
        numbers = (images[0].numel(), module.get_parameter("weight").numel(), output.numel())
        read, weights, written = (number * size_bytes for number in numbers)
        found.append((read, weights, written))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.empty(batch, 3, size, size, device="meta"))
    return tuple(found)
