"""The accuracies of every variant that a run's folder holds."""

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from indoor import places
from indoor.dataset import IndoorScenes, identify, load_batches
from indoor.devices import CPU_BATCH, choose_device, forward_batch
from indoor.errors import IndoorError
from indoor.evaluate import evaluate, find_wrong_order
from indoor.files import remembered_sha256
from indoor.machine import read_machine
from indoor.measure.proof import Proof
from indoor.model import (
    describe_pair,
    open_split,
    read_manifest,
    recorded_split,
    refuse_other_seed,
    unknown_split,
)
from indoor.pipeline.predictions import pair, predictions
from indoor.process_group import after_first, from_first, require_same, together
from indoor.progress import NO_PROGRESS, Progress
from indoor.ranks import ALONE, Ranks
from indoor.records import Evaluation, EvaluationReport, Machine, Split, Variant
from indoor.runtimes import (
    Loaded,
    all_variants,
    baseline,
    libraries_of,
    load_variant,
    native_variants,
    plain_variants,
)
from indoor.runtimes.proof import prove

EVALUATION_BATCH = CPU_BATCH
"""Photographs a batch while accuracy is measured on a CPU, and by what takes one number alone.

Logits change in the sixth digit with it. At 16 an EPYC with two cores took 117 ms instead of 70.
"""


def evaluate_run(
    root: Path | str,
    run_folder: Path | str,
    machine: Machine | None = None,
    *,
    split: Split = "test",
    seed: int | None = None,
    skip_broken: bool = False,
    device: str = "cpu",
    variants: Collection[str] | None = None,
    static_batch: int = EVALUATION_BATCH,
    ranks: Ranks = ALONE,
    progress: Progress = NO_PROGRESS,
    say: Callable[[str], None] = lambda _: None,
    hear: Callable[[IndoorScenes, Mapping[str, Tensor]], None] = lambda *_: None,
) -> EvaluationReport:
    """Evaluate variants that a run's folder holds and this machine computes natively.

    An int8 that was made from another float32, or that does not compute in int8, is left out, and
    `left_out` says so. The baseline's logits come from its quick form (`model.fuse`), but for the
    photographs on which that is tried and those that are a near tie (`evaluate.Exact`): its answers
    are those of the baseline. `notes` say so.

    Args:
        root: The data set.
        run_folder: Holds `float32.safetensors` and perhaps `int8.safetensors`.
        machine: The machine that computes; None to read it now.
        split: Which photographs; `test` is for final figures only.
        seed: Decides what is validation where the checkpoint does not say it; None for 0.
        skip_broken: Leave photographs out that cannot be decoded.
        device: Where to compute, such as `cpu`.
        variants: Which, beside the baseline; None for the eager ones (`plain_variants`).
        static_batch: What a variant is loaded for that takes one number of photographs alone: one
            that it has an artefact for, so that none is built for this.
        ranks: Each computes the batches that fall to it, all of them return the same report. They
            see the run's folder and the data set.
        progress: Hears of each photograph.
        say: Hears what is to be said of artefacts, such as why one was made again.
        hear: Hears the photographs and each variant's logits `(N, C)` on them, by its name.

    Returns:
        An evaluation a variant, and each against float32 on the same photographs.

    Raises:
        IndoorError: The run was trained with another seed, on other classes or, where validation
            is asked for, on other photographs; its outputs are in another order than the classes;
            or a file or the device cannot be used.
        ValueError: A split that does not exist.
    """
    root, run_folder, machine = Path(root), Path(run_folder), machine or read_machine()
    device = choose_device(device).type
    source = run_folder / places.FLOAT32
    manifest = read_manifest(source)
    notes: list[str] = []
    recorded = recorded_split(manifest)
    if recorded is None:
        recorded = (seed or 0, 0.15)
        if split == "val":
            notes.append(unknown_split(manifest, source, recorded[0]))
    else:
        refuse_other_seed(run_folder.name, seed, recorded[0])
    how: dict[str, Any] = {
        "seed": recorded[0],
        "val_fraction": recorded[1],
        "skip_broken": skip_broken,
    }
    dataset = after_first(ranks, lambda: open_split(manifest, source, root, split, **how))
    trained_on = manifest.provenance.data if manifest.provenance else None
    here = from_first(ranks, lambda: identify(root, test=False, **how)) if split == "val" else None
    if trained_on and here and trained_on.sha256 != here.sha256:
        raise IndoorError(
            f"{run_folder.name} was trained on other train photographs than {root} holds, so which "
            "of these it never saw is not known; expected the data set that it was trained on; "
            "take --split test"
        )
    hashes = checkpoint_hashes(run_folder)
    first, source_name = baseline().name, baseline().checkpoint
    unpaired: dict[str, str] = {}
    for name in [name for name in hashes if name != source_name]:
        may_be_paired, line = describe_pair(run_folder, name, root=root)
        if not may_be_paired:
            unpaired[name] = line
        elif line:
            notes.append(line)
    asked = [v for v in wanted_variants(variants, device) if v.checkpoint in hashes]
    found = (hashes, list(dataset.labels), [v.name for v in asked])
    require_same(ranks, "checkpoints, photographs or runtimes", found)
    logits: dict[str, Tensor] = {}
    own: Tensor | None = None  # of which photographs the baseline's logits are its own bits
    evaluations: list[Evaluation] = []
    labels = torch.empty(0, dtype=torch.int64)
    left_out = {v.name: unpaired[v.checkpoint] for v in asked if v.checkpoint in unpaired}
    for variant in asked:
        if variant.name in left_out:
            continue
        batch = static_batch if variant.static_batch else forward_batch(device)
        try:
            with ExitStack() as stack:
                run = together(ranks, partial(_load, stack, variant, run_folder, batch))
                for line in run.notes:
                    say(line)
                proof = together(ranks, partial(_prove, run, dataset, batch))
                if proof.is_otherwise:
                    notes.append(f"{variant.name} computed in {proof.words}")
                is_quick = variant.name == first and device == "cpu"
                made = predictions(
                    run, source if is_quick else None, dataset, batch, split, progress, ranks
                )
            values, labels = made.logits, made.labels
            evaluations.append(
                evaluate(values, labels, dataset.classes, variant=variant.name, split=split)
            )
            logits[variant.name] = values
            notes += made.notes
            if variant.name == first:
                own = made.own
                _refuse_wrong_order(values, labels, source, root, dataset.classes)
        except IndoorError as error:
            if variant.runtime == baseline().runtime and not variant.own_process:
                raise
            left_out[variant.name] = str(error)  # the others' accuracies are known without it
    together(ranks, lambda: refuse_changed(run_folder, hashes))
    hear(dataset, logits)
    known = all_variants(device)
    return EvaluationReport(
        data=from_first(ranks, lambda: identify(root, **how)),
        weights=manifest.weights,
        preprocessing=manifest.preprocessing,
        checkpoint_sha256=hashes,
        cpu_model=machine.cpu_model,
        torch_version=machine.torch,
        device=device,
        left_out=left_out,
        libraries={e.variant: libraries_of(known[e.variant]) for e in evaluations},
        evaluations=tuple(evaluations),
        pairs=tuple(
            pair(known[name], logits[first], values, labels, own)
            for name, values in logits.items()
            if name != first
        ),
        notes=tuple(notes),
    )


