"""A float32 checkpoint and a data set to a calibrated, checked int8 checkpoint."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    share_of_layers,
)
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize.checkpoints import save_int8
from indoor.quantize.collapse import WatchedBatches, check, refuse_collapse
from indoor.quantize.config import default_config, validate_config
from indoor.quantize.conversion import count_quantized_modules, quantize
from indoor.quantize.engines import is_exact, vnni_supported
from indoor.quantize.qat import Training
from indoor.quantize.rounding import Roundings
from indoor.records import (
    CheckpointManifest,
    DataIdentity,
    InputStatistics,
    QuantizationCheck,
    QuantizationConfig,
    QuantizationRecord,
    Split,
)
from indoor.train.head import epoch_order

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
    config = config or default_config()
    validate_config(config)
    source = open_source(
        checkpoint, root, val_fraction=val_fraction, seed=seed, skip_broken=skip_broken
    )
    made = make_int8(source, config, progress=progress)
    kept_out = stratified_sample(source.val.labels, min(NUM_CHECK, len(source.val)), config.seed)

    def compared(quick: nn.Module | None) -> QuantizationCheck:
        return check(
            source.model,
            made.model,
            _inputs(source.val, kept_out, config.batch, "checking int8 against float32", progress),
            made.seen,
            quick=quick,
        )

    try:
        checked = compared(fuse(source.model))
    except OtherLogitsError:  # here the quick form computes something else
        checked = compared(None)
    if not force:
        refuse_collapse(checked)
    return write_int8(Path(out), source, made, checked)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A float32 checkpoint with the photographs that int8 is made of and tried on.

    `data` is the identity of the train list's photographs. Calibration and training see the first
    `num_tuned` photographs of one order of `train` at most (`tuned`); None: all of them.
    """

    manifest: CheckpointManifest
    model: nn.Module
    made_from: dict[str, str]
    train: IndoorScenes
    val: IndoorScenes
    data: DataIdentity
    num_tuned: int | None = None

    def tuned(self, count: int, seed: int) -> tuple[int, ...]:
        """Return so many train photographs, or as many as may be tuned on, the same ones first."""
        limit = len(self.train) if self.num_tuned is None else self.num_tuned
        return stratified_sample(self.train.labels, min(count, limit, len(self.train)), seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """An int8 network with its configuration, what its calibration saw, and the list's hash."""

    model: nn.Module
    config: QuantizationConfig
    seen: InputStatistics
    calibration_sha256: str


def open_source(
    checkpoint: LoadedModel | Path | str,
    root: Path | str,
    *,
    val_fraction: float = 0.15,
    seed: int = 0,
    skip_broken: bool = False,
) -> Source:
    """Return a float32 checkpoint and its photographs; arguments as for `quantize_checkpoint`.

    Raises:
        IndoorError: The checkpoint, the data set or its classes cannot be used.
    """
    root = Path(root)
    loaded = checkpoint if isinstance(checkpoint, LoadedModel) else load_float(checkpoint)
    source = loaded.manifest
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

    return Source(
        manifest=source,
        model=loaded.model,
        made_from={"float32": source.content_sha256 or loaded.sha256},
        train=opened("train"),
        val=opened("val"),
        data=identify(
            root, val_fraction=val_fraction, seed=seed, test=False, skip_broken=skip_broken
        ),
    )


def make_int8(
    source: Source,
    config: QuantizationConfig,
    *,
    limited: Callable[[Iterator[Tensor]], Iterator[Tensor]] = iter,
    roundings: Roundings | None = None,
    progress: Progress = NO_PROGRESS,
) -> Made:
    """Return an int8 network made of a source as a configuration says.

    Args:
        source: Its model is not changed.
        config: How.
        limited: Passes batches of calibration and training on; it may end them early, or raise.
        roundings: As `quantize`, for calls with one number of photographs or one of at least 64.
        progress: Hears of each batch.

    Raises:
        IndoorError: As `quantize`.
    """
    train = source.train
    chosen = source.tuned(config.num_calibration, config.seed)
    calibration = WatchedBatches(
        limited(_inputs(train, chosen, config.batch, "calibrating on train photographs", progress))
    )
    training = None
    if config.qat_epochs:
        photographs = source.tuned(len(train), config.seed)

        def batches(epoch: int) -> Iterator[Tensor]:
            order = epoch_order(len(photographs), config.seed, epoch).tolist()
            indices = [photographs[place] for place in order]
            return limited(
                images for images, _ in load_batches(train, config.batch, indices=indices)
            )

        training = Training(len(photographs), batches)
    model = quantize(
        source.model,
        config,
        calibration,
        training=training,
        roundings=roundings,
        progress=progress,
    )
    seen = calibration.statistics
    names = [train.samples[index].name for index in chosen[: seen.num_photographs]]
    return Made(model=model, config=config, seen=seen, calibration_sha256=_hash_names(names))


def write_int8(
    out: Path, source: Source, made: Made, checked: QuantizationCheck
) -> QuantizationRecord:
    """Write an int8 checkpoint, whole or not at all, and return the record that stands in it.

    Raises:
        IndoorError: The file cannot be written.
    """
    config, about = made.config, source.manifest
    size, num_classes = about.preprocessing.size, len(about.classes)
    record = QuantizationRecord(
        config=config,
        calibration_sha256=made.calibration_sha256,
        num_quantized_modules=count_quantized_modules(made.model),
        cpu_model=read_machine().cpu_model,
        vnni=vnni_supported(),
        torch_version=str(torch.__version__),
        forced=bool(checked.findings),
        check=checked,
        exact=is_exact(config.engine, config.activation_range),
        float_share=share_of_layers(about.arch, num_classes, size, config.float_layers),
    )
    origin = source.manifest.provenance
    # The float32 model's metrics are not this model's; its own stand in the check.
    manifest = dataclasses.replace(
        source.manifest,
        format=FORMAT,
        precision="int8",
        metrics={},
        quantization=record,
        provenance=record_provenance(
            source.made_from, source.data, recipe=origin.recipe if origin else None
        ),
    )
    save_int8(out, made.model, manifest)
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
