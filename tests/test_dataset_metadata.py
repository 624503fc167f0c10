"""Whatever stands in a photograph's metadata: it is read, and turned where that can be read.

Ids that end in "-control" were right before orientation was read by ourselves.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indoor.dataset import load_photograph

MAKE, ORIENTATION, X_RESOLUTION, EXIF_IFD, GPS_IFD = 0x010F, 0x0112, 0x011A, 0x8769, 0x8825
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SSHORT = 1, 2, 3, 4, 5, 7, 8

Entry = tuple[int, int, int, bytes]
"""Tag, type, count, and the four bytes that hold the value or its place."""


def scene() -> Image.Image:
    """Return 40 x 24, upright: red top left, green top right, blue bottom left, white rest."""
    image = Image.new("RGB", (40, 24), (250, 250, 250))
    image.paste((230, 20, 20), (0, 0, 20, 12))
    image.paste((20, 220, 20), (20, 0, 40, 12))
    image.paste((20, 20, 240), (0, 12, 20, 24))
    return image


def stored() -> Image.Image:
    """Return the scene as a camera that was turned stores it: Orientation 6 brings it upright."""
    return scene().transpose(Image.Transpose.ROTATE_90)


def is_upright(image: Image.Image) -> bool:
    """Tell whether the scene stands as it should."""
    corners = [image.getpixel(at) for at in ((3, 3), (36, 3), (3, 20))] if image.width == 40 else []
    return [int(np.argmax(corner)) for corner in corners] == [0, 1, 2]


def is_as_stored(image: Image.Image) -> bool:
    """Tell whether the scene lies on its side, as it is stored."""
    return is_upright(image.transpose(Image.Transpose.ROTATE_270))


def block(*entries: Entry, order: str = "<", after: bytes = b"", next_ifd: int = 0) -> bytes:
    """Return EXIF data: a TIFF header and one directory with these entries, then `after`."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, len(entries))
    rows = [
        struct.pack(order + "HHL", tag, kind, count) + value for tag, kind, count, value in entries
    ]
    return b"Exif\0\0" + head + b"".join(rows) + struct.pack(order + "L", next_ifd) + after


def short(tag: int, value: int, order: str = "<") -> Entry:
    """Return an entry with one 16-bit value."""
    return tag, SHORT, 1, struct.pack(order + "HH", value, 0)


TURN = short(ORIENTATION, 6)
END = struct.pack("<L", 38)
"""Where `after` begins in a block of two entries."""


def xmp(text: str) -> bytes:
    """Return an XMP packet that says `text` of a photograph."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description ' + text + "</x:xmpmeta>"
    ).encode()


def save(format_: str, **options: object) -> bytes:
    """Return the stored scene as a file's content."""
    data = io.BytesIO()
    stored().save(data, format_, **options)
    return data.getvalue()


def jpeg(exif: bytes | None = None, *segments: bytes) -> bytes:
    """Return the stored scene as JPEG with EXIF data and segments put behind its start."""
    plain = save("JPEG", quality=95)
    if exif is not None:
        segments = (segment(0xE1, exif), *segments)
    return plain[:2] + b"".join(segments) + plain[2:]


def segment(marker: int, data: bytes) -> bytes:
    """Return a JPEG segment."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def png(*chunks: bytes) -> bytes:
    """Return the stored scene as PNG with chunks put behind its header."""
    plain = save("PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))


def tiff(*entries: Entry, order: str = "<", big: bool = False) -> bytes:
    """Return the stored scene as a TIFF file of one strip, with more entries."""
    pixels = stored().tobytes()
    width, height = stored().size
    start = 16 if big else 8
    rows = [
        short(0x100, width, order),
        short(0x101, height, order),
        (0x102, SHORT, 1, struct.pack(order + "HH", 8, 0)),
        short(0x103, 1, order),
        short(0x106, 2, order),
        (0x111, LONG, 1, struct.pack(order + "L", start)),
        short(0x115, 3, order),
        short(0x116, height, order),
        (0x117, LONG, 1, struct.pack(order + "L", len(pixels))),
        *entries,
    ]
    place = start + len(pixels)
    mark = b"II" if order == "<" else b"MM"
    count, entry = ("Q", "HHQ") if big else ("H", "HHL")
    directory = struct.pack(order + count, len(rows)) + b"".join(
        struct.pack(order + entry, *row[:3]) + row[3] + (b"\0" * 4 if big else b"")
        for row in sorted(rows, key=lambda row: row[0])
    )
    head = (
        struct.pack(order + "HHHQ", 43, 8, 0, place)
        if big
        else struct.pack(order + "HL", 42, place)
    )
    return mark + head + pixels + directory + b"\0" * 8


def mpo(exif: Image.Exif) -> bytes:
    """Return two frames in one file, as stereo cameras and telephones write them."""
    data = io.BytesIO()
    stored().save(data, "MPO", save_all=True, append_images=[stored()], quality=95, exif=exif)
    return data.getvalue()


def turned() -> Image.Exif:
    """Return Pillow's EXIF data with Orientation 6."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif


