"""torch's eager mode, as torchvision gives the network: float32, bfloat16 and int8."""

import ctypes
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from indoor.devices import autocast_dtype
from indoor.model import load_float
from indoor.records import Precision, Ran, Variant

VARIANTS = (
    Variant(
        name="float32",
        runtime="eager",
        precision="float32",
        checkpoint="float32",
        role="baseline",
        order=0,
        colour="#0072b2",
        marker="o",
    ),
    Variant(
        name="bfloat16",
        runtime="eager",
        precision="bfloat16",
        checkpoint="float32",
        min_sqnr_db=15.0,
        order=10,
        colour="#e69f00",
        marker="s",
    ),
    Variant(
        name="int8",
        runtime="eager",
        precision="int8",
        checkpoint="int8",
        min_sqnr_db=6.0,  # a collapsed int8 has under 4 dB, a sound one 20
        role="judged",
        order=20,
        colour="#d55e00",
        marker="^",
    ),
)


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    if variant.precision == "int8" and variant.device != "cpu":
        return f"torch computes eager int8 on the CPU only, not on {variant.device}"
    if variant.precision == "bfloat16" and autocast_dtype(torch.device(variant.device)) is None:
        here = "this CPU" if variant.device == "cpu" else f"this machine's {variant.device}"
        return f"{here} only emulates it, which measures the emulation"
    return None


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:  # noqa: ARG001
    """Return the checkpoint itself, which every batch is computed from."""
    return checkpoint


def load(variant: Variant, artefact: Path, threads: int) -> "EagerNetwork":  # noqa: ARG001
    """Return the network as torchvision gives it; int8 is fused as its conversion demands."""
    return _LOADERS[variant.precision](artefact, torch.device(variant.device))


@dataclass(frozen=True, eq=False)
class EagerNetwork:
    """A module that takes and gives float32 whatever it computes in."""

    model: nn.Module
    cast: Callable[[Tensor], Tensor] | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of float32 photographs `(B, 3, H, W)`."""
        with torch.inference_mode():
            logits: Tensor = self.model(images if self.cast is None else self.cast(images))
            return logits.float()

    def ran(self, images: Tensor) -> Ran:
        """Return oneDNN's kernels of one call; those of other libraries are not told."""
        kernels: Counter[str] = Counter()
        convolved: Counter[str] = Counter()
        for line in _onednn_lines(lambda: self(images)):
            kind, implementation, memory = (line.split(",")[field] for field in (5, 6, 8))
            types = dict(re.findall(r"(src|wei|dst):(\w+)", memory))
            kernels[f"{kind} {implementation} {'/'.join(types.values())}"] += 1
            if kind == "convolution":  # float32 may be rounded inside, which an attribute says
                convolved["bf16" if "fpmath:bf16" in line else types["src"]] += 1
        most = convolved.most_common(1)[0][0] if convolved else ""
        return Ran(precision=_PRECISIONS.get(most), kernels=dict(kernels))


_PRECISIONS: dict[str, Precision] = {
    "f32": "float32",
    "bf16": "bfloat16",
    "u8": "int8",
    "s8": "int8",
}
"""By the type that oneDNN says a convolution reads."""


def _onednn_lines(call: Callable[[], object]) -> list[str]:
    """Return what oneDNN says of the primitives of one call; it prints that to standard output."""
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        before = os.dup(1)
        flush(None)
        os.dup2(file.fileno(), 1)
        try:
            verbose: Any = torch.backends.mkldnn.verbose
            with verbose(torch.backends.mkldnn.VERBOSE_ON):
                call()
        finally:
            flush(None)
            os.dup2(before, 1)
            os.close(before)
        file.seek(0)
        lines = file.read().decode(errors="replace").splitlines()
    return [line for line in lines if line.startswith("onednn_verbose,v1,primitive,exec,")]


def _load_float32(path: Path, device: torch.device) -> EagerNetwork:
    model = load_float(path).model
    return EagerNetwork(model.requires_grad_(False).to(device))


def _load_bfloat16(path: Path, device: torch.device) -> EagerNetwork:
    # Channels-last besides: on an AVX512_BF16 CPU it took bfloat16 from 96 to 79 ms a photograph
    # (1 thread, batch 8), while float32 gained 3% only and stays as torchvision gives it.
    model = load_float(path).model
    model = model.requires_grad_(False).to(device, torch.bfloat16)
    return EagerNetwork(model.to(memory_format=torch.channels_last), _to_bfloat16)


def _to_bfloat16(images: Tensor) -> Tensor:
    return images.to(torch.bfloat16, memory_format=torch.channels_last)


def _load_int8(path: Path, _device: torch.device) -> EagerNetwork:
    # Imported here: a process that only runs float32 needs none of torch's quantization.
    from indoor.quantize import load_int8

    model = load_int8(path).model
    return EagerNetwork(model)


_LOADERS: dict[Precision, Callable[[Path, torch.device], EagerNetwork]] = {
    "float32": _load_float32,
    "bfloat16": _load_bfloat16,
    "int8": _load_int8,
}
