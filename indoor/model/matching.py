"""A ResNet found in whatever a file holds: by the names of its tensors, under any wrapper."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from indoor.model.contents import Leaf, entries_of, leaves_of, mappings_along
from indoor.model.naming import (
    SCHEMES,
    Scheme,
    arch_of,
    is_counter,
    is_of_trunk,
    names_of,
    share_of,
    splits_of,
)

_AVERAGED = re.compile(
    r"ema|swa|averaged?|avg|teacher|momentum|encoder_k|key_encoder|key|shadow|target"
)
"""Words, between dots and underscores, that name a second, averaged copy of a network."""

_HEADS = ("fc", "head", "classifier", "last_linear", "linear", "cls_head")
"""What the last layer is called, in the order in which it is looked for."""

USED_KEYS = ("classes", "class_names", "CLASSES", "class_to_idx", "mean", "std", "epoch")
"""Keys beside a state dict that are read."""


@dataclass(frozen=True)
class Found:
    """A network in a file; tensors by torchvision's names.

    Attributes:
        arch: Of `ARCHS`, by its blocks.
        tensors: Everything but the last layer; not necessarily complete.
        head: `fc.weight` and `fc.bias`; empty where there is no single linear last layer.
        no_head: Why `head` is empty.
        foreign: Names of tensors that take part in the network and are none of `arch`.
        beside: Names of tensors beside it that might be a part of it, and are left out.
        containers: The mappings that it lies in, the innermost first.
        averaged: A Python expression for each averaged copy in the content `c`.
        rivals: Where other whole networks lie that are no averaged copies.
        notes: What to tell the user of the choice and of what is left out.
    """

    arch: str
    tensors: dict[str, object]
    head: dict[str, object]
    no_head: str
    foreign: tuple[str, ...]
    beside: tuple[str, ...]
    containers: tuple[Mapping[object, object], ...]
    averaged: tuple[str, ...]
    rivals: tuple[str, ...]
    notes: tuple[str, ...]

    @cached_property
    def said(self) -> dict[object, object]:
        """What stands beside the network, by key; of two with one key, the inner one."""
        return {key: value for m in reversed(self.containers) for key, value in m.items()}


@dataclass(frozen=True)
class _Candidate:
    """Tensors that have names of a ResNet behind the same prefix: paths by torchvision's name."""

    prefix: str
    scheme: Scheme
    paths: dict[str, str]

    @property
    def is_averaged(self) -> bool:
        """Whether its wrapper says that it is an averaged copy."""
        parts = self.prefix.lower().split(".")
        words = [word for part in parts for word in (part, *re.split("[_-]", part))]
        return any(map(_AVERAGED.fullmatch, words))

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """What decides between two, the smallest first."""
        is_complete = share_of(self.paths) == 1
        return not is_complete, self.is_averaged, -len(self.paths), self.prefix.count(".")


def find_network(content: object) -> Found | None:
    """Return the ResNet in a file; None where there is not one tensor of one.

    Every path of keys to a tensor is a name; whatever stands before the names of a ResNet is a
    wrapper, be it a key of a dict or a prefix. Of several networks that one is taken that is
    complete, is no averaged copy (EMA, SWA, a teacher, a momentum encoder), has most tensors, has
    the shortest wrapper, and comes first in the file, in this order. The others are told.

    Args:
        content: Mappings, sequences, tensors, and placeholders of modules and other objects.
    """
    leaves = leaves_of(content)
    votes: dict[tuple[str, Scheme], dict[str, str]] = defaultdict(dict)
    known = names_of("resnet50")
    for path in leaves:
        for prefix, rest in splits_of(path):
            for scheme in SCHEMES:
                name = scheme(rest)
                if name in known:
                    votes[prefix, scheme].setdefault(name, path)
    if not votes:
        return None
    candidates = (_Candidate(*wrapper, paths) for wrapper, paths in votes.items())
    chosen, *rest_of_them = sorted(candidates, key=lambda candidate: candidate.rank)
    others = [c for c in rest_of_them if share_of(c.paths) > 0.4 and c.prefix != chosen.prefix]
    return _describe(content, leaves, chosen, others)


