"""A worker as its controller sees it: a pytest process that answers messages, or is lost."""

import errno
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from indoor.errors import IndoorError

PLUGIN = "indoor_gate_worker"
LAST_LINES = 3
DESCRIBE = "INDOOR_GATE_DESCRIBE"
FULL_BYTES = 1 << 16
"""Less free space on a disk than this is none."""


_NOT_RUNNABLE = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)


class WorkerLostError(Exception):
    """A worker that ended, or that gave no answer in time; `arm` is whose.

    `cut_off` tells of one that hangs or was killed from outside, which proves nothing of its code.
    """

    def __init__(self, arm: str, reason: str, *, cut_off: bool = False) -> None:
        super().__init__(f"{arm}: {reason}")
        self.arm = arm
        self.reason = reason
        self.cut_off = cut_off


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of the comparison: a tree, the Python that runs it, and pytest's words.

    `search_path` becomes PYTHONPATH, so that the tree's packages are found before installed ones.
    `installed_from` holds the folders that the Python's modules were copied from, by import name,
    once a worker has told them.
    """

    name: str
    root: Path
    python: Path
    words: tuple[str, ...]
    search_path: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = (PLUGIN,)
    installed_from: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Return the process's command line."""
        plugins = [word for plugin in self.plugins for word in ("-p", plugin)]
        # Without --rootdir, settings in a folder above would name head's cells otherwise.
        own = [f"--rootdir={self.root}", "-p", "no:cacheprovider"]
        return [str(self.python), "-m", "pytest", *own, *plugins, *self.words]

    def variables(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the process's whole environment."""
        dropped = ("PYTEST_", "COV_", "INDOOR_GATE_", "GIT_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        kept.pop("COVERAGE_PROCESS_START", None)
        path = os.pathsep.join(str(folder) for folder in self.search_path)
        return kept | {"PYTHONPATH": path} | dict(self.environment) | dict(extra)


class Worker:
    """A running process of an arm; kill it when done, whatever became of it."""

    def __init__(self, arm: Arm, log: Path, environment: Mapping[str, str]) -> None:
        self.arm = arm
        self._log = log
        self._buffer = b""
        ours, theirs = os.pipe(), os.pipe()
        link = {"INDOOR_GATE_IN": str(ours[0]), "INDOOR_GATE_OUT": str(theirs[1])}
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own suite
                    arm.command(),
                    cwd=arm.root,
                    env=arm.variables({**environment, **link}),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(ours[0], theirs[1]),
                    start_new_session=True,  # so that its own children die with it
                )
        except OSError as error:
            for descriptor in (ours[1], theirs[0]):
                os.close(descriptor)
            if error.errno not in _NOT_RUNNABLE:  # a full disk, too many processes
                raise
            raise IndoorError(
                f"cannot start {arm.python}: {error.strerror or error}; "
                "expected a Python that has pytest and pytest-benchmark"
            ) from error
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
            WorkerLostError: It has ended.
        """
        data = (json.dumps({"do": what, **fields}) + "\n").encode()
        try:
            while data:
                data = data[os.write(self._to, data) :]
        except BrokenPipeError:
            raise self._lost() from None

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the worker's next message.

        Raises:
            WorkerLostError: It has ended, or there is none after `timeout_s` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                reason = f"no answer for {timeout_s:g} s (it hangs)"
                raise WorkerLostError(self.arm.name, reason, cut_off=True)
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
        """Return the exit status of a worker that is done.

        Raises:
            WorkerLostError: It has not ended after `timeout_s` seconds.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise WorkerLostError(
                self.arm.name, f"did not end within {timeout_s:g} s of its last test"
            ) from None

    def kill(self) -> None:
        """End the process and its children; nothing happens if they have ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for descriptor in (self._to, self._from):
            if descriptor >= 0:
                os.close(descriptor)
        self._to = self._from = -1

    def last_words(self) -> str:
        """Return the line of its output that says best why it ended, and the exit status."""
        status = self._process.poll()
        ended = "" if status is None else _describe_status(status)
        lines = telling_lines(self._log) or lacking_space(self._log)
        return f"{ended}: {' / '.join(lines)}" if lines and ended else ended or " / ".join(lines)

    def _lost(self) -> WorkerLostError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        words = self.last_words()
        is_full = os.strerror(errno.ENOSPC) in words or bool(lacking_space(self._log))
        is_killed = self._process.poll() in (-signal.SIGKILL, -signal.SIGTERM)
        return WorkerLostError(
            self.arm.name, words or "it closed its pipe", cut_off=is_killed or is_full
        )


def lacking_space(log: Path) -> Sequence[str]:
    """Return why a process said nothing, if the disk with its log is full."""
    try:
        is_full = shutil.disk_usage(log.parent).free < FULL_BYTES
    except OSError:
        return ()
    return ("no space is left among the temporary files; free some, or set TMPDIR",) * is_full


def _describe_status(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = str(-status)
    hint = " (killed from outside, or out of memory)" if -status == signal.SIGKILL else ""
    return f"died by {name}{hint}"


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
