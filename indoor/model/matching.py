"""A network found in whatever a file holds: by the names of its tensors, under any wrapper."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from indoor.model.contents import Leaf, entries_of, leaves_of, mappings_along
from indoor.model.last_layer import find_head, has_weights, shorten
from indoor.model.naming import (
    AUXILIARY,
    OTHERS,
    RESNETS,
    SCHEMES,
    Scheme,
    is_counter,
    is_of_trunk,
    names_of,
    resnet_of,
    share_of,
    splits_of,
    torchvision,
)

_AVERAGED = re.compile(
    r"ema|swa|averaged?|avg|teacher|momentum|encoder_k|key_encoder|key|shadow|target"
)
"""Words, between dots and underscores, that name a second, averaged copy of a network."""

_RECOGNISED = 0.4
"""The share of a network's tensors that makes it one."""

USED_KEYS = ("classes", "class_names", "CLASSES", "class_to_idx", "mean", "std", "epoch")
"""Keys beside a state dict that are read."""


@dataclass(frozen=True)
class Found:
    """A network in a file; tensors by torchvision's names.

    Attributes:
        arch: Of `ARCHS`, by its names and its blocks.
        tensors: Everything but the last layer; not necessarily complete.
        head: `weight` and `bias` of the last layer; empty where there is no single linear one.
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
    """Tensors that have a network's names behind the same prefix: paths by torchvision's name."""

    prefix: str
    scheme: Scheme
    arch: str
    paths: dict[str, str]

    @cached_property
    def share(self) -> float:
        """How much of the network there is."""
        return share_of(self.paths, self.arch)

    @property
    def is_averaged(self) -> bool:
        """Whether its wrapper says that it is an averaged copy."""
        parts = self.prefix.lower().split(".")
        words = [word for part in parts for word in (part, *re.split("[_-]", part))]
        return any(map(_AVERAGED.fullmatch, words))

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """What decides between two, the smallest first."""
        return self.share < 1, self.is_averaged, -len(self.paths), self.prefix.count(".")


def find_network(content: object) -> Found | None:
    """Return the network in a file; None where there is not one tensor of one.

    Every path of keys to a tensor is a name; whatever stands before the names of a network is a
    wrapper, be it a key of a dict or a prefix. Of several networks that one is taken that is
    complete, is no averaged copy (EMA, SWA, a teacher, a momentum encoder), has most tensors, has
    the shortest wrapper, and comes first in the file, in this order. The others are told.

    Args:
        content: Mappings, sequences, tensors, and placeholders of modules and other objects.
    """
    leaves = leaves_of(content)
    # ResNets first: others' names take time to list, and few files need them.
    candidates = [
        _Candidate(prefix, scheme, resnet_of(paths), paths)
        for (prefix, scheme), paths in _votes(leaves, RESNETS[-1], SCHEMES).items()
    ]
    if not any(candidate.share > _RECOGNISED for candidate in candidates):
        candidates += [
            _Candidate(prefix, scheme, arch, paths)
            for arch in OTHERS
            for (prefix, scheme), paths in _votes(leaves, arch, (torchvision,)).items()
            if not names_of(arch).parts.isdisjoint(name.split(".")[0] for name in paths)
        ]
    if not candidates:
        return None
    chosen, *rest_of_them = sorted(candidates, key=lambda candidate: candidate.rank)
    others = [c for c in rest_of_them if c.share > _RECOGNISED and c.prefix != chosen.prefix]
    return _describe(content, leaves, chosen, others)


def _votes(
    leaves: Mapping[str, Leaf], arch: str, schemes: Iterable[Scheme]
) -> dict[tuple[str, Scheme], dict[str, str]]:
    """Return by prefix and way of naming the paths of an architecture's tensors."""
    votes: dict[tuple[str, Scheme], dict[str, str]] = defaultdict(dict)
    known = names_of(arch).trunk
    for path in leaves:
        for prefix, rest in splits_of(path):
            for scheme in schemes:
                name = scheme(rest)
                if name in known:
                    votes[prefix, scheme].setdefault(name, path)
    return votes


def _describe(
    content: object, leaves: Mapping[str, Leaf], chosen: _Candidate, others: list[_Candidate]
) -> Found:
    arch, prefix, paths = chosen.arch, chosen.prefix, chosen.paths
    if arch in RESNETS and "layer1.0.conv2.weight" in paths:
        second = leaves[paths["layer1.0.conv2.weight"]].value
        arch = resnet_of(paths, tuple(second.shape[:2]) if isinstance(second, Tensor) else ())
    own = names_of(arch).trunk
    scope = _scope(leaves, next(iter(paths.values())), prefix)
    used = set(paths.values())
    scope -= {p for p in scope if arch in OTHERS and AUXILIARY.match(p.removeprefix(prefix))}
    inside = [path for path in leaves if path in scope - used and path.startswith(prefix)]
    names = {path: chosen.scheme(path.removeprefix(prefix)) for path in inside}
    foreign = {path for path, name in names.items() if is_of_trunk(name, arch)}
    rivals = [other.prefix for other in others]
    head, no_head = find_head(leaves, scope - used - foreign, prefix, names_of(arch), rivals)
    used |= foreign | set(head.values())
    beside = {
        path.removeprefix(prefix).split(".")[0]: path.removeprefix(prefix)
        for path in inside
        if path not in used and has_weights(leaves[path].value)
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
            if not other.is_averaged and other.share == 1
        ),
        notes=tuple(_notes(content, leaves, chosen, others, used, head)),
    )


def _scope(leaves: Mapping[str, Leaf], member: str, prefix: str) -> set[str]:
    """Return the paths in the mapping that a tensor lies in."""
    container = leaves[member].container
    if prefix.startswith(container):
        return {path for path, leaf in leaves.items() if leaf.container == container}
    return {path for path in leaves if path.startswith(prefix)}  # names are mappings themselves


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
    own = f"{prefix}{names_of(chosen.arch).head}.weight"
    last = head.get("weight", own)
    if last != own:
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
