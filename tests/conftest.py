"""Fixtures that several test modules share: drawn photographs, real ones, and one thread."""

import functools
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from quantizable import SIZE, network, noise
from serving import Server

from indoor.cli import main
from indoor.model import FORMAT, save_float
from indoor.records import CheckpointManifest, WeightSource
from indoor.transforms import DEFAULT_PREPROCESSING

REPOSITORY = Path(__file__).resolve().parent.parent

CLASSES = ("bars", "checks", "rings")
NUM_TRAIN = 8
NUM_TEST = 4

TORCH_ROOMS = "dataset|demo|model|train|quantize|evaluate|diagnose|runtimes|pipeline|transforms"
IMPORTS_TORCH = re.compile(
    rf"^ *(from|import) (torch|bench|killing|quantizable|suite_process|indoor\.({TORCH_ROOMS}))\b",
    re.MULTILINE,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what another torch could break: `make test TORCH=...` runs `-m torch` alone."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if imports_torch(item.path) or {"home", "backbone"} & set(fixtures):
            item.add_marker("torch")
        if item.get_closest_marker("compiles") and not shutil.which(os.environ.get("CXX", "g++")):
            item.add_marker(pytest.mark.skip(reason="compiles: there is no C++ compiler; set CXX"))


@functools.cache
def imports_torch(path: Path) -> bool:
    """Tell whether a test file imports torch, or a room or helper that does."""
    return IMPORTS_TORCH.search(path.read_text(encoding="utf-8")) is not None


@pytest.fixture(scope="session", autouse=True)
def heeded_interrupts() -> None:
    """Heed Ctrl-C also where a shell started the tests with `&`: it has them ignore it.

    The processes that tests interrupt inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remember what files hold, and who compiled what, in folders of the session's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INDOOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in MIT-67's layout: 3 classes, 8 train and 4 test JPEGs of 64 x 48 each.

    The classes are patterns with random colours, so that structure alone tells them apart. It is
    shared by the whole session: copy it (`shutil.copytree`) before changing anything.
    """
    root = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"TrainImages.txt": [], "TestImages.txt": []}
    for name in CLASSES:
        (root / "Images" / name).mkdir(parents=True)
        for index in range(NUM_TRAIN + NUM_TEST):
            line = f"{name}/{name}_{index:02d}.jpg"
            draw_pattern(name, generator).save(root / "Images" / line, quality=90)
            lists["TrainImages.txt" if index < NUM_TRAIN else "TestImages.txt"].append(line)
    for list_name, lines in lists.items():
        (root / list_name).write_text("\n".join(lines))
    return root


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and weights; its tests are skipped where it is missing."""
    folder = Path(os.environ.get("INDOOR_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"real_data: there is no {folder}; set INDOOR_SHARED to the shared folder")
    return folder


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 checkpoint of resnet18 at 64 pixels that knows two classes of nobody's data."""
    path = tmp_path_factory.mktemp("backbone") / "backbone.safetensors"
    manifest = CheckpointManifest(
        format=FORMAT,
        arch="resnet18",
        precision="float32",
        classes=("other", "classes"),
        preprocessing=replace(DEFAULT_PREPROCESSING, size=SIZE),
        weights=WeightSource(kind="none", name="random", sha256=None),
    )
    save_float(path, network(noise(16), num_classes=2), manifest)
    return path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, photographs: Path, backbone: Path) -> Path:
    """A data folder with one run, `tiny`: the backbone with a new head, and int8."""
    folder = tmp_path_factory.mktemp("home")
    words = ["--data", str(photographs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INDOOR_HOME", str(folder))
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        train = ["train", *words, "--model", "resnet18", "--weights", str(backbone)]
        assert main([*train, "--name", "tiny", "--epochs", "3"]) == 0
        assert main(["quantize", "tiny", *words]) == 0
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine that no proxy stands before."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.stop.set()
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread during the test, and on as many as before after it."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def draw_pattern(name: str, generator: np.random.Generator) -> Image.Image:
    """Return a 64 x 48 RGB picture of bars, checks or rings in two random colours."""
    rows, columns = np.mgrid[:48, :64]
    period = int(generator.integers(8, 14))
    shift = int(generator.integers(0, period))
    if name == "bars":
        mask = (columns + shift) % period < period // 2
    elif name == "checks":
        mask = ((columns + shift) // period + (rows + shift) // period) % 2 == 0
    else:
        mask = np.hypot(rows - 24, columns - 32 + shift) % period < period / 2
    colours = generator.integers(0, 256, size=(2, 3))
    picture = np.where(mask[..., None], colours[0], colours[1])
    picture = picture + generator.normal(0, 8, size=picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))
