"""Where weights come from: a file, the cache, a download from a server that may misbehave, none."""

import hashlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn

from indoor.errors import IndoorError
from indoor.locks import locked
from indoor.model import FORMAT, build_model, resolve_weights, save_float
from indoor.model.download import fetch
from indoor.model.sources import IMAGENET_URLS
from indoor.records import CheckpointManifest, Preprocessing, WeightSource
from indoor.transforms import DEFAULT_PREPROCESSING

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
    """A loopback server that gives the answer which a test sets, and counts requests."""

    def __init__(self) -> None:
        self.answer: Answer = send(BODY)
        self.num_requests = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.num_requests += 1
                server.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.stop = threading.Event()
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return f"http://127.0.0.1:{self.http.server_address[1]}/models/{name}"


def send(body: bytes, *, status: int = 200, length: int | None = -1) -> Answer:
    """Answer with a body; `length` is what the header promises, -1 the truth, None nothing."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if length is not None:
            handler.send_header("Content-Length", str(len(body) if length == -1 else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine that no proxy stands before."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.stop.set()
    running.http.shutdown()
    running.http.server_close()


def leftovers(folder: Path) -> list[str]:
    """Return what lies in a folder besides the lock."""
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


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


FAILURES: dict[str, tuple[Answer, str]] = {
    "other content": (
        send(BODY[:-1] + b"!"),
        r"has SHA-256 [0-9a-f]{16}\.\.\., expected .*damaged",
    ),
    "truncated": (send(BODY[:1000], length=len(BODY)), "ended after 1000 of 1048576 bytes"),
    "truncated without length": (send(BODY[:1000], length=None), "has SHA-256"),
    "empty": (send(b""), "has SHA-256 e3b0c44298fc1c14"),
    "not found": (send(b"gone", status=404), "HTTP 404 Not Found"),
    "forbidden": (send(b"no", status=403), "HTTP 403 Forbidden"),
    "server error": (send(b"oops", status=503), "HTTP 503 Service Unavailable"),
    "silent": (hang, "no answer in 0.4 s|timed out"),
    "dripping": (drip, "[0-9]+ bytes in 0.4 s"),
    "stalling": (stall, "timed out"),
    "no http": (no_http, "cannot download"),
}


@pytest.mark.parametrize(("answer", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failed_download_is_one_line_and_no_file(
    server: Server, tmp_path: Path, answer: Answer, words: str
) -> None:
    """Whatever the server does, it ends soon, says why in one line, and leaves nothing behind."""
    server.answer = answer
    url = server.url("x.bin")
    bar = Bar()
    start = time.monotonic()
    with pytest.raises(IndoorError, match=words) as caught:
        fetch(url, tmp_path / "x.bin", sha256=DIGEST[:8], timeout_s=0.4, progress=bar)
    assert time.monotonic() - start < 8
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []
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
    with pytest.raises(IndoorError, match=r"cannot write to .*set TORCH_HOME"):
        fetch(server.url("x.bin"), tmp_path / "hub" / "x.bin", sha256=DIGEST)


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


def test_a_killed_download_leaves_no_file(server: Server, tmp_path: Path) -> None:
    """After kill -9 in the middle there is no such file, and the next download gets it whole."""
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
        "import sys; from pathlib import Path; from indoor.model.download import fetch; "
        "fetch(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3], timeout_s=30)"
    )
    arguments = [server.url("x.bin"), str(tmp_path / "x.bin"), DIGEST]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    try:
        assert started.wait(60)
        wait_until(lambda: any(p.stat().st_size > 0 for p in tmp_path.glob(".x.bin.*.tmp")))
    finally:
        process.kill()
        process.wait()
        released.set()
    assert [p.startswith(".x.bin.") for p in leftovers(tmp_path)] == [True]
    server.answer = send(BODY)
    fetch(server.url("x.bin"), tmp_path / "x.bin", sha256=DIGEST)
    assert leftovers(tmp_path) == ["x.bin"]
    assert (tmp_path / "x.bin").read_bytes() == BODY


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fail after 20 seconds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# The order of the sources.


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for torchvision's file: 1,000 classes, the hash in its name."""
    folder = tmp_path_factory.mktemp("imagenet")
    model = build_model("resnet18", 1000, seed=9)
    state = {
        k: v.half() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")
    }
    torch.save(state, folder / "file.pth")
    digest = hashlib.sha256((folder / "file.pth").read_bytes()).hexdigest()
    return (folder / "file.pth").rename(folder / f"resnet18-{digest[:8]}.pth")


