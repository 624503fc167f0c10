"""Augmented views made by processes of their own, which Python's lock of this one does not stop."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from indoor.dataset.kept import affordable_bytes
from indoor.errors import IndoorError
from indoor.train.augmented_views import AugmentedScenes, keep_decoded

Key = tuple[int, list[int], list[int]]
"""What a process makes at once: of an epoch, for these places in a batch, these photographs."""


def views_by_processes(
    views: AugmentedScenes,
    orders: Callable[[int], Tensor],
    numbers: Iterable[int],
    batch: int,
    num_workers: int,
    num_done: int = 0,
    max_bytes: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the epochs' batches of pixels, each made by all processes together.

    A photograph always goes to the same process, which keeps it decoded; torch's loader hands the
    keys round in turn, and if it did not, more would be decoded and nothing else change. The
    processes go on to the next epoch's views while this one is validated.

    Args:
        views: Of any epoch: all have as many, but the first lacks `num_done` batches.
        orders: Returns an epoch's order, int64 `(N,)`.
        numbers: The epochs.
        batch: Photographs a batch.
        num_workers: The processes.
        num_done: Batches that the first epoch's order lacks.
        max_bytes: For what all of them keep decoded; None as for `Kept`.

    Yields:
        uint8 `(B, size, size, 3)` and labels, int64 `(B,)`.

    Raises:
        IndoorError: A photograph is broken, or a process died.
    """
    most = affordable_bytes() if max_bytes is None else max_bytes
    context = multiprocessing.get_context("forkserver")  # a fork after CUDA began is none
    context.set_forkserver_preload([__name__])  # torch is imported once, and not by each of them
    loader = DataLoader(
        _Parts(views, most // num_workers),
        batch_size=None,
        sampler=_Keys(orders, numbers, batch, num_workers),
        num_workers=num_workers,
        multiprocessing_context=context,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # or it would draw a seed from everybody's
    )
    size = views.size
    nums = [len(rows) for rows in torch.split(views.order, batch)]
    parts = iter(loader)
    try:
        for place, _ in enumerate(numbers):
            for num in nums[0 if place else num_done :]:
                pixels = torch.empty((num, size, size, 3), dtype=torch.uint8)
                labels = torch.empty(num, dtype=torch.int64)
                for _ in range(num_workers):
                    part = next(parts)
                    if isinstance(part, str):
                        raise IndoorError(part)
                    places, made, named = part
                    if places:
                        pixels[places], labels[places] = made, torch.tensor(named)
                yield pixels, labels
    except (RuntimeError, EOFError, OSError) as error:  # it dies before, or while it answers
        _end(parts)
        said = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise IndoorError(
            f"a process that makes views of photographs died: {said}; expected room for "
            f"{num_workers} of them; free memory, or enlarge /dev/shm"
        ) from error
    finally:
        del parts  # which ends the processes, also while an error's traceback holds this frame


def _end(parts: Any) -> None:
    """End the processes without torch's own shutdown.

    That waits for a lock which one that was killed may have held.
    """
    parts._shutdown = True
    for worker in parts._workers:
        worker.kill()


class _Keys:
    """For each batch a key a process: the epoch, places in the batch, and the photographs."""

    def __init__(
        self,
        orders: Callable[[int], Tensor],
        numbers: Iterable[int],
        batch: int,
        num_workers: int,
    ) -> None:
        self._orders, self._numbers = orders, numbers
        self._batch, self._num_workers = batch, num_workers

    def __iter__(self) -> Iterator[Key]:
        for number in self._numbers:
            for rows in torch.split(self._orders(number), self._batch):
                for worker in range(self._num_workers):
                    places = torch.nonzero(rows % self._num_workers == worker).flatten()
                    yield number, places.tolist(), rows[places].tolist()


class _Parts(Dataset[Any]):
    """In a process of its own: the views of a key, or what is wrong with a photograph."""

    def __init__(self, views: AugmentedScenes, max_bytes: int) -> None:
        self._views = views
        self._max_bytes = max_bytes

    def __getitem__(self, key: Key) -> tuple[list[int], Tensor, list[int]] | str:
        number, places, rows = key
        if self._views.decoded is None:
            kept = keep_decoded(self._views.scenes, self._max_bytes)
            self._views = replace(self._views, decoded=kept)
        views = replace(self._views, order=torch.tensor(rows), epoch=number)
        pixels = torch.empty((len(rows), views.size, views.size, 3), dtype=torch.uint8)
        labels: list[int] = []
        try:
            for position in range(len(rows)):
                pixels[position], label = views.pixels(position)
                labels.append(label)
        except IndoorError as error:
            return str(error)
        return places, pixels, labels


def _as_it_is(part: object) -> object:
    return part
