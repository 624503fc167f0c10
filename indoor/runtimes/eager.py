"""torch's eager mode, as torchvision gives the network: float32, bfloat16 and int8."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.devices import float32_products, why_no_bfloat16
from indoor.model import load_float
from indoor.model.network import fold
from indoor.records import Executed, Precision, Ran, Variant
from indoor.runtimes.dispatched import time_operators
from indoor.runtimes.fingerprint import what_ran

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
        name="float32-channels-last",
        runtime="eager",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        order=1,
    ),
    Variant(
        name="float32-folded",  # its batch norms are part of its convolutions
        runtime="eager",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        order=2,
        rank=4,
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

DATA_ONLY = True

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""What a network of each precision holds."""


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    if variant.precision == "int8" and variant.device != "cpu":
        return f"torch computes eager int8 on the CPU only, not on {variant.device}"
    return why_no_bfloat16(variant.device) if variant.precision == "bfloat16" else None


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:  # noqa: ARG001
    """Return the checkpoint itself, which every batch is computed from."""
    return checkpoint


def load(variant: Variant, artefact: Path, threads: int) -> "EagerNetwork":  # noqa: ARG001
    """Return the network as torchvision gives it; int8 is fused as its conversion demands."""
    if variant.precision == "int8":
        # Imported here: a process that only runs float32 needs none of torch's quantization.
        from indoor.quantize import load_int8

        return EagerNetwork(load_int8(artefact).model)
    model = load_float(artefact).model.requires_grad_(False)
    return on_device(variant, fold(model) if variant.name == "float32-folded" else model)


def on_device(variant: Variant, model: nn.Module) -> "EagerNetwork":
    """Return a float network on the variant's device and in its precision."""
    dtype = DTYPES[variant.precision]
    model = model.to(torch.device(variant.device), dtype)
    # Left alone a GPU rounds what it multiplies, and would call it float32.
    is_gpu, tf32 = variant.device == "cuda", variant.precision == "tf32"
    products = partial(float32_products, tf32=tf32) if is_gpu else nullcontext
    as_told: Precision | None = ("tf32" if tf32 else "float32") if is_gpu else None
    if variant.role == "baseline":
        return EagerNetwork(model, None, products, as_told)
    # It took bfloat16 on an AVX512_BF16 CPU from 96 to 79 ms a photograph (1 thread, batch 8).
    layout = torch.channels_last
    model = model.to(memory_format=layout)
    cast = partial(Tensor.to, dtype=dtype, memory_format=layout)
    return EagerNetwork(model, cast, products, as_told)


@dataclass(frozen=True, eq=False)
class EagerNetwork:
    """A module that takes and gives float32 whatever it computes in.

    `products` is entered around each call and decides how a GPU multiplies float32, and
    `float32_is` is that precision; None on a CPU, which has no choice.
    """

    model: nn.Module
    cast: Callable[[Tensor], Tensor] | None = None
    products: Callable[[], AbstractContextManager[None]] = nullcontext
    float32_is: Precision | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of float32 photographs `(B, 3, H, W)`."""
        with torch.inference_mode(), self.products():
            logits: Tensor = self.model(images if self.cast is None else self.cast(images))
            return logits.float()

    def renew(self) -> None:
        """Copy the weights to memory that is taken now."""
        from indoor.quantize import copy_weights

        copy_weights(self.model)

    def ran(self, images: Tensor) -> Ran:
        """Return the convolutions and products of one warm call, and oneDNN's other primitives."""
        self(images)
        return what_ran(lambda: self(images), self.model, self.float32_is)

    def profile(self, images: Tensor, num_calls: int) -> tuple[Executed, ...]:
        """Return every operator that a call dispatches; none on a device that computes later."""
        if images.device.type != "cpu":
            return ()
        return time_operators(lambda: self(images), self.model, num_calls)
