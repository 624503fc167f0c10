"""What can be benchmarked: a name that resolves to a runtime, a precision and a checkpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from indoor.model import read_float
from indoor.records import CheckpointManifest, Precision


@dataclass(frozen=True)
class Variant:
    """A way to run a network; `checkpoint` is the precision of the file that it is made from."""

    name: str
    runtime: Literal["eager"]
    precision: Precision
    checkpoint: Literal["float32", "int8"]


VARIANTS: dict[str, Variant] = {
    "float32": Variant("float32", "eager", "float32", "float32"),
    "bfloat16": Variant("bfloat16", "eager", "bfloat16", "float32"),
    "int8": Variant("int8", "eager", "int8", "int8"),
}
"""Every variant by its name, the baseline first."""


class Runnable(Protocol):
    """A loaded variant."""

    @property
    def variant(self) -> Variant:
        """Which variant it is."""
        ...

    @property
    def manifest(self) -> CheckpointManifest:
        """What the file says that it was loaded from."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of normalised float32 photographs `(B, 3, H, W)`.

        Records no gradients. A cast that the precision needs happens inside, so that a timed call
        contains it. The number of threads and other global state is the caller's.
        """
        ...


def native_variants(machine_has_bf16: bool) -> tuple[Variant, ...]:
    """Return the variants that a CPU computes natively, the baseline first.

    An emulated bfloat16 is slower than float32 and would only mislead in a table.

    Args:
        machine_has_bf16: Whether it has bfloat16 arithmetic, as `machine.computes_bfloat16` tells.
    """
    return tuple(v for v in VARIANTS.values() if v.precision != "bfloat16" or machine_has_bf16)


def load_variant(variant: Variant, run_folder: Path) -> Runnable:
    """Load a variant from a run's folder, ready to be called.

    Args:
        variant: One of `VARIANTS`.
        run_folder: Holds `float32.safetensors` and, for int8, `int8.safetensors`.

    Returns:
        The network in eager mode as torchvision gives it; int8 is fused as its conversion demands.

    Raises:
        IndoorError: The checkpoint is missing or cannot be used.
    """
    return _LOADERS[variant.precision](variant, run_folder / f"{variant.checkpoint}.safetensors")


@dataclass(frozen=True, eq=False)
class _Eager:
    """A module that takes and gives float32 whatever it computes in."""

    variant: Variant
    manifest: CheckpointManifest
    model: nn.Module
    cast: Callable[[Tensor], Tensor] | None = None

    def __call__(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self.model(images if self.cast is None else self.cast(images))
            return logits.float()


def _load_float32(variant: Variant, path: Path) -> Runnable:
    model, manifest = read_float(path)
    return _Eager(variant, manifest, model.requires_grad_(False))


def _load_bfloat16(variant: Variant, path: Path) -> Runnable:
    # Channels-last besides: on an AVX512_BF16 CPU it took bfloat16 from 96 to 79 ms a photograph
    # (1 thread, batch 8), while float32 gained 3% only and stays as torchvision gives it.
    model, manifest = read_float(path)
    model = model.requires_grad_(False).to(torch.bfloat16).to(memory_format=torch.channels_last)
    return _Eager(variant, manifest, model, _to_bfloat16)


def _to_bfloat16(images: Tensor) -> Tensor:
    return images.to(torch.bfloat16, memory_format=torch.channels_last)


def _load_int8(variant: Variant, path: Path) -> Runnable:
    # Imported here: a process that only runs float32 needs none of torch's quantization.
    from indoor.quantize import read_int8

    model, manifest = read_int8(path)
    return _Eager(variant, manifest, model)


_LOADERS: dict[Precision, Callable[[Variant, Path], Runnable]] = {
    "float32": _load_float32,
    "bfloat16": _load_bfloat16,
    "int8": _load_int8,
}
