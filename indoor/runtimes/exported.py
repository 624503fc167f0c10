"""A folder to be deployed: a variant's artefacts, and what whoever runs them must know."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from indoor.errors import IndoorError
from indoor.files import sha256_of_file
from indoor.records import (
    CheckpointManifest,
    Count,
    DataIdentity,
    Precision,
    Rate,
    Sha256,
    Variant,
    read_record,
)
from indoor.runtimes.artefact_manifest import (
    MANIFEST,
    ArtefactManifest,
    is_foreign,
    read_artefact,
    why_damaged,
    why_other_cpu,
)
from indoor.runtimes.base import find_variant, runtime_of

EXPORT = "export.json"
"""The file that makes a folder an export."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A tensor that goes in or comes out; a word in `shape` is a number of one's choice."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    layout: str


@dataclass(frozen=True, kw_only=True)
class Package:
    """A file, or a folder with a manifest of its own, that is loaded for a batch; None: for any.

    `sha256` is that of the file, or the `content_sha256` of the folder's manifest, which names its
    files.
    """

    path: str
    batch: int | None
    size_bytes: Count
    sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class Export:
    """What a deployer must know of a folder.

    A photograph becomes the input by `checkpoint.preprocessing`; the output's columns are
    `checkpoint.classes`. `checkpoint` says besides what the weights are, how they were quantized
    and on which calibration list.
    """

    format: int
    variant: str
    runtime: str
    precision: Precision
    input: Port
    output: Port
    packages: tuple[Package, ...]
    requires: dict[str, str]
    """The distributions that run it, with the versions that were tried."""
    libraries: dict[str, str]
    """What made it."""
    cpu_model: str
    """Where it was made."""
    isa: tuple[str, ...] | None
    """The instructions that it needs; None: any CPU goes."""
    build_s: float | None
    checkpoint_sha256: Sha256
    checkpoint: CheckpointManifest
    accuracy: Rate | None = None
    """The run's top-1 on the test split of `accuracy_on`, by this variant; None: not known."""
    accuracy_on: DataIdentity | None = None
    content_sha256: Sha256 | None = None

    @property
    def batches(self) -> tuple[int, ...]:
        """The batches that there are packages for, ascending; nothing where any goes."""
        return tuple(sorted(one.batch for one in self.packages if one.batch is not None))

    def package(self, batch: int) -> Package:
        """Return what is loaded for that batch, which is one of `batches` where there are any."""
        return next(one for one in self.packages if one.batch in (None, batch))


FORMAT = 1


def read_export(folder: Path) -> Export:
    """Return what a folder says of itself.

    Raises:
        IndoorError: It is no export, or its record is damaged.
    """
    path = folder / EXPORT
    if not path.is_file():
        raise IndoorError(
            f"{folder} holds no {EXPORT}; expected a folder that indoor export wrote; name that"
        )
    export = read_record(path, Export)
    if export.format != FORMAT:
        raise IndoorError(
            f"{folder} is an export of format {export.format}; expected {FORMAT}; export it again"
        )
    return export


def variant_of(export: Export) -> Variant:
    """Return the variant that runs an export here.

    Raises:
        IndoorError: Its runtime is missing or cannot run here.
    """
    variant = find_variant(export.variant)
    if (variant.runtime, variant.precision) != (export.runtime, export.precision):
        raise IndoorError(
            f"variant {export.variant} is {variant.precision} by {variant.runtime} here, and "
            f"{export.precision} by {export.runtime} in the export; expected the same; export it "
            "again"
        )
    return variant


def checked_package(folder: Path, export: Export, package: Package, *, trust: bool) -> Path:
    """Return the path to load, having found it whole and fit to be loaded here.

    Args:
        folder: The export.
        export: As it was read.
        package: Which of its packages.
        trust: Whether machine code of others may be executed.

    Raises:
        IndoorError: It is damaged, compiled for another CPU or torch, or holds what loading
            executes and is not this user's own while `trust` is not given; one line.
    """
    path = folder / package.path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise IndoorError(f"{folder}: {package.path} leads out of it; expected a file within it")
    known = read_artefact(path) if path.is_dir() else None
    damage = _why_damaged(path, package, known)
    if damage:
        raise IndoorError(
            f"{path} is damaged: {damage}; expected the files as they were exported; copy or "
            "export it again"
        )
    if getattr(runtime_of(variant_of(export)), "DATA_ONLY", False):
        return path
    if known is not None and (reason := why_other_cpu(known) or _why_other_torch(known)):
        raise IndoorError(
            f"{path} cannot run here: {reason}; expected the same; export it on this machine"
        )
    if not trust and (known is None or not known.compiled or is_foreign(known)):
        raise IndoorError(
            f"{path} is foreign: loading it executes what is in it, and this user did not make it "
            "on this machine, or its files changed since; expected a package of your own; export "
            "it here, or add --trust where you know who made it"
        )
    return path


def split(num: int, batches: tuple[int, ...]) -> tuple[list[int], str | None]:
    """Return by which packages so many photographs are computed, and the line that says so.

    The largest package that they fill comes first; what is left and fills none goes into the
    smallest, filled up.
    """
    if not batches or num in batches:
        return [num], None
    calls: list[int] = []
    left = num
    while left > 0:
        calls.append(max((one for one in batches if one <= left), default=min(batches)))
        left -= calls[-1]
    filled = f", the last filled up with {-left}" if left < 0 else ""
    there = ", ".join(map(str, batches))
    return calls, (
        f"no package for a batch of {num} (there are {there}): computed as "
        f"{' + '.join(map(str, calls))}{filled}"
    )


def requirements(variant: Variant) -> Mapping[str, str]:
    """Return the distributions that a variant's runtime needs, torch among them."""
    needed: Mapping[str, str] = getattr(runtime_of(variant), "REQUIRES", {})
    return {"torch": f"=={metadata.version('torch')}", **needed}


def _why_damaged(path: Path, package: Package, known: ArtefactManifest | None) -> str | None:
    if path.is_dir():
        if known is None:
            return f"it has no {MANIFEST}"
        if known.content_sha256 != package.sha256:
            return f"its {MANIFEST} is another one"
        return why_damaged(path, known)
    if not path.is_file():
        return "it is missing"
    found = sha256_of_file(path)
    return None if found == package.sha256 else f"SHA-256 {found[:16]}, by {EXPORT} another"


def _why_other_torch(known: ArtefactManifest) -> str | None:
    made = known.libraries.get("torch")
    here = metadata.version("torch")
    if made is None or made == here:
        return None
    return f"it was compiled by torch {made}, and {here} is installed"
