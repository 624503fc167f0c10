"""torchvision's quantizable classifiers in float32: built, folded for speed, counted."""

import copy
import functools
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from indoor.model.head import head_of
from indoor.records import Arch
from indoor.vision import torchvision

ARCHS: tuple[str, ...] = get_args(Arch)
"""The architectures' names, as torchvision and our checkpoints have them."""

ARCHS_IN_WORDS = f"{', '.join(ARCHS[:-1])} or {ARCHS[-1]}"

DEFAULT_ARCH = "resnet50"

INCEPTIONS = ("googlenet", "inception_v3")
"""Those that torchvision gives auxiliary heads, and photographs of another mean and deviation."""

_DRAWING = (Tensor.normal_, Tensor.uniform_, Tensor.fill_, Tensor.zero_)

_THIN = "-thin"
_THINNER = 8

_RELUS = {"conv1": "relu1", "conv2": "relu2", "fc1": "activation"}
"""Which ReLU follows a convolution where a block does not register it there: a bottleneck, whose
`relu` is without use, and squeeze and excitation."""


def thin(arch: str) -> str:
    """Return the name of the architecture with an eighth of the channels everywhere.

    It makes the same calls with next to nothing to compute; nobody trains it. Of ShuffleNet, which
    cuts its channels in half again and again, half of the channels stay.
    """
    return f"{arch}{_THIN}"


def known_arch(arch: str) -> bool:
    """Return whether networks of that name can be built: one of `ARCHS`, or a thin one."""
    return without_thin(arch) in ARCHS


def without_thin(arch: str) -> str:
    """Return the name of the architecture that another is the thin one of, or its own."""
    return arch.removesuffix(_THIN)


def build_model(arch: str, num_classes: int, *, seed: int | None = None) -> nn.Module:
    """Return torchvision's quantizable network with its own random initialisation.

    It has no auxiliary heads, which only a training uses, and transforms no photograph by itself.

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
        for name, after in batch_norms(result).items():
            convolution, norm = result.get_submodule(name), result.get_submodule(after)
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            result.set_submodule(name, fuse_conv_bn_eval(convolution, norm))
            result.set_submodule(after, nn.Identity())
    if any(isinstance(module, nn.BatchNorm2d) for module in result.modules()):
        raise ValueError(f"cannot fold a {type(model).__name__}: a batch norm stands alone")
    for module in result.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True  # its input is a convolution's output that nobody else reads
    return result.requires_grad_(False).to(memory_format=torch.channels_last)


def followers(block: nn.Module) -> dict[str, tuple[str | None, str | None]]:
    """Return, of each convolution among a block's own children, its batch norm and its ReLU.

    These follow it at once and nothing else reads its output. torchvision registers a batch norm
    right after its convolution, and a ReLU right after both; `_RELUS` has those that it does not.

    Returns:
        By the convolution's name the names of both; None where there is none.
    """
    children = [*block.named_children()]
    places = {name: place for place, (name, _) in enumerate(children)}
    goes_by_name = not places.keys().isdisjoint(_RELUS.values())
    children += [("", nn.Identity())] * 2
    found: dict[str, tuple[str | None, str | None]] = {}
    for name, place in places.items():
        if not isinstance(children[place][1], nn.Conv2d):
            continue
        after, follower = children[place + 1]
        norm = after if isinstance(follower, nn.BatchNorm2d) else None
        relu, follower = children[place + 1 + (norm is not None)]
        if goes_by_name:
            relu = _RELUS.get(name, "")
            is_there = relu in places
        else:
            is_there = isinstance(follower, nn.ReLU)
        found[name] = norm, relu if is_there else None
    return found


def batch_norms(model: nn.Module) -> dict[str, str]:
    """Return the path of each batch norm in a network by that of the convolution before it."""
    return {
        f"{path}.{name}".lstrip("."): f"{path}.{norm}".lstrip(".")
        for path, block in model.named_modules()
        for name, (norm, _) in followers(block).items()
        if norm is not None
    }


def gain_of(norm: nn.BatchNorm2d) -> Tensor:
    """Return what a batch norm in eval mode multiplies each channel by, `(C,)`."""
    assert norm.running_var is not None
    return norm.weight / (norm.running_var + norm.eps).sqrt()


def build_empty(arch: str, num_classes: int) -> nn.Module:
    """Return the network in eval mode on the meta device: shapes without memory or drawing."""
    with torch.device("meta"), _NothingDrawn():
        return _construct(arch, num_classes, draws=False)


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


def multiply_adds(arch: str, num_classes: int, size: int) -> int:
    """Return the multiply-adds of the network for one photograph: convolutions and linear layers.

    Args:
        arch: One of `ARCHS`.
        num_classes: The number of logits, 1 or more.
        size: The photograph's height and width.

    Raises:
        ValueError: An unknown architecture, or no class.
    """
    return sum(_multiply_adds(arch, num_classes, size).values())


def share_of_layers(arch: str, num_classes: int, size: int, layers: Collection[str]) -> float:
    """Return which share of the network's multiply-adds the named layers are, in 0..1."""
    if not layers:
        return 0.0
    by_layer = _multiply_adds(arch, num_classes, size)
    return sum(by_layer[name] for name in layers) / sum(by_layer.values())


