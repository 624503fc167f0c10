"""Tests of what a training keeps: nothing told is lost, and within an epoch it goes on as well."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import PREPROCESSING, Job, Runner, elsewhere
from torch import Tensor

from indoor.dataset import IndoorScenes, write_shards
from indoor.errors import IndoorError
from indoor.model import build_model, thin
from indoor.progress import Progress
from indoor.train import FullResult, full, resume_state, scratch, state_writer, train_full
from indoor.train.resume_state import State, read_state
from indoor.train.state_writer import StateWriter

pytestmark = pytest.mark.usefixtures("one_thread")

GPU = torch.device("cuda")
"""For what only asks whether it is a CPU."""

NUM_STEPS = 4
"""Of an epoch: 21 photographs, 5 a step."""


class Ears:
    """Keeps what it is told; `at_end` hears of each work's end."""

    def __init__(self, at_end: Callable[[], None] = lambda: None) -> None:
        self.heard: list[object] = []
        self.at_end = at_end

    def start(self, description: str, total: int) -> None:
        """Keep it."""
        self.heard.append(f"{description}, {total}")

    def advance(self, count: int = 1) -> None:
        """Keep it."""
        self.heard.append(count)

    def finish(self) -> None:
        """Keep it, and ask."""
        self.heard.append("finished")
        self.at_end()


# beside the next epoch, as on a GPU


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """States are not written before this event."""
    may_write = threading.Event()
    write = resume_state.write_state

    def wait_and_write(path: Path, state: State) -> None:
        assert may_write.wait(60)
        write(path, state)

    monkeypatch.setattr(state_writer, "write_state", wait_and_write)
    yield may_write
    may_write.set()


def test_an_epoch_is_told_once_its_state_stands(held: threading.Event, tmp_path: Path) -> None:
    """The steps of the next one go on meanwhile, and are told after it, in order."""
    ears = Ears()
    path = tmp_path / "state.safetensors"
    with StateWriter(path, GPU, ears) as states:
        states.progress.start("epoch 1", 5)
        states.progress.advance(5)
        states.write(State({"weights": torch.ones(3)}, 1, None))
        states.progress.finish()
        states.progress.start("epoch 2", 5)
        states.progress.advance(2)
        assert ears.heard == ["epoch 1, 5", 5]
        assert not path.exists()
        held.set()
    assert ears.heard == ["epoch 1, 5", 5, "finished", "epoch 2, 5", 2]


@pytest.mark.parametrize("num_epochs", [1, 2])
def test_an_epoch_that_could_not_be_kept_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_epochs: int
) -> None:
    """A disk that is full ends the training, and nothing says that the epoch is over."""

    def fail(*_: object) -> None:
        raise IndoorError("no room")

    monkeypatch.setattr(state_writer, "write_state", fail)
    ears = Ears()

    def keep() -> None:
        with StateWriter(tmp_path / "x", GPU, ears) as states:
            for epoch in range(num_epochs):
                states.write(State({"weights": torch.ones(1)}, epoch + 1, None))
                states.progress.finish()

    with pytest.raises(IndoorError, match=r"^no room$"):
        keep()
    assert ears.heard == []


@pytest.fixture
def scenes(photographs: Path) -> tuple[IndoorScenes, IndoorScenes]:
    """The train split, 21 photographs, and 3 for validation."""
    return IndoorScenes(photographs, "train"), IndoorScenes(photographs, "val")


Scenes = tuple[IndoorScenes, IndoorScenes]


def train(
    scenes: Scenes, state_path: Path | None = None, arch: str = "resnet18", **options: Any
) -> FullResult:
    """Train a thin network for two epochs of four steps."""
    model = build_model(thin(arch), 3, seed=1)
    options = {"epochs": 2, "batch": 5, "state_path": state_path, **options}
    return train_full(model, *scenes, PREPROCESSING, **options)


