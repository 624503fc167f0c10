"""A toy runtime whose native code aborts when it computes."""

import os
from pathlib import Path

from torch import Tensor

from indoor.records import Ran, Variant

VARIANTS = (
    Variant(
        name="crashing",
        runtime="crashing",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        own_process=True,
    ),
)


def why_not(variant: Variant) -> str | None:  # noqa: ARG001
    """Pretend to run anywhere."""
    return None


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:  # noqa: ARG001
    """Take the checkpoint as it is."""
    return checkpoint


def load(variant: Variant, artefact: Path, threads: int) -> "Crashing":  # noqa: ARG001
    """Load nothing."""
    return Crashing()


class Crashing:
    """A network that takes its process with it."""

    def __call__(self, images: Tensor) -> Tensor:  # noqa: ARG002
        """Abort."""
        os.abort()

    def ran(self, images: Tensor) -> Ran:
        """Never come here."""
        raise NotImplementedError
