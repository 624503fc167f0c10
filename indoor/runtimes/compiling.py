"""What Inductor and AOTInductor share: when they can compile, what, how, and what it is called by.

This is no runtime. Nothing of Inductor is imported until something is compiled.
"""

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from indoor.devices import float32_products
from indoor.errors import IndoorError
from indoor.hints import TORCHAO, lacking
from indoor.model import load_float, read_manifest
from indoor.records import Executed, Ran, Variant
from indoor.runtimes import eager
from indoor.runtimes.fingerprint import time_primitives, what_ran

SETTINGS: dict[str, Any] = {
    "freezing": True,  # else int8 is dequantized, and weights are repacked, in every call
    "cpp.dynamic_threads": True,
    "compile_threads": 1,  # else idle processes of its own stay beside the measured ones
}
"""Of Inductor. `freezing` in `torch.compile(options=...)` freezes nothing: Dynamo reads it, too."""

_INT8_COUNTER = "qconv_weight_prepack_matcher_count"


def why_not_compiled(variant: Variant) -> str | None:
    """Return why this machine cannot compile and compute the variant; None where it can."""
    if variant.device not in ("cpu", "cuda") or (
        variant.device == "cuda" and variant.precision == "int8"
    ):
        what = " int8" if variant.device == "cuda" else ""
        return f"here Inductor compiles{what} for the CPU only, not for {variant.device}"
    if reason := eager.why_not(variant):
        return reason
    if variant.device == "cuda" and importlib.util.find_spec("triton") is None:
        return "it compiles Triton's kernels, and there is no triton; install torch with CUDA"
    if variant.precision == "int8" and (reason := lacking(TORCHAO, "torchao")):
        return reason
    # torch looks for it in the same way (torch/_inductor/config.py, cpp.cxx).
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which((shlex.split(compiler) or [""])[0]) is None:
        return f"it compiles C++, and there is no {compiler}; install one, or name another in CXX"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        return f"it compiles C++, and there is no {header}; install Python's headers (python3-dev)"
    return None


def network_of(variant: Variant, checkpoint: Path) -> tuple[nn.Module, tuple[int, ...]]:
    """Return what is compiled from a checkpoint, and the photographs' size `(3, H, W)`.

    Raises:
        IndoorError: It is missing or cannot be used.
    """
    size = read_manifest(checkpoint).preprocessing.size
    if variant.precision == "int8":
        # The first import alone registers the passes that find int8 in the graph.
        import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401

        from indoor.quantize import load_qdq

        return load_qdq(checkpoint, round_sums=False), (3, size, size)
    model = load_float(checkpoint).model.requires_grad_(False)
    return model.to(torch.device(variant.device), dtype_of(variant)), (3, size, size)


def libraries_for(variant: Variant) -> tuple[str, ...]:
    """Return the distributions that decide what is compiled."""
    return ("torch", *(TORCHAO if variant.precision == "int8" else ()))


def dtype_of(variant: Variant) -> torch.dtype:
    """Return the type of what the compiled network reads; int8 is rounded within."""
    return eager.DTYPES.get(variant.precision, torch.float32)


@contextmanager
def all_in_int8(variant: Variant, model: nn.Module) -> Iterator[None]:
    """Refuse what is compiled within the block if not every int8 convolution was found.

    Raises:
        IndoorError: Some, or all, would compute in float32 with int8's size and logits.
    """
    from torch._dynamo.utils import counters

    before = counters["inductor"][_INT8_COUNTER]
    yield
    num_found = counters["inductor"][_INT8_COUNTER] - before
    num_layers = sum(getattr(m, "convolution", None) is not None for m in model.modules())
    if variant.precision == "int8" and num_found != num_layers:
        raise IndoorError(
            f"{variant.name}: Inductor found {num_found} of {num_layers} int8 convolutions, and "
            "would compute the others in float32; expected all of them; install torch and torchao "
            "as constraints.txt pins them"
        )


@dataclass(frozen=True, eq=False)
class CompiledNetwork:
    """Compiled code for photographs of one shape, which it does not check by itself."""

    name: str
    call: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    dtype: torch.dtype

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of float32 photographs `(B, 3, H, W)`."""
        require_shape(self.name, images, self.shape, "compiled")
        products = nullcontext() if images.device.type == "cpu" else float32_products()
        with torch.no_grad(), products:
            return self.call(images.to(self.dtype).contiguous()).float()

    def ran(self, images: Tensor) -> Ran:
        """Return the convolutions and products of one warm call."""
        self(images)
        return what_ran(lambda: self(images), float32_is="float32")

    def profile(self, images: Tensor, num_calls: int) -> tuple[Executed, ...]:
        """Return oneDNN's primitives of a call, and all the rest as one; nothing on a GPU."""
        if images.device.type != "cpu":
            return ()
        return time_primitives(lambda: self(images), num_calls)


def require_shape(name: str, images: Tensor, shape: tuple[int, ...], made: str) -> None:
    """Refuse photographs of another shape than a variant was compiled or captured (`made`) for.

    Raises:
        IndoorError: They have another one.
    """
    if tuple(images.shape) != shape:
        raise IndoorError(
            f"{name}: photographs of the shape {tuple(images.shape)}; expected {shape}, for which "
            f"it was {made}; load it for that batch"
        )
