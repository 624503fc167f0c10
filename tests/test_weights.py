"""Where weights come from: a file, the cache, a download, none."""

import hashlib
from pathlib import Path

import pytest
import torch
from serving import Bar, Server, leftovers, send
from torch import nn

from indoor.errors import IndoorError
from indoor.model import FORMAT, build_model, resolve_weights, save_float
from indoor.model.sources import IMAGENET_URLS
from indoor.records import CheckpointManifest, Preprocessing, WeightSource
from indoor.transforms import DEFAULT_PREPROCESSING


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for torchvision's file: 1,000 classes, the hash in its name."""
    folder = tmp_path_factory.mktemp("imagenet")
    model = build_model("resnet18", 1000, seed=9)
    state = {
        k: v.half() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")
    }
    torch.save(state, folder / "file.pth")
    digest = hashlib.sha256((folder / "file.pth").read_bytes()).hexdigest()
    return (folder / "file.pth").rename(folder / f"resnet18-{digest[:8]}.pth")


def fc_of(model: nn.Module) -> torch.Tensor:
    """Return the last layer's weights as the stand-in's float16."""
    weight = model.fc.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach().half()


def test_a_file_comes_first(tmp_path: Path, imagenet: Path) -> None:
    """The named file is taken, with its classes and preprocessing, though a cache is there."""
    model = build_model("resnet18", 2, seed=1)
    crop = Preprocessing(resize="crop", size=64, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    manifest = CheckpointManifest(
        format=FORMAT,
        arch="resnet18",
        precision="float32",
        classes=("hall", "office"),
        preprocessing=crop,
        weights=WeightSource(kind="none", name="random (seed 1)", sha256=None),
    )
    save_float(tmp_path / "w.safetensors", model, manifest)
    found = resolve_weights(tmp_path / "w.safetensors", "resnet18", url=f"http://x/{imagenet.name}")
    assert torch.equal(found.model.fc.weight, model.fc.weight)
    assert found.classes == ("hall", "office")
    assert found.preprocessing == crop
    digest = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    assert found.source == WeightSource(kind="file", name="w.safetensors", sha256=digest)
    assert found.notes == ()


def test_a_file_without_names_says_so(imagenet: Path) -> None:
    """Weights that name no classes keep their last layer, and say what they do not know."""
    found = resolve_weights(imagenet, "resnet18")
    assert found.classes is None
    assert found.num_outputs == 1000
    assert torch.equal(fc_of(found.model), fc_of(build_model("resnet18", 1000, seed=9)))
    assert found.source.assumed == (
        "says no mean and std: ImageNet's",
        "says no input size: the whole photograph at 224 x 224",
    )


def test_as_many_classes_as_outputs_are_taken(imagenet: Path) -> None:
    """A file that names none takes the data's classes where it has as many outputs, and says so."""
    names = tuple(f"{index:03d}" for index in range(1000))
    found = resolve_weights(imagenet, "resnet18", classes=names)
    assert found.classes == names
    assert found.source.assumed[-1] == (
        "names no classes: taken to be the data set's 1000, in sorted order"
    )
    assert resolve_weights(imagenet, "resnet18", classes=names[:-1]).classes is None


def test_a_bad_file_is_an_error_and_no_fallback(tmp_path: Path, imagenet: Path) -> None:
    """Who names weights gets those or an error, never others in silence."""
    with pytest.raises(IndoorError, match="there is no file"):
        resolve_weights(tmp_path / "none.pt", "resnet18")
    with pytest.raises(IndoorError, match="holds a resnet18, expected a resnet50"):
        resolve_weights(imagenet, "resnet50")


def test_the_cache_comes_before_the_network(server: Server, tmp_path: Path, imagenet: Path) -> None:
    """ImageNet weights in torch's cache are used without asking anybody."""
    cached = tmp_path / "checkpoints" / imagenet.name
    cached.parent.mkdir()
    cached.symlink_to(imagenet)
    found = resolve_weights(None, "resnet18", url=server.url(imagenet.name), hub_folder=tmp_path)
    assert server.num_requests == 0
    assert found.source.kind == "imagenet-cache"
    assert found.source.name == f"ImageNet V1 ({imagenet.name})"
    assert found.source.sha256 is not None
    assert found.source.sha256.startswith(imagenet.stem[-8:])
    assert found.classes is None
    assert found.preprocessing == DEFAULT_PREPROCESSING
    assert found.notes == ()
    assert found.source.assumed == ()
    assert torch.equal(fc_of(found.model), fc_of(build_model("resnet18", 1000, seed=9)))


def test_the_download_fills_the_cache(
    server: Server, tmp_path: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is downloaded lies in torch's cache (TORCH_HOME) and is found there the next time."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    server.answer = send(imagenet.read_bytes())
    bar = Bar()
    url = server.url(imagenet.name)
    first = resolve_weights(None, "resnet18", url=url, progress=bar)
    again = resolve_weights(None, "resnet18", url=url)
    assert first.source.kind == "imagenet-download"
    assert again.source.kind == "imagenet-cache"
    assert first.source.sha256 == again.source.sha256
    assert server.num_requests == 1
    assert bar.num_done == imagenet.stat().st_size
    assert leftovers(tmp_path / "hub" / "checkpoints") == [imagenet.name]


def test_a_damaged_cache_is_downloaded_again(
    server: Server, tmp_path: Path, imagenet: Path
) -> None:
    """A cached file whose hash is wrong is replaced, and said to have been wrong."""
    cached = tmp_path / "checkpoints" / imagenet.name
    cached.parent.mkdir()
    cached.write_bytes(imagenet.read_bytes()[:-1])
    server.answer = send(imagenet.read_bytes())
    found = resolve_weights(None, "resnet18", url=server.url(imagenet.name), hub_folder=tmp_path)
    assert found.source.kind == "imagenet-download"
    assert found.notes == (f"{cached} is not what its name says (SHA-256), so it was not used",)
    assert cached.read_bytes() == imagenet.read_bytes()


def test_without_a_network_there_are_none(server: Server, tmp_path: Path) -> None:
    """A failed download gives seeded random weights, with what happened and what it means."""
    server.answer = send(b"", status=404)
    url = server.url("resnet18-f37072fd.pth")
    found = resolve_weights(None, "resnet18", url=url, hub_folder=tmp_path, seed=5)
    assert found.source == WeightSource(kind="none", name="random (seed 5)", sha256=None)
    assert found.classes is None
    assert found.preprocessing == DEFAULT_PREPROCESSING
    assert torch.equal(found.model.fc.weight, build_model("resnet18", 1000, seed=5).fc.weight)
    failed, meaning = found.notes
    assert failed.startswith(f"no ImageNet weights: cannot download {url}: HTTP 404 Not Found;")
    assert "random weights (seed 5): its accuracy says nothing" in meaning


def test_a_download_can_be_switched_off(server: Server, tmp_path: Path) -> None:
    """With allow_download=False nobody is asked."""
    url = server.url("resnet18-f37072fd.pth")
    found = resolve_weights(None, "resnet18", allow_download=False, url=url, hub_folder=tmp_path)
    assert server.num_requests == 0
    assert found.source.kind == "none"
    assert found.notes[0] == (
        "no ImageNet weights in torch's cache, and downloading is switched off"
    )


def test_an_unwritable_cache_does_not_stop_the_run(server: Server, tmp_path: Path) -> None:
    """A cache folder that cannot be made is a note, not an error."""
    (tmp_path / "hub").write_text("a file")
    url = server.url("resnet18-f37072fd.pth")
    found = resolve_weights(None, "resnet18", url=url, hub_folder=tmp_path / "hub")
    assert found.source.kind == "none"
    assert "no ImageNet weights: cannot write to" in found.notes[0]


def test_resolve_weights_refuses_bad_arguments() -> None:
    """An unknown architecture, and an address whose name carries no hash."""
    with pytest.raises(ValueError, match="unknown architecture 'vgg', expected one of resnet18"):
        resolve_weights(None, "vgg")
    with pytest.raises(ValueError, match=r"no SHA-256 in the file name 'resnet18.pth'"):
        resolve_weights(None, "resnet18", url="http://127.0.0.1/resnet18.pth")


def test_the_addresses_are_those_of_the_first_weights() -> None:
    """The files are IMAGENET1K_V1, whose names are known for years, and carry their hash."""
    names = {arch: url.rsplit("/", 1)[1] for arch, url in IMAGENET_URLS.items()}
    assert names["resnet18"] == "resnet18-f37072fd.pth"
    assert names["resnet50"] == "resnet50-0676ba61.pth"


def test_a_file_of_places365_is_a_backbone(tmp_path: Path) -> None:
    """Of torch before 1.6, with `module.` before each name and 365 outputs that nobody names."""
    model = build_model("resnet18", 365, seed=3)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    file = {
        "epoch": 90,
        "arch": "resnet18",
        "state_dict": state,
        "best_prec1": torch.tensor([54.7]),
    }
    path = tmp_path / "resnet18_places365.pth.tar"
    torch.save(file, path, _use_new_zipfile_serialization=False)
    found = resolve_weights(path, None, classes=("bars", "rings"))
    assert (found.arch, found.num_outputs, found.classes) == ("resnet18", 365, None)
    assert found.preprocessing.mean == DEFAULT_PREPROCESSING.mean
    assert torch.equal(fc_of(found.model), fc_of(model))
