"""From the operations of a call to the record of what ran; shared by every runtime."""

from collections.abc import Iterable
from dataclasses import replace

from indoor.records import Executed, Precision, Ran

PRECISIONS: dict[str, Precision] = {
    "f32": "float32",
    "bf16": "bfloat16",
    "u8": "int8",
    "s8": "int8",
}
"""By the type that an operation reads, in oneDNN's word."""


def precision_of(*types: str) -> Precision | None:
    """Return what multiplies values of these types, the input's and the weights'.

    None: no precision of ours, or types of several, of which one is converted first.
    """
    found = {PRECISIONS.get(name) for name in types}
    return found.pop() if len(found) == 1 else None


def ran_from(executed: Iterable[Executed], notes: tuple[str, ...] = ()) -> Ran:
    """Return the record of a call, whose precision is that of most multiply-adds."""
    ran = Ran(precision=None, executed=tuple(executed), notes=notes)
    return replace(ran, precision=next(iter(ran.multiply_adds), None))
