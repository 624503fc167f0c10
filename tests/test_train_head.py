"""Tests of the head recipe, and of resuming after SIGKILL."""

import dataclasses
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import RECIPES, Job, Runner, elsewhere, small_weights
from torch import Tensor, nn

from indoor.dataset import IndoorScenes
from indoor.devices import autocast_dtype, choose_device, use_threads
from indoor.errors import IndoorError
from indoor.locks import locked
from indoor.machine import reading
from indoor.machine.processor import Processor
from indoor.model import WeightsResult, build_model, load_float
from indoor.records import Epoch, TrainingCurves, read_record
from indoor.train import Features, TrainResult, fine_tune, is_trained_for, train_head
from indoor.train.head import epoch_order
from indoor.train.resume_state import State, best_epoch, overfit_note, read_state, write_state
from indoor.train.scratch import (
    fold_standardisation,
    reestimate_batch_norm,
    standardise,
    zero_residuals,
)
from indoor.transforms import inference_transform

pytestmark = pytest.mark.usefixtures("one_thread")


def blobs(num: int, seed: int, spread: float = 1.0) -> Features:
    """Return features of three classes that a line can nearly tell apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num) % 3
    centres = torch.eye(3, 8) * 3
    values = centres[labels] + spread * torch.randn(num, 8, generator=generator)
    return Features(values, labels)


def new_head(num_features: int = 8, num_classes: int = 3) -> nn.Linear:
    """Return a head with fixed weights."""
    head = nn.Linear(num_features, num_classes)
    with torch.no_grad():
        count = num_features * num_classes
        head.weight.copy_(torch.linspace(-0.1, 0.1, count).view(num_classes, num_features))
        head.bias.zero_()
    return head


def epoch(number: int, val_accuracy: float, val_loss: float = 1.0, train: float = 0.5) -> Epoch:
    """Return an epoch with figures that matter here."""
    return Epoch(
        epoch=number,
        train_loss=1.0,
        train_accuracy=train,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        learning_rate=0.001,
        seconds=0.0,
    )


def without_seconds(curves: TrainingCurves) -> TrainingCurves:
    """Return the curves with the one figure left out that no two runs share."""
    epochs = tuple(dataclasses.replace(e, seconds=0.0) for e in curves.epochs)
    return dataclasses.replace(curves, epochs=epochs)


# the training itself


def test_two_epochs_by_hand() -> None:
    """SGD with momentum on one photograph gives the numbers that arithmetic gives."""
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    one = Features(torch.tensor([[2.0]]), torch.tensor([1]))
    result = train_head(head, one, one, epochs=2, learning_rate=0.1)
    # Epoch 1: p = (1/2, 1/2), so the bias's gradient is (1/2, -1/2), the weight's twice that.
    bias, velocity = 0.1 * 0.5, 0.5
    weight = 2 * bias
    # Epoch 2: the logits are -+(2 weight + bias).
    p0 = 1 / (1 + math.exp(2 * (2 * weight + bias)))
    velocity = 0.9 * velocity + p0
    bias += 0.1 * velocity
    weight += 0.1 * 2 * velocity
    assert result.head.bias.tolist() == pytest.approx([-bias, bias], rel=1e-5)
    assert result.head.weight.flatten().tolist() == pytest.approx([-weight, weight], rel=1e-5)
    last = result.curves.epochs[-1]
    loss = math.log1p(math.exp(-2 * (2 * weight + bias)))
    assert last.train_loss == last.val_loss == pytest.approx(loss, rel=1e-5)


def test_the_head_learns_and_leaves_its_start_alone() -> None:
    """Blobs are learnt; the head that was handed in and torch's generator stay as they were."""
    head = new_head()
    before = head.weight.detach().clone()
    state = torch.get_rng_state()
    result = train_head(head, blobs(90, 1), blobs(30, 2), epochs=20)
    assert result.curves.epochs[-1].val_accuracy > 0.85
    assert torch.equal(head.weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert result.curves.settings["learning_rate"] == 0.001
    assert result.curves.settings["momentum"] == 0.9
    assert result.curves.settings["batch"] == 16


def test_the_same_head_as_through_the_backbone(photographs: Path, tmp_path: Path) -> None:
    """Cached features end at the head that the plain loop through the backbone ends at."""
    weights = small_weights()
    result = run(photographs, tmp_path, epochs=4)
    trained = load_float(result.path).model.get_submodule("fc")
    backbone, head = plain_loop(weights, photographs, epochs=result.manifest.epoch or 0)
    assert isinstance(trained, nn.Linear)
    assert (trained.weight - head.weight).abs().max() < 1e-4
    assert (trained.bias - head.bias).abs().max() < 1e-4
    assert not backbone.training


def plain_loop(weights: WeightsResult, root: Path, epochs: int) -> tuple[nn.Module, nn.Linear]:
    """Train `fc` as the reference does, every epoch through the backbone (in eval mode)."""
    from indoor.model import replace_head

    scenes = IndoorScenes(root, "train", inference_transform(weights.preprocessing))
    network = replace_head(weights.model, 3, seed=0).requires_grad_(False)
    head = network.get_submodule("fc").requires_grad_(True)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.001, momentum=0.9)
    for number in range(1, epochs + 1):
        for rows in epoch_order(len(scenes), 0, number).split(16):
            images = torch.stack([scenes[int(i)][0] for i in rows])
            labels = torch.tensor([scenes[int(i)][1] for i in rows])
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
    assert isinstance(head, nn.Linear)
    return network, head


