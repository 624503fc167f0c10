"""A disk that fills up during any write: one line that says so, and nothing half written."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulting import assert_whole_files

from indoor.cli import main

KIB = 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount file systems of so many bytes; they are gone after the test."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size // KIB}k", "small", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a small disk needs a right that this user does not have")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("demo", 100 * KIB),
        ("demo", 1000 * KIB),
        ("train", 8 * KIB),
        ("train", 100 * KIB),
        ("train", 1000 * KIB),
        ("train-full", 1000 * KIB),
        ("quantize", 46_000 * KIB),
        ("quantize", 50_000 * KIB),
    ],
)
def test_a_full_disk_is_one_line(
    kind: str,
    size: int,
    disk: Callable[[int], Path],
    home: Path,
    photographs: Path,
    backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same command goes on once there is room: the disk holds whole files alone."""
    folder = disk(size)
    monkeypatch.setenv("INDOOR_HOME", str(folder))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    train = ["train", "--data", str(photographs), "--weights", str(backbone), "--epochs", "1"]
    words = {
        "demo": ["demo", "--out", str(folder / "demo"), "--train", "20", "--test", "1"],
        "train": [*train, "--name", "x"],
        "train-full": [*train, "--name", "x", "--recipe", "full", "--size", "32"],
        "quantize": ["quantize", "tiny", "--data", str(photographs)],
    }[kind]
    if kind == "quantize":
        (folder / "runs" / "tiny").mkdir(parents=True)
        shutil.copy(home / "runs" / "tiny" / "float32.safetensors", folder / "runs" / "tiny")
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert "No space left on device" in line
    assert "expected a " in line
    assert_whole_files(folder)
    assert not list(folder.rglob("*.tmp"))
    assert not (folder / "demo").exists()
