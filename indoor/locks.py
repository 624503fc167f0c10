"""Locks that die with their process, and what whoever waits for one is told."""

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from indoor.errors import IndoorError

_POLL_S = 0.5
"""Between two looks at a lock; whoever waits must not disturb one that measures."""

_REMIND_S = 60.0

_LOCKS = Path("/tmp")  # noqa: S108 - TMPDIR differs between a shell, cron and CI of one user
LOCKS_FOLDER = "INDOOR_GATE_LOCKS"
"""The variable that names another folder: gates that are bound to CPUs of their own."""


@contextmanager
def machine_lock(wait_s: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the right to measure: two gates at once would time each other.

    The lock is a file in /tmp that names the user. A login, cron and a CI runner of one user may
    have different TMPDIR and XDG_RUNTIME_DIR, or none.

    Args:
        wait_s: How long to wait for another gate of this user to end; 0 or more.
        say: Gets a line when the wait begins, and one a minute.

    Raises:
        IndoorError: Another gate still measures after `wait_s`, or the file cannot be written.
        OSError: The disk is full.
    """
    path = Path(os.environ.get(LOCKS_FOLDER) or _LOCKS) / f"indoor-gate-{os.getuid()}.lock"
    try:
        descriptor = wait_for_lock(path, "another gate on this machine", say, wait_s)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise  # no mistake in the call: the gate says that the machine cannot go on
        raise IndoorError(
            f"cannot lock {path}: {error.strerror or error}; expected a file of your own on a "
            f"local disk; remove it, or set {LOCKS_FOLDER} to a folder of your own"
        ) from error
    if descriptor is None:
        raise IndoorError(
            f"another gate ({lock_owner(path)}) measures on this machine and had not ended after "
            f"{wait_s:.0f} s; expected one at a time, since they would time each other; wait "
            "for it or end it"
        )
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked(
    path: Path,
    holder: str,
    *,
    wait_s: float | None = None,
    busy: str = "",
    say: Callable[[str], None] = lambda _: None,
    cannot: str = "",
    remedy: str = "choose another",
) -> Iterator[None]:
    """Hold a lock file, so that one process at a time does what it stands for.

    Args:
        path: The lock's file; missing parent folders are made.
        holder: What holds it meanwhile, for `say`.
        wait_s: How long to wait for that; None for as long as it takes.
        busy: The error after that time.
        say: Hears for whom there is to wait.
        cannot: What failed where the lock cannot be made, such as `write to`.
        remedy: What to do about that.

    Raises:
        IndoorError: It is held for too long, or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = wait_for_lock(path, holder, say, wait_s)
    except OSError as error:
        cannot = cannot or ("write to" if path.parent.is_dir() else "make the folder")
        raise IndoorError(
            f"cannot {cannot} {path.parent}: {error.strerror or error}; expected a place with "
            f"write permission; {remedy}"
        ) from error
    if descriptor is None:
        raise IndoorError(busy)
    try:
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
    # Python's descriptors are not inherited: a child that outlives its parent keeps no lock.
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


def wait_for_lock(
    path: Path, holder: str, say: Callable[[str], None], wait_s: float | None = None
) -> int | None:
    """Take the lock as `take_lock` does, and wait for whoever holds it, telling for whom.

    Args:
        path: The file. Its owner's process number stands in it.
        holder: What holds it meanwhile, such as `another gate on this machine`.
        say: Gets a line when the wait begins, and one a minute.
        wait_s: How long to wait; None for as long as it takes.

    Returns:
        None where it is still held after `wait_s`.
    """
    began = told = time.monotonic()
    waits = False
    while (descriptor := take_lock(path)) is None:
        now = time.monotonic()
        left_s = _POLL_S if wait_s is None else began + wait_s - now
        if left_s <= 0:
            return None
        if not waits:
            limit = "" if wait_s is None else f"up to {wait_s:.0f} s "
            say(f"waiting {limit}for {holder} ({lock_owner(path)}) to end")
            waits = True
        elif now - told >= _REMIND_S:
            say(f"still waiting, since {now - began:.0f} s, for {holder} ({lock_owner(path)})")
            told = now
        time.sleep(min(_POLL_S, left_s))
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def lock_owner(path: Path) -> str:
    """Return who holds the lock, in words; the owner may be about to write or remove its number."""
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return "process unknown"
    return f"process {text}" if text.isdigit() else "process unknown"
