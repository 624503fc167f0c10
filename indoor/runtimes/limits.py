"""The most multiply-adds and bytes a second that this machine was seen to reach.

Large convolutions and matrix products of torch's libraries stand for the hardware: on one core of a
Zen 4 they came within 5% of kernels written with intrinsics (float32 60, bfloat16 120, int8 223
thousand million a second). Bytes are moved by copies, from memory and from each core's L2. All run
in a process of their own, which no earlier work has slowed.
"""

import json
import subprocess
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import indoor
from indoor.devices import why_no_bfloat16
from indoor.errors import IndoorError
from indoor.measure.process import python_command
from indoor.records import Precision, Record, from_builtins, to_builtins

SHAPES = ((8, 256, 28, 1), (8, 256, 14, 3), (8, 512, 14, 3))
"""Of convolutions: photographs, channels in and out, pixels a side, kernel; calls of a few
milliseconds, of which a busy machine lets some through undisturbed."""

PRODUCTS = ((784, 512, 512), (1024, 1024, 1024))
"""Of matrix products: rows, sums, columns."""

COPIED_BYTES = 2**28
"""From memory: what no cache holds that we met."""

L2_BYTES = 2**16
"""From L2, of each thread: twice it with what slides is more than an L1 and less than any L2."""

NUM_SLIDES = 128
"""How often those are copied in a call, each time a cache line further."""

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")

Level = Literal["memory", "L2"]

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


@dataclass(frozen=True, kw_only=True)
class Bandwidth:
    """What the shortest copy from memory, or from the threads' L2, read and wrote."""

    level: Level
    threads: int
    num_bytes: int
    seconds: float

    @property
    def bytes_per_s(self) -> float:
        """Its bytes a second, read and written."""
        return self.num_bytes / self.seconds


def limited_precisions() -> tuple[Precision, ...]:
    """Return the precisions that have a limit here: those that this CPU does not only emulate."""
    return PRECISIONS if why_no_bfloat16("cpu") is None else (PRECISIONS[0], PRECISIONS[2])


def measure_limits(
    threads: Sequence[int], kernel_s: float, precisions: Collection[Precision] = PRECISIONS
) -> tuple[Limit, ...]:
    """Measure precisions on every number of threads, in a process of its own.

    Args:
        threads: Numbers of threads.
        kernel_s: For each kernel, after one call.
        precisions: Of these, those that have a limit here are measured.

    Raises:
        IndoorError: The process failed; one line.
    """
    known = [one for one in limited_precisions() if one in precisions]
    return _asked("limits", Limit, threads, kernel_s, known)


def measure_bandwidths(threads: Sequence[int], copy_s: float) -> tuple[Bandwidth, ...]:
    """Measure copies of memory and of L2 on every number of threads, in a process of its own.

    A thread's target is another place than its source, so that a copied byte counts as two. What a
    cache reads of a target before it is overwritten counts as nothing.

    Args:
        threads: Numbers of threads.
        copy_s: For each copy, after one call.

    Raises:
        IndoorError: The process failed; one line.
    """
    return _asked("bandwidths", Bandwidth, threads, copy_s)


def _asked(
    what: Literal["limits", "bandwidths"],
    record_type: type[Record],
    threads: Sequence[int],
    *how: object,
) -> tuple[Record, ...]:
    arguments = (what, list(threads), *how)
    code = f"from indoor.runtimes.limits import tell; tell{arguments}"
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
    return tuple(from_builtins(one, record_type, "the limits' process") for one in told)


def tell(what: Literal["limits", "bandwidths"], *how: Any) -> None:
    """Be the process: measure, and print what was found as JSON."""
    measured = _limits(*how) if what == "limits" else _bandwidths(*how)
    found = [to_builtins(one) for one in measured]
    print(json.dumps(found))  # noqa: T201 - the asker reads it


def _limits(
    threads: Sequence[int], kernel_s: float, precisions: Sequence[Precision]
) -> Iterator[Limit]:
    makers: tuple[Callable[[], Iterator[Kernel]], ...] = (
        lambda: _float_kernels(torch.float32),
        lambda: _float_kernels(torch.bfloat16),
        _int8_kernels,
    )
    kernels = dict(zip(PRECISIONS, makers, strict=True))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of quantized tensors, which int8 is made of
        for precision in precisions:
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


def _bandwidths(threads: Sequence[int], copy_s: float) -> Iterator[Bandwidth]:
    with torch.inference_mode():
        source, target = (torch.ones(COPIED_BYTES // 4) for _ in range(2))
        for count in threads:
            torch.set_num_threads(count)
            copies: dict[Level, tuple[Tensor, Tensor]] = {
                "memory": (source, target),
                "L2": (_slides(source, count), _slides(target, count)),
            }
            for level, (read, written) in copies.items():
                yield Bandwidth(
                    level=level,
                    threads=count,
                    num_bytes=2 * 4 * read.numel(),
                    seconds=_shortest(partial(written.copy_, read), copy_s),
                )


def _slides(memory: Tensor, threads: int) -> Tensor:
    """Return a view `(threads, NUM_SLIDES, elements)` of few bytes a thread, again and again."""
    line, elements = 64 // 4, L2_BYTES // 4
    apart = 2 * (elements + NUM_SLIDES * line)
    return memory.as_strided((threads, NUM_SLIDES, elements), (apart, line, 1))


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
