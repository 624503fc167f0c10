"""A checkpoint as an ONNX file, which ONNX Runtime and OpenVINO read; no runtime by itself."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from indoor.model import load_float, read_manifest
from indoor.model.network import fold
from indoor.records import Variant
from indoor.runtimes.artefacts import build_artefact

FILE = "model.onnx"

LIBRARIES = ("torch", "onnx", "onnxscript")
"""What decides the file, besides the checkpoint."""

OPSET = 21
"""Known to every version of the runtimes that is asked for."""


def onnx_artefact(variant: Variant, checkpoint: Path) -> Path:
    """Return the folder with the variant's `model.onnx`, which takes any number of photographs.

    Raises:
        IndoorError: The checkpoint is missing or cannot be used, or the folder not be written.
    """
    return build_artefact(
        variant, checkpoint, LIBRARIES, lambda folder: export(checkpoint, folder / FILE)
    )


def export(checkpoint: Path, path: Path) -> None:
    """Write a checkpoint's network as one ONNX file from float32 `images` to float32 `logits`.

    int8 is float32 between QuantizeLinear and DequantizeLinear, with int8 weights. The file holds
    no path of this machine.

    Args:
        checkpoint: float32 or int8; its preprocessing decides the size of the photographs.
        path: Of the file; its folder is there.

    Raises:
        IndoorError: The checkpoint is missing or cannot be used.
    """
    import onnx

    manifest = read_manifest(checkpoint)
    if manifest.quantization is None:
        model = _folded(load_float(checkpoint).model)
    else:
        # Imported here: a process that only runs float32 needs none of torch's quantization.
        from indoor.quantize import load_qdq

        model = _per_channel(load_qdq(checkpoint, round_sums=True))
    size = manifest.preprocessing.size
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            (torch.zeros(2, 3, size, size),),  # with one photograph the batch would be fixed
            input_names=["images"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:
        node.metadata_props.clear()  # where in which source file it came from
    _round_biases(proto.graph)
    onnx.save(proto, path)


def _round_biases(graph: Any) -> None:
    """Have a layer's bias be int32 if its factors are int8, in steps of their product.

    Else ONNX Runtime computes the layer in float32. It would round biases by itself, but with them
    the weights of layers that are to stay in float32 (`onnxruntime.open_session`).
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for layer in [node for node in graph.node if node.op_type in ("Conv", "Gemm")]:
        # The exporter leaves out a bias that is zero throughout.
        if layer.input[1] in constants or len(layer.input) < 3:
            continue
        source, weight = (makers[name] for name in layer.input[:2])
        while source.op_type != weight.op_type:  # past the reshaping
            source = makers[source.input[0]]
        scales = (numpy_helper.to_array(constants[node.input[1]]) for node in (source, weight))
        step = math.prod(scales)
        bias = numpy_helper.to_array(constants[layer.input[2]])
        given = layer.input[2]
        names = [given, f"{given}.scale", f"{given}.dequantized"]
        graph.initializer.remove(constants[given])
        rounded = (bias / step).round().astype("int32")
        graph.initializer.extend(map(numpy_helper.from_array, (rounded, step), names))
        graph.node.insert(
            list(graph.node).index(layer),
            helper.make_node(weight.op_type, names[:2], names[2:], axis=0),
        )
        layer.input[2] = names[2]


def _per_channel(model: nn.Module) -> nn.Module:
    """Return it with a scale for each output channel, since torch's exporter demands that."""
    for layer in model.modules():
        for name, values in list(layer.named_buffers(recurse=False)):
            if values.dim() == 0:
                num_outputs = len(layer.get_buffer("weight"))
                setattr(layer, name, values.repeat(num_outputs))
    return model


def _folded(model: nn.Module) -> nn.Module:
    """Return it without batch norms.

    The exporter would leave them beside convolutions whose bias is computed anew in each call, and
    ONNX Runtime then fuses neither, nor takes its blocked convolutions.
    """
    return fold(model).to(memory_format=torch.contiguous_format)
