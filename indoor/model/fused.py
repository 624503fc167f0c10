"""The quickest float32 network at hand: convolutions that add bias, sum and ReLU by themselves."""

from typing import Any

import torch
from torch import Tensor, nn

from indoor.model.network import fold, followers

PIECE = 8
"""Photographs that are computed at a time. The activations of 16 pass 32 MiB, above which glibc
maps and unmaps each of them (28,800 page faults a photograph); those of 8 mostly do not."""

_SUMS = ("add_relu", "skip_add_relu")
"""What a block's last convolution is summed up in with the block's input, and rectified."""


def can_fuse() -> bool:
    """Return whether this torch has oneDNN's fused convolutions, which Inductor calls, too."""
    known: Any = torch.ops.mkldnn
    library: Any = torch.backends.mkldnn
    names = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight")
    return bool(library.is_available()) and all(hasattr(known, name) for name in names)


def fuse(model: nn.Module, device: torch.device | None = None) -> nn.Module:
    """Return a frozen eval copy that passes over each activation once.

    Beside `fold`, oneDNN writes a convolution's bias, ReLU and residual sum with its output, from
    weights that are packed once: what Inductor makes of the network, without its compiler. The
    logits differ from the original's by rounding alone. On another device, or where this torch
    cannot (`can_fuse`), it is the folded network, whose sums are written over a term.

    Args:
        model: A float32 network of `build_model`; it stays as it is.
        device: Where it computes; None for the CPU.

    Returns:
        A module from float32 `(B, 3, H, W)` to `(B, C)`, to be called without gradients.

    Raises:
        ValueError: As `fold`.
    """
    device = device or torch.device("cpu")
    folded = fold(model)
    change = _fuse_children if device.type == "cpu" and can_fuse() else _sum_in_place
    for block in list(folded.modules()):
        change(block)
    return _InPieces(folded).eval().to(device)


class _InPieces(nn.Module):
    """Computes a few photographs at a time, whose memory is used again and not mapped anew."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of channels-last or other photographs."""
        images = images.contiguous(memory_format=torch.channels_last)
        parts = [self.network(piece) for piece in torch.split(images, PIECE)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Convolution(nn.Module):
    """A convolution with its bias and perhaps a ReLU.

    Its first call packs the weights as oneDNN wants them for inputs of that shape; it takes others,
    too, but then some of its kernels repack them every time.
    """

    def __init__(self, layer: nn.Conv2d, *, rectifies: bool = False) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias
        self.how: tuple[Any, ...] = (
            list(layer.padding),
            list(layer.stride),
            list(layer.dilation),
            layer.groups,
        )
        self.unary = "relu" if rectifies else "none"
        self._packed: Tensor | None = None

    def packed(self, x: Tensor) -> Tensor:
        """Return the weights."""
        if self._packed is None:
            pack = torch.ops.mkldnn._reorder_convolution_weight
            packed: Tensor = pack(self.weight, *self.how, list(x.shape))
            self._packed = packed
        return self._packed

    def forward(self, x: Tensor) -> Tensor:
        call = torch.ops.mkldnn._convolution_pointwise.default
        result: Tensor = call(x, self.packed(x), self.bias, *self.how, self.unary, [], "")
        return result


class _Sum(_Convolution):
    """A block's last convolution, which adds the block's input and rectifies."""

    def add_relu(self, x: Tensor, identity: Tensor) -> Tensor:
        """Return `relu(convolution(x) + identity)`, written over `identity`.

        Nobody reads that again: it is the block's input, or what was made of it for this.
        """
        call = torch.ops.mkldnn._convolution_pointwise_.binary
        how = (*self.how, "add", 1.0, "relu", [], "")
        result: Tensor = call(identity, x, self.packed(x), self.bias, *how)
        return result


class _AddReluInPlace(nn.Module):
    """Stands in for the `FloatFunctional` of torchvision's quantizable blocks."""

    def add_relu(self, total: Tensor, identity: Tensor) -> Tensor:
        """Return `relu(total + identity)`, written over `total`, which nobody else reads."""
        return total.add_(identity).relu_()


def _sum_in_place(block: nn.Module) -> None:
    """Save the allocation of a block's largest tensor, which changes no bit."""
    for name in _SUMS:
        if name in dict(block.named_children()):
            setattr(block, name, _AddReluInPlace())


def _fuse_children(block: nn.Module) -> None:
    """Give the convolutions of a folded block what follows them."""
    relus = {name: relu for name, (_, relu) in followers(block).items()}
    for sums in _SUMS:
        if sums in dict(block.named_children()):
            last, _ = relus.popitem()
            setattr(block, sums, _Sum(_layer(block, last)))
            setattr(block, last, nn.Identity())
    for name, relu in relus.items():
        setattr(block, name, _Convolution(_layer(block, name), rectifies=relu is not None))
        if relu is not None:
            setattr(block, relu, nn.Identity())


def _layer(block: nn.Module, name: str) -> nn.Conv2d:
    layer = block.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    return layer
