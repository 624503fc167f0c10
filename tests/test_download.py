"""A file over http(s), from servers that misbehave: whole and verified, or it goes on next time."""

import errno
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from serving import BODY, DIGEST, Answer, Bar, Server, in_turn, leftovers, ranges, send

from indoor.download import fetch
from indoor.errors import IndoorError
from indoor.locks import locked

PART = [".x.bin.part", ".x.bin.part.json"]
"""What stays of a download that was cut."""


def test_fetch_writes_the_served_file(server: Server, tmp_path: Path) -> None:
    """The file arrives whole, in a folder that is made, with each byte told to the progress."""
    bar = Bar()
    fetch(server.url("x.bin"), tmp_path / "a" / "x.bin", sha256=DIGEST[:8], progress=bar)
    assert (tmp_path / "a" / "x.bin").read_bytes() == BODY
    assert bar == Bar([("downloading x.bin", len(BODY))], len(BODY), 1)
    assert leftovers(tmp_path / "a") == ["x.bin"]


def test_fetch_does_without_a_length(server: Server, tmp_path: Path) -> None:
    """A server that does not say how long the file is serves it all the same."""
    server.answer = send(BODY, length=None)
    bar = Bar()
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, progress=bar)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert bar == Bar([("downloading x.bin", 1)], 0, 1)