def test_orders_differ_by_epoch_and_seed() -> None:
    """Each epoch has its own permutation, and the same one whenever it is asked for."""
    orders = [epoch_order(50, seed, number).tolist() for seed in (0, 1) for number in (1, 2)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(50, 1, 2).tolist() == orders[3]


def test_the_best_epochs_head_is_kept() -> None:
    """Where validation gets worse, the head is that of the epoch before it did."""
    train = blobs(60, 1)
    val = Features(train.values, (train.labels + 1) % 3)
    result = train_head(new_head(), train, val, epochs=6, learning_rate=0.05)
    best = result.curves.best_epoch
    assert best < 6
    short = train_head(new_head(), train, val, epochs=best, learning_rate=0.05)
    assert torch.equal(result.head.weight, short.head.weight)


@pytest.mark.parametrize(("epochs", "batch", "num"), [(0, 16, 9), (1, 0, 9), (1, 16, 0)])
def test_senseless_arguments_are_refused(epochs: int, batch: int, num: int) -> None:
    """No epoch, no batch or no photograph is a bad argument."""
    with pytest.raises(ValueError, match=r"must be 1 or more|needs train and validation"):
        train_head(new_head(), blobs(num, 1), blobs(9, 2), epochs=epochs, batch=batch)


# curves


def test_the_best_epoch_is_by_accuracy_then_loss_then_time() -> None:
    """Validation accuracy decides, then validation loss, then which came first."""
    epochs = [epoch(1, 0.7, 0.9), epoch(2, 0.8, 0.7), epoch(3, 0.8, 0.6), epoch(4, 0.8, 0.6)]
    assert best_epoch(epochs).epoch == 3
    assert best_epoch([*epochs, epoch(5, 0.81, 5.0)]).epoch == 5


def test_overfitting_is_noted_with_its_figure() -> None:
    """30 points over 200 photographs are noted; the interval is Newcombe's, done by hand."""
    note = overfit_note(epoch(7, val_accuracy=0.6, train=0.9), 200, 200)
    # Wilson: 180/200 -> 0.8506..0.9344, 120/200 -> 0.5308..0.6654 (z = 1.96).
    low = 30 - 100 * math.hypot(0.9 - 0.85063, 0.66540 - 0.6)
    high = 30 + 100 * math.hypot(0.93435 - 0.9, 0.6 - 0.53081)
    assert note == (
        "overfits: at epoch 7 90.0% of 200 train and 60.0% of 200 validation photographs are "
        f"right, 30.0 points apart (95% interval {low:.1f} to {high:.1f})"
    )


@pytest.mark.parametrize(
    ("train", "val", "num"), [(0.95, 0.86, 1000), (0.8, 0.6, 10), (0.6, 0.9, 500)]
)
def test_chance_and_small_gaps_are_not_noted(train: float, val: float, num: int) -> None:
    """Under ten points, within chance, or the other way round: no note."""
    assert overfit_note(epoch(1, val_accuracy=val, train=train), num, num) is None


# devices and threads


def test_the_device_is_the_first_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice takes cuda before mps before cpu."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device().type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device().type == "cuda"
    assert choose_device("cpu").type == "cpu"


def test_a_device_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing or unknown device says which there are."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(IndoorError, match=r"device 'cuda' is not usable .* one of cpu; choose"):
        choose_device("cuda")
    with pytest.raises(IndoorError, match=r"unknown device 'tpu'; expected one of auto, cuda"):
        choose_device("tpu")


@pytest.mark.parametrize(
    ("device", "isa", "expected"),
    [
        ("cpu", ("avx512_bf16",), torch.bfloat16),
        ("cpu", ("amx_bf16",), torch.bfloat16),
        ("cpu", ("avx2",), None),
        ("mps", ("avx512_bf16",), None),
    ],
)
def test_autocast_only_where_bfloat16_is_native(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    isa: tuple[str, ...],
    expected: torch.dtype | None,
) -> None:
    """A CPU that would emulate bfloat16 trains in float32."""
    monkeypatch.setattr(reading, "read_processor", lambda *_: Processor(model="CPU", isa=isa))
    assert autocast_dtype(torch.device(device)) is expected


def test_autocast_on_cuda_asks_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that would emulate bfloat16 trains in float32 too."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: emulated)
    assert autocast_dtype(torch.device("cuda")) is None


def test_threads_are_put_back() -> None:
    """The number of threads holds inside the block only, also after an exception."""

    def fail_inside() -> None:
        with use_threads(2):
            assert torch.get_num_threads() == 2
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert torch.get_num_threads() == 1


# random weights


def test_standard_features_fold_into_the_head() -> None:
    """Centred and of one scale while training; the folded head does the same with plain ones."""
    train, val = blobs(60, 1), blobs(30, 2)
    train = Features(train.values * 5 + 100, train.labels)
    val = Features(val.values * 5 + 100, val.labels)
    (standard, other), mean, deviation = standardise(train, val)
    torch.testing.assert_close(standard.values.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.values.square().mean(), torch.tensor(1.0))
    torch.testing.assert_close(other.values, (val.values - mean) / deviation)
    head = new_head()
    folded = fold_standardisation(head, mean, deviation)
    torch.testing.assert_close(folded(val.values), head(other.values), atol=1e-4, rtol=1e-4)


def test_features_keep_their_proportions() -> None:
    """A feature that hardly varies stays small: scaled up, it would be mostly int8's noise."""
    values = torch.tensor([[1.0, 5.0, 7.0], [-1.0, 5.02, 7.0]])
    (standard,), mean, deviation = standardise(Features(values, torch.tensor([0, 1])))
    assert mean.tolist() == pytest.approx([0, 5.01, 7])
    assert deviation.item() == pytest.approx(math.sqrt((1 + 0.01**2) / 3))
    assert standard.values[:, 1].tolist() == pytest.approx([-0.01732, 0.01732], rel=1e-2)
    constant, _, _ = standardise(Features(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64)))
    assert constant[0].values.abs().max() == 0


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_residual_blocks_begin_as_the_identity(arch: str) -> None:
    """A block without a downsampling gives back what it gets; the original is as it was."""
    model = build_model(arch, 2, seed=0)
    block = zero_residuals(model).get_submodule("layer1.1")
    inputs = torch.rand(1, 64 if arch == "resnet18" else 256, 5, 5)
    assert torch.equal(block(inputs), inputs)
    assert not torch.equal(model.get_submodule("layer1.1")(inputs), inputs)