def wanted_variants(names: Collection[str] | None, device: str) -> tuple[Variant, ...]:
    """Return what is evaluated where these are asked for, as for `evaluate_run`."""
    native = native_variants(device)
    if names is None:
        return plain_variants(native)
    return tuple(v for v in native if v.name in names or v.role == "baseline")


def _load(stack: ExitStack, variant: Variant, run_folder: Path, batch: int) -> Loaded:
    return stack.enter_context(closing(load_variant(variant, run_folder, batch)))


def _prove(run: Loaded, dataset: IndoorScenes, batch: int) -> Proof:
    photographs = _first_photographs(dataset, batch)
    run.logits(photographs)  # a crash in a call is told as one
    return prove(run, photographs)[1]


def _first_photographs(dataset: IndoorScenes, count: int) -> Tensor:
    """Return float32 `(B, 3, H, W)`, fewer where there are not as many."""
    images, _ = next(load_batches(dataset, count, indices=range(min(count, len(dataset)))))
    return images


def _refuse_wrong_order(
    logits: Tensor, labels: Tensor, path: Path, root: Path, classes: tuple[str, ...]
) -> None:
    """Raise an IndoorError where the outputs are shown to be for the classes in another order."""
    found = find_wrong_order(logits.argmax(dim=1), labels, len(classes))
    if found is None:
        return
    first = [f"{classes[output]!r} for {classes[label]!r}" for output, label in found.moved[:3]]
    more = len(found.moved) - len(first)
    raise IndoorError(
        f"{path} has its outputs in another order than the classes of {root}: as they stand "
        f"{found.as_it_stands:.1%} of {len(labels):,} photographs are right, and "
        f"{found.repaired:.1%} in the order that half of them show and the other half confirms; it "
        f"answers {', '.join(first)}{f' and {more} more so' if more > 0 else ''}; expected an "
        "output for each class, in the order of its class names; save it again with its names in "
        "the order of its outputs, beside the state dict as 'classes'"
    )


def refuse_changed(run_folder: Path, hashes: dict[str, str]) -> None:
    """Raise an IndoorError where the run's checkpoints are not those of the hashes any more.

    Figures that were taken meanwhile could be of one float32 and of an int8 of another.
    """
    if checkpoint_hashes(run_folder) != hashes:
        raise IndoorError(
            f"{run_folder}: a checkpoint changed while it was evaluated or measured, so its "
            "figures could be of two networks; expected no train or quantize into it at that "
            "time; start again once they have ended"
        )


def checkpoint_hashes(run_folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the checkpoints that are there, by precision."""
    return {
        precision: remembered_sha256(run_folder / f"{precision}.safetensors")
        for precision in sorted({variant.checkpoint for variant in all_variants().values()})
        if (run_folder / f"{precision}.safetensors").is_file()
    }
