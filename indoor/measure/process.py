"""A child process that answers lines of JSON over two pipes, or is lost."""

import copy
import errno
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import indoor
from indoor.measure.worker import LINK

LAST_LINES = 3
FULL_BYTES = 1 << 16
"""Less free space on a disk than this is none."""


class ChildLostError(Exception):
    """A process that ended, or that gave no answer in time; `name` is what it was called.

    `cut_off` tells of one that hangs or was killed from outside, which proves nothing of its code;
    `hangs` of the former.
    """

    def __init__(
        self, name: str, reason: str, *, cut_off: bool = False, hangs: bool = False
    ) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason
        self.cut_off = cut_off
        self.hangs = hangs


def python_command(code: str) -> list[str]:
    """Return the command of this very Python that runs `code` on all CPUs that indoor began with.

    OpenMP may have bound this process to one since.
    """
    cpus = sorted(indoor.CPUS_AT_START)
    free = f"import os; os.sched_setaffinity(0, {cpus}); " if sys.platform == "linux" else ""
    return [sys.executable, "-c", f"{free}{code}"]


class ChildProcess:
    """A running process with a `measure.worker.Link`; kill it when done, whatever became of it.

    Args:
        name: What errors call it.
        command: Its command line.
        log: Gets its output and errors; its folder exists.
        folder: Where it is started.
        environment: All its variables but the link's.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self._log = log
        self._buffer = b""
        self._sent: tuple[str, dict[str, Any], bytes] = ("", {}, b"")
        ours, theirs = os.pipe(), os.pipe()
        link = {LINK: f"{ours[0]},{theirs[1]}"}
        try:
            self._process = _start(
                command, log, folder, {**environment, **link}, (ours[0], theirs[1])
            )
        except OSError:
            for descriptor in (ours[1], theirs[0]):
                os.close(descriptor)
            raise
        finally:
            os.close(ours[0])
            os.close(theirs[1])
        self._to, self._from = ours[1], theirs[0]

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def send(self, what: str, **fields: Any) -> None:
        """Send one message.

        Raises:
            ChildLostError: It has ended.
        """
        if (what, fields) != self._sent[:2]:  # turns are all alike, and cost a round their time
            line = json.dumps({"do": what, **fields}) + "\n"
            self._sent = what, copy.deepcopy(fields), line.encode()
        data = self._sent[2]
        try:
            while data:
                data = data[os.write(self._to, data) :]
        except BrokenPipeError:
            raise self._lost() from None

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the process's next message, whose `event` says what it is.

        Raises:
            ChildLostError: It has ended, or there is none after `timeout_s` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                reason = f"no answer for {timeout_s:g} s (it hangs)"
                raise ChildLostError(self.name, reason, cut_off=True, hangs=True)
            data = os.read(self._from, 1 << 16)
            if not data:
                raise self._lost()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def ask(self, what: str, timeout_s: float, **fields: Any) -> dict[str, Any]:
        """Send a message and return the answer; errors as `send` and `receive`."""
        self.send(what, **fields)
        return self.receive(timeout_s)

    def wait(self, timeout_s: float) -> int:
        """Return the exit status of a process that is done.

        Raises:
            ChildLostError: It has not ended after `timeout_s` seconds.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            reason = f"did not end within {timeout_s:g} s of its last answer"
            raise ChildLostError(self.name, reason) from None

    def kill(self) -> None:
        """End the process and its children; nothing happens if they have ended."""
        _kill_group(self._process)
        for descriptor in (self._to, self._from):
            if descriptor >= 0:
                os.close(descriptor)
        self._to = self._from = -1

    def _lost(self) -> ChildLostError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        status = self._process.poll()
        ended = "" if status is None else _describe_status(status)
        words = " / ".join(telling_lines(self._log) or lacking_space(self._log))
        reason = f"{ended}: {words}" if words and ended else ended or words
        is_full = os.strerror(errno.ENOSPC) in words or bool(lacking_space(self._log))
        is_killed = status in (-signal.SIGKILL, -signal.SIGTERM)
        return ChildLostError(
            self.name, reason or "it closed its pipe", cut_off=is_killed or is_full
        )


def run_logged(
    command: Sequence[str],
    *,
    log: Path,
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float,
) -> int | None:
    """Run a command to its end, with all its children, and return its exit status.

    Returns:
        None where it was killed since it took longer than `timeout_s` seconds.

    Raises:
        OSError: It cannot be started.
    """
    process = _start(command, log, folder, environment)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _kill_group(process)


def telling_lines(log: Path) -> Sequence[str]:
    """Return pytest's lines that name an error, else the last ones."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    lines = [line.strip() for line in text.splitlines() if line.strip(" =_-!")]
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    usage = [line for line in lines if line.startswith("ERROR")]
    return tuple(line[:200] for line in (errors or usage or lines)[-LAST_LINES:])


def lacking_space(log: Path) -> Sequence[str]:
    """Return why a process said nothing, if the disk with its log is full."""
    try:
        is_full = shutil.disk_usage(log.parent).free < FULL_BYTES
    except OSError:
        return ()
    return ("no space is left among the temporary files; free some, or set TMPDIR",) * is_full


def _start(
    command: Sequence[str],
    log: Path,
    folder: Path,
    environment: Mapping[str, str],
    descriptors: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - what the caller was asked to run
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            start_new_session=True,  # so that its own children die with it
        )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _describe_status(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = str(-status)
    hint = " (killed from outside, or out of memory)" if -status == signal.SIGKILL else ""
    return f"died by {name}{hint}"