def _describe(
    content: object, leaves: Mapping[str, Leaf], chosen: _Candidate, others: list[_Candidate]
) -> Found:
    arch, prefix, paths = arch_of(chosen.paths), chosen.prefix, chosen.paths
    own = names_of(arch)
    scope = _scope(leaves, next(iter(paths.values())), prefix)
    used = set(paths.values())
    inside = [path for path in leaves if path in scope - used and path.startswith(prefix)]
    names = {path: chosen.scheme(path.removeprefix(prefix)) for path in inside}
    foreign = {path for path, name in names.items() if is_of_trunk(name)}
    head, no_head = _find_head(leaves, scope - used - foreign, chosen, others)
    used |= foreign | set(head.values())
    beside = {
        path.removeprefix(prefix).split(".")[0]: path.removeprefix(prefix)
        for path in inside
        if path not in used and _has_weights(leaves[path].value)
    }
    return Found(
        arch=arch,
        tensors={name: leaves[path].value for name, path in paths.items() if name in own},
        head={name: leaves[path].value for name, path in head.items()},
        no_head=no_head,
        foreign=(*sorted(names[p] for p in foreign), *(n for n in paths if n not in own)),
        beside=tuple(beside.values()),
        containers=tuple(mappings_along(content, prefix)),
        averaged=tuple(
            _expression(leaves[next(iter(other.paths.values()))].container, other.prefix)
            for other in others
            if other.is_averaged
        ),
        rivals=tuple(
            other.prefix.rstrip(".") or "the file itself"
            for other in others
            if not other.is_averaged and share_of(other.paths) == 1
        ),
        notes=tuple(_notes(content, leaves, chosen, others, used, head)),
    )


def _scope(leaves: Mapping[str, Leaf], member: str, prefix: str) -> set[str]:
    """Return the paths in the mapping that a tensor lies in."""
    container = leaves[member].container
    if prefix.startswith(container):
        return {path for path, leaf in leaves.items() if leaf.container == container}
    return {path for path in leaves if path.startswith(prefix)}  # names are mappings themselves


def _find_head(
    leaves: Mapping[str, Leaf], scope: set[str], chosen: _Candidate, others: list[_Candidate]
) -> tuple[dict[str, str], str]:
    """Return the paths of the last layer's tensors, or why there is none.

    It is looked for at the network's own level, then at each one above in the same mapping.
    """
    num_features = 2048 if arch_of(chosen.paths) == "resnet50" else 512
    in_order = [path for path in leaves if path in scope]
    for level in _levels(chosen.prefix):
        layers: dict[str, list[str]] = defaultdict(list)
        for path in in_order:
            root = level + path.removeprefix(level).split(".")[0] + "."
            apart = any(o.prefix.startswith(root) for o in others)
            if path.startswith(level) and not apart and _is_layer(path, leaves[path].value):
                layers[root].append(path)
        if not layers:
            continue
        roots = [f"{level}{name}." for name in _HEADS if f"{level}{name}." in layers]
        if not roots and len(layers) > 1:
            return {}, f"several layers lie beside it: {shorten(_stripped(layers, level))}"
        root = (roots or list(layers))[0]
        weight, *more = layers[root]
        name, value = weight.removeprefix(level), leaves[weight].value
        if more:
            names = shorten(_stripped(layers[root], level))
            return {}, f"its last part has {len(more) + 1} layers: {names}"
        assert isinstance(value, Tensor)
        if value.dim() != 2 or value.shape[1] != num_features:
            return {}, f"{name} is {tuple(value.shape)} and not (classes, {num_features})"
        bias = weight.removesuffix("weight") + "bias"
        if bias not in scope and not roots:
            return {}, f"{name} has no bias beside it"
        around = _around(leaves, in_order, level, root, (weight, bias))
        around = [p for p in around if not any(p.startswith(o.prefix) for o in others)]
        if around:
            rest = shorten(_stripped(around, level))
            return {}, f"{name} may be not all of its last part: {rest}"
        return {"fc.weight": weight} | ({"fc.bias": bias} if bias in scope else {}), ""
    bias = f"{chosen.prefix}fc.bias"
    parts = [p for p in in_order if p.startswith(f"{chosen.prefix}fc.") and not is_counter(p)]
    if parts := [path for path in parts if path != bias]:
        names = shorten(_stripped(parts, chosen.prefix))
        return {}, f"its last layer has {names} in place of a weight"
    return ({"fc.bias": bias} if bias in scope else {}), "it ends before its last layer"


