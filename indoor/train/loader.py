"""Views of photographs as batches on the device, made ahead of the steps that take them.

On a CPU threads decode, and nothing else would pay: whatever they take the step lacks. A GPU has a
step done while one core makes a few views, and Python's lock lets the threads of one process make
no more of them, so there processes of their own make views, one of which goes through pinned memory
to the device while the step before it computes.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, repeat
from typing import Any, Protocol

import torch
from torch import Tensor

from indoor.dataset import load_batches
from indoor.machine import num_usable_cores
from indoor.records import Preprocessing
from indoor.train.augmented_views import AugmentedScenes, keep_decoded
from indoor.train.view_processes import views_by_processes
from indoor.transforms import normalise

MAX_WORKERS = 16
"""Processes that make views: more of them make more than any GPU takes of a ResNet-18."""

MIN_VIEWS = 4_000
"""Of a whole training, for processes to pay: each of them imports torch, which takes seconds."""

NUM_AHEAD = 2
"""Batches that lie on the GPU before their step."""

Batch = tuple[Tensor, Tensor]
"""Images, float32 `(B, 3, H, W)` channels-last, and labels, int64 `(B,)`, on the device; on their
way there uint8 `(B, H, W, 3)`."""


class Views(Protocol):
    """What batches are made of: `AugmentedScenes` or `PlainScenes`."""

    @property
    def preprocessing(self) -> Preprocessing:
        """Their mean and std."""
        ...

    def __len__(self) -> int:
        """Return the number of photographs."""
        ...

    def pixels(self, position: int) -> tuple[Tensor, int]:
        """Return uint8 `(size, size, 3)` and the label; called from threads."""
        ...


def batches_of(
    views: Views, batch: int, device: torch.device, indices: Sequence[int] | None = None
) -> Iterator[Batch]:
    """Yield views in their order, batch by batch, while threads make the next ones.

    Args:
        views: Of photographs.
        batch: Photographs a batch; the last one holds what is left.
        device: Where they are to lie.
        indices: Which views, in which order; None for all.

    Raises:
        IndoorError: A photograph is broken; the batches before it have been yielded.
    """
    made = load_batches(_Pixels(views), batch, indices=indices)
    yield from _on_device(made, views.preprocessing, device)


class Epochs(AbstractContextManager["Epochs"]):
    """The train batches of one epoch after another; leave it, and what makes them ends.

    Which process or thread makes a view changes no bit of it, nor where it stands in its batch.

    Args:
        views: Of any epoch; each epoch is given its own order and number.
        orders: Returns an epoch's order, int64 `(N,)`, of which only whole batches are taken.
        numbers: The epochs that are to come.
        batch: Photographs a batch.
        device: Where the batches are to lie.
        num_workers: Processes that make views; 0: threads of this one. None for what suits.
        num_done: Batches of the first epoch that are left out, as a training took them before.
        max_bytes: For all photographs that are kept decoded, whoever does; None as for `Kept`.
    """

    def __init__(
        self,
        views: AugmentedScenes,
        orders: Callable[[int], Tensor],
        numbers: Sequence[int],
        batch: int,
        device: torch.device,
        num_workers: int | None = None,
        num_done: int = 0,
        max_bytes: int | None = None,
    ) -> None:
        if num_workers is None:
            num_workers = suitable_workers(device, len(views.scenes) * len(numbers))
        self._stack = ExitStack()
        num_steps = -(-len(views) // batch)
        self._nums_steps = chain([num_steps - num_done], repeat(num_steps))

        def left(number: int) -> Tensor:
            return orders(number)[num_done * batch if number == numbers[0] else 0 :]

        if num_workers:
            # In a thread on whatever device: torch's loader sets a handler of signals elsewhere.
            made = views_by_processes(views, left, numbers, batch, num_workers, num_done, max_bytes)
            batches = ahead(made, _bus_to(device, views.preprocessing))
        else:
            kept = replace(views, decoded=keep_decoded(views.scenes, max_bytes))
            made = chain.from_iterable(
                load_batches(_Pixels(replace(kept, order=left(n), epoch=n)), batch) for n in numbers
            )
            batches = _on_device(made, views.preprocessing, device)
        self._batches = self._stack.enter_context(closing(batches))

    def __exit__(self, *_: object) -> None:
        """End what makes batches."""
        self._stack.close()

    def batches(self) -> Iterator[Batch]:
        """Yield the batches of the next epoch.

        Raises:
            IndoorError: A photograph is broken, or a process that makes views died.
        """
        return islice(self._batches, next(self._nums_steps))


def suitable_workers(device: torch.device, num_views: int) -> int:
    """Return how many processes are to make so many views for a device; 0: threads of this one.

    One core is left to what launches the steps, and cores are shared with the other processes of
    the training on this machine.
    """
    if device.type == "cpu" or num_views < MIN_VIEWS:
        return 0
    num_cores = num_usable_cores()
    return 0 if num_cores < 4 else min(num_cores - 1, MAX_WORKERS)


@dataclass(frozen=True)
class _Pixels:
    """Views as a data set of pixels."""

    views: Views

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self.views.pixels(position)


def _on_device(
    made: Iterator[Batch], preprocessing: Preprocessing, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield batches of pixels normalised on the device, made in this thread where that is a CPU."""
    if device.type == "cpu":
        bus = _NoBus(preprocessing, device)
        for batch in made:
            yield bus.send(batch)
    else:
        yield from ahead(made, _bus_to(device, preprocessing))


