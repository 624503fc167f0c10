"""Readers of strangers' bytes, thrown at mutated files: by hypothesis, or guided by atheris.

`python tests/fuzzing.py READER --seconds N` fuzzes one of them with atheris, which looks for inputs
that reach new lines. tests/test_fuzz.py does the same with hypothesis.
"""

import argparse
import json
import os
import pickle
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MOST_BYTES = 4_000_000
"""No input is longer: nothing is to be learned from that."""


@dataclass(frozen=True)
class Reader:
    """Something that reads a file: it returns, or raises an IndoorError; and files to begin with.

    `file_name` is what the reader's file is called in the folder that it works in.
    """

    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    file_name: str


def try_reader(reader: Reader, data: bytes, folder: Path) -> bool:
    """Have a reader read these bytes.

    Returns:
        Whether it took them.

    Raises:
        Exception: What is no error of ours; or the message of one of ours is no single line.
    """
    from indoor.errors import IndoorError

    path = folder / reader.file_name
    path.write_bytes(data)
    try:
        reader.read(path)
    except IndoorError as error:
        message = str(error)
    else:
        return True
    assert "\n" not in message, message
    return False


def _photograph(path: Path) -> None:
    from indoor.dataset import load_photograph
    from indoor.dataset.jpeg_stream import find_stream_damage
    from indoor.transforms import DEFAULT_PREPROCESSING, inference_transform

    image = load_photograph(path)
    inference_transform(DEFAULT_PREPROCESSING)(image)
    find_stream_damage(path.read_bytes())


def _photographs() -> list[bytes]:
    from hostile_photographs import FORMATS, exif, many_segments, noise, saved

    found = [saved(noise(24, 20), format_) for format_ in FORMATS]
    found += [saved(noise(24, 20), "JPEG", progressive=True), saved(noise(24, 20), "PNG", bits=4)]
    found += [saved(noise(24, 20, "CMYK"), "TIFF", compression="tiff_lzw")]
    for order in (b"II", b"MM"):
        entry = b"\x12\1\3\0\1\0\0\0\6\0\0\0" if order == b"II" else b"\1\x12\0\3\0\0\0\1\0\6\0\0"
        found += [many_segments(exif(order, version, entry), 1) for version in (42, 43)]
    return found


def _weights(path: Path) -> None:
    from indoor.model import find_weights, load_weights

    load_weights(find_weights(path, None))


def _files_of_weights() -> list[bytes]:
    import torch
    from hostile_weights import checkpoint, torch_file

    with tempfile.TemporaryDirectory() as folder:
        ours = checkpoint(Path(folder, "x.safetensors")).read_bytes()
    small: dict[str, Any] = {
        "state_dict": {"conv1.weight": torch.zeros(2, 3), "fc.bias": torch.ones(2).half()},
        "classes": ["a", "b"],
        "mean": np.array([0.5, 0.5, 0.5]),
        "epoch": 3,
        "sparse": torch.sparse_coo_tensor(
            torch.tensor([[0]]), torch.ones(1), (4,), check_invariants=True
        ),
    }
    plain = {name: small[name] for name in ("classes", "mean", "epoch")}
    plain["state_dict"] = {n: t.float().numpy() for n, t in small["state_dict"].items()}
    return [
        ours[:40_000],
        ours,
        torch_file(small),
        torch_file(small, _use_new_zipfile_serialization=False),
        *(pickle.dumps(plain, protocol) for protocol in range(6)),
    ]


def _run(path: Path) -> None:
    from indoor.report import render
    from indoor.runs.results import load_results

    render(load_results([path]))


def _runs() -> list[bytes]:
    import gzip

    from report_records import full_json

    from indoor.runs.results import seal

    data = json.loads(json.dumps(full_json()))
    data["benchmarks"] = data["benchmarks"][:4]
    whole = json.dumps(data).encode()
    sealed = json.dumps({**data, "indoor": seal(data)}).encode()
    return [whole, sealed, gzip.compress(whole, mtime=0)]


def _records(path: Path) -> None:
    from indoor.errors import IndoorError
    from indoor.gate.records import GateReport
    from indoor.records import DataIdentity, read_record
    from indoor.repair.records import Search

    problems = []
    for kind in (GateReport, Search, DataIdentity):
        try:
            read_record(path, kind)  # type: ignore[type-var]
        except IndoorError as error:
            problems.append(error)
    if len(problems) == 3:
        raise problems[0]


