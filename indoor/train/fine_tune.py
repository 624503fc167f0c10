"""From a data set and weights to a fine-tuned float32 checkpoint, whatever interrupts it."""

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from indoor.dataset import IndoorScenes, identify
from indoor.devices import autocast_dtype, choose_device, use_threads
from indoor.errors import IndoorError
from indoor.files import check_writable, remove_leftovers
from indoor.locks import locked
from indoor.model import (
    FORMAT,
    WeightsResult,
    read_manifest,
    record_provenance,
    recorded_split,
    refuse_other_seed,
    replace_head,
    save_float,
)
from indoor.model.imagenet import smallest_size
from indoor.process_group import after_first, from_first, held_by_first, require_shared
from indoor.progress import NO_PROGRESS, Progress
from indoor.ranks import ALONE, Ranks
from indoor.records import (
    CheckpointManifest,
    DataIdentity,
    Recipe,
    Split,
    TrainingCurves,
    read_record,
    write_record,
)
from indoor.train.full import FULL_BATCH, FULL_EPOCHS, MINIMUM_SIZE
from indoor.train.head import HEAD_BATCH, HEAD_EPOCHS
from indoor.train.recipes import Plan, start_full, start_head
from indoor.train.scratch import SCRATCH_SIZE, zero_residuals

CURVES = "curves.json"
"""The history of the epochs, beside the checkpoint."""
_CHECKPOINT = "float32.safetensors"

MINIMUM_BATCH: dict[Recipe, int] = {"head": 1, "full": 2}
"""Photographs a step: a batch norm cannot train on one."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished fine-tuning: the checkpoint at `path`, what it says of itself, its curves."""

    manifest: CheckpointManifest
    curves: TrainingCurves
    path: Path


def is_trained_for(weights: WeightsResult, classes: Sequence[str]) -> bool:
    """Return whether the weights' own last layer knows these classes, in this order."""
    return weights.classes is not None and tuple(weights.classes) == tuple(classes)


