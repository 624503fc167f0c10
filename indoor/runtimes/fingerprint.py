"""What torch really executed in one call: oneDNN's primitives, and what went to other libraries.

This is no runtime; those that compute with torch (eager, Inductor, AOTInductor) tell with it what
they ran.
"""

import ctypes
import json
import os
import re
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn
from torch.profiler import ExecutionTraceObserver, record_function

from indoor.records import REST, Executed, Precision, Ran
from indoor.runtimes.executed import PRECISIONS, bytes_of, ran_from, timed_over
from indoor.runtimes.layers import Weights, followed, weights_of
from indoor.runtimes.onednn import primitives_of, verbose
from indoor.runtimes.operators import call_profiled

_FACTORS = {
    "aten::_convolution": (0, 1),
    "aten::mm": (0, 1),
    "aten::bmm": (0, 1),
    "aten::addmm": (1, 2),
    "aten::baddbmm": (1, 2),
    "mkl::_mkl_linear": (0, 2),  # the second one is packed
    "quantized::conv2d": (0, 1),
    "quantized::conv2d_relu": (0, 1),
    "quantized::linear": (0, 1),
}
"""Which of a product's arguments are multiplied."""

_TYPES = {
    "float": "f32",
    "double": "f64",
    "c10::BFloat16": "bf16",
    "c10::Half": "f16",
    "c10::quint8": "u8",
    "unsigned char": "u8",
    "c10::qint8": "s8",
    "signed char": "s8",
    "torch.qint8": "s8",
}
"""oneDNN's word by torch's."""

_LAYER = "indoor layer "


