"""What an artefact says of itself, and whether that is to be believed."""

import platform
from dataclasses import dataclass, replace
from pathlib import Path

from indoor.files import remembered_sha256, sha256_of_file
from indoor.machine import read_machine
from indoor.records import Count, Sha256, read_record, to_json, write_record
from indoor.runtimes import trust

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class ArtefactFile:
    """A file of an artefact, by its path within it."""

    name: str
    size_bytes: Count
    sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class ArtefactManifest:
    """What an artefact was made from, by what and for what, and the files that it consists of.

    `batch` is None where any batch goes, `isa` and `environment` where any CPU does: a compiled
    package has both, and a `signature` of the user and machine that made it.
    """

    variant: str
    runtime: str
    checkpoint_sha256: Sha256
    code_sha256: Sha256
    """Of the sources that make it."""
    libraries: dict[str, str]
    batch: int | None
    system: str | None = None
    isa: tuple[str, ...] | None = None
    environment: dict[str, str] | None = None
    """What kept a compiler from instructions that the CPU has."""
    cpu_model: str
    build_s: float
    files: tuple[ArtefactFile, ...]
    signature: Sha256 | None = None
    content_sha256: Sha256 | None = None

    @property
    def compiled(self) -> bool:
        """Whether it holds machine code."""
        return self.isa is not None

    @property
    def size_bytes(self) -> int:
        """The bytes of its files, without the manifest."""
        return sum(file.size_bytes for file in self.files)


def read_artefact(folder: Path) -> ArtefactManifest | None:
    """Return what a folder's artefact says of itself; None: there is none.

    Raises:
        IndoorError: It says nothing that can be read, or is damaged.
    """
    path = folder / MANIFEST
    return read_record(path, ArtefactManifest) if path.is_file() else None


def why_damaged(folder: Path, manifest: ArtefactManifest) -> str | None:
    """Return how an artefact's files differ from those that its manifest names; None: they do not.

    What will be executed is read again, what was read before in the same state is remembered else.
    """
    expected = {file.name for file in manifest.files}
    for path in _paths(folder):
        if (name := path.relative_to(folder).as_posix()) not in expected:
            return f"{name} is none of its files"
    digest = sha256_of_file if manifest.compiled else remembered_sha256
    for file in manifest.files:
        path = folder / file.name
        if path.is_symlink() or not path.is_file():
            return f"{file.name} is missing"
        if (size := path.stat().st_size) != file.size_bytes:
            return f"{file.name} has {size:,} bytes, {file.size_bytes:,} by its manifest"
        if (found := digest(path)) != file.sha256:
            return f"{file.name} has SHA-256 {found[:16]}, {file.sha256[:16]} by its manifest"
    return None


def is_foreign(manifest: ArtefactManifest) -> bool:
    """Tell whether somebody else, or another machine, made or changed a compiled package."""
    return manifest.compiled and not trust.is_ours(_signed(manifest), manifest.signature)


def why_other_cpu(manifest: ArtefactManifest) -> str | None:
    """Return which of a compiled package's instructions this CPU lacks; None: none."""
    if manifest.isa is None:
        return None
    if manifest.system != this_system():
        return f"it was compiled for {manifest.system}, and this is {this_system()}"
    lacking = [name for name in manifest.isa if name not in read_machine().isa]
    if not lacking:
        return None
    return f"it was compiled for {manifest.cpu_model}, and this CPU has no {', '.join(lacking)}"


def write_manifest(folder: Path, manifest: ArtefactManifest) -> None:
    """Write what a folder's artefact says of itself: of what is compiled also who made it."""
    if manifest.compiled:
        manifest = replace(manifest, signature=trust.sign(_signed(manifest)))
    write_record(folder / MANIFEST, manifest)


def list_files(folder: Path) -> tuple[ArtefactFile, ...]:
    """Return the files of a folder and of those within it, without the manifest."""
    return tuple(
        ArtefactFile(
            name=path.relative_to(folder).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=sha256_of_file(path),
        )
        for path in _paths(folder)
    )


def this_system() -> str:
    """Return what machine code is compiled for, besides a CPU's instructions."""
    return f"{platform.system()} {platform.machine()}"


def _signed(manifest: ArtefactManifest) -> bytes:
    return to_json(replace(manifest, signature=None, content_sha256=None))


def _paths(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path for path in found if path != folder / MANIFEST)
