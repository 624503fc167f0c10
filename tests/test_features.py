"""Tests of the cached features of the frozen backbone."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killing import PREPROCESSING
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from indoor.dataset import IndoorScenes
from indoor.errors import IndoorError
from indoor.locks import take_lock
from indoor.model import build_model, hash_tensors
from indoor.train import features as module
from indoor.train.features import Features, read_features
from indoor.transforms import inference_transform

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A resnet18 with `lively` batch norms."""
    return lively("resnet18")


def lively(arch: str) -> nn.Module:
    """Return a network whose batch norms do something: random statistics and scales."""
    network = build_model(arch, 3, seed=5)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.weight, layer.running_var):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                for tensor in (layer.bias, layer.running_mean):
                    tensor.uniform_(-0.2, 0.2, generator=generator)
    return network


@pytest.fixture
def root(photographs: Path, tmp_path: Path) -> Path:
    """A copy of the photographs that a test may change."""
    return Path(shutil.copytree(photographs, tmp_path / "data"))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 8 photographs in batches of 4, so that 21 photographs fill three."""
    monkeypatch.setattr(module, "CHUNK", 8)
    monkeypatch.setattr(module, "forward_batch", lambda _: 4)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photographs went through the backbone, a number a batch."""
    batches: list[int] = []
    make = module.make_backbone

    def make_counting(network: nn.Module, device: torch.device) -> nn.Module:
        backbone = make(network, device)
        backbone.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
        return backbone

    monkeypatch.setattr(module, "make_backbone", make_counting)
    return batches


def read(model: nn.Module, root: Path, cache: Path, split: str = "train") -> Features:
    """Return the features of a split."""
    return read_features(model, IndoorScenes(root, split), PREPROCESSING, cache)  # type: ignore[arg-type]


def inputs_of_fc(model: nn.Module, root: Path) -> Tensor:
    """Return what the plain network gives its last layer, photograph by photograph."""
    transform = inference_transform(PREPROCESSING)
    seen: list[Tensor] = []
    hook = model.get_submodule("fc").register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        for image, _ in IndoorScenes(root, "train"):
            model(transform(image)[None])
    hook.remove()
    return torch.cat(seen)


@pytest.mark.parametrize(("arch", "num_features"), [("resnet18", 512), ("resnet50", 2048)])
def test_features_are_the_plain_networks(
    root: Path, tmp_path: Path, arch: str, num_features: int
) -> None:
    """Folded, channels-last and in place, they differ from the plain ones by rounding alone."""
    model = lively(arch)
    expected = inputs_of_fc(model, root)
    found = read(model, root, tmp_path / "cache")
    assert found.values.shape == (21, num_features)
    assert (found.values - expected).norm() / expected.norm() < 2e-6
    assert found.labels.tolist() == list(IndoorScenes(root, "train").labels)


def test_features_can_be_trained_on(model: nn.Module, root: Path, tmp_path: Path) -> None:
    """A freshly computed feature is no tensor of inference mode, which autograd refuses."""
    assert not read(model, root, tmp_path).values.is_inference()


@pytest.mark.usefixtures("small_chunks")
def test_a_second_call_computes_nothing(
    model: nn.Module, root: Path, tmp_path: Path, computed: list[int]
) -> None:
    """What is cached is read, with the same bits; batches never cross the end of a chunk."""
    first = read(model, root, tmp_path / "cache")
    assert computed == [4, 4, 4, 4, 4, 1]
    second = read(model, root, tmp_path / "cache")
    assert computed == [4, 4, 4, 4, 4, 1]
    assert torch.equal(first.values, second.values)


@pytest.mark.usefixtures("small_chunks")
def test_a_changed_photograph_costs_its_chunk(
    model: nn.Module, root: Path, tmp_path: Path, computed: list[int]
) -> None:
    """New content under an old name is seen, and only its chunk is computed again."""
    before = read(model, root, tmp_path / "cache")
    computed.clear()
    changed = IndoorScenes(root, "train").samples[9].path
    Image.new("RGB", (64, 48), (200, 10, 10)).save(changed)
    after = read(model, root, tmp_path / "cache")
    assert computed == [4, 4]
    differs = (before.values != after.values).any(1)
    assert differs.nonzero().flatten().tolist() == [9]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("damage", ["missing", "truncated", "other content"])
