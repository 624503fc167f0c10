"""What a file is: an intact one is told as what it is, a damaged one as damaged; subnormals."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from foreign import network
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.model import build_model, load_float, read_manifest, save_float

STATE = network()


def packed() -> bytes:
    """Return a small file of torch.save."""
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    return buffer.getvalue()


def archive(*names: str) -> bytes:
    """Return a zip archive with files of these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


def tarred() -> bytes:
    """Return a tar archive with a file of torch.save."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        info = tarfile.TarInfo("model.pt")
        info.size = len(packed())
        file.addfile(info, io.BytesIO(packed()))
    return buffer.getvalue()


def saved(thing: object) -> bytes:
    """Return a file of torch.save with something."""
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def arrays() -> bytes:
    """Return numpy's archive."""
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


OPTIMIZER = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9).state_dict()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
INDEX = json.dumps({"metadata": {}, "weight_map": {"conv1.weight": "a.safetensors"}}).encode()
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.4.0:\xb6\x97\x04"

KINDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "git-LFS pointer": (lambda: POINTER, "is a git-LFS pointer.*run git lfs pull"),
    "web page": (lambda: b"<!DOCTYPE html><html>404</html>", "is a web page"),
    "web page without a type": (lambda: b"\n <html><body>", "is a web page"),
    "error of a bucket": (lambda: b"<?xml version='1.0'?><Error>", "is a web page"),
    "ONNX": (lambda: ONNX, "is an ONNX model"),
    "numpy's archive": (arrays, "is an archive of numpy arrays"),
    "numpy's array": (lambda: b"\x93NUMPY\x01\x00v\x00{}", "is a numpy array"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "is an HDF5 file, as Keras"),
    "Keras": (lambda: archive("config.json", "model.weights.h5"), "is a Keras model"),
    "GGUF": (lambda: b"GGUF\x03\0\0\0", "is a GGUF file"),
    "TensorFlow Lite": (lambda: b"\x1c\0\0\0TFL3\x14\0", "is a TensorFlow Lite model"),
    "gzip": (lambda: gzip.compress(packed()), r"is packed by gzip.*gunzip"),
    "tar": (tarred, "is a tar archive.*unpack it"),
    "zip of a checkpoint": (lambda: archive("model.pth"), r"is a zip archive of 1 files \(model"),
    "zip of a folder": (lambda: archive("a/b.py", "a/c.py"), "is a zip archive of 2 files"),
    "xz": (lambda: b"\xfd7zXZ\0" + b"x" * 9, "is packed by xz"),
    "empty-control": (lambda: b"", "is empty"),
    "text-control": (lambda: b"hello", "holds no weights"),
    "index of shards": (lambda: INDEX, "is the index of weights in several files"),
    "JSON": (lambda: b'{"a": 1}', "holds no weights, but JSON"),
    "PDF": (lambda: b"%PDF-1.7", "is a PDF"),
    "torch.export": (
        lambda: archive("x/archive_format", "x/models/model.json"),
        r"is a program of torch.export.*python -c 'import torch; torch.save\(dict\(torch.export",
    ),
    "a tensor-control": (lambda: saved(torch.ones(2)), "holds a Tensor, expected a state dict"),
    "a list-control": (lambda: saved([1, 2]), "holds a list, expected a state dict"),
    "a number-control": (lambda: saved(3), "holds a int, expected a state dict"),
    "a list of tensors-control": (
        lambda: saved([torch.ones(2)]),
        "holds a list, expected a state dict",
    ),
    "an optimizer": (lambda: saved(OPTIMIZER), "holds an optimizer's state"),
    "a module of another kind": (
        lambda: saved(nn.Linear(2, 2)),
        "holds a torch.nn.modules.linear.Linear|lacks conv1.weight",
    ),
    "an empty dict-control": (lambda: saved({}), "it lacks conv1.weight"),
    "quantized-control": (
        lambda: saved({"conv1.weight": torch.quantize_per_tensor(CONV, 1, 0, torch.qint8)}),
        "holds an int8 model, expected float32",
    ),
    "without data": (
        lambda: saved(STATE | {"conv1.weight": torch.ones(64, 3, 7, 7, device="meta")}),
        "has a tensor on meta as conv1.weight, expected a tensor",
    ),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(("content", "words"), KINDS.values(), ids=KINDS)
def test_an_intact_file_is_told_as_what_it_is(
    content: Callable[[], bytes], words: str, tmp_path: Path
) -> None:
    """One line says what the file is and what to do; it is not called damaged."""
    path = tmp_path / "weights.pt"
    path.write_bytes(content())
    with pytest.raises(IndoorError, match=words) as caught:
        load_float(path)
    assert "damaged" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(IndoorError):
        read_manifest(path)


def changed(**tensors: Tensor) -> dict[str, Tensor]:
    """Return the state dict with some tensors changed."""
    return STATE | {name.replace("__", "."): tensor for name, tensor in tensors.items()}


CONV = torch.arange(64 * 3 * 7 * 7).reshape(64, 3, 7, 7) % 17 - 8.0