def bomb() -> bytes:
    """Return a PNG text chunk that unpacks to 80 MB."""
    return chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000)))


def bad_checksum(data: bytes) -> bytes:
    """Return a chunk whose checksum is wrong."""
    return data[:-1] + bytes((data[-1] ^ 1,))


def spoiled_mpo() -> bytes:
    """Return two frames whose index is damaged."""
    data = mpo(turned())
    at = data.index(b"MPF\0") + 12
    return data[:at] + b"\xff" * 24 + data[at + 24 :]


def apng() -> bytes:
    """Return an animation of two frames, of which the first is turned."""
    data = io.BytesIO()
    other = Image.new("RGB", stored().size)
    stored().save(data, "PNG", save_all=True, append_images=[other], exif=turned())
    return data.getvalue()


RATIO_MAKE = (MAKE, RATIONAL, 1, END)
RATIO = struct.pack("<LL", 6, 1)
NO_RATIO = (ORIENTATION, RATIONAL, 1, b"\x1a\0\0\0")
DPI = b"JFIF\0\1\1\0\0\1\0\1"
RAW = b"Raw profile type exif\0"

UPRIGHT: list[tuple[str, Callable[[], bytes]]] = [
    # Named in the issue: Make as RATIONAL.
    ("make-rational", lambda: jpeg(block(RATIO_MAKE, TURN, after=RATIO))),
    ("make-short-control", lambda: jpeg(block(short(MAKE, 7), TURN))),
    ("make-undefined-control", lambda: jpeg(block((MAKE, UNDEFINED, 4, b"Acme"), TURN))),
    ("make-unknown-type-control", lambda: jpeg(block((MAKE, 99, 1, END), TURN))),
    (
        "make-beyond-the-end-control",
        lambda: jpeg(block((MAKE, ASCII, 9000, b"\xff\xff\0\0"), TURN)),
    ),
    ("make-4-gigabytes-control", lambda: jpeg(block((MAKE, ASCII, 2**32 - 1, END), TURN))),
    ("make-not-utf8-control", lambda: jpeg(block((MAKE, ASCII, 4, b"\xff\xfe\x80\0"), TURN))),
    ("make-empty-control", lambda: jpeg(block((MAKE, ASCII, 0, b"\0" * 4), TURN))),
    ("resolution-ascii", lambda: jpeg(block(TURN, (X_RESOLUTION, ASCII, 3, b"72\0\0")))),
    (
        "resolution-n-by-0-control",
        lambda: jpeg(block(TURN, (X_RESOLUTION, RATIONAL, 1, END), after=bytes(8))),
    ),
    ("exif-ifd-is-a-loop-control", lambda: jpeg(block(TURN, (EXIF_IFD, LONG, 1, b"\x08\0\0\0")))),
    ("next-ifd-is-a-loop-control", lambda: jpeg(block(TURN, next_ifd=8))),
    ("gps-ifd-beyond-control", lambda: jpeg(block(TURN, (GPS_IFD, LONG, 1, b"\xff\xff\xff\x7f")))),
    (
        "exif-ifd-rational-control",
        lambda: jpeg(block(TURN, (EXIF_IFD, RATIONAL, 1, END), after=RATIO)),
    ),
    ("entries-cut-off-control", lambda: jpeg(block(TURN, short(MAKE, 1))[:-10])),
    ("two-exif-segments-control", lambda: jpeg(block(TURN), segment(0xE1, b"Exif\0\0rest"))),
    ("orientation-long-control", lambda: jpeg(block((ORIENTATION, LONG, 1, b"\6\0\0\0")))),
    ("orientation-byte", lambda: jpeg(block((ORIENTATION, BYTE, 1, b"\6\0\0\0")))),
    ("orientation-ascii", lambda: jpeg(block((ORIENTATION, ASCII, 2, b"6\0\0\0")))),
    ("orientation-undefined", lambda: jpeg(block((ORIENTATION, UNDEFINED, 1, b"\6\0\0\0")))),
    ("orientation-two-values-control", lambda: jpeg(block((ORIENTATION, SHORT, 2, b"\6\0\1\0")))),
    (
        "orientation-rational-control",
        lambda: jpeg(block(short(MAKE, 1), (ORIENTATION, RATIONAL, 1, END), after=RATIO)),
    ),
    ("orientation-signed-control", lambda: jpeg(block((ORIENTATION, SSHORT, 1, b"\6\0\0\0")))),
    (
        "big-endian-control",
        lambda: jpeg(block((MAKE, SHORT, 1, END), short(ORIENTATION, 6, ">"), order=">")),
    ),
    (
        "big-endian-long-control",
        lambda: jpeg(block((ORIENTATION, LONG, 1, b"\0\0\0\6"), order=">")),
    ),
    ("xmp-attribute-control", lambda: save("JPEG", xmp=xmp('tiff:Orientation="6"/>'))),
    (
        "xmp-element-control",
        lambda: save("JPEG", xmp=xmp("><tiff:Orientation>6</tiff:Orientation>")),
    ),
    ("xmp-single-quotes", lambda: save("JPEG", xmp=xmp("tiff:Orientation='6'/>"))),
    ("xmp-blanks", lambda: save("JPEG", xmp=xmp('tiff:Orientation = "6" />'))),
    (
        "xmp-beside-orientation-0",
        lambda: save("JPEG", exif=block(short(ORIENTATION, 0)), xmp=xmp('tiff:Orientation="6"/>')),
    ),
    (
        "xmp-beside-broken-exif",
        lambda: save("JPEG", exif=b"Exif\0\0junk", xmp=xmp('tiff:Orientation="6"/>')),
    ),
    ("png-exif", lambda: png(chunk(b"eXIf", block(RATIO_MAKE, TURN, after=RATIO)[6:]))),
    ("png-raw-profile", lambda: png(raw_profile("exif", block(RATIO_MAKE, TURN, after=RATIO)))),
    ("png-raw-profile-app1", lambda: png(raw_profile("APP1", block(TURN)))),
    ("png-xmp-control", lambda: png(itxt("XML:com.adobe.xmp", xmp('tiff:Orientation="6"/>')))),
    ("png-exif-at-the-end-control", lambda: png_tail(chunk(b"eXIf", block(TURN)[6:]))),
    ("png-text-bomb", lambda: png(bomb(), chunk(b"eXIf", block(TURN)[6:]))),
    (
        "png-text-bad-checksum",
        lambda: png(bad_checksum(chunk(b"tEXt", b"a\0b")), chunk(b"eXIf", block(TURN)[6:])),
    ),
    ("png-short-phys", lambda: png(chunk(b"pHYs", b"\0"), chunk(b"eXIf", block(TURN)[6:]))),
    (
        "png-icc-broken-control",
        lambda: png(chunk(b"iCCP", b"x\0\0junk"), chunk(b"eXIf", block(TURN)[6:])),
    ),
    ("apng-control", apng),
    ("webp-exif", lambda: save("WEBP", exif=block(RATIO_MAKE, TURN, after=RATIO), quality=95)),
    ("webp-no-prefix-control", lambda: save("WEBP", exif=block(TURN)[6:], quality=95)),
    ("webp-xmp-control", lambda: save("WEBP", xmp=xmp('tiff:Orientation="6"/>'), quality=95)),
    ("tiff-make-rational-control", lambda: tiff(TURN, (MAKE, RATIONAL, 1, b"\x08\0\0\0"))),
    ("tiff-make-short-control", lambda: tiff(TURN, short(MAKE, 7))),
    ("tiff-orientation-long-control", lambda: tiff((ORIENTATION, LONG, 1, b"\6\0\0\0"))),
    ("tiff-big-endian-control", lambda: tiff(short(ORIENTATION, 6, ">"), order=">")),
    ("tiff-bigtiff-control", lambda: tiff(TURN, big=True)),
    ("tiff-exif-ifd-is-a-loop-control", lambda: tiff(TURN, (EXIF_IFD, LONG, 1, b"\x08\0\0\0"))),
    ("tiff-lzw-control", lambda: save("TIFF", exif=turned(), compression="tiff_lzw")),
    ("mpo-control", lambda: mpo(turned())),
    ("mpo-broken-index-control", spoiled_mpo),
    ("icc-broken-control", lambda: save("JPEG", exif=block(TURN), icc_profile=b"junk" * 9)),
    ("icc-part-missing-control", lambda: jpeg(block(TURN), segment(0xE2, b"ICC_PROFILE\0\2\3x"))),
    ("dpi-zero-control", lambda: jpeg(block(TURN)).replace(DPI, DPI[:7] + b"\1" + bytes(4))),
    ("short-jfif", lambda: jpeg(block(TURN), segment(0xE0, b"JFIF"))),
    ("short-adobe-control", lambda: jpeg(block(TURN), segment(0xED, b"Photoshop 3.0\x008BIM\3"))),
    ("comment-not-utf8-control", lambda: jpeg(block(TURN), segment(0xFE, b"\xff\xfe\x80"))),
    ("maker-note-60-kb-control", lambda: jpeg(block(TURN, after=b"\xff" * 60_000))),
]


