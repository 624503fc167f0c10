"""What lies beside the weights in a pickle: read whatever its class is, and never executed."""

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import getpass
import io
import os
import pathlib
import pickle
import random
import shlex
import subprocess
import sys
import types
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign import network
from torch import nn
from torchvision import transforms

from indoor.errors import IndoorError
from indoor.model import LoadedModel, load_float

STATE = network()


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1


class Flags(enum.IntFlag):
    """Flags."""

    A = 1


@dataclass
class Settings:
    """A script's own settings."""

    lr: float = 0.1


class AttributeDict(dict):  # type: ignore[type-arg]
    """What Lightning, EasyDict, yacs and others derive."""

    def __getattr__(self, name: str) -> object:
        """Return an item."""
        if name not in self:
            raise AttributeError(name)
        return self[name]


class Record(list):  # type: ignore[type-arg]
    """A list of a script's own."""


class Slotted:
    """An object without a dict."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 3


Point = collections.namedtuple("Point", "x y")

HARMLESS: dict[str, object] = {
    "nothing-control": None,
    "plain values-control": {"epoch": 3, "acc": 0.5, "names": ["a"], "done": True},
    "tensors-control": {"best": torch.tensor(0.5)},
    "argparse.Namespace": argparse.Namespace(lr=0.1, data="x"),
    "numpy.float64": np.float64(0.93),
    "numpy.float32": np.float32(0.93),
    "numpy.int64": np.int64(3),
    "numpy.bool": np.bool_(True),
    "a numpy dtype": np.dtype("float32"),
    "a numpy array": np.arange(6.0).reshape(2, 3),
    "a numpy array of objects": np.array([{"a": 1}, None], dtype=object),
    "a numpy array of texts": np.array(["a", "b"]),
    "numpy's random state-control": np.random.default_rng(0).bit_generator.state,
    "random's state-control": random.Random(0).getstate(),
    "a defaultdict": collections.defaultdict(list, {"loss": [0.1]}),
    "a Counter-control": collections.Counter("aab"),
    "a deque": collections.deque([1, 2], maxlen=3),
    "a namedtuple": Point(1, 2),
    "a path": pathlib.PurePosixPath("/data/x"),
    "a path of Windows": pathlib.PureWindowsPath("C:/x"),
    "a datetime": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    "a timedelta": datetime.timedelta(seconds=3),
    "an enum": Colour.RED,
    "an enum's flags": Flags.A,
    "a set-control": {1, 2},
    "a set of paths": {pathlib.PurePosixPath("x")},
    "a frozenset": frozenset({"a"}),
    "a key that is an enum": {Colour.RED: 1},
    "a slice": slice(1, 2),
    "a range": range(3),
    "a complex number-control": 1 + 2j,
    "bytes-control": b"\x00\xff",
    "a bytearray-control": bytearray(b"xy"),
    "a Decimal": decimal.Decimal("1.5"),
    "a Fraction": fractions.Fraction(1, 3),
    "a UUID": uuid.UUID(int=3),
    "a dataclass": Settings(),
    "a config derived of dict": AttributeDict(lr=0.1, model=AttributeDict(name="x")),
    "a list's subclass": Record([1, 2]),
    "an object with slots": Slotted(),
    "a SimpleNamespace": types.SimpleNamespace(a=1),
    "a function": Settings,
    "a partial function": functools.partial(getpass.getuser),
    "a loss module": nn.CrossEntropyLoss(weight=torch.ones(3)),
    "torch's constants-control": (
        torch.float16,
        torch.device("cpu"),
        torch.Size([1]),
        torch.strided,
    ),
    "a generator's state-control": torch.Generator().get_state(),
    "a big number-control": 2**200,
    "an exception-control": ValueError("x"),
}

FORMATS: dict[str, dict[str, Any]] = {
    "zip": {},
    "zip, protocol 1": {"pickle_protocol": 1},
    "zip, protocol 3": {"pickle_protocol": 3},
    "zip, protocol 5": {"pickle_protocol": 5},
    "before 1.6, protocol 1": {"_use_new_zipfile_serialization": False, "pickle_protocol": 1},
    "zip, protocol 4": {"pickle_protocol": 4},
    "before 1.6": {"_use_new_zipfile_serialization": False},
    "before 1.6, protocol 5": {"_use_new_zipfile_serialization": False, "pickle_protocol": 5},
}


def read(content: object, path: Path, **how: Any) -> LoadedModel:
    """Write a file of the weights, the content and the epoch 9, and read it."""
    torch.save({"state_dict": STATE, "beside": content, "epoch": 9}, path, **how)
    loaded = load_float(path)
    assert torch.equal(loaded.model.conv1.weight, STATE["conv1.weight"])
    assert loaded.manifest.epoch == 9
    return loaded


@pytest.mark.parametrize("beside", HARMLESS.values(), ids=HARMLESS)
def test_what_lies_beside_the_weights_is_no_obstacle(beside: object, tmp_path: Path) -> None:
    """Whatever the class of a thing beside the weights, they are read."""
    read(beside, tmp_path / "x.pt")


@pytest.mark.parametrize("how", FORMATS.values(), ids=FORMATS)
def test_every_format_is_read_with_all_of_it(how: dict[str, Any], tmp_path: Path) -> None:
    """The zip archive and the format before it, in pickle protocols old and new."""
    slots = how.get("pickle_protocol") == 1  # which cannot write objects with slots
    content = {key: value for key, value in HARMLESS.items() if not (slots and "slots" in key)}
    read(content, tmp_path / "x.pt", **how)


SAID: dict[str, dict[str, object]] = {
    "lists-control": {"mean": [0.25, 0.5, 0.75], "std": (0.5, 0.5, 0.5)},
    "tensors-control": {"mean": torch.tensor([0.25, 0.5, 0.75]), "std": torch.full((3,), 0.5)},
    "numpy arrays": {"mean": np.array([0.25, 0.5, 0.75]), "std": np.full(3, 0.5, np.float32)},
    "numpy scalars": {
        "mean": [np.float64(0.25), np.float64(0.5), np.float64(0.75)],
        "std": [np.float32(0.5)] * 3,
    },
    "tensors of images": {
        "mean": torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1),
        "std": torch.full((3, 1, 1), 0.5),
    },
    "in another byte order": {
        "mean": np.array([0.25, 0.5, 0.75], ">f8"),
        "std": np.full(3, 0.5, ">f4"),
    },
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_mean_and_std_are_read_in_whatever_they_are(
    said: dict[str, object], tmp_path: Path
) -> None:
    """Lists, tensors and numpy's arrays and scalars are numbers all the same."""
    classes = np.array(["a", "b", "c"])
    torch.save({"state_dict": STATE, "class_names": classes, **said}, tmp_path / "x.pt")
    manifest = load_float(tmp_path / "x.pt").manifest
    assert manifest.preprocessing.mean == (0.25, 0.5, 0.75)
    assert manifest.preprocessing.std == (0.5, 0.5, 0.5)
    assert manifest.classes == ("a", "b", "c")


