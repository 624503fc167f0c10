"""The checkpoint file: named tensors and a JSON manifest in one safetensors file."""

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from indoor.errors import IndoorError
from indoor.files import file_key, recall, remember, replace_file, write_bytes
from indoor.model.file_kinds import identify_kind
from indoor.records import CheckpointManifest, from_json, to_json

FORMAT = 2
"""The version of the checkpoint file, `CheckpointManifest.format`. Version 1, which is read too,
has neither provenance nor content hash."""

_KEY = "indoor"
"""The manifest's place in safetensors' metadata, which maps strings to strings."""

_MOST_BYTES = 500_000_000
"""Of a file of tensors that are read: the float32 of a ResNeXt-101 of 1,000 classes are 355 MB."""

_MOST_TENSORS = 20_000
_MOST_HEADER_BYTES = 8_000_000
"""A network that is read has a thousand tensors at most; safetensors takes headers of 100 MB,
which name millions."""

_SEAL = re.compile(r'"content_sha256":"([0-9a-f]{64})"')


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], manifest: CheckpointManifest
) -> CheckpointManifest:
    """Write a checkpoint file, whole or not at all; the same content gives the same bytes.

    Args:
        path: The file; an existing one is replaced.
        tensors: Dense CPU tensors of dtypes that safetensors knows (no quantized ones).
        manifest: What the file says of itself; its `content_sha256` is worked out here.

    Returns:
        The manifest as it stands in the file.

    Raises:
        ValueError: `manifest.format` is not `FORMAT`, or safetensors does not take a tensor.
        IndoorError: The file cannot be written.
    """
    if manifest.format != FORMAT:
        raise ValueError(f"manifest.format is {manifest.format}, expected {FORMAT}")
    for name, tensor in tensors.items():
        if tensor.is_quantized:
            raise ValueError(f"{name} is {tensor.dtype}: safetensors has no quantized dtypes")
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = to_json(replace(manifest, content_sha256=None)).decode("utf-8")
    digest = _hash_content(text, plain)
    # In the text and not beside it: safetensors writes two entries in any order.
    text = text.replace('"content_sha256":null', f'"content_sha256":"{digest}"')
    write_bytes(path, safetensors.torch.save(plain, {_KEY: text}))
    return replace(manifest, content_sha256=digest)


