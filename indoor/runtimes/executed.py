"""From the operations of a call to what it ran in; shared by the runtimes that read ONNX."""

from collections import Counter
from collections.abc import Iterable

from indoor.records import Executed, Precision, Ran

_PRECISIONS: dict[str, Precision] = {
    "f32": "float32",
    "bf16": "bfloat16",
    "u8": "int8",
    "s8": "int8",
}
"""By the short names of types, which are oneDNN's."""


def precision_of(*types: str) -> Precision | None:
    """Return what multiplies values of these types, the input's and the weights'.

    None: no precision of ours, or types of several, of which one is converted first.
    """
    found = {_PRECISIONS.get(name) for name in types}
    return found.pop() if len(found) == 1 else None


def ran_from(executed: Iterable[Executed], notes: tuple[str, ...] = ()) -> Ran:
    """Return the record of a call, whose precision is that of most multiply-adds."""
    operations = tuple(executed)
    multiplied: Counter[Precision | None] = Counter()
    for operation in operations:
        multiplied[operation.precision] += operation.multiply_adds
    most = multiplied.most_common(1)
    precision = most[0][0] if most and most[0][1] else None
    return Ran(precision=precision, executed=operations, notes=notes)
