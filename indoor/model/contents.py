"""What lies in a file of somebody else's: every tensor by its path of keys."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from indoor.model.inert import Deferred, Placeholder

_MAX_DEPTH = 24
_MAX_ENTRIES = 500_000
"""Bounds of the walk through a file, far above those of any checkpoint."""


@dataclass(frozen=True)
class Leaf:
    """A tensor, or a placeholder that may be in the place of one, with the keys that lead to it.

    `container` is the path of the mapping that it lies in; a module with all that lies in it counts
    as one mapping, as its state dict would. Paths end in a dot, the empty one but.
    """

    value: object
    container: str


def leaves_of(content: object) -> dict[str, Leaf]:
    """Return every tensor below a value by its path, the keys joined by dots, in their order."""
    return dict(_walk(content, "", "", (), iter(range(_MAX_ENTRIES))))


def entries_of(value: object) -> Iterator[tuple[object, object]]:
    """Return what lies in a mapping, a sequence, a module or another object, by key."""
    if isinstance(value, Placeholder):
        state = value.state[0] if isinstance(value.state, tuple) and value.state else value.state
        attributes = state if isinstance(state, Mapping) else {}
        if _is_module(value):
            for kind in ("_parameters", "_buffers", "_modules"):
                yield from entries_of(attributes.get(kind))
            return
        for number, argument in enumerate(value.args):
            if isinstance(argument, Mapping):
                yield f"argument {number}", argument
        yield from attributes.items()
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple) and len(value) <= 64:
        yield from enumerate(value)


def everything_in(content: object) -> Iterator[tuple[str, object]]:
    """Return whatever lies in a file by its path, the outermost first, each object once."""
    queue: deque[tuple[str, object]] = deque([("", content)])
    seen: set[int] = set()
    budget = iter(range(_MAX_ENTRIES))
    while queue:
        path, value = queue.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        for key, child in _attributes_of(value):
            if next(budget, None) is None:
                return
            yield f"{path}{key}", child
            if isinstance(child, Mapping | list | tuple) and not isinstance(child, Deferred):
                queue.append((f"{path}{key}.", child))


def kind_of(value: object) -> str:
    """Return the name of a value's class, of a class that was not imported its full name."""
    return value.name if isinstance(value, Placeholder) else type(value).__name__


def mappings_along(content: object, prefix: str) -> list[Mapping[object, object]]:
    """Return the mappings that a path leads through, the innermost first."""
    found: list[Mapping[object, object]] = []
    while True:
        found.insert(0, dict(entries_of(content)))
        step = next(((k, v) for k, v in found[0].items() if prefix.startswith(f"{k}.")), None)
        if step is None:
            return found
        prefix, content = prefix.removeprefix(f"{step[0]}."), step[1]


def _walk(
    value: object, path: str, container: str, above: tuple[int, ...], budget: Iterator[int]
) -> Iterator[tuple[str, Leaf]]:
    if id(value) in above or len(above) > _MAX_DEPTH:
        return
    for key, child in entries_of(value):
        if next(budget, None) is None:
            return
        name = f"{path}{key}"
        found = child.value() if isinstance(child, Deferred) else child
        if isinstance(found, Tensor):
            yield name, Leaf(found, container)
            continue
        is_empty = isinstance(found, Placeholder) and next(entries_of(found), None) is None
        if is_empty and not _is_module(found):
            yield name, Leaf(found, container)
        inner = container if _is_module(value) and _is_module(found) else f"{name}."
        yield from _walk(found, f"{name}.", inner, (*above, id(value)), budget)


def _attributes_of(value: object) -> Iterator[tuple[object, object]]:
    """Return what `entries_of` does, and what else a module knows: transforms are modules."""
    yield from entries_of(value)
    if _is_module(value):
        assert isinstance(value, Placeholder)
        assert isinstance(value.state, Mapping)
        yield from ((k, v) for k, v in value.state.items() if not str(k).startswith("_"))


def _is_module(value: object) -> bool:
    if not isinstance(value, Placeholder):
        return False
    return isinstance(value.state, Mapping) and "_modules" in value.state
