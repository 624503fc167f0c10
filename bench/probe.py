"""Measurements in a fresh process: the memory of one variant, and times with another allocator."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from bench.options import ROOT
from indoor.measure import allocator_environment, peak_memory_bytes
from indoor.measure.pairs import LocalCall, Plan, Series, measure_interleaved
from indoor.measure.worker import timed
from indoor.records import Allocator, from_json, to_json
from indoor.runtimes import all_variants, load_variant

NUM_CALLS = 3
TIMEOUT_S = 580.0
"""Below pytest's own limit for a test, so that the message is ours."""


@dataclass(frozen=True, kw_only=True)
class Peak:
    """VmHWM after a few batches, and the seconds from the file to the first logits."""

    peak_memory_bytes: int | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What the process is to do: memory of one variant, or with a plan the times of several."""

    run_folder: str
    variants: tuple[str, ...]
    inputs: str
    threads: int
    plan: Plan | None = None


def measure_peak(run_folder: Path, variant: str, inputs: Tensor, threads: int) -> Peak:
    """Return the peak memory of a process that never held another variant.

    Args:
        run_folder: Holds the checkpoints.
        variant: Which to load.
        inputs: float32 `(B, 3, H, W)`.
        threads: Of torch.

    Raises:
        RuntimeError: The process failed; the message ends as its standard error did.
    """
    answer = _ask(run_folder, (variant,), inputs, threads, dict(os.environ))
    return from_json(answer, Peak, "the probe's answer")


def measure_apart(
    run_folder: Path,
    variants: tuple[str, ...],
    inputs: Tensor,
    threads: int,
    plan: Plan,
    allocator: Allocator,
) -> dict[str, Series]:
    """Return the variants' interleaved rounds in a process with that allocator.

    Raises:
        RuntimeError: As for `measure_peak`.
    """
    environment = allocator_environment(allocator)
    answer = _ask(run_folder, variants, inputs, threads, environment, plan)
    return msgspec.json.decode(answer, type=dict[str, Series])


def _ask(
    run_folder: Path,
    variants: tuple[str, ...],
    inputs: Tensor,
    threads: int,
    environment: dict[str, str],
    plan: Plan | None = None,
) -> bytes:
    with tempfile.TemporaryDirectory(prefix="indoor-probe-") as folder:
        path = Path(folder) / "inputs.pt"
        torch.save(inputs.clone(), path)
        request = _Request(
            run_folder=str(run_folder),
            variants=variants,
            inputs=str(path),
            threads=threads,
            plan=plan,
        )
        done = subprocess.run(
            [sys.executable, "-m", "bench.probe"],
            input=to_json(request),
            capture_output=True,
            cwd=ROOT,
            env=environment,
            timeout=TIMEOUT_S,
            check=False,
        )
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise RuntimeError(f"the process for {', '.join(variants)} failed: {' | '.join(last)}")
    return done.stdout


def main() -> None:
    """Do what standard input asks for and print the answer as JSON."""
    request = from_json(sys.stdin.buffer.read(), _Request, "the request")
    torch.set_num_threads(request.threads)
    inputs = torch.load(request.inputs, weights_only=True)
    folder = Path(request.run_folder)
    if request.plan is None:
        answer = to_json(_peak(folder, request.variants[0], inputs))
    else:
        runs = {name: load_variant(all_variants()[name], folder) for name in request.variants}
        calls = {n: LocalCall(timed(partial(run, inputs))) for n, run in runs.items()}
        answer = to_json(measure_interleaved(calls, request.plan, seed=0))
    sys.stdout.buffer.write(answer)


def _peak(folder: Path, variant: str, inputs: Tensor) -> Peak:
    began = time.perf_counter()
    run = load_variant(all_variants()[variant], folder)
    run(inputs)
    seconds = time.perf_counter() - began
    for _ in range(NUM_CALLS - 1):
        run(inputs)
    return Peak(peak_memory_bytes=peak_memory_bytes(), seconds=seconds)


if __name__ == "__main__":
    main()
