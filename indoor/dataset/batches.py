"""Batches of transformed photographs, decoded ahead in threads."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from indoor.dataset.soundness import map_ordered
from indoor.machine import num_usable_cores


class Photographs(Protocol):
    """What batches are made of: `IndoorScenes`, or a torch `Subset` of it."""

    def __len__(self) -> int:
        """Return the number of photographs."""
        ...

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return a float32 `(3, H, W)` tensor and its label."""
        ...


def load_batches(
    dataset: Photographs,
    batch: int,
    *,
    num_threads: int | None = None,
    indices: Sequence[int] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the photographs in order, batch by batch, while threads decode the next ones.

    The boundaries are fixed: batch i holds the photographs `i * batch` to `(i + 1) * batch - 1`
    whatever the number of threads, and the last batch holds what is left.

    Args:
        dataset: Gives float32 `(3, H, W)` tensors of one size, and labels; called from threads.
        batch: Photographs a batch, at least 1.
        num_threads: Threads that decode, at least 1; None for as many as there are cores.
        indices: Which photographs, in which order; None for all.

    Yields:
        Inputs, float32 `(B, 3, H, W)`, and labels, int64 `(B,)`.

    Raises:
        ValueError: `batch` or `num_threads` is below 1.
        IndoorError: A photograph is broken; the batches before it have been yielded.
    """
    num_threads = num_usable_cores() if num_threads is None else num_threads
    for name, value in (("batch", batch), ("num_threads", num_threads)):
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")
    order = range(len(dataset)) if indices is None else indices
    return _batches(dataset, batch, num_threads, order)


def _batches(
    dataset: Photographs, batch: int, num_threads: int, order: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Collect the photographs that threads decode."""
    # A function of its own: `load_batches` must check its arguments when it is called, and a
    # generator does nothing before its first batch.
    labels: list[int] = []
    for done, (tensor, label) in enumerate(map_ordered(dataset.__getitem__, order, num_threads)):
        if not labels:  # each photograph is copied once, and while it is in the core's cache
            num = min(batch, len(order) - done)
            inputs = torch.empty((num, *tensor.shape), dtype=tensor.dtype)
        assert tensor.shape == inputs.shape[1:], f"{tensor.shape} among {inputs.shape[1:]}"
        inputs.numpy()[len(labels)] = tensor.numpy()  # torch would wake its threads for it
        labels.append(label)
        if len(labels) == len(inputs):
            yield inputs, torch.tensor(labels)
            labels = []
