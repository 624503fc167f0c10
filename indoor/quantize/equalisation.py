"""Cross-layer equalisation: channels scaled so that neighbouring convolutions share a range."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

_RELUS = (functional.relu, torch.relu, torch.relu_)
_MAX_SWEEPS, _SETTLED = 50, 1e-3


@dataclass(frozen=True)
class Pair:
    """A convolution, its batch norm, and the one convolution that reads it, through a ReLU."""

    name: str
    first: nn.Conv2d
    norm: nn.BatchNorm2d | None
    second: nn.Conv2d


def equalise(model: nn.Module) -> nn.Module:
    """Return a copy of a float32 network that computes the same with more even channel ranges.

    A ReLU lets a positive factor pass, so a convolution's output i may be divided by s_i where the
    next one multiplies its input i by it. With s_i = sqrt(r1_i r2_i) / r2_i both have the same
    range (Nagel et al., arXiv 1906.04721, section 4.1); pairs that share a convolution are visited
    until nothing changes. A bias counts to its channel's range: one of next to no weights would
    else be scaled up until its constant fills the range of all activations.

    Args:
        model: A float32 network in eval mode, with batch norms or folded; it stays as it is.
    """
    result = copy.deepcopy(model)
    found = tuple(pairs(result))
    with torch.no_grad():
        for _ in range(_MAX_SWEEPS):
            if max((_even_out(pair) for pair in found), default=0.0) < _SETTLED:
                break
    return result


def pairs(model: nn.Module) -> Iterator[Pair]:
    """Yield the pairs of a network in the order of its calls."""
    graph = fx.symbolic_trace(model).graph
    modules = dict(model.named_modules())
    for node in graph.nodes:
        first = modules.get(str(node.target))
        if node.op != "call_module" or not isinstance(first, nn.Conv2d):
            continue
        reader = _only_reader(node)
        norm = modules.get(str(reader.target)) if reader else None
        if reader and isinstance(norm, nn.BatchNorm2d):
            reader = _only_reader(reader)
        while reader and (
            reader.target in _RELUS
            or isinstance(modules.get(str(reader.target)), nn.ReLU | nn.Identity)
        ):
            reader = _only_reader(reader)
        second = modules.get(str(reader.target)) if reader else None
        if isinstance(second, nn.Conv2d):
            kept = norm if isinstance(norm, nn.BatchNorm2d) else None
            yield Pair(str(node.target), first, kept, second)


def scale_channels(pair: Pair, factors: Tensor) -> None:
    """Multiply the first's outputs by factors `(C,)`, in place, and divide the second's inputs."""
    scaled = pair.norm or pair.first
    scaled.weight.data.mul_(factors.view(-1, *[1] * (scaled.weight.ndim - 1)))
    if scaled.bias is not None:
        scaled.bias.data.mul_(factors)
    _by_input(pair.second).div_(factors.view(pair.second.groups, 1, -1, 1, 1))


def _even_out(pair: Pair) -> float:
    """Give a pair's channels equal ranges; return the largest change, as a logarithm."""
    folded = fuse_conv_bn_eval(pair.first, pair.norm) if pair.norm else pair.first
    given = folded.weight.data.abs().amax((1, 2, 3))
    if folded.bias is not None:
        given = given.maximum(folded.bias.data.abs())
    read = _by_input(pair.second).abs().amax((1, 3, 4)).flatten()
    factors = (read / given).sqrt()
    # Where one of both is 0 the channel carries nothing.
    factors = torch.where((given > 0) & (read > 0), factors, 1)
    scale_channels(pair, factors)
    return float(factors.log().abs().max())


def _by_input(convolution: nn.Conv2d) -> Tensor:
    """View the weights as `(groups, out / groups, in / groups, kh, kw)`."""
    return convolution.weight.data.view(convolution.groups, -1, *convolution.weight.shape[1:])


def _only_reader(node: fx.Node) -> fx.Node | None:
    readers = list(node.users)
    return readers[0] if len(readers) == 1 else None
