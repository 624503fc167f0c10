"""What can be run: the protocol of a runtime, the registry of variants, and how one is loaded."""

import functools
import importlib
import pkgutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast, get_args

import torch
from packaging.specifiers import SpecifierSet
from torch import Tensor

import indoor.runtimes
from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.measure.pairs import Clock
from indoor.model import read_manifest
from indoor.records import CheckpointManifest, Precision, Ran, Variant


class Runnable(Protocol):
    """A network that a runtime has loaded."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of normalised float32 photographs `(B, 3, H, W)`.

        Records no gradients. A cast that the precision needs happens inside, so that a timed call
        contains it. Images and logits are on the variant's device, which may still be computing
        when the call returns.
        """

    def ran(self, images: Tensor) -> Ran:
        """Return what one more call really computes with; it may write to standard output."""


class Runtime(Protocol):
    """What a file of this folder holds; a file without `VARIANTS` is no runtime.

    A variant with `own_process` is loaded in a process of its own (`own_process.py`), whose threads
    and crashes are nobody else's; a new one for each cell, so that `load` may fix batch and
    threads.
    """

    VARIANTS: tuple[Variant, ...]
    """Its variants, as they are on a CPU; `runtime` is the file's name."""

    REQUIRES: Mapping[str, str]
    """The distributions that it needs beside the core's, with the versions that it was tried with,
    such as `{"onnxruntime": ">=1.20,<2"}`. May be left out. Nobody imports them to look: what is
    missing or of another version costs its variants alone, with what installs it."""

    EXTRA: str
    """The extra of this project that installs them; where `REQUIRES` is."""

    def why_not(self, variant: Variant) -> str | None:
        """Return why this machine cannot compute the variant natively; None where it can.

        Asked in processes that are to survive: it imports no library of the runtime's.
        """

    def prepare(self, variant: Variant, checkpoint: Path, batch: int) -> Path:
        """Return the file that is loaded and whose size counts, made unless it is there.

        Args:
            variant: One of its own, with the device.
            checkpoint: The file of the precision `variant.checkpoint`.
            batch: Photographs a batch, for a runtime that needs an artefact for each.

        Raises:
            IndoorError: It cannot be made.
        """

    def load(self, variant: Variant, artefact: Path, threads: int) -> Runnable:
        """Return the network, ready to be called.

        Args:
            variant: One of its own, with the device.
            artefact: What `prepare` returned.
            threads: To compute on. A runtime that uses torch's has nothing to do: they are set.

        Raises:
            IndoorError: The file is missing or cannot be used.
        """


class VariantError(IndoorError):
    """A runtime failed in its own way; `name` is the variant's, `reason` one line."""

    def __init__(self, name: str, error: Exception) -> None:
        kind = "" if isinstance(error, IndoorError) else f"{type(error).__name__}: "
        self.name = name
        self.reason = " ".join(f"{kind}{error}".split())
        super().__init__(f"{name}: {self.reason}")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A variant that can be called; `close` it when done, which ends its own process if it has one.

    `manifest` is what its checkpoint says of itself, `artefact` what it was loaded from in so many
    `seconds`, and `batch` what it was loaded for, which binds it where its batch is static.
    """

    variant: Variant
    manifest: CheckpointManifest
    network: Runnable
    artefact: Path
    seconds: float
    batch: int
    close: Callable[[], object] = lambda: None

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
        """Return the size of its artefact, a file or a folder of files."""
        files = self.artefact.rglob("*") if self.artefact.is_dir() else (self.artefact,)
        return sum(path.stat().st_size for path in files if path.is_file())

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits of photographs, both in the CPU's memory.

        Fewer photographs than a static batch holds are filled up with the last one.
        """
        missing = self.batch - len(images) if self.variant.static_batch else 0
        filled = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)]) if missing else images
        logits = self(filled.to(self.variant.device))[: len(images)].cpu()
        expected = (len(images), len(self.manifest.classes))
        if logits.shape != expected:
            raise IndoorError(
                f"{self.variant.name} gives logits of the shape {tuple(logits.shape)}; expected "
                f"{expected}; repair its runtime"
            )
        return logits


def all_variants(device: str = "cpu") -> dict[str, Variant]:
    """Return every variant by its name, the baseline first, as it would be on that device."""
    found = [v for runtime in _runtimes().values() for v in runtime.VARIANTS]
    found.sort(key=lambda v: (v.order, v.name))
    return {v.name: replace(v, device=device) for v in found}


