"""Tests of the full recipe: schedule, average, views, resuming after SIGKILL."""

import copy
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from killing import PREPROCESSING, Job, Runner, elsewhere, small_weights
from PIL import Image
from torch import nn

from indoor.dataset import IndoorScenes
from indoor.model import build_model, load_float
from indoor.progress import NO_PROGRESS
from indoor.train import FullResult, fine_tune, train_full
from indoor.train.augmented_views import AugmentedScenes, PlainScenes
from indoor.train.loop import (
    Run,
    Schedule,
    generator_for,
    learning_rate_factor,
    parameter_groups,
    run_epoch,
    start_run,
    update_average,
)
from indoor.train.resume_state import capture, restore
from indoor.transforms import inference_transform

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def train(photographs: Path) -> IndoorScenes:
    """The train split, 21 photographs."""
    return IndoorScenes(photographs, "train")


@pytest.fixture
def val(photographs: Path) -> IndoorScenes:
    """The validation split, 3 photographs."""
    return IndoorScenes(photographs, "val")


def network(seed: int = 1) -> nn.Module:
    """Return a small network for three classes."""
    return build_model("resnet18", 3, seed=seed)


def short(train: IndoorScenes, val: IndoorScenes, **options: object) -> FullResult:
    """Train for two epochs of two batches."""
    settings: dict[str, object] = {"epochs": 2, "batch": 10, **options}
    return train_full(network(), train, val, PREPROCESSING, **settings)  # type: ignore[arg-type]


# the schedule


def test_the_learning_rate_rises_and_falls() -> None:
    """Three steps of warm-up by quarters, then half a cosine: the numbers by hand."""
    factors = [learning_rate_factor(step, 9, 3) for step in range(9)]
    cosine = [0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(6)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, *cosine])
    assert factors[3] == 1
    assert learning_rate_factor(0, 1, 0) == 1


@pytest.mark.parametrize(
    ("num_photographs", "batch", "expected"), [(100, 32, 3), (32, 32, 1), (5, 32, 1)]
)
def test_only_whole_batches_count(num_photographs: int, batch: int, expected: int) -> None:
    """The ragged rest of an epoch is left to another epoch's order; few photographs are one."""
    schedule = Schedule(num_photographs=num_photographs, batch=batch, epochs=6)
    assert schedule.steps_per_epoch == expected
    assert schedule.num_steps == 6 * expected
    assert schedule.num_warmup == expected


def test_a_short_training_warms_up_for_a_third_at_most() -> None:
    """One epoch of warm-up would be all of a training of one epoch."""
    schedule = Schedule(num_photographs=96, batch=16, epochs=1)
    assert schedule.num_warmup == 2
    assert schedule.average_decay == pytest.approx(math.exp(-1 / 8))


