"""A training that several processes share: the figures of one, a rank that is lost, resuming."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import PREPROCESSING
from quantizable import network, noise
from ranked import Ended, Jobs, command, keep, kept
from torch import Tensor, nn

from indoor.dataset import IndoorScenes
from indoor.model import FORMAT, build_model, load_float, save_float, thin
from indoor.process_group import joined
from indoor.progress import NO_PROGRESS
from indoor.ranks import ALONE, Ranks, share_of_step
from indoor.records import CheckpointManifest, WeightSource
from indoor.train import features, full, state_writer
from indoor.train.features import read_features
from indoor.train.loop import Run, Schedule, run_epoch, start_run
from indoor.train.resume_state import State
from indoor.train.state_writer import StateWriter

EPOCHS = 3
ARCH = thin("resnet18")

LOSS_TOLERANCE = 0.02
"""Relative, of an epoch's losses: rounding in another order, which AdamW's steps spread."""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """One fork server for the module."""
    return Jobs(tmp_path_factory.mktemp("jobs"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a thin network whose batch norms know their inputs."""
    path = tmp_path_factory.mktemp("weights") / "thin.safetensors"
    manifest = CheckpointManifest(
        format=FORMAT,
        arch=ARCH,
        precision="float32",
        classes=("other", "classes"),
        preprocessing=PREPROCESSING,
        weights=WeightSource(kind="none", name="random", sha256=None),
    )
    save_float(path, network(noise(16), num_classes=2, arch=ARCH), manifest)
    return path


Train = Callable[..., Ended]


@pytest.fixture(scope="module")
def train(jobs: Jobs, photographs: Path, weights: Path) -> Train:
    """Return a function that trains in a home, on so many ranks (0: without torchrun)."""

    def run(size: int, home: Path, recipe: str, *more: object, work: Any = command) -> Ended:
        words = ["train", "--data", photographs, "--weights", weights, "--recipe", recipe]
        words += ["--name", "x", "--epochs", EPOCHS, "--device", "cpu", *more]
        return jobs.run(size, work, *words, INDOOR_HOME=str(home))

    return run