def write_plain(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write named tensors, whole or not at all, without a manifest and without a copy in memory.

    Raises:
        IndoorError: The file cannot be written.
    """
    with replace_file(path) as temporary:
        try:
            safetensors.torch.save_file(dict(tensors), temporary, metadata=metadata)
        except SafetensorError as error:  # of a full disk, too
            raise OSError(errno.EIO, " ".join(str(error).split()), str(path)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], CheckpointManifest]:
    """Read a file that `write_tensors` wrote; nothing in it is executed.

    Args:
        path: The file.

    Returns:
        The tensors, in memory of their own (the file may be replaced at once), and the manifest.

    Raises:
        IndoorError: There is no such file, or it is not whole, not a checkpoint of this project,
            of a newer format, or its content is not what its hash says.
    """
    if identify_kind(path) == "safetensors":
        tensors, manifest = read_safetensors(path)
        if manifest is not None:
            return tensors, manifest
    raise _no_manifest(path)


def read_manifest(path: Path) -> CheckpointManifest:
    """Read what a checkpoint says of itself, without its tensors; errors as in `read_tensors`."""
    manifest = read_metadata(path) if identify_kind(path) == "safetensors" else None
    if manifest is None:
        raise _no_manifest(path)
    return manifest


def verify(path: Path) -> CheckpointManifest:
    """Return what a checkpoint says of itself, once its content is known to be whole.

    An unchanged file is not read again. Errors as in `read_tensors`.
    """
    manifest = read_manifest(path)
    if manifest.content_sha256 != recall(file_key(path, "content")):
        read_safetensors(path)
    return manifest


def read_metadata(path: Path) -> CheckpointManifest | None:
    """Return the manifest of a safetensors file, None where somebody else wrote the file."""
    with _opened(path) as file:
        return _manifest(path, file)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], CheckpointManifest | None]:
    """Return the tensors of any safetensors file, in memory of their own, and its manifest.

    The manifest is None where somebody else wrote the file. Where a checkpoint of ours says its
    content's hash, that is compared: once for each state of the file, since it takes as long again
    as reading.

    Raises:
        IndoorError: As in `read_tensors`.
    """
    key = file_key(path, "content")
    with _opened(path) as file:
        manifest = _manifest(path, file)
        text = (file.metadata() or {}).get(_KEY, "")
        tensors = {
            # A clone has the 64-byte alignment that torch gives its own tensors.
            name: file.get_tensor(name).clone(memory_format=torch.contiguous_format)
            for name in file.keys()  # noqa: SIM118 (not a dict, it cannot be iterated)
        }
    if manifest is not None and manifest.content_sha256 is not None:
        found = recall(key)
        if found is None:
            found = _hash_content(_SEAL.sub('"content_sha256":null', text), tensors)
            remember(key, found, path)
        if found != manifest.content_sha256:
            said = manifest.content_sha256[:16]
            raise _damaged(path, f"content of SHA-256 {found[:16]}, {said} by its header")
    return tensors, manifest


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 over names, shapes, types and contents, as 64 hexadecimal digits."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        total.update(content.data)  # a view: the copy would count as the model's memory
    return total.hexdigest()


def _hash_content(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the hash of a checkpoint whose manifest, without its hash, is `text`."""
    return hashlib.sha256(f"{hash_tensors(tensors)} {text}".encode()).hexdigest()


def _manifest(path: Path, file: Any) -> CheckpointManifest | None:
    """Return the manifest of an opened safetensors file, None where somebody else wrote it."""
    metadata = file.metadata() or {}
    text = metadata.get(_KEY)
    if text is None:
        if any(map(_SEAL.search, metadata.values())):
            raise _damaged(path, f"a manifest that is not named {_KEY!r}")
        return None
    try:
        version = msgspec.json.decode(text)["format"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        version = None  # from_json below says what is wrong with it
    except RecursionError as error:
        raise _damaged(path, "its manifest is nested too deeply") from error
    if isinstance(version, int) and version > FORMAT:
        raise IndoorError(
            f"{path} has checkpoint format {version}, expected at most {FORMAT}: "
            "a newer indoor wrote it; update indoor"
        )
    manifest = from_json(text, CheckpointManifest, str(path))
    if manifest.format != 1 and not _SEAL.search(text):
        raise _damaged(path, f"format {manifest.format} without the hash of its content")
    return manifest


def _no_manifest(path: Path) -> IndoorError:
    return IndoorError(
        f"{path} has no manifest: it is weights alone, not a checkpoint of indoor's; "
        "pass it as --weights"
    )


def _damaged(path: Path, what: str) -> IndoorError:
    return IndoorError(
        f"{path} is damaged ({what}), expected a whole safetensors file; copy or make it again"
    )


def _too_large(path: Path, what: str, most: str) -> IndoorError:
    return IndoorError(f"{path} {what}, expected {most} at most; give weights of one network")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; what is wrong with it becomes an IndoorError."""
    try:
        # pread and not mmap: mapped pages count as resident memory beside the copies, which would
        # show as the peak memory of a model.
        num_bytes = path.stat().st_size
        with path.open("rb") as start:
            header_bytes = int.from_bytes(start.read(8), "little")
        if num_bytes > _MOST_BYTES or _MOST_HEADER_BYTES < header_bytes < num_bytes:
            raise _too_large(
                path,
                f"holds {num_bytes:,} bytes and names its tensors in {header_bytes:,}",
                f"{_MOST_BYTES:,} and {_MOST_HEADER_BYTES:,}",
            )
        with safe_open(path, framework="pt", backend="pread") as file:
            if (num_tensors := len(file.keys())) > _MOST_TENSORS:
                raise _too_large(path, f"holds {num_tensors:,} tensors", f"{_MOST_TENSORS:,}")
            yield file
    except (SafetensorError, OSError) as error:
        raise _damaged(path, " ".join(str(error).split())) from error