def test_decay_and_rates_go_where_they_belong() -> None:
    """No batch norm or bias decays; the head learns ten times faster than the backbone."""
    model = network()
    groups = parameter_groups(model, learning_rate=0.01, backbone_factor=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen: list[str] = []
    for group in groups:
        for parameter in group["params"]:  # type: ignore[attr-defined]
            name = names[id(parameter)]
            seen.append(name)
            decays = name.endswith("weight") and ("conv" in name or "fc" in name)
            decays = decays or name.endswith("downsample.0.weight")
            assert group["weight_decay"] == (0.05 if decays else 0.0), name
            assert group["lr"] == pytest.approx(0.01 if name.startswith("fc.") else 0.001)
    assert sorted(seen) == sorted(names.values())


def test_the_average_holds_batch_norm_statistics_too() -> None:
    """Weights and running statistics move alike; the count of batches is copied."""
    average, model = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
    with torch.no_grad():
        model.weight.fill_(3)
        model.running_mean.fill_(10)  # type: ignore[union-attr]
        model.num_batches_tracked.fill_(5)  # type: ignore[union-attr]
    update_average(average, model, step=0, decay=0.99)
    # At step 0 a tenth stays: 0.1 * 1 + 0.9 * 3, and 0.1 * 0 + 0.9 * 10.
    assert average.weight.item() == pytest.approx(2.8)
    assert average.running_mean.item() == pytest.approx(9.0)  # type: ignore[union-attr]
    assert average.num_batches_tracked.item() == 5  # type: ignore[union-attr]
    update_average(average, model, step=10_000, decay=0.99)
    assert average.weight.item() == pytest.approx(0.99 * 2.8 + 0.01 * 3)


def test_generators_depend_on_their_key_alone() -> None:
    """The same key draws the same numbers, and another key others."""
    draws = [torch.rand(1, generator=generator_for(*key)).item() for key in ((1, 2), (2, 1))]
    assert draws[0] != draws[1]
    assert torch.rand(1, generator=generator_for(1, 2)).item() == draws[0]


# the views


def test_views_depend_on_seed_epoch_and_photograph(train: IndoorScenes) -> None:
    """An epoch's view of a photograph is the same in any order, and another in the next epoch."""
    forwards, backwards = torch.arange(21), torch.arange(20, -1, -1)
    views = AugmentedScenes(train, PREPROCESSING, 48, forwards, 0, 1)
    again = AugmentedScenes(train, PREPROCESSING, 48, backwards, 0, 1)
    later = AugmentedScenes(train, PREPROCESSING, 48, forwards, 0, 2)
    assert views[4][0].shape == (3, 48, 48)
    assert views[4][1] == train.samples[4].label
    assert torch.equal(views[4][0], again[16][0])
    assert not torch.equal(views[4][0], later[4][0])
    assert (len(views), len(later)) == (21, 21)


def test_plain_views_are_those_of_inference(train: IndoorScenes) -> None:
    """Validation sees what inference sees."""
    scenes = PlainScenes(train, PREPROCESSING, (7, 2))
    image, label = train[2]
    assert len(scenes) == 2
    assert torch.equal(scenes[1][0], inference_transform(PREPROCESSING)(image))
    assert scenes[1][1] == label


# the training


def test_everything_trains_on_a_copy(train: IndoorScenes, val: IndoorScenes) -> None:
    """Every weight and statistic of the result is new; the model handed in is as it was."""
    model = network()
    before = copy.deepcopy(model.state_dict())
    result = train_full(model, train, val, PREPROCESSING, epochs=2, batch=10)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert not torch.equal(tensor, result.model.state_dict()[name]), name
    assert not result.model.training
    assert result.model.get_parameter("conv1.weight").is_contiguous()


def test_it_learns(tmp_path: Path) -> None:
    """Stripes that lie and stripes that stand are told apart on photographs it has not seen."""
    generator = np.random.default_rng(0)
    for name, axis in (("lying", 0), ("standing", 1)):
        folder = tmp_path / "Images" / name
        folder.mkdir(parents=True)
        for index in range(24):
            wave = np.sin(np.mgrid[:32, :32][axis] * generator.uniform(0.8, 1.6))
            colour = generator.uniform(20, 100, size=3)
            picture = 128 + wave[..., None] * colour
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{index}.png")
    names = sorted(path.relative_to(tmp_path / "Images") for path in tmp_path.rglob("*.png"))
    lines = [name.as_posix() for name in names]
    (tmp_path / "TrainImages.txt").write_text("\n".join(lines[1:]))
    (tmp_path / "TestImages.txt").write_text(lines[0])
    train, val = (IndoorScenes(tmp_path, split, val_fraction=0.33) for split in ("train", "val"))
    # Not every start gets there in six epochs, and a CPU's last digits are a start of their own.
    model = build_model("resnet18", 2, seed=4)
    rates = {"learning_rate": 3e-3, "backbone_factor": 1.0}
    result = train_full(model, train, val, PREPROCESSING, epochs=6, batch=8, **rates)
    best = result.curves.epochs[result.curves.best_epoch - 1]
    assert best.val_accuracy >= 0.8, "by guessing 13 of 16 are right in 1% of trainings"


def test_the_result_is_the_best_epochs_average(train: IndoorScenes, val: IndoorScenes) -> None:
    """The figures of the best epoch are those of the network that is returned."""
    result = short(train, val, epochs=3, learning_rate=3e-3)
    best = result.curves.epochs[result.curves.best_epoch - 1]
    transform = inference_transform(PREPROCESSING)
    with torch.no_grad():
        logits = torch.cat([result.model(transform(image)[None]) for image, _ in val])
    labels = torch.tensor(val.labels)
    assert nn.functional.cross_entropy(logits, labels).item() == pytest.approx(
        best.val_loss, rel=1e-4
    )
    assert (logits.argmax(1) == labels).double().mean().item() == pytest.approx(best.val_accuracy)


def test_what_decided_it_is_recorded(train: IndoorScenes, val: IndoorScenes) -> None:
    """Size, rates and device stand beside the curves."""
    settings = short(train, val, size=40, epochs=1, settings={"threads": 1}).curves.settings
    assert settings == {
        "optimizer": "AdamW",
        "learning_rate": 1e-3,
        "backbone_factor": 0.1,
        "weight_decay": 0.05,
        "warmup_epochs": 1,
        "label_smoothing": 0.1,
        "batch": 10,
        "size": 40,
        "seed": 0,
        "device": "cpu",
        "threads": 1,
    }


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_autocast_leaves_weights_float32(
    train: IndoorScenes,
    val: IndoorScenes,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype | None,
) -> None:
    """With and without bfloat16 the checkpoint is float32 and the losses are finite."""
    monkeypatch.setattr("indoor.train.loop.autocast_dtype", lambda _: dtype)
    result = short(train, val, epochs=1)
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    assert math.isfinite(result.curves.epochs[0].val_loss)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"batch": 1}, {"size": 31}])
def test_senseless_arguments_are_refused(
    train: IndoorScenes, val: IndoorScenes, options: dict[str, int]
) -> None:
    """No epoch, batches of one and views of nothing are bad arguments."""
    with pytest.raises(ValueError, match=r"expected epochs >= 1, batch >= 2 and size >= 32, not"):
        short(train, val, **options)