def _bus_to(device: torch.device, preprocessing: Preprocessing) -> "Bus":
    kind = _Bus if device.type == "cuda" else _NoBus
    return kind(preprocessing, device)


@dataclass(frozen=True)
class _NoBus:
    """Has batches where they are wanted as soon as they are sent."""

    preprocessing: Preprocessing
    device: torch.device

    def send(self, batch: Batch) -> Batch:
        pixels, labels = batch
        return normalise(pixels.to(self.device), self.preprocessing), labels.to(self.device)

    def receive(self, sent: Batch) -> Batch:
        return sent


class _Bus:
    """Takes batches from pinned memory to a GPU beside what the GPU computes."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        self._preprocessing = preprocessing
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        """Return a batch that will be on the GPU, and the event that tells when it is."""
        with torch.cuda.stream(self._stream):
            pixels, labels = (
                tensor.pin_memory().to(self._device, non_blocking=True) for tensor in batch
            )
            images = normalise(pixels, self._preprocessing)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(self._stream)
        return (images, labels), arrived

    def receive(self, sent: tuple[Batch, torch.cuda.Event]) -> Batch:
        """Return a batch to whatever computes next, which waits for it on the GPU alone."""
        batch, arrived = sent
        current = torch.cuda.current_stream(self._device)
        current.wait_event(arrived)
        for tensor in batch:
            tensor.record_stream(current)  # its memory is not the other stream's until then
        return batch


class Bus(Protocol):
    """Has batches sent by one thread, and received by the one that computes."""

    def send(self, batch: Batch) -> Any:
        """Return what is received elsewhere."""
        ...

    def receive(self, sent: Any) -> Batch:
        """Return the batch."""
        ...


def ahead(made: Iterator[Batch], bus: Bus) -> Generator[Batch, None, None]:
    """Yield batches that a thread has made and sent, up to `NUM_AHEAD` before they are asked for.

    Raises:
        Exception: Whatever making them raised, when its batch is asked for.
    """
    waiting: queue.Queue[Callable[[], Batch] | None] = queue.Queue(NUM_AHEAD)
    closed = threading.Event()

    def put(one: Callable[[], Batch] | None) -> bool:
        while not closed.is_set():
            try:
                waiting.put(one, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for batch in made:
                if not put(partial(bus.receive, bus.send(batch))):
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where its batch is asked for
            put(partial(_raise, error))
        finally:
            close = getattr(made, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, name="indoor batches", daemon=True)
    thread.start()
    try:
        while (take := waiting.get()) is not None:
            yield take()
    finally:
        closed.set()
        thread.join()


def _raise(error: BaseException) -> Batch:
    raise error