def test_batch_norm_statistics_are_those_of_the_batches() -> None:
    """The mean of the batches' own means and variances takes the place of what was there."""
    model = nn.Sequential(nn.BatchNorm2d(2))
    batches = [torch.randn(4, 2, 3, 3) * 3 + 1, torch.randn(4, 2, 3, 3) - 2]
    result = reestimate_batch_norm(model, batches)
    norm = result.get_submodule("0")
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    variances = torch.stack([batch.var((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert (norm.momentum, norm.training) == (0.1, False)
    assert torch.equal(model.get_submodule("0").running_mean, torch.zeros(2))  # type: ignore[arg-type]


# the whole of it


def run(root: Path, home: Path, kind: str = "file", **options: object) -> TrainResult:
    """Fine-tune the head of a small resnet18."""
    return fine_tune(
        root,
        small_weights(kind),
        arch="resnet18",
        recipe="head",
        out=home / "runs" / "x",
        device="cpu",
        **options,  # type: ignore[arg-type]
    )


def accuracy(path: Path, root: Path, split: str) -> float:
    """Return a checkpoint's accuracy, by a loop of its own."""
    loaded = load_float(path)
    transform = inference_transform(loaded.manifest.preprocessing)
    scenes = IndoorScenes(root, split, transform)  # type: ignore[arg-type]
    with torch.no_grad():
        hits = [int(loaded.model(image[None]).argmax()) == label for image, label in scenes]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("kind", ["file", "none"])
def test_the_checkpoint_is_a_plain_network(
    photographs: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written loads, is as good as its manifest says, and leaves nothing to resume."""
    monkeypatch.setattr(RECIPES, "SCRATCH_EPOCHS", 2)
    result = run(photographs, tmp_path, kind, epochs=3)
    out = tmp_path / "runs" / "x"
    assert result.path == out / "float32.safetensors"
    manifest = load_float(result.path).manifest
    assert manifest == result.manifest
    assert manifest.classes == ("bars", "checks", "rings")
    assert manifest.weights.kind == kind
    curves = read_record(out / "curves.json", TrainingCurves)
    assert curves == result.curves
    assert manifest.epoch == curves.best_epoch
    assert len(curves.epochs) == 3
    for split in ("train", "val"):
        expected = accuracy(result.path, photographs, split)
        assert manifest.metrics[f"{split}_accuracy"] == pytest.approx(expected)
    assert not (out / ".resume").exists()
    assert ("scratch_size" in curves.settings) == (kind == "none")


def test_a_known_head_is_where_training_begins(photographs: Path, tmp_path: Path) -> None:
    """Weights whose classes are the data's keep their last layer; others get a new one."""
    weights = small_weights()
    classes = IndoorScenes(photographs, "train").classes
    known = dataclasses.replace(
        weights, model=load_float(run(photographs, tmp_path, epochs=1).path).model, classes=classes
    )
    assert is_trained_for(known, classes)
    assert not is_trained_for(known, classes[::-1])
    assert not is_trained_for(weights, classes)
    before = known.model.get_submodule("fc").weight
    options = {"arch": "resnet18", "recipe": "head", "epochs": 1, "device": "cpu"}
    again = fine_tune(photographs, known, out=tmp_path / "runs" / "y", **options)
    after = load_float(again.path).model.get_submodule("fc").weight
    assert 0 < (after - before).abs().max() < 0.05


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, r"\(seed 0, not 1\)"),
        ({"epochs": 2}, r"\(epochs 1, not 2\)"),
        ({"batch": 4}, r"\(batch \d+, not 4\)"),
        ({"kind": "none"}, r"\(of other weights\)"),
        ({"run": "x"}, r"\(made by another command\)"),
    ],
)
def test_another_finished_training_is_not_replaced(
    photographs: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """One line says what differs; the same training again writes the same file."""
    options: dict[str, Any] = {"epochs": 1, **changes}
    path = run(photographs, tmp_path, epochs=1).path
    before = path.read_bytes()
    with pytest.raises(IndoorError, match=rf"float32\.safetensors .*{said}.*another --name"):
        run(photographs, tmp_path, **options)
    assert path.read_bytes() == before
    assert run(photographs, tmp_path, epochs=1).path.read_bytes() == before


def test_a_network_that_nobody_recorded_is_not_replaced(photographs: Path, tmp_path: Path) -> None:
    """It may be somebody's only copy; other photographs count as another training, too."""
    path = run(photographs, tmp_path, epochs=1).path
    root = tmp_path / photographs.name
    shutil.copytree(photographs, root)
    (root / "Images" / "bars" / "bars_00.jpg").write_bytes(
        (root / "Images" / "bars" / "bars_01.jpg").read_bytes()
    )
    with pytest.raises(IndoorError, match="of other photographs"):
        run(root, tmp_path, epochs=1)
    path.write_bytes(b"mine")
    with pytest.raises(IndoorError, match="of a training that is not recorded"):
        run(photographs, tmp_path, epochs=1)
    assert path.read_bytes() == b"mine"


def test_two_processes_do_not_train_into_one_folder(photographs: Path, tmp_path: Path) -> None:
    """A run's folder that is being written to is refused in one line."""
    out = tmp_path / "runs" / "x"
    out.mkdir(parents=True)
    with (
        locked(out / ".train.lock", "this test"),
        pytest.raises(IndoorError, match=r"another process is training into .*another --name"),
    ):
        run(photographs, tmp_path)


def test_a_folder_that_cannot_be_made_is_one_line(photographs: Path, tmp_path: Path) -> None:
    """A file in the way of the run's folder is the user's to move."""
    (tmp_path / "runs").write_text("")
    with pytest.raises(IndoorError, match=r"cannot make the folder .*; expected a place with"):
        run(photographs, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"epochs": 0}, "epochs is 0, expected 1"), ({"size": 64}, "size is 64, expected 32 or more")],
)
def test_options_out_of_range(
    photographs: Path, tmp_path: Path, options: dict[str, int], message: str
) -> None:
    """No epochs, and a size for a recipe that has none, are bad arguments."""
    with pytest.raises(ValueError, match=message):
        run(photographs, tmp_path, **options)


