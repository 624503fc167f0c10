"""What a training's epochs say: which was best, and whether it overfits."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from indoor.records import Epoch, Recipe, TrainingCurves

OVERFIT_GAP = 0.10
"""Train minus validation accuracy beyond which a training is said to overfit."""


def measure(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean cross-entropy in nats and the accuracy in 0..1.

    Args:
        logits: float32 `(N, C)`.
        labels: int64 `(N,)`.
    """
    loss = nn.functional.cross_entropy(logits.double(), labels).item()
    hits = (logits.argmax(1) == labels).to(torch.float64).mean().item()
    return loss, hits


def best_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """Return the epoch with the highest validation accuracy.

    Of equals the one with the lower validation loss, then the earlier.
    """
    return min(epochs, key=lambda e: (-e.val_accuracy, e.val_loss, e.epoch))


def make_curves(
    recipe: Recipe,
    epochs: Sequence[Epoch],
    settings: dict[str, str | int | float],
    *,
    num_train: int,
    num_val: int,
) -> TrainingCurves:
    """Return the record of the epochs so far, with the best one and the note on overfitting.

    Args:
        recipe: The recipe.
        epochs: At least one.
        settings: What decided the training.
        num_train: The photographs behind each `train_accuracy`.
        num_val: The photographs behind each `val_accuracy`.
    """
    best = best_epoch(epochs)
    return TrainingCurves(
        recipe=recipe,
        epochs=tuple(epochs),
        best_epoch=best.epoch,
        note=overfit_note(best, num_train, num_val),
        settings=settings,
    )


def overfit_note(best: Epoch, num_train: int, num_val: int) -> str | None:
    """Say by how much the best epoch overfits, where it does beyond chance.

    It does where train minus validation accuracy exceeds `OVERFIT_GAP` and its 95% interval lies
    above zero. The interval is Newcombe's hybrid of two Wilson intervals (Statistics in Medicine
    17, 1998, method 10), since a few dozen validation photographs differ from as many train ones
    by ten points without any overfitting.

    Args:
        best: The epoch whose model is kept.
        num_train: The photographs behind `best.train_accuracy`.
        num_val: The photographs behind `best.val_accuracy`.
    """
    train, val = best.train_accuracy, best.val_accuracy
    gap = train - val
    train_low, train_high = _wilson(train, num_train)
    val_low, val_high = _wilson(val, num_val)
    low = gap - ((train - train_low) ** 2 + (val_high - val) ** 2) ** 0.5
    high = gap + ((train_high - train) ** 2 + (val - val_low) ** 2) ** 0.5
    if gap <= OVERFIT_GAP or low <= 0:
        return None
    return (
        f"overfits: at epoch {best.epoch} {train:.1%} of {num_train} train and {val:.1%} of "
        f"{num_val} validation photographs are right, {100 * gap:.1f} points apart "
        f"(95% interval {100 * low:.1f} to {100 * high:.1f})"
    )


def _wilson(rate: float, num_total: int) -> tuple[float, float]:
    from scipy.stats import binomtest  # half a second, which every worker of a gate would spend

    interval = binomtest(round(rate * num_total), num_total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