NESTED: dict[str, dict[str, object]] = {
    "pretrained_cfg (timm)": {"pretrained_cfg": {"mean": (0.25, 0.5, 0.75), "std": (0.5,) * 3}},
    "img_norm_cfg (OpenMMLab)": {
        "meta": {"img_norm_cfg": {"mean": [63.75, 127.5, 191.25], "std": [127.5] * 3}}
    },
    "image_mean (Hugging Face)": {
        "processor": {"image_mean": [0.25, 0.5, 0.75], "image_std": [0.5] * 3}
    },
    "arguments": {"args": argparse.Namespace(mean=[0.25, 0.5, 0.75], std=[0.5] * 3)},
    "torchvision's transforms": {
        "transform": transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize([0.25, 0.5, 0.75], [0.5] * 3)]
        )
    },
    "the network's own first layer": {
        "state_dict": {
            "0.mean": torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1),
            "0.std": torch.full((1, 3, 1, 1), 0.5),
            **{f"1.{name}": tensor for name, tensor in STATE.items()},
        }
    },
}


@pytest.mark.parametrize("said", NESTED.values(), ids=NESTED)
def test_mean_and_std_are_found_wherever_they_lie(said: dict[str, object], tmp_path: Path) -> None:
    """A file that says them is not given ImageNet's, and the place is told."""
    torch.save({"state_dict": STATE, **said}, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt")
    assert loaded.manifest.preprocessing.mean == (0.25, 0.5, 0.75)
    assert loaded.manifest.preprocessing.std == (0.5, 0.5, 0.5)
    assert "says no mean and std: ImageNet's" not in loaded.manifest.weights.assumed
    assert "mean and std are those of" in "\n".join(loaded.notes)


def test_two_means_that_differ_are_told(tmp_path: Path) -> None:
    """Which one is right is not guessed in silence."""
    said = {name: {"mean": [value] * 3, "std": [0.5] * 3} for name, value in (("a", 0.1), ("b", 1))}
    torch.save({"state_dict": STATE, **said}, tmp_path / "x.pt")
    clause = "says two means (a and b): neither was used"
    assert clause in load_float(tmp_path / "x.pt").manifest.weights.assumed


def test_mean_and_std_of_0_to_255_are_divided_and_said(tmp_path: Path) -> None:
    """OpenMMLab's numbers are for photographs that are not scaled to 0..1."""
    said = {"mean": [127.5, 102.0, 51.0], "std": [51.0, 51.0, 51.0]}
    torch.save({"state_dict": STATE, **said}, tmp_path / "x.pt")
    manifest = load_float(tmp_path / "x.pt").manifest
    assert manifest.preprocessing.mean == (0.5, 0.4, 0.2)
    assert manifest.preprocessing.std == (0.2, 0.2, 0.2)
    assert "says a mean for 0..255: mean and std were divided by 255" in manifest.weights.assumed


def test_a_plain_pickle_of_a_state_dict_is_read(tmp_path: Path) -> None:
    """pickle.dump of tensors, and of numpy arrays, as other frameworks' converters write it."""
    state = {name: tensor.contiguous() for name, tensor in network(first=2.0).items()}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(state))
    loaded = load_float(tmp_path / "x.pkl")
    assert torch.equal(loaded.model.conv1.weight, state["conv1.weight"])
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    (tmp_path / "y.pkl").write_bytes(pickle.dumps({"model": arrays}, protocol=4))
    loaded = load_float(tmp_path / "y.pkl")
    assert torch.equal(loaded.model.fc.weight, state["fc.weight"])


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_of_any_protocol_is_read(protocol: int, tmp_path: Path) -> None:
    """Python 2 wrote protocol 0, which begins with no byte of its own."""
    state = {name: tensor.numpy() for name, tensor in network(first=2.0).items()}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": state}, protocol=protocol))
    loaded = load_float(tmp_path / "x.pkl")
    assert torch.equal(loaded.model.conv1.weight, torch.from_numpy(state["conv1.weight"]))


