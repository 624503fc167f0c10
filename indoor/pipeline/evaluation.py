"""The accuracies of every variant that a run's folder holds."""

from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from indoor.dataset import IndoorScenes, load_batches
from indoor.errors import IndoorError
from indoor.evaluate import compare, evaluate, predict
from indoor.files import sha256_of_file
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import (
    CheckpointManifest,
    DataIdentity,
    EvaluationReport,
    Machine,
    Split,
)
from indoor.runtimes import all_variants, baseline, load_variant, native_variants
from indoor.transforms import inference_transform

EVALUATION_BATCH = 8
"""Photographs a batch while accuracy is measured.

Logits change in the sixth digit with it. At 16 glibc maps and unmaps every large activation: 28,800
page faults a photograph, and 117 instead of 70 ms on an EPYC with two cores.
"""


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
    device: str = "cpu",
    progress: Progress = NO_PROGRESS,
) -> EvaluationReport:
    """Evaluate every variant that a run's folder holds and this machine computes natively.

    Args:
        root: The data set.
        run_folder: Holds `float32.safetensors` and perhaps `int8.safetensors`.
        data: The data set's identity, for the record.
        manifest: The float32 checkpoint's.
        machine: The machine that computes.
        split: Which photographs; `test` is for final figures only.
        seed: Decides what is validation and what is train.
        skip_broken: Leave photographs out that cannot be decoded.
        device: Where to compute, such as `cpu`.
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
    hashes = checkpoint_hashes(run_folder)
    variants = [variant for variant in native_variants(device) if variant.checkpoint in hashes]
    first = baseline().name
    logits: dict[str, Tensor] = {}
    labels = torch.empty(0, dtype=torch.int64)
    left_out: dict[str, str] = {}
    for variant in variants:
        try:
            with closing(load_variant(variant, run_folder, EVALUATION_BATCH)) as run:
                logits[variant.name], labels = predict(
                    run.logits,
                    load_batches(dataset, EVALUATION_BATCH),
                    progress,
                    description=f"evaluating {variant.name} on {split}",
                    num_photographs=len(dataset),
                )
        except IndoorError as error:
            if not variant.own_process:
                raise
            left_out[variant.name] = str(error)  # the others' accuracies are known without it
    return EvaluationReport(
        data=data,
        weights=manifest.weights,
        preprocessing=manifest.preprocessing,
        checkpoint_sha256=hashes,
        cpu_model=machine.cpu_model,
        torch_version=machine.torch,
        device=device,
        left_out=left_out,
        evaluations=tuple(
            evaluate(values, labels, dataset.classes, variant=name, split=split)
            for name, values in logits.items()
        ),
        pairs=tuple(
            compare(logits[first], values, labels, baseline=first, candidate=name)
            for name, values in logits.items()
            if name != first
        ),
    )


def _first(classes: tuple[str, ...]) -> str:
    """Return the first classes' names, for a message."""
    return ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")


def checkpoint_hashes(run_folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the checkpoints that are there, by precision."""
    return {
        precision: sha256_of_file(run_folder / f"{precision}.safetensors")
        for precision in sorted({variant.checkpoint for variant in all_variants().values()})
        if (run_folder / f"{precision}.safetensors").is_file()
    }