def test_too_few_photographs_are_refused(train: IndoorScenes, val: IndoorScenes) -> None:
    """Batch norm cannot train on one photograph."""
    train.samples = train.samples[:1]
    with pytest.raises(ValueError, match=r"expected 2 train and 1 validation .*, not 1 and 3"):
        short(train, val)


def test_a_run_comes_back_from_its_tensors() -> None:
    """Captured after one epoch and restored into a fresh run, the second epoch is the same."""
    schedule = Schedule(num_photographs=21, batch=7, epochs=2)
    rates = {"learning_rate": 1e-3, "backbone_factor": 0.5}
    cpu = torch.device("cpu")
    batches = [(torch.randn(7, 3, 32, 32), torch.arange(7) % 3) for _ in range(3)]

    def advance(run: object, number: int) -> None:
        run_epoch(
            run,  # type: ignore[arg-type]
            batches,
            schedule,
            number,
            device=cpu,
            progress=NO_PROGRESS,
        )

    def tensors(run: Run) -> dict[str, torch.Tensor]:
        return capture(run.optimizer, model=run.model, average=run.average)

    whole = start_run(network(), cpu, **rates)
    advance(whole, 1)
    saved = {name: tensor.clone() for name, tensor in tensors(whole).items()}
    advance(whole, 2)
    resumed = start_run(network(9), cpu, **rates)
    restore(saved, resumed.optimizer, model=resumed.model, average=resumed.average)
    advance(resumed, 2)
    for name, tensor in tensors(whole).items():
        assert torch.equal(tensor, tensors(resumed)[name]), name


# the whole of it, killed


def test_the_checkpoint_of_a_full_training(photographs: Path, tmp_path: Path) -> None:
    """What is written loads, and says which epoch and size it was."""
    result = fine_tune(
        photographs,
        small_weights(),
        arch="resnet18",
        recipe="full",
        out=tmp_path / "x",
        epochs=2,
        size=40,
        device="cpu",
    )
    manifest = load_float(result.path).manifest
    assert manifest == result.manifest
    assert manifest.preprocessing == PREPROCESSING
    assert manifest.epoch == result.curves.best_epoch
    assert result.curves.recipe == "full"
    assert result.curves.settings["size"] == 40
    assert result.curves.settings["backbone_factor"] == 0.1


def test_random_weights_train_at_one_rate(photographs: Path, tmp_path: Path) -> None:
    """A random backbone has nothing to keep, so it learns as fast as the head."""
    result = fine_tune(
        photographs,
        small_weights("none"),
        arch="resnet18",
        recipe="full",
        out=tmp_path / "x",
        epochs=1,
        device="cpu",
    )
    assert result.curves.settings["backbone_factor"] == 1.0


@pytest.fixture(scope="module")
def runner() -> Runner:
    """One fork server for the module."""
    return Runner()


@pytest.fixture(scope="module")
def uninterrupted(
    runner: Runner, photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Job, int]:
    """A full training that nothing interrupted, and how many steps of writes it took."""
    job = Job(root=photographs, home=tmp_path_factory.mktemp("whole"), recipe="full", epochs=2)
    return job, runner.finish(job)


@pytest.mark.slow
def test_killed_while_it_writes(
    runner: Runner, uninterrupted: tuple[Job, int], tmp_path: Path
) -> None:
    """SIGKILL while a state, the curves and the checkpoint are written: the same bytes."""
    whole, num_writes = uninterrupted
    assert num_writes == 3 * 4
    job = elsewhere(whole, tmp_path)
    # Each process finds what the one before left: nothing, half a state, the first, the second.
    for step in (1, 2, 3, 1, 3, 2, 6):
        runner.kill_at_write(job, step)
    runner.finish(job)
    assert job.checkpoint() == whole.checkpoint()
    assert job.history() == whole.history()


@pytest.mark.slow
def test_killed_at_random_moments(
    runner: Runner, uninterrupted: tuple[Job, int], tmp_path: Path
) -> None:
    """Whatever a process does when SIGKILL comes, the ones after it end at the same bytes."""
    whole, _ = uninterrupted
    job = elsewhere(whole, tmp_path)
    moments = random.Random(5)
    num_killed = sum(runner.kill_after(job, moments.uniform(0.05, 1.5)) for _ in range(6))
    assert num_killed >= 2
    runner.finish(job)
    assert job.checkpoint() == whole.checkpoint()
    assert job.history() == whole.history()
