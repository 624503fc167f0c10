"""Archives that nobody should unpack, each with what its line says, and how sound ones are made."""

import gzip
import stat
import struct
import tarfile
from collections.abc import Callable

from archived import entry, tar, zipped

Images = dict[str, bytes]
"""Photographs by their names, below `Images/`."""


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


PACKED: dict[str, Callable[[Images], bytes]] = {
    "tar": tar,
    "tar.gz": lambda images: tar(images, "w:gz"),
    "zip": zipped,
}
