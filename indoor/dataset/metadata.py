"""What a photograph's metadata may do: turn it upright, and nothing else."""

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

START_OF_SCAN, COMMENT, APPLICATION_DATA = 0xDA, 0xFE, range(0xE0, 0xF0)
"""Markers of JPEG's segments (ITU-T T.81, table B.1)."""

_ORIENTATION = 0x0112

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a photograph upright that is stored with this EXIF orientation."""

_VALUE_TYPES = {1: "B", 2: "c", 3: "H", 4: "L", 5: "LL", 6: "b", 7: "B", 8: "h", 9: "l", 16: "Q"}
"""TIFF's types that somebody keeps an orientation in (2 is text, 5 a ratio), as struct has them."""

_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"}
"""The chunks that pixels and orientation need; the others are texts, colours and animations."""


def turn_upright(image: Image.Image, data: bytes) -> Image.Image:
    """Return a copy of a decoded image, turned as its EXIF data, or else its XMP, say.

    Only the orientation is read, and by ourselves: `ImageOps.exif_transpose` writes all other tags
    anew, and falls over those that have another type than the standard gives them.

    Args:
        image: Decoded; its `info` holds what stood in the file; the copy's is empty.
        data: The file's content.
    """
    turn = find_turn(image.info, data if image.format == "TIFF" else b"")
    upright = image.copy() if turn is None else image.transpose(turn)
    upright.info.clear()  # nobody may turn it again
    return upright


def find_turn(info: Mapping[Any, Any], tiff: bytes = b"") -> Image.Transpose | None:
    """Return what brings a photograph upright, as its EXIF data, or else its XMP, say.

    Args:
        info: What stood in the file, under Pillow's names: `exif`, `xmp` and PNG's texts.
        tiff: The whole file, where that is a TIFF, whose own tags are EXIF data.

    Returns:
        None where it stands upright, or where nothing readable says otherwise.
    """
    return _TURNS.get(_orientation(info, tiff))


def hide_orientation(image: Image.Image) -> None:
    """Keep Pillow from turning a TIFF by itself while it decodes, which odd tags make fail."""
    image.info["exif"] = b""  # stands before the file's own tags, see Image.getexif


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG's or PNG's content without what is no pixel and no EXIF data.

    Anything else, and what cannot be taken apart, is returned as it is.
    """
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd8" + b"".join(_needed_segments(data))
    if data.startswith(_PNG_SIGNATURE):
        return _PNG_SIGNATURE + b"".join(_needed_chunks(data))
    return data


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, begin, end) of a JPEG's segments, fill bytes between them left out.

    The last one is the first scan's head (0xDA), behind which the compressed data stand.
    """
    at = 2
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1] if at + 1 < len(data) else 0
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at, end
        if marker == START_OF_SCAN:
            return
        at = end


def _orientation(info: Mapping[Any, Any], tiff: bytes) -> int:
    """Return 1 to 8; 1 where nothing readable says it."""
    for block in _exif_blocks(info, tiff):
        found = _orientation_in_exif(block)
        if found is not None and 1 <= found <= 8:
            return found
    for key in ("xmp", "XML:com.adobe.xmp"):
        packet = info.get(key, b"")
        packet = packet.encode(errors="replace") if isinstance(packet, str) else packet
        if match := _XMP_ORIENTATION.search(packet.replace(b"\0", b"")):  # UTF-16 has zeros
            return int(match[1])
    return 1


def _exif_blocks(info: Mapping[Any, Any], tiff: bytes) -> Iterator[bytes]:
    """Yield what may be EXIF data: TIFF's own tags, a block, or text that ImageMagick wrote."""
    if tiff:
        yield tiff
    yield info.get("exif", b"")
    for kind in ("exif", "APP1"):
        lines = str(info.get(f"Raw profile type {kind}", "")).split("\n")
        try:
            yield bytes.fromhex("".join(lines[3:]))
        except ValueError:
            continue


def _orientation_in_exif(block: bytes) -> int | None:
    """Return the orientation in the first directory, whatever type it has; None: unreadable."""
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (version,) = struct.unpack_from(order + "H", block, 2)
        # BigTIFF (43) has the same parts, twice as wide.
        offset, count, width, at = ("Q", "Q", 8, 8) if version == 43 else ("L", "H", 4, 4)
        (place,) = struct.unpack_from(order + offset, block, at)
        (num_entries,) = struct.unpack_from(order + count, block, place)
        first = place + struct.calcsize(order + count)
        for entry in range(first, first + num_entries * (4 + 2 * width), 4 + 2 * width):
            tag, kind, num = struct.unpack_from(order + "HH" + offset, block, entry)
            if tag == _ORIENTATION and kind in _VALUE_TYPES and num > 0:
                value = order + _VALUE_TYPES[kind]
                at = entry + 4 + width
                if struct.calcsize(value) * num > width:
                    (at,) = struct.unpack_from(order + offset, block, at)
                    struct.unpack_from(f"{struct.calcsize(value) * num}s", block, at)
                return _as_number(kind, struct.unpack_from(value, block, at))
    except (struct.error, OverflowError):  # something lies beyond the end
        pass
    return None


def _as_number(kind: int, values: tuple[int | bytes, ...]) -> int | None:
    """Return the first value of a tag as a whole number; None: it is none."""
    first = values[0]
    if isinstance(first, bytes):
        return int(first) if first.isdigit() else None
    if kind == 5:
        return first // int(values[1]) if values[1] else None
    return first


def _needed_segments(data: bytes) -> Iterator[bytes]:
    """Yield a JPEG's segments without comments and application data other than EXIF and Adobe's.

    Adobe's says how colours are stored.
    """
    rest = 2
    for marker, begin, end in jpeg_segments(data):
        if marker == START_OF_SCAN:
            break
        is_application = marker in APPLICATION_DATA or marker == COMMENT
        if not is_application or marker == 0xEE or data[begin + 4 : begin + 10] == b"Exif\0\0":
            yield data[begin:end]
        rest = end
    yield data[rest:]


def _needed_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks of a PNG that pixels and orientation need."""
    at = len(_PNG_SIGNATURE)
    while at < len(data):
        length = 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in _PNG_NEEDED:
            yield data[at : at + length]
        at += length
