"""Runs an int8 that computes in float32, and a float32 that computes in bfloat16."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from indoor.model import load_float
from indoor.quantize import load_qdq
from indoor.records import Executed, Precision, Ran, Variant

VARIANTS = (
    Variant(
        name="pretender",
        runtime="liars",
        precision="int8",
        checkpoint="int8",
        min_sqnr_db=6.0,
        own_process=True,
    ),
    Variant(
        name="rounder",
        runtime="liars",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=15.0,
    ),
)


def why_not(variant: Variant) -> str | None:  # noqa: ARG001
    """Run anywhere."""
    return None


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:  # noqa: ARG001
    """Take the checkpoint as it is."""
    return checkpoint


def load(variant: Variant, artefact: Path, threads: int) -> "Liar":  # noqa: ARG001
    """Read the checkpoint: int8's values between float32's layers, or float32's rounded."""
    if variant.checkpoint == "int8":
        return Liar(load_qdq(artefact, round_sums=True), torch.float32, "float32")
    model = load_float(artefact).model.requires_grad_(False)
    return Liar(model.bfloat16(), torch.bfloat16, "bfloat16")


class Liar:
    """The network, which is honest about what it computes when it is asked."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, precision: Precision) -> None:
        self.model, self.dtype, self.precision = model, dtype, precision

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits."""
        with torch.no_grad():
            logits: Tensor = self.model(images.to(self.dtype))
            return logits.float()

    def ran(self, images: Tensor) -> Ran:
        """Tell each layer, as torch's own counter sees it."""
        with FlopCounterMode(display=False) as counter:
            self(images)
        counted = {name: sum(flops.values()) for name, flops in counter.get_flop_counts().items()}
        layers = [
            n for n in counted if "." in n and not any(m.startswith(f"{n}.") for m in counted)
        ]
        executed = tuple(
            Executed(
                operator="aten",
                types=str(self.dtype),
                shape="",
                layer=name.partition(".")[2],
                precision=self.precision,
                multiply_adds=counted[name] // 2,
            )
            for name in layers
        )
        return Ran(precision=self.precision, executed=executed)
