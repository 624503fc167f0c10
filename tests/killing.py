"""Work in processes of their own that a test can kill with SIGKILL, such as fine-tunings."""

import importlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch

from indoor import files
from indoor.model import WeightsResult, build_model
from indoor.records import Preprocessing, WeightSource
from indoor.train import fine_tune, state_writer

RECIPES = importlib.import_module("indoor.train.recipes")
"""The module whose epochs a test shortens."""

PREPROCESSING = Preprocessing(resize="whole", size=32, mean=(0.5, 0.5, 0.5), std=(0.25,) * 3)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A small fine-tuning; `home` gets `runs/x` and `features`.

    With `keeps_steps` a state is kept after each step, as if each took minutes.
    """

    root: Path
    home: Path
    recipe: str
    kind: str = "file"
    arch: str = "resnet18"
    epochs: int = 3
    batch: int | None = None
    keeps_steps: bool = False

    @property
    def out(self) -> Path:
        """The run's folder."""
        return self.home / "runs" / "x"

    def checkpoint(self) -> bytes:
        """Return the finished checkpoint's bytes."""
        return (self.out / "float32.safetensors").read_bytes()

    def history(self) -> list[dict[str, float]]:
        """Return the epochs' figures without their seconds, which no two runs share."""
        epochs = json.loads((self.out / "curves.json").read_bytes())["epochs"]
        return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in epochs]


def small_weights(kind: str = "file", arch: str = "resnet18", seed: int = 1) -> WeightsResult:
    """Return random weights that claim to come from `kind`, for photographs of 32 pixels."""
    source = WeightSource(kind=kind, name="small", sha256=None)  # type: ignore[arg-type]
    return WeightsResult(arch, build_model(arch, 7, seed=seed), None, PREPROCESSING, source, ())


def count_writes(kill_at: int | None = None, delay_s: float = 0.0) -> Callable[[], int]:
    """Count the steps of writes in this process from now on, and die by SIGKILL at one of them.

    Each file is written in three steps that are counted: its content stands in a temporary file
    (1), it is flushed to the disk (2), it has taken its place (3).

    Args:
        kill_at: At which step; None: at none.
        delay_s: So much later, while the process works on.

    Returns:
        A function that returns how many there were.
    """
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1
        if counted == kill_at and delay_s:
            timer = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        elif counted == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counting_fsync(descriptor: int) -> None:
        count()
        os.fsync(descriptor)
        count()

    class CountingOs:
        """The os module as indoor.files sees it, with a counted fsync."""

        fsync = staticmethod(counting_fsync)

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    replace_path = Path.replace

    def counting_replace(path: Path, target: Path) -> Path:
        result = replace_path(path, target)
        count()
        return result

    files.os = CountingOs()  # type: ignore[assignment]
    Path.replace = counting_replace  # type: ignore[method-assign, assignment]
    return lambda: counted


def run(job: Job, *, kill_at_write: int | None = None, num_writes: Any = None) -> None:
    """Do the job in this process; with `kill_at_write` die at that step of a write."""
    torch.set_num_threads(1)
    num_counted = count_writes(kill_at_write)
    RECIPES.SCRATCH_EPOCHS = 2  # type: ignore[attr-defined]
    if job.keeps_steps:
        state_writer.KEEP_EVERY_S = 0.0
    fine_tune(
        job.root,
        small_weights(job.kind, job.arch),
        arch=job.arch,
        recipe=job.recipe,  # type: ignore[arg-type]
        out=job.out,
        epochs=job.epochs,
        batch=job.batch,
        device="cpu",
    )
    if num_writes is not None:
        num_writes.value = num_counted()


class Runner:
    """Starts jobs from a fork server that has torch loaded already, so a start costs little.

    `target` does a job: `run`, or what takes the same arguments.
    """

    def __init__(self, target: Callable[..., None] = run, preload: str = "indoor.train") -> None:
        self.target = target
        self.context: ForkServerContext = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([preload])

    def start(self, job: Any, **arguments: Any) -> Any:
        """Start the job and return its process."""
        process = self.context.Process(target=self.target, args=(job,), kwargs=arguments)
        process.start()
        return process

    def finish(self, job: Any) -> int:
        """Run the job to its end; return how many steps of writes it took."""
        num_writes = self.context.Value("i", 0)
        process = self.start(job, num_writes=num_writes)
        process.join()
        assert process.exitcode == 0
        return int(num_writes.value)

    def kill_at_write(self, job: Any, step: int) -> None:
        """Run the job until it dies at that step of a write."""
        process = self.start(job, kill_at_write=step)
        process.join()
        assert process.exitcode == -signal.SIGKILL

    def kill_after(self, job: Any, seconds: float) -> bool:
        """Kill the job after so many seconds; return whether it was still running."""
        process = self.start(job)
        process.join(seconds)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        return bool(process.exitcode)


def elsewhere(job: Job, home: Path) -> Job:
    """Return the same job with another home."""
    return replace(job, home=home)
