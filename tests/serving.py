"""A loopback server that gives the answers which a test sets, and a progress that listens."""

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BODY = bytes(range(256)) * 4096
"""A served file of 1 MiB."""

DIGEST = hashlib.sha256(BODY).hexdigest()

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Bar:
    """A progress that remembers what it heard."""

    heard: list[tuple[str, int]] = field(default_factory=list)
    num_done: int = 0
    num_finished: int = 0

    def start(self, description: str, total: int) -> None:
        """Remember the work."""
        self.heard.append((description, total))

    def advance(self, count: int = 1) -> None:
        """Count."""
        self.num_done += count

    def finish(self) -> None:
        """Count ends."""
        self.num_finished += 1


class Server:
    """A loopback server that gives the answer which a test sets, and keeps what was asked."""

    def __init__(self) -> None:
        self.answer: Answer = send(BODY)
        self.asked: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(dict(self.headers.items()))
                server.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.stop = threading.Event()
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def num_requests(self) -> int:
        """How often something was asked for."""
        return len(self.asked)

    @property
    def ranges(self) -> list[str | None]:
        """Which part was asked for, each time; None: all."""
        return [headers.get("Range") for headers in self.asked]

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self.http.server_address[1]}/models/{name}"


def send(body: bytes, *, status: int = 200, length: int | None = -1, **headers: str) -> Answer:
    """Answer with a body; `length` is what the header promises, -1 the truth, None nothing."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        if length is not None:
            handler.send_header("Content-Length", str(len(body) if length == -1 else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def ranges(body: bytes, *, etag: str | None = '"1"', cut: int | None = None) -> Answer:
    """Answer as RFC 9110 wants it where a part is asked for; each answer ends after `cut` bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if handler.headers.get("If-Range", etag) != etag:
            asked = None
        start = int(asked[1]) if asked else 0
        if asked and start >= len(body):
            send(b"", status=416)(handler)
            return
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if etag:
            handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        handler.wfile.write(body[start:][:cut])

    return answer


def by_name(answers: Mapping[str, Answer]) -> Answer:
    """Answer by the name at the end of the address; what is not there is not found."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.rpartition("/")[2]
        answers.get(name, send(b"gone", status=404))(handler)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """Give one answer after the other, and the last one from then on."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


def leftovers(folder: Path) -> list[str]:
    """Return what lies in a folder besides the locks."""
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))
