"""A toy runtime in a process of its own, which plays with the threads that it is given."""

import os
from pathlib import Path

import torch
from torch import Tensor

from indoor.model import load_float
from indoor.records import Ran, Variant

VARIANTS = (
    Variant(
        name="apart",
        runtime="apart",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        own_process=True,
        static_batch=True,
    ),
)


def why_not(variant: Variant) -> str | None:  # noqa: ARG001
    """Run anywhere."""
    return None


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:  # noqa: ARG001
    """Take the checkpoint as it is."""
    return checkpoint


def load(variant: Variant, artefact: Path, threads: int) -> "Apart":  # noqa: ARG001
    """Read the checkpoint."""
    return Apart(artefact, threads)


class Apart:
    """The network, which tells its process and threads as kernels."""

    def __init__(self, path: Path, threads: int) -> None:
        self.model = load_float(path).model
        self.threads = threads

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits."""
        with torch.inference_mode():
            logits: Tensor = self.model(images)
            return logits

    def ran(self, images: Tensor) -> Ran:
        """Tell what ran."""
        print("noise for standard output", len(images))  # noqa: T201 - as libraries do
        return Ran(precision="float32", kernels={"pid": os.getpid(), "threads": self.threads})