def test_fetch_follows_redirects(server: Server, tmp_path: Path) -> None:
    """An address that has moved is found."""

    def moved(handler: BaseHTTPRequestHandler) -> None:
        server.answer = send(BODY)
        handler.send_response(302)
        handler.send_header("Location", server.url("elsewhere"))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.answer = moved
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_a_slow_but_steady_download_is_waited_for(server: Server, tmp_path: Path) -> None:
    """A body that takes longer than the timeout is fine as long as it keeps coming."""

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for start in range(0, len(BODY), len(BODY) // 4):
            handler.wfile.write(BODY[start : start + len(BODY) // 4])
            time.sleep(0.4)

    server.answer = trickle
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, timeout_s=1.2)
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_fetch_leaves_a_right_file_alone(server: Server, tmp_path: Path) -> None:
    """What is there already with the right content is not asked for again."""
    (tmp_path / "x.bin").write_bytes(BODY)
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert server.num_requests == 0


def test_fetch_replaces_a_wrong_file_and_sweeps_up(server: Server, tmp_path: Path) -> None:
    """A damaged file is replaced, and what a killed download left is removed."""
    (tmp_path / "x.bin").write_bytes(b"half")
    (tmp_path / ".x.bin.abc123.tmp").write_bytes(b"left by kill -9")
    (tmp_path / ".y.bin.abc123.tmp").write_bytes(b"somebody else's")
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert leftovers(tmp_path) == [".y.bin.abc123.tmp", "x.bin"]


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Accept the request and never answer."""
    time.sleep(10)
    handler.close_connection = True


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Send one byte every 50 ms, which no socket timeout ever notices."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    try:
        for _ in range(200):
            handler.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        pass


def stall(handler: BaseHTTPRequestHandler) -> None:
    """Send the first half quickly and then nothing."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY[: len(BODY) // 2])
    time.sleep(10)


def no_http(handler: BaseHTTPRequestHandler) -> None:
    """Answer with something that is no HTTP."""
    handler.wfile.write(b"220 mail.example ESMTP\r\n")


FAILURES: dict[str, tuple[Answer, str, list[str]]] = {
    "other content": (
        send(BODY[:-1] + b"!"),
        r"has SHA-256 [0-9a-f]{16}\.\.\., expected .*damaged",
        [],
    ),
    "truncated": (send(BODY[:1000], length=len(BODY)), "ended after 1000 of 1048576 bytes", PART),
    "truncated without length": (send(BODY[:1000], length=None), "has SHA-256", []),
    "empty": (send(b""), "has SHA-256 e3b0c44298fc1c14", []),
    "not found": (send(b"gone", status=404), "HTTP 404 Not Found", []),
    "forbidden": (send(b"no", status=403), "HTTP 403 Forbidden", []),
    "server error": (send(b"oops", status=503), "HTTP 503 Service Unavailable", []),
    "silent": (hang, "no answer in 0.4 s|timed out", []),
    "dripping": (drip, "[0-9]+ bytes in 0.4 s", PART),
    "stalling": (stall, "timed out", PART),
    "no http": (no_http, "cannot download", []),
    "of absurd length": (send(BODY, length=10**15), r"sends more than 8,589,934,592 bytes", []),
    "leading elsewhere": (
        send(b"", status=302, Location="file:///etc/passwd"),
        "HTTP 302 .*not allowed",
        [],
    ),
}


@pytest.mark.parametrize(("answer", "words", "left"), FAILURES.values(), ids=FAILURES)
def test_a_failed_download_is_one_line_and_no_file(
    server: Server, tmp_path: Path, answer: Answer, words: str, left: list[str]
) -> None:
    """Whatever the server does, it ends soon, says why in one line, and leaves only what came."""
    server.answer = answer
    url = server.url("x.bin")
    bar = Bar()
    start = time.monotonic()
    patience_s = 0.4 if answer in (hang, drip, stall) else 60
    with pytest.raises(IndoorError, match=words) as caught:
        fetch(
            url, tmp_path / "x.bin", sha256=DIGEST[:8], timeout_s=patience_s, wait_s=0, progress=bar
        )
    assert time.monotonic() - start < 8
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == left
    assert bar.num_finished == len(bar.heard)


def test_a_failed_download_keeps_the_old_file(server: Server, tmp_path: Path) -> None:
    """A file that was to be replaced stays as it was when its replacement does not come."""
    (tmp_path / "x.bin").write_bytes(b"old")
    server.answer = send(b"gone", status=404)
    with pytest.raises(IndoorError, match="HTTP 404"):
        fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert (tmp_path / "x.bin").read_bytes() == b"old"


def test_a_refused_connection_is_one_line(tmp_path: Path) -> None:
    """A port on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(IndoorError, match=r"cannot download .*: Connection refused; expected"):
            fetch(f"http://127.0.0.1:{port}/x.bin", tmp_path / "x.bin", sha256=DIGEST)


def test_a_slow_look_up_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No timeout of a socket covers the look-up of a name: ours does."""
    released = threading.Event()

    def look_up(*_: object, **__: object) -> None:
        released.wait(5)
        raise OSError("too late")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.monotonic()
    with pytest.raises(IndoorError, match=r"no answer in 0.2 s"):
        fetch("http://weights.invalid/x.bin", tmp_path / "x.bin", sha256=DIGEST, timeout_s=0.2)
    assert time.monotonic() - start < 4
    released.set()


def test_a_late_answer_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that comes after the download was given up does not keep its connection."""
    released, closed = threading.Event(), threading.Event()

    class Late:
        def close(self) -> None:
            closed.set()

    def open_late(*_: object, **__: object) -> Late:
        released.wait(5)
        return Late()

    monkeypatch.setattr("urllib.request.urlopen", open_late)
    with pytest.raises(IndoorError, match=r"no answer in 0.1 s"):
        fetch("http://127.0.0.1/x.bin", tmp_path / "x.bin", sha256=DIGEST, timeout_s=0.1)
    released.set()
    assert closed.wait(5)


def test_two_processes_do_not_download_the_same(server: Server, tmp_path: Path) -> None:
    """Whoever holds the lock downloads; the other waits, and then gives up with one line."""
    with (
        locked(tmp_path / ".x.bin.lock", "this test"),
        pytest.raises(IndoorError, match=r"another process has been downloading x.bin for 0 s"),
    ):
        fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, lock_timeout_s=0.1)
    assert server.num_requests == 0


def test_threads_that_wait_find_the_file(server: Server, tmp_path: Path) -> None:
    """Of several that ask for one file at once, one downloads it and all have it."""
    errors: list[Exception] = []

    def ask() -> None:
        try:
            fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
        except IndoorError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert server.num_requests == 1
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_a_folder_that_cannot_be_made_is_one_line(server: Server, tmp_path: Path) -> None:
    """A file where the cache's folder should be."""
    (tmp_path / "hub").write_text("a file")
    path, elsewhere = tmp_path / "hub" / "x.bin", "set TORCH_HOME to one"
    with pytest.raises(IndoorError, match=r"cannot write to .*set TORCH_HOME"):
        fetch(server.url("x.bin"), path, sha256=DIGEST, elsewhere=elsewhere)


@pytest.mark.parametrize(
    ("url", "sha256", "words"),
    [
        ("file:///etc/passwd", DIGEST, "url is 'file:///etc/passwd', expected http"),
        ("http://127.0.0.1/x", "0676ba6", "sha256 has 7 digits, expected 8 to 64"),
    ],
)
def test_fetch_refuses_bad_arguments(tmp_path: Path, url: str, sha256: str, words: str) -> None:
    """Another scheme, or a hash that hardly verifies anything, is a bad argument."""
    with pytest.raises(ValueError, match=words):
        fetch(url, tmp_path / "x", sha256=sha256)


def test_a_killed_download_goes_on(server: Server, tmp_path: Path) -> None:
    """After kill -9 in the middle there is no such file, and the next download gets the rest."""
    started, released = threading.Event(), threading.Event()

    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BODY)))
        handler.end_headers()
        handler.wfile.write(BODY[: len(BODY) // 2])
        started.set()
        released.wait(20)

    server.answer = half
    code = (
        "import sys; from pathlib import Path; from indoor.download import fetch; "
        "fetch(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3], timeout_s=30)"
    )
    arguments = [server.url("x.bin"), str(tmp_path / "x.bin"), DIGEST]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    try:
        assert started.wait(60)
        wait_until(lambda: any(p.stat().st_size > 0 for p in tmp_path.glob(".x.bin.part")))
    finally:
        process.kill()
        process.wait()
        released.set()
    assert leftovers(tmp_path) == PART
    came = (tmp_path / ".x.bin.part").stat().st_size
    server.answer = ranges(BODY)
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert leftovers(tmp_path) == ["x.bin"]
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.ranges == [None, f"bytes={came}-"]


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fail after 20 seconds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# What is cut goes on.


def cut_off(server: Server, path: Path, at: int, **headers: str) -> None:
    """Have a download end after so many bytes, and nothing come from then on."""
    cut = send(BODY[:at], length=len(BODY), **headers)
    server.answer = in_turn(cut, send(b"", status=503))
    with pytest.raises(IndoorError, match=r"HTTP 503|ended after"):
        fetch(server.url("x.bin"), path, sha256=DIGEST, wait_s=0)
    assert leftovers(path.parent) == PART
    server.asked.clear()


def test_a_cut_download_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    """A server that ends every answer early is asked for the rest until all is there."""
    server.answer = ranges(BODY, cut=400_000)
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, wait_s=0)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.ranges == [None, "bytes=400000-", "bytes=800000-"]
    assert [headers.get("If-Range") for headers in server.asked] == [None, '"1"', '"1"']
    assert leftovers(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("at", [1, 511, 65_536, len(BODY) // 2, len(BODY) - 1])
def test_the_next_call_goes_on(server: Server, tmp_path: Path, at: int) -> None:
    """Wherever a call ended, the next one asks for the rest, and tells it as a whole."""
    cut_off(server, tmp_path / "x.bin", at, ETag='"1"')
    server.answer = ranges(BODY)
    bar = Bar()
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, progress=bar)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.ranges == [f"bytes={at}-"]
    assert bar == Bar([("downloading x.bin", len(BODY))], len(BODY), 1)


RESTARTS: dict[str, tuple[Answer, int]] = {
    "knows no ranges": (send(BODY), 1),
    "has another version": (ranges(BODY, etag='"2"'), 1),
    "sends another part": (
        in_turn(send(BODY[:9], status=206, Content_Range="bytes 0-8/9"), send(BODY)),
        2,
    ),
    "sends a part of a longer file": (
        in_turn(send(b"x", status=206, Content_Range="bytes 1000-1000/2000000"), send(BODY)),
        2,
    ),
    "sends a part without saying which": (in_turn(send(BODY[:9], status=206), send(BODY)), 2),
    "has nothing from there on": (in_turn(send(b"", status=416), send(BODY)), 2),
}
"""How servers answer the request for the rest, and how many requests it takes to have all."""


@pytest.mark.parametrize(("answer", "num_requests"), RESTARTS.values(), ids=RESTARTS)
def test_what_does_not_go_on_begins_anew(
    server: Server, tmp_path: Path, answer: Answer, num_requests: int
) -> None:
    """Where the rest is not to be had, all of it is fetched, and nothing is joined wrongly."""
    cut_off(server, tmp_path / "x.bin", 1000, ETag='"1"')
    server.answer = answer
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.num_requests == num_requests


def test_a_part_of_another_version_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    """Where a server does not tell versions apart, the hash does, and one more try is enough."""
    cut_off(server, tmp_path / "x.bin", 1000)
    part = tmp_path / ".x.bin.part"
    part.write_bytes(b"!" * 1000)
    server.answer = ranges(BODY, etag=None)
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.ranges == ["bytes=1000-", None]


def test_wrong_content_is_not_fetched_for_ever(server: Server, tmp_path: Path) -> None:
    """A server whose file is another, and which cuts it, is given up after one more try."""
    server.answer = ranges(BODY[:-1] + b"!", cut=600_000)
    with pytest.raises(IndoorError, match="has SHA-256"):
        fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, wait_s=0)
    assert server.num_requests == 4


def test_a_whole_part_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    """A kill between the last byte and the file's name costs nothing."""
    cut_off(server, tmp_path / "x.bin", 1000)
    (tmp_path / ".x.bin.part").write_bytes(BODY)
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert server.num_requests == 0


def test_a_mirror_goes_on_without_if_range(server: Server, tmp_path: Path) -> None:
    """Another address of the same content gives the rest; it knows nothing of the first's marks."""
    cut_off(server, tmp_path / "x.bin", 1000, ETag='"1"')
    server.answer = ranges(BODY, etag='"other"')
    fetch(server.url("mirror.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert server.ranges == ["bytes=1000-"]
    assert "If-Range" not in server.asked[0]
    assert (tmp_path / "x.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    "notes", [b"{", b"[1]", b'{"expected": 1}', b'{"expected":"sha1:1"}', None]
)
def test_a_part_of_which_nothing_is_known_is_fetched_anew(
    server: Server, tmp_path: Path, notes: bytes | None
) -> None:
    """Without its notes, or with damaged ones, or those of other content, a part counts nothing."""
    cut_off(server, tmp_path / "x.bin", 1000)
    path = tmp_path / PART[1]
    path.unlink()
    if notes is not None:
        path.write_bytes(notes)
    server.answer = ranges(BODY)
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert server.ranges == [None]
    assert leftovers(tmp_path) == ["x.bin"]


def test_a_part_is_for_one_hash(server: Server, tmp_path: Path) -> None:
    """What was to become one file never becomes another's beginning."""
    cut_off(server, tmp_path / "x.bin", 1000)
    other = BODY[::-1]
    server.answer = ranges(other)
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha1=hashlib.sha1(other).hexdigest())  # noqa: S324
    assert (tmp_path / "x.bin").read_bytes() == other
    assert server.ranges == [None]


# What may pass is tried again.


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited between tries, which take none."""
    slept: list[float] = []
    monkeypatch.setattr("indoor.download.fetching.time.sleep", slept.append)
    return slept


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path, waits: list[float]) -> None:
    """Each failure in a row doubles the wait, a server's own wish is heard, and each is told."""
    told: list[str] = []
    busy, patient = send(b"", status=503), send(b"", status=429, Retry_After="7")
    server.answer = in_turn(busy, busy, patient, send(BODY))
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, tries=4, say=told.append)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert waits == [1, 2, 7]
    assert told[0] == "x.bin: HTTP 503 Service Unavailable; asking again in 1 s"
    assert told[2] == "x.bin: HTTP 429 Too Many Requests; asking again in 7 s"
    server.answer = in_turn(patient, send(BODY))
    fetch(server.url("y.bin"), tmp_path / "y.bin", sha256=DIGEST, tries=4)
    assert waits[3:] == [7]


def test_patience_ends(server: Server, tmp_path: Path, waits: list[float]) -> None:
    """After so many failures in a row, and waits of a minute at most, the last one is told."""
    server.answer = send(b"", status=502, Retry_After="100000")
    with pytest.raises(IndoorError, match="HTTP 502"):
        fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, tries=3)
    assert server.num_requests == 3
    assert waits == [60, 60]


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451, 501])
def test_what_stays_so_is_asked_once(
    server: Server, tmp_path: Path, waits: list[float], status: int
) -> None:
    """A file that is not there, or for nobody, does not come by waiting."""
    server.answer = send(b"", status=status)
    with pytest.raises(IndoorError, match=f"HTTP {status}"):
        fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, tries=5)
    assert server.num_requests == 1
    assert waits == []