def _around(
    leaves: Mapping[str, Leaf], paths: list[str], level: str, root: str, layer: tuple[str, str]
) -> list[str]:
    """Return what may belong to the last part besides its linear layer.

    That is whatever lies within it, and batch norm beside it that fits its inputs or its outputs.
    """
    weight = leaves[layer[0]].value
    assert isinstance(weight, Tensor)
    found = []
    for path in paths:
        value, name = leaves[path].value, path.removeprefix(level)
        if path in layer or not isinstance(value, Tensor) or not path.startswith(level):
            continue
        is_norm = name.count(".") == 1 and name.endswith(".running_mean")
        is_inside = path.startswith(root) and "loss" not in path and not is_counter(path)
        if is_inside or (is_norm and value.numel() in weight.shape):
            found.append(path)
    return found


def _is_layer(path: str, value: object) -> bool:
    """Tell whether it is the weight of a layer, and not of a loss."""
    is_loss = "criterion" in path or "loss" in path
    return path.endswith(".weight") and _has_weights(value) and not is_loss


def _has_weights(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1


def _notes(
    content: object,
    leaves: Mapping[str, Leaf],
    chosen: _Candidate,
    others: list[_Candidate],
    used: set[str],
    head: Mapping[str, str],
) -> Iterator[str]:
    prefix = chosen.prefix
    unused = [p for p in leaves if p not in used and not p.endswith("num_batches_tracked")]
    left = dict.fromkeys(_group(path, prefix) for path in unused)
    with_tensors = {path.split(".")[0] for path in leaves}
    for key, _ in entries_of(content):
        if str(key).split(".")[0] not in with_tensors and key not in USED_KEYS:
            left[str(key)] = None
    for other in others:
        left.pop(_group(other.prefix, prefix), None)
    if what := SCHEMES[chosen.scheme]:
        yield what
    if prefix and (left or others):
        yield f"the weights are those of {prefix.rstrip('.')}"
    last = head.get("fc.weight", f"{prefix}fc.weight")
    if last != f"{prefix}fc.weight":
        yield f"the last layer is {last.removesuffix('.weight')}"
    for other in others:
        kind = "averaged weights" if other.is_averaged else "another network"
        yield f"{kind} beside them, in {other.prefix.rstrip('.') or 'the file itself'}: not used"
    if left:
        yield f"left out: {shorten(left, 8)}"


def _group(path: str, prefix: str) -> str:
    """Return the name under which a tensor that is left out is told."""
    if is_counter(path):
        return path.rsplit(".", 1)[-1]
    parts = path.rstrip(".").split(".")
    shared = 0
    for mine, other in zip(parts, prefix.split("."), strict=False):
        if mine != other:
            break
        shared += 1
    return ".".join(parts[: shared + 1])


def _expression(container: str, prefix: str) -> str:
    """Return Python for a network's tensors in the content `c` of its file."""
    inner = prefix.removeprefix(container)
    keys = "".join(f"[{key!r}]" for key in container.split(".")[:-1])
    if not inner:
        return f"c{keys}"
    return f"{{k: v for k, v in c{keys}.items() if k.startswith({inner!r})}}"


def _levels(prefix: str) -> Iterator[str]:
    """Return the prefix, and each shorter one, to the empty one."""
    parts = prefix.split(".")
    for end in range(len(parts) - 1, -1, -1):
        yield "".join(f"{part}." for part in parts[:end])


def _stripped(names: Iterable[str], level: str) -> list[str]:
    return [name.removeprefix(level).rstrip(".") for name in names]


def shorten(names: Iterable[str], most: int = 3) -> str:
    """Return the first of the names, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
