"""torchvision's quantizable ResNets in float32: built, given a new head, folded for speed."""

import copy
import functools
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode
from torchvision.models import quantization as torchvision_models

ARCHS = ("resnet18", "resnet50")
"""The architectures' names, as torchvision and our checkpoints have them."""

DEFAULT_ARCH = "resnet50"

_DRAWING = (Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_)

_THIN = "-thin"
_THINNER = 8

_RELUS = {"conv1": ("relu", "relu1"), "conv2": ("relu2",)}
"""Which ReLU follows a convolution; a bottleneck has `relu1` for it, and a `relu` without use."""

_CONSTRUCTORS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": torchvision_models.resnet18,
    "resnet50": torchvision_models.resnet50,
}


def thin(arch: str) -> str:
    """Return the name of the architecture with an eighth of the channels everywhere.

    It makes the same calls with next to nothing to compute; nobody trains it.
    """
    return f"{arch}{_THIN}"


def known_arch(arch: str) -> bool:
    """Return whether networks of that name can be built: one of `ARCHS`, or a thin one."""
    return arch.removesuffix(_THIN) in ARCHS


def build_model(arch: str, num_classes: int, *, seed: int | None = None) -> nn.Module:
    """Return torchvision's quantizable network with its own random initialisation.

    Args:
        arch: One of `ARCHS`, or `thin` of one.
        num_classes: The number of logits, 1 or more.
        seed: Decides the weights; None draws them from the global generator's present state. The
            global generator is left as it was in both cases.

    Returns:
        A float32 module in eval mode; float32 `(B, 3, H, W)` to float32 `(B, num_classes)`.

    Raises:
        ValueError: An unknown architecture, or no class.
    """
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        return _construct(arch, num_classes)


def replace_head(model: nn.Module, num_classes: int, seed: int) -> nn.Module:
    """Return a copy of the network whose last layer is new, with `nn.Linear`'s initialisation.

    Args:
        model: A network with a float32 `fc`; it stays as it is.
        num_classes: The number of logits of the copy, 1 or more.
        seed: Decides the new layer's weights.

    Returns:
        The copy, in the mode (train or eval) of the original.

    Raises:
        ValueError: `model` has no linear `fc`, or there is no class.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}, expected 1 or more")
    old = getattr(model, "fc", None)
    if not isinstance(old, nn.Linear):
        raise ValueError(f"a {type(model).__name__} has no float32 layer fc to replace")
    generator = torch.Generator().manual_seed(seed)
    new = nn.Linear(old.in_features, num_classes, device="meta").to_empty(device="cpu")
    # nn.Linear.reset_parameters: kaiming_uniform_ with a = sqrt(5) is uniform in +-1/sqrt(inputs),
    # the bias the same; done by hand as it must draw from our generator and not the global one.
    bound = 1 / math.sqrt(old.in_features)
    with torch.no_grad():
        new.weight.uniform_(-bound, bound, generator=generator)
        new.bias.uniform_(-bound, bound, generator=generator)
    result = copy.deepcopy(model)
    result.fc = new.to(old.weight.device).train(old.training)
    return result


def reorder_head(model: nn.Module, order: Sequence[int]) -> nn.Module:
    """Return a copy of the network whose output `i` is the original's output `order[i]`."""
    result = copy.deepcopy(model)
    head = result.get_submodule("fc")
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(head.weight[list(order)])
        head.bias.copy_(head.bias[list(order)])
    return result


def fold(model: nn.Module) -> nn.Module:
    """Return a frozen eval copy for fast float32 inference: batch norms folded, channels-last.

    Each batch norm becomes part of the convolution before it; the logits differ from the
    original's by rounding alone. Feed it `(B, 3, H, W)` of any memory format; channels-last saves
    one conversion.

    Args:
        model: A float32 network of `build_model`; it stays as it is.

    Returns:
        A module with no batch norm and no parameter that requires a gradient.

    Raises:
        ValueError: A batch norm does not follow a convolution of the same block.
    """
    result = copy.deepcopy(model).eval()
    with torch.no_grad():
        for block in list(result.modules()):
            _fold_children(block)
    if any(isinstance(module, nn.BatchNorm2d) for module in result.modules()):
        raise ValueError(f"cannot fold a {type(model).__name__}: a batch norm stands alone")
    for module in result.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True  # its input is a convolution's output that nobody else reads
    return result.requires_grad_(False).to(memory_format=torch.channels_last)


