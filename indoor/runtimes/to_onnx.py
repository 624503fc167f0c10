"""A checkpoint as an ONNX file, which ONNX Runtime and OpenVINO read; no runtime by itself."""

from pathlib import Path

import torch
from torch import nn

from indoor.model import load_float, read_manifest
from indoor.model.network import fold
from indoor.quantize import load_qdq
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
    manifest = read_manifest(checkpoint)
    if manifest.quantization is None:
        model = _folded(load_float(checkpoint).model)
    else:
        model = load_qdq(checkpoint, round_sums=True)
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
    for node in program.model.graph:
        node.metadata_props.clear()  # where in which source file it came from
    program.save(path, external_data=False)


def _folded(model: nn.Module) -> nn.Module:
    """Return it without batch norms.

    The exporter would leave them beside convolutions whose bias is computed anew in each call, and
    ONNX Runtime then fuses neither, nor takes its blocked convolutions.
    """
    return fold(model).to(memory_format=torch.contiguous_format)
