"""How a variant is loaded into this process and called, and how its output is checked."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.measure.pairs import Clock
from indoor.model import read_manifest
from indoor.records import CheckpointManifest, Variant
from indoor.runtimes.artefact_manifest import MANIFEST
from indoor.runtimes.artefacts import listening
from indoor.runtimes.base import Runnable, VariantError, baseline, runtime_of
from indoor.runtimes.exported import checked_package, read_export, variant_of
from indoor.runtimes.saturation import refuse_saturation


@dataclass(frozen=True, eq=False)
class Loaded:
    """A variant that can be called; `close` it when done, which ends its own process if it has one.

    `manifest` is what its checkpoint says of itself, `artefact` what it was loaded from in so many
    `seconds`, and `batch` what it was loaded for, which binds it where its batch is static. `notes`
    are what is to be said of the artefact, such as why it was made again.
    """

    variant: Variant
    manifest: CheckpointManifest
    network: Runnable
    artefact: Path
    seconds: float
    batch: int
    close: Callable[[], object] = lambda: None
    notes: tuple[str, ...] = ()

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits of photographs, both as in `Runnable`.

        Raises:
            IndoorError: The runtime failed, in whatever way.
        """
        try:
            return self.network(images)
        except IndoorError:
            raise
        except Exception as error:  # its own, which is to cost nobody else a cell
            raise VariantError(self.variant.name, error) from error

    def size_bytes(self) -> int:
        """Return the size of its artefact, a file or a folder of files without its manifest."""
        return size_of(self.artefact)

    def filled(self, images: Tensor) -> Tensor:
        """Return photographs on its device, repeating the last up to the batch of a static one."""
        missing = self.batch - len(images) if self.variant.static_batch else 0
        filled = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)]) if missing else images
        return filled.to(self.variant.device)

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits of photographs, both in the CPU's memory.

        Fewer photographs than a static batch holds are filled up with the last one.
        """
        logits = self(self.filled(images))[: len(images)].cpu()
        expected = (len(images), len(self.manifest.classes))
        if logits.shape != expected:
            raise IndoorError(
                f"{self.variant.name} gives logits of the shape {tuple(logits.shape)}; expected "
                f"{expected}; repair its runtime"
            )
        return logits


def load_here(
    variant: Variant, run_folder: Path, batch: int = 1, clock: Clock = time.perf_counter
) -> Loaded:
    """Load a variant from a run's folder into this very process.

    Args:
        variant: One of `all_variants`.
        run_folder: Holds the checkpoint that the variant is made from.
        batch: Photographs a batch, where the runtime needs to know.
        clock: Times the load, which making the artefact is no part of.

    Raises:
        IndoorError: The checkpoint is missing or cannot be used.
    """
    checkpoint = checkpoint_of(variant, run_folder)
    manifest = read_manifest(checkpoint)
    said = refuse_saturation(variant, manifest)
    try:
        with listening() as notes:
            artefact = runtime_of(variant).prepare(variant, checkpoint, batch)
    except IndoorError:
        raise
    except Exception as error:
        raise VariantError(variant.name, error) from error
    network, seconds = _loaded(variant, artefact, clock)
    return Loaded(variant, manifest, network, artefact, seconds, batch, notes=(*said, *notes))


def load_exported_here(folder: Path, batch: int, clock: Clock, *, trust: bool) -> Loaded:
    """Load what `indoor export` wrote into this very process, found whole and fit for it.

    Raises:
        IndoorError: As `exported.checked_package`, or it cannot be used.
    """
    export = read_export(folder)
    variant = variant_of(export)
    artefact = checked_package(folder, export, export.package(batch), trust=trust)
    notes = refuse_saturation(variant, export.checkpoint)
    network, seconds = _loaded(variant, artefact, clock)
    return Loaded(variant, export.checkpoint, network, artefact, seconds, batch, notes=notes)


def _loaded(variant: Variant, artefact: Path, clock: Clock) -> tuple[Runnable, float]:
    """Return the network and the seconds that it took to load."""
    try:
        began = clock()
        network = runtime_of(variant).load(variant, artefact, torch.get_num_threads())
        return network, clock() - began
    except IndoorError:
        raise
    except Exception as error:
        raise VariantError(variant.name, error) from error


def checkpoint_of(variant: Variant, run_folder: Path) -> Path:
    """Return the path of the checkpoint that the variant is made from."""
    return run_folder / f"{variant.checkpoint}.safetensors"


def check_output(variant: Variant, logits: Tensor, reference: Tensor) -> float | None:
    """Compare a variant's logits with the baseline's on the same photographs.

    Args:
        variant: Whose; it knows its limit.
        logits: float32 `(B, C)`.
        reference: float32 `(B, C)`, computed on as many threads.

    Returns:
        The SQNR in dB; None for a variant whose bits must be the same.

    Raises:
        AssertionError: The output is not that of the same network; the message says what it is.
    """
    assert logits.shape == reference.shape, f"logits {logits.shape}, expected {reference.shape}"
    assert torch.isfinite(logits).all(), f"{variant.name} gave logits that are not finite"
    limit = variant.min_sqnr_db
    if limit is None:
        difference = float((logits - reference).abs().max())
        assert torch.equal(logits, reference), (
            f"{variant.name} gave other logits than before on the same photographs (by "
            f"{difference})"
        )
        return None
    value = sqnr_db(reference, logits)
    assert value >= limit, (
        f"{variant.name} is {value:.1f} dB from {baseline().name}'s logits, expected {limit} dB or "
        "more; no time is worth recording for another network's output"
    )
    return value


def size_of(artefact: Path) -> int:
    """Return the bytes of a file, or of a folder's files; what an artefact says of itself is none.

    So an exported artefact, a run's and a checkpoint are counted alike.
    """
    files = artefact.rglob("*") if artefact.is_dir() else (artefact,)
    return sum(p.stat().st_size for p in files if p.is_file() and p != artefact / MANIFEST)
