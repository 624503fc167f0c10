"""Files written whole or not at all, packed or plain, and the hashes of their content."""

import errno
import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from indoor.errors import IndoorError

_GZIP = b"\x1f\x8b"
"""What every packed file begins with, and no JSON."""


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well.

    Args:
        path: The file to write; missing parent folders are made.

    Yields:
        A path in the same folder, which the block writes to. After an exception it is removed and
        `path` is as it was before.

    Raises:
        IndoorError: The folder cannot be written to, or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise IndoorError(
            f"cannot write {path}: {error.strerror or error}; "
            "expected a folder with write permission and free space; choose another place"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def check_writable(folder: Path) -> None:
    """Find out that nothing can be written before anything is measured; make the folder.

    Raises:
        IndoorError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise IndoorError(
            f"cannot write into {folder}: {error.strerror or error}; "
            "expected a folder with write permission and free space; choose another place"
        ) from error


def read_bytes(path: Path) -> bytes:
    """Return the file's content, unpacked where gzip packed it; the name plays no part.

    Raises:
        OSError: It cannot be read, or what gzip packed is damaged.
    """
    data = path.read_bytes()
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(errno.EIO, f"what gzip packed is damaged ({error})", str(path)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all.

    Where the name ends in `.gz` it is packed; the same data gives the same bytes.
    """
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    with replace_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of the file's content as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    """Return the process's umask (mkstemp makes files that only their owner can read)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
