"""A command that the processes of one job share: the first speaks, and one tells why it ended."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from indoor.cli.bar import Bar
from indoor.cli.output import tell
from indoor.devices import choose_device
from indoor.errors import INTERRUPTED, MISTAKE, IndoorError
from indoor.process_group import has_last_word, joined
from indoor.progress import NO_PROGRESS, Progress
from indoor.ranks import ALONE, Ranks, read_ranks


@contextmanager
def job(device: str) -> Iterator[Ranks]:
    """Share the block with the other ranks, where torchrun started this process; else run alone.

    Args:
        device: As `devices.choose_device` takes it.

    Raises:
        IndoorError: The block's, where it ran alone.
        SystemExit: Where a rank of a job failed: one of them has told its line by then.
    """
    found = read_ranks()
    if found is ALONE:
        yield ALONE
        return
    with _ending_with_the_job(found):
        try:
            with joined(choose_device(device)) as ranks:
                try:
                    yield ranks
                except IndoorError as error:
                    # Before the group is left, which the others take for the loss of this rank.
                    _end(error)
        except IndoorError as error:  # the group's own: somebody did not come, or is lost
            _end(error)
        except KeyboardInterrupt:  # Ctrl-C goes to all of them
            if found.is_first:
                raise
            raise SystemExit(INTERRUPTED) from None


def progress_of(ranks: Ranks) -> Progress:
    """Return the first rank's bar; those of the others would be drawn over it."""
    return Bar() if ranks.is_first else NO_PROGRESS


def say_of(ranks: Ranks) -> Callable[[str], None]:
    """Return who prints a line to standard error: the first rank alone."""
    return tell if ranks.is_first else lambda _: None


@contextmanager
def _ending_with_the_job(ranks: Ranks) -> Iterator[None]:
    """End with a line where torchrun ends the ranks that are left, which it does by SIGTERM.

    A rank mostly waits for the others inside of torch then, where Python handles no signal; so a
    thread does. Files are whole or not there whenever a process ends, so it need not wait.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_end_at_sigterm, args=(reader, ranks), daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.set_wakeup_fd(wakeup)
        writer.close()


def _end(error: IndoorError) -> NoReturn:
    """Tell the error unless another rank told why the job ends, and end this one."""
    if has_last_word():
        tell(error)
    raise SystemExit(MISTAKE) from None


def _end_at_sigterm(reader: socket.socket, ranks: Ranks) -> None:
    with reader:
        while received := reader.recv(1):
            if received[0] == signal.SIGTERM:
                if has_last_word():
                    tell(
                        f"rank {ranks.rank} of {ranks.size} was told to end (SIGTERM), as torchrun "
                        "does where another rank is lost; whatever was finished is kept; start the "
                        "same command again, with as many ranks as there are, and it goes on"
                    )
                    sys.stderr.flush()
                os._exit(MISTAKE)
