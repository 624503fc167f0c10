"""A toy runtime: the checkpoint's network in float64, as a file for each batch."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.model import load_float
from indoor.records import Ran, Variant

VARIANTS = (
    Variant(
        name="toy",
        runtime="toy",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        order=30,
    ),
)


def why_not(variant: Variant) -> str | None:
    """Run anywhere but on a GPU."""
    return None if variant.device == "cpu" else f"the toy plays on the CPU, not on {variant.device}"


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:
    """Convert the checkpoint once for each batch."""
    artefact = checkpoint.with_name(f"{variant.name}-batch{batch}.pt")
    if not artefact.is_file():
        torch.save(load_float(checkpoint).model.double(), artefact)
    return artefact


def load(variant: Variant, artefact: Path, threads: int) -> "Toy":  # noqa: ARG001
    """Read what `prepare` wrote."""
    return Toy(torch.load(artefact, weights_only=False))


@dataclass(frozen=True)
class Toy:
    """The network."""

    model: nn.Module

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits."""
        with torch.inference_mode():
            logits: Tensor = self.model(images.double())
            return logits.float()

    def ran(self, images: Tensor) -> Ran:
        """Tell what ran."""
        self(images)
        return Ran(precision="float32", kernels={"toy": 1})
