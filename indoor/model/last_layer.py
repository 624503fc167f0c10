"""The last layer of a network in somebody else's file, whatever it is called there."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor

from indoor.model.contents import Leaf
from indoor.model.naming import Names, is_counter

_HEADS = ("fc", "head", "classifier", "last_linear", "linear", "cls_head")
"""What the last layer is called, in the order in which it is looked for."""


def find_head(
    leaves: Mapping[str, Leaf],
    scope: set[str],
    prefix: str,
    names: Names,
    rivals: Sequence[str],
) -> tuple[dict[str, str], str]:
    """Return the paths of the last layer's tensors, or why there is none.

    It is looked for at the network's own level, then at each one above in the same mapping.

    Args:
        leaves: Every tensor in the file by its path.
        scope: The paths of those that may be the last layer's, or belong to it.
        prefix: Stands before the network's names.
        names: Those of the network.
        rivals: Stand before other networks' names in the file.
    """
    in_order = [path for path in leaves if path in scope]
    for level in _levels(prefix):
        layers: dict[str, list[str]] = defaultdict(list)
        for path in in_order:
            root = level + path.removeprefix(level).split(".")[0] + "."
            apart = any(rival.startswith(root) for rival in rivals)
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
            shown = shorten(_stripped(layers[root], level))
            return {}, f"its last part has {len(more) + 1} layers: {shown}"
        assert isinstance(value, Tensor)
        if value.dim() != 2 or value.shape[1] != names.num_features:
            return {}, f"{name} is {tuple(value.shape)} and not (classes, {names.num_features})"
        bias = weight.removesuffix("weight") + "bias"
        if bias not in scope and not roots:
            return {}, f"{name} has no bias beside it"
        around = _around(leaves, in_order, level, root, (weight, bias))
        around = [p for p in around if not any(p.startswith(rival) for rival in rivals)]
        if around:
            rest = shorten(_stripped(around, level))
            return {}, f"{name} may be not all of its last part: {rest}"
        return {"weight": weight} | ({"bias": bias} if bias in scope else {}), ""
    own = f"{prefix}{names.head}."
    bias = f"{own}bias"
    parts = [p for p in in_order if p.startswith(own) and not is_counter(p)]
    if parts := [path for path in parts if path != bias]:
        shown = shorten(_stripped(parts, prefix))
        return {}, f"its last layer has {shown} in place of a weight"
    return ({"bias": bias} if bias in scope else {}), "it ends before its last layer"


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
    return path.endswith(".weight") and has_weights(value) and not is_loss


def has_weights(value: object) -> bool:
    """Tell whether it is a tensor that a network may multiply by."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 1


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
