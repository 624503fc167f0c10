"""Hostile photographs: what each file holds, and whether it may be refused."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

Expected = Literal["decodes", "refused", "either"]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
NUM_FLIPPED = 6
"""Files of each format with a few flipped bytes."""


@dataclass(frozen=True)
class Case:
    """A file to make, and what is to become of it."""

    name: str
    make: Callable[[Path], object]
    expected: Expected


def noise(width: int = 48, height: int = 40, mode: str = "RGB") -> Image.Image:
    """Return noise, which no format compresses much."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, bands), dtype=np.uint8)
    return Image.frombytes(mode, (width, height), pixels.tobytes())


def saved(image: Image.Image, format_: str, **options: object) -> bytes:
    """Return an image as a file's content."""
    data = io.BytesIO()
    image.save(data, format_, **options)
    return data.getvalue()


def content(data: bytes) -> Callable[[Path], object]:
    """Return what writes these bytes."""
    return lambda path: path.write_bytes(data)


def truncated() -> Iterator[Case]:
    """Yield a file of each format cut off at every eighth."""
    for format_ in FORMATS:
        data = saved(noise(), format_)
        for eighth in range(1, 8):
            cut = data[: len(data) * eighth // 8]
            yield Case(f"{format_.lower()}-cut-{eighth}.jpg", content(cut), "refused")


def flipped() -> Iterator[Case]:
    """Yield files of each format with some bytes changed, in the head and anywhere."""
    generator = np.random.default_rng(1)
    for format_ in FORMATS:
        for number in range(NUM_FLIPPED):
            data = bytearray(saved(noise(), format_))
            within = 64 if number % 2 else len(data)
            for place in generator.integers(0, within, size=1 + number):
                data[place] ^= 1 << int(generator.integers(0, 8))
            yield Case(f"{format_.lower()}-flipped-{number}.jpg", content(bytes(data)), "either")


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, num_bytes: int) -> bytes:
    """Return a black PNG, made without its pixels in memory."""
    packer, packed = zlib.compressobj(9), []
    row = bytes(1 + num_bytes * width)
    packed = [packer.compress(row) for _ in range(height)] + [packer.flush()]
    head = struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", b"".join(packed))
        + chunk(b"IEND", b"")
    )


def claimed_png(width: int, height: int) -> bytes:
    """Return a PNG that says it is so large, and holds nothing."""
    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def long_bmp() -> bytes:
    """Return a BMP of one long row whose two bytes say to skip 255 rows, by RLE."""
    width = 80_000_000
    info = struct.pack("<LllHHLLllLL", 40, width, 1, 1, 8, 1, 0, 0, 0, 2, 0)
    palette = bytes(8)
    start = 14 + len(info) + len(palette)
    pixels = b"\0\2\xff\xff" * 16 + b"\0\1"
    return struct.pack("<2sLHHL", b"BM", start + len(pixels), 0, 0, start) + info + palette + pixels


