"""Batches made ahead of their steps: the same bits by threads, by processes, kept or not."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killing import PREPROCESSING
from PIL import Image
from torch import Tensor

from indoor.dataset import IndoorScenes, Sample, load_sample
from indoor.dataset.kept import Kept, affordable_bytes
from indoor.errors import IndoorError
from indoor.files import read_bytes
from indoor.model import build_model, thin
from indoor.ranks import Ranks
from indoor.train import loader as module
from indoor.train import state_writer, train_full
from indoor.train.augmented_views import AugmentedScenes, PlainScenes, keep_decoded
from indoor.train.head import epoch_order
from indoor.train.loader import Batch, Epochs, ahead, batches_of, suitable_workers
from indoor.train.resume_state import State, read_state
from indoor.train.state_writer import StateWriter

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SEED = 3
SIZE = 40


@pytest.fixture
def train(photographs: Path) -> IndoorScenes:
    """The train split, 21 photographs."""
    return IndoorScenes(photographs, "train")


def views_of(scenes: IndoorScenes, epoch: int = 1, size: int = SIZE) -> AugmentedScenes:
    """Return an epoch's views."""
    return AugmentedScenes(
        scenes, PREPROCESSING, size, order_of(scenes)(epoch), seed=SEED, epoch=epoch
    )


def order_of(scenes: IndoorScenes) -> Any:
    """Return what returns an epoch's order, of 18 photographs."""
    return lambda epoch: epoch_order(len(scenes), SEED, epoch)[:18]


def one_by_one(scenes: IndoorScenes, epoch: int) -> Tensor:
    """Return an epoch's normalised views as a photograph at a time gives them."""
    views = views_of(scenes, epoch)
    return torch.stack([views[position][0] for position in range(len(views))])


def assert_epochs(epochs: Epochs, scenes: IndoorScenes, numbers: range) -> None:
    """Hold each epoch's batches against the views one by one."""
    for number in numbers:
        batches = list(epochs.batches())
        assert [len(labels) for _, labels in batches] == [6, 6, 6]
        images = torch.cat([images for images, _ in batches])
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, one_by_one(scenes, number))
        labels = torch.cat([labels for _, labels in batches])
        order = order_of(scenes)(number).tolist()
        assert labels.tolist() == [scenes.samples[index].label for index in order]
    assert list(epochs.batches()) == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_whoever_makes_a_view_makes_the_same(train: IndoorScenes, num_workers: int) -> None:
    """Threads and processes give each epoch's views in its order, bit for bit; a resumed one's."""
    numbers = range(2, 5)
    views = views_of(train)
    with Epochs(views, order_of(train), numbers, 6, CPU, num_workers) as epochs:
        assert_epochs(epochs, train, numbers)


def test_training_has_nothing_left_to_make(train: IndoorScenes) -> None:
    """A training that had ended before it was killed opens no photograph."""
    with Epochs(views_of(train), order_of(train), range(5, 5), 6, CPU) as epochs:
        assert list(epochs.batches()) == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_epoch_lacks_the_batches_before(train: IndoorScenes, num_workers: int) -> None:
    """The first epoch's alone; the one after it is whole."""
    order = order_of(train)
    with Epochs(views_of(train), order, range(1, 3), 6, CPU, num_workers, num_done=2) as epochs:
        left = list(epochs.batches())
        assert len(left) == 1
        assert torch.equal(left[0][0], one_by_one(train, 1)[12:])
        assert_epochs(epochs, train, range(2, 3))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_photograph_is_one_line(
    photographs: Path, tmp_path: Path, num_workers: int
) -> None:
    """It is named whichever process opened it, and none stays behind."""
    before = workers()
    root = Path(shutil.copytree(photographs, tmp_path / "data"))
    scenes = IndoorScenes(root, "train")
    scenes.samples[int(order_of(scenes)(1)[14])].path.write_bytes(b"no photograph")
    with Epochs(views_of(scenes), order_of(scenes), range(1, 2), 6, CPU, num_workers) as epochs:
        batches = epochs.batches()
        assert len(next(batches)[1]) == 6
        with pytest.raises(IndoorError, match=r"\.jpg is no image of a known kind .*skip-broken$"):
            list(batches)
    assert workers() == before


def workers() -> set[int]:
    """Return the processes that this one has started and that live."""
    return {child.pid for child in torch.multiprocessing.active_children() if child.pid}


def test_a_process_that_dies_is_one_line(train: IndoorScenes) -> None:
    """What made views and is gone ends the training, with what there is to do."""
    before = workers()
    with Epochs(views_of(train), order_of(train), range(1, 400), 6, CPU, 1) as epochs:
        next(epochs.batches())
        (worker,) = workers() - before
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(IndoorError, match=r"^a process that makes views .* died: .*/dev/shm$"):
            torch.cat([labels for _ in range(400) for _, labels in epochs.batches()])


