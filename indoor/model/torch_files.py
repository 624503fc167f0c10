"""Files of torch.save and of pickle: the zip archive of today, and the format of before 1.6."""

import mmap
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from indoor.model.inert import Budget, InertUnpickler

UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What reading a damaged file, or one of another kind, ends with, depending on the byte."""

_MAGIC = 0x1950A86A20F9469CFC6C
"""What a file of torch.save from before 1.6 begins with, as a pickled number."""

_MAX_UNPACKED = 16_000_000
"""Bytes that something may unpack to if it is packed to less than a twentieth."""

_MAX_DIRECTORY = 10_000_000
"""Bytes of a zip archive's list of files; that of a network takes 50,000."""

_ZIP = b"PK\x03\x04"


def read_torch(path: Path) -> object:
    """Return what a file of torch.save, or of pickle, holds, without executing any of it.

    Args:
        path: The file.

    Returns:
        Dicts, lists, numbers, texts and dense CPU tensors, which may lie in the mapped file; an
        `inert.Placeholder` for everything else.

    Raises:
        CodeInPickle: It names a function that runs programs.
        Exception: One of `UNREADABLE`; a `zipfile.BadZipFile` where a zip archive is not whole.
    """
    budget = Budget()
    with path.open("rb") as file:
        if file.read(4) == _ZIP:
            # A private copy: torch wants to be able to write to what it is given.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            return _read_zip(content, budget)
        file.seek(0)
        return _read_stream(file, budget)


def open_archive(file: Any) -> zipfile.ZipFile:
    """Return an opened zip archive.

    Raises:
        zipfile.BadZipFile: It is none, or names so many files that their names fill the memory.
    """
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    size = end[zipfile._ECD_SIZE] if end else 0  # type: ignore[attr-defined]
    if size > _MAX_DIRECTORY:
        raise zipfile.BadZipFile(f"the names of its files take {size:,} bytes")
    return zipfile.ZipFile(file)


def find_pickle(names: list[str]) -> str | None:
    """Return the name of the pickle in a zip archive of torch.save; None in another archive."""
    found = [name for name in names if name.split("/")[1:] == ["data.pkl"] or name == "data.pkl"]
    return found[0] if found else None


def _read_zip(content: mmap.mmap | bytearray, budget: Budget) -> object:
    file: Any = BytesIO(content) if isinstance(content, bytearray) else content
    with open_archive(file) as archive:
        records = {info.filename: info for info in archive.infolist()}
    pickled = find_pickle(list(records))
    if pickled is None:
        raise pickle.UnpicklingError("it has no data.pkl")
    root = pickled.removesuffix("data.pkl")

    def record(name: str) -> memoryview:
        info = records[root + name]
        start = info.header_offset
        start += 30 + sum(struct.unpack("<HH", content[start + 26 : start + 30]))
        data = memoryview(content)[start : start + info.compress_size]
        if info.compress_type != zipfile.ZIP_STORED:
            if info.file_size > _MAX_UNPACKED and info.file_size > 20 * info.compress_size:
                raise pickle.UnpicklingError(f"{name} unpacks to {info.file_size:,} bytes")
            budget.charge(info.file_size)  # many records may share the same packed bytes
            unpacked = zlib.decompressobj(-15).decompress(data, info.file_size + 1)
            data = memoryview(bytearray(unpacked))
        # A CRC of 0: torch was told to write none.
        if len(data) != info.file_size or (info.CRC and zlib.crc32(data) != info.CRC):
            raise zipfile.BadZipFile(f"{root}{name} is not what its checksum says")
        # torch aligns to 64 bytes, other programs that write zip archives do not.
        return data if start % 16 == 0 else memoryview(bytearray(data))

    swapped = root + "byteorder" in records and bytes(record("byteorder")) == b"big"
    storages: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, num_values: int) -> Tensor:
        if key not in storages:
            data = record(f"data/{key}") if num_values else memoryview(b"")
            if swapped:
                data = np.frombuffer(data, f"u{dtype.itemsize}").byteswap().data.cast("B")
            storages[key] = _bytes(data)
        return storages[key].view(dtype)

    pickled_bytes = BytesIO(record("data.pkl"))
    return InertUnpickler(pickled_bytes, storage, _nested(budget), budget).load()


def _read_stream(file: BufferedReader | BytesIO, budget: Budget) -> object:
    """Read the format of before torch 1.6, pickles one after the other, or a plain pickle."""
    parts: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, num_values: int) -> Tensor:
        if key not in parts:
            parts[key] = torch.empty(num_values * dtype.itemsize, dtype=torch.uint8)
        return parts[key].view(dtype)

    def load() -> Any:
        return InertUnpickler(file, storage, _nested(budget), budget).load()

    content = load()
    if content != _MAGIC:
        return content
    load()  # the version
    load()  # the system
    content = load()
    unread = dict(parts)
    for key in load():
        file.read(8)  # the number of values, which is known
        part = unread.pop(str(key)).numpy().data
        if file.readinto(part) != len(part):
            raise EOFError("it ends within a tensor")
    if unread:  # their memory would be taken for weights as it is
        raise EOFError(f"it has no content for {len(unread)} of its tensors")
    return content


def _nested(budget: Budget) -> Callable[[bytes], object]:
    """Return what reads a file of torch.save that lies within another one."""

    def read(content: bytes) -> object:
        if content.startswith(_ZIP):
            return _read_zip(bytearray(content), budget)
        return _read_stream(BytesIO(content), budget)

    return read


def _bytes(data: memoryview) -> Tensor:
    """Return the bytes as a tensor, uint8 `(N,)`, over the same memory."""
    return torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
