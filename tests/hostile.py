"""Calls on hostile files, in a process of their own that may hang, die or fill the memory.

`python tests/hostile.py CALLS OUTCOMES` makes the calls that a JSON file lists, one after another,
and writes a line of JSON for each. A call is the words of an `indoor` command, or one of
`photograph FILE`, `weights FILE` and `archive FILE DATA_SET`, which do what every command does with
such a file and start no network.
"""

import json
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

GIB = 1 << 30
SPARE_BYTES = 4 * GIB
"""Of address space: a bomb ends its process and not the machine."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one command did; `grown_bytes` is its peak memory above what was there before it."""

    status: int
    out: str
    err: str
    grown_bytes: int
    seconds: float


def call(calls: Sequence[Sequence[object]], folder: Path, *, timeout_s: float) -> list[Outcome]:
    """Make the calls of `indoor` in one process that works in `folder`.

    Returns:
        An outcome for each call that ended; fewer where one of them hung or killed the process.
    """
    told, found = folder / "calls.json", folder / "outcomes.jsonl"
    told.write_text(json.dumps([[str(word) for word in words] for words in calls]))
    command = [sys.executable, __file__, str(told), str(found)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    lines = found.read_text().splitlines() if found.exists() else []
    return [Outcome(**json.loads(line)) for line in lines]


def assert_refused(outcome: Outcome, name: str) -> None:
    """Assert that a call ended in one line that names the file, and cost little."""
    assert_bounded(outcome)
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert name in line
    assert "; " in line or "expected" in line


def assert_all_refused(outcomes: Mapping[str, Outcome | None]) -> None:
    """Assert it of each, by the file's name; None: the process did not come so far."""
    wrong = []
    for name, outcome in outcomes.items():
        if outcome is None:
            wrong.append(f"{name}: it hung or killed the process, or one before it did")
            break
        try:
            assert_refused(outcome, name)
        except AssertionError as error:
            wrong.append(f"{name}: {outcome.status} {str(error)[:300]}")
    assert not wrong, "\n".join(wrong)


def assert_bounded(outcome: Outcome) -> None:
    """Assert what holds of every call: no traceback, and no more than 1 GiB."""
    assert "Traceback" not in outcome.err, outcome.err
    assert outcome.status in (0, 1, 2), outcome
    assert outcome.grown_bytes <= GIB, f"{outcome.grown_bytes / GIB:.2f} GiB"


def _make(words: list[str], folder: Path) -> Outcome:
    """Make a call in this process; whatever is printed, by libraries as well, is caught."""
    before = _reset_peak()
    began = time.perf_counter()
    streams = [folder / "out", folder / "err"]
    saved = [os.dup(1), os.dup(2)]
    try:
        for descriptor, path in zip((1, 2), streams, strict=True):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, descriptor)
            os.close(opened)
        try:
            status = _READERS.get(words[0], _command)(words)
        except BaseException:  # noqa: BLE001 - whatever it is, the test is told
            traceback.print_exc()
            status = 70
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        for descriptor, kept in zip((1, 2), saved, strict=True):
            os.dup2(kept, descriptor)
            os.close(kept)
    out, err = (path.read_text(errors="replace") for path in streams)
    return Outcome(
        status=status,
        out=out,
        err=err,
        grown_bytes=_peak() - before,
        seconds=time.perf_counter() - began,
    )


def _command(words: list[str]) -> int:
    from indoor.cli import main

    return main(words)


def _photograph(words: list[str]) -> int:
    """Decode a photograph, bring it to the size of a network's input, and look at its stream."""
    from indoor.dataset import load_photograph
    from indoor.dataset.jpeg_stream import find_stream_damage
    from indoor.transforms import DEFAULT_PREPROCESSING, inference_transform

    path = Path(words[1])

    def read() -> None:
        image = load_photograph(path)
        for resize in ("whole", "crop"):
            inference_transform(replace(DEFAULT_PREPROCESSING, resize=resize))(image)
        del image
        find_stream_damage(path.read_bytes())

    return _told(read)


def _weights(words: list[str]) -> int:
    """Find the network in a file of weights, and read what it says of itself."""
    from indoor.model import find_weights, load_weights
    from indoor.model.file_kinds import identify_kind
    from indoor.model.tensors import read_metadata

    path = Path(words[1])

    def read() -> None:
        if identify_kind(path) == "safetensors":
            read_metadata(path)
        load_weights(find_weights(path, None))

    return _told(read)


def _archive(words: list[str]) -> int:
    """Make the data set that `words[2]` is of an archive, in `sets` beside it."""
    from archived import publish

    from indoor.dataset import obtain

    path, published = Path(words[1]), publish(Path(words[2]))
    return _told(lambda: obtain(path.parent / "sets" / "set", published, archive=path))


def _told(read: Callable[[], object]) -> int:
    from indoor.cli.output import tell
    from indoor.errors import IndoorError

    try:
        read()
    except IndoorError as error:
        tell(error)
        return 2
    return 0


_READERS: dict[str, Callable[[list[str]], int]] = {
    "photograph": _photograph,
    "weights": _weights,
    "archive": _archive,
}


def _reset_peak() -> int:
    """Have the kernel count the peak anew; return the resident memory in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def _main() -> None:
    import torch

    torch.set_num_threads(1)
    calls, outcomes = Path(sys.argv[1]), Path(sys.argv[2])
    limit = _status("VmSize") + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with outcomes.open("a") as file:
        for words in json.loads(calls.read_text()):
            file.write(json.dumps(asdict(_make(words, calls.parent))) + "\n")
            file.flush()


if __name__ == "__main__":
    _main()
