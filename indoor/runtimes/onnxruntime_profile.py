"""What ONNX Runtime executed, read from a session's profile and the graph that it really runs."""

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indoor.records import Executed
from indoor.runtimes.executed import bytes_of, precision_of, timed_over

_SUFFIX = "_kernel_time"

_NAMES = (".weight", ".bias")
"""What the exporter calls a layer's constants; ONNX Runtime renames some of them."""

_TYPES = {"float": "f32", "uint8": "u8", "int8": "s8", "bfloat16": "bf16", "float16": "f16"}
"""By ONNX's name; others keep theirs."""


@dataclass(frozen=True)
class _Tensor:
    """A type in short and a shape."""

    type: str
    shape: tuple[int, ...]


def read_profile(profile: Path, graph: Path, num_runs: int) -> tuple[Executed, ...]:
    """Return the operators of the last runs of a session, with the median of their seconds.

    MLAS, which computes them, names no kernel.

    Args:
        profile: JSON, of one run more than asked for.
        graph: The optimised graph of the same session: the profile leaves out weights that were
            packed for the kernels.
        num_runs: How many, 1 or more.
    """
    events, constants = json.loads(profile.read_bytes()), _constants(graph)
    ends = [i for i, event in enumerate(events) if event["name"] == "model_run"][-num_runs - 1 :]
    return timed_over(
        [list(_executed_in(events[a:b], constants)) for a, b in itertools.pairwise(ends)]
    )


def _executed_in(
    events: list[dict[str, Any]], constants: dict[str, dict[str, _Tensor]]
) -> Iterator[Executed]:
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith(_SUFFIX):
            known = constants.get(event["name"].removesuffix(_SUFFIX), {})
            yield _executed(event, known)


def _executed(event: dict[str, Any], constants: dict[str, _Tensor]) -> Executed:
    told = event["args"]
    operator = told["op_name"]
    inputs, outputs = (_tensors(told[f"{end}_type_shape"]) for end in ("input", "output"))
    read, multiply_adds = inputs[:1], 0
    if "Conv" in operator or "Gemm" in operator or "MatMul" in operator:
        weight = next(t for t in [*constants.values(), *inputs[1:]] if len(t.shape) > 1)
        read = [inputs[0], weight]
        summed = weight.shape[1:] if "Conv" in operator else inputs[0].shape[-1:]
        multiply_adds = math.prod(outputs[0].shape) * math.prod(summed)
    shown = [*read, *outputs[:1]]
    return Executed(
        operator=operator,
        types="/".join(t.type for t in shown),
        shape=" ".join("x".join(map(str, t.shape)) for t in shown),
        layer=next((n.rpartition(".")[0] for n in constants if n.endswith(_NAMES)), None),
        precision=precision_of(*(t.type for t in read)),
        multiply_adds=multiply_adds,
        num_bytes=bytes_of((t.type, t.shape) for t in [*inputs, *_packed(inputs, read), *outputs]),
        seconds=event["dur"] / 1e6,
    )


def _packed(inputs: list[_Tensor], read: list[_Tensor]) -> list[_Tensor]:
    """Return those that an operator reads and the profile leaves out."""
    return [t for t in read if t not in inputs]


def _tensors(told: list[dict[str, list[int]]]) -> list[_Tensor]:
    return [_Tensor(_TYPES.get(t, t), tuple(shape)) for one in told for t, shape in one.items()]


def _constants(path: Path) -> dict[str, dict[str, _Tensor]]:
    """Return by node the constants among its inputs, by their names, of a graph as it is run."""
    import onnx

    graph = onnx.load(path).graph
    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    tensors = {
        t.name: _Tensor(_TYPES.get(names[t.data_type].lower(), ""), tuple(t.dims))
        for t in graph.initializer
    }
    # A bias that was left beside its quantization tells the layer's name as well.
    dequantized = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    biases = {out: name for out, name in dequantized.items() if name.endswith(_NAMES[1])}
    return {
        node.name: {
            name: tensors[name]
            for name in (biases.get(given, given) for given in node.input)
            if name in tensors
        }
        for node in graph.node
    }
