"""The checkpoint file: named tensors and a JSON manifest in one safetensors file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from indoor.errors import IndoorError
from indoor.files import write_bytes
from indoor.records import CheckpointManifest, from_json, to_json

FORMAT = 1
"""The version of the checkpoint file, `CheckpointManifest.format`."""

_KEY = "indoor"
"""The manifest's place in safetensors' metadata, which maps strings to strings."""

_MAXIMUM_HEADER_BYTES = 100_000_000
"""What safetensors itself allows for a header."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], manifest: CheckpointManifest) -> None:
    """Write a checkpoint file, whole or not at all; the same content gives the same bytes.

    Args:
        path: The file; an existing one is replaced.
        tensors: Dense CPU tensors of dtypes that safetensors knows (no quantized ones).
        manifest: What the file says of itself.

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
    metadata = {_KEY: to_json(manifest).decode("utf-8")}
    write_bytes(path, safetensors.torch.save(plain, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], CheckpointManifest]:
    """Read a file that `write_tensors` wrote; nothing in it is executed.

    Args:
        path: The file.

    Returns:
        The tensors, in memory of their own (the file may be replaced at once), and the manifest.

    Raises:
        IndoorError: There is no such file, or it is not whole, not a checkpoint of this project,
            or of a newer format.
    """
    manifest = read_manifest(path)
    return read_plain_tensors(path), manifest


def read_manifest(path: Path) -> CheckpointManifest:
    """Read what a checkpoint says of itself, without its tensors; errors as in `read_tensors`."""
    manifest = read_metadata(path) if identify_kind(path) == "safetensors" else None
    if manifest is None:
        raise IndoorError(
            f"{path} has no manifest: it is weights alone, not a checkpoint of indoor's; "
            "pass it as --weights"
        )
    return manifest


def read_metadata(path: Path) -> CheckpointManifest | None:
    """Return the manifest of a safetensors file, None where somebody else wrote the file."""
    with _opened(path) as file:
        text = (file.metadata() or {}).get(_KEY)
    if text is None:
        return None
    try:
        version = msgspec.json.decode(text)["format"]
    except (msgspec.MsgspecError, KeyError, TypeError):
        version = None  # from_json below says what is wrong with it
    if isinstance(version, int) and version > FORMAT:
        raise IndoorError(
            f"{path} has checkpoint format {version}, expected at most {FORMAT}: "
            "a newer indoor wrote it; update indoor"
        )
    return from_json(text, CheckpointManifest, str(path))


def read_plain_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of any safetensors file, in memory of their own."""
    with _opened(path) as file:
        return {
            # A clone has the 64-byte alignment that torch gives its own tensors.
            name: file.get_tensor(name).clone(memory_format=torch.contiguous_format)
            for name in file.keys()  # noqa: SIM118 (not a dict, it cannot be iterated)
        }


def identify_kind(path: Path) -> Literal["safetensors", "torch"]:
    """Tell a file of weights by its first bytes, since names (`.pt`, `.bin`) are no evidence.

    Raises:
        IndoorError: There is no such file, it cannot be read, or it is neither.
    """
    try:
        if path.is_dir():
            raise IndoorError(f"{path} is a folder, expected a file of weights; name one inside it")
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError as error:
        raise IndoorError(
            f"there is no file {path}, expected weights (.safetensors, .pt or .pth); check the path"
        ) from error
    except OSError as error:
        raise IndoorError(
            f"cannot read {path}: {error.strerror}, expected a file of weights; check the path"
        ) from error
    if size == 0:
        raise IndoorError(f"{path} is empty, expected a file of weights; copy or make it again")
    # safetensors first: the length of its header may well begin with a pickle's byte.
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _MAXIMUM_HEADER_BYTES:
        return "safetensors"
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        return "torch"
    raise IndoorError(
        f"{path} holds no weights, expected a safetensors file or one of torch.save; "
        "choose another file"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; what is wrong with it becomes an IndoorError."""
    try:
        # pread and not mmap: mapped pages count as resident memory beside the copies, which would
        # show as the peak memory of a model.
        with safe_open(path, framework="pt", backend="pread") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise IndoorError(
            f"{path} is damaged ({' '.join(str(error).split())}), expected a whole safetensors "
            "file; copy or make it again"
        ) from error
