"""What OpenVINO executes, read from the execution graph of a compiled model."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from indoor.records import Executed
from indoor.runtimes.executed import PRECISIONS, bytes_of


def read_graph(graph: Any, seconds: Mapping[str, float] | None = None) -> Iterator[Executed]:
    """Yield what each call executes, in order.

    Args:
        graph: A compiled model's `get_runtime_model()`, of fixed shapes. What it computes of
            constants alone was computed when it was compiled.
        seconds: Of the operations by their names, where they were timed.
    """
    constants: set[str] = set()
    for operation in graph.get_ordered_ops():
        told = {key: value.astype(str) for key, value in operation.get_rt_info().items()}
        sources = [value.get_node() for value in operation.input_values()]
        if told["layerType"] == "Const" or (
            sources and all(source.get_friendly_name() in constants for source in sources)
        ):
            constants.add(operation.get_friendly_name())
        elif sources and told["layerType"] != "Output":
            took_s = None if seconds is None else seconds.get(operation.get_friendly_name())
            yield _one(operation, told, sources, took_s)


def _one(
    operation: Any, told: dict[str, str], sources: list[Any], seconds: float | None
) -> Executed:
    inputs = [list(value.get_shape()) for value in operation.input_values()]
    output = list(operation.get_output_shape(0))
    types = [operation.get_input_element_type(index) for index in range(len(sources))]
    num_read, multiply_adds, layer = 1, 0, None
    if "Convolution" in told["layerType"] or told["layerType"] in ("FullyConnected", "MatMul"):
        convolves = "Convolution" in told["layerType"]
        summed = inputs[1][1 - len(inputs[0]) :] if convolves else inputs[0][-1:]
        num_read, multiply_adds = 2, math.prod(output) * math.prod(summed)
        layer = sources[1].get_friendly_name().removesuffix(".weight")
    shapes = [*inputs[:num_read], output]
    words = [_word(t.get_type_name()) for t in types]
    written = [_word(name) for name in told["outputPrecisions"].split(",")[:1]]
    return Executed(
        operator=told["layerType"],
        implementation=told["primitiveType"],
        types="/".join([*words[:num_read], *written]),
        shape=" ".join("x".join(map(str, shape)) for shape in shapes),
        layer=layer,
        precision=PRECISIONS.get(_word(told["runtimePrecision"])),
        multiply_adds=multiply_adds,
        num_bytes=bytes_of(zip([*words, *written], [*inputs, output], strict=True)),
        seconds=seconds,
    )


def _word(name: str) -> str:
    """Return oneDNN's word for a type."""
    return name.lower().replace("i8", "s8")
