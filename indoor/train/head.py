"""The `head` recipe: the last layer alone, trained on features that were computed once."""

import copy
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.progress import NO_PROGRESS, Progress
from indoor.records import Epoch, TrainingCurves
from indoor.train.features import Features
from indoor.train.loop import generator_for
from indoor.train.resume_state import (
    State,
    capture,
    make_curves,
    measure,
    read_state,
    restore,
    write_state,
)

HEAD_EPOCHS = 20
HEAD_BATCH = 16
HEAD_LEARNING_RATE = 0.001
HEAD_MOMENTUM = 0.9


@dataclass(frozen=True)
class HeadResult:
    """The head of the best epoch, and the curves that made it the best."""

    head: nn.Linear
    curves: TrainingCurves


def train_head(
    head: nn.Linear,
    train: Features,
    val: Features,
    *,
    epochs: int = HEAD_EPOCHS,
    batch: int = HEAD_BATCH,
    learning_rate: float = HEAD_LEARNING_RATE,
    seed: int = 0,
    settings: dict[str, str | int | float] | None = None,
    state_path: Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> HeadResult:
    """Train a linear head with plain SGD, as talhankoc/resnet50-finetuning-and-quantization does.

    The reference runs the frozen backbone in every epoch, and in training mode, so its batch-norm
    statistics drift; here it ran once, in eval mode. Train and validation figures of an epoch are
    those of its final head on all photographs.

    Args:
        head: The head to begin with, `(F, C)`; it stays as it is.
        train: Features float32 `(N, F)` and labels of the train photographs, at least one.
        val: The same of the validation photographs, at least one; they choose the epoch.
        epochs: Passes over the train features, 1 or more.
        batch: Photographs a step.
        learning_rate: Constant over the training.
        seed: Decides the order of the photographs in each epoch.
        settings: Further settings for the curves' record.
        state_path: Where the state after each epoch is kept; a training that finds it there goes
            on from it, and ends at the same head bit for bit (same device and threads).
        progress: Hears of each epoch.

    Returns:
        The head of the epoch with the highest validation accuracy, and the curves.

    Raises:
        ValueError: An argument is out of its range.
    """
    if epochs < 1 or batch < 1:
        raise ValueError(f"epochs and batch must be 1 or more, not {epochs} and {batch}")
    if not len(train.labels) or not len(val.labels):
        raise ValueError(
            f"a head needs train and validation photographs, not {len(train.labels)} and "
            f"{len(val.labels)}"
        )
    record: dict[str, str | int | float] = {
        "optimizer": "SGD",
        "learning_rate": learning_rate,
        "momentum": HEAD_MOMENTUM,
        "batch": batch,
        "seed": seed,
        **(settings or {}),
    }
    last = copy.deepcopy(head).requires_grad_(True)
    best = copy.deepcopy(head)
    optimizer = torch.optim.SGD(last.parameters(), lr=learning_rate, momentum=HEAD_MOMENTUM)
    history: list[Epoch] = []
    found = read_state(state_path) if state_path else None
    curves = found.curves if found is not None else None
    if found is not None and curves is not None:
        restore(found.tensors, optimizer, last=last, best=best)
        history = list(curves.epochs)
    progress.start("training the head", epochs)
    progress.advance(len(history))
    for epoch in range(len(history) + 1, epochs + 1):
        started = time.perf_counter()
        order = epoch_order(len(train.labels), seed, epoch)
        for rows in torch.split(order, batch):
            loss = nn.functional.cross_entropy(last(train.values[rows]), train.labels[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        with torch.no_grad():
            train_loss, train_accuracy = measure(last(train.values), train.labels)
            val_loss, val_accuracy = measure(last(val.values), val.labels)
        history.append(
            Epoch(
                epoch=epoch,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                val_loss=val_loss,
                val_accuracy=val_accuracy,
                learning_rate=learning_rate,
                seconds=time.perf_counter() - started,
            )
        )
        curves = make_curves(
            "head", history, record, num_train=len(train.labels), num_val=len(val.labels)
        )
        if curves.best_epoch == epoch:
            best.load_state_dict(last.state_dict())
        if state_path is not None:
            tensors = capture(optimizer, last=last, best=best)
            write_state(state_path, State(tensors, epoch, curves))
        progress.advance()
    progress.finish()
    assert curves is not None
    return HeadResult(best.requires_grad_(True), curves)


def epoch_order(num_photographs: int, seed: int, epoch: int) -> Tensor:
    """Return the order of the train photographs in an epoch, int64 `(num_photographs,)`."""
    return torch.randperm(num_photographs, generator=generator_for("order", seed, epoch))
