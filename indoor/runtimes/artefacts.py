"""What a runtime makes from a checkpoint: built once, whole or not at all, known by its key.

An artefact is a folder beside the checkpoint, `artefacts/VARIANT[-batchN]-KEY`. It counts where its
manifest is whole and its files are those that the manifest names; one that holds machine code must
besides be this user's own on this machine, since loading it executes it.
"""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import indoor
from indoor.errors import IndoorError
from indoor.files import remembered_sha256
from indoor.locks import locked
from indoor.machine import files_sha256, read_environment, read_machine
from indoor.model import read_manifest
from indoor.records import Variant, to_json
from indoor.runtimes.artefact_manifest import (
    MANIFEST,
    ArtefactManifest,
    is_foreign,
    list_files,
    read_artefact,
    this_system,
    why_damaged,
    write_manifest,
)

__all__ = ["ArtefactManifest", "build_artefact", "listening", "read_artefact", "tell"]

_HOUSE = ("base", "artefacts", "executed", "fingerprint", "onednn")
"""What runtimes import and what makes no artefact."""

_IMPORTED = re.compile(r"indoor\.runtimes\.(\w+)")

_BUILDING = ".building-"
"""Begins the name of a folder that is being written; whoever holds the lock may remove others'."""


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

    Of processes that ask at once one builds, and the others wait for it. Until this process ends
    nobody removes the folder.

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
    wanted = _wanted(variant, checkpoint, libraries, batch, compiled)
    suffix = "" if batch is None else f"-batch{batch}"
    key = hashlib.sha256(to_json(_key(wanted))).hexdigest()[:8]
    folder = checkpoint.parent / "artefacts" / f"{variant.name}{suffix}-{key}"
    if _hold(folder) and _why_not_taken(folder, wanted) is None:
        return folder
    with locked(
        folder.parent / ".lock",
        "another process that makes an artefact of this run",
        say=tell,
        cannot="make artefacts in",
        remedy="make it writable, or copy the run",
    ):
        reason = _why_not_taken(folder, wanted)
        if reason is not None:
            if folder.exists():
                tell(f"{folder.name} is made again: {reason}")
            try:
                _build(folder, wanted, build)
                _remove_others(folder, wanted)
            except OSError as error:
                raise IndoorError(
                    f"cannot make {folder}: {error.strerror or error}; expected a folder with "
                    "write permission and free space; make room, or copy the run to another disk"
                ) from error
        _hold(folder)
    return folder


def tell(line: str) -> None:
    """Keep a line for whoever asked to be told of what artefacts there are to say."""
    heard = _HEARD.get()
    if heard is not None:
        heard.append(line)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Yield the list that gets the lines of `tell` within the block."""
    lines: list[str] = []
    token = _HEARD.set(lines)
    try:
        yield lines
    finally:
        _HEARD.reset(token)


_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)

_HELD: dict[Path, int] = {}
"""Descriptors of the folders that this process may load from, locked until it ends."""


def _wanted(
    variant: Variant,
    checkpoint: Path,
    libraries: tuple[str, ...],
    batch: int | None,
    compiled: bool,
) -> ArtefactManifest:
    """Return the manifest of what is to be made, without what only making it tells."""
    source, machine = read_manifest(checkpoint), read_machine()
    told = read_environment().items() if compiled else ()
    return ArtefactManifest(
        variant=variant.name,
        runtime=variant.runtime,
        checkpoint_sha256=source.content_sha256 or remembered_sha256(checkpoint),
        code_sha256=_code_sha256(variant.runtime),
        libraries={name: version(name) for name in libraries},
        batch=batch,
        system=this_system() if compiled else None,
        isa=machine.isa if compiled else None,
        environment={k: v for k, v in told if "ISA" in k or "CAPABILITY" in k}
        if compiled
        else None,
        cpu_model=machine.cpu_model,
        build_s=0.0,
        files=(),
    )


def _code_sha256(runtime: str) -> str:
    """Return a hash over what makes an artefact: the runtime with what it imports, and networks."""
    package = Path(indoor.__file__).parent
    found = [*package.glob("model/*.py"), *package.glob("quantize/*.py")]
    files = {path.relative_to(package).as_posix(): path for path in found}
    wanted = [runtime]
    while wanted:
        name = wanted.pop()
        spec = importlib.util.find_spec(f"indoor.runtimes.{name}")
        if name in files or name in _HOUSE or spec is None or spec.origin is None:
            continue
        files[name] = Path(spec.origin)
        wanted += _IMPORTED.findall(files[name].read_text(encoding="utf-8"))
    return files_sha256(files)


def _key(manifest: ArtefactManifest) -> ArtefactManifest:
    """Return it without what differs between two artefacts that are each as good."""
    return replace(
        manifest, cpu_model="", build_s=0.0, files=(), signature=None, content_sha256=None
    )


def _why_not_taken(folder: Path, wanted: ArtefactManifest) -> str | None:
    """Return why what lies there is not loaded; None: it is whole, and ours where that counts."""
    try:
        known = read_artefact(folder)
        if known is None:
            return "it has no manifest"
        if _key(known) != _key(wanted):
            return "it was made from something else"
        if damage := why_damaged(folder, known):
            return damage
        if is_foreign(known):
            return "another user or another machine made it, and loading it executes it"
    except (IndoorError, OSError) as error:
        return str(error)
    return None


def _build(folder: Path, wanted: ArtefactManifest, build: Callable[[Path], object]) -> None:
    for left in folder.parent.glob(f"{_BUILDING}*"):  # its process was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_BUILDING) as name:
        made = Path(name) / "artefact"
        made.mkdir()
        began = time.perf_counter()
        build(made)
        seconds = time.perf_counter() - began
        files = list_files(made)
        if not files:
            raise IndoorError(
                f"{wanted.variant}: its runtime wrote no file; expected an artefact; repair it"
            )
        write_manifest(made, replace(wanted, build_s=seconds, files=files))
        if folder.exists():
            _release(folder)
            folder.rename(Path(name) / "before")
        made.rename(folder)


def _remove_others(folder: Path, wanted: ArtefactManifest) -> None:
    """Remove the variant's artefacts of other keys, unless a process may still load from them."""
    for other in folder.parent.iterdir():
        if other == folder or not (other / MANIFEST).is_file():
            continue
        try:
            known = read_artefact(other)
        except IndoorError:
            known = None
        if known is not None:
            if known.variant != wanted.variant:
                continue
            if _key(replace(known, batch=wanted.batch)) == _key(wanted):
                continue
        _release(other)
        if _hold(other, fcntl.LOCK_EX):
            shutil.rmtree(other, ignore_errors=True)
            _release(other)


def _hold(folder: Path, kind: int = fcntl.LOCK_SH) -> bool:
    """Lock a folder for as long as this process lives; False: it is not there, or another's."""
    if folder in _HELD and kind == fcntl.LOCK_SH and folder.is_dir():
        return True
    _release(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        same = os.fstat(descriptor).st_ino == folder.stat().st_ino
    except OSError:
        same = False
    if not same:
        os.close(descriptor)
        return False
    _HELD[folder] = descriptor
    return True


def _release(folder: Path) -> None:
    descriptor = _HELD.pop(folder, None)
    if descriptor is not None:
        with suppress(OSError):
            os.close(descriptor)
