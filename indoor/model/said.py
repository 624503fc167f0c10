"""What a file says beside the weights: the classes, and the mean and std of its photographs."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from indoor.errors import IndoorError
from indoor.model.contents import everything_in
from indoor.model.inert import Deferred, Placeholder
from indoor.model.matching import Found

_OWN_KEYS = ("classes", "class_names", "CLASSES", "class_to_idx")
"""Names of classes under these keys, beside the state dict, must be as many as the outputs."""

_CLASS_KEYS = re.compile(
    r"(class|cls|scene|target|label|categor(y|ie))(e?s)?(names?|list|map|labels?|)_?"
    r"|(class|label|idx|index|id|int)(es)?(to|2)(class|label|idx|index|id|int|name)s?"
    r"|names|vocab"
)
"""Keys, in small letters and without underscores, that name classes wherever they lie."""

Channels = tuple[float, float, float]


def find_classes(path: Path, content: object, found: Found) -> tuple[tuple[str, ...], str, str]:
    """Return the names of the outputs in their order, where they lie, and what is unclear of them.

    First those beside the state dict, under the usual keys; then those that lie anywhere under a
    key that tells classes and are as many as the outputs, if all such lists agree.

    Raises:
        IndoorError: `classes` is a dict that numbers nothing.
    """
    head = found.head.get("weight")
    num_outputs = len(head) if isinstance(head, Tensor) and head.dim() else 0
    for key in _OWN_KEYS:
        names, is_dict = _names(found.said.get(key)), type(found.said.get(key)) is dict
        if names and (not is_dict or key == "class_to_idx" or len(names) == num_outputs):
            return names, "", ""
        if is_dict and key != "class_to_idx":
            raise IndoorError(
                f"{path} has {key} of type dict, expected a list of names in the order of the "
                "logits; save it again with one"
            )
    lists: dict[tuple[str, ...], str] = {}
    for place, value in everything_in(content):
        key = place.rsplit(".", 1)[-1].lower().replace("_", "")
        if _CLASS_KEYS.fullmatch(key) and num_outputs > 1:
            names = _names(value)
            if len(set(names)) == len(names) == num_outputs:
                lists.setdefault(names, place)
    if len(lists) > 1:
        places = " and ".join(list(lists.values())[:2])
        return (), "", f"names its classes in two ways ({places}): neither was used"
    for names, place in lists.items():
        return names, place, ""
    return (), "", ""


def find_channels(
    path: Path, content: object, found: Found
) -> tuple[Channels | None, Channels | None, str, str]:
    """Return mean and std, where they lie, and what is unclear of them.

    Raises:
        IndoorError: `mean` or `std` beside the state dict is not three numbers.
    """
    mean, std = (_channels(path, key, found.said.get(key)) for key in ("mean", "std"))
    if mean or std:
        return mean, std, "", ""
    pairs: dict[tuple[Channels, Channels], str] = {}
    halves: dict[str, Channels] = {}
    for place, value in everything_in(content):
        parent, dot, key = place.rpartition(".")
        if key in ("mean", "image_mean", "std", "image_std") and (three := _three(value)):
            halves[place] = three
            first = halves.get(f"{parent}{dot}{key.replace('std', 'mean')}")
            second = halves.get(f"{parent}{dot}{key.replace('mean', 'std')}")
            if first and second:
                pairs.setdefault((first, second), parent)
    if len(pairs) > 1:
        places = " and ".join(list(pairs.values())[:2])
        return None, None, "", f"says two means ({places}): neither was used"
    for (mean, std), place in pairs.items():
        return mean, std, place, ""
    return None, None, "", ""


def _names(value: object) -> tuple[str, ...]:
    """Return class names in order from a list, or a dict from or to their numbers; or none."""
    if isinstance(value, Deferred):
        value = value.value()
    if isinstance(value, Mapping):
        value = list(_numbered(value))
    if not isinstance(value, list | tuple):
        return ()
    names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in value]
    return tuple(map(str, names)) if all(isinstance(name, str) for name in names) else ()


def _numbered(value: Mapping[object, object]) -> Iterator[object]:
    """Return the names in a dict in the order of their numbers, if these are 0 to their last."""
    by_number: dict[object, object] = {}
    for key, entry in value.items():
        for number, name in ((key, entry), (entry, key)):
            if isinstance(number, Tensor) and number.numel() == 1:
                number = number.item()
            if isinstance(number, str) and number.isdecimal():
                number = int(number)
            if isinstance(number, int) and isinstance(name, str | bytes):
                by_number[number] = name
                break
    if by_number.keys() == set(range(len(value))):
        yield from (by_number[number] for number in range(len(value)))


def _three(value: object) -> Channels | None:
    """Return three numbers from a list, a tensor or an array; None for anything else."""
    numbers = value.value() if isinstance(value, Deferred) else value
    if isinstance(numbers, Tensor) and numbers.numel() == 3:
        numbers = numbers.flatten().tolist()
    if not isinstance(numbers, list | tuple) or len(numbers) != 3:
        return None
    if not all(isinstance(x, int | float) for x in numbers):
        return None
    return (float(numbers[0]), float(numbers[1]), float(numbers[2]))


def _channels(path: Path, key: str, value: object) -> Channels | None:
    if value is None or (isinstance(value, Placeholder) and not isinstance(value, Deferred)):
        return None
    three = _three(value)
    if three is None and not (isinstance(value, Deferred) and value.value() is None):
        shown = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise IndoorError(f"{path} has {key} {shown}, expected three numbers; save it again")
    return three
