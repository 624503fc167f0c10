"""A float32 checkpoint and a data set to a calibrated, checked int8 checkpoint."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.dataset import IndoorScenes, identify, load_batches, stratified_sample
from indoor.evaluate import OtherLogitsError
from indoor.machine import read_machine
from indoor.model import (
    FORMAT,
    LoadedModel,
    fuse,
    load_float,
    open_split,
    record_provenance,
    recorded_split,
)
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize.checkpoints import save_int8
from indoor.quantize.collapse import WatchedBatches, check, refuse_collapse
from indoor.quantize.config import default_config, validate_config
from indoor.quantize.conversion import count_quantized_modules, quantize
from indoor.quantize.engines import is_exact, vnni_supported
from indoor.records import QuantizationCheck, QuantizationConfig, QuantizationRecord, Split

NUM_CHECK = 128
"""Photographs of the validation split that a check looks at, where there are as many."""


def quantize_checkpoint(
    checkpoint: LoadedModel | Path | str,
    root: Path | str,
    config: QuantizationConfig | None = None,
    *,
    out: Path | str,
    force: bool = False,
    skip_broken: bool = False,
    val_fraction: float = 0.15,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> QuantizationRecord:
    """Quantize a float32 checkpoint on a data set's photographs, check it, and write it.

    Calibration sees a sample of the train split, as even over the classes as can be and in a
    random order; the check sees photographs of the validation split, which calibration never
    does. Both pass through the checkpoint's own transform of inference, nothing else.

    Args:
        checkpoint: A float32 checkpoint: its file, or what `load_float` made of it, whose model is
            not changed.
        root: The data set that it was trained on.
        config: How to quantize; None for this CPU's default. If `num_calibration` is more than
            the train split holds, all of it is used; `check.calibration_input` in the record
            counts what was.
        out: The file to write, usually `int8.safetensors` beside the float32 one.
        force: Write a model that collapsed, too; the record says so.
        skip_broken: Leave out photographs that cannot be decoded.
        val_fraction: The share of the train list that is validation, in 0..1, where the checkpoint
            does not say what its own training kept out.
        seed: What decides that share, in the same case.
        progress: Hears of each batch.

    Returns:
        The record that stands in the checkpoint: configuration, the SHA-256 over the names of the
        calibration list in order, the CPU, and the check.

    Raises:
        CollapseError: The int8 model does not do what the float32 one does, and `force` is not
            set; nothing is written.
        IndoorError: The data set, its classes or the configuration cannot be used, or the file
            cannot be written.
    """
    root, out, config = Path(root), Path(out), config or default_config()
    validate_config(config)
    loaded = checkpoint if isinstance(checkpoint, LoadedModel) else load_float(checkpoint)
    source = loaded.manifest
    made_from = {"float32": source.content_sha256 or loaded.sha256}
    seed, val_fraction = recorded_split(source) or (seed, val_fraction)

    def opened(split: Split) -> IndoorScenes:
        return open_split(
            source,
            loaded.path,
            root,
            split,
            val_fraction=val_fraction,
            seed=seed,
            skip_broken=skip_broken,
        )

    train, val = opened("train"), opened("val")
    chosen = stratified_sample(train.labels, min(config.num_calibration, len(train)), config.seed)
    kept_out = stratified_sample(val.labels, min(NUM_CHECK, len(val)), config.seed)
    calibration = WatchedBatches(
        _inputs(train, chosen, config.batch, "calibrating on train photographs", progress)
    )
    int8_model = quantize(loaded.model, config, calibration)

    def compared(quick: nn.Module | None) -> QuantizationCheck:
        return check(
            loaded.model,
            int8_model,
            _inputs(val, kept_out, config.batch, "checking int8 against float32", progress),
            calibration.statistics,
            quick=quick,
        )

    try:
        checked = compared(fuse(loaded.model))
    except OtherLogitsError:  # here the quick form computes something else
        checked = compared(None)
    if not force:
        refuse_collapse(checked)
    record = QuantizationRecord(
        config=config,
        calibration_sha256=_hash_names([train.samples[index].name for index in chosen]),
        num_quantized_modules=count_quantized_modules(int8_model),
        cpu_model=read_machine().cpu_model,
        vnni=vnni_supported(),
        torch_version=str(torch.__version__),
        forced=bool(checked.findings),
        check=checked,
        exact=is_exact(config.engine, config.activation_range),
    )
    # The float32 model's metrics are not this model's; its own stand in the check.
    manifest = dataclasses.replace(
        source,
        format=FORMAT,
        precision="int8",
        metrics={},
        quantization=record,
        provenance=record_provenance(
            made_from,
            identify(
                root, val_fraction=val_fraction, seed=seed, test=False, skip_broken=skip_broken
            ),
            recipe=source.provenance.recipe if source.provenance else None,
        ),
    )
    save_int8(out, int8_model, manifest)
    return record


def _inputs(
    dataset: IndoorScenes,
    indices: Sequence[int],
    batch: int,
    description: str,
    progress: Progress,
) -> Iterator[Tensor]:
    """Yield the chosen photographs as batches float32 `(B, 3, H, W)`."""
    progress.start(description, len(indices))
    try:
        for photographs, _ in load_batches(dataset, batch, indices=indices):
            yield photographs
            progress.advance(len(photographs))
    finally:
        progress.finish()


def _hash_names(names: Sequence[str]) -> str:
    """Return the SHA-256 of the names, one a line, in the order of calibration."""
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode("utf-8")).hexdigest()
