"""From a data set and weights to a fine-tuned float32 checkpoint, whatever interrupts it."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from indoor.dataset import IndoorScenes, identify, sample_sha256
from indoor.devices import autocast_dtype, choose_device, use_threads
from indoor.files import check_writable, remove_leftovers
from indoor.locks import locked
from indoor.model import (
    FORMAT,
    WeightsResult,
    hash_tensors,
    head_of,
    record_provenance,
    replace_head,
    save_float,
)
from indoor.model.imagenet import smallest_size
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import CheckpointManifest, Recipe, TrainingCurves, to_json, write_record
from indoor.train.features import read_features
from indoor.train.full import (
    FULL_BACKBONE_FACTOR,
    FULL_EPOCHS,
    MINIMUM_SIZE,
    train_full,
)
from indoor.train.head import HEAD_EPOCHS, train_head
from indoor.train.resume_state import State, read_state, write_state
from indoor.train.scratch import (
    SCRATCH_EPOCHS,
    SCRATCH_SIZE,
    fold_standardisation,
    standardise,
    train_backbone,
    zero_residuals,
)

_VERSION = 4
"""Counted up whenever a change of the code would make a resumed training end elsewhere."""


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
    size: int | None = None,
    seed: int = 0,
    val_fraction: float = 0.15,
    skip_broken: bool = False,
    shards_at_once: int | None = None,
    device: str = "auto",
    num_threads: int | None = None,
    run: str | None = None,
    progress: Progress = NO_PROGRESS,
    say: Callable[[str], None] = lambda _: None,
) -> TrainResult:
    """Fine-tune and write `out/float32.safetensors` and `out/curves.json`.

    A run that was killed goes on from `out/.resume` when it is called again with the same
    arguments, and writes the same checkpoint, byte for byte (CPU, same threads). Called with
    others it begins anew. The test list is never read.

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
        size: `full` only: side of the training views in pixels, 32 or more (Inception: 75); None
            for full size.
        seed: Decides validation share, new head, order and views.
        val_fraction: The share of the train list that chooses the epoch.
        skip_broken: Leave photographs out that cannot be decoded.
        shards_at_once: `full` only: of train photographs in shards, how many shards are read at the
            same time; None for any order, as from a folder.
        device: `auto`, `cuda`, `mps` or `cpu`.
        num_threads: Threads to compute on; None: as many as torch has, within a quota.
        run: `Provenance.run` of the checkpoint.
        progress: Hears of each step.
        say: Hears for whom there is to wait.

    Returns:
        The checkpoint of the best epoch by validation, and the curves.

    Raises:
        IndoorError: The data cannot be used, the device is not there, `out` cannot be written or
            another process is writing to it.
        ValueError: `epochs` or `size` is out of its range.
    """
    if epochs is not None and epochs < 1:
        raise ValueError(f"epochs is {epochs}, expected 1 or more")
    if recipe not in get_args(Recipe):
        raise ValueError(f"recipe is {recipe!r}, expected one of {', '.join(get_args(Recipe))}")
    least = max(MINIMUM_SIZE, smallest_size(arch))
    if size is not None and (recipe == "head" or size < least):
        raise ValueError(
            f"size is {size}, expected {least} or more and the recipe full, not {recipe}"
        )
    chosen = choose_device(device)
    alone = locked(
        out / ".train.lock",
        "another training",
        wait_s=0,
        busy=f"another process is training into {out}; wait for it, or choose another --name",
    )
    with alone, use_threads(num_threads):
        check_writable(out)
        train, val = (
            IndoorScenes(root, split, val_fraction=val_fraction, seed=seed, skip_broken=skip_broken)
            for split in ("train", "val")
        )
        known = is_trained_for(weights, train.classes)
        start = weights.model if known else replace_head(weights.model, len(train.classes), seed)
        if weights.source.kind == "none":
            start = zero_residuals(start)
        plan = _Plan(
            weights=weights,
            start=start,
            train=train,
            val=val,
            epochs=epochs or (HEAD_EPOCHS if recipe == "head" else FULL_EPOCHS),
            size=size,
            scratch_size=max(SCRATCH_SIZE, least),
            seed=seed,
            device=chosen,
            settings={
                "device": chosen.type,
                "threads": torch.get_num_threads(),
                "autocast": str(autocast_dtype(chosen) if recipe == "full" else None),
                "val_fraction": val_fraction,
                **({"shards_at_once": shards_at_once} if shards_at_once else {}),
            },
            shards_at_once=shards_at_once,
            resume=out / ".resume",
            cache=features or out.parent.parent / "features",
            progress=progress,
            say=say,
        )
        plan.resume.mkdir(exist_ok=True)
        remove_leftovers(plan.resume)
        remove_leftovers(out)
        model, curves = _train_head(plan) if recipe == "head" else _train_full(plan)
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
                identify(
                    root,
                    val_fraction=val_fraction,
                    seed=seed,
                    test=False,
                    skip_broken=skip_broken,
                ),
                device=chosen.type,
                recipe=recipe,
                settings=curves.settings | {"epochs": plan.epochs},
                run=run,
            ),
        )
        # The checkpoint last: where it is, the curves are too.
        write_record(out / "curves.json", curves)
        manifest = save_float(out / "float32.safetensors", model, manifest)
        shutil.rmtree(plan.resume)
    return TrainResult(manifest=manifest, curves=curves, path=out / "float32.safetensors")


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What a training works on: photographs, the network to begin with, what decides the result.

    `resume` is the folder of everything that only an interrupted run needs, `cache` that of the
    features.
    """

    weights: WeightsResult
    start: nn.Module
    train: IndoorScenes
    val: IndoorScenes
    epochs: int
    size: int | None
    scratch_size: int
    seed: int
    device: torch.device
    settings: dict[str, str | int | float]
    shards_at_once: int | None
    resume: Path
    cache: Path
    progress: Progress
    say: Callable[[str], None]

    @property
    def is_random(self) -> bool:
        """Whether the backbone has random weights."""
        return self.weights.source.kind == "none"

    def state_path(self, stage: str) -> Path:
        """Return the file of a stage's state; its name changes with whatever decides the stage."""
        key = hashlib.sha256(f"{stage} {self._fingerprint}".encode()).hexdigest()
        return self.resume / f"{stage}-{key[:16]}.safetensors"

    @cached_property
    def _fingerprint(self) -> str:
        files = hashlib.sha256()
        for dataset in (self.train, self.val):
            for sample in dataset.samples:
                files.update(f"{sample_sha256(sample)} {sample.label}\n".encode())
        key = (
            _VERSION,
            self.epochs,
            self.size,
            self.seed,
            self.settings,
            self.weights.preprocessing,
            self.is_random,
            hash_tensors(dict(self.start.state_dict())),
            files.hexdigest(),
            str(torch.__version__),
            torch.backends.cpu.get_cpu_capability(),
        )
        return hashlib.sha256(to_json(key)).hexdigest()


