"""Work of every kind that is killed at any moment, what then must be whole, and how it goes on."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import killing
import pytest
import torch
from gate_trees import SUITE, left_behind, num_worktrees, write_repository
from killing import count_writes
from safetensors import safe_open

from indoor.cli import main
from indoor.dataset import verify
from indoor.demo import draw_demo
from indoor.gate.records import GateReport
from indoor.locks import LOCKS_FOLDER
from indoor.model.tensors import read_safetensors
from indoor.pipeline import prepare
from indoor.records import read_record
from indoor.runs.results import load_results

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Work:
    """One kind of work in a folder of its own; `start` holds what it begins with."""

    kind: str
    folder: Path
    start: Path

    @property
    def home(self) -> Path:
        """What INDOOR_HOME is."""
        return self.folder / "home"

    def lay_ready(self) -> None:
        """Make the folder as it is before the work begins."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.home.mkdir(parents=True)
        (self.folder / "temporary").mkdir()
        if self.kind in ("quantize", "bench"):
            shutil.copytree(self.start / "runs" / "tiny", self.home / "runs" / "tiny")
            (self.home / "runs" / "tiny" / "int8.safetensors").unlink()
        if self.kind == "gate":
            write_repository(self.folder / "repository")

    def result(self) -> object:
        """Return what the finished work made, without times."""
        runs = self.home / "runs"
        checkpoints = {
            path.relative_to(runs): path.read_bytes() for path in runs.glob("*/*.safetensors")
        }
        if self.kind == "gate":
            report = read_record(self.folder / "gate.json", GateReport)
            return report.partial, [cell.name for cell in report.cells]
        if self.kind == "bench":
            (newest,) = load_results([sorted(self.folder.glob("results/*/[0-9]*.json"))[-1]])
            return {case.fullname for case in newest.cases}  # in random order
        assert checkpoints
        return checkpoints


def assert_whole(work: Work) -> None:
    """Assert that no checkpoint, result or record is half written, and no data set half drawn."""
    assert_whole_files(work.folder)
    for path in work.folder.glob("results/*/[0-9]*.json"):
        load_results([path])
    if (work.folder / "drawn").exists():
        assert verify(work.folder / "drawn").problems == ()


def assert_whole_files(folder: Path) -> None:
    """Assert that every checkpoint and record below a folder can be read."""
    for path in _kept_files(folder):
        if path.suffix == ".safetensors":
            if path.parent.parent.name == "runs":
                read_safetensors(path)
            else:
                with safe_open(path, framework="pt") as file:
                    assert file.keys()
        elif path.suffix == ".json":
            json.loads(path.read_bytes())


def _kept_files(folder: Path) -> Iterator[Path]:
    """Yield all files but git's own and temporary ones, which those left alone may still remove."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".git", "temporary")]
        yield from (Path(parent, name) for name in names)


def assert_tidy(work: Work) -> None:
    """Assert that the finished work left nothing of those that were killed."""
    left = [str(path) for path in work.folder.rglob("*") if path.suffix in (".tmp", ".new")]
    left += map(str, left_behind(work.folder / "temporary"))
    assert left == [], left
    if work.kind == "gate":
        assert num_worktrees(work.folder / "repository") == 1
    assert not list(work.folder.glob("results/.partial/*/*"))


def run(
    work: Work,
    *,
    kill_at_write: int | None = None,
    delay_s: float = 0.0,
    num_writes: Any = None,
) -> None:
    """Do the work in this process, which is one of its own; see `killing.run`."""
    torch.set_num_threads(1)
    temporary = work.folder / "temporary"
    tempfile.tempdir = str(temporary)
    os.environ |= {
        "INDOOR_HOME": str(work.home),
        "INDOOR_CACHE": str(work.folder / "cache"),
        "TORCH_HOME": str(work.folder / "torch"),
        "TMPDIR": str(temporary),
        LOCKS_FOLDER: str(temporary),
    }
    said = os.open(work.folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    num_counted = count_writes(kill_at_write, delay_s)
    status = _KINDS[work.kind](work)
    if num_writes is not None:
        num_writes.value = num_counted()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    # Not sys.exit: threads of the work may be waited for at the end of the interpreter.
    os._exit(status)


def _train(work: Work, recipe: str) -> int:
    weights = work.start / "backbone.safetensors"
    words = ["train", "--data", str(work.start / "photographs"), "--weights", str(weights)]
    words += ["--name", "x", "--epochs", "2", "--recipe", recipe]
    return main([*words, *(["--size", "32"] if recipe == "full" else [])])


def _quantize(work: Work) -> int:
    return main(["quantize", "tiny", "--data", str(work.start / "photographs")])


def _prepare(work: Work) -> int:
    root = work.folder / "drawn"
    if not root.is_dir():
        draw_demo(root, num_classes=2, num_train=10, num_test=2, size=32)
    prepare(
        root,
        work.start / "backbone.safetensors",
        home=work.home,
        arch="resnet18",
        variants=("float32", "int8"),
    )
    return 0


def _bench(work: Work) -> int:
    os.chdir(ROOT)
    float32 = work.home / "runs" / "tiny" / "float32.safetensors"
    words = ["bench/test_latency.py", "-p", "no:cacheprovider", "-p", "few_cases"]
    words += ["--model", "resnet18", "--no-download", "--data", str(work.start / "photographs")]
    words += ["--weights", str(float32), "--home", str(work.home)]
    words += ["--variant", "float32,int8", "--batch", "1,2", "--threads", "1"]
    return int(pytest.main([*words, "--results", str(work.folder / "results")]))


def _gate(work: Work) -> int:
    repository = work.folder / "repository"
    os.chdir(repository)
    words = ["gate", "--suite", SUITE, "--base", "HEAD", "--out", str(work.folder / "gate.json")]
    status = main(words)
    return 0 if status == 3 else status  # a busy machine decides nothing


_KINDS: dict[str, Callable[[Work], int]] = {
    "train": lambda work: _train(work, "head"),
    "train-full": lambda work: _train(work, "full"),
    "quantize": _quantize,
    "prepare": _prepare,
    "bench": _bench,
    "gate": _gate,
}

KINDS = tuple(_KINDS)


class Killer(killing.Runner):
    """Starts work from a fork server, and kills it near a write or at any moment."""

    def __init__(self) -> None:
        super().__init__(run, "indoor.pipeline")

    def kill_near_write(self, work: Work, step: int, delay_s: float) -> bool:
        """Kill the work so long after that step; return whether it came so far."""
        process = self.start(work, kill_at_write=step, delay_s=delay_s)
        process.join(120)
        return self._was_killed(process, work)

    def kill_after(self, work: Work, seconds: float) -> bool:
        """Kill the work after so many seconds; return whether it was still running."""
        process = self.start(work)
        process.join(seconds)
        process.kill()
        process.join()
        return self._was_killed(process, work)

    def _was_killed(self, process: Any, work: Work) -> bool:
        assert process.exitcode in (0, -9), (process.exitcode, said(work))
        return bool(process.exitcode)


def said(work: Work) -> str:
    """Return what the work printed last."""
    path = work.folder / "said.txt"
    return path.read_text(errors="replace")[-2000:] if path.exists() else ""
