"""The `full` recipe: every weight trains, on augmented photographs."""

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.dataset import IndoorScenes, stratified_sample
from indoor.devices import float32_products, forward_batch
from indoor.model import fold
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import Epoch, Preprocessing, TrainingCurves
from indoor.train.augmented_views import AugmentedScenes, PlainScenes
from indoor.train.loader import Epochs, batches_of
from indoor.train.loop import (
    LABEL_SMOOTHING,
    WARMUP_EPOCHS,
    WEIGHT_DECAY,
    Schedule,
    run_epoch,
    start_run,
)
from indoor.train.order import reading_order
from indoor.train.resume_state import (
    State,
    StateWriter,
    capture,
    make_curves,
    measure,
    read_state,
    restore,
)

FULL_EPOCHS = 20
FULL_BATCH = 32
FULL_LEARNING_RATE = 1e-3
FULL_BACKBONE_FACTOR = 0.1
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
    shards_at_once: int | None = None,
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
        shards_at_once: As of `reading_order`.
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
    plain_train = PlainScenes(train, preprocessing, seen, keeps=True)
    plain_val = PlainScenes(val, preprocessing, range(len(val)), keeps=True)

    def order(epoch: int) -> Tensor:
        whole = reading_order(train, seed, epoch, shards_at_once)
        return whole[: schedule.steps_per_epoch * batch]

    views = AugmentedScenes(train, preprocessing, size, order(1), seed, 1)
    numbers = range(len(history) + 1, epochs + 1)
    with (
        Epochs(views, order, numbers, batch, device) as following,
        StateWriter(state_path, device) as states,
    ):
        for epoch in numbers:
            started = time.perf_counter()
            num_seen = len(views) + len(plain_train) + len(plain_val)
            progress.start(f"epoch {epoch} of {epochs}", num_seen)
            batches = following.batches()
            rate = run_epoch(
                run, batches, schedule, epoch, device=device, progress=progress, seed=seed
            )
            network = fold(run.average)
            train_loss, train_accuracy = validate(network, plain_train, device, progress)
            val_loss, val_accuracy = validate(network, plain_val, device, progress)
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
            tensors = capture(run.optimizer, model=run.model, average=run.average, best=best)
            states.write(State(tensors, epoch, curves))
            progress.finish()
    assert curves is not None
    finished = best.cpu().to(memory_format=torch.contiguous_format).requires_grad_(True)
    return FullResult(finished.eval(), curves)


def validate(
    network: nn.Module, scenes: PlainScenes, device: torch.device, progress: Progress
) -> tuple[float, float]:
    """Return a network's loss in nats and accuracy in 0..1 on photographs, in float32.

    Args:
        network: Folded (`model.fold`), on the device.
        scenes: The photographs.
        device: Whose own batch is computed at once.
        progress: Hears of each photograph.
    """
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    with torch.inference_mode(), float32_products():
        for images, targets in batches_of(scenes, forward_batch(device.type), device):
            logits.append(network(images))
            labels.append(targets)
            progress.advance(len(targets))
        return measure(torch.cat(logits).cpu(), torch.cat(labels).cpu())
