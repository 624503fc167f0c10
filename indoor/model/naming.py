"""torchvision's names of a network's tensors, and the names that others give the same tensors."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache

from indoor.model.head import head_of
from indoor.model.network import ARCHS, build_empty

Scheme = Callable[[str], str]
"""A way of naming: returns torchvision's name of a tensor, or an empty text."""

RESNETS = ("resnet18", "resnet50", "resnext101_32x8d")
"""Each has the tensors' names of the one before."""

OTHERS = tuple(arch for arch in ARCHS if arch not in RESNETS)

AUXILIARY = re.compile(r"(aux1|aux2|AuxLogits)\.")
"""torchvision's names of the heads that only a training uses."""

_TRUNK = re.compile(r"(conv|bn|norm|relu|act|maxpool|stem|layer|avgpool|attnpool|global_pool)\d*")
"""What stands first in the name of a part of a ResNet before its last layer."""

_COUNTERS = ("num_batches_tracked", "total_ops", "total_params")
"""Numbers beside the weights: batch norm's, and what profilers (thop) leave in every module."""


@dataclass(frozen=True)
class Names:
    """The names of everything but the last layer, and of that its name and its inputs."""

    trunk: frozenset[str]
    head: str
    num_features: int

    @property
    def parts(self) -> frozenset[str]:
        """What stands first in the names before the last part."""
        return frozenset(name.split(".")[0] for name in self.trunk) - {self.head.split(".")[0]}


@cache
def names_of(arch: str) -> Names:
    """Return the names of an architecture's tensors."""
    network = build_empty(arch, 1)
    head, layer = head_of(network)
    names = network.state_dict()
    trunk = frozenset(name for name in names if not name.startswith(f"{head}."))
    return Names(trunk, head, layer.in_features)


def resnet_of(names: Collection[str], groups: tuple[int, ...] = ()) -> str:
    """Return the ResNet whose kind of blocks the names have.

    Args:
        names: Of tensors.
        groups: The outputs and the inputs of the first block's second convolution, where known.
    """
    if "layer1.0.conv3.weight" not in names:
        return "resnet18"
    is_next = groups == (256, 8) and "layer3.22.conv1.weight" in names
    return "resnext101_32x8d" if is_next else "resnet50"


def share_of(names: Collection[str], arch: str) -> float:
    """Return how much of an architecture's trunk the names are, in 0..1 (counters aside)."""
    needed = {name for name in names_of(arch).trunk if not is_counter(name)}
    return len(needed.intersection(names)) / len(needed)


def is_counter(name: str) -> bool:
    """Tell whether it is no weight, but a number that something counted."""
    return name.rsplit(".", 1)[-1] in _COUNTERS


def is_of_trunk(name: str, arch: str) -> bool:
    """Tell whether a tensor of this name takes part in what comes before the last layer."""
    part = name.split(".")[0]
    is_part = _TRUNK.fullmatch(part) if arch in RESNETS else part in names_of(arch).parts
    return bool(is_part) and not is_counter(name)


def splits_of(path: str) -> Iterator[tuple[str, str]]:
    """Return every way to cut a path at a dot into a prefix and a name."""
    start = -1
    while True:
        yield path[: start + 1], path[start + 1 :]
        start = path.find(".", start + 1)
        if start < 0:
            return


_INNER = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Wrappers of a part of the network: of a layer that was compiled, sharded or recomputed."""


def torchvision(name: str) -> str:
    """The names of torchvision, timm, MMPretrain and most others."""
    return _INNER.sub("", name)


_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def numbered(name: str) -> str:
    """The names in `nn.Sequential(*network.children())`, as fastai has them too."""
    first, _, rest = name.partition(".")
    return f"{_CHILDREN[first]}.{rest}" if first in _CHILDREN else ""


_STEM = re.compile(r"embedder\.embedder\.(convolution|normalization)\.(\w+)")
_STAGE = re.compile(
    r"encoder\.stages\.(\d)\.layers\.(\d+)\.(?:layer\.(\d)|(shortcut))\."
    r"(convolution|normalization)\.(\w+)"
)


def hugging_face(name: str) -> str:
    """The names of ResNet in Hugging Face's transformers."""
    if stem := _STEM.fullmatch(name):
        return f"{'conv1' if stem[1] == 'convolution' else 'bn1'}.{stem[2]}"
    stage = _STAGE.fullmatch(name)
    if stage is None:
        return ""
    is_norm = stage[5] == "normalization"
    block = f"layer{int(stage[1]) + 1}.{stage[2]}"
    if stage[4]:
        return f"{block}.downsample.{int(is_norm)}.{stage[6]}"
    return f"{block}.{'bn' if is_norm else 'conv'}{int(stage[3]) + 1}.{stage[6]}"


SCHEMES: dict[Scheme, str] = {
    torchvision: "",
    numbered: "its layers are numbered, as in nn.Sequential(*network.children())",
    hugging_face: "its layers have the names of Hugging Face's ResNet",
}
"""The ways of naming that are known, with what the user is told of each."""
