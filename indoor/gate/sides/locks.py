"""Locks that die with their process: one measuring gate a machine and user, one owner a tree."""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from indoor.errors import IndoorError

_POLL_S = 0.5
"""Between two looks at a lock; a waiting gate must not disturb the one that measures."""


@contextmanager
def machine_lock(wait_s: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the right to measure: two gates at once would time each other.

    The lock is a file in the folder of temporary files that names the user. XDG_RUNTIME_DIR is not
    used, since a login, cron and a CI runner of one user have different ones or none.

    Args:
        wait_s: How long to wait for another gate of this user to end; 0 or more.
        say: Gets one line when the wait begins.

    Raises:
        IndoorError: Another gate still measures after `wait_s`, or the file cannot be written.
    """
    path = Path(tempfile.gettempdir()) / f"indoor-gate-{os.getuid()}.lock"
    deadline = time.monotonic() + wait_s
    waiting = False
    while (descriptor := _take(path)) is None:
        owner = _owner(path)
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise IndoorError(
                f"another gate ({owner}) measures on this machine and had not ended after "
                f"{wait_s:.0f} s; expected one at a time, since they would time each other; wait "
                "for it or end it"
            )
        if not waiting:
            waiting = True
            say(f"waiting up to {wait_s:.0f} s for another gate on this machine ({owner}) to end")
        time.sleep(min(_POLL_S, left_s))
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def take_lock(path: Path) -> int | None:
    """Take the lock on a file, which is made where it is missing.

    Returns:
        A descriptor: the lock is held until it is closed or the process ends, however it ends.
        None where another process, or another descriptor of this one, holds the lock.

    Raises:
        OSError: The file cannot be opened, or its file system knows no locks.
    """
    # Python's descriptors are not inherited: a worker that outlives its controller keeps no lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _take(path: Path) -> int | None:
    try:
        return take_lock(path)
    except OSError as error:
        raise IndoorError(
            f"cannot lock {path}: {error.strerror or error}; expected a file of your own on a "
            "local disk; remove it, or set TMPDIR to a folder of your own"
        ) from error


def _owner(path: Path) -> str:
    """Return who holds the lock, in words; the owner may be about to write or remove its number."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return "process unknown"
    return f"process {text}" if text.isdigit() else "process unknown"