def test_nobodys_generator_is_drawn_from(train: IndoorScenes) -> None:
    """A training's dropout draws what it always drew, with processes, too."""
    before = torch.get_rng_state()
    with Epochs(views_of(train), order_of(train), range(1, 2), 6, CPU, 1) as epochs:
        list(epochs.batches())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("device", "num_views", "num_cores", "expected"),
    [
        ("cpu", 100_000, 64, 0),
        ("cuda", module.MIN_VIEWS - 1, 64, 0),
        ("cuda", 100_000, 3, 0),
        ("cuda", 100_000, 16, 15),
        ("cuda", 100_000, 128, module.MAX_WORKERS),
        ("mps", 100_000, 8, 7),
    ],
)
def test_processes_are_for_what_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    num_views: int,
    num_cores: int,
    expected: int,
) -> None:
    """A CPU has no core to spare, a short training no time."""
    monkeypatch.setattr(module, "num_usable_cores", lambda: num_cores)
    assert suitable_workers(torch.device(device), num_views) == expected


# what is kept


def test_a_kept_photograph_is_opened_once(train: IndoorScenes) -> None:
    """The second epoch's views come from memory, and are those of the file."""
    kept = keep_decoded(train)
    for epoch in (1, 2):
        views = replace(views_of(train, epoch), decoded=kept)
        made = torch.stack([views[position][0] for position in range(len(views))])
        assert torch.equal(made, one_by_one(train, epoch))
    assert len(kept) == len(set(order_of(train)(1).tolist()) | set(order_of(train)(2).tolist()))


def test_what_does_not_fit_is_made_again() -> None:
    """Keeping stops at the bytes that it was given, and calls go on."""
    asked: list[int] = []

    def make(index: int) -> Tensor:
        asked.append(index)
        return torch.full((100,), index, dtype=torch.uint8)

    kept = Kept(make, max_bytes=250)
    for _ in range(2):
        assert [int(kept(index)[0]) for index in range(4)] == [0, 1, 2, 3]
    assert len(kept) == 2
    assert asked == [0, 1, 2, 3, 2, 3]


def test_a_photograph_counts_with_its_channels() -> None:
    """Grey ones take a byte a pixel, the others three."""
    modes = ("L", "RGB")
    kept = Kept(lambda index: Image.new(modes[index], (10, 5)), max_bytes=150)
    kept(0)
    kept(1)
    assert len(kept) == 1


def test_memory_is_shared_by_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four ranks keep together what one would."""
    monkeypatch.setattr("indoor.dataset.kept.free_memory_bytes", lambda: 8000)
    assert affordable_bytes() == 2000
    monkeypatch.setattr("indoor.dataset.kept.read_ranks", lambda: Ranks(size=4, local_size=4))
    assert affordable_bytes() == 500


def test_a_training_keeps_within_one_share_of_memory(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views of training and both validations together; what is small leaves the rest to them."""
    given: list[int | None] = []
    make = Kept.__init__

    def making(kept: Any, what: Any, max_bytes: int | None = None) -> None:
        given.append(max_bytes)
        make(kept, what, max_bytes)

    monkeypatch.setattr(Kept, "__init__", making)
    sets = IndoorScenes(photographs, "train"), IndoorScenes(photographs, "val")
    view = 3 * PREPROCESSING.size**2
    for affordable, expected in ((100 * view, [3 * view, 3 * view, 94 * view]), (40, [10, 10, 20])):
        monkeypatch.setattr("indoor.train.full.affordable_bytes", lambda of=affordable: of)
        given.clear()
        train_full(build_model(thin("resnet18"), 3), *sets, PREPROCESSING, epochs=1)
        assert given == expected


