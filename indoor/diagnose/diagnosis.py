"""Two checkpoints and a data set to a diagnosis."""

from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.dataset import load_batches, stratified_sample
from indoor.diagnose.causes import find
from indoor.diagnose.layers import PIECE, layer_errors
from indoor.diagnose.records import Diagnosis
from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.hints import command_line
from indoor.machine import read_machine
from indoor.measure.proportions import wilson
from indoor.model import LoadedModel, is_made_from, load_float, open_split, recorded_split
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize import WatchedBatches, load_int8, vnni_supported
from indoor.records import QuantizationConfig

NUM_PHOTOGRAPHS = 16
"""Photographs by default: they take 145 s of one core for a ResNet-50 (DECISIONS.md)."""


def diagnose(
    float32: Path,
    int8: Path,
    root: Path,
    *,
    adopted_from: Path | None = None,
    num_photographs: int = NUM_PHOTOGRAPHS,
    val_fraction: float = 0.15,
    seed: int = 0,
    skip_broken: bool = False,
    progress: Progress = NO_PROGRESS,
) -> Diagnosis:
    """Compare an int8 checkpoint with its float32 original, layer by layer.

    The photographs are of the validation split, as even over the classes as can be: calibration
    did not see them, and the test split is left alone.

    Args:
        float32: A float32 checkpoint.
        int8: What was quantized of it.
        root: The data set that both know.
        adopted_from: The file that became `float32`, from which `int8` may have been made.
        num_photographs: How many, 1 or more; fewer where the split has fewer.
        val_fraction: The share of the train list that is validation, where the checkpoint does not
            say what its training kept out.
        seed: What decides that share, and draws the photographs.
        skip_broken: Leave out photographs that cannot be decoded.
        progress: Hears of the photographs, once a layer.

    Raises:
        IndoorError: A file cannot be used, the int8 was made of another float32, or the data set
            has other classes.
    """
    original, quantized = load_float(float32), load_int8(int8)
    record = quantized.manifest.quantization
    assert record is not None
    _refuse_unpaired(original, quantized, root, adopted_from)
    drawn, (seed, val_fraction) = seed, recorded_split(original.manifest) or (seed, val_fraction)
    val = open_split(
        original.manifest,
        float32,
        root,
        "val",
        val_fraction=val_fraction,
        seed=seed,
        skip_broken=skip_broken,
    )
    chosen = stratified_sample(val.labels, min(num_photographs, len(val)), drawn)
    if not chosen:
        raise IndoorError(
            f"{root} has no validation photographs to diagnose on; expected 1 or more; use more "
            "train photographs"
        )
    watched = WatchedBatches(inputs for inputs, _ in load_batches(val, PIECE, indices=chosen))
    images = torch.cat(list(watched))
    config = record.config
    layers = layer_errors(
        original.model,
        quantized.model,
        images,
        activation_range=config.activation_range,
        equalised=config.equalised,
        progress=progress,
    )
    expected, actual = _logits(original.model, images), _logits(quantized.model, images)
    num_same = int((expected.argmax(1) == actual.argmax(1)).sum())
    return Diagnosis(
        arch=original.manifest.arch,
        data=root.name,
        split="val",
        num_photographs=len(images),
        float32_sha256=original.manifest.content_sha256 or original.sha256,
        int8_sha256=quantized.manifest.content_sha256 or quantized.sha256,
        config=config,
        calibration_input=record.check.calibration_input if record.check else None,
        input=watched.statistics,
        cpu_model=read_machine().cpu_model,
        vnni=vnni_supported(),
        torch_version=str(torch.__version__),
        logit_sqnr_db=sqnr_db(expected, actual),
        agreement=wilson(num_same, len(images)),
        layers=layers,
        findings=find(layers, config),
        notes=_notes(config),
    )


def _refuse_unpaired(
    original: LoadedModel, quantized: LoadedModel, root: Path, adopted_from: Path | None
) -> None:
    """Raise an IndoorError where the int8 network is not one of this float32 network."""
    float32, int8 = original.manifest, quantized.manifest
    if (float32.arch, float32.classes) != (int8.arch, int8.classes):
        found = f"a {int8.arch} of {len(int8.classes)} classes"
    elif is_made_from(int8, float32, original.path, adopted_from) is False:
        found = "made of another float32"
    else:
        return
    raise IndoorError(
        f"{quantized.path} is {found}, expected what was quantized of {original.path}, a "
        f"{float32.arch} of {len(float32.classes)} classes; make it with "
        f"{command_line('quantize', original.path, data=root)}"
    )


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([model(piece) for piece in torch.split(images, PIECE)])


def _notes(config: QuantizationConfig) -> tuple[str, ...]:
    """Return what the figures do not mean, given how int8 was made."""
    if not config.qat_epochs:
        return ()
    return (
        f"The int8 weights were trained for {config.qat_epochs} epochs: by what they differ from "
        "float32's is not their rounding alone.",
    )