def _train_head(plan: _Plan) -> tuple[nn.Module, TrainingCurves]:
    model = _train_random(plan) if plan.is_random else plan.start
    train, val = (
        read_features(
            model,
            scenes,
            plan.weights.preprocessing,
            plan.cache,
            device=plan.device,
            progress=plan.progress,
            say=plan.say,
        )
        for scenes in (plan.train, plan.val)
    )
    settings = dict(plan.settings)
    # The head of the brief training belongs to other features, so a new one takes its place.
    _, head = head_of(plan.start)
    if plan.is_random:
        (train, val), mean, deviation = standardise(train, val)
        settings |= {
            "features": "centred, one scale",
            "scratch_epochs": SCRATCH_EPOCHS,
            "scratch_size": plan.scratch_size,
        }
    result = train_head(
        head,
        train,
        val,
        epochs=plan.epochs,
        seed=plan.seed,
        settings=settings,
        state_path=plan.state_path("head"),
        progress=plan.progress,
    )
    trained = fold_standardisation(result.head, mean, deviation) if plan.is_random else result.head
    finished = replace_head(model, trained.out_features, plan.seed)
    head_of(finished)[1].load_state_dict(trained.state_dict())
    return finished, result.curves


def _train_random(plan: _Plan) -> nn.Module:
    """Return the briefly trained backbone, from the resume folder where it is there."""
    done = plan.state_path("backbone")
    found = read_state(done)
    if found is None:
        model = train_backbone(
            plan.start,
            plan.train,
            plan.weights.preprocessing,
            epochs=SCRATCH_EPOCHS,
            seed=plan.seed,
            device=plan.device,
            state_path=plan.state_path("scratch"),
            size=plan.scratch_size,
            progress=plan.progress,
        )
        write_state(done, State(dict(model.state_dict()), SCRATCH_EPOCHS, None))
        found = read_state(done)
        assert found is not None
    model = replace_head(plan.start, len(plan.train.classes), plan.seed).eval()
    model.load_state_dict(found.tensors)
    return model


def _train_full(plan: _Plan) -> tuple[nn.Module, TrainingCurves]:
    result = train_full(
        plan.start,
        plan.train,
        plan.val,
        plan.weights.preprocessing,
        epochs=plan.epochs,
        size=plan.size,
        # A random backbone has nothing that a slow rate would keep.
        backbone_factor=1.0 if plan.is_random else FULL_BACKBONE_FACTOR,
        seed=plan.seed,
        shards_at_once=plan.shards_at_once,
        device=plan.device,
        settings=plan.settings,
        state_path=plan.state_path("full"),
        progress=plan.progress,
    )
    return result.model, result.curves
