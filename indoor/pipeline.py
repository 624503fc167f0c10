"""From a data set and weights to a float32 and an int8 checkpoint with their accuracies."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import torch
from torch import Tensor

from indoor import places
from indoor.dataset import IndoorScenes, identify, load_batches
from indoor.demo import draw_demo
from indoor.errors import IndoorError
from indoor.evaluate import compare, evaluate, predict
from indoor.files import sha256_of_file, write_text
from indoor.machine import read_machine
from indoor.model import (
    FORMAT,
    WeightsResult,
    load_float,
    read_manifest,
    resolve_weights,
    save_float,
)
from indoor.progress import NO_PROGRESS, Progress
from indoor.quantize import default_config, is_exact, quantize_checkpoint
from indoor.records import (
    CheckpointManifest,
    DataIdentity,
    EvaluationReport,
    Machine,
    QuantizationConfig,
    QuantizationRecord,
    Recipe,
    Split,
    read_record,
    to_json,
    write_record,
)
from indoor.train import fine_tune, is_trained_for
from indoor.transforms import inference_transform
from indoor.variants import VARIANTS, load_variant, native_variants

__all__ = ["EVALUATION_BATCH", "Prepared", "evaluate_run", "prepare"]

PREPARATION = 1
"""Counted up whenever a change of the code makes earlier runs' checkpoints out of date."""

EVALUATION_BATCH = 8
"""Photographs a batch while accuracy is measured.

Logits change in the sixth digit with it. At 16 glibc maps and unmaps every large activation: 28,800
page faults a photograph, and 117 instead of 70 ms on an EPYC with two cores.
"""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run's folder with `float32.safetensors` and `int8.safetensors`, and what they are.

    `notes` says in words what was done, skipped, or is to be kept in mind.
    """

    root: Path
    run_folder: Path
    manifest: CheckpointManifest
    quantization: QuantizationRecord
    report: EvaluationReport
    notes: tuple[str, ...]

    @property
    def data(self) -> DataIdentity:
        """The photographs' identity."""
        return self.report.data

    @property
    def checkpoint_sha256(self) -> dict[str, str]:
        """The SHA-256 of the checkpoints' files, by precision."""
        return self.report.checkpoint_sha256


def prepare(
    root: Path | None,
    weights: Path | None,
    *,
    home: Path,
    arch: str = "resnet50",
    recipe: Recipe = "head",
    seed: int = 0,
    skip_broken: bool = False,
    allow_download: bool = True,
    config: QuantizationConfig | None = None,
    progress: Progress = NO_PROGRESS,
    say: Callable[[str], None] = lambda _: None,
) -> Prepared:
    """Make whatever is missing of a run: drawn data, a fine-tuned head, int8, accuracies.

    What an earlier call made from the same photographs, weights and settings is used again.

    Args:
        root: A data set in MIT Indoor-67's layout; None for the drawn one.
        weights: A checkpoint; None for the first source that answers.
        home: The folder that holds `demo/`, `runs/` and `features/`.
        arch: `resnet18` or `resnet50`.
        recipe: How to fine-tune where the weights' classes are not the data's.
        seed: Decides the drawn photographs' split, the new head and the order of training.
        skip_broken: Leave photographs out that cannot be decoded, and count them.
        allow_download: Whether ImageNet weights may be fetched.
        config: How to quantize; None for this CPU's default.
        progress: Hears of each step's progress.
        say: Hears one line for each step: what was made, skipped or found.

    Returns:
        The run's folder and records.

    Raises:
        IndoorError: The data set or the weights cannot be used, or int8 collapsed.
    """
    job = _Job(
        home=home,
        arch=arch,
        recipe=recipe,
        seed=seed,
        skip_broken=skip_broken,
        machine=read_machine(),
        progress=progress,
        say=say,
    )
    config = config or default_config(seed=seed)
    root = root or job.drawn()
    data = identify(root, seed=seed, skip_broken=skip_broken)
    if data.num_skipped:
        job.note(f"left out {data.num_skipped} photographs that cannot be decoded (--skip-broken)")
    resolved = resolve_weights(weights, arch, allow_download=allow_download, progress=progress)
    for line in resolved.notes:
        job.note(line)
    run_folder = places.runs_folder(home) / job.run_name(data, resolved)
    run_folder.mkdir(parents=True, exist_ok=True)
    with _locked(run_folder):
        manifest = job.float_checkpoint(root, resolved, run_folder)
        quantization = job.int8_checkpoint(root, run_folder, config)
        report = job.evaluation(root, run_folder, data, manifest)
    return Prepared(
        root=root,
        run_folder=run_folder,
        manifest=manifest,
        quantization=quantization,
        report=report,
        notes=tuple(job.notes),
    )