# Nothing executes.


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Say what to call."""
        return self.call


class Loads:
    """Unpickling it unpickles what lies in it, as torch's storages do."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Say what to call."""
        return torch.storage._load_from_bytes, (self.content,)


def touch(path: str) -> None:
    """Leave a file behind."""
    Path(path).touch()


class Touches:
    """A class whose construction, state and items each leave a file behind."""

    def __init__(self, path: str) -> None:
        Path(path).touch()

    def __reduce__(self) -> tuple[object, ...]:
        """Say how it is made again."""
        return Touches, (str(Path.cwd() / "ran"),), {"a": 1}

    def __setstate__(self, state: object) -> None:
        """Leave a file behind."""
        (Path.cwd() / "ran").touch()


def nested(thing: object) -> bytes:
    """Return a file of torch.save as bytes."""
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


RUNS: dict[str, Callable[[str], object]] = {
    "os.mkdir": lambda path: Call(os.mkdir, path),
    "os.system": lambda path: Call(os.system, f"touch {path}"),
    "subprocess": lambda path: Call(subprocess.check_output, ["touch", path]),
    "eval": lambda path: Call(eval, f"open({path!r}, 'w')"),
    "exec": lambda path: Call(exec, f"open({path!r}, 'w')"),
    "open": lambda path: Call(open, path, "w"),
    "a nested file": lambda path: Loads(nested(Call(os.mkdir, path))),
}

IGNORED: dict[str, Callable[[str], object]] = {
    "a script's function": lambda path: Call(touch, path),
    "pathlib": lambda path: Call(Path.touch, Path(path)),
    "getattr and a call": lambda path: Call(getattr, Path(path), "touch"),
    "numpy": lambda path: Call(np.save, path, np.ones(1)),
    "torch.save": lambda path: Call(torch.save, {}, path),
    "a class": lambda path: Touches(path + "-made-by-the-test"),
    "functools.partial": lambda path: Call(functools.partial, touch, path),
    "functools.reduce": lambda path: Call(functools.reduce, touch, [path]),
}