@pytest.fixture(scope="module")
def homes(train: Train, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """What both recipes write in one process and in two, by recipe and ranks."""
    found: dict[tuple[str, int], Path] = {}
    for recipe in ("head", "full"):
        for size in (0, 2):
            home = tmp_path_factory.mktemp(f"{recipe}-{size}")
            frozen = ["--freeze-batch-norm"] if recipe == "full" and not size else []
            ended = train(size, home, recipe, *frozen)
            assert set(ended.statuses) == {0}, ended.errors
            (home / "said").write_text("\n".join(ended.told))
            (home / "printed").write_text(json.dumps(ended.printed))
            found[recipe, size] = home
    return found


def checkpoint(home: Path) -> Path:
    """Return the trained run's checkpoint."""
    return home / "runs" / "x" / "float32.safetensors"


def curves(home: Path) -> dict[str, Any]:
    """Return the trained run's curves."""
    return json.loads((home / "runs" / "x" / "curves.json").read_text())


def epochs(home: Path) -> list[dict[str, float]]:
    """Return the figures of its epochs, without their seconds."""
    return [{k: v for k, v in e.items() if k != "seconds"} for e in curves(home)["epochs"]]


def assert_near(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    """Fail unless the epochs' losses agree within the tolerance, and accuracies to a photograph."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            if name.endswith("accuracy"):
                assert abs(one[name] - value) <= 1 / 3 + 1e-9, name
            else:
                assert one[name] == pytest.approx(value, rel=LOSS_TOLERANCE), name


# the figures of one process


@pytest.mark.slow
def test_a_head_of_two_ranks_is_that_of_one_process(homes: dict[tuple[str, int], Path]) -> None:
    """Features are computed to the same bits, so the checkpoint is the same, byte for byte."""
    alone, shared = homes["head", 0], homes["head", 2]
    assert checkpoint(shared).read_bytes() == checkpoint(alone).read_bytes()
    assert epochs(shared) == epochs(alone)
    names = [
        sorted(p.name for p in (home / "features").glob("*.safetensors"))
        for home in (alone, shared)
    ]
    assert names[0] == names[1] != []


@pytest.mark.slow
def test_everything_of_two_ranks_is_near_that_of_one_process(
    homes: dict[tuple[str, int], Path],
) -> None:
    """The same steps on the same photographs: the figures differ by rounding alone."""
    assert_near(epochs(homes["full", 2]), epochs(homes["full", 0]))
    assert curves(homes["full", 2])["settings"]["ranks"] == 2
    assert "ranks" not in curves(homes["full", 0])["settings"]


@pytest.mark.parametrize("size", [0, 2])
def test_frozen_batch_norms_keep_their_statistics(
    homes: dict[tuple[str, int], Path], weights: Path, size: int
) -> None:
    """Mean, variance and count are the weights' own; scale and shift were trained."""
    before = load_float(weights).model.state_dict()
    after = load_float(checkpoint(homes["full", size])).model.state_dict()
    for name in before:
        if "running" in name or "tracked" in name:
            assert torch.equal(before[name], after[name]), name
    assert not torch.equal(before["layer1.0.bn1.weight"], after["layer1.0.bn1.weight"])
    assert curves(homes["full", size])["settings"]["batch_norm"] == "frozen"


def test_frozen_batch_norms_are_told(homes: dict[tuple[str, int], Path]) -> None:
    """Once, by the first rank, with what one process takes to do the same."""
    said = (homes["full", 2] / "said").read_text().splitlines()
    assert [line for line in said if "batch norms keep the weights' statistics" in line] == said
    assert "--freeze-batch-norm" in said[0]
    assert len(said) == 1
    assert (homes["head", 2] / "said").read_text() == ""


@pytest.mark.parametrize("recipe", ["head", "full"])
def test_the_first_rank_alone_prints(homes: dict[tuple[str, int], Path], recipe: str) -> None:
    """One result is printed, and the others print nothing."""
    first, second = json.loads((homes[recipe, 2] / "printed").read_text())
    assert "best of 3 epochs by validation" in first
    assert second == ""


# a step


def step_of(ranks: Ranks, images: Tensor, labels: Tensor) -> Run:
    """Take one step of all photographs, of which each rank has its share."""
    places = share_of_step(ranks, len(images))
    mine = slice(places.start, places.stop)
    run = start_run(
        network(noise(16), arch=ARCH),
        torch.device("cpu"),
        learning_rate=1e-3,
        backbone_factor=1.0,
        ranks=ranks,
        freezes_batch_norm=True,
    )
    run_epoch(
        run,
        [(images[mine], labels[mine])],
        Schedule(num_photographs=len(images), batch=len(images), epochs=1),
        1,
        device=torch.device("cpu"),
        progress=NO_PROGRESS,
        ranks=ranks,
        share=len(places) / len(images),
    )
    return run


def gradients(run: Run) -> list[float]:
    """Return all gradients of the last step."""
    return torch.cat([p.grad.flatten() for p in run.model.parameters()]).tolist()  # type: ignore[union-attr]


def share_a_step(folder: Path) -> None:
    """Keep this rank's gradients of one step in float32."""
    import indoor.train.loop as loop

    loop.autocast_dtype = lambda _: None  # type: ignore[assignment]
    with joined(torch.device("cpu")) as ranks:
        keep(folder, "gradients", gradients(step_of(ranks, noise(7), torch.arange(7) % 3)))


def test_the_gradients_of_uneven_shares_are_those_of_one_process(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three and four photographs of seven: each counts once, in float32 to six digits."""
    monkeypatch.setattr("indoor.train.loop.autocast_dtype", lambda _: None)
    expected = torch.tensor(gradients(step_of(ALONE, noise(7), torch.arange(7) % 3)))
    ended = jobs.run(2, share_a_step, tmp_path)
    assert ended.statuses == (0, 0), ended.errors
    first, second = (torch.tensor(found) for found in kept(tmp_path, "gradients", 2))
    assert torch.equal(first, second)
    assert (first - expected).norm() / expected.norm() < 1e-5


def test_statistics_of_a_part_of_a_batch_are_a_bug() -> None:
    """Ranks on CPUs with batch norms that learn statistics would each learn their own."""
    with pytest.raises(AssertionError, match=r"statistics of a part"):
        start_run(
            build_model(ARCH, 3, seed=0),
            torch.device("cpu"),
            learning_rate=1e-3,
            backbone_factor=1.0,
            ranks=Ranks(size=2, backend="gloo"),
        )


@pytest.mark.parametrize("arch", ["mobilenet_v2", "googlenet", "shufflenet_v2_x1_0"])
def test_frozen_batch_norms_are_all_of_them(arch: str) -> None:
    """Whatever the network, no statistic moves, and the rest is in training mode."""
    from indoor.train.loop import freeze_batch_norm

    model = build_model(thin(arch), 3, seed=0).train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    freeze_batch_norm(model)
    model(noise(2))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert model.training
    dropouts = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    assert all(layer.training for layer in dropouts)


# features


def extract(folder: Path, root: Path) -> None:
    """Keep which photographs went through this rank's backbone, and the features of all."""
    computed: list[int] = []
    make = features.make_backbone

    def counting(model: nn.Module, device: torch.device) -> nn.Module:
        backbone = make(model, device)
        backbone.register_forward_pre_hook(lambda _, inputs: computed.append(len(inputs[0])))
        return backbone

    features.make_backbone, features.CHUNK = counting, 4
    features.forward_batch = lambda _: 4  # type: ignore[assignment]
    model = build_model(ARCH, 3, seed=5)
    with joined(torch.device("cpu")) as ranks:
        found = read_features(
            model, IndoorScenes(root, "train"), PREPROCESSING, folder / "cache", ranks=ranks
        )
    keep(folder, "features", [sum(computed), found.values.sum(1).tolist()])


def test_each_photograph_is_computed_once(jobs: Jobs, photographs: Path, tmp_path: Path) -> None:
    """21 photographs in six chunks of three ranks: none twice, and all ranks read all of them."""
    ended = jobs.run(3, extract, tmp_path, photographs)
    assert ended.statuses == (0, 0, 0), ended.errors
    found = kept(tmp_path, "features", 3)
    assert [computed for computed, _ in found] == [8, 8, 5]
    assert found[0][1] == found[1][1] == found[2][1]
    assert len(found[0][1]) == 21
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 6


# lost ranks, and resuming


def die_in(epoch: int, rank: int) -> None:
    """Have a rank kill itself when that epoch begins."""
    run_one = full.run_epoch

    def run_or_die(run: Any, batches: Any, schedule: Any, number: int, **how: Any) -> float:
        if number == epoch and os.environ["RANK"] == str(rank):
            os.kill(os.getpid(), signal.SIGKILL)
        return run_one(run, batches, schedule, number, **how)

    full.run_epoch = run_or_die


def lose_the_second(*words: object) -> int:
    """Train until rank 1 dies as the second epoch begins."""
    die_in(2, 1)
    return command(*words)


def lose_within(*words: object) -> int:
    """Keep each step, and train until rank 0 dies as it has kept the second one of epoch 2."""
    state_writer.KEEP_EVERY_S = 0.0
    write, is_first = StateWriter.write, os.environ["RANK"] == "0"

    def write_and_die(writer: StateWriter, state: State) -> None:
        write(writer, state)
        if is_first and (state.num_epochs, state.step) == (1, 2):
            os.kill(os.getpid(), signal.SIGKILL)

    StateWriter.write = write_and_die  # type: ignore[method-assign]
    return command(*words)


def lose_the_first(*words: object) -> int:
    """Train until rank 0 dies as the last epoch begins."""
    die_in(3, 0)
    return command(*words)


@pytest.fixture(scope="module")
def lost(train: Train, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A home where one of two ranks was lost in the second epoch, and how that ended."""
    home = tmp_path_factory.mktemp("lost")
    return home, train(2, home, "full", work=lose_the_second)


def test_a_lost_rank_ends_the_training_with_a_line(lost: tuple[Path, Ended]) -> None:
    """The line says what happened and what to do; the first epoch is kept."""
    home, ended = lost
    assert ended.statuses == (2, -signal.SIGKILL)
    line = ended.told[-1]
    assert "rank 0 of 2 lost another rank" in line
    assert "whatever was finished is kept; start the same command again" in line
    assert "Traceback" not in "".join(ended.errors)
    assert len(list((home / "runs" / "x" / ".resume").glob("full-*.safetensors"))) == 1
    assert not checkpoint(home).exists()


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_a_training_goes_on_with_other_ranks(
    train: Train,
    lost: tuple[Path, Ended],
    homes: dict[tuple[str, int], Path],
    tmp_path: Path,
    size: int,
) -> None:
    """From its last whole epoch; with as many as before to the same bytes, else near to them."""
    home = Path(shutil.copytree(lost[0], tmp_path / "home"))
    ended = train(size, home, "full")
    assert set(ended.statuses) == {0}, ended.errors
    whole = homes["full", 2]
    assert epochs(home)[0] == epochs(whole)[0]
    assert_near(epochs(home), epochs(whole))
    assert (checkpoint(home).read_bytes() == checkpoint(whole).read_bytes()) == (size == 2)
    assert not (home / "runs" / "x" / ".resume").exists()


@pytest.mark.slow
def test_ranks_go_on_within_an_epoch(train: Train, tmp_path: Path) -> None:
    """From the step that the first rank kept, to the bytes of a training that nothing disturbed."""
    options = ("--batch", 5)
    lost, whole = tmp_path / "lost", tmp_path / "whole"
    assert train(2, lost, "full", *options, work=lose_within).statuses[0] == -signal.SIGKILL
    ended = train(2, lost, "full", *options)
    assert set(ended.statuses) == {0}, ended.errors
    train(2, whole, "full", *options)
    assert checkpoint(lost).read_bytes() == checkpoint(whole).read_bytes()
    assert epochs(lost) == epochs(whole)


def test_a_lost_first_rank_is_told_by_another(
    train: Train, homes: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    """Whoever is left tells it; one process goes on from there, without torchrun."""
    ended = train(2, tmp_path, "full", work=lose_the_first)
    assert ended.statuses == (-signal.SIGKILL, 2)
    assert "rank 1 of 2 lost another rank" in ended.told[-1]
    ended = train(0, tmp_path, "full", "--freeze-batch-norm")
    assert ended.statuses == (0,)
    assert epochs(tmp_path)[:2] == epochs(homes["full", 2])[:2]


# what a user does wrong


def test_a_busy_folder_is_one_line(train: Train, tmp_path: Path) -> None:
    """All ranks end where another training writes to the run's folder, and one tells it."""
    from indoor.locks import locked

    with locked(tmp_path / "runs" / "x" / ".train.lock", "this test"):
        ended = train(2, tmp_path, "head")
    assert ended.statuses == (2, 2)
    (line,) = ended.told
    assert "another process is training into" in line


def test_random_weights_have_no_statistics_to_keep(
    jobs: Jobs, photographs: Path, tmp_path: Path
) -> None:
    """The recipe full of random weights needs batch norms that learn, and says who has them."""
    words = ["train", "--data", photographs, "--model", "resnet18", "--no-download", "--name", "x"]
    environment = {"INDOOR_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path / "torch")}
    ended = jobs.run(2, command, *words, "--recipe", "full", "--device", "cpu", **environment)
    assert ended.statuses == (2, 2)
    (line,) = ended.told
    assert "random weights with the recipe full and frozen batch norms" in line


def test_a_broken_photograph_of_one_rank_is_one_line(
    jobs: Jobs, weights: Path, photographs: Path, tmp_path: Path
) -> None:
    """The rank that it falls to names the file, and the others have nothing to add."""
    root = Path(shutil.copytree(photographs, tmp_path / "data"))
    broken = IndoorScenes(root, "train").samples[5].path
    broken.write_bytes(broken.read_bytes()[:200])
    words = ["train", "--data", root, "--weights", weights, "--recipe", "full", "--name", "x"]
    ended = jobs.run(2, command, *words, "--device", "cpu", INDOOR_HOME=str(tmp_path / "home"))
    assert ended.statuses == (2, 2)
    assert len(ended.told) == 2  # the first tells of the batch norms before
    assert broken.name in ended.told[1]
    assert "Traceback" not in "".join(ended.errors)


def test_the_head_has_no_batch_norms_to_freeze(train: Train, tmp_path: Path) -> None:
    """The option is refused where nothing heeds it."""
    ended = train(0, tmp_path, "head", "--freeze-batch-norm")
    assert ended.statuses == (2,)
    assert "--freeze-batch-norm with --recipe head: expected the recipe full" in ended.told[0]