def followers(block: nn.Module) -> dict[str, tuple[str | None, str | None]]:
    """Return, of each convolution among a block's own children, its batch norm and its ReLU.

    These follow it at once and nothing else reads its output. torchvision registers a batch norm
    right after its convolution (`conv1, bn1, conv2, bn2, ...`; `downsample` is `0, 1`); ReLUs go by
    their names.

    Returns:
        By the convolution's name the names of both; None where there is none.
    """
    children = dict(block.named_children())
    found: dict[str, tuple[str | None, str | None]] = {}
    for (name, child), (after, follower) in pairwise([*children.items(), ("", nn.Identity())]):
        if isinstance(child, nn.Conv2d):
            relus = [relu for relu in _RELUS.get(name, ()) if relu in children]
            norm = after if isinstance(follower, nn.BatchNorm2d) else None
            found[name] = norm, relus[-1] if relus else None
    return found


def build_empty(arch: str, num_classes: int) -> nn.Module:
    """Return the network in eval mode on the meta device: shapes without memory or drawing."""
    with torch.device("meta"), _NothingDrawn():
        return _construct(arch, num_classes)


class _NothingDrawn(TorchFunctionMode):
    """Leaves initial values out, which on the meta device take two thirds of building a network."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return args[0] if func in _DRAWING else func(*args, **(kwargs or {}))


@functools.cache
def multiply_adds(arch: str, num_classes: int, size: int) -> int:
    """Return the multiply-adds of the network for one photograph: convolutions and linear layers.

    Args:
        arch: One of `ARCHS`.
        num_classes: The number of logits, 1 or more.
        size: The photograph's height and width.

    Raises:
        ValueError: An unknown architecture, or no class.
    """
    # A weight is (out, in / groups, ...): each output needs one row.
    calls = layer_calls(arch, num_classes, 1, size)
    return sum(output.numel() * weight[0].numel() for _, weight, output in calls)


def layer_calls(
    arch: str, num_classes: int, batch: int, size: int
) -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
    """Return each convolution's and linear layer's input, weights and output, without memory.

    Args:
        arch: One of `ARCHS`, or `thin` of one.
        num_classes: The number of logits, 1 or more.
        batch: Photographs.
        size: Their height and width.

    Returns:
        Tensors on the meta device, in the order of the calls.

    Raises:
        ValueError: An unknown architecture, or no class.
    """
    network = build_empty(arch, num_classes)
    calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        calls.append((inputs[0], module.get_parameter("weight"), output))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
    with torch.inference_mode():
        network(torch.empty(batch, 3, size, size, device="meta"))
    return tuple(calls)


def _construct(arch: str, num_classes: int) -> nn.Module:
    if not known_arch(arch):
        raise ValueError(f"unknown architecture {arch!r}, expected one of {', '.join(ARCHS)}")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}, expected 1 or more")
    constructor = _CONSTRUCTORS[arch.removesuffix(_THIN)]
    model = constructor(weights=None, quantize=False, num_classes=num_classes).eval()
    if arch.endswith(_THIN):
        _narrow(model)
    return model


def _narrow(block: nn.Module) -> None:
    """Replace all layers by ones of an eighth of the channels; colours and classes stay."""
    for name, child in list(block.named_children()):
        if isinstance(child, nn.Conv2d):
            inputs = child.in_channels if child.in_channels == 3 else child.in_channels // _THINNER
            thinner: nn.Module = nn.Conv2d(
                inputs,
                child.out_channels // _THINNER,
                child.kernel_size,  # type: ignore[arg-type]
                child.stride,  # type: ignore[arg-type]
                child.padding,  # type: ignore[arg-type]
                bias=False,
            )
        elif isinstance(child, nn.BatchNorm2d):
            thinner = nn.BatchNorm2d(child.num_features // _THINNER)
        elif isinstance(child, nn.Linear):
            thinner = nn.Linear(child.in_features // _THINNER, child.out_features)
        else:
            _narrow(child)
            continue
        setattr(block, name, thinner.eval())


def _fold_children(block: nn.Module) -> None:
    """Fold each batch norm among the block's own children into the convolution before it."""
    for name, (norm, _) in followers(block).items():
        if norm is not None:
            convolution, after = block.get_submodule(name), block.get_submodule(norm)
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(after, nn.BatchNorm2d)
            setattr(block, name, fuse_conv_bn_eval(convolution, after))
            setattr(block, norm, nn.Identity())