def raw_profile(kind: str, data: bytes) -> bytes:
    """Return the text chunk in which ImageMagick keeps a profile."""
    text = f"Raw profile type {kind}\0\n{kind.lower()}\n{len(data):8}\n{data.hex()}\n"
    return chunk(b"tEXt", text.encode())


def itxt(key: str, data: bytes) -> bytes:
    """Return an international text chunk."""
    return chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + data)


def png_tail(extra: bytes) -> bytes:
    """Return the stored scene as PNG with a chunk behind its pixels."""
    plain = save("PNG")
    return plain[:-12] + extra + plain[-12:]


@pytest.mark.parametrize("make", [row[1] for row in UPRIGHT], ids=[row[0] for row in UPRIGHT])
def test_odd_metadata_is_only_a_rotated_photograph(
    tmp_path: Path, make: Callable[[], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """Where an orientation can be read it is applied, whatever else stands beside it; no noise."""
    (tmp_path / "odd.jpg").write_bytes(make())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        photograph = load_photograph(tmp_path / "odd.jpg")
    assert photograph.mode == "RGB"
    assert is_upright(photograph)
    assert caught == []
    assert capfd.readouterr() == ("", "")


AS_STORED: list[tuple[str, Callable[[], bytes]]] = [
    ("no-metadata-control", jpeg),
    ("orientation-0-control", lambda: jpeg(block(short(ORIENTATION, 0)))),
    ("orientation-9-control", lambda: jpeg(block(short(ORIENTATION, 9)))),
    ("orientation-65535-control", lambda: jpeg(block(short(ORIENTATION, 65535)))),
    ("orientation-word-control", lambda: jpeg(block((ORIENTATION, ASCII, 4, b"left")))),
    ("orientation-no-value-control", lambda: jpeg(block((ORIENTATION, SHORT, 0, b"\6\0\0\0")))),
    ("orientation-beyond-control", lambda: jpeg(block((ORIENTATION, SHORT, 200, b"\xff\xff\0\0")))),
    ("orientation-n-by-0-control", lambda: jpeg(block(NO_RATIO, after=bytes(8)))),
    ("ifd-beyond-the-end-control", lambda: jpeg(b"Exif\0\0II*\0\xff\xff\xff\x7f")),
    ("header-only-control", lambda: jpeg(b"Exif\0\0II*\0")),
    ("exif-empty-control", lambda: jpeg(b"Exif\0\0")),
    ("exif-junk-control", lambda: jpeg(b"Exif\0\0" + b"\xa5" * 500)),
    ("65535-entries-control", lambda: jpeg(b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\1" * 900)),
    ("xmp-orientation-77", lambda: save("JPEG", xmp=xmp('tiff:Orientation="77"/>'))),
    ("png-raw-profile-no-hex-control", lambda: png(chunk(b"tEXt", RAW + b"\nexif\n 4\nzz"))),
    ("png-raw-profile-empty-control", lambda: png(chunk(b"tEXt", RAW))),
    ("tiff-orientation-9-control", lambda: tiff(short(ORIENTATION, 9))),
]


@pytest.mark.parametrize("make", [row[1] for row in AS_STORED], ids=[row[0] for row in AS_STORED])
def test_without_a_readable_orientation_the_stored_pixels_count(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    """Metadata that say no orientation cost the turn, not the photograph."""
    (tmp_path / "odd.jpg").write_bytes(make())
    assert is_as_stored(load_photograph(tmp_path / "odd.jpg"))
