"""Archives that nobody should unpack: each is one line, and nothing of it is anywhere."""

import gzip
import re
import shutil
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archived import eighths, entry, files_of, publish, tar, within, zipped

from indoor.dataset import archives, obtain
from indoor.dataset.archives import read_archive, read_entry
from indoor.dataset.published import look_for
from indoor.errors import IndoorError

Images = dict[str, bytes]


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the other programs' files alone."""
    monkeypatch.setattr("indoor.dataset.obtaining.os.sync", lambda: None)


@pytest.fixture(scope="module")
def images(photographs: Path) -> Images:
    """The photographs, below `Images/`."""
    return {name: data for name, data in files_of(photographs).items() if "/" in name}


def with_tar(name: str, **fields: object) -> Callable[[Images], bytes]:
    """Return what makes a tar archive that ends with such an entry."""
    return lambda images: tar(images, "w", (entry(name, **fields), b""))


def claims(data: bytes, name: str, size: int) -> bytes:
    """Return a zip archive in which a file claims another size."""
    at = data.index(b"PK\x01\x02")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\x01\x02", at + 1)
    return data[: at + 24] + struct.pack("<I", size) + data[at + 28 :]


def encrypted(data: bytes) -> bytes:
    """Return a zip archive of which every file says that it is encrypted."""
    parts = bytearray(data)
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.find(mark)
        while at >= 0:
            parts[at + place] |= 1
            at = data.find(mark, at + 1)
    return bytes(parts)


def long_header(_: Images) -> bytes:
    """Return a packed tar whose extended header is 50 MB of nothing."""
    info = entry("x", type=tarfile.XHDTYPE, size=50 << 20)
    return gzip.compress(info.tobuf() + bytes(info.size), compresslevel=1)


def negative(images: Images) -> bytes:
    """Return a tar archive with a file of less than no bytes, as CVE-2025-8194 has it."""
    header = bytearray(entry("Images/bars/x.jpg").tobuf())
    header[124:136] = b"\xff" * 8 + (2**32 - 512).to_bytes(4, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    return bytes(header) + tar(images)


HOSTILE: dict[str, tuple[Callable[[Images], bytes], str]] = {
    "..": (with_tar("Images/../../../evil.jpg"), r"evil.jpg, which leads outside"),
    ".. in zip": (
        lambda images: zipped({**images, "../evil.jpg": b"x"}),
        r"holds ../evil.jpg, which leads outside",
    ),
    ".. with backslashes": (
        lambda images: zipped({**images, "Images\\..\\..\\evil.jpg": b"x"}),
        "which leads outside",
    ),
    "absolute": (with_tar("/tmp/evil.jpg"), "holds /tmp/evil.jpg, which leads outside"),  # noqa: S108
    "absolute, of Windows": (with_tar("C:\\evil.jpg"), "which leads outside"),
    "a symbolic link": (
        with_tar("Images/bars/x.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "holds Images/bars/x.jpg, a link",
    ),
    "a hard link": (
        with_tar("Images/bars/x.jpg", type=tarfile.LNKTYPE, linkname="../../x"),
        "holds Images/bars/x.jpg, a link",
    ),
    "a link in zip": (
        lambda images: zipped(images, **{"Images/bars/x.jpg": stat.S_IFLNK | 0o777}),
        "holds Images/bars/x.jpg, a link",
    ),
    "a device": (with_tar("Images/bars/x.jpg", type=tarfile.CHRTYPE), "a device"),
    "a pipe": (with_tar("Images/bars/x.jpg", type=tarfile.FIFOTYPE), "a device"),
    "a pipe in zip": (
        lambda images: zipped(images, **{"Images/bars/x.jpg": stat.S_IFIFO | 0o666}),
        "a device",
    ),
    "a sparse file": (
        with_tar("Images/bars/x.jpg", type=tarfile.GNUTYPE_SPARSE),
        "a sparse file|damaged",
    ),
    "100,000 files": (
        lambda _: entry("Images/bars/x.jpg").tobuf() * 100_000 + bytes(1024),
        "holds more than 60,000 files and folders",
    ),
    "a tar bomb": (
        lambda _: gzip.compress(tar({"Images/bars/x.jpg": bytes(90 << 20)}), compresslevel=1),
        "unpacks to more than 20 times its size",
    ),
    "a zip bomb": (
        lambda images: claims(zipped(images), "Images/rings/rings_11.jpg", 3 << 30),
        "a photograph of 3,221,225,472 bytes",
    ),
    "a zip bomb of many": (
        lambda _: zipped({f"Images/bars/{n}.jpg": bytes(20 << 20) for n in range(4)}),
        "unpacks to more than 20 times its size",
    ),
    "a zip that claims less": (
        lambda images: claims(zipped(images), "Images/rings/rings_11.jpg", 100),
        "damaged or cut off",
    ),
    "a zip that claims more": (
        lambda images: claims(zipped(images), "Images/rings/rings_11.jpg", 9999),
        "damaged or cut off",
    ),
    "encrypted": (lambda images: encrypted(zipped(images)), "damaged or cut off .*encrypted"),
    "a long header": (long_header, "a header of more than 8,388,608 bytes"),
    "a negative size": (negative, "a photograph of -512 bytes"),
    "many headers in a row": (
        lambda _: entry("x", type=tarfile.XHDTYPE).tobuf() * 5000,
        "damaged or cut off",
    ),
    "no end": (lambda images: tar(images)[: len(tar(images)) // 10240 * 10240 - 10240], "cut off"),
    "something behind the end": (
        lambda images: gzip.compress(tar(images) + bytes(65 << 20), compresslevel=1),
        "goes on for more than",
    ),
    "empty": (lambda _: b"", "is empty; expected an archive"),
    "a web page": (lambda _: b"\n<!DOCTYPE html><html>", "is a web page; expected an archive"),
    "something else": (lambda _: b"7z\xbc\xaf\x27\x1c" * 200, "is none of these; expected"),
    "something else, packed": (lambda _: gzip.compress(b"x" * 2000), "damaged or cut off"),
    "a terminal's codes": (
        with_tar("\x1b[2J/../x"),
        r"holds \\x1b\[2J/../x, which leads outside",
    ),
}


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


PACKED: dict[str, Callable[[Images], bytes]] = {
    "tar": tar,
    "tar.gz": lambda images: tar(images, "w:gz"),
    "zip": zipped,
}


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
