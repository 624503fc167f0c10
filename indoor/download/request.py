"""One request of a download: opened within a time, read as it comes, its errors in one line."""

import http.client
import queue
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError, URLError

from indoor.errors import IndoorError
from indoor.progress import Progress

Algorithm = Literal["sha1", "sha256"]

MINIMUM_BYTES = 1 << 15
"""What every `timeout_s` must bring at least; a server that drips resets a socket's timeout."""

_CHUNK_BYTES = 1 << 20

MAX_BYTES = 8 << 30
"""No file that is fetched here has more; a server that sends without end fills no disk."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others a moment later (RFC 9110, RFC 6585, RFC 8470)."""

_GONE = frozenset({404, 410})


class CutError(IndoorError):
    """The file did not come, or not whole, and may do so when it is asked for again.

    `reason` is what happened, in a few words; `wait_s` is what the server wants to be left in peace
    for.
    """

    def __init__(self, message: str, reason: str, wait_s: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True)
class Job:
    """A download: from where, into which part, and what is told where it fails."""

    url: str
    path: Path
    algorithm: Algorithm
    digits: str
    timeout_s: float
    instead: str
    progress: Progress

    @property
    def part(self) -> Path:
        """The file that grows; what is known of it lies beside it."""
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def notes(self) -> Path:
        """What is known of the part."""
        return self.path.with_name(f".{self.path.name}.part.json")

    @property
    def expected(self) -> str:
        """What the part is to become."""
        return f"{self.algorithm}:{self.digits}"


def read_body(
    job: Job, response: http.client.HTTPResponse, have: int, length: int | None
) -> Iterator[bytes]:
    """Yield the body in chunks as they come; the socket's errors become ours."""
    num_bytes = num_before = 0
    window_end = time.monotonic() + job.timeout_s
    while True:
        try:
            # read1 returns what one receive brought; read would wait for the whole chunk and
            # never look at the clock.
            chunk = response.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise failed(job, error) from error
        if not chunk:
            break
        num_bytes += len(chunk)
        if have + num_bytes > MAX_BYTES:
            raise too_long(job)
        yield chunk
        if time.monotonic() > window_end:
            if num_bytes - num_before < MINIMUM_BYTES:
                slow = f"{num_bytes - num_before} bytes in {job.timeout_s:g} s"
                raise failed(job, TimeoutError(slow))
            num_before, window_end = num_bytes, time.monotonic() + job.timeout_s
    if length is not None and num_bytes < length:
        ended = f"ended after {have + num_bytes} of {have + length} bytes"
        raise failed(job, EOFError(ended))


def ask(job: Job, headers: Mapping[str, str]) -> http.client.HTTPResponse | None:
    """Return the opened response, or give up after `timeout_s` whatever the reason.

    urlopen's own timeout holds for each address of a host in turn and not at all for its name's
    look-up, so behind a firewall that swallows packets it would take minutes. Hence the thread.

    Returns:
        None where the server has nothing of what was asked for (416).
    """
    answers: queue.Queue[http.client.HTTPResponse | Exception] = queue.Queue()
    abandoned = threading.Event()
    named = {"User-Agent": "indoor", **headers}

    def open_it() -> None:
        try:
            request = urllib.request.Request(job.url, headers=named)  # noqa: S310 (http only)
            response = urllib.request.urlopen(request, timeout=job.timeout_s)  # noqa: S310 (http only)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers.put(error)
            return
        is_http = isinstance(response, http.client.HTTPResponse)
        answers.put(response if is_http else ValueError("it leads to something else than http"))
        if abandoned.is_set() or not is_http:
            response.close()

    threading.Thread(target=open_it, name="indoor-download", daemon=True).start()
    try:
        answer = answers.get(timeout=job.timeout_s)
    except queue.Empty as error:
        abandoned.set()
        raise failed(job, TimeoutError(f"no answer in {job.timeout_s:g} s")) from error
    if isinstance(answer, HTTPError):
        answer.close()
        if answer.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
    if isinstance(answer, Exception):
        raise failed(job, answer) from answer
    return answer


def too_long(job: Job) -> IndoorError:
    """Return in one line that a server sends more than any file has."""
    return IndoorError(
        f"{job.url} sends more than {MAX_BYTES:,} bytes, expected less: no file that belongs "
        f"there is as long; {job.instead}"
    )


def failed(job: Job, error: Exception) -> IndoorError:
    """Return the error in one line: a `CutError` where another try may help."""
    reason = error.reason if isinstance(error, URLError) else error
    text = str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
    advice, wait_s = "check the network and its proxy, or", 0.0
    # What is no address, a certificate that is not valid or a name that nobody has stays so.
    passes = not isinstance(reason, ValueError | http.client.InvalidURL)
    if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
        passes = False
    if isinstance(error, HTTPError):
        text, passes = f"HTTP {error.code} {error.reason}", error.code in _PASSING
        after = error.headers.get("Retry-After", "")
        wait_s = float(after) if after.isdecimal() and after.isascii() else 0.0
        if error.code in _GONE:
            advice = "nothing lies at this address:"
    text = " ".join(text.split())
    message = f"cannot download {job.url}: {text}; expected the file; {advice} {job.instead}"
    return CutError(message, text, wait_s) if passes else IndoorError(message)
