"""Archives of a data set as people have them, and as nobody should."""

import hashlib
import io
import os
import signal
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indoor.dataset.lists import LIST_NAMES
from indoor.dataset.obtaining import obtain
from indoor.dataset.published import PublishedList, PublishedSet

Files = Mapping[str, bytes]
"""Contents by names, in the archive's order."""


def files_of(root: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def publish(
    root: Path, archive: bytes = b"", address: Callable[[str], str] = "http://127.0.0.1:9/{}".format
) -> PublishedSet:
    """Return a small data set as its authors would have published it."""
    return PublishedSet(
        name="Patterns",
        page=address("page"),
        archive_url=address("patterns.tar"),
        archive_sha1=hashlib.sha1(archive).hexdigest(),  # noqa: S324
        lists={
            name: PublishedList(
                url=address(files[0]),
                sha256=hashlib.sha256((root / files[0]).read_bytes()).hexdigest(),
            )
            for name, files in LIST_NAMES.items()
        },
        other_names={"bars/bars_01.jpg": "bars/bars_1.jpg"},
    )


def tar(files: Files, mode: str = "w", *more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a tar archive of the files, and of further entries."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            archive.addfile(entry(name, size=len(data)), io.BytesIO(data))
        for info, data in more:
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def entry(name: str, **fields: Any) -> tarfile.TarInfo:
    """Return an entry of a tar archive."""
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def zipped(files: Files, **modes: int) -> bytes:
    """Return a zip archive of the files; `modes` are Unix modes by the names of further entries."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for name, mode in modes.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, mode << 16
            archive.writestr(info, b"/etc/passwd")
    return packed.getvalue()


def within(folder: str, files: Files) -> dict[str, bytes]:
    """Return the files in another folder."""
    return {f"{folder}{name}": data for name, data in files.items()}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A data set that is fetched into a folder by a process of its own, which may be killed."""

    root: Path
    published: PublishedSet


def run(job: Job, *, kill_at_write: int | None = None, num_writes: Any = None) -> None:
    """Do the job in this process; with `kill_at_write` die just before that change of a file."""
    os.environ["no_proxy"] = "127.0.0.1"
    os.sync = lambda: None
    counted = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal counted
        if event in CHANGES and str(job.root.parent) in str(arguments[0]):
            if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
                return
            counted += 1
            if counted == kill_at_write:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    obtain(job.root, job.published, wait_s=0)
    if num_writes is not None:
        num_writes.value = counted


CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
"""Events of Python before it changes something on the disk."""


def eighths(data: bytes) -> Iterator[bytes]:
    """Yield the data cut off after each eighth."""
    for index in range(1, 8):
        yield data[: len(data) * index // 8]
