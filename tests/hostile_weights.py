"""Hostile files of weights, each of which is to be refused: damage, code, bombs, nonsense."""

import io
import os
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from indoor.model import FORMAT, build_model, save_float
from indoor.model.network import thin
from indoor.records import CheckpointManifest, WeightSource
from indoor.transforms import DEFAULT_PREPROCESSING

Make = Callable[[Path], object]
Case = tuple[str, Make]

ARCH = thin("resnet18")


class Runs:
    """Unpickling it would run a program."""

    def __reduce__(self) -> tuple[object, ...]:
        """Return a call that leaves a folder behind."""
        return os.mkdir, ("code-was-executed",)


def checkpoint(path: Path) -> Path:
    """Write a small checkpoint of ours."""
    manifest = CheckpointManifest(
        format=FORMAT,
        arch=ARCH,
        precision="float32",
        classes=("a", "b"),
        preprocessing=DEFAULT_PREPROCESSING,
        weights=WeightSource(kind="none", name="random", sha256=None),
    )
    save_float(path, build_model(ARCH, 2, seed=0), manifest)
    return path


def state(**changes: object) -> dict[str, object]:
    """Return a ResNet-18's state dict with entries changed; None leaves one out."""
    found: dict[str, object] = dict(build_model("resnet18", 2, seed=0).state_dict())
    found |= {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in found.items() if value is not None}


def torch_file(thing: object, **how: Any) -> bytes:
    """Return what torch.save writes."""
    data = io.BytesIO()
    torch.save(thing, data, **how)
    return data.getvalue()


def content(data: bytes) -> Make:
    """Return what writes these bytes."""
    return lambda path: path.write_bytes(data)


def truncated(folder: Path) -> Iterator[Case]:
    """Yield files of every format cut off at every eighth."""
    small = {name: value for name, value in state().items() if not name.startswith("layer")}
    whole = {
        "ours.safetensors": checkpoint(folder / "whole.safetensors").read_bytes(),
        "zip.pt": torch_file(small),
        "stream.pt": torch_file(small, _use_new_zipfile_serialization=False),
        "plain.pkl": pickle.dumps({k: v.numpy() for k, v in small.items()}),  # type: ignore[attr-defined]
        "other.safetensors": safetensors.torch.save(small),  # type: ignore[arg-type]
    }
    for name, data in whole.items():
        for eighth in range(8):
            yield f"cut-{eighth}-{name}", content(data[: len(data) * eighth // 8])


def flipped(folder: Path) -> Iterator[Case]:
    """Yield checkpoints of ours with one bit that is wrong, all over the file and in its header."""
    data = checkpoint(folder / "whole.safetensors").read_bytes()
    generator = np.random.default_rng(2)
    size = int.from_bytes(data[:8], "little")
    places = [
        *range(8),
        *generator.integers(8, 8 + size, 12),
        *generator.integers(0, len(data), 12),
    ]
    for number, place in enumerate(places):
        changed = bytearray(data)
        changed[place] ^= 1 << int(generator.integers(0, 8))
        yield f"flipped-{number}.safetensors", content(bytes(changed))


def opcodes(*parts: bytes) -> bytes:
    """Return a pickle of hand-written opcodes."""
    return b"\x80\x04" + b"".join(parts) + b"."


def named(module: str, name: str) -> bytes:
    """Return the opcode that names a function."""
    return f"c{module}\n{name}\n".encode()


def counted(data: bytes) -> bytes:
    """Return the opcode for bytes."""
    return b"B" + struct.pack("<L", len(data)) + data


def again_and_again(function: bytes, argument: bytes, count: int) -> bytes:
    """Return a pickle that calls a function with one large argument, which stands in it once."""
    calls = b"".join((b"h\0", b"h\1", b"\x85R") * count)
    return opcodes(function, b"q\0", b"0", argument, b"q\1", b"0", b"(", calls, b"l")


def _array(count: int) -> bytes:
    """Return a pickle of many numpy arrays over the same bytes."""
    raw = counted(bytes(8_000_000))
    dtype = named("numpy", "dtype") + b"X\2\0\0\0u1" + b"\x85R"
    shape = b"J" + struct.pack("<l", 8_000_000) + b"\x85"
    frombuffer = named("numpy._core.numeric", "_frombuffer")
    setup = b"".join((frombuffer, b"q\0", b"0", raw, b"q\1", b"0", dtype, b"q\2", b"0"))
    one = b"h\0(h\1h\2" + shape + b"X\1\0\0\0CtR"
    items = b"".join(b"X\4\0\0\0" + f"{n:04d}".encode() + one for n in range(count))
    return opcodes(setup, b"}(", items, b"u")


def _sparse() -> bytes:
    """Return a pickle of a sparse tensor of one value and billions of places."""
    whole = torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (4,), check_invariants=True)
    data = pickle.dumps({"conv1.weight": whole})
    return data.replace(b"K\4\x85", b"J" + struct.pack("<l", 1_900_000_000) + b"\x85")


def _zip(*entries: tuple[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries:
            archive.writestr(name, text)
    return data.getvalue()


def _shared_records(count: int) -> bytes:
    """Return a file of torch.save whose storages are all the same few packed bytes."""
    size = 16_000_000
    tensors = {f"{n}": torch.zeros(1, dtype=torch.uint8) for n in range(count)}
    with zipfile.ZipFile(io.BytesIO(torch_file(tensors))) as archive:
        name = archive.namelist()[0].split("/")[0]
        pickled = archive.read(f"{name}/data.pkl")
    pickled = pickled.replace(b"K\1t", b"J" + struct.pack("<l", size) + b"t")
    packed = zlib.compress(bytes(size), 9)[2:-4]
    record = f"{name}/data/0".encode()
    local = struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), size, len(record), 0
    )
    body = local + record + packed
    second = len(body)
    plain = f"{name}/data.pkl".encode()
    body += struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, len(pickled), len(pickled), len(plain), 0
    )
    body += plain + pickled
    names = [(f"{name}/data/{n}".encode(), 0, 8, len(packed), size) for n in range(count)]
    names.append((plain, second, 0, len(pickled), len(pickled)))
    directory = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, how, 0, 0, 0, stored, unpacked, len(entry),
            0, 0, 0, 0, 0, at,
        ) + entry
        for entry, at, how, stored, unpacked in names
    )  # fmt: skip
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, len(names), len(names), len(directory), len(body), 0
    )
    return body + directory + end


