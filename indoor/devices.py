"""Where torch computes: devices, their types, batches and threads, and how a call is timed."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from indoor.errors import IndoorError
from indoor.machine import computes_bfloat16, num_usable_cores
from indoor.measure.worker import timed

DEVICES = ("auto", "cuda", "mps", "cpu")

CPU_BATCH = 8
"""Photographs a forward pass without gradients. The activations of 16 pass 32 MiB, above which
glibc maps and unmaps each of them (12,000 page faults a photograph); those of 8 mostly do not."""

EVENTS = "torch.cuda.Event"
"""What times calls on `cuda`; see `timed_on`."""

GPU_BATCH = 64
"""The same on a GPU, which batches of 8 leave waiting for its next kernel: an H200 computed 1,775
photographs a second in them (ResNet-50 in float32), and 6,791 in batches of 64."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name; `auto` is the first of cuda, mps and cpu that is there.

    Raises:
        IndoorError: The name is none of these, or this machine or torch build has no such device.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, is_there in present.items() if is_there)
    if name not in present:
        raise IndoorError(f"unknown device '{name}'; expected one of {', '.join(DEVICES)}")
    if not present[name]:
        usable = ", ".join(kind for kind, is_there in present.items() if is_there)
        raise IndoorError(
            f"device '{name}' is not usable with torch {torch.__version__} on this machine; "
            f"expected one of {usable}; choose another with --device"
        )
    return torch.device(name)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return bfloat16 where the device computes in it natively, else None (plain float32).

    float16 is never chosen: it would need loss scaling, whose state a resumed run would have to
    restore, for no gain over bfloat16 on any device that has both.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else None
    if device.type == "cpu":
        return torch.bfloat16 if computes_bfloat16() else None
    return None


def why_no_bfloat16(device: str) -> str | None:
    """Return why bfloat16 is not to be measured on a device; None where it is native."""
    if autocast_dtype(torch.device(device)) is not None:
        return None
    here = "this CPU" if device == "cpu" else f"this machine's {device}"
    return f"{here} only emulates it, which measures the emulation"


def forward_batch(device: str) -> int:
    """Return how many photographs a device computes at once where nobody asks for a number."""
    return CPU_BATCH if device == "cpu" else GPU_BATCH


@contextmanager
def float32_products(*, tf32: bool = False) -> Iterator[None]:
    """Have a GPU multiply float32 as it is within the block, or rounded to TF32's 10 bits.

    Left alone cuDNN rounds the factors of convolutions on recent GPUs, and cuBLAS those of matrix
    products does not. A CPU computes the same either way.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = tf32
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


@contextmanager
def use_threads(num_threads: int | None) -> Iterator[None]:
    """Compute on so many threads inside the block.

    None leaves torch's number as it is, unless a container's quota lets fewer run at once: torch
    counts the host's CPUs. Whoever sets OMP_NUM_THREADS or MKL_NUM_THREADS has asked for a number.
    """
    before = torch.get_num_threads()
    if num_threads is None:
        told = os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS")
        num_threads = before if told else min(before, num_usable_cores())
    if num_threads != before:
        torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def timed_on(
    device: str, call: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """Return a function that makes one call and returns the seconds until its result is there.

    A GPU tells them itself, by events on both sides of what the call gave it to do: what it takes
    to notice the end is none of them. They begin when the call does, since the GPU has nothing else
    to do then, and so contain what launching costs.

    Args:
        device: Where the call computes.
        call: On `cuda` and `mps` it may return before its result is there.
        clock: Seconds, elsewhere than on `cuda`.
    """
    if device == "cuda":
        return partial(_seconds_by_events, call)
    return timed(finished(call, device), clock)


def _seconds_by_events(call: Callable[[], object]) -> float:
    make: Any = torch.cuda.Event
    start, end = make(enable_timing=True), make(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def describe_device(device: str) -> str:
    """Return what the device is called: a GPU's model, or its own name."""
    return str(torch.cuda.get_device_name()) if device == "cuda" else device


def start_counting_memory(device: str) -> None:
    """Forget the peak of what the device's allocator held so far."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def device_peak_bytes(device: str) -> int | None:
    """Return the most that tensors on the device took at once in this process; None: not told."""
    return int(torch.cuda.max_memory_allocated()) if device == "cuda" else None


def finished(call: Callable[[], object], device: str) -> Callable[[], object]:
    """Return a call that ends when the device has computed its result, so that a clock may be read.

    A CPU computes before it returns, and gets its call back as it is.
    """
    if device == "cpu":
        return call

    def call_and_wait() -> object:
        result = call()
        wait_for(device)
        return result

    return call_and_wait


def wait_for(device: str) -> None:
    """Return when the device has computed all that it was given; a CPU has when a call returns."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
