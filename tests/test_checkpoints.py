"""Checkpoint files: what is written comes back, and what is no checkpoint is one clear line."""

import json
import os
import pickle
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from indoor import files
from indoor.errors import IndoorError
from indoor.files import sha256_of_file
from indoor.model import (
    FORMAT,
    build_model,
    fold,
    hash_tensors,
    load_float,
    read_manifest,
    read_tensors,
    save_float,
    torch_files,
    write_tensors,
)
from indoor.model import tensors as tensors_module
from indoor.model.network import build_empty
from indoor.records import CheckpointManifest, Preprocessing, WeightSource, to_builtins, to_json
from indoor.transforms import DEFAULT_PREPROCESSING, inference_transform

CLASSES = ("hall", "concert.hall", "shopping mall")
CROP = Preprocessing(resize="crop", size=160, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
MANIFEST = CheckpointManifest(
    format=FORMAT,
    arch="resnet18",
    precision="float32",
    classes=CLASSES,
    preprocessing=CROP,
    weights=WeightSource(kind="none", name="random (seed 0)", sha256=None),
    epoch=7,
    metrics={"val_accuracy": 0.625},
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A ResNet-18 with three classes."""
    return build_model("resnet18", 3, seed=0)


@pytest.fixture(scope="module")
def saved(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as a checkpoint of ours; read it, do not change it."""
    path = tmp_path_factory.mktemp("saved") / "float32.safetensors"
    save_float(path, network, MANIFEST)
    return path


def unsealed(manifest: CheckpointManifest) -> CheckpointManifest:
    """Return the manifest as its writer gave it, without the hash that the file carries."""
    assert manifest.content_sha256 is not None
    return replace(manifest, content_sha256=None)


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Say whether two networks hold the same tensors, bit for bit."""
    mine, other = first.state_dict(), second.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[k], other[k]) for k in mine)


def test_a_checkpoint_comes_back(network: nn.Module, saved: Path) -> None:
    """Weights bit for bit, the manifest whole, eval mode, and the file's hash."""
    loaded = load_float(saved, arch="resnet18", classes=CLASSES)
    assert same_weights(loaded.model, network)
    assert unsealed(loaded.manifest) == MANIFEST
    assert loaded.manifest.weights.assumed == ()
    assert loaded.notes == ()
    assert not loaded.model.training
    assert loaded.model.conv1.weight.requires_grad
    assert loaded.path == saved
    assert loaded.sha256 == sha256_of_file(saved)


@pytest.mark.usefixtures("one_thread")
def test_loaded_weights_compute_the_same_logits(network: nn.Module, saved: Path) -> None:
    """The loaded network is ready to run and gives the original's logits bit for bit."""
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(load_float(saved).model(images), network(images))


def test_the_same_checkpoint_is_the_same_bytes(
    network: nn.Module, saved: Path, tmp_path: Path
) -> None:
    """Saving again gives an equal file, so that its hash identifies it."""
    save_float(tmp_path / "again.safetensors", network, MANIFEST)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()


def test_a_checkpoint_holds_weights_alone(network: nn.Module, saved: Path) -> None:
    """The file's size is four bytes a parameter and statistic, and little besides."""
    floats = sum(v.numel() for v in network.state_dict().values() if v.is_floating_point())
    assert 4 * floats < saved.stat().st_size < 4 * floats + 20_000


def test_another_program_reads_a_checkpoint(saved: Path) -> None:
    """Plain safetensors reads it: torchvision's names, our manifest as JSON under `indoor`."""
    assert safetensors.torch.load_file(saved)["fc.weight"].shape == (3, 512)
    with safetensors.safe_open(saved, framework="pt") as file:
        said = json.loads(file.metadata()["indoor"])
    assert len(said["content_sha256"]) == 64
    assert said | {"content_sha256": None} == json.loads(to_json(MANIFEST))


def test_a_loaded_checkpoint_does_not_hang_on_its_file(saved: Path, tmp_path: Path) -> None:
    """Weights live in memory of their own: overwriting the file in place changes nothing."""
    path = tmp_path / "copy.safetensors"
    shutil.copy(saved, path)
    loaded = load_float(path)
    before = loaded.model.fc.weight.clone()
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert torch.equal(loaded.model.fc.weight, before)


def test_read_manifest_reads_no_tensors(saved: Path) -> None:
    """The manifest comes back without the network."""
    assert unsealed(read_manifest(saved)) == MANIFEST


def test_tensors_of_every_kind_come_back(tmp_path: Path) -> None:
    """int8, int32, int64, float64 and transposed tensors, exact, with an int8 manifest."""
    tensors = {
        "weight": torch.tensor([[-128, 127], [0, 1]], dtype=torch.int8),
        "scale": torch.tensor([1 / 3, 1e-300], dtype=torch.float64),
        "zero_point": torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32),
        "count": torch.tensor(2**60),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
    }
    manifest = replace(MANIFEST, precision="int8")
    write_tensors(tmp_path / "int8.safetensors", tensors, manifest)
    back, about = read_tensors(tmp_path / "int8.safetensors")
    assert unsealed(about) == manifest
    assert back.keys() == tensors.keys()
    assert all(back[k].dtype == v.dtype and torch.equal(back[k], v) for k, v in tensors.items())


def test_a_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    """Whichever byte of a checkpoint changes by one bit, reading it is an error of one line."""
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.arange(5.0), "b": torch.ones(3, dtype=torch.int8)}, MANIFEST)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        with pytest.raises(IndoorError, match=re.escape(str(path))) as caught:
            read_tensors(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    assert torch.equal(read_tensors(path)[0]["a"], torch.arange(5.0))


def test_a_damaged_content_says_what_was_expected(saved: Path, tmp_path: Path) -> None:
    """The line has both hashes and the remedy."""
    path = tmp_path / "float32.safetensors"
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        IndoorError, match=r"damaged \(content of SHA-256 \w{16}, \w{16} by its"
    ) as e:
        load_float(path)
    assert str(e.value).endswith("copy or make it again")