@pytest.mark.parametrize("keeps", [True, False])
def test_validation_opens_its_photographs_once(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    """Its views are the same in every epoch, so they are kept; the bits are those of inference."""
    opened: list[Path] = []

    def opening(sample: Sample, *, keep_grey: bool) -> Image.Image:
        opened.append(sample.path)
        return load_sample(sample, keep_grey=keep_grey)

    monkeypatch.setattr("indoor.train.augmented_views.load_sample", opening)
    scenes = IndoorScenes(photographs, "train")
    plain = PlainScenes(scenes, PREPROCESSING, (7, 2, 11), keeps=keeps)
    expected = torch.stack([plain[position][0] for position in range(3)])
    opened.clear()
    for _ in range(3):
        batches = list(batches_of(plain, 2, CPU))
        assert torch.equal(torch.cat([images for images, _ in batches]), expected)
        assert torch.cat([labels for _, labels in batches]).tolist() == [
            scenes.samples[index].label for index in (7, 2, 11)
        ]
    assert len(opened) == (3 if keeps else 9)


def test_a_grey_photograph_gives_the_views_of_its_rgb(photographs: Path, tmp_path: Path) -> None:
    """Decoded grey it is cropped and recoloured in a third of the time, to the same bits."""
    root = Path(shutil.copytree(photographs, tmp_path / "data"))
    scenes = IndoorScenes(root, "train")
    generator = np.random.default_rng(0)
    for index in range(6):
        pixels = generator.integers(0, 256, size=(50, 70)).astype(np.uint8)
        Image.fromarray(pixels).save(scenes.samples[index].path, quality=90)
    views = replace(views_of(scenes), order=torch.arange(6))
    modes = [keep_decoded(scenes)(index).mode for index in range(7)]
    assert modes == ["L"] * 6 + ["RGB"]
    as_rgb: Kept[Image.Image] = Kept(lambda index: scenes[index][0])
    in_rgb = replace(views, decoded=as_rgb)
    for position in range(6):
        assert as_rgb(position).mode == "RGB"
        assert torch.equal(views[position][0], in_rgb[position][0])
        assert torch.equal(views.pixels(position)[0], in_rgb.pixels(position)[0])


# ahead of the device


class NoBus:
    """Sends nothing anywhere, and remembers which threads did what."""

    def __init__(self) -> None:
        self.senders: list[str] = []

    def send(self, batch: Batch) -> Batch:
        """Return the batch."""
        self.senders.append(threading.current_thread().name)
        return batch

    def receive(self, sent: Batch) -> Batch:
        """Return the batch, to the thread that computes."""
        assert threading.current_thread() is threading.main_thread()
        return sent


def numbered(count: int, closed: list[bool]) -> Iterator[Batch]:
    """Yield that many batches of one number each."""
    try:
        for number in range(count):
            yield torch.tensor([number]), torch.tensor([number])
    finally:
        closed.append(True)


def test_batches_are_sent_before_they_are_asked_for() -> None:
    """Another thread sends them, in order, and waits where enough of them wait."""
    bus, closed = NoBus(), [False]
    batches = ahead(numbered(9, closed), bus)
    assert int(next(batches)[0]) == 0
    for _ in range(200):
        if len(bus.senders) == module.NUM_AHEAD + 2:
            break
        threading.Event().wait(0.01)
    assert len(bus.senders) == module.NUM_AHEAD + 2  # taken, waiting, and one in hand
    assert [int(images) for images, _ in batches] == list(range(1, 9))
    assert set(bus.senders) == {"indoor batches"}
    assert closed == [False, True]


def test_what_is_not_asked_for_any_more_ends() -> None:
    """A training that fails leaves no thread behind, and what made batches is closed."""
    closed: list[bool] = []
    batches = ahead(numbered(10**9, closed), NoBus())
    next(batches)
    batches.close()
    assert closed == [True]
    assert "indoor batches" not in {thread.name for thread in threading.enumerate()}


def test_an_error_comes_when_its_batch_is_asked_for() -> None:
    """The batches before it are trained on, as without a thread."""

    def failing() -> Iterator[Batch]:
        yield torch.tensor([0]), torch.tensor([0])
        raise IndoorError("broken")

    batches = ahead(failing(), NoBus())
    assert int(next(batches)[0]) == 0
    with pytest.raises(IndoorError, match=r"^broken$"):
        next(batches)


# the state


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_state_is_there_when_its_training_ends(tmp_path: Path, device: str) -> None:
    """Written at once or beside the next epoch, it is what it was when it was handed over."""
    path = tmp_path / "state.safetensors"
    weights = torch.ones(3)
    with StateWriter(path, torch.device(device)) as states:
        for epoch in (1, 2):
            states.write(State({"weights": weights}, epoch, None))
            if device == "cpu":
                assert read_bytes(path)
            weights += 1
    found = read_state(path)
    assert found is not None
    assert found.num_epochs == 2
    assert found.tensors["weights"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_state_that_cannot_be_written_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """The error of another thread is not lost."""

    def fail(*_: object) -> None:
        raise IndoorError("no room")

    monkeypatch.setattr(state_writer, "write_state", fail)
    writing = StateWriter(tmp_path / "x", torch.device(device))
    with pytest.raises(IndoorError, match=r"^no room$"), writing as states:
        states.write(State({"weights": torch.ones(1)}, 1, None))


def test_nothing_is_written_where_nothing_is_kept() -> None:
    """Without a path there is no state."""
    with StateWriter(None, CPU) as states:
        states.write(State({}, 1, None))