def test_at_each_end_that_is_told_a_state_stands(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a training whose states are written by a thread, whenever it may be killed after that."""
    path = tmp_path / "state.safetensors"
    found: list[int] = []

    def look() -> None:
        state = read_state(path)
        found.append(-1 if state is None else state.num_epochs)

    def on_gpu(path: Path | None, _: torch.device, progress: Progress) -> StateWriter:
        return StateWriter(path, GPU, progress)

    monkeypatch.setattr(full, "StateWriter", on_gpu)
    train(scenes, path, epochs=3, progress=Ears(look))
    assert len(found) == 3
    assert all(stands >= told for told, stands in enumerate(found, start=1))


# within an epoch


class CutError(Exception):
    """Where a training is killed."""


def cut_after(num_photographs: int) -> Ears:
    """Return what ends a training once it hears of the so manieth photograph of a step."""
    left = num_photographs

    class Cutting(Ears):
        def advance(self, count: int = 1) -> None:
            nonlocal left
            left -= count
            if left <= 0:
                raise CutError

    return Cutting()


def assert_same(one: FullResult, other: FullResult) -> None:
    """Fail unless weights and figures are the same to the last bit."""
    theirs = other.model.state_dict()
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    figures: list[list[dict[str, object]]] = [
        [{k: v for k, v in vars(epoch).items() if k != "seconds"} for epoch in result.curves.epochs]
        for result in (one, other)
    ]
    assert figures[0] == figures[1]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is kept."""
    monkeypatch.setattr(state_writer, "KEEP_EVERY_S", 0.0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize(("told", "num_epochs", "step"), [(13, 0, 2), (20 + 6 + 9, 1, 1)])
def test_an_epoch_goes_on_at_the_step_that_was_kept(
    scenes: Scenes, tmp_path: Path, arch: str, told: int, num_epochs: int, step: int
) -> None:
    """To the same bits, in the first epoch and in a later one, dropout or not.

    Told are steps of five photographs, and three and three by each validation.
    """
    path = tmp_path / "state.safetensors"
    with pytest.raises(CutError):
        train(scenes, path, arch, progress=cut_after(told))
    state = read_state(path)
    assert state is not None
    assert (state.num_epochs, state.step) == (num_epochs, step)
    assert state.seconds > 0
    ears = Ears()
    result = train(scenes, path, arch, progress=ears)
    assert ears.heard[:2] == [f"epoch {num_epochs + 1} of 2, 26", step * 5]
    assert_same(result, train(scenes, arch=arch))
    assert result.curves.epochs[num_epochs].seconds > state.seconds


def test_a_short_epoch_is_kept_at_its_end_alone(scenes: Scenes, tmp_path: Path) -> None:
    """Nothing is written within it, and its state says nothing of steps."""
    path = tmp_path / "state.safetensors"
    with pytest.raises(CutError):
        train(scenes, path, progress=cut_after(19))
    assert read_state(path) is None
    train(scenes, path)
    state = read_state(path)
    assert state is not None
    assert (state.num_epochs, state.step) == (2, 0)
    assert not any(name.startswith("random") for name in state.tensors)


@pytest.mark.usefixtures("eager")
def test_shards_go_on_within_an_epoch(photographs: Path, tmp_path: Path) -> None:
    """Streamed a window of shards at a time, and only what is left is read."""
    root = tmp_path / "shards"
    write_shards(photographs, root, shard_bytes=6_000)
    streamed = IndoorScenes(root, "train"), IndoorScenes(root, "val")
    path = tmp_path / "state.safetensors"
    with pytest.raises(CutError):
        train(streamed, path, progress=cut_after(13), shards_at_once=2)
    result = train(streamed, path, shards_at_once=2)
    assert_same(result, train(streamed, shards_at_once=2))


@pytest.mark.usefixtures("eager")
def test_a_random_backbone_goes_on_within_an_epoch(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brief training that its head waits for is kept like any other."""
    monkeypatch.setattr(scratch, "SCRATCH_BATCH", 5)

    def backbone(name: str, progress: Progress) -> dict[str, Tensor]:
        model = build_model(thin("mobilenet_v2"), 3, seed=1)
        trained = scratch.train_backbone(
            model,
            scenes[0],
            PREPROCESSING,
            epochs=2,
            seed=0,
            device=torch.device("cpu"),
            state_path=tmp_path / name,
            progress=progress,
        )
        return dict(trained.state_dict())

    with pytest.raises(CutError):
        backbone("cut", cut_after(34))
    state = read_state(tmp_path / "cut")
    assert state is not None
    assert (state.num_epochs, state.step) == (1, 2)
    found, whole = backbone("cut", Ears()), backbone("whole", Ears())
    for name, tensor in whole.items():
        assert torch.equal(tensor, found[name]), name


@pytest.fixture(scope="module")
def runner() -> Runner:
    """One fork server for the module."""
    return Runner()


@pytest.mark.slow
def test_killed_while_it_writes_within_an_epoch(
    runner: Runner, photographs: Path, tmp_path: Path
) -> None:
    """SIGKILL at the steps of such a write: each process goes on from what the last one kept."""
    whole = Job(
        root=photographs,
        home=tmp_path / "whole",
        recipe="full",
        arch=thin("resnet18"),
        epochs=2,
        batch=5,
    )
    runner.finish(whole)
    job = elsewhere(whole, tmp_path / "killed")
    kept = replace(job, keeps_steps=True)
    # Nothing yet; three steps; the end of the epoch half written; within the second epoch.
    for step in (2, 9, 2, 7):
        runner.kill_at_write(kept, step)
    num_left = runner.finish(kept)
    assert num_left < 3 * (2 * NUM_STEPS + 2) - 9
    assert job.checkpoint() == whole.checkpoint()
    assert job.history() == whole.history()
