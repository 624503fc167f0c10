"""Files written whole or not at all, packed or plain; hashes that are remembered."""

import errno
import gzip
import hashlib
import os
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal

from indoor.errors import IndoorError

_GZIP = b"\x1f\x8b"
"""What every packed file begins with, and no JSON."""

_MAX_FACTS = 200_000
"""Facts that the memory holds before its older half is forgotten: 25 MB of text."""


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
        raise write_failure(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def write_failure(path: Path, error: OSError) -> IndoorError:
    """Return in one line that a file or folder could not be written."""
    return IndoorError(
        f"cannot write {path}: {error.strerror or error}; "
        "expected a folder with write permission and free space; choose another place"
    )


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove the temporary files of writes that a kill cut short, of all files or of that name.

    Call it only where nobody writes: a write in progress has such a file, too.
    """
    for leftover in folder.glob(f".{name}.*.tmp"):
        with suppress(OSError):
            leftover.unlink()


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


def check_new_file(path: Path, *, option: str) -> None:
    """Find out that a file cannot be written there before minutes are spent on what it is to hold.

    Nothing is made here, a missing folder neither.

    Raises:
        IndoorError: It is a folder, or nothing can be written; the line begins with the option.
    """
    whole = path.absolute()
    # A link to nowhere counts as there: no folder can be made in its place.
    folder = next(one for one in (*whole.parents, whole) if os.path.lexists(one))
    try:
        if whole.is_dir():
            raise IndoorError(f"{option} {path}: it is a folder; expected a file's name; add one")
        tempfile.NamedTemporaryFile(prefix=f".{whole.name}.", suffix=".tmp", dir=folder).close()
    except OSError as error:
        raise IndoorError(
            f"{option} {path}: nothing can be written to {folder} ({error.strerror or error}); "
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
    return hash_of_file(path, "sha256")


def hash_of_file(path: Path, algorithm: Literal["sha1", "sha256"]) -> str:
    """Return a hash of the file's content as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def remembered_sha256(path: Path) -> str:
    """Return `sha256_of_file(path)`, computed once for each state of the file.

    The answer is remembered across processes for as long as device, inode, size, mtime and ctime
    stay the same.

    Raises:
        OSError: The file cannot be read.
    """
    key = file_key(path, "sha256")
    known = recall(key)
    if known is None:
        known = sha256_of_file(path)
        remember(key, known, path)
    return known


def file_key(path: Path, what: str) -> str | None:
    """Return the name under which `what` is known of this state of a file.

    Returns:
        None where the file was written a moment ago: its next version could have the same times,
        so nothing may be remembered of this one.

    Raises:
        OSError: There is no such file.
    """
    about = path.stat()
    # Kernels stamp files by their tick (10 ms at most); some file systems keep whole seconds.
    tick_ns = 50_000_000 if about.st_mtime_ns % 1_000_000_000 else 2_500_000_000
    if time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) < tick_ns:
        return None
    numbers = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return f"{what}:{'-'.join(map(str, numbers))}"


def recall(key: str | None) -> str | None:
    """Return what this or an earlier process remembered under the key; None: nothing."""
    return None if key is None else _MEMORY.facts().get(key)


def remember(key: str | None, value: str, path: Path | None = None) -> None:
    """Remember a fact across processes, or for this one where the store cannot be written.

    Args:
        key: Without spaces; nothing is remembered under None.
        value: One line of text.
        path: The file that the fact is of. Where it changed since `file_key` made the key,
            nothing is remembered.
    """
    if key is not None and (path is None or file_key(path, key.partition(":")[0]) == key):
        _MEMORY.add(key, value)


class _Memory:
    """Facts by key, in a text that processes append lines to.

    A line carries its own checksum, so what is cut off, torn by another writer or damaged is
    skipped. A fact that is lost is found out again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[str, str] | None = None
        self._path: Path | None = None

    def facts(self) -> dict[str, str]:
        """Return the facts, which the first call reads."""
        with self._lock:
            path = _memory_path()
            if self._facts is None or path != self._path:
                self._path, self._facts = path, _read_facts(path)
            return self._facts

    def add(self, key: str, value: str) -> None:
        """Keep a fact; a place that cannot be written to costs the other processes only."""
        self.facts()[key] = value
        with suppress(OSError), self._lock:
            path = _memory_path()
            path.parent.mkdir(parents=True, exist_ok=True)
            # One unbuffered write: lines that processes append side by side stay whole.
            with path.open("ab", buffering=0) as file:
                file.write(_fact_line(key, value))


_MEMORY = _Memory()


def _memory_path() -> Path:
    told = os.environ.get
    return _memory_path_in(told("INDOOR_CACHE"), told("XDG_CACHE_HOME"), told("HOME"))


@lru_cache(maxsize=1)  # asked once a photograph
def _memory_path_in(folder: str | None, _xdg: str | None, _home: str | None) -> Path:
    if not folder:
        import platformdirs

        folder = platformdirs.user_cache_dir("indoor")
    return Path(folder) / "facts-1.txt"


def checked_line(text: bytes) -> bytes:
    """Return a text without line breaks as a line that carries its own checksum."""
    return b"%08x %s\n" % (zlib.crc32(text), text)


def checked_lines(data: bytes) -> Iterator[bytes | None]:
    """Yield the text of each line of `checked_line`; None for one that was cut off or damaged."""
    for line in data.removesuffix(b"\n").split(b"\n"):
        checksum, _, text = line.partition(b" ")
        yield text if checksum == b"%08x" % zlib.crc32(text) else None


def _read_facts(path: Path) -> dict[str, str]:
    try:
        lines = tuple(checked_lines(path.read_bytes()))
    except OSError:
        return {}
    facts: dict[str, str] = {}
    for fact in lines:
        if fact is not None:
            key, _, value = fact.decode().partition(" ")
            facts[key] = value
    if len(lines) > _MAX_FACTS:
        facts = dict(list(facts.items())[-_MAX_FACTS // 2 :])
        with suppress(IndoorError):
            write_bytes(path, b"".join(_fact_line(*fact) for fact in facts.items()))
    return facts


def _fact_line(key: str, value: str) -> bytes:
    return checked_line(f"{key} {value}".encode())


def _umask() -> int:
    """Return the process's umask (mkstemp makes files that only their owner can read)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