# resuming


def test_a_state_reads_back(tmp_path: Path) -> None:
    """Tensors, epochs and curves come back; what cannot be read counts as nothing."""
    path = tmp_path / "state.safetensors"
    assert read_state(path) is None
    write_state(path, State({"a": torch.arange(3.0)}, 4, None))
    state = read_state(path)
    assert state is not None
    assert (state.num_epochs, state.curves) == (4, None)
    assert state.tensors["a"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:-1])
    assert read_state(path) is None


def test_a_resumed_head_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Two epochs, and three more from the state on disk, are five epochs bit for bit."""
    train, val = blobs(50, 1, 3.0), blobs(30, 2, 3.0)
    whole = train_head(new_head(), train, val, epochs=5)
    path = tmp_path / "state.safetensors"
    train_head(new_head(), train, val, epochs=2, state_path=path)
    resumed = train_head(new_head(), train, val, epochs=5, state_path=path)
    assert torch.equal(resumed.head.weight, whole.head.weight)
    assert torch.equal(resumed.head.bias, whole.head.bias)
    assert without_seconds(resumed.curves) == without_seconds(whole.curves)


@pytest.fixture(scope="module")
def runner() -> Runner:
    """One fork server for the module."""
    return Runner()


@pytest.fixture(scope="module")
def uninterrupted(
    runner: Runner, photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Job, int]:
    """A head that nothing interrupted, and how many steps of writes it took."""
    job = Job(root=photographs, home=tmp_path_factory.mktemp("whole"), recipe="head")
    return job, runner.finish(job)


def assert_equal(job: Job, expected: Job) -> None:
    """Fail unless both jobs wrote the same checkpoint and the same figures."""
    assert job.checkpoint() == expected.checkpoint()
    assert job.history() == expected.history()
    assert not (job.out / ".resume").exists()


@pytest.mark.slow
def test_killed_at_every_step_of_every_write(
    runner: Runner, uninterrupted: tuple[Job, int], tmp_path: Path
) -> None:
    """SIGKILL before a flush, after it, and after the rename, of each file: the same bytes.

    The files are a chunk of features for train and one for validation, the state after each of
    three epochs, the curves and the checkpoint. A process that dies before a rename leaves that
    file to the next one, so three deaths are one file.
    """
    whole, num_writes = uninterrupted
    assert num_writes == 3 * 7
    job = elsewhere(whole, tmp_path)
    for step in (1, 2, 3) * 5 + (1, 2, 4, 5):
        runner.kill_at_write(job, step)
    runner.finish(job)
    assert_equal(job, whole)


@pytest.mark.slow
def test_killed_again_and_again_at_random_moments(
    runner: Runner, uninterrupted: tuple[Job, int], tmp_path: Path
) -> None:
    """Whatever a process does when SIGKILL comes, the ones after it end at the same bytes."""
    whole, _ = uninterrupted
    job = elsewhere(whole, tmp_path)
    moments = random.Random(3)
    num_killed = sum(runner.kill_after(job, moments.uniform(0.02, 0.5)) for _ in range(12))
    assert num_killed >= 3
    runner.finish(job)
    assert_equal(job, whole)


def test_another_configuration_is_not_resumed(
    runner: Runner, uninterrupted: tuple[Job, int], tmp_path: Path
) -> None:
    """A state of three epochs planned is of no use to two, which begin anew."""
    whole, _ = uninterrupted
    killed = elsewhere(whole, tmp_path / "a")
    runner.kill_at_write(killed, 12)
    other = dataclasses.replace(killed, epochs=2)
    runner.finish(other)
    clean = dataclasses.replace(other, home=tmp_path / "b")
    runner.finish(clean)
    assert_equal(other, clean)


@pytest.mark.slow
def test_random_weights_resume_too(runner: Runner, photographs: Path, tmp_path: Path) -> None:
    """The brief training of a random backbone goes on after a kill, to the same bytes."""
    whole = Job(root=photographs, home=tmp_path / "whole", recipe="head", kind="none", epochs=1)
    num_writes = runner.finish(whole)
    job = elsewhere(whole, tmp_path / "killed")
    for step in (2, 6, 4):
        runner.kill_at_write(job, step)
    assert runner.finish(job) < num_writes
    assert_equal(job, whole)


def test_tensors_are_compared_bit_for_bit(uninterrupted: tuple[Job, int]) -> None:
    """The comparison above is one of all weights: the checkpoint holds the trained head."""
    whole, _ = uninterrupted
    trained: Tensor = load_float(whole.out / "float32.safetensors").model.get_parameter("fc.weight")
    assert trained.shape == (3, 512)