def fine_tune(
    root: Path,
    weights: WeightsResult,
    *,
    arch: str,
    recipe: Recipe,
    out: Path,
    features: Path | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    size: int | None = None,
    seed: int | None = None,
    val_fraction: float = 0.15,
    skip_broken: bool = False,
    shards_at_once: int | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    freezes_batch_norm: bool = False,
    run: str | None = None,
    ranks: Ranks = ALONE,
    progress: Progress = NO_PROGRESS,
    say: Callable[[str], None] = lambda _: None,
) -> TrainResult:
    """Fine-tune and write `out/float32.safetensors` and `out/curves.json`.

    A run that was killed goes on from `out/.resume` when it is called again with the same
    arguments, and writes the same checkpoint, byte for byte (CPU, same threads, same ranks); on
    other threads or ranks it goes on, too, to one that differs by rounding. Called with other
    arguments it begins anew. The test list is never read.

    Several ranks share the photographs of features, steps and validation; all see `out` and
    `features`, and the first alone writes there. The head on cached features is the first one's.

    The head that the weights came with is kept where it knows the data's classes. With random
    weights (`none`) the `head` recipe first trains the backbone briefly, and standardises its
    features; shift and scale end up in the head, so the checkpoint is a plain network.

    Args:
        root: The data set.
        weights: The network to begin with.
        arch: Its architecture.
        recipe: `head` trains the last layer alone, `full` everything.
        out: The run's folder; it is made.
        features: The folder of cached features; None for `features` beside the folder of runs.
        epochs: Passes over the train photographs; None for the recipe's 20.
        batch: Photographs a step, of all ranks together: 1 or more, `full` 2; None for the
            recipe's. Learning rates stay as they are.
        size: `full` only: side of the training views in pixels, 32 or more (Inception: 75); None
            for full size.
        seed: Decides which photographs are validation, new head, order and views; None for that
            of the weights' own training on these photographs, else 0.
        val_fraction: The share of the train list that chooses the epoch; weights that were trained
            on these photographs keep their own.
        skip_broken: Leave photographs out that cannot be decoded.
        shards_at_once: `full` only: of train photographs in shards, how many shards are read at the
            same time; None for any order, as from a folder.
        device: `auto`, `cuda`, `mps` or `cpu`.
        num_threads: Threads to compute on; None: as many as torch has, within a quota.
        freezes_batch_norm: `full` only: batch norms keep the weights' statistics. Ranks on CPUs
            (gloo) always do, since torch synchronises statistics on GPUs alone.
        run: `Provenance.run` of the checkpoint.
        ranks: The job's (`process_group.joined`).
        progress: Hears of each step.
        say: Hears for whom there is to wait.

    Returns:
        The checkpoint of the best epoch by validation, and the curves.

    Raises:
        IndoorError: The data cannot be used, the device is not there, `out` cannot be written,
            holds a finished training of something else or another process is writing to it; the
            weights were trained on these photographs with another seed; batch norms of random
            weights are to be frozen; or the ranks do not see the same files.
        ValueError: `epochs`, `batch` or `size` is out of its range.
    """
    if epochs is not None and epochs < 1:
        raise ValueError(f"epochs is {epochs}, expected 1 or more")
    if recipe not in get_args(Recipe):
        raise ValueError(f"recipe is {recipe!r}, expected one of {', '.join(get_args(Recipe))}")
    if batch is not None and batch < MINIMUM_BATCH[recipe]:
        raise ValueError(
            f"batch is {batch}, expected {MINIMUM_BATCH[recipe]} or more with the recipe {recipe}"
        )
    least = max(MINIMUM_SIZE, smallest_size(arch))
    if size is not None and (recipe == "head" or size < least):
        raise ValueError(
            f"size is {size}, expected {least} or more and the recipe full, not {recipe}"
        )
    if freezes_batch_norm and recipe == "head":
        raise ValueError("freezes_batch_norm is of the recipe full, not head, which trains none")
    default_batch = HEAD_BATCH if recipe == "head" else FULL_BATCH
    chosen = choose_device(device)
    alone = locked(
        out / ".train.lock",
        "another training",
        wait_s=0,
        busy=f"another process is training into {out}; wait for it, or choose another --name",
    )
    is_frozen = recipe == "full" and (freezes_batch_norm or ranks.backend == "gloo")
    if is_frozen and weights.source.kind == "none":
        raise IndoorError(
            "random weights with the recipe full and frozen batch norms: they have no statistics "
            "to keep; expected weights that were trained; name a file with --weights, train in one "
            "process without --freeze-batch-norm, or take --recipe head"
        )
    if is_frozen and not freezes_batch_norm:
        say(
            "among processes on CPUs batch norms keep the weights' statistics, which torch "
            "synchronises on GPUs alone; one process does the same with --freeze-batch-norm"
        )
    with held_by_first(ranks, alone), use_threads(num_threads):
        from_first(ranks, lambda: check_writable(out))
        require_shared(ranks, out)

        @functools.cache
        def look() -> DataIdentity:
            return identify(root, test=False, skip_broken=skip_broken)

        kept_out = from_first(ranks, lambda: _kept_out(weights, look))
        if kept_out is not None:
            refuse_other_seed(weights.source.name, seed, kept_out[0])
            val_fraction = kept_out[1]
        drawn = kept_out[0] if kept_out is not None else seed or 0

        def split(name: Split) -> IndoorScenes:
            return IndoorScenes(
                root, name, val_fraction=val_fraction, seed=drawn, skip_broken=skip_broken
            )

        train, val = after_first(ranks, lambda: (split("train"), split("val")))
        known = is_trained_for(weights, train.classes)
        start = weights.model if known else replace_head(weights.model, len(train.classes), drawn)
        if weights.source.kind == "none":
            start = zero_residuals(start)
        plan = Plan(
            weights=weights,
            start=start,
            train=train,
            val=val,
            epochs=epochs or (HEAD_EPOCHS if recipe == "head" else FULL_EPOCHS),
            batch=batch or default_batch,
            size=size,
            scratch_size=max(SCRATCH_SIZE, least),
            seed=drawn,
            device=chosen,
            settings={
                "device": chosen.type,
                "threads": torch.get_num_threads(),
                "autocast": str(autocast_dtype(chosen) if recipe == "full" else None),
                "val_fraction": val_fraction,
                **({"batch": batch} if batch not in (None, default_batch) else {}),
                **({"shards_at_once": shards_at_once} if shards_at_once else {}),
                **({"ranks": ranks.size} if ranks.backend and recipe == "full" else {}),
            },
            freezes_batch_norm=is_frozen,
            shards_at_once=shards_at_once,
            resume=out / ".resume",
            cache=features or out.parent.parent / "features",
            ranks=ranks,
            progress=progress,
            say=say,
        )
        plan.require_same()
        path = out / _CHECKPOINT
        from_first(ranks, lambda: _refuse_another(path, plan, arch, recipe, run, look))
        from_first(ranks, lambda: _make_room(plan.resume, out))
        plan.tell_of_another(recipe)
        finish = start_head(plan) if recipe == "head" else start_full(plan)

        def write() -> TrainResult:
            model, curves = finish()
            data = identify(
                root, val_fraction=val_fraction, seed=drawn, test=False, skip_broken=skip_broken
            )
            best = curves.best
            manifest = CheckpointManifest(
                format=FORMAT,
                arch=arch,
                precision="float32",
                classes=train.classes,
                preprocessing=weights.preprocessing,
                weights=weights.source,
                epoch=best.epoch,
                metrics={
                    name: getattr(best, name)
                    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
                },
                provenance=record_provenance(
                    {"weights": weights.source.sha256} if weights.source.sha256 else {},
                    data,
                    device=chosen.type,
                    recipe=recipe,
                    settings=curves.settings | {"epochs": plan.epochs},
                    run=run,
                ),
            )
            # The checkpoint last: where it is, the curves are too.
            write_record(out / CURVES, curves)
            manifest = save_float(path, model, manifest)
            shutil.rmtree(plan.resume)
            return TrainResult(manifest=manifest, curves=curves, path=path)

        return after_first(ranks, write, lambda: _read(out))


