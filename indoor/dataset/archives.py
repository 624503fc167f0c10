"""Archives of strangers (tar, tar.gz, zip) read as data: nothing leaves its place or its bounds."""

import gzip
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from indoor.dataset.findings import visible
from indoor.dataset.folders import has_ending
from indoor.errors import IndoorError

MAX_ENTRIES = 60_000
"""Files and folders together: MIT Indoor-67 has 15,620 photographs, a copy with masks 47,000."""

MAX_FILE_BYTES = 100 << 20
"""Of one photograph."""

MAX_BYTES = 8 << 30
"""Of all files together, unpacked: MIT Indoor-67 has 2.4 GB."""

MAX_PACKING = 20
"""How much larger files may be than their archive: photographs hardly become smaller."""

_MAX_FREE_BYTES = 64 << 20
"""So much may be packed as well as it likes."""

_MAX_READ_BYTES = 8 << 20
"""What may be read at once: a header of tar, or zip's whole table of 60,000 entries."""

_CHUNK_BYTES = 1 << 20

_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ArithmeticError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What a damaged archive ends with, depending on the byte; RecursionError is a RuntimeError."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A file in an archive; `name` has `/` between folders, and leads nowhere outside."""

    archive: Path
    name: str
    size_bytes: int
    opened: Callable[[], IO[bytes]]


def read_archive(path: Path) -> Iterator[Entry]:
    """Yield the files of an archive, in its order; each is to be read before the next.

    The kind is told by the content. Folders are passed over.

    Raises:
        IndoorError: It cannot be read, is no tar (packed by gzip or not) or zip, is damaged or cut
            off, leads outside, holds links, devices or sparse files, or is absurdly large, in one
            file or in all.
    """
    check_archive(path)
    with path.open("rb") as file, _told(path):
        packed_bytes = path.stat().st_size
        total = 0
        for number, (name, kind, size, opened) in enumerate(_entries(path, file), start=1):
            total += size
            if number > MAX_ENTRIES:
                raise _refused(path, f"holds more than {MAX_ENTRIES:,} files and folders")
            if problem := _problem(name, kind, size):
                raise _refused(path, f"holds {visible(name[:200])}, {problem}")
            if total > MAX_BYTES:
                raise _refused(path, f"unpacks to more than {MAX_BYTES:,} bytes")
            if total > MAX_PACKING * packed_bytes + _MAX_FREE_BYTES:
                raise _refused(path, f"unpacks to more than {MAX_PACKING} times its size")
            if kind == "file":
                plain = "/".join(part for part in _parts(name) if part not in ("", "."))
                yield Entry(archive=path, name=plain, size_bytes=size, opened=opened)


def check_archive(path: Path) -> None:
    """Find out that there is a file that can be read, and no pipe or device that never ends.

    Raises:
        IndoorError: There is none.
    """
    if not path.exists():
        what = "there is no such file"
    elif not path.is_file():
        what = "it is no file"
    elif not os.access(path, os.R_OK):
        what = "it may not be read"
    else:
        return
    raise IndoorError(f"{path}: {what}; expected an archive (tar, tar.gz or zip); check the path")


def read_entry(entry: Entry) -> Iterator[bytes]:
    """Yield the content of a file in an archive, in pieces.

    Raises:
        IndoorError: It is damaged, or not as long as the archive says.
    """
    num_bytes = 0
    with _told(entry.archive), entry.opened() as file:
        while chunk := file.read(_CHUNK_BYTES):
            num_bytes += len(chunk)
            yield chunk
        if num_bytes != entry.size_bytes:
            raise EOFError(f"{entry.name} has {num_bytes:,} of {entry.size_bytes:,} bytes")


_Found = tuple[str, str, int, Callable[[], IO[bytes]]]
"""An entry as it stands in the archive: its name, kind and size, and what opens it."""


def _entries(path: Path, file: IO[bytes]) -> Iterator[_Found]:
    start = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield from _zip_entries(file)
    elif start.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield from _tar_entries(unpacked)
            _read_to_the_end(unpacked)
    elif _is_tar(start):
        yield from _tar_entries(file)
    else:
        text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
        what = "is a web page" if text.startswith(b"<") else "is none of these"
        raise IndoorError(
            f"{path} {what if start else 'is empty'}; expected an archive (tar, tar.gz or zip) of "
            "photographs; get the archive itself"
        )


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _tar_entries(file: IO[bytes] | gzip.GzipFile) -> Iterator[_Found]:
    guarded: Any = _Guarded(file)
    with tarfile.open(fileobj=guarded, mode="r:") as archive:
        while (member := archive.next()) is not None:
            if member.isdir():
                kind = "folder"
            elif member.issym() or member.islnk():
                kind = "link"
            elif not member.isreg():
                kind = "device"
            else:
                kind = "sparse file" if member.issparse() else "file"
            yield member.name, kind, member.size, partial(_open_member, archive, member)
    # tarfile takes a header that is damaged, or cut off, for the end.
    if guarded.last != bytes(tarfile.BLOCKSIZE):
        raise EOFError("it ends without an end mark")


def _read_to_the_end(unpacked: gzip.GzipFile) -> None:
    """Read what is left behind the end mark, so that gzip compares its checksum."""
    for _ in range(_MAX_FREE_BYTES // _CHUNK_BYTES):
        if not unpacked.read(_CHUNK_BYTES):
            return
    raise EOFError(f"it goes on for more than {_MAX_FREE_BYTES:,} bytes behind its end mark")


def _open_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None
    return file


def _zip_entries(file: IO[bytes]) -> Iterator[_Found]:
    guarded: Any = _Guarded(file)
    with zipfile.ZipFile(guarded) as archive:
        for info in archive.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or mode == stat.S_IFDIR:
                kind = "folder"
            elif mode == stat.S_IFLNK:
                kind = "link"
            else:
                kind = "file" if mode in (0, stat.S_IFREG) else "device"
            yield info.filename, kind, info.file_size, partial(archive.open, info)


class _Guarded:
    """A file that refuses to be read in one piece of more than 8 MiB, and knows the last piece.

    The length of a tar's extended header, and that of zip's table, are whatever the archive says;
    both modules read them at once.
    """

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self.last = b""

    def read(self, size: int | None = -1) -> bytes:
        limit = _MAX_READ_BYTES + 1
        self.last = self._file.read(limit if size is None or size < 0 else min(size, limit))
        if len(self.last) > _MAX_READ_BYTES:
            raise ValueError(f"a header of more than {_MAX_READ_BYTES:,} bytes")
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _problem(name: str, kind: str, size: int) -> str:
    """Return what forbids an entry; empty where nothing does."""
    if ".." in _parts(name) or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[/\\]", name):
        return "which leads outside"
    if kind not in ("file", "folder"):
        return f"a {kind}"
    if size < 0 or (size > MAX_FILE_BYTES and has_ending(name)):
        return f"a photograph of {size:,} bytes"
    return ""


def _parts(name: str) -> list[str]:
    return re.split(r"[/\\]", name)


def _refused(path: Path, what: str) -> IndoorError:
    return IndoorError(
        f"{path} {what}; expected the photographs of a data set and nothing else; "
        "nothing of it was used: get another copy"
    )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell in one line what reading an archive ends with."""
    try:
        yield
    except _UNREADABLE as error:
        what = " ".join(visible(str(error) or type(error).__name__).split())
        raise IndoorError(
            f"{path} is damaged or cut off ({what}); expected a whole archive (tar, tar.gz or "
            "zip); get it again"
        ) from error
