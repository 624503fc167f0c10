"""From the operations of a call to the record of what ran; shared by every runtime."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod
from statistics import median

from indoor.errors import IndoorError
from indoor.records import Executed, Precision, Ran

PRECISIONS: dict[str, Precision] = {
    "f32": "float32",
    "bf16": "bfloat16",
    "u8": "int8",
    "s8": "int8",
}
"""By the type that an operation reads, in oneDNN's word."""

_SIZES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "u8": 1, "s8": 1, "boolean": 1, "bool": 1} | {
    name: size
    for size in (4, 8)
    for bits in [8 * size]
    for name in (f"s{bits}", f"i{bits}", f"int{bits}")
}
"""Bytes of an element by its type's name, in oneDNN's word or the runtime's own."""


def precision_of(*types: str) -> Precision | None:
    """Return what multiplies values of these types, the input's and the weights'.

    None: no precision of ours, or types of several, of which one is converted first.
    """
    found = {PRECISIONS.get(name) for name in types}
    return found.pop() if len(found) == 1 else None


def bytes_of(tensors: Iterable[tuple[str, Sequence[int]]]) -> int | None:
    """Return what tensors of these types and shapes take together; None: a type has no size."""
    counts = [(kind, count) for kind, shape in tensors if (count := prod(shape))]
    if any(kind not in _SIZES for kind, _ in counts):
        return None
    return sum(_SIZES[kind] * count for kind, count in counts)


def ran_from(executed: Iterable[Executed], notes: tuple[str, ...] = ()) -> Ran:
    """Return the record of a call, whose precision is that of most multiply-adds."""
    ran = Ran(precision=None, executed=tuple(executed), notes=notes)
    return replace(ran, precision=next(iter(ran.multiply_adds), None))


def timed_over(calls: Sequence[Sequence[Executed]]) -> tuple[Executed, ...]:
    """Return the operations of several equal calls once, each with the median of its seconds.

    Raises:
        IndoorError: The calls were not equal.
    """
    kinds = {tuple(one.operator for one in call) for call in calls}
    if len(kinds) != 1:
        counts = ", ".join(str(len(call)) for call in calls)
        raise IndoorError(
            f"the calls of a profile executed {counts} operations, not the same ones each time; "
            "expected warm calls of one network, which repeat themselves"
        )
    return tuple(
        replace(same[0], seconds=median(one.seconds or 0.0 for one in same))
        for same in zip(*calls, strict=True)
    )