def _kept_out(weights: WeightsResult, look: Callable[[], DataIdentity]) -> tuple[int, float] | None:
    """Return seed and share of what the weights' own training on these photographs kept out."""
    origin = weights.provenance
    if origin is None or origin.data is None or origin.data.sha256 != look().sha256:
        return None
    return recorded_split(weights)


def _refuse_another(
    path: Path,
    plan: Plan,
    arch: str,
    recipe: Recipe,
    run: str | None,
    look: Callable[[], DataIdentity],
) -> None:
    """Raise an IndoorError where a finished training lies there that this one would not repeat."""
    if not path.is_file():
        return
    try:
        there = read_manifest(path)
    except IndoorError:
        there = None
    origin = there.provenance if there is not None else None
    if there is None or origin is None:
        differing = ["of a training that is not recorded"]
    else:
        data, wanted = origin.data, look()
        named = {
            "recipe": (origin.recipe, recipe),
            "network": (there.arch, arch),
            "epochs": (origin.settings.get("epochs"), plan.epochs),
        }
        same = {
            "of other weights": there.weights.identity == plan.weights.source.identity,
            "of other photographs": data is not None
            and (data.sha256, data.num_skipped) == (wanted.sha256, wanted.num_skipped),
            "with another transform": there.preprocessing == plan.weights.preprocessing,
            "made by another command": origin.run == run,
        }
        differing = [
            *(f"{name} {old}, not {new}" for name, (old, new) in named.items() if old != new),
            *plan.differences(recipe, origin.settings),
            *(what for what, is_same in same.items() if not is_same),
        ]
    if differing:
        raise IndoorError(
            f"{path} is a finished network that this training would replace by another one "
            f"({', '.join(differing)}); expected a folder without one, or the same training again; "
            "choose another --name, or move the file away"
        )


def _make_room(resume: Path, out: Path) -> None:
    resume.mkdir(exist_ok=True)
    remove_leftovers(resume)
    remove_leftovers(out)


def _read(out: Path) -> TrainResult:
    """Return what the first rank wrote."""
    path = out / _CHECKPOINT
    curves = read_record(out / CURVES, TrainingCurves)
    return TrainResult(manifest=read_manifest(path), curves=curves, path=path)
