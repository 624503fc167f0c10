"""A file that is downloaded once: what came stays, what is wrong goes, the whole is verified."""

import http.client
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from indoor.download.request import (
    MAX_BYTES,
    MINIMUM_BYTES,
    Algorithm,
    CutError,
    Job,
    ask,
    failed,
    read_body,
    too_long,
)
from indoor.errors import IndoorError
from indoor.files import hash_of_file, remove_leftovers, write_failure, write_text
from indoor.locks import locked
from indoor.progress import NO_PROGRESS, Progress

NUM_DIGITS: dict[Algorithm, int] = {"sha1": 40, "sha256": 64}

_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is known of the bytes that came so far: what they are to become, and who sent them.

    `expected` is the algorithm and the hash's digits. `validator` is the strong ETag or the date by
    which the server knows this version of its file; `num_bytes` is what the whole file has.
    """

    expected: str
    url: str
    validator: str = ""
    num_bytes: int | None = None


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    sha1: str | None = None,
    timeout_s: float = 8.0,
    tries: int = 1,
    wait_s: float = 1.0,
    lock_timeout_s: float = 600.0,
    instead: str = "get the file in another way",
    elsewhere: str = "choose another",
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Download `url` to `path`, whole and verified or not at all; one process at a time.

    A file that is there already with the right hash is left alone. What came before a cut, a kill
    or a full disk stays beside `path` as `.NAME.part`, and this or the next call goes on from there
    (Range and If-Range of RFC 9110), also from another address of the same content. A server that
    sends the whole file instead, or another version, is begun with anew.

    Args:
        url: An `http` or `https` address; redirects are followed.
        path: The file to write; missing parent folders are made.
        sha256: The first 8 to 64 hexadecimal digits of the content's SHA-256; this or `sha1`.
        sha1: The same of its SHA-1, 8 to 40 digits.
        timeout_s: The seconds after which a server that does not answer, or sends less than 32 KiB
            in that time, is given up.
        tries: How often in a row it may fail without bringing anything new. Only what may pass is
            tried again: a network's failures, a cut, a busy server.
        wait_s: The seconds before it is asked again, doubled with each further failure in a row, 60
            at most. A server that says how long (Retry-After) is heard.
        lock_timeout_s: The seconds to wait for another process that is downloading the same file.
        instead: What to do where nothing comes, for the error.
        elsewhere: What to do where the folder cannot be written to, for the error.
        say: Hears of each failure before it is waited.
        progress: Hears of the bytes that came.

    Raises:
        ValueError: Another scheme, not one hash, or one of fewer than 8 digits.
        IndoorError: The server cannot be reached, refuses, stalls, ends early or sends other
            content, or the file cannot be written.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url is {url!r}, expected http:// or https://")
    if (sha256 is None) == (sha1 is None):
        raise ValueError("expected one of sha256 and sha1")
    algorithm: Algorithm = "sha1" if sha256 is None else "sha256"
    digits = (sha256 or sha1 or "").lower()
    if not 8 <= len(digits) <= NUM_DIGITS[algorithm]:
        expected = f"expected 8 to {NUM_DIGITS[algorithm]}"
        raise ValueError(f"{algorithm} has {len(digits)} digits, {expected}")
    job = Job(
        url=url,
        path=path,
        algorithm=algorithm,
        digits=digits,
        timeout_s=timeout_s,
        instead=instead,
        progress=progress,
    )
    with locked(
        path.with_name(f".{path.name}.lock"),
        "another download",
        wait_s=lock_timeout_s,
        busy=f"another process has been downloading {path.name} for {lock_timeout_s:.0f} s, "
        "expected it to end; wait for it or end it",
        cannot="write to",
        remedy=elsewhere,
    ):
        for name in (path.name, job.notes.name):
            remove_leftovers(path.parent, name)
        try:
            if not (path.is_file() and hash_of_file(path, algorithm).startswith(digits)):
                _complete(job, tries, wait_s, say)
                with job.part.open("rb+") as written:
                    os.fsync(written.fileno())
                job.part.replace(path)
            _forget(job)
        except OSError as error:
            raise write_failure(path, error) from error


def _complete(job: Job, tries: int, wait_s: float, say: Callable[[str], None]) -> None:
    """Receive until the part is the whole file, and compare its hash.

    A part from before may have been damaged, or be of another version that the server does not
    tell from this: then all of it is fetched once more.
    """
    most, failures, is_anew = _size(job.part), 0, False
    while True:
        try:
            went_on = _receive(job)
        except CutError as cut:
            size = _size(job.part)
            failures = 0 if size >= most + MINIMUM_BYTES else failures + 1
            most = max(most, size)
            if failures >= tries:
                raise
            pause_s = max(wait_s * 2 ** max(failures - 1, 0), cut.wait_s)
            pause_s = min(pause_s, _LONGEST_WAIT_S)
            say(f"{job.path.name}: {cut.reason}; asking again in {pause_s:g} s")
            time.sleep(pause_s)
            continue
        found = hash_of_file(job.part, job.algorithm)
        if found.startswith(job.digits):
            return
        _forget(job)
        if is_anew or not went_on:
            name = job.algorithm.upper().replace("SHA", "SHA-")
            raise IndoorError(
                f"{job.url} has {name} {found[:16]}..., expected {job.digits}: damaged on the way "
                f"or replaced; try again, or {job.instead}"
            )
        is_anew, most = True, 0


def _receive(job: Job) -> bool:
    """Ask for what the part lacks and add it; return whether anything came from before.

    Raises:
        IndoorError: It cannot be had; a `CutError` where it may be a moment later.
    """
    known, have = _known(job), _size(job.part)
    if known is None:
        _forget(job)
        have = 0
    response = None
    if known is not None and have:
        if have == known.num_bytes:
            return True
        asked = {"Range": f"bytes={have}-"}
        if known.validator and known.url == job.url:
            asked["If-Range"] = known.validator
        response = ask(job, asked)
        if response is not None and response.status != http.client.PARTIAL_CONTENT:
            have = 0  # the server knows no ranges, or has another version: this is all of it
        elif response is not None and not _goes_on(response, have, known):
            response.close()
            response = None
    if response is None:
        have = 0
        response = ask(job, {})
        if response is None:
            raise failed(job, ValueError("it refuses to send all of it (HTTP 416)"))
    with response:
        _append(job, response, have)
    return have > 0


def _append(job: Job, response: http.client.HTTPResponse, have: int) -> None:
    """Write what comes to the part's end, or anew where nothing of it counts."""
    length = response.length
    num_bytes = None if length is None else have + length
    if num_bytes is not None and num_bytes > MAX_BYTES:
        raise too_long(job)
    free = shutil.disk_usage(job.part.parent).free
    if length is not None and length > free:
        raise IndoorError(
            f"{job.path.name} needs {length:,} bytes more, and {job.part.parent} has {free:,} "
            "free; expected room for it; make some, or choose another place"
        )
    if not have:
        _forget(job)
        validator = response.headers.get("ETag", "")
        if not validator or validator.startswith("W/"):
            validator = response.headers.get("Last-Modified", "")
        part = _Part(
            expected=job.expected, url=job.url, validator=validator.strip(), num_bytes=num_bytes
        )
        write_text(job.notes, json.dumps(asdict(part)))
    job.progress.start(f"downloading {job.path.name}", num_bytes or 1)
    try:
        if num_bytes is not None and have:
            job.progress.advance(have)
        with job.part.open("ab") as file:
            for chunk in read_body(job, response, have, length):
                file.write(chunk)
                if length is not None:
                    job.progress.advance(len(chunk))
    finally:
        job.progress.finish()


def _goes_on(response: http.client.HTTPResponse, have: int, known: _Part) -> bool:
    """Tell whether a partial answer begins where the part ends, and is of as long a file."""
    told = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", told.strip())
    if found is None or int(found[1]) != have:
        return False
    return found[3] == "*" or known.num_bytes in (None, int(found[3]))


def _known(job: Job) -> _Part | None:
    """Return what is known of a part of this very content; None: there is none to go on from."""
    try:
        part = _Part(**json.loads(job.notes.read_bytes()))
    except (OSError, ValueError, TypeError):  # none, or damaged: the bytes are fetched again
        return None
    return part if part.expected == job.expected else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _forget(job: Job) -> None:
    """Remove the part and what is known of it."""
    job.part.unlink(missing_ok=True)
    job.notes.unlink(missing_ok=True)