def test_the_content_is_hashed_once_for_each_state(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unchanged file is not hashed again, not even after a restart; a changed one is."""
    path = tmp_path / "float32.safetensors"
    shutil.copy(saved, path)
    hashed: list[str] = []

    def count(tensors: dict[str, torch.Tensor]) -> str:
        hashed.append("once")
        return hash_tensors(tensors)

    monkeypatch.setattr(tensors_module, "hash_tensors", count)
    time.sleep(0.06)  # a file that was written a moment ago is not remembered
    for _ in range(3):
        monkeypatch.setattr(files, "_MEMORY", files._Memory())
        load_float(path)
    assert hashed == ["once"]
    shutil.copy(saved, path)
    time.sleep(0.06)
    load_float(path)
    assert hashed == ["once", "once"]


def test_format_1_is_read_and_what_it_lacks_is_unknown(saved: Path, tmp_path: Path) -> None:
    """A checkpoint of before there were provenance and content hash comes back without them."""
    path = tmp_path / "old.safetensors"
    about = to_builtins(replace(MANIFEST, format=1))
    del about["provenance"], about["content_sha256"]
    tensors = safetensors.torch.load_file(saved)
    path.write_bytes(safetensors.torch.save(tensors, {"indoor": json.dumps(about)}))
    loaded = load_float(path)
    assert loaded.manifest == replace(MANIFEST, format=1)
    assert loaded.manifest.provenance is None


def test_a_failed_save_leaves_the_old_file(network: nn.Module, saved: Path, tmp_path: Path) -> None:
    """A checkpoint that cannot be written costs neither the old file nor leaves a stray one."""
    path = tmp_path / "float32.safetensors"
    shutil.copy(saved, path)
    with pytest.raises(ValueError, match=r"no resnet18 with 3 classes: it lacks bn1.weight"):
        save_float(path, fold(network), MANIFEST)
    assert path.read_bytes() == saved.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["float32.safetensors"]


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (replace(MANIFEST, precision="int8"), "manifest.precision is int8, expected float32"),
        (replace(MANIFEST, classes=CLASSES[:2]), r"fc.weight is \(3, 512\) and not \(2, 512\)"),
        (replace(MANIFEST, classes=()), "the manifest names no classes"),
        (replace(MANIFEST, arch="resnet50"), "no resnet50 with 3 classes"),
        (replace(MANIFEST, arch="vgg"), "unknown architecture 'vgg'"),
        (replace(MANIFEST, format=3), "manifest.format is 3, expected 2"),
    ],
)
def test_a_manifest_must_describe_its_model(
    network: nn.Module, tmp_path: Path, manifest: CheckpointManifest, words: str
) -> None:
    """Saving under a manifest of another network is a bad argument, and writes nothing."""
    with pytest.raises(ValueError, match=words):
        save_float(tmp_path / "x.safetensors", network, manifest)
    assert not list(tmp_path.iterdir())


def test_only_float32_is_saved_as_float32(tmp_path: Path) -> None:
    """A bfloat16 network is not written as a float32 checkpoint."""
    model = build_model("resnet18", 3).to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"conv1.weight is torch.bfloat16, expected torch.float32"):
        save_float(tmp_path / "x.safetensors", model, MANIFEST)


def test_quantized_tensors_are_not_written(tmp_path: Path) -> None:
    """A quantized tensor must be taken apart first: safetensors has no such dtype."""

    class Quantized:
        is_quantized = True
        dtype = torch.qint8

    with pytest.raises(ValueError, match=r"w is torch.qint8: safetensors has no quantized dtypes"):
        write_tensors(tmp_path / "x.safetensors", {"w": Quantized()}, MANIFEST)  # type: ignore[dict-item]


# Other people's files.


def halved(network: nn.Module) -> dict[str, torch.Tensor]:
    """The network's state dict as float16, which is half the size."""
    return {k: v.half() for k, v in network.state_dict().items()}


def test_a_plain_state_dict_is_read(network: nn.Module, tmp_path: Path) -> None:
    """torch.save(model.state_dict()): architecture and class count come from the tensors."""
    torch.save(network.state_dict(), tmp_path / "finetuned_model.pt")
    loaded = load_float(tmp_path / "finetuned_model.pt")
    assert same_weights(loaded.model, network)
    assert loaded.manifest.arch == "resnet18"
    assert loaded.manifest.classes == ()
    assert loaded.manifest.preprocessing == DEFAULT_PREPROCESSING
    assert loaded.manifest.weights == WeightSource(
        kind="file",
        name="finetuned_model.pt",
        sha256=sha256_of_file(tmp_path / "finetuned_model.pt"),
    )


def test_what_a_file_does_not_say_stands_beside_its_weights(
    network: nn.Module, tmp_path: Path
) -> None:
    """`assumed` has what was taken in its place, and survives in a checkpoint of ours."""
    torch.save({"model": halved(network), "std": [0.25] * 3}, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt", classes=CLASSES)
    expected = (
        "says no mean: ImageNet's",
        "says no input size: the whole photograph at 224 x 224",
        "names no classes: taken to be the data set's 3, in sorted order",
    )
    assert loaded.manifest.weights.assumed == expected
    given = load_float(tmp_path / "x.pt", preprocessing=CROP)
    assert given.manifest.weights.assumed == ()
    save_float(tmp_path / "ours.safetensors", loaded.model, loaded.manifest)
    again = load_float(tmp_path / "ours.safetensors", classes=CLASSES)
    assert again.manifest.weights.assumed == expected
    assert again.manifest.weights.identity == loaded.manifest.weights.identity


def test_a_nested_state_dict_says_more(network: nn.Module, tmp_path: Path) -> None:
    """Classes, mean, std and epoch beside the state dict are taken; float16 becomes float32."""
    content = {
        "state_dict": halved(network),
        "classes": list(CLASSES),
        "mean": [0.45, 0.45, 0.45],
        "std": torch.tensor([0.25, 0.25, 0.25]),
        "epoch": 87,
    }
    torch.save(content, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt")
    assert loaded.manifest.classes == CLASSES
    assert loaded.manifest.preprocessing == Preprocessing(
        resize="whole", size=224, mean=(0.45, 0.45, 0.45), std=(0.25, 0.25, 0.25)
    )
    assert loaded.manifest.epoch == 87
    assert torch.equal(loaded.model.fc.weight, network.fc.weight.half().float())
    assert loaded.model.bn1.num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_wrappers_prefixes_are_taken_off(network: nn.Module, tmp_path: Path, prefix: str) -> None:
    """A state dict saved from DataParallel or torch.compile is the network's all the same."""
    torch.save({prefix + k: v for k, v in halved(network).items()}, tmp_path / "x.pt")
    assert load_float(tmp_path / "x.pt").manifest.arch == "resnet18"


def test_other_peoples_safetensors_are_read(network: nn.Module, tmp_path: Path) -> None:
    """A safetensors file without our manifest counts as a plain state dict."""
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    loaded = load_float(tmp_path / "model.safetensors", classes=CLASSES)
    assert same_weights(loaded.model, network)
    assert loaded.manifest.classes == CLASSES


def test_files_without_batch_counts_are_read(network: nn.Module, tmp_path: Path) -> None:
    """The ImageNet files lack num_batches_tracked, which inference never reads."""
    state = {k: v for k, v in halved(network).items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "x.pt")
    assert load_float(tmp_path / "x.pt").model.bn1.num_batches_tracked == 0


def test_torchs_older_format_is_read(network: nn.Module, tmp_path: Path) -> None:
    """The format of torch.save from before 1.6, which is no zip archive."""
    torch.save(halved(network), tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert load_float(tmp_path / "x.pth").manifest.arch == "resnet18"


def test_a_bottleneck_network_is_told_apart(tmp_path: Path) -> None:
    """A plain ResNet-50 is known by its tensors."""
    state = build_model("resnet50", 2, seed=0).state_dict()
    torch.save({k: v.half() for k, v in state.items()}, tmp_path / "x.pt")
    assert load_float(tmp_path / "x.pt").manifest.arch == "resnet50"


def test_the_caller_may_say_how_photographs_are_prepared(saved: Path) -> None:
    """`preprocessing` replaces what the file says."""
    assert load_float(saved).manifest.preprocessing == CROP
    loaded = load_float(saved, preprocessing=DEFAULT_PREPROCESSING)
    assert loaded.manifest.preprocessing == DEFAULT_PREPROCESSING


# Bad files. Each entry writes one to the path it is given.


class Evil:
    """Unpickling it writes a file: what a checkpoint must never be able to do."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Say what to call on loading."""
        return os.mkdir, (str(self.witness),)


def write_with_manifest(path: Path, manifest: dict[str, object] | str) -> None:
    """A safetensors file with any text as its manifest."""
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    path.write_bytes(safetensors.torch.save({"fc.bias": torch.zeros(3)}, {"indoor": text}))


def changed(**fields: object) -> dict[str, object]:
    """The manifest as JSON's dicts, of format 1 as no hash is in it, with some fields changed."""
    return to_builtins(replace(MANIFEST, format=1)) | fields


def state(**tensors: object) -> dict[str, object]:
    """A ResNet-18's state dict of zeros with some entries changed; None leaves one out."""
    names = build_empty("resnet18", 3).state_dict()
    result: dict[str, object] = {k: torch.zeros(v.shape).half() for k, v in names.items()}
    result.update({k.replace("__", "."): v for k, v in tensors.items()})
    return {k: v for k, v in result.items() if v is not None}


def truncate(path: Path, source: bytes, size: int) -> None:
    """Write the first bytes of a file."""
    path.write_bytes(source[:size])


def script(path: Path) -> None:
    """A TorchScript archive is a zip with a constants.pkl: code, not weights."""
    torch.save(state(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{path.stem}/constants.pkl", b"\x80\x02).")


BAD_FILES: dict[str, tuple[Callable[[Path, bytes], object], str]] = {
    "missing": (lambda *_: None, "there is no file .*expected weights.*check the path"),
    "folder": (lambda p, _: p.mkdir(), "is a folder, expected a file of weights"),
    "empty": (lambda p, _: p.write_bytes(b""), "is empty, expected a file of weights"),
    "text": (lambda p, _: p.write_text("hello world"), "holds no weights, expected a safetensors"),
    "a photograph": (lambda p, _: p.write_bytes(b"\xff\xd8\xff\xe0" * 9), "holds no weights"),
    "truncated header": (lambda p, b: truncate(p, b, 100), "is damaged .*copy or make it again"),
    "truncated tensors": (lambda p, b: truncate(p, b, len(b) - 1), "is damaged .*copy or make it"),
    "too long": (lambda p, b: p.write_bytes(b + b"x"), "is damaged"),
    "code in a torch file": (
        lambda p, _: torch.save({"state_dict": {}, "x": Evil(p.parent / "ran")}, p),
        r"could run code when loaded \(it names (posix|nt).mkdir\), expected weights alone",
    ),
    "code in a pickle": (
        lambda p, _: p.write_bytes(pickle.dumps(Evil(p.parent / "ran"), protocol=2)),
        "could run code when loaded",
    ),
    "code in a newer pickle": (
        lambda p, _: p.write_bytes(pickle.dumps(Evil(p.parent / "ran"), protocol=5)),
        "could run code when loaded",
    ),
    "a whole model": (
        lambda p, _: torch.save(nn.Linear(1, 1), p),
        r"holds no resnet18: it lacks conv1.weight; .* \(these have weight, bias\)",
    ),
    "TorchScript": (lambda p, _: script(p), "is a TorchScript archive, which is code"),
    "truncated torch file": (
        lambda p, _: (torch.save(state(), p), truncate(p, p.read_bytes(), 4000)),
        "is damaged .*expected a whole file of torch.save",
    ),
    "a list": (lambda p, _: torch.save([1, 2], p), "holds a list, expected a state dict"),
    "numbers by name": (
        lambda p, _: torch.save({"lr": 0.1}, p),
        r"holds no state dict \('lr' is a float\)",
    ),
    "numbered tensors": (
        lambda p, _: torch.save({0: torch.zeros(1)}, p),
        r"holds no state dict \(0 is a Tensor\)",
    ),
    "no network": (
        lambda p, _: torch.save({"a": torch.zeros(1)}, p),
        "holds no resnet18: it lacks conv1.weight; expected torchvision's resnet18, resnet50, ",
    ),
    "no tensors": (lambda p, _: torch.save({}, p), "holds no resnet18: it lacks conv1.weight"),
    "a larger network": (
        lambda p, _: torch.save(state(layer1__2__conv1__weight=torch.zeros(64, 64, 3, 3)), p),
        "holds no resnet18: it has layer1.2.conv1.weight besides",
    ),
    "grey input": (
        lambda p, _: torch.save(state(conv1__weight=torch.zeros(64, 1, 7, 7)), p),
        r"conv1.weight is \(64, 1, 7, 7\) and not \(64, 3, 7, 7\)",
    ),
    "whole numbers": (
        lambda p, _: torch.save(state(conv1__weight=torch.ones(64, 3, 7, 7).int()), p),
        "conv1.weight is torch.int32 and not torch.float32",
    ),
    "another head": (
        lambda p, _: torch.save(state(fc__weight=None), p),
        "holds no resnet18: it lacks fc.weight",
    ),
    "NaN": (
        lambda p, _: torch.save(state(fc__bias=torch.tensor([0.0, float("nan"), 1.0])), p),
        "holds NaN or infinite weights in fc.bias.*take an earlier checkpoint",
    ),
    "infinity": (
        lambda p, _: torch.save(state(bn1__weight=torch.full((64,), -float("inf"))), p),
        "holds NaN or infinite weights in bn1.weight",
    ),
    "int8 of torch.save": (
        lambda p, _: torch.save(state() | {"fc._packed_params._packed_params": (1, 2)}, p),
        "holds an int8 model, expected float32; give the float32.safetensors",
    ),
    "int8 of ours": (
        lambda p, _: write_with_manifest(p, changed(precision="int8")),
        "holds an int8 model, expected float32",
    ),
    "the future": (
        lambda p, _: write_with_manifest(p, changed(format=3)),
        "has checkpoint format 3, expected at most 2: a newer indoor wrote it; update indoor",
    ),
    "no manifest at all": (lambda p, _: write_with_manifest(p, "{"), "holds no CheckpointManifest"),
    "half a manifest": (
        lambda p, _: write_with_manifest(p, {"format": 1}),
        "holds no CheckpointManifest: .*missing required field",
    ),
    "a list as manifest": (
        lambda p, _: write_with_manifest(p, "[1]"),
        "holds no CheckpointManifest",
    ),
    "an unknown network": (
        lambda p, _: write_with_manifest(p, changed(arch="vgg16")),
        "holds a vgg16, expected one of resnet18, resnet50",
    ),
    "a manifest without its tensors": (
        lambda p, _: write_with_manifest(p, changed()),
        "holds no resnet18: it lacks conv1.weight",
    ),
    "classes as a dict": (
        lambda p, _: torch.save({"state_dict": state(), "classes": {"a": 0}}, p),
        "has classes of type dict, expected a list of names",
    ),
    "too few classes": (
        lambda p, _: torch.save({"state_dict": state(), "classes": ["a"]}, p),
        "names 1 classes, expected 3 as its last layer has",
    ),
    "a class twice": (
        lambda p, _: torch.save({"state_dict": state(), "classes": ["a", "b", "a"]}, p),
        "names a class twice",
    ),
    "one mean": (
        lambda p, _: torch.save({"state_dict": state(), "mean": 0.5}, p),
        "has mean 0.5, expected three numbers",
    ),
    "std of zero": (
        lambda p, _: torch.save({"state_dict": state(), "std": [0.2, 0.0, 0.2]}, p),
        r"std \(0.2, 0.0, 0.2\), expected a positive size, finite means and positive deviations",
    ),
}


@pytest.mark.parametrize(("write", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_one_line(
    write: Callable[[Path, bytes], object],
    words: str,
    saved: Path,
    tmp_path: Path,
) -> None:
    """A file that is no float32 checkpoint gives one line that names it, and runs no code."""
    path = tmp_path / "weights.pt"
    write(path, saved.read_bytes())
    with pytest.raises(IndoorError, match=words) as caught:
        load_float(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_an_unreadable_file_says_why(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's reason for refusing a file stands in the line."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(IndoorError, match=r"cannot read .*: Permission denied"):
        load_float(saved)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"arch": "resnet50"}, "holds a resnet18, expected a resnet50; choose --model resnet18"),
        ({"classes": CLASSES[:2]}, "has 3 classes, expected 2 as the data has; train a new head"),
        (
            {"classes": (CLASSES[0], CLASSES[2], CLASSES[1])},
            "has 'concert.hall' as class 1, expected 'shopping mall'",
        ),
    ],
)
def test_another_network_than_wanted_is_one_line(
    saved: Path, wanted: dict[str, object], words: str
) -> None:
    """A wrong architecture, a wrong number and other names of classes are refused."""
    with pytest.raises(IndoorError, match=words):
        load_float(saved, **wanted)  # type: ignore[arg-type]


def test_a_plain_file_must_have_as_many_classes(network: nn.Module, tmp_path: Path) -> None:
    """Without names the number of logits still has to be the data's."""
    torch.save(halved(network), tmp_path / "x.pt")
    with pytest.raises(IndoorError, match="has 3 classes, expected 2"):
        load_float(tmp_path / "x.pt", classes=("a", "b"))


def test_a_plain_file_has_no_manifest(network: nn.Module, tmp_path: Path) -> None:
    """Weights alone are not taken for a checkpoint of ours."""
    torch.save(halved(network), tmp_path / "x.pt")
    safetensors.torch.save_file(network.state_dict(), tmp_path / "x.safetensors")
    for name in ("x.pt", "x.safetensors"):
        with pytest.raises(IndoorError, match=r"has no manifest.*pass it as --weights"):
            read_manifest(tmp_path / name)


def test_our_checkpoints_never_reach_the_unpickler(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading our own file works without torch.load, and without our own unpickler."""
    monkeypatch.delattr(torch, "load")
    monkeypatch.delattr(torch_files, "InertUnpickler")
    assert load_float(saved).manifest.epoch == 7


def test_a_header_may_begin_with_a_pickles_byte(tmp_path: Path) -> None:
    """A safetensors file whose header's length has the low byte 0x80 is not taken for a pickle."""
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.zeros(1)}, MANIFEST)
    missing = (0x80 - path.read_bytes()[0]) % 256
    manifest = replace(MANIFEST, classes=(CLASSES[0] + "x" * missing, *CLASSES[1:]))
    write_tensors(path, {"a": torch.zeros(1)}, manifest)
    assert path.read_bytes()[0] == 0x80
    assert unsealed(read_manifest(path)) == manifest


def test_a_file_below_a_file_says_why(saved: Path) -> None:
    """The system's reason for finding nothing stands in the line."""
    with pytest.raises(IndoorError, match=r"cannot read .*: Not a directory"):
        load_float(saved / "weights.pt")


@pytest.mark.real_data
def test_the_shared_weights_know_their_photographs(shared: Path) -> None:
    """weights/scene15_resnet50.pt loads and is right on most of nine test photographs.

    It is right on 79% of them, so four or fewer right of nine has a chance below 2%.
    """
    from indoor.dataset import load_photograph

    loaded = load_float(shared / "weights" / "scene15_resnet50.pt", arch="resnet50")
    manifest = loaded.manifest
    assert len(manifest.classes) == 15
    assert manifest.epoch == 87
    assert manifest.preprocessing.mean == (0.45, 0.45, 0.45)
    transform = inference_transform(manifest.preprocessing)
    lines = (shared / "scene15" / "TestImages.txt").read_text().splitlines()[::165][:9]
    images = [transform(load_photograph(shared / "scene15" / "Images" / x)) for x in lines]
    with torch.inference_mode():
        predicted = loaded.model(torch.stack(images)).argmax(dim=1)
    names = [manifest.classes[i] for i in predicted.tolist()]
    assert sum(x.split("/")[0] == name for x, name in zip(lines, names, strict=True)) >= 5
