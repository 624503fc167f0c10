"""The most multiply-adds a second that this machine was seen to reach in a precision.

Large convolutions and matrix products of torch's libraries stand for the hardware: on one core of a
Zen 4 they came within 5% of kernels written with intrinsics (float32 60, bfloat16 120, int8 223
thousand million a second). They run in a process of their own, which no earlier work has slowed.
"""

import json
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import indoor
from indoor.devices import why_no_bfloat16
from indoor.errors import IndoorError
from indoor.measure.process import python_command
from indoor.records import Precision, from_builtins, to_builtins

SHAPES = ((8, 256, 28, 1), (8, 256, 14, 3), (8, 512, 14, 3))
"""Of convolutions: photographs, channels in and out, pixels a side, kernel; calls of a few
milliseconds, of which a busy machine lets some through undisturbed."""

PRODUCTS = ((784, 512, 512), (1024, 1024, 1024))
"""Of matrix products: rows, sums, columns."""

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")

Kernel = tuple[str, Callable[[], object], int]
"""What it is, a call of it, and the call's multiply-adds."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What one kernel, the fastest of its precision, reached in its shortest call."""

    precision: Precision
    threads: int
    kernel: str
    multiply_adds: int
    seconds: float

    @property
    def multiply_adds_per_s(self) -> float:
        """Its multiply-adds a second."""
        return self.multiply_adds / self.seconds


def limited_precisions() -> tuple[Precision, ...]:
    """Return the precisions that have a limit here: those that this CPU does not only emulate."""
    return PRECISIONS if why_no_bfloat16("cpu") is None else (PRECISIONS[0], PRECISIONS[2])


def measure_limits(threads: Sequence[int], kernel_s: float) -> tuple[Limit, ...]:
    """Measure every precision on every number of threads, in a process of its own.

    Args:
        threads: Numbers of threads.
        kernel_s: For each kernel, after one call.

    Raises:
        IndoorError: The process failed; one line.
    """
    code = f"from indoor.runtimes.limits import tell; tell({list(threads)}, {kernel_s})"
    done = subprocess.run(  # noqa: S603 - this very Python
        python_command(code),
        cwd=Path(indoor.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = " ".join(done.stderr.split("\n")[-2:]).strip() or "it said nothing"
        raise IndoorError(
            f"the limit of this machine: its process ended with exit status {done.returncode}: "
            f"{last}; expected kernels of torch that run here"
        )
    told = json.loads(done.stdout.splitlines()[-1])
    return tuple(from_builtins(one, Limit, "the limits' process") for one in told)


def tell(threads: Sequence[int], kernel_s: float) -> None:
    """Be the process: measure, and print what was found as JSON."""
    found = [to_builtins(limit) for limit in _limits(threads, kernel_s)]
    print(json.dumps(found))  # noqa: T201 - the asker reads it


def _limits(threads: Sequence[int], kernel_s: float) -> Iterator[Limit]:
    makers: tuple[Callable[[], Iterator[Kernel]], ...] = (
        lambda: _float_kernels(torch.float32),
        lambda: _float_kernels(torch.bfloat16),
        _int8_kernels,
    )
    kernels = dict(zip(PRECISIONS, makers, strict=True))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of quantized tensors, which int8 is made of
        for precision in limited_precisions():
            for kernel, call, multiply_adds in kernels[precision]():
                for count in threads:
                    torch.set_num_threads(count)
                    yield Limit(
                        precision=precision,
                        threads=count,
                        kernel=kernel,
                        multiply_adds=multiply_adds,
                        seconds=_shortest(call, kernel_s),
                    )


def best_limits(limits: Sequence[Limit]) -> dict[tuple[Precision, int], Limit]:
    """Return the fastest of each precision and number of threads."""
    best: dict[tuple[Precision, int], Limit] = {}
    for one in sorted(limits, key=lambda limit: limit.multiply_adds_per_s):
        best[one.precision, one.threads] = one
    return best


def _shortest(call: Callable[[], object], for_s: float) -> float:
    call()  # the first one chooses and compiles a kernel
    seconds: list[float] = []
    began = time.perf_counter()
    while not seconds or time.perf_counter() - began < for_s:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _float_kernels(dtype: torch.dtype) -> Iterator[Kernel]:
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        for photographs, channels, side, kernel in SHAPES:
            images = _images(photographs, channels, side).to(dtype)
            weights = torch.rand(channels, channels, kernel, kernel).to(dtype)
            yield _convolution(images, weights)
    for rows, sums, columns in PRODUCTS:
        left, right = torch.rand(rows, sums).to(dtype), torch.rand(sums, columns).to(dtype)
        name, multiply_adds = f"mm {rows} x {sums} x {columns}", rows * sums * columns
        yield name, partial(torch.mm, left, right), multiply_adds


def _convolution(images: Tensor, weights: Tensor) -> Kernel:
    """Return a convolution by oneDNN with weights in its own order, as Inductor calls it."""
    padding, ones = [weights.shape[-1] // 2] * 2, [1, 1]
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
    packed = reorder(weights.to_mkldnn(), padding, ones, ones, 1, list(images.shape))

    def call() -> object:
        return torch.ops.mkldnn._convolution_pointwise(
            images, packed, None, padding, ones, ones, 1, "none", [], ""
        )

    return _name(images, weights), call, _multiply_adds(images, weights)


def _int8_kernels() -> Iterator[Kernel]:
    if "onednn" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "onednn"
        for photographs, channels, side, kernel in SHAPES:
            weights = torch.rand(channels, channels, kernel, kernel)
            yield _quantized_convolution(_images(photographs, channels, side), weights)
    for rows, sums, columns in PRODUCTS:
        left, right = (
            torch.randint(-127, 128, shape, dtype=torch.int8)
            for shape in ((rows, sums), (sums, columns))
        )
        name, multiply_adds = f"_int_mm {rows} x {sums} x {columns}", rows * sums * columns
        yield name, partial(torch._int_mm, left, right), multiply_adds


def _quantized_convolution(images: Tensor, weights: Tensor) -> Kernel:
    padding, ones = [weights.shape[-1] // 2] * 2, [1, 1]
    quantized = torch.quantize_per_tensor(images, 0.01, 0, torch.quint8)
    packed = torch.ops.quantized.conv2d_prepack(
        torch.quantize_per_tensor(weights, 0.01, 0, torch.qint8), None, ones, padding, ones, 1
    )

    def call() -> object:
        return torch.ops.quantized.conv2d(quantized, packed, 1.0, 0)

    return _name(images, weights), call, _multiply_adds(images, weights)


def _images(photographs: int, channels: int, side: int) -> Tensor:
    images = torch.rand(photographs, channels, side, side)
    return images.contiguous(memory_format=torch.channels_last)


def _name(images: Tensor, weights: Tensor) -> str:
    kernel, shape = weights.shape[-1], " x ".join(map(str, images.shape))
    return f"conv {kernel} x {kernel}, {shape}"


def _multiply_adds(images: Tensor, weights: Tensor) -> int:
    return images.numel() * weights.numel() // weights.shape[1]