def test_a_damaged_chunk_is_computed_again(
    model: nn.Module, root: Path, tmp_path: Path, damage: str
) -> None:
    """A chunk that is gone, cut short or no chunk gives the same bits as before."""
    cache = tmp_path / "cache"
    first = read(model, root, cache)
    for chunk in sorted(cache.glob("*.safetensors"))[:2]:
        if damage == "missing":
            chunk.unlink()
        elif damage == "truncated":
            chunk.write_bytes(chunk.read_bytes()[:-5])
        else:
            save_file({"features": torch.zeros(3, 512)}, chunk)
    assert torch.equal(read(model, root, cache).values, first.values)


def test_whatever_decides_a_feature_is_in_its_name(
    model: nn.Module, root: Path, tmp_path: Path
) -> None:
    """Backbone, preprocessing and threads lead to other files; the last layer does not."""
    scenes = IndoorScenes(root, "val")
    cache = tmp_path / "cache"

    def num_chunks() -> int:
        return len(list(cache.glob("*.safetensors")))

    read_features(model, scenes, PREPROCESSING, cache)
    assert num_chunks() == 1
    other_head = build_model("resnet18", 9, seed=8)
    other_head.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith("fc.")}, strict=False
    )
    read_features(other_head, scenes, PREPROCESSING, cache)
    assert num_chunks() == 1
    read_features(model, scenes, replace(PREPROCESSING, std=(0.5, 0.5, 0.5)), cache)
    assert num_chunks() == 2
    with torch.no_grad():
        other_head.get_parameter("layer4.1.bn2.bias")[0] += 1e-3
    read_features(other_head, scenes, PREPROCESSING, cache)
    assert num_chunks() == 3
    torch.set_num_threads(2)
    read_features(model, scenes, PREPROCESSING, cache)
    assert num_chunks() == 4


def test_leftovers_of_a_kill_are_removed(model: nn.Module, root: Path, tmp_path: Path) -> None:
    """The temporary file of a write that a kill cut short does not stay for ever."""
    cache = tmp_path / "cache"
    cache.mkdir()
    leftover = cache / ".abc.safetensors.x1.tmp"
    leftover.write_bytes(b"half")
    read(model, root, cache, "val")
    assert not leftover.exists()


def test_a_cache_that_cannot_be_made_is_one_line(
    model: nn.Module, root: Path, tmp_path: Path
) -> None:
    """A file where the cache's folder should be is the user's to move."""
    (tmp_path / "file").write_text("")
    with pytest.raises(IndoorError, match=r"cannot make the folder .*file.*choose another"):
        read(model, root, tmp_path / "file" / "cache")


def test_the_hash_of_tensors_sees_everything() -> None:
    """Names, types, shapes and contents all change the hash; the memory format does not."""
    base = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4)
    versions = [
        {"a": base},
        {"b": base},
        {"a": base.to(torch.int32)},
        {"a": base.reshape(1, 3, 2, 4)},
        {"a": base + (base == 5)},
    ]
    assert len({hash_tensors(tensors) for tensors in versions}) == 5
    channels_last = base.contiguous(memory_format=torch.channels_last)
    assert hash_tensors({"a": channels_last}) == hash_tensors({"a": base})


def test_whoever_waits_for_the_cache_is_told(tmp_path: Path, photographs: Path) -> None:
    """A second training says for whom it waits, instead of standing still."""
    said: list[str] = []
    cache = tmp_path / "features"
    cache.mkdir()
    descriptor = take_lock(cache / ".lock")
    assert descriptor is not None

    def let_go(line: str) -> None:
        said.append(line)
        os.close(descriptor)

    model = build_model("resnet18", 3, seed=0)
    scenes = IndoorScenes(photographs, "val")
    features = read_features(model, scenes, PREPROCESSING, cache, say=let_go)
    assert len(features.labels) == len(scenes)
    assert len(said) == 1
    assert said[0].startswith("waiting for another training")