def native_variants(device: str = "cpu") -> tuple[Variant, ...]:
    """Return the variants that this machine computes natively on that device, the baseline first.

    An emulated bfloat16 is slower than float32 and would only mislead in a table.
    """
    return tuple(v for v in all_variants(device).values() if why_not(v) is None)


def find_variant(name: str, device: str = "cpu") -> Variant:
    """Return the variant of that name, which this machine computes natively on that device.

    Raises:
        IndoorError: There is none, or the machine does not; one line.
    """
    known = all_variants(device)
    if name not in known:
        raise IndoorError(f"variant {name}: expected one of {', '.join(known)}")
    if reason := why_not(known[name]):
        usable = ", ".join(v.name for v in native_variants(device))
        raise IndoorError(f"variant {name}: {reason}; expected one of {usable}")
    return known[name]


def baseline() -> Variant:
    """Return the variant that the others are compared with."""
    return next(v for v in all_variants().values() if v.role == "baseline")


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    runtime = _runtimes()[variant.runtime]
    if lacking := _lacking(runtime):
        return lacking
    try:
        return runtime.why_not(variant)
    except Exception as error:
        raise VariantError(variant.name, error) from error


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
    runtime, checkpoint = _runtimes()[variant.runtime], checkpoint_of(variant, run_folder)
    try:
        artefact = runtime.prepare(variant, checkpoint, batch)
        began = clock()
        network = runtime.load(variant, artefact, torch.get_num_threads())
        seconds = clock() - began
    except IndoorError:
        raise
    except Exception as error:
        raise VariantError(variant.name, error) from error
    return Loaded(variant, read_manifest(checkpoint), network, artefact, seconds, batch)


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


def _lacking(runtime: Runtime) -> str | None:
    """Return what of its requirements is missing or of another version, and what installs it."""
    for name, versions in getattr(runtime, "REQUIRES", {}).items():
        remedy = f"pip install 'indoor[{runtime.EXTRA}]'"
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"it needs {name}, which is not installed; {remedy}"
        if not SpecifierSet(versions).contains(found, prereleases=True):
            return f"it needs {name}{versions}, and {found} is installed; {remedy}"
    return None


@functools.cache
def _runtimes() -> dict[str, Runtime]:
    """Import every runtime of this folder and of those that INDOOR_RUNTIMES names, by its name.

    Raises:
        IndoorError: A folder is missing; a file cannot be imported, is not whole, or has a variant
            that cannot be told from another or be recorded.
    """
    for folder in list(indoor.runtimes.__path__)[1:]:
        if not Path(folder).is_dir():
            raise IndoorError(
                f"INDOOR_RUNTIMES: there is no folder {folder}; expected folders of runtimes, "
                "parted by colons; correct the variable, or unset it"
            )
    found: dict[str, Runtime] = {}
    files: dict[str, str] = {}
    for module in pkgutil.iter_modules(indoor.runtimes.__path__):
        runtime = _imported(module.name)
        variants = getattr(runtime, "VARIANTS", ())
        if others := [v.name for v in variants if v.runtime != module.name]:
            raise IndoorError(
                f"indoor/runtimes/{module.name}.py: {', '.join(others)} of another runtime; "
                f"expected runtime={module.name!r}"
            )
        for variant in variants:
            if other := files.get(variant.name):
                raise IndoorError(
                    f"the runtimes {other}.py and {module.name}.py both have a variant "
                    f"{variant.name}; expected one of that name; rename one"
                )
            files[variant.name] = module.name
            if variant.precision not in get_args(Precision):
                raise IndoorError(
                    f"the runtime {module.name}.py: variant {variant.name} has the precision "
                    f"{variant.precision}; expected one of {', '.join(get_args(Precision))}"
                )
        lacking = [name for name in ("why_not", "prepare", "load") if not hasattr(runtime, name)]
        if variants and lacking:
            raise IndoorError(
                f"the runtime {module.name}.py has no {', '.join(lacking)}; expected the functions "
                "of the protocol in indoor/runtimes/base.py"
            )
        if variants:
            found[module.name] = cast(Runtime, runtime)
    return found


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"indoor.runtimes.{name}")
    except Exception as error:
        raise IndoorError(
            f"the runtime {name}.py cannot be imported: {' '.join(str(error).split())}; expected a "
            "file that imports what may be missing only when it loads, and says so in why_not; "
            "repair or remove it"
        ) from error