def test_a_name_that_nobody_has_is_asked_for_once(
    tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network nobody waits for half a minute; a resolver that is busy is asked again."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def busy(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    for look_up, num_waits in ((unknown, 0), (busy, 2)):
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with pytest.raises(IndoorError, match=r"Name or service not known|Temporary failure"):
            fetch("http://data.invalid/x.bin", tmp_path / "x.bin", sha256=DIGEST, tries=3)
        assert len(waits) == num_waits


def test_an_address_without_a_file_says_what_else_works(server: Server, tmp_path: Path) -> None:
    """404 is no matter of the network, so it is not advised to look at that."""
    server.answer = send(b"", status=404)
    with pytest.raises(IndoorError) as caught:
        fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST, instead="take the other")
    assert str(caught.value).endswith("nothing lies at this address: take the other")


# What does not fit.


@pytest.mark.parametrize("length", [-1, None])
def test_a_file_without_end_fills_no_disk(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int | None
) -> None:
    """What is longer than anything that is fetched here is given up, whether or not it says so."""
    for module in ("fetching", "request"):
        monkeypatch.setattr(f"indoor.download.{module}.MAX_BYTES", 500_000)
    server.answer = send(BODY, length=length)
    with pytest.raises(IndoorError, match="sends more than 500,000 bytes"):
        fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    part = tmp_path / PART[0]
    assert not part.exists() or part.stat().st_size <= 500_000


def test_a_full_disk_is_told_before_it_is_full(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is not begun; what came before stays and counts."""
    cut_off(server, tmp_path / "x.bin", 1_000_000)
    usage = shutil.disk_usage(tmp_path)._replace(free=40_000)
    monkeypatch.setattr("indoor.download.fetching.shutil.disk_usage", lambda _: usage)
    server.answer = ranges(BODY)
    with pytest.raises(IndoorError, match=r"needs 48,576 bytes more.* has 40,000 free"):
        fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert leftovers(tmp_path) == PART


def test_a_disk_that_fills_up_keeps_what_came(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails is one line, and the next call goes on."""
    server.answer = ranges(BODY)
    to_disk = os.fsync
    left = [to_disk]  # the notes fit, the file does not

    def fill_up(descriptor: int) -> None:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left.pop()(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        with pytest.raises(IndoorError, match=r"cannot write .*x.bin: No space left on device"):
            fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert leftovers(tmp_path) == PART
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert server.num_requests == 1
