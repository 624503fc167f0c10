"""One file fetched over http(s): verified, whole or not at all, and never waited for in vain."""

import hashlib
import http.client
import queue
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError

from indoor.errors import IndoorError
from indoor.files import remove_leftovers, replace_file, sha256_of_file
from indoor.locks import locked
from indoor.progress import NO_PROGRESS, Progress

_CHUNK_BYTES = 1 << 20
_MINIMUM_BYTES = 1 << 15
"""What every `timeout_s` must bring at least; a server that drips resets a socket's timeout."""


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str,
    timeout_s: float = 8.0,
    lock_timeout_s: float = 600.0,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Download `url` to `path`, whole and verified or not at all; one process at a time.

    A file that is there already with the right hash is left alone. What a killed download left
    behind is removed.

    Args:
        url: An `http` or `https` address; redirects are followed.
        path: The file to write; missing parent folders are made.
        sha256: The first 8 to 64 hexadecimal digits of the content's SHA-256.
        timeout_s: The seconds after which a server that does not answer, or sends less than 32 KiB
            in that time, is given up.
        lock_timeout_s: The seconds to wait for another process that is downloading the same file.
        progress: Hears of the bytes that came.

    Raises:
        ValueError: Another scheme, or a hash of fewer than 8 digits.
        IndoorError: The server cannot be reached, refuses, stalls, ends early or sends other
            content, or the file cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url is {url!r}, expected http:// or https://")
    if not 8 <= len(sha256) <= 64:
        raise ValueError(f"sha256 has {len(sha256)} digits, expected 8 to 64")
    with locked(
        path.with_name(f".{path.name}.lock"),
        "another download",
        wait_s=lock_timeout_s,
        busy=f"another process has been downloading {path.name} for {lock_timeout_s:.0f} s, "
        "expected it to end; wait for it or end it",
        cannot="write to",
        remedy="set TORCH_HOME to one",
    ):
        if path.is_file() and sha256_of_file(path).startswith(sha256):
            return
        remove_leftovers(path.parent, path.name)
        response = _open(url, timeout_s)
        with response, replace_file(path) as temporary, temporary.open("wb") as file:
            digest = hashlib.sha256()
            for chunk in _read(url, response, path.name, timeout_s, progress):
                digest.update(chunk)
                file.write(chunk)
            if not digest.hexdigest().startswith(sha256):
                raise IndoorError(
                    f"{url} has SHA-256 {digest.hexdigest()[:16]}..., expected {sha256}: damaged "
                    "on the way or replaced; try again, or give the weights as a file"
                )


def _open(url: str, timeout_s: float) -> http.client.HTTPResponse:
    """Return the opened response, or give up after `timeout_s` whatever the reason.

    urlopen's own timeout holds for each address of a host in turn and not at all for its name's
    look-up, so behind a firewall that swallows packets it would take minutes. Hence the thread.
    """
    answers: queue.Queue[http.client.HTTPResponse | Exception] = queue.Queue()
    abandoned = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "indoor"})  # noqa: S310 (http only)
        try:
            response = urllib.request.urlopen(request, timeout=timeout_s)  # noqa: S310 (http only)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers.put(error)
        else:
            answers.put(response)
            if abandoned.is_set():
                response.close()

    threading.Thread(target=ask, name="indoor-download", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty as error:
        abandoned.set()
        raise _failed(url, TimeoutError(f"no answer in {timeout_s:g} s")) from error
    if isinstance(answer, Exception):
        if isinstance(answer, HTTPError):
            answer.close()
        raise _failed(url, answer) from answer
    return answer


def _read(
    url: str,
    response: http.client.HTTPResponse,
    name: str,
    timeout_s: float,
    progress: Progress,
) -> Iterator[bytes]:
    """Yield the body in chunks as they come; the socket's errors become ours."""
    length = response.length
    progress.start(f"downloading {name}", length or 1)
    try:
        num_bytes = num_before = 0
        window_end = time.monotonic() + timeout_s
        while True:
            try:
                # read1 returns what one receive brought; read would wait for the whole chunk and
                # never look at the clock.
                chunk = response.read1(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise _failed(url, error) from error
            if not chunk:
                break
            num_bytes += len(chunk)
            if length is not None:
                progress.advance(len(chunk))
            yield chunk
            if time.monotonic() > window_end:
                if num_bytes - num_before < _MINIMUM_BYTES:
                    slow = f"{num_bytes - num_before} bytes in {timeout_s:g} s"
                    raise _failed(url, TimeoutError(slow))
                num_before, window_end = num_bytes, time.monotonic() + timeout_s
        if length is not None and num_bytes < length:
            raise _failed(url, EOFError(f"ended after {num_bytes} of {length} bytes"))
    finally:
        progress.finish()


def _failed(url: str, error: Exception) -> IndoorError:
    reason = error.reason if isinstance(error, URLError) else error
    text = str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
    if isinstance(error, HTTPError):
        text = f"HTTP {error.code} {error.reason}"
    return IndoorError(
        f"cannot download {url}: {' '.join(text.split())}; expected the file; check the network "
        "and its proxy, or give the weights as a file"
    )