def _stored_records() -> list[bytes]:
    from gate_records import red_gate
    from searched import search

    from indoor.records import write_record

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.json")
        found = []
        for record in (red_gate(), search()):
            write_record(path, record)
            found.append(path.read_bytes())
    return found


def _list(path: Path) -> None:
    from indoor.dataset import verify

    verify(path.parent)


def _lists() -> list[bytes]:
    names = [f"bars/bars_{n:02d}.jpg" for n in range(3)] + ["checks/a b.jpg", "checks/\u00e9.png"]
    plain = "\n".join(names)
    return [
        plain.encode(),
        plain.replace("/", "\\").encode("utf-16"),
        ("path,label\n" + "\n".join(f'"{name}",{n}' for n, name in enumerate(names))).encode(),
        "\n".join(f"/data/Images/{name}  # a remark" for name in names).encode("cp1252"),
    ]


def _archive(path: Path) -> None:
    from unittest import mock

    from archived import publish

    from indoor.dataset import obtain
    from indoor.dataset.published import look_for

    folder, root = path.parent, path.parent / "unpacked"
    (folder / "TrainImages.txt").write_text("bars/bars_00.jpg\nchecks/a b.jpg")
    published = publish(folder)
    before = sorted(folder.rglob("*"))
    try:
        with mock.patch("os.sync"):  # other programs' files are left alone
            obtain(root, published, archive=path)
        assert look_for(published, root).lacks == "", "a part was taken for the whole"
        shutil.rmtree(root)
    finally:
        (folder / ".unpacked.download.lock").unlink(missing_ok=True)
        assert sorted(folder.rglob("*")) == before, "something is left, or lost"


def _archives() -> list[bytes]:
    from archived import entry, files_of, tar, zipped

    with tempfile.TemporaryDirectory() as folder:
        files = files_of(make_folder(Path(folder)))
    return [
        tar(files),
        tar(files, "w:gz"),
        zipped(files),
        tar(files, "w", (entry("Images/bars/x.jpg", type=tarfile.SYMTYPE, linkname="/"), b"")),
    ]


def make_folder(folder: Path) -> Path:
    """Make the data set that the lists are of, and return its folder."""
    from hostile_photographs import noise, saved

    for name in ("bars/bars_00.jpg", "bars/bars_01.jpg", "checks/a b.jpg", "checks/\u00e9.png"):
        (folder / "Images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "Images" / name).write_bytes(saved(noise(8, 8), "JPEG"))
    (folder / "TestImages.txt").write_text("bars/bars_01.jpg")
    return folder


READERS = {
    "photograph": Reader(_photograph, _photographs, "photograph.jpg"),
    "weights": Reader(_weights, _files_of_weights, "weights.pt"),
    "run": Reader(_run, _runs, "run.json"),
    "record": Reader(_records, _stored_records, "record.json"),
    "archive": Reader(_archive, _archives, "archive.tar"),
    "list": Reader(_list, _lists, "TrainImages.txt"),
}


def _main() -> None:
    """Fuzz with atheris for so many seconds of this process's time, and say how many inputs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--seconds", type=float, default=60.0)
    parsed = parser.parse_args()
    import atheris

    with atheris.instrument_imports(
        include=["indoor", "PIL", "pickle", "zipfile", "tarfile", "json"]
    ):
        import indoor.cli
        import indoor.dataset
        import indoor.model
        import indoor.report
        import indoor.runs.results  # noqa: F401
    reader = READERS[parsed.reader]
    folder = make_folder(Path(tempfile.mkdtemp(prefix="indoor-fuzz-")))
    os.environ["INDOOR_CACHE"] = str(folder / "cache")
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(reader.seeds()):
        (corpus / str(number)).write_bytes(seed)
    counts = {"tried": 0, "taken": 0}

    def one(data: bytes) -> None:
        counts["tried"] += 1
        counts["taken"] += try_reader(reader, data, folder)
        if time.process_time() > parsed.seconds:
            told = f"{parsed.reader}: {counts['tried']:,} inputs, {counts['taken']:,} taken, "
            sys.stderr.write(f"{told}{time.process_time():.0f} s of CPU\n")
            sys.stderr.flush()
            os._exit(0)

    options = [f"-max_len={MOST_BYTES}", "-rss_limit_mb=2048", "-timeout=60", str(corpus)]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    _main()