@pytest.mark.parametrize("thing", RUNS.values(), ids=RUNS)
def test_what_runs_programs_is_refused_and_does_not_run(
    thing: Callable[[str], object], tmp_path: Path
) -> None:
    """The one line names it and offers the conversion; nothing was left behind, in any format."""
    content = {"x": thing(str(tmp_path / "ran"))}
    for how in FORMATS.values():
        torch.save(content, tmp_path / "x.pt", **how)
        with pytest.raises(IndoorError, match=r"could run code when loaded \(it names .*python -c"):
            load_float(tmp_path / "x.pt")
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("thing", IGNORED.values(), ids=IGNORED)
def test_no_function_of_a_pickle_is_called(
    thing: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights beside a call of whatever function are read, and the function is not called."""
    monkeypatch.chdir(tmp_path)
    read(thing(str(tmp_path / "ran")), tmp_path / "x.pt")
    assert not (tmp_path / "ran").exists()


def opcodes(*lines: bytes) -> bytes:
    """Return a pickle of hand-written opcodes."""
    return b"\x80\x02" + b"".join(lines) + b"."


HOSTILE = {
    "the layout of a function-control": opcodes(
        b"ctorch.serialization\n_get_layout\n",
        b"X\x04\x00\x00\x00load",
        b"\x85R",
        b"X\x01\x00\x00\x00x",
        b"\x85R",
    ),
    "attributes for a function of torch-control": opcodes(
        b"ctorch._utils\n_rebuild_tensor_v2\n", b"}X\x0c\x00\x00\x00__defaults__N\x86sb"
    ),
    "an extension-control": opcodes(b"\x82\x01"),
    "a name outside-control": opcodes(b"X\x01\x00\x00\x00x", b"Q"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hand_written_pickles_change_nothing(content: bytes, tmp_path: Path) -> None:
    """Opcodes that no pickler writes end in one line, and torch is as it was."""
    before = torch._utils._rebuild_tensor_v2.__defaults__
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(IndoorError) as caught:
        load_float(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def test_a_tensor_that_takes_no_place_in_the_file_takes_none_here(tmp_path: Path) -> None:
    """A stride of 0 makes petabytes of four bytes."""
    content = STATE | {"bn1.weight": torch.ones(1).expand(2**40)}
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(IndoorError, match=r"its tensors have 1,099,.* values, expected at most"):
        load_float(tmp_path / "x.pt")


def test_a_packed_pickle_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    """A few kilobytes of a zip archive are not unpacked to gigabytes."""
    torch.save({"state_dict": STATE}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02(" + b"N" * 20_000_000 + b"t.")
    with pytest.raises(IndoorError, match=r"data.pkl unpacks to 20,000,005 bytes"):
        load_float(tmp_path / "bomb.pt")


def test_negative_variances_are_refused(tmp_path: Path) -> None:
    """Their square root would make every logit NaN."""
    torch.save(STATE | {"bn1.running_var": torch.full((64,), -1.0)}, tmp_path / "x.pt")
    with pytest.raises(IndoorError, match=r"negative variances in bn1\.running_var"):
        load_float(tmp_path / "x.pt")


def test_a_file_that_holds_itself_ends(tmp_path: Path) -> None:
    """Cycles, and lists of lists that would unfold without end, are walked as far as is needed."""
    many: list[object] = []
    for _ in range(20):
        many = [many] * 20
    cycle: dict[str, object] = {}
    cycle["again"] = cycle
    torch.save({"state_dict": STATE, "cycle": cycle, "many": many}, tmp_path / "x.pt")
    assert load_float(tmp_path / "x.pt").manifest.arch == "resnet18"


@pytest.mark.slow
def test_the_conversion_that_is_offered_works_where_the_file_was_made(tmp_path: Path) -> None:
    """Pasted into a shell beside the script's modules, it writes a state dict that is read."""
    path = tmp_path / "it's mine.pt"
    (tmp_path / "script.py").write_text(
        "import os, sys, torch\nfrom torch import nn\nfrom torchvision.models import resnet18\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = resnet18(num_classes=3)\n"
        "        self.where = os.getcwd\n"
    )
    code = f"import torch, script; torch.save(script.Net(), {str(path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    with pytest.raises(IndoorError, match=r"it names (posix|nt)\.getcwd") as caught:
        load_float(path)
    command = str(caught.value).split("if you trust it: ")[1]
    assert command.startswith("python -c ")
    words = [sys.executable, *shlex.split(command)[1:]]
    subprocess.run(words, check=True, cwd=tmp_path)
    assert load_float(tmp_path / "it's mine-weights.pt").manifest.arch == "resnet18"
