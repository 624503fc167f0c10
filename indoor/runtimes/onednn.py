"""oneDNN's verbose lines: what each primitive of a call computed, in which types, by which kernel.

This is no runtime; `fingerprint.py` asks it for those that compute with torch.
"""

import re
from collections.abc import Iterable
from contextlib import nullcontext
from math import prod
from typing import Any

import torch

from indoor.records import Executed
from indoor.runtimes.executed import PRECISIONS

_LINE = re.compile(
    "onednn_verbose,.*?primitive,exec,[^,]+,(?P<kind>[^,]+),(?P<implementation>[^,]*),[^,]*,"
    "(?P<memory>[^,]*),(?P<attributes>[^,]*),[^,]*,(?P<shape>[^,]*),(?P<ms>[0-9.e+-]+)"
)
"""By the template that oneDNN prints first; its developer guide has it under "Verbose Mode"."""


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
        multiply_adds, num_weights = _counts(told["kind"], told["shape"])
        # An attribute says that float32 is rounded before it is multiplied.
        source = "bf16" if "fpmath:bf16" in told["attributes"] else types.get("src", "")
        executed.append(
            Executed(
                operator=told["kind"],
                implementation=told["implementation"],
                types="/".join(types.values()),
                shape=told["shape"],
                precision=PRECISIONS.get(source) if multiply_adds else None,
                multiply_adds=multiply_adds,
            )
        )
        if told["kind"] == "reorder":
            reorders.append(told)
        elif multiply_adds:
            repacked += [r for r in reorders if _gives(r) == (num_weights, layouts.get("wei"))]
            reorders.clear()
    return tuple(executed), (_note(repacked),) if repacked else ()


def _note(repacked: list[re.Match[str]]) -> str:
    kernels = ", ".join(sorted({told["implementation"] for told in repacked}))
    milliseconds = sum(float(told["ms"]) for told in repacked)
    return (
        f"{len(repacked)} weights are repacked in every call, {milliseconds:.3g} ms "
        f"(reorder {kernels})"
    )


def _gives(reorder: re.Match[str]) -> tuple[int, str | None]:
    """Return how many elements a reorder writes, and in which layout."""
    elements = prod(int(size) for size in re.findall(r"\d+", reorder["shape"]))
    return elements, _memory(reorder)[1].get("dst")


def _memory(told: re.Match[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the types and the layouts of a primitive's tensors by what oneDNN calls them."""
    found = re.findall(r"\b(src|wei|dst)\d*:(\w+):\w*:\w*:(\w*)", told["memory"])
    return {name: kind for name, kind, _ in found}, {name: tag for name, _, tag in found}


def _counts(kind: str, shape: str) -> tuple[int, int]:
    """Return a primitive's multiply-adds and weights by its problem's description; 0 for others."""
    if kind == "matmul":
        factors = re.match(r"([\dx]+):([\dx]+)", shape)
        if factors is None:  # sizes that are known only later are no numbers
            return 0, 0
        a, b = ([int(size) for size in factor.split("x")] for factor in factors.groups())
        stacked = prod(max(sizes) for sizes in zip(a[:-2], b[:-2], strict=True))
        return stacked * a[-2] * a[-1] * b[-1], prod(b)
    if kind not in ("convolution", "inner_product"):
        return 0, 0
    size = {name: int(value) for name, value in re.findall(r"([a-z]+)(\d+)", shape)}
    kernel = ("id", "ih", "iw") if kind == "inner_product" else ("kd", "kh", "kw")
    outputs = () if kind == "inner_product" else ("od", "oh", "ow")
    weights = size["ic"] * size["oc"] // size.get("g", 1) * prod(size.get(k, 1) for k in kernel)
    return size["mb"] * prod(size.get(o, 1) for o in outputs) * weights, weights