def what_ran(
    call: Callable[[], object],
    model: nn.Module | None = None,
    float32_is: Precision | None = None,
) -> Ran:
    """Return what a call executes; make one before, so that this one is warm.

    oneDNN tells its own primitives. Convolutions and matrix products that torch gives to another
    library (MKL, FBGEMM), which names no kernels, are taken from torch's trace of its operators.

    Args:
        call: Computes on torch's threads, in this process; what it prints is lost.
        model: The module that it calls, so that operations are told with their layers' names.
        float32_is: What a GPU multiplies float32 in, as it was told to; None: nobody told it.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        printed, trace = Path(name) / "printed.txt", Path(name) / "trace.json"
        weights = {} if model is None else stack.enter_context(_layers_traced(model))
        with printing_to(printed), _traced(trace), verbose():
            call()
        lines = printed.read_text(errors="replace").splitlines()
        nodes = json.loads(trace.read_bytes())["nodes"]
    primitives, notes = primitives_of(lines)
    executed = merged(primitives, operators_of(nodes, weights, float32_is))
    return ran_from(executed, notes)


def time_primitives(call: Callable[[], object], num_calls: int) -> tuple[Executed, ...]:
    """Return oneDNN's primitives of a call in order, with their median seconds, and then the rest.

    The rest are generated kernels, other libraries' and whatever leads from one to the next: what
    calls take of which nothing is told, less the primitives. It has no bytes and no multiply-adds.

    Args:
        call: As in `what_ran`.
        num_calls: To take the median of.
    """
    whole_s: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        printed = Path(name) / "printed.txt"

        @contextmanager
        def told() -> Iterator[None]:
            for _ in range(num_calls):
                began = time.perf_counter()
                call()
                whole_s.append(time.perf_counter() - began)
            with printing_to(printed), verbose():
                yield

        call_profiled(call, num_calls, told)
        primitives, _ = primitives_of(printed.read_text(errors="replace").splitlines())
    size = len(primitives) // num_calls
    starts = [size * number for number in range(num_calls)]
    ends = [*starts[1:], len(primitives)]
    timed = timed_over([primitives[a:b] for a, b in zip(starts, ends, strict=True)])
    rest_s = median(whole_s) - sum(one.seconds or 0.0 for one in timed)
    return (*timed, Executed(operator=REST, types="", shape="", seconds=max(0.0, rest_s)))


def operators_of(
    nodes: list[dict[str, Any]], weights: Weights, float32_is: Precision | None = None
) -> tuple[Executed, ...]:
    """Return the convolutions and matrix products of a trace of torch's, whoever computed them.

    Args:
        nodes: Those of an `ExecutionTraceObserver`.
        weights: Those of the layers, since quantized operators do not tell their own.
        float32_is: As for `what_ran`.
    """
    by_id = {node["id"]: node for node in nodes}
    parts: defaultdict[int, list[str]] = defaultdict(list)
    for node in nodes:
        parts[node["ctrl_deps"]].append(node["name"])
    operators: list[Executed] = []
    for _, node in sorted(by_id.items()):
        above = [other["name"] for other in _above(node, by_id)]
        if node["name"] not in _FACTORS or any(name in _FACTORS for name in above):
            continue  # no product, or a part of one that is told already
        layers = [name.removeprefix(_LAYER) for name in above if name.startswith(_LAYER)]
        kernels = [name for name in parts[node["id"]] if "conv" in name]
        name = (kernels or [node["name"]])[0]
        operators.append(_operator(node, name, layers, weights, float32_is))
    return tuple(operators)


def _operator(
    node: dict[str, Any],
    name: str,
    layers: list[str],
    weights: Weights,
    float32_is: Precision | None,
) -> Executed:
    (first, second), inputs = _FACTORS[node["name"]], node["inputs"]
    source, output = inputs["shapes"][first], node["outputs"]["shapes"][0]
    weight, weight_type = inputs["shapes"][second], inputs["types"][second]
    layer = layers[0] if layers else None
    if not weight and layer in weights:
        weight, weight_type = weights[layer]
    depth = weight[1:] if "conv" in node["name"] else source[-1:]
    types = [_type(t) for t in (inputs["types"][first], weight_type, node["outputs"]["types"][0])]
    shapes = (source, weight, output)
    on_cpu = inputs["values"][first][-1] == "cpu"
    known = PRECISIONS if on_cpu else {"f32": float32_is, "bf16": "bfloat16", "f16": "float16"}
    return Executed(
        operator=name,
        types="/".join(types),
        shape=":".join("x".join(map(str, shape)) for shape in shapes),
        layer=layer,
        precision=known.get(types[0]),
        multiply_adds=prod(output) * prod(depth) if depth else 0,
        num_bytes=bytes_of(zip(types, shapes, strict=True)),
    )


def merged(
    primitives: tuple[Executed, ...], operators: tuple[Executed, ...]
) -> tuple[Executed, ...]:
    """Return all in order; what oneDNN computed is told by its primitive, under the layer's name.

    What a compiled network gives to others stands last: nothing tells where between.

    An operator is oneDNN's if a primitive of as many multiply-adds is left for it, which reads
    bytes as the operator does or does not; those that say so in their names choose first.
    """
    named = list(primitives)
    left: defaultdict[tuple[int, bool], deque[int]] = defaultdict(deque)
    for place, primitive in enumerate(primitives):
        if primitive.multiply_adds:
            left[_kind(primitive)].append(place)
    places: dict[int, int] = {}
    for index in sorted(range(len(operators)), key=lambda i: "mkldnn" not in operators[i].operator):
        if waiting := left[_kind(operators[index])]:
            places[index] = place = waiting.popleft()
            named[place] = replace(named[place], layer=operators[index].layer)
    if not places:
        return (*primitives, *operators)
    executed: list[Executed] = []
    done = 0
    for index, operator in enumerate(operators):
        if index in places:
            executed += named[done : places[index] + 1]
            done = max(done, places[index] + 1)
        else:
            executed.append(operator)
    return (*executed, *named[done:])


def _kind(one: Executed) -> tuple[int, bool]:
    """Return its multiply-adds, and whether it reads bytes: an int8 network may have both kinds."""
    return one.multiply_adds, one.types.startswith(("u8", "s8"))


def _type(told: str) -> str:
    """Return oneDNN's word for a type as torch tells it, such as `Tensor(float)`."""
    word = re.sub(r"^Tensor\((.*)\)$", r"\1", told)
    return _TYPES.get(word, word)


def _above(node: dict[str, Any], by_id: dict[int, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    while (parent := by_id.get(node["ctrl_deps"])) is not None and parent is not node:
        yield parent
        node = parent


@contextmanager
def _layers_traced(model: nn.Module) -> Iterator[Weights]:
    """Have the trace tell where a layer begins and ends; return their weights."""
    ranges: list[Any] = []

    def enter(name: str) -> None:
        ranges.append(record_function(f"{_LAYER}{name}"))
        ranges[-1].__enter__()

    def leave() -> None:
        ranges.pop().__exit__(None, None, None)

    weights = weights_of(model)
    with followed(model, weights, enter, leave):
        yield weights


@contextmanager
def _traced(path: Path) -> Iterator[None]:
    observer = ExecutionTraceObserver().register_callback(str(path))
    try:
        observer.start()
        yield
    finally:
        observer.stop()
        observer.unregister_callback()


@contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """Send both standard streams to a file, as native code sees them."""
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    sys.stderr.flush()
    flush(None)
    before = [os.dup(1), os.dup(2)]
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        yield
    finally:
        flush(None)
        for number, copy in enumerate(before, start=1):
            os.dup2(copy, number)
            os.close(copy)
