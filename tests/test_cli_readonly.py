"""Where nothing can be written, a command says so in one line, before it has worked for nothing."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from indoor.cli import main
from indoor.errors import IndoorError
from indoor.pipeline import prepare

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up root's right to write anywhere, where the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def data(home: Path, photographs: Path, backbone: Path) -> Iterator[Path]:
    """A home with the run `tiny`, its photographs and weights; tests take away its permissions."""
    folder = Path(tempfile.mkdtemp())  # not tmp_path, whose parents only their owner may enter
    folder.chmod(0o755)
    for name in ("runs", "features"):
        shutil.copytree(home / name, folder / "data" / name)
    shutil.copytree(photographs, folder / "photographs")
    (folder / "photographs").chmod(0o755)
    shutil.copy(backbone, folder / "weights.safetensors")
    shutil.copy(home / "runs" / "tiny" / "float32.safetensors", folder / "best.pt")
    yield folder / "data"
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Call `indoor` without root's privileges, with the folder of a test as its home."""
    monkeypatch.setenv("INDOOR_HOME", str(data))
    monkeypatch.setenv("TORCH_HOME", str(data / "torch"))
    monkeypatch.chdir(data.parent)

    def call(*words: object) -> int:
        with unprivileged():
            return main([str(word) for word in words])

    return call


def forbid_writing(*folders: Path) -> None:
    """Make the folders readable, and writable for nobody; their files stay writable."""
    for folder in folders:
        for path in folder.iterdir():
            if path.is_file():
                path.chmod(0o666)
        folder.chmod(0o555)


TRAIN = ("train", "--weights", "weights.safetensors", "--model", "resnet18", "--epochs", 1)


@pytest.mark.parametrize(
    ("words", "closed"),
    [
        ((*TRAIN, "--data", "photographs"), [".", "runs"]),
        ((*TRAIN, "--data", "photographs", "--name", "tiny"), [".", "runs", "runs/tiny"]),
        ((*TRAIN, "--data", "photographs", "--name", "open"), ["features"]),
        (TRAIN, ["."]),
        (("quantize", "tiny", "--data", "photographs"), ["runs/tiny"]),
        (("evaluate", "tiny"), ["."]),
        (("demo",), ["."]),
        (("evaluate", "best.pt", "--data", "photographs"), ["runs"]),
        (("quantize", "best.pt", "--data", "photographs"), [".", "runs"]),
        (("predict", "--run", "best.pt", "photographs/Images/bars/bars_00.jpg"), ["runs"]),
    ],
    ids=[
        "train",
        "train over a run",
        "train, its cache",
        "train on drawn scenes",
        "quantize",
        "evaluate on drawn scenes",
        "demo",
        "evaluate a file",
        "quantize a file",
        "predict with a file",
    ],
)
def test_a_command_that_cannot_write_is_one_line(
    data: Path,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    closed: list[str],
) -> None:
    """What cannot be written and the remedy stand in one line; the exit status is 2."""
    (data / "runs" / "tiny" / ".train.lock").touch()
    (data / "runs" / "open").mkdir()
    (data / "runs" / "open").chmod(0o777)
    shutil.rmtree(data / "features")
    (data / "features").mkdir()
    forbid_writing(*(data / name for name in closed))
    assert run(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert "expected a" in said.err
    assert "; choose another" in said.err or "INDOOR_HOME" in said.err


@pytest.mark.parametrize("named", [True, False], ids=["photographs", "drawn scenes"])
def test_a_preparation_that_cannot_write_is_one_line(data: Path, named: bool) -> None:
    """So does what `pytest bench` prepares."""
    forbid_writing(data, data / "runs")
    root = data.parent / "photographs" if named else None
    with (
        unprivileged(),
        pytest.raises(IndoorError, match=r"cannot (write|draw) .*expected a .*choose") as failed,
    ):
        prepare(root, data.parent / "weights.safetensors", home=data, arch="resnet18")
    assert "\n" not in str(failed.value)


def test_evaluating_needs_no_write_permission(
    data: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run in a read-only folder is evaluated as any other."""
    forbid_writing(data, data / "runs", data / "runs" / "tiny")
    assert run("evaluate", "tiny", "--data", "photographs") == 0
    assert "int8" in capsys.readouterr().out


PATHS = {
    "data verify": ("data", "verify", "PATH"),
    "train": ("train", "--data", "PATH", "--no-download"),
    "its name": ("train", "--data", "photographs", "--no-download", "--name", "PATH"),
    "predict": ("predict", "--artefact", "PATH", "x.jpg"),
    "report": ("report", "PATH"),
    "recommend": ("recommend", "--results", "PATH"),
    "results": ("results", "list", "--results", "PATH"),
    "demo": ("demo", "--out", "PATH"),
}


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("words", PATHS.values(), ids=PATHS)
def test_a_name_that_no_file_can_have_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Whoever asks for the path, and wherever it leads: the line names it and what is wrong."""
    assert main(["x" * 300 if word == "PATH" else word for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "x" * 300 in line
    assert "File name too long; expected" in line


@pytest.mark.parametrize("name", ["data verify", "report"])
def test_a_folder_that_nobody_may_enter_is_one_line(
    data: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """So is what lies below a folder of somebody else."""
    closed = data.parent / "photographs"
    closed.chmod(0o600)
    assert run(*(closed / "x" if word == "PATH" else word for word in PATHS[name])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{closed / 'x'}" in line
    assert "Permission denied; expected" in line
