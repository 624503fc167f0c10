"""oneDNN's verbose lines: what each primitive of a call computed, in which types, by which kernel.

This is no runtime; `fingerprint.py` asks it for those that compute with torch.
"""

import re
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from indoor.records import Executed
from indoor.runtimes.executed import PRECISIONS, bytes_of

_LINE = re.compile(
    "onednn_verbose,.*?primitive,exec,[^,]+,(?P<kind>[^,]+),(?P<implementation>[^,]*),[^,]*,"
    "(?P<memory>[^,]*),(?P<attributes>[^,]*),[^,]*,(?P<shape>[^,]*),(?P<ms>[0-9.e+-]+)"
)
"""By the template that oneDNN prints first; its developer guide has it under "Verbose Mode"."""

_TENSOR = re.compile(r"\b(src|wei|dst)\d*:(\w+):\w*:\w*:(\w*)")

_ADDED = re.compile(r"[:+](?:sum|binary_add)\b")
"""Operations after it, in its attributes, that read another tensor of its output's shape."""


@dataclass(frozen=True)
class _Problem:
    """A primitive's multiply-adds, and the elements of its tensors by what oneDNN calls them."""

    multiply_adds: int
    elements: dict[str, int]


def verbose() -> Any:
    """Return a context in which oneDNN prints its lines to standard output, if torch has it."""
    mkldnn: Any = torch.backends.mkldnn
    return mkldnn.verbose(mkldnn.VERBOSE_ON) if mkldnn.is_available() else nullcontext()


def primitives_of(lines: Iterable[str]) -> tuple[tuple[Executed, ...], tuple[str, ...]]:
    """Return what the lines of one warm call tell, and a note where weights were repacked.

    A reorder repacks weights if the next convolution or product reads as many, in its layout.
    """
    executed: list[Executed] = []
    reorders: list[re.Match[str]] = []
    repacked: list[re.Match[str]] = []
    for line in lines:
        told = _LINE.match(line)
        if told is None:
            continue
        types, layouts = _memory(told)
        problem = _problem(told["kind"], told["shape"])
        # An attribute says that float32 is rounded before it is multiplied.
        source = "bf16" if "fpmath:bf16" in told["attributes"] else types.get("src", "")
        executed.append(
            Executed(
                operator=told["kind"],
                implementation=told["implementation"],
                types="/".join(types.values()),
                shape=told["shape"],
                precision=PRECISIONS.get(source) if problem.multiply_adds else None,
                multiply_adds=problem.multiply_adds,
                num_bytes=_num_bytes(told, problem),
                seconds=float(told["ms"]) / 1e3,
            )
        )
        if told["kind"] == "reorder":
            reorders.append(told)
        elif problem.multiply_adds:
            weights = problem.elements.get("wei"), layouts.get("wei")
            repacked += [r for r in reorders if _gives(r) == weights]
            reorders.clear()
    return tuple(executed), (_note(repacked),) if repacked else ()


def _note(repacked: list[re.Match[str]]) -> str:
    kernels = ", ".join(sorted({told["implementation"] for told in repacked}))
    milliseconds = sum(float(told["ms"]) for told in repacked)
    return (
        f"{len(repacked)} weights are repacked in every call, {milliseconds:.3g} ms "
        f"(reorder {kernels})"
    )


def _gives(reorder: re.Match[str]) -> tuple[int | None, str | None]:
    """Return how many elements a reorder writes, and in which layout."""
    problem = _problem(reorder["kind"], reorder["shape"])
    return problem.elements.get("dst"), _memory(reorder)[1].get("dst")


def _memory(told: re.Match[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the types and the layouts of a primitive's tensors by what oneDNN calls them."""
    found = _TENSOR.findall(told["memory"])
    return {name: kind for name, kind, _ in found}, {name: tag for name, _, tag in found}


def _num_bytes(told: re.Match[str], problem: _Problem) -> int | None:
    """Return the bytes of all its tensors; what it adds to its output is another of that kind."""
    tensors = [(name, kind) for name, kind, _ in _TENSOR.findall(told["memory"])]
    added = len(_ADDED.findall(told["attributes"]))
    tensors += [one for one in tensors if one[0] == "dst"] * added
    elements = problem.elements
    if not tensors or not all(name in elements for name, _ in tensors):
        return None
    return bytes_of((kind, (elements[name],)) for name, kind in tensors)


def _problem(kind: str, shape: str) -> _Problem:
    """Return what a problem's description tells; sizes known only later are no numbers."""
    if kind == "matmul":
        factors = re.match(r"([\dx]+):([\dx]+)", shape)
        if factors is None:
            return _Problem(0, {})
        a, b = ([int(size) for size in factor.split("x")] for factor in factors.groups())
        stacked = prod(max(sizes) for sizes in zip(a[:-2], b[:-2], strict=True))
        output = stacked * a[-2] * b[-1]
        return _Problem(output * a[-1], {"src": prod(a), "wei": prod(b), "dst": output})
    if re.fullmatch(r"\d+(x\d+)*", shape):
        elements = prod(map(int, shape.split("x")))
        return _Problem(0, {"src": elements, "dst": elements})
    size = {name: int(value) for name, value in re.findall(r"([a-z]+)(\d+)", shape)}
    if not {"mb", "ic"} <= size.keys():
        return _Problem(0, {})
    photographs, channels = size["mb"], size.get("oc", size["ic"])
    read, kernel, written = ([f"{end}{axis}" for axis in "dhw"] for end in "iko")
    source = photographs * size["ic"] * prod(size.get(axis, 1) for axis in read)
    output = photographs * channels * prod(size.get(axis, 1) for axis in written)
    if kind not in ("convolution", "inner_product"):
        return _Problem(0, {"src": source, "dst": output if "ow" in size else source})
    kernel = read if kind == "inner_product" else kernel
    summed = size["ic"] // size.get("g", 1) * prod(size.get(axis, 1) for axis in kernel)
    tensors = {"src": source, "wei": channels * summed, "dst": output}
    return _Problem(output * summed, tensors)