@functools.cache
def _multiply_adds(arch: str, num_classes: int, size: int) -> Mapping[str, int]:
    # A weight is (out, in / groups, ...): each output needs one row.
    return {
        name: output.numel() * weight[0].numel()
        for name, _, weight, output in layer_calls(arch, num_classes, 1, size)
    }


def layer_calls(
    arch: str, num_classes: int, batch: int, size: int
) -> list[tuple[str, Tensor, Tensor, Tensor]]:
    """Return each convolution's and linear layer's name, input, weights and output.

    Args:
        arch: One of `ARCHS`, or `thin` of one.
        num_classes: The number of logits, 1 or more.
        batch: Photographs.
        size: Their height and width.

    Returns:
        Tensors without memory, on the meta device, in the order of the calls.

    Raises:
        ValueError: An unknown architecture, or no class.
    """
    network = build_empty(arch, num_classes)
    calls: list[tuple[str, Tensor, Tensor, Tensor]] = []

    def note(name: str, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        calls.append((name, inputs[0], module.get_parameter("weight"), output))

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(functools.partial(note, name))
    with torch.inference_mode():
        network(torch.empty(batch, 3, size, size, device="meta"))
    return calls


def _construct(arch: str, num_classes: int, *, draws: bool = True) -> nn.Module:
    """Build it; without `draws` its weights may be anything, which is quicker."""
    if not known_arch(arch):
        raise ValueError(f"unknown architecture {arch!r}, expected one of {', '.join(ARCHS)}")
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}, expected 1 or more")
    name = without_thin(arch)
    plain = {"aux_logits": False, "init_weights": draws} if name in INCEPTIONS else {}
    constructor: Callable[..., nn.Module] = getattr(torchvision.models.quantization, name)
    model = constructor(weights=None, quantize=False, num_classes=num_classes, **plain).eval()
    for block in model.modules():
        if getattr(block, "use_res_connect", True) is False:
            block.skip_add = nn.Identity().eval()  # never called, so no observer would see a thing
    if arch != name:
        _narrow(model)
    return model


def _narrow(model: nn.Module) -> None:
    """Replace all layers by ones of an eighth of the channels; colours and classes stay.

    Where an eighth is not whole everywhere it is the largest share that is.
    """
    layers = [(n, m) for n, m in model.named_modules() if hasattr(m, "weight")]
    widths = {m.out_channels for _, m in layers if isinstance(m, nn.Conv2d)}
    share = math.gcd(_THINNER, *widths)
    head, _ = head_of(model)
    for name, layer in layers:
        if isinstance(layer, nn.Conv2d):
            inputs = layer.in_channels if layer.in_channels == 3 else layer.in_channels // share
            thinner: nn.Module = nn.Conv2d(
                inputs,
                layer.out_channels // share,
                layer.kernel_size,  # type: ignore[arg-type]
                layer.stride,  # type: ignore[arg-type]
                layer.padding,  # type: ignore[arg-type]
                groups=inputs if layer.groups == layer.in_channels else layer.groups,
                bias=layer.bias is not None,
            )
        elif isinstance(layer, nn.BatchNorm2d):
            width = layer.num_features // share
            thinner = nn.BatchNorm2d(width, eps=layer.eps, momentum=layer.momentum)
        else:
            assert isinstance(layer, nn.Linear)
            outputs = layer.out_features if name == head else layer.out_features // share
            thinner = nn.Linear(layer.in_features // share, outputs)
        model.set_submodule(name, thinner.eval())
