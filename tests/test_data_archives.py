"""Archives that nobody should unpack: each is one line, and nothing of it is anywhere."""

import re
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archived import eighths, entry, files_of, publish, tar, within, zipped
from hostile_archives import HOSTILE, PACKED, Images

from indoor.dataset import archives, obtain
from indoor.dataset.archives import read_archive, read_entry
from indoor.dataset.published import look_for
from indoor.errors import IndoorError


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the other programs' files alone."""
    monkeypatch.setattr("indoor.dataset.obtaining.os.sync", lambda: None)


@pytest.fixture(scope="module")
def images(photographs: Path) -> Images:
    """The photographs, below `Images/`."""
    return {name: data for name, data in files_of(photographs).items() if "/" in name}


def refused(root: Path, photographs: Path, archive: Path, data: bytes) -> str:
    """Return the line that an archive is refused with; nothing of it is anywhere."""
    archive.write_bytes(data)
    for name in ("TrainImages.txt", "TestImages.txt"):
        shutil.copy(photographs / name, archive.parent)
    before = files_of(archive.parent)
    with pytest.raises(IndoorError) as caught:
        obtain(root, publish(photographs), archive=archive)
    assert "\n" not in str(caught.value)
    assert archive.name in str(caught.value)
    assert not root.exists()
    root.with_name(f".{root.name}.download.lock").unlink()
    assert files_of(archive.parent) == before
    return str(caught.value)


@pytest.mark.parametrize(("make", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_one_line(
    photographs: Path, images: Images, tmp_path: Path, make: Callable[[Images], bytes], words: str
) -> None:
    """It is named, with what is wrong, and nothing of it is written."""
    told = refused(tmp_path / "set", photographs, tmp_path / "x.bin", make(images))
    assert re.search(words, told), told


@pytest.mark.parametrize("kind", [kind for kind in HOSTILE if "bomb" in kind or "header" in kind])
def test_a_bomb_takes_little_memory(
    photographs: Path, images: Images, tmp_path: Path, kind: str
) -> None:
    """What an archive claims, or would unpack to, is never in memory."""
    data = HOSTILE[kind][0](images)
    tracemalloc.start()
    try:
        refused(tmp_path / "set", photographs, tmp_path / "x.bin", data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


@pytest.mark.parametrize("kind", PACKED)
def test_a_truncated_archive_is_one_line(
    photographs: Path, images: Images, tmp_path: Path, kind: str
) -> None:
    """Cut off after any eighth, and after all but its last block or byte."""
    data = PACKED[kind](images)
    end = data.rstrip(b"\0") if kind == "tar" else data[:-1]
    for part in (*eighths(data), end):
        told = refused(tmp_path / "set", photographs, tmp_path / "x.bin", part)
        assert "damaged or cut off" in told or "is none of these" in told


@pytest.mark.parametrize("kind", PACKED)
def test_a_flipped_byte_harms_nobody(
    photographs: Path, images: Images, tmp_path: Path, kind: str
) -> None:
    """Wherever it is, there is one line, or the folder is whole; packed data are always right."""
    data = PACKED[kind](images)
    for name in ("TrainImages.txt", "TestImages.txt"):
        shutil.copy(photographs / name, tmp_path)
    published = publish(photographs)
    for at in range(0, len(data), len(data) // 40):
        (tmp_path / "x.bin").write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        root = tmp_path / "set"
        try:
            obtain(root, published, archive=tmp_path / "x.bin")
        except IndoorError as error:
            assert "\n" not in str(error)  # noqa: PT017 (either outcome will do)
            assert not root.exists()
            continue
        assert look_for(published, root).lacks == ""
        if kind != "tar":
            assert {n: d for n, d in files_of(root).items() if n in images} == images
        shutil.rmtree(root)


def test_an_archive_is_read_file_by_file(tmp_path: Path) -> None:
    """Names lose what says nothing, folders are passed over, and contents come in pieces."""
    (tmp_path / "x.tar").write_bytes(
        tar({"./a//b.jpg": b"1" * 3_000_000, "c\\d.jpg": b"2"}, "w", (entry("f", type=b"5"), b""))
    )
    found = {
        e.name: [len(chunk) for chunk in read_entry(e)] for e in read_archive(tmp_path / "x.tar")
    }
    assert found == {"a/b.jpg": [1 << 20, 1 << 20, 3_000_000 - (2 << 20)], "c/d.jpg": [1]}


def test_limits_count_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The total is of all files, whoever wants them."""
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    (tmp_path / "x.zip").write_bytes(
        zipped(within("notes/", {f"{n}.txt": bytes(300) for n in "abcd"}))
    )
    with pytest.raises(IndoorError, match="unpacks to more than 1,000 bytes"):
        list(read_archive(tmp_path / "x.zip"))


def test_zip_files_of_another_packing_are_told(tmp_path: Path) -> None:
    """What this Python cannot unpack is one line."""
    data = bytearray(zipped({"Images/bars/x.jpg": b"x" * 99}))
    for mark, place in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        at = data.index(mark)
        data[at + place : at + place + 2] = struct.pack("<H", 98)
    (tmp_path / "x.zip").write_bytes(data)
    assert zipfile.is_zipfile(tmp_path / "x.zip")
    entries = read_archive(tmp_path / "x.zip")
    found = next(entries)
    with pytest.raises(IndoorError, match="compression"):
        next(read_entry(found))
    entries.close()
