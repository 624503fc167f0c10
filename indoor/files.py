"""Files written whole or not at all, packed or plain; hashes that are remembered."""

import errno
import fcntl
import glob
import gzip
import hashlib
import io
import os
import shutil
import stat
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

MOST_BYTES = 100_000_000
"""What is read of a file of records or results, unpacked: a hundred times the largest of ours."""

_UNUSABLE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}
"""What is answered to any question about a path: a user's to mend, whoever asks."""

_PIPE_WAIT_S = 5.0
"""For somebody who writes to a pipe; without one, reading would never end."""

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
    lock: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        temporary, lock = _locked_temporary(path, is_folder=False)
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
        if lock is not None:
            os.close(lock)


@contextmanager
def new_folder(path: Path, *, replaces: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place when the block ends well.

    Args:
        path: The folder to make: not there, or empty. Missing parent folders are made.
        replaces: Whether it may hold something, which is removed at the end.

    Yields:
        An empty folder that everybody may read. After an exception it is removed with all in it.

    Raises:
        OSError: The parent cannot be written to, or something has taken the place meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary, lock = _locked_temporary(path, is_folder=True)
    before = temporary.with_suffix(".before.tmp")
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if replaces and path.exists():
            path.rename(before)
        temporary.rename(path)
    finally:
        shutil.rmtree(before, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


def write_failure(path: Path, error: OSError) -> IndoorError:
    """Return in one line that a file or folder could not be written."""
    return IndoorError(
        f"cannot write {path}: {error.strerror or error}; "
        "expected a folder with write permission and free space; choose another place"
    )


def path_failure(error: OSError) -> str | None:
    """Return in one line why nobody can look at a path; None where the path is not to blame."""
    if error.errno not in _UNUSABLE or error.filename is None:
        return None
    return (
        f"{error.filename}: {error.strerror}; expected a path that can be opened; check its name "
        "and its folders' permissions"
    )


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove what writes left that a kill cut short: of all files and folders, or of that name.

    What is being written stays: its writer holds a lock on it, which dies with the writer.
    """
    pattern = name if name == "*" else glob.escape(name)
    for leftover in folder.glob(f".{pattern}.*.tmp"):
        with suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()
            finally:
                os.close(descriptor)


def _locked_temporary(path: Path, *, is_folder: bool) -> tuple[Path, int]:
    """Make a temporary file or folder beside `path` that nobody else takes for a leftover.

    Returns:
        Its path, and the descriptor that holds the lock until it is closed.
    """
    names = (".tmp", f".{path.name}.", path.parent)
    while True:
        if is_folder:
            made = tempfile.mkdtemp(*names)
            try:
                descriptor = os.open(made, os.O_RDONLY)
            except FileNotFoundError:
                continue  # as below
        else:
            descriptor, made = tempfile.mkstemp(*names)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.lexists(made)
        except BlockingIOError:  # somebody takes it for a leftover, as it was not locked yet
            is_ours = False
        except OSError:  # a file system without locks: there, nobody removes anything either
            is_ours = True
        if is_ours:
            return Path(made), descriptor
        os.close(descriptor)


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


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the file's content, unpacked where gzip packed it; the name plays no part.

    Raises:
        OSError: As in `read_limited`, also of what it unpacks to; or what gzip packed is damaged.
    """
    data = read_limited(path, most)
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as packed:
            data = packed.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise OSError(errno.EIO, f"what gzip packed is damaged ({error})", str(path)) from error
    if len(data) > most:
        raise _too_long(path, "unpacks to more", most)
    return data


def read_limited(path: Path, most: int) -> bytes:
    """Return what a file or a pipe holds, where that is no more than can be meant.

    Args:
        path: The file.
        most: Bytes.

    Raises:
        OSError: It cannot be read, is neither file nor pipe, nobody writes to the pipe, or it
            holds more than `most`.
    """
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        about = os.fstat(descriptor)
        if stat.S_ISDIR(about.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not (stat.S_ISREG(about.st_mode) or stat.S_ISFIFO(about.st_mode)):
            raise OSError(errno.EINVAL, "it is neither a file nor a pipe", str(path))
        if about.st_size > most:
            raise _too_long(path, f"holds {about.st_size:,}", most)
        data = _first_of_pipe(descriptor, path) if stat.S_ISFIFO(about.st_mode) else b""
        with open(descriptor, "rb", closefd=False) as file:
            # A file's size is known, but for those of the system.
            data += file.read() if about.st_size else file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise _too_long(path, "holds more", most)
    return data


def _first_of_pipe(descriptor: int, path: Path) -> bytes:
    """Return what there is to read already; give up where nobody holds the other end."""
    deadline = time.monotonic() + _PIPE_WAIT_S
    found = b""
    with suppress(BlockingIOError):  # somebody is going to write
        while not (found := os.read(descriptor, 1 << 16)):
            if time.monotonic() > deadline:
                raise OSError(errno.ETIMEDOUT, "it is a pipe that nobody writes to", str(path))
            time.sleep(0.05)
    os.set_blocking(descriptor, True)
    return found


def _too_long(path: Path, what: str, most: int) -> OSError:
    reason = f"it {what} bytes, and {most:,} are read at most"
    return OSError(errno.EFBIG, reason, str(path))


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