def fc_of(model: nn.Module) -> torch.Tensor:
    """Return the last layer's weights as the stand-in's float16."""
    weight = model.fc.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach().half()


def test_a_file_comes_first(tmp_path: Path, imagenet: Path) -> None:
    """The named file is taken, with its classes and preprocessing, though a cache is there."""
    model = build_model("resnet18", 2, seed=1)
    crop = Preprocessing(resize="crop", size=64, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    manifest = CheckpointManifest(
        format=FORMAT,
        arch="resnet18",
        precision="float32",
        classes=("hall", "office"),
        preprocessing=crop,
        weights=WeightSource(kind="none", name="random (seed 1)", sha256=None),
    )
    save_float(tmp_path / "w.safetensors", model, manifest)
    found = resolve_weights(tmp_path / "w.safetensors", "resnet18", url=f"http://x/{imagenet.name}")
    assert torch.equal(found.model.fc.weight, model.fc.weight)
    assert found.classes == ("hall", "office")
    assert found.preprocessing == crop
    digest = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    assert found.source == WeightSource(kind="file", name="w.safetensors", sha256=digest)
    assert found.notes == ()


def test_a_file_without_names_says_so(imagenet: Path) -> None:
    """Weights that name no classes keep their last layer, and say what they do not know."""
    found = resolve_weights(imagenet, "resnet18")
    assert found.classes is None
    assert found.num_outputs == 1000
    assert torch.equal(fc_of(found.model), fc_of(build_model("resnet18", 1000, seed=9)))
    assert found.source.assumed == (
        "says no mean and std: ImageNet's",
        "says no input size: the whole photograph at 224 x 224",
    )


def test_as_many_classes_as_outputs_are_taken(imagenet: Path) -> None:
    """A file that names none takes the data's classes where it has as many outputs, and says so."""
    names = tuple(f"{index:03d}" for index in range(1000))
    found = resolve_weights(imagenet, "resnet18", classes=names)
    assert found.classes == names
    assert found.source.assumed[-1] == (
        "names no classes: taken to be the data set's 1000, in sorted order"
    )
    assert resolve_weights(imagenet, "resnet18", classes=names[:-1]).classes is None


def test_a_bad_file_is_an_error_and_no_fallback(tmp_path: Path, imagenet: Path) -> None:
    """Who names weights gets those or an error, never others in silence."""
    with pytest.raises(IndoorError, match="there is no file"):
        resolve_weights(tmp_path / "none.pt", "resnet18")
    with pytest.raises(IndoorError, match="holds a resnet18, expected a resnet50"):
        resolve_weights(imagenet, "resnet50")


def test_the_cache_comes_before_the_network(server: Server, tmp_path: Path, imagenet: Path) -> None:
    """ImageNet weights in torch's cache are used without asking anybody."""
    cached = tmp_path / "checkpoints" / imagenet.name
    cached.parent.mkdir()
    cached.symlink_to(imagenet)
    found = resolve_weights(None, "resnet18", url=server.url(imagenet.name), hub_folder=tmp_path)
    assert server.num_requests == 0
    assert found.source.kind == "imagenet-cache"
    assert found.source.name == f"ImageNet V1 ({imagenet.name})"
    assert found.source.sha256 is not None
    assert found.source.sha256.startswith(imagenet.stem[-8:])
    assert found.classes is None
    assert found.preprocessing == DEFAULT_PREPROCESSING
    assert found.notes == ()
    assert found.source.assumed == ()
    assert torch.equal(fc_of(found.model), fc_of(build_model("resnet18", 1000, seed=9)))


def test_the_download_fills_the_cache(
    server: Server, tmp_path: Path, imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is downloaded lies in torch's cache (TORCH_HOME) and is found there the next time."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    server.answer = send(imagenet.read_bytes())
    bar = Bar()
    url = server.url(imagenet.name)
    first = resolve_weights(None, "resnet18", url=url, progress=bar)
    again = resolve_weights(None, "resnet18", url=url)
    assert first.source.kind == "imagenet-download"
    assert again.source.kind == "imagenet-cache"
    assert first.source.sha256 == again.source.sha256
    assert server.num_requests == 1
    assert bar.num_done == imagenet.stat().st_size
    assert leftovers(tmp_path / "hub" / "checkpoints") == [imagenet.name]


def test_a_damaged_cache_is_downloaded_again(
    server: Server, tmp_path: Path, imagenet: Path
) -> None:
    """A cached file whose hash is wrong is replaced, and said to have been wrong."""
    cached = tmp_path / "checkpoints" / imagenet.name
    cached.parent.mkdir()
    cached.write_bytes(imagenet.read_bytes()[:-1])
    server.answer = send(imagenet.read_bytes())
    found = resolve_weights(None, "resnet18", url=server.url(imagenet.name), hub_folder=tmp_path)
    assert found.source.kind == "imagenet-download"
    assert found.notes == (f"{cached} is not what its name says (SHA-256), so it was not used",)
    assert cached.read_bytes() == imagenet.read_bytes()


def test_without_a_network_there_are_none(server: Server, tmp_path: Path) -> None:
    """A failed download gives seeded random weights, with what happened and what it means."""
    server.answer = send(b"", status=404)
    url = server.url("resnet18-f37072fd.pth")
    found = resolve_weights(None, "resnet18", url=url, hub_folder=tmp_path, seed=5)
    assert found.source == WeightSource(kind="none", name="random (seed 5)", sha256=None)
    assert found.classes is None
    assert found.preprocessing == DEFAULT_PREPROCESSING
    assert torch.equal(found.model.fc.weight, build_model("resnet18", 1000, seed=5).fc.weight)
    failed, meaning = found.notes
    assert failed.startswith(f"no ImageNet weights: cannot download {url}: HTTP 404 Not Found;")
    assert "random weights (seed 5): its accuracy says nothing" in meaning


def test_a_download_can_be_switched_off(server: Server, tmp_path: Path) -> None:
    """With allow_download=False nobody is asked."""
    url = server.url("resnet18-f37072fd.pth")
    found = resolve_weights(None, "resnet18", allow_download=False, url=url, hub_folder=tmp_path)
    assert server.num_requests == 0
    assert found.source.kind == "none"
    assert found.notes[0] == (
        "no ImageNet weights in torch's cache, and downloading is switched off"
    )


def test_an_unwritable_cache_does_not_stop_the_run(server: Server, tmp_path: Path) -> None:
    """A cache folder that cannot be made is a note, not an error."""
    (tmp_path / "hub").write_text("a file")
    url = server.url("resnet18-f37072fd.pth")
    found = resolve_weights(None, "resnet18", url=url, hub_folder=tmp_path / "hub")
    assert found.source.kind == "none"
    assert "no ImageNet weights: cannot write to" in found.notes[0]


def test_resolve_weights_refuses_bad_arguments() -> None:
    """An unknown architecture, and an address whose name carries no hash."""
    with pytest.raises(ValueError, match="unknown architecture 'vgg', expected one of resnet18"):
        resolve_weights(None, "vgg")
    with pytest.raises(ValueError, match=r"no SHA-256 in the file name 'resnet18.pth'"):
        resolve_weights(None, "resnet18", url="http://127.0.0.1/resnet18.pth")


def test_the_addresses_are_those_of_the_first_weights() -> None:
    """The files are IMAGENET1K_V1, whose names are known for years, and carry their hash."""
    names = {arch: url.rsplit("/", 1)[1] for arch, url in IMAGENET_URLS.items()}
    assert names["resnet18"] == "resnet18-f37072fd.pth"
    assert names["resnet50"] == "resnet50-0676ba61.pth"
