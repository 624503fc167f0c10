"""What a runtime makes from a checkpoint: built once, whole or not at all, known by its key."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from indoor.files import write_bytes
from indoor.machine import read_machine
from indoor.model import read_manifest
from indoor.records import Variant, from_json, to_json

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class ArtefactManifest:
    """What an artefact was made from, by what and for what; its `key` decides whether it fits.

    `batch` is None where any batch goes, `isa` where any CPU does: a compiled package is neither.
    """

    variant: str
    runtime: str
    checkpoint_sha256: str
    libraries: dict[str, str]
    batch: int | None
    isa: tuple[str, ...] | None
    build_s: float


def build_artefact(
    variant: Variant,
    checkpoint: Path,
    libraries: tuple[str, ...],
    build: Callable[[Path], object],
    *,
    batch: int | None = None,
    compiled: bool = False,
) -> Path:
    """Return the folder with the variant's artefact, built unless a whole one of its key is there.

    Args:
        variant: Whose.
        checkpoint: The file that it is made from, beside whose folder artefacts lie.
        libraries: The distributions whose versions it depends on, such as `onnxruntime`.
        build: Writes the artefact's files into a folder that it is given, which is empty.
        batch: The only number of photographs that it takes; None: any.
        compiled: Whether it holds machine code, which fits this machine's instructions alone.

    Raises:
        IndoorError: The checkpoint cannot be read, or the artefact cannot be written.
    """
    source = read_manifest(checkpoint)
    wanted = ArtefactManifest(
        variant=variant.name,
        runtime=variant.runtime,
        checkpoint_sha256=str(source.content_sha256),
        libraries={name: version(name) for name in libraries},
        batch=batch,
        isa=read_machine().isa if compiled else None,
        build_s=0.0,
    )
    suffix = "" if batch is None else f"-batch{batch}"
    folder = checkpoint.parent / "artefacts" / f"{variant.name}{suffix}"
    known = read_artefact(folder)
    if known is not None and _key(known) == _key(wanted):
        return folder
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        began = time.perf_counter()
        build(Path(name))
        seconds = time.perf_counter() - began
        write_bytes(Path(name) / MANIFEST, to_json(replace(wanted, build_s=seconds), indent=2))
        shutil.rmtree(folder, ignore_errors=True)
        Path(name).rename(folder)
    return folder


def read_artefact(folder: Path) -> ArtefactManifest | None:
    """Return what a folder's artefact says of itself; None: there is none.

    Raises:
        IndoorError: It says nothing that can be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    return from_json(path.read_bytes(), ArtefactManifest, str(path))


def _key(manifest: ArtefactManifest) -> ArtefactManifest:
    return replace(manifest, build_s=0.0)