def evaluate_run(
    root: Path,
    run_folder: Path,
    data: DataIdentity,
    manifest: CheckpointManifest,
    machine: Machine,
    *,
    split: Split = "test",
    seed: int = 0,
    skip_broken: bool = False,
    progress: Progress = NO_PROGRESS,
) -> EvaluationReport:
    """Evaluate every variant that a run's folder holds and this CPU computes natively.

    Args:
        root: The data set.
        run_folder: Holds `float32.safetensors` and perhaps `int8.safetensors`.
        data: The data set's identity, for the record.
        manifest: The float32 checkpoint's.
        machine: The machine that computes.
        split: Which photographs; `test` is for final figures only.
        seed: Decides what is validation and what is train.
        skip_broken: Leave photographs out that cannot be decoded.
        progress: Hears of each photograph.

    Returns:
        An evaluation a variant, and each against float32 on the same photographs.
    """
    dataset = IndoorScenes(
        root,
        split,
        inference_transform(manifest.preprocessing),
        seed=seed,
        skip_broken=skip_broken,
    )
    if dataset.classes != manifest.classes:
        raise IndoorError(
            f"{run_folder.name} knows {len(manifest.classes)} classes "
            f"({_first(manifest.classes)}), {root} has {len(dataset.classes)} "
            f"({_first(dataset.classes)}); expected the data set that it was trained on"
        )
    hashes = _checkpoint_hashes(run_folder)
    variants = [
        variant
        for variant in native_variants(bool(machine.bfloat16))
        if variant.checkpoint in hashes
    ]
    logits: dict[str, Tensor] = {}
    labels = torch.empty(0, dtype=torch.int64)
    for variant in variants:
        run = load_variant(VARIANTS[variant.name], run_folder)
        logits[variant.name], labels = predict(
            run,
            load_batches(dataset, EVALUATION_BATCH),
            progress,
            description=f"evaluating {variant.name} on {split}",
            num_photographs=len(dataset),
        )
    return EvaluationReport(
        data=data,
        weights=manifest.weights,
        preprocessing=manifest.preprocessing,
        checkpoint_sha256=hashes,
        cpu_model=machine.cpu_model,
        torch_version=machine.torch,
        evaluations=tuple(
            evaluate(values, labels, dataset.classes, variant=name, split=split)
            for name, values in logits.items()
        ),
        pairs=tuple(
            compare(logits["float32"], values, labels, baseline="float32", candidate=name)
            for name, values in logits.items()
            if name != "float32"
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The settings of one preparation, and its steps; each step reuses what is there."""

    home: Path
    arch: str
    recipe: Recipe
    seed: int
    skip_broken: bool
    machine: Machine
    progress: Progress
    say: Callable[[str], None]
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Keep a line for the caller, and say it now."""
        self.notes.append(line)
        self.say(line)

    def drawn(self) -> Path:
        """Return the drawn data set's folder, drawing it where there is none."""
        root = places.demo_folder(self.home)
        self.home.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            if not root.is_dir():
                draw_demo(root, progress=self.progress)
                self.note("drew indoor scenes (no data set was named): no photographs")
        return root

    def run_name(self, data: DataIdentity, weights: WeightsResult) -> str:
        """Return a folder name that changes with all that decides the float32 checkpoint."""
        key = (PREPARATION, data, weights.source, weights.preprocessing, self.recipe, self.seed)
        return f"{data.name}-{self.arch}-{hashlib.sha256(to_json(key)).hexdigest()[:8]}"

    def float_checkpoint(
        self, root: Path, weights: WeightsResult, run_folder: Path
    ) -> CheckpointManifest:
        """Fine-tune, or take the weights as they are where they know the data's classes."""
        path = run_folder / "float32.safetensors"
        if path.is_file():
            return read_manifest(path)
        classes = IndoorScenes(root, "train", seed=self.seed, skip_broken=self.skip_broken).classes
        if is_trained_for(weights, classes):
            self.note(f"training skipped: {weights.source.name} knows these {len(classes)} classes")
            manifest = CheckpointManifest(
                format=FORMAT,
                arch=self.arch,
                precision="float32",
                classes=classes,
                preprocessing=weights.preprocessing,
                weights=weights.source,
            )
            save_float(path, weights.model, manifest)
            return manifest
        result = fine_tune(
            root,
            weights,
            arch=self.arch,
            recipe=self.recipe,
            out=run_folder,
            features=places.features_folder(self.home),
            seed=self.seed,
            skip_broken=self.skip_broken,
            progress=self.progress,
        )
        best = result.curves.epochs[result.curves.best_epoch - 1]
        self.note(
            f"fine-tuned ({self.recipe}, {len(result.curves.epochs)} epochs): validation accuracy "
            f"{best.val_accuracy:.1%} at epoch {best.epoch}"
        )
        if result.curves.note:
            self.note(result.curves.note)
        return result.manifest

    def int8_checkpoint(
        self, root: Path, run_folder: Path, config: QuantizationConfig
    ) -> QuantizationRecord:
        """Quantize, unless int8 of this float32 checkpoint and these settings is there."""
        out = run_folder / "int8.safetensors"
        source = run_folder / "float32.safetensors"
        stamp = run_folder / "int8.made-of"
        exact = is_exact(config.engine, config.activation_range)
        made_of = f"{sha256_of_file(source)} {to_json((config, exact)).decode()}"
        if out.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == made_of:
            record = read_manifest(out).quantization
            assert record is not None
            return record
        record = quantize_checkpoint(
            load_float(source),
            root,
            config,
            out=out,
            seed=self.seed,
            skip_broken=self.skip_broken,
            progress=self.progress,
        )
        write_text(stamp, made_of)
        assert record.check is not None
        low, high = config.activation_range
        self.note(
            f"quantized to int8 (engine {config.engine}, activations {low}..{high}) on "
            f"{record.check.calibration_input.num_photographs} train photographs"
        )
        return record

    def evaluation(
        self, root: Path, run_folder: Path, data: DataIdentity, manifest: CheckpointManifest
    ) -> EvaluationReport:
        """Evaluate on the test split, once for each pair of checkpoints and kind of machine."""
        path = run_folder / "evaluation.json"
        if path.is_file():
            try:
                known = read_record(path, EvaluationReport)
            except IndoorError as error:
                self.note(f"evaluating again: {error}")
            else:
                here = (_checkpoint_hashes(run_folder), self.machine.cpu_model, self.machine.torch)
                if (known.checkpoint_sha256, known.cpu_model, known.torch_version) == here:
                    return known
        report = evaluate_run(
            root,
            run_folder,
            data,
            manifest,
            self.machine,
            seed=self.seed,
            skip_broken=self.skip_broken,
            progress=self.progress,
        )
        write_record(path, report)
        self.note(
            f"evaluated on {data.num_test} test photographs: "
            + ", ".join(f"{e.variant} {e.top1.value:.2%}" for e in report.evaluations)
        )
        return report


def _locked(path: Path) -> filelock.BaseFileLock:
    """Return a lock that keeps two processes from making the same thing at once."""
    return filelock.FileLock(path.parent / f".{path.name}.lock")


def _first(classes: tuple[str, ...]) -> str:
    """Return the first classes' names, for a message."""
    return ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")


def _checkpoint_hashes(run_folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the checkpoints that are there, by precision."""
    return {
        precision: sha256_of_file(run_folder / f"{precision}.safetensors")
        for precision in ("float32", "int8")
        if (run_folder / f"{precision}.safetensors").is_file()
    }
