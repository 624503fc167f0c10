"""Where torch computes: the devices, native bfloat16, threads, and when a result is there."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from indoor.errors import IndoorError
from indoor.machine import computes_bfloat16, num_usable_cores

DEVICES = ("auto", "cuda", "mps", "cpu")


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


def finished(call: Callable[[], object], device: str) -> Callable[[], object]:
    """Return a call that ends when the device has computed its result, so that a clock may be read.

    A CPU computes before it returns, and gets its call back as it is.
    """
    if device == "cpu":
        return call
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}[device]

    def call_and_wait() -> object:
        result = call()
        wait()
        return result

    return call_and_wait