def many_scans() -> bytes:
    """Return a large progressive JPEG whose last scan is repeated thousands of times."""
    data = saved(Image.new("L", (4000, 4000), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 5000 + b"\xff\xd9"


def many_segments(payload: bytes, count: int) -> bytes:
    """Return a JPEG with the same application data again and again."""
    data = saved(noise(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(payload)) + payload
    return data[:2] + segment * count + data[2:]


def exif(order: bytes, version: int, *entries: bytes, place: int = 8) -> bytes:
    """Return EXIF data, of BigTIFF where the version is 43."""
    sign = "<" if order == b"II" else ">"
    if version == 43:
        head = order + struct.pack(sign + "HHHQ", 43, 8, 0, place)
        return b"Exif\0\0" + head + struct.pack(sign + "Q", len(entries)) + b"".join(entries)
    head = order + struct.pack(sign + "HL", version, place)
    return b"Exif\0\0" + head + struct.pack(sign + "H", len(entries)) + b"".join(entries)


def with_text(packed: bytes) -> bytes:
    """Return a PNG with a compressed text before its pixels."""
    data = saved(noise(), "PNG")
    return data[:33] + chunk(b"zTXt", b"Comment\0\0" + packed) + data[33:]


def frames(format_: str) -> bytes:
    """Return an animation of three frames."""
    first, *others = (noise() for _ in range(3))
    return saved(first, format_, save_all=True, append_images=others)


def _sixteen(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 65536, (height, width), dtype=np.uint16)
    return Image.fromarray(values)


def odd() -> Iterator[Case]:
    """Yield what is unusual and whole, and what nobody means well by."""
    side = 9_400  # 88 million pixels
    zeros = zlib.compress(bytes(50_000_000), 9)
    sound: dict[str, bytes] = {
        "1x1.png": saved(noise(1, 1), "PNG"),
        "1x1.jpg": saved(noise(1, 1), "JPEG"),
        "20000x1.png": saved(noise(20_000, 1), "PNG"),
        "1x20000.jpg": saved(noise(1, 20_000), "JPEG"),
        "cmyk.jpg": saved(noise(mode="CMYK"), "JPEG"),
        "cmyk.tif": saved(noise(mode="CMYK"), "TIFF"),
        "16-bit.png": saved(_sixteen(40, 30), "PNG"),
        "16-bit.tif": saved(_sixteen(40, 30), "TIFF"),
        "animated.gif": frames("GIF"),
        "animated.png": frames("PNG"),
        "animated.webp": frames("WEBP"),
        "png-named.jpg": saved(noise(), "PNG"),
        "jpeg-named.png": saved(noise(), "JPEG"),
        "huge-exif.jpg": many_segments(b"Exif\0\0II*\0" + bytes(60_000), 150),
        "huge-comment.jpg": many_segments(b"x" * 65_000, 150),
        "exif-beyond-its-end.jpg": many_segments(exif(b"II", 43, place=2**64 - 1), 1),
        "exif-of-endless-entries.jpg": many_segments(exif(b"MM", 43, place=2**63), 1),
        "exif-of-nothing.jpg": many_segments(b"Exif\0\0", 3),
        "text-bomb.png": with_text(zeros),
        "largest-rgba.png": png(side, side, 8, 6, 4),
        "largest-16-bit.png": png(side, side, 16, 0, 2),
        "largest-grey.jpg": saved(Image.new("L", (side, side), 9), "JPEG"),
        "largest-colour.jpg": saved(Image.new("RGB", (side, side), 9), "JPEG"),
    }
    for name, data in sound.items():
        yield Case(name, content(data), "decodes")
    bad: dict[str, bytes] = {
        "empty.jpg": b"",
        "zeros.jpg": bytes(5000),
        "text-named.jpg": b"this is no picture",
        "page.jpg": b"<html><body>404</body></html>",
        "400-megapixel.png": claimed_png(20_000, 20_000),
        "claims-everything.png": claimed_png(2**31 - 1, 2**31 - 1),
        "long-row.bmp": long_bmp(),
        "long-row.png": claimed_png(70_000, 1),
        "claims-everything.gif": b"GIF89a\xff\xff\xff\xff\0\0\0" + bytes(99),
        "claims-everything.webp": saved(noise(), "WEBP")[:26] + b"\xff\x3f\xff\x3f" + bytes(99),
        "many-scans.jpg": many_scans(),
        "a-million-exif-segments.jpg": many_segments(b"Exif\0\0" + bytes(4), 700_000),
    }
    for name, data in bad.items():
        yield Case(name, content(data), "refused")
    yield Case("folder.jpg", Path.mkdir, "refused")
    yield Case("pipe.jpg", os.mkfifo, "refused")
    yield Case("device.jpg", lambda path: path.symlink_to("/dev/zero"), "refused")
    yield Case("nowhere.jpg", lambda path: path.symlink_to(path.with_name("gone")), "refused")
    yield Case("itself.jpg", lambda path: path.symlink_to(path), "refused")
    yield Case("10-gigabytes.jpg", _sparse, "refused")


def _sparse(path: Path) -> None:
    path.write_bytes(saved(noise(), "JPEG"))
    os.truncate(path, 10_000_000_000)


def all_cases() -> tuple[Case, ...]:
    """Return every case, each of a name of its own."""
    return (*truncated(), *flipped(), *odd())