TENSORS: dict[str, Tensor] = {
    "float16-control": CONV.half(),
    "bfloat16-control": CONV.bfloat16(),
    "float64-control": CONV.double(),
    "float8-control": CONV.to(torch.float8_e4m3fn),
    "sparse": CONV.to_sparse(),
    "a parameter-control": nn.Parameter(CONV),
    "not contiguous-control": CONV.transpose(2, 3).contiguous().transpose(2, 3),
    "channels last-control": CONV.to(memory_format=torch.channels_last),
    "a view of more-control": torch.cat([CONV, CONV])[64:],
    "expanded-control": torch.ones(1).expand(64, 3, 7, 7),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_a_tensor_is_read_however_it_is_stored(
    tensor: Tensor, zipped: bool, tmp_path: Path
) -> None:
    """Any floating dtype, layout and order in memory."""
    path = tmp_path / "x.pt"
    torch.save(changed(conv1__weight=tensor), path, _use_new_zipfile_serialization=zipped)
    expected = tensor.detach().to_dense().float()
    assert torch.equal(load_float(path).model.conv1.weight, expected)


def test_a_file_that_was_packed_again_is_read(tmp_path: Path) -> None:
    """Another program's zip archive, compressed, without torch's alignment."""
    torch.save(changed(conv1__weight=CONV), tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as old,
        zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert torch.equal(load_float(tmp_path / "y.pt").model.conv1.weight, CONV)


def test_a_file_without_checksums_is_read(tmp_path: Path) -> None:
    """Torch can be told to write none."""
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(changed(conv1__weight=CONV), tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(load_float(tmp_path / "x.pt").model.conv1.weight, CONV)


def test_a_name_that_ends_in_safetensors_decides_nothing(tmp_path: Path) -> None:
    """A file of torch.save is one under any name, and the other way round."""
    torch.save(STATE, tmp_path / "x.safetensors")
    assert load_float(tmp_path / "x.safetensors").manifest.arch == "resnet18"
    plain = {name: tensor.contiguous() for name, tensor in STATE.items()}
    safetensors.torch.save_file(plain, tmp_path / "x.pt")
    assert load_float(tmp_path / "x.pt").manifest.arch == "resnet18"


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "half-control": lambda data: data[: len(data) // 2],
    "the last byte-control": lambda data: data[:-1],
    "all but the start-control": lambda data: data[:100],
    "a byte in the middle-control": lambda data: (
        data[: len(data) // 2] + data[len(data) // 2 + 1 :]
    ),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_a_file_that_was_cut_is_damaged(
    cut: Callable[[bytes], bytes], zipped: bool, tmp_path: Path
) -> None:
    """Whatever is missing, the line says damaged."""
    path = tmp_path / "x.pt"
    torch.save(changed(conv1__weight=CONV), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(IndoorError, match=r"is damaged .*copy or make it again"):
        load_float(path)


def test_a_flipped_bit_in_weights_or_names_is_damage(tmp_path: Path) -> None:
    """The checksums of a zip archive are compared, of the pickle and of each tensor."""
    path = tmp_path / "x.pt"
    torch.save(changed(conv1__weight=CONV), path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        places = [
            whole.index(file.read(info)[:64], info.header_offset) + min(info.file_size - 1, 9)
            for info in file.infolist()
            if info.filename.endswith("data.pkl") or "/data/" in info.filename
        ]
    for place in places[:: len(places) // 6]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(IndoorError, match="is damaged"):
            load_float(path)


# Subnormal weights.


def with_small(count: int, value: float = 1e-40) -> dict[str, Tensor]:
    """Return the state dict with so many small values in its first layer."""
    conv = CONV.clone()
    conv.view(-1)[:count] = value
    return changed(conv1__weight=conv)


SMALL: dict[str, tuple[dict[str, Tensor], int]] = {
    "none-control": (STATE, 0),
    "some": (with_small(1234), 1234),
    "negative": (with_small(5, -1e-39), 5),
    "the smallest": (with_small(3, 2.0**-149), 3),
    "zeros-control": (with_small(99, 0.0), 0),
    "the smallest that is normal-control": (with_small(9, 2.0**-126), 0),
    "a running variance": (changed(bn1__running_var=torch.full((64,), 1e-41)), 64),
    "float16's own-control": (
        {n: t.half() for n, t in with_small(7, 6e-8).items()},
        0,
    ),
    "bfloat16's": (changed(conv1__weight=with_small(7)["conv1.weight"].bfloat16()), 7),
    "float64's": (changed(conv1__weight=with_small(7)["conv1.weight"].double()), 7),
}


@pytest.mark.parametrize(("state", "count"), SMALL.values(), ids=SMALL)
def test_subnormal_weights_are_counted_and_said(
    state: dict[str, Any], count: int, tmp_path: Path
) -> None:
    """As float32 computes with them, statistics of batch norms included."""
    torch.save(state, tmp_path / "x.pt")
    said = [c for c in load_float(tmp_path / "x.pt").manifest.weights.assumed if "subnormal" in c]
    clause = f"{count:,} of 11.2 million weights are subnormal, which slows float32 down"
    assert said == ([clause] if count else [])


def test_a_checkpoint_of_ours_says_its_own_subnormal_weights(tmp_path: Path) -> None:
    """They are counted when it is written, and stand there once."""
    torch.save(with_small(1234), tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt", classes=("a", "b", "c"))
    manifest = save_float(tmp_path / "ours.safetensors", loaded.model, loaded.manifest)
    assert manifest.weights.assumed == loaded.manifest.weights.assumed
    assert sum("1,234 of 11.2 million" in clause for clause in manifest.weights.assumed) == 1
    healthy = build_model("resnet18", 3, seed=0)
    manifest = save_float(tmp_path / "healthy.safetensors", healthy, loaded.manifest)
    assert not any("subnormal" in clause for clause in manifest.weights.assumed)
