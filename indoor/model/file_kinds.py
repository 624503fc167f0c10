"""What a file is that is given as weights, told by its content; names are no evidence."""

import re
import shlex
from pathlib import Path
from typing import Literal

from indoor.errors import IndoorError
from indoor.model.torch_files import UNREADABLE, find_pickle, open_archive

_MAXIMUM_HEADER_BYTES = 100_000_000
"""What safetensors itself allows for a header."""

_TORCH_BEFORE_PROTOCOL_2 = b"L119547037"
"""The start of the number that torch's older format begins with, in the text of protocol 0."""

_PLAIN_PICKLE = re.compile(rb"\((dp?|lp?)\d*\n|[}\]]q.|c[A-Za-z_][\w.]*\n\w+\n[(pq]", re.DOTALL)
"""The start of a pickle of protocol 0 or 1: a dict, a list, or the name of a class."""

_STARTS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"version https://git-lfs", "a git-LFS pointer, not the file itself", "run git lfs pull"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", "choose weights of torch"),
    (0, b"GGUF", "a GGUF file", "choose weights of torch"),
    (4, b"TFL3", "a TensorFlow Lite model", "choose weights of torch"),
    (0, b"\x93NUMPY", "a numpy array", "choose weights of torch"),
    (0, b"\x1f\x8b", "packed by gzip", "unpack it (gunzip, or tar xzf)"),
    (0, b"BZh", "packed by bzip2", "unpack it (bunzip2, or tar xjf)"),
    (0, b"\xfd7zXZ\0", "packed by xz", "unpack it (unxz, or tar xJf)"),
    (0, b"\x28\xb5\x2f\xfd", "packed by zstd", "unpack it (unzstd)"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and name the file inside"),
    (0, b"Rar!", "a RAR archive", "unpack it and name the file inside"),
    (257, b"ustar", "a tar archive", "unpack it (tar xf) and name the file inside"),
    (0, b"%PDF", "a PDF", "choose another file"),
)
"""Place, bytes, what the file is, the remedy."""


def identify_kind(path: Path) -> Literal["safetensors", "torch"]:
    """Tell a file of weights by its content.

    Raises:
        IndoorError: There is no such file, it cannot be read, or it is neither: it says what the
            file is, if that is known.
    """
    try:
        if path.is_dir():
            raise IndoorError(f"{path} is a folder, expected a file of weights; name one inside it")
        if path.exists() and not path.is_file():
            raise IndoorError(
                f"{path} is a pipe or a device, expected a file of weights, which is not read from "
                "its beginning to its end; save it to a file first"
            )
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError as error:
        raise IndoorError(
            f"there is no file {path}, expected weights (.safetensors, .pt or .pth); check the path"
        ) from error
    except OSError as error:
        raise IndoorError(
            f"cannot read {path}: {error.strerror}, expected a file of weights; check the path"
        ) from error
    if not start:
        raise IndoorError(f"{path} is empty, expected a file of weights; copy or make it again")
    # safetensors first: the length of its header may well begin with a pickle's byte.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _MAXIMUM_HEADER_BYTES:
        return "safetensors"
    if start.startswith(b"PK\x03\x04"):
        _check_archive(path)
        return "torch"
    if _PLAIN_PICKLE.match(start):
        return "torch"
    # TensorFlow Lite begins with an offset, which may be a pickle's byte.
    if start.startswith((b"\x80", _TORCH_BEFORE_PROTOCOL_2)) and start[4:8] != b"TFL3":
        return "torch"
    what, remedy = _name(path, start)
    raise IndoorError(f"{path} {what}, expected a safetensors file or one of torch.save; {remedy}")


def convert(path: Path, code: str) -> str:
    """Return a command line that writes the weights in a file as a state dict of their own.

    Args:
        path: The file.
        code: Python in which OLD and NEW stand for the names of this file and of the new one.
    """
    new = path.with_name(f"{path.stem}-weights.pt")
    code = code.replace("OLD", repr(str(path))).replace("NEW", repr(str(new)))
    return f"python -c {shlex.quote(f'import torch; {code}')}"


def _name(path: Path, start: bytes) -> tuple[str, str]:
    """Return what a file of another kind is, and the remedy."""
    for place, magic, what, remedy in _STARTS:
        if start[place:].startswith(magic):
            return f"is {what}", remedy
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "is a web page, saved in place of the file", "download the file itself"
    if text.startswith((b"{", b"[")):
        with path.open("rb") as file:
            beginning = file.read(1 << 20)
        if b'"weight_map"' in beginning:
            return (
                "is the index of weights in several files (safetensors shards)",
                "put them into one file where they were made",
            )
        return "holds no weights, but JSON", "choose the file that lies beside it"
    # A protobuf whose first field is the version of ONNX's format, the second its producer.
    if start[:1] == b"\x08" and start[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a", b"\x42"):
        return "is an ONNX model", "save the state dict of the network that it was exported from"
    return "holds no weights", "choose another file"


def _check_archive(path: Path) -> None:
    """Refuse a zip archive that is whole and not one of torch.save."""
    try:
        with path.open("rb") as file, open_archive(file) as archive:
            names = archive.namelist()
    except UNREADABLE:
        return  # cut off, as its reader finds out
    if any(name.endswith("constants.pkl") for name in names):
        code = "torch.save(torch.jit.load(OLD, map_location='cpu').state_dict(), NEW)"
        raise IndoorError(
            f"{path} is a TorchScript archive, which is code, expected weights alone; "
            f"where you trust it: {convert(path, code)}"
        )
    if any("exported_program" in name or name.endswith("archive_format") for name in names):
        code = "torch.save(dict(torch.export.load(OLD).state_dict), NEW)"
        raise IndoorError(
            f"{path} is a program of torch.export, expected weights alone; "
            f"where you trust it: {convert(path, code)}"
        )
    if find_pickle(names) is not None:
        return
    if names and all(name.endswith(".npy") for name in names):
        what, remedy = "an archive of numpy arrays", "save the weights with torch.save"
    elif any(name.endswith(".weights.h5") for name in names):
        what, remedy = "a Keras model", "choose weights of torch"
    else:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        what = f"a zip archive of {len(names)} files ({shown})"
        remedy = "unpack it and name the file inside"
    raise IndoorError(
        f"{path} is {what}, expected a safetensors file or one of torch.save; {remedy}"
    )
