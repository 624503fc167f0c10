"""The `full` recipe: every weight trains, on augmented photographs."""

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.dataset import IndoorScenes, stratified_sample
from indoor.dataset.kept import affordable_bytes
from indoor.devices import float32_products, forward_batch
from indoor.model import fold
from indoor.process_group import collect, require_same
from indoor.progress import NO_PROGRESS, Progress
from indoor.ranks import ALONE, Ranks, share_of_batches, share_of_step
from indoor.records import Epoch, Preprocessing, TrainingCurves
from indoor.train.augmented_views import AugmentedScenes, PlainScenes
from indoor.train.loader import Epochs, batches_of
from indoor.train.loop import (
    LABEL_SMOOTHING,
    WARMUP_EPOCHS,
    WEIGHT_DECAY,
    Schedule,
    draws,
    run_epoch,
    start_run,
)
from indoor.train.order import reading_order
from indoor.train.resume_state import (
    State,
    capture,
    make_curves,
    measure,
    read_state,
    restore,
)
from indoor.train.state_writer import StateWriter

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
    freezes_batch_norm: bool = False,
    ranks: Ranks = ALONE,
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
        state_path: Where the state after each epoch is kept, and within an epoch after each
            `KEEP_EVERY_S`; a training that finds it there goes on from it, and ends at the same
            weights bit for bit (CPU, same threads, same ranks). Several ranks keep none within an
            epoch where the network draws random numbers, which each does by itself.
        freezes_batch_norm: Whether batch norms keep the statistics that the model has. They do
            among ranks on CPUs, since torch synchronises statistics on GPUs alone.
        ranks: They share each step's photographs and those of validation. Weights and figures are
            those of one process but for rounding; only the first rank writes the state.
        progress: Hears of each epoch's photographs.

    Returns:
        The averaged network of the best epoch by validation accuracy, and the curves.

    Raises:
        ValueError: An argument is out of its range.
        IndoorError: A photograph cannot be decoded, the state cannot be written, or there are more
            ranks than photographs in a step.
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
        **({"batch_norm": "frozen"} if freezes_batch_norm else {}),
        **(settings or {}),
    }
    schedule = Schedule(num_photographs=len(train), batch=batch, epochs=epochs)
    step = min(batch, len(train))
    places = share_of_step(ranks, step)
    run = start_run(
        model,
        device,
        learning_rate=learning_rate,
        backbone_factor=backbone_factor,
        ranks=ranks,
        freezes_batch_norm=freezes_batch_norm,
    )
    best = copy.deepcopy(run.average)
    history: list[Epoch] = []
    found = read_state(state_path) if state_path else None
    curves = found.curves if found is not None else None
    num_done = found.step if found is not None else 0
    if found is not None:
        restore(found.tensors, run.optimizer, model=run.model, average=run.average, best=best)
    if curves is not None:
        history = list(curves.epochs)
    require_same(ranks, "steps behind it", (len(history), num_done))
    seen = stratified_sample(train.labels, min(len(val), len(train)), seed)
    # What all of them keep is within what one may; the views of training get half of it or more.
    affordable = affordable_bytes()
    plain_bytes = [
        min(3 * preprocessing.size**2 * num, affordable // 4) for num in (len(seen), len(val))
    ]
    plain_train, plain_val = (
        PlainScenes(scenes, preprocessing, indices, keeps=True, max_bytes=max_bytes)
        for scenes, indices, max_bytes in zip(
            (train, val), (seen, range(len(val))), plain_bytes, strict=True
        )
    )
    num_plain = sum(
        len(share_of_batches(ranks, len(scenes), forward_batch(device.type)))
        for scenes in (plain_train, plain_val)
    )

    def order(epoch: int) -> Tensor:
        """Return this rank's places of each of the epoch's steps, one after the other."""
        of_all = reading_order(train, seed, epoch, shards_at_once)
        steps = of_all[: schedule.steps_per_epoch * step].view(-1, step)
        return steps[:, places.start : places.stop].flatten()

    views = AugmentedScenes(train, preprocessing, size, order(1), seed, 1)
    numbers = range(len(history) + 1, epochs + 1)
    keeps_steps = ranks.size == 1 or not draws(run.model)
    random = found.tensors if found is not None and num_done and ranks.is_first else None

    def tensors() -> dict[str, Tensor]:
        return capture(run.optimizer, model=run.model, average=run.average, best=best)

    with (
        Epochs(
            views,
            order,
            numbers,
            len(places),
            device,
            num_done=num_done,
            max_bytes=affordable - sum(plain_bytes),
        ) as following,
        StateWriter(state_path if ranks.is_first else None, device, progress) as states,
    ):

        def now() -> State:
            seconds = time.perf_counter() - started
            return State(tensors(), len(history), curves, seconds=seconds)

        def keep(step: int) -> None:
            if keeps_steps:
                states.write_within(step, schedule.steps_per_epoch, now)

        for epoch in numbers:
            before_s = found.seconds if found is not None and num_done else 0.0
            started = time.perf_counter() - before_s
            states.progress.start(f"epoch {epoch} of {epochs}", len(views) + num_plain)
            states.progress.advance(num_done * len(places))
            rate = run_epoch(
                run,
                following.batches(),
                schedule,
                epoch,
                device=device,
                progress=states.progress,
                seed=seed,
                ranks=ranks,
                share=len(places) / step,
                num_done=num_done,
                random=random,
                after_step=keep,
            )
            num_done, random = 0, None
            network = fold(run.average)
            train_loss, train_accuracy = validate(
                network, plain_train, device, states.progress, ranks
            )
            val_loss, val_accuracy = validate(network, plain_val, device, states.progress, ranks)
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
            states.write(State(tensors(), epoch, curves))
            states.progress.finish()
    assert curves is not None
    finished = best.cpu().to(memory_format=torch.contiguous_format).requires_grad_(True)
    return FullResult(finished.eval(), curves)


def validate(
    network: nn.Module,
    scenes: PlainScenes,
    device: torch.device,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> tuple[float, float]:
    """Return a network's loss in nats and accuracy in 0..1 on photographs, in float32.

    Args:
        network: Folded (`model.fold`), on the device.
        scenes: The photographs.
        device: Whose own batch is computed at once.
        progress: Hears of each photograph.
        ranks: Each computes the batches that fall to it, and gets the figures of all.
    """
    batch = forward_batch(device.type)
    mine = share_of_batches(ranks, len(scenes), batch)
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    with torch.inference_mode(), float32_products():
        for images, targets in batches_of(scenes, batch, device, indices=mine):
            logits.append(network(images))
            labels.append(targets)
            progress.advance(len(targets))
    # Of more ranks than batches some have none.
    columns = (torch.cat(column).cpu() if column else torch.empty(0) for column in (logits, labels))
    return measure(*collect(ranks, mine, *columns))
