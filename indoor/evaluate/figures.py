"""One model's logits, and what they say about its accuracy."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from indoor.errors import IndoorError
from indoor.measure import logit_statistics
from indoor.measure.proportions import wilson
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import ClassAccuracy, Evaluation, Split


def predict(
    run: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    progress: Progress = NO_PROGRESS,
    *,
    description: str = "evaluate",
    num_photographs: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return the logits and the labels of all batches, in their order.

    Args:
        run: The model, from float32 `(B, 3, H, W)` to logits `(B, C)`; it is called without
            gradients.
        batches: Inputs float32 `(B, 3, H, W)` with labels int64 `(B,)`.
        progress: Hears of each batch's photographs.
        description: What the progress calls this work.
        num_photographs: How many will come, for the progress; 0 if that is not known.

    Returns:
        Logits float32 `(N, C)` and labels int64 `(N,)`.

    Raises:
        ValueError: There is no batch.
    """
    logits: list[Tensor] = []
    labels: list[Tensor] = []
    progress.start(description, num_photographs)
    try:
        with torch.inference_mode():
            for inputs, targets in batches:
                # A copy: a runtime may hand out the same buffer at every call.
                logits.append(run(inputs).to(torch.float32, copy=True))
                labels.append(targets)
                progress.advance(len(targets))
    finally:
        progress.finish()
    if not logits:
        raise ValueError("there is nothing to predict, expected one batch or more")
    # Outside inference mode, so that the caller gets ordinary tensors.
    return torch.cat(logits), torch.cat(labels).to(torch.int64)


def evaluate(
    logits: Tensor, labels: Tensor, classes: Sequence[str], *, variant: str, split: Split
) -> Evaluation:
    """Return the accuracy figures of one model.

    Of equal logits, as int8 often gives them, the class that comes first counts as the larger.
    Mean class accuracy and `per_class` leave out classes without photographs.

    Args:
        logits: float32 `(N, C)`, N at least 1.
        labels: int64 `(N,)` in 0..C-1.
        classes: The C names, in the order of the logits.
        variant: The model's name.
        split: Which photographs these are.

    Raises:
        ValueError: The shapes or labels do not fit together.
        IndoorError: A logit is not finite: the model is broken, and has no accuracy.
    """
    num_classes = len(classes)
    _check(logits, labels, num_classes)
    require_finite(logits, variant)
    ranks = _ranks(logits, labels)
    confusion = torch.bincount(
        labels * num_classes + logits.argmax(dim=1), minlength=num_classes**2
    ).reshape(num_classes, num_classes)
    per_class = tuple(
        ClassAccuracy(name=name, accuracy=wilson(int(row[index]), int(row.sum())))
        for index, (name, row) in enumerate(zip(classes, confusion, strict=True))
        if row.sum() > 0
    )
    return Evaluation(
        variant=variant,
        split=split,
        num_photographs=len(labels),
        top1=wilson(int((ranks == 0).sum()), len(labels)),
        top5=wilson(int((ranks < 5).sum()), len(labels)),
        mean_class_accuracy=sum(c.accuracy.value for c in per_class) / len(per_class),
        loss=float(cross_entropy(logits.to(torch.float64), labels)),
        per_class=per_class,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def sqnr_db(reference: Tensor, actual: Tensor) -> float:
    """Return the SQNR (`measure.logit_statistics`) of two tensors of any float type or device."""
    return logit_statistics.sqnr_db(
        *(t.detach().to("cpu", torch.float64).numpy() for t in (reference, actual))
    )


def require_finite(logits: Tensor, variant: str) -> None:
    """Raise IndoorError where the model gave NaN or infinity for a photograph."""
    num_broken = int((~logits.isfinite()).any(dim=1).sum())
    if num_broken:
        raise IndoorError(
            f"{variant} gives logits that are not finite for {num_broken} of {len(logits)} "
            "photographs; expected finite numbers; the checkpoint is damaged or its training "
            "diverged, make it again"
        )


def _check(logits: Tensor, labels: Tensor, num_classes: int) -> None:
    if logits.ndim != 2 or logits.shape[1] != num_classes or len(logits) != len(labels):
        raise ValueError(
            f"logits {tuple(logits.shape)} do not fit {len(labels)} labels "
            f"and {num_classes} classes"
        )
    if len(labels) == 0:
        raise ValueError("there are no photographs, expected one or more")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(f"a label lies outside 0..{num_classes - 1}")


def _ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Return at which place, from 0, the true class comes among the logits; int64 `(N,)`."""
    own = logits.gather(1, labels[:, None])
    comes_first = torch.arange(logits.shape[1])[None, :] < labels[:, None]
    return ((logits > own) | ((logits == own) & comes_first)).sum(dim=1)
