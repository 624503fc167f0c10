"""The `full` recipe: every weight trains, on augmented photographs."""

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.dataset import IndoorScenes, load_batches, stratified_sample
from indoor.model import fold
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import Epoch, Preprocessing, TrainingCurves
from indoor.train.augmented_views import AugmentedScenes, PlainScenes
from indoor.train.head import epoch_order
from indoor.train.loop import (
    LABEL_SMOOTHING,
    WARMUP_EPOCHS,
    WEIGHT_DECAY,
    Schedule,
    run_epoch,
    start_run,
)
from indoor.train.resume_state import (
    State,
    capture,
    make_curves,
    measure,
    read_state,
    restore,
    write_state,
)

FULL_EPOCHS = 20
FULL_BATCH = 32
FULL_LEARNING_RATE = 1e-3
FULL_BACKBONE_FACTOR = 0.1
EVALUATION_BATCH = 8
MINIMUM_SIZE = 32
"""Pixels of a training view's side."""


@dataclass(frozen=True)
class FullResult:
    """The averaged network of the best epoch (float32, CPU, eval mode), and the curves."""

    model: nn.Module
    curves: TrainingCurves


def train_full(
    model: nn.Module,
    train: IndoorScenes,
    val: IndoorScenes,
    preprocessing: Preprocessing,
    *,
    epochs: int = FULL_EPOCHS,
    batch: int = FULL_BATCH,
    size: int | None = None,
    learning_rate: float = FULL_LEARNING_RATE,
    backbone_factor: float = FULL_BACKBONE_FACTOR,
    seed: int = 0,
    device: torch.device | None = None,
    settings: dict[str, str | int | float] | None = None,
    state_path: Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> FullResult:
    """Train all weights with AdamW, warm-up and cosine, and keep an average of them.

    What is validated and returned is the exponential moving average of weights and batch-norm
    statistics (Izmailov et al., arXiv 1803.05407, for why averaging helps). An epoch's train
    figures are those of the same averaged network, under the transform of inference, on a fixed
    stratified sample of as many train photographs as there are validation ones: figures taken
    while training (augmented, other weights in each step, smoothed labels) would hide
    overfitting.

    Args:
        model: The network to begin with, its last layer new; it stays as it is.
        train: Train photographs without a transform, two or more.
        val: Validation photographs without a transform, at least one; they choose the epoch.
        preprocessing: How inference sees a photograph; validation uses it.
        epochs: Passes over the train photographs, 1 or more.
        batch: Photographs a step.
        size: Side of the augmented views in pixels; None for that of `preprocessing`. A smaller
            one makes a CPU's training affordable, and validation at the full size shows what it
            costs.
        learning_rate: The head's, at its height.
        backbone_factor: The backbone's learning rate as a share of the head's.
        seed: Decides the order and the views of each epoch.
        device: Where it trains; None for the CPU. Where that computes bfloat16 natively the
            forward pass is autocast to it; weights, gradients and validation stay float32.
        settings: Further settings for the curves' record.
        state_path: Where the state after each epoch is kept; a training that finds it there goes
            on from it, and ends at the same weights bit for bit (CPU, same threads).
        progress: Hears of each epoch's photographs.

    Returns:
        The averaged network of the best epoch by validation accuracy, and the curves.

    Raises:
        ValueError: An argument is out of its range.
        IndoorError: A photograph cannot be decoded, or the state cannot be written.
    """
    if epochs < 1 or batch < 2 or (size is not None and size < MINIMUM_SIZE):
        raise ValueError(
            f"expected epochs >= 1, batch >= 2 and size >= 32, not {epochs}, {batch} and {size}"
        )
    if len(train) < 2 or len(val) < 1:
        raise ValueError(
            f"expected 2 train and 1 validation photographs or more, not {len(train)} and "
            f"{len(val)}"
        )
    device = device or torch.device("cpu")
    size = size or preprocessing.size
    record: dict[str, str | int | float] = {
        "optimizer": "AdamW",
        "learning_rate": learning_rate,
        "backbone_factor": backbone_factor,
        "weight_decay": WEIGHT_DECAY,
        "warmup_epochs": WARMUP_EPOCHS,
        "label_smoothing": LABEL_SMOOTHING,
        "batch": batch,
        "size": size,
        "seed": seed,
        "device": device.type,
        **(settings or {}),
    }
    schedule = Schedule(num_photographs=len(train), batch=batch, epochs=epochs)
    run = start_run(model, device, learning_rate=learning_rate, backbone_factor=backbone_factor)
    best = copy.deepcopy(run.average)
    history: list[Epoch] = []
    found = read_state(state_path) if state_path else None
    curves = found.curves if found is not None else None
    if found is not None and curves is not None:
        restore(found.tensors, run.optimizer, model=run.model, average=run.average, best=best)
        history = list(curves.epochs)
    seen = stratified_sample(train.labels, min(len(val), len(train)), seed)
    plain_train = PlainScenes(train, preprocessing, seen)
    plain_val = PlainScenes(val, preprocessing, range(len(val)))
    for epoch in range(len(history) + 1, epochs + 1):
        started = time.perf_counter()
        order = epoch_order(len(train), seed, epoch)[: schedule.steps_per_epoch * batch]
        views = AugmentedScenes(train, preprocessing, size, order, seed, epoch)
        progress.start(f"epoch {epoch} of {epochs}", len(views) + len(plain_train) + len(plain_val))
        batches = load_batches(views, batch)
        rate = run_epoch(run, batches, schedule, epoch, device=device, progress=progress, seed=seed)
        train_loss, train_accuracy = _evaluate(run.average, plain_train, device, progress)
        val_loss, val_accuracy = _evaluate(run.average, plain_val, device, progress)
        history.append(
            Epoch(
                epoch=epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                val_loss=val_loss,
                val_accuracy=val_accuracy,
                learning_rate=rate,
                seconds=time.perf_counter() - started,
            )
        )
        curves = make_curves(
            "full", history, record, num_train=len(plain_train), num_val=len(plain_val)
        )
        if curves.best_epoch == epoch:
            best.load_state_dict(run.average.state_dict())
        if state_path is not None:
            tensors = capture(run.optimizer, model=run.model, average=run.average, best=best)
            write_state(state_path, State(tensors, epoch, curves))
        progress.finish()
    assert curves is not None
    finished = best.cpu().to(memory_format=torch.contiguous_format).requires_grad_(True)
    return FullResult(finished.eval(), curves)


def _evaluate(
    model: nn.Module, scenes: PlainScenes, device: torch.device, progress: Progress
) -> tuple[float, float]:
    """Return loss in nats and accuracy in 0..1 on all photographs, in float32."""
    network = fold(model)
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    for images, targets in load_batches(scenes, EVALUATION_BATCH):
        with torch.inference_mode():
            images = images.to(device).contiguous(memory_format=torch.channels_last)
            logits.append(network(images).cpu())
        labels.append(targets)
        progress.advance(len(targets))
    return measure(torch.cat(logits), torch.cat(labels))
