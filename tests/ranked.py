"""Jobs of several processes as torchrun starts them, from a fork server that knows torch."""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from indoor.cli import main

Work = Callable[..., int | None]
"""What a rank does, with what it gets; returns its exit status."""


@dataclass(frozen=True)
class Ended:
    """How the ranks of a job ended: their statuses and what each printed."""

    statuses: tuple[int, ...]
    printed: tuple[str, ...]
    errors: tuple[str, ...]

    @property
    def told(self) -> list[str]:
        """Return the lines of all ranks to standard error that are Indoor's own."""
        lines = [line for text in self.errors for line in text.splitlines()]
        return [line for line in lines if line.startswith("indoor: ")]


class Jobs:
    """Starts jobs. Their store is this process's, as torchrun's is its agent's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context: ForkServerContext = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["indoor.train", "indoor.pipeline", "ranked"])
        self.num_started = 0

    def start(self, size: int, work: Work, *arguments: Any, **environment: str) -> "Job":
        """Start as many processes; each does the work, with the arguments.

        With `size` 0 it is one that torchrun did not start.
        """
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self.num_started += 1
        outputs = [self.folder / f"{self.num_started}-{rank}" for rank in range(size or 1)]
        job = {
            "WORLD_SIZE": str(size),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }
        told = (job if size else {}) | environment
        processes = [
            self.context.Process(target=_be, args=(rank, told, output, work, arguments))
            for rank, output in enumerate(outputs)
        ]
        for process in processes:
            process.start()
        return Job(processes, outputs, store)

    def run(self, size: int, work: Work, *arguments: Any, **environment: str) -> Ended:
        """Run a job to its end."""
        return self.start(size, work, *arguments, **environment).end()


@dataclass(frozen=True)
class Job:
    """A job's processes, where their output goes, and the store that they meet at."""

    processes: list[Any]
    outputs: list[Path]
    store: dist.TCPStore

    def end(self, within_s: float = 400.0) -> Ended:
        """Wait until all have ended."""
        ends = time.monotonic() + within_s
        for process in self.processes:
            process.join(max(0.0, ends - time.monotonic()))
        hanging = [process for process in self.processes if process.exitcode is None]
        for process in hanging:
            process.kill()
            process.join()
        assert not hanging, f"{len(hanging)} ranks still ran after {within_s:.0f} s: {self._read()}"
        printed, errors = self._read()
        return Ended(tuple(process.exitcode for process in self.processes), printed, errors)

    def _read(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        printed, errors = (
            tuple(
                path.read_text() if path.is_file() else ""
                for path in (output.with_suffix(suffix) for output in self.outputs)
            )
            for suffix in (".out", ".err")
        )
        return printed, errors


def _be(
    rank: int, told: dict[str, str], output: Path, work: Work, arguments: Sequence[Any]
) -> None:
    os.environ |= {**told, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    with output.with_suffix(".out").open("w") as out, output.with_suffix(".err").open("w") as err:
        sys.stdout, sys.stderr = out, err
        try:
            status = work(*arguments)
        finally:
            out.flush()
            err.flush()
    sys.exit(status or 0)


def command(*words: object) -> int:
    """Run an `indoor` command as this rank."""
    return main([str(word) for word in words])


def keep(folder: Path, name: str, value: object) -> None:
    """Write what this rank found, for the test to read."""
    (folder / f"{name}-{os.environ['RANK']}.json").write_text(json.dumps(value))


def kept(folder: Path, name: str, size: int) -> list[Any]:
    """Return what the ranks kept."""
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(size)]