def _names(count: int) -> bytes:
    """Return a zip archive of many empty files."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number in range(count):
            archive.writestr(f"x/{number:060d}", b"")
    return data.getvalue()


def _many_tensors(count: int) -> bytes:
    """Return a safetensors file of many tensors of nothing."""
    one = b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(one % number for number in range(count)) + b"}"
    return struct.pack("<Q", len(header)) + header


def _long_tensor(path: Path) -> None:
    """Write a safetensors file of 3 GB that takes no place on the disk."""
    size = 3_000_000_000
    header = b'{"x":{"dtype":"F32","shape":[750000000],"data_offsets":[0,%d]}}' % size
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + size)


def _without_content() -> bytes:
    """Return a file of before torch 1.6 that ends its list of storages before the first."""
    data = torch_file(state(), _use_new_zipfile_serialization=False)
    file = io.BytesIO(data)
    for _ in range(4):  # the number, the version, the system, the content
        deque(pickletools.genops(file), maxlen=0)
    return data[: file.tell()] + pickle.dumps([], 2)


def bombs() -> Iterator[Case]:
    """Yield files that a few bytes of would take gigabytes, or hours."""
    made: dict[str, bytes] = {
        "memo-of-gigabytes.pkl": opcodes(b"}", b"r" + struct.pack("<L", 2**27)),
        "memo-of-gigabytes-as-text.pkl": opcodes(b"}", b"p%d\n" % 2**29),
        "bytearray-of-gigabytes.pkl": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"x.",
        "bytes-of-gigabytes.pkl": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
        "frame-of-gigabytes.pkl": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"}.",
        "a-dict-a-byte.pkl": opcodes(b"(", b"}" * 16_000_000, b"l"),
        "a-set-a-byte.pt": _zip(("x/data.pkl", opcodes(b"(", b"\x8f" * 15_900_000, b"l"))),
        "one-text-encoded-again.pkl": again_and_again(
            named("_codecs", "encode"), b"X" + struct.pack("<L", 8_000_000) + b"x" * 8_000_000, 1000
        ),
        "one-file-read-again.pkl": again_and_again(
            named("torch.storage", "_load_from_bytes"),
            counted(torch_file(torch.zeros(2_000_000))),
            1000,
        ),
        "one-array-again.pkl": _array(1000),
        "a-sparse-tensor.pkl": _sparse(),
        "records-that-share-bytes.pt": _shared_records(200),
        "a-record-of-gigabytes.pt": _zip(("x/data.pkl", opcodes(b"}")), ("x/a", bytes(2**28))),
        "half-a-million-names.zip": _names(150_000),
        "a-million-tensors.safetensors": _many_tensors(1_000_000),
        "storages-without-content.pt": _without_content(),
        "nested-lists.pkl": opcodes(b"(" * 500_000, b"l" * 500_000),
    }
    for name, data in made.items():
        yield name, content(data)
    yield "a-long-tensor.safetensors", _long_tensor


def nonsense() -> Iterator[Case]:
    """Yield whole files that hold something else than finite weights of a network."""
    nan: Tensor = torch.tensor([0.0, float("nan")])
    made: dict[str, bytes] = {
        "empty.pt": b"",
        "zeros.pt": bytes(5000),
        "text.safetensors": b"these are no weights",
        # Its end says that a table lies before the file's start.
        "zip-before-its-start.pt": struct.pack("<4s4sLQL", b"PK\3\4", b"PK\6\7", 0, 0, 1)
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 0),
        "code.pt": torch_file({"state_dict": state(), "x": Runs()}),
        "code.pkl": pickle.dumps(Runs()),
        "nan.pt": torch_file(state(fc__bias=nan)),
        "nan.safetensors": safetensors.torch.save(state(fc__bias=nan)),  # type: ignore[arg-type]
        "wrong-shape.pt": torch_file(state(conv1__weight=torch.zeros(64, 3, 5, 5))),
        "lacks-a-layer.pt": torch_file(state(layer4__0__conv1__weight=None)),
        "deep-manifest.safetensors": safetensors.torch.save(
            {"x": torch.zeros(1)},
            {"indoor": '{"format":1,"x":' + "[" * 90_000 + "]" * 90_000 + "}"},
        ),
        "deep-header.safetensors": struct.pack("<Q", 60_000) + b'{"x":' + b"[" * 59_995,
    }
    for name, data in made.items():
        yield name, content(data)
    yield "pipe.pt", os.mkfifo
    yield "device.pt", lambda path: path.symlink_to("/dev/zero")
    yield "folder.pt", Path.mkdir


def all_cases(folder: Path) -> dict[str, Make]:
    """Return what writes each file, by its name."""
    return dict((*truncated(folder), *flipped(folder), *bombs(), *nonsense()))
