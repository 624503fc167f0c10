"""Ordinary JPEGs, which libjpeg-turbo decodes without Pillow's way around it."""

import re
import struct
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import simplejpeg
from PIL import Image

from indoor.dataset.metadata import (
    APPLICATION_DATA,
    COMMENT,
    START_OF_SCAN,
    find_turn,
    jpeg_segments,
)

_FRAMES = {0xC0, 0xC1, 0xC2}
"""Baseline, extended and progressive, all with Huffman's code."""

_FRAME = struct.Struct(">BHHB")
"""What a frame's head says behind its length: bits, height, width, number of components."""

_KNOWN = {0xC4, 0xDB, 0xDD, COMMENT, *APPLICATION_DATA}
"""What else may stand before the first scan: the tables, the restart interval, metadata."""

_KINDS = {1: ("L", "GRAY"), 3: ("RGB", "RGB")}
"""Pillow's mode and simplejpeg's colour space by the number of components."""

_LARGE_PIXELS = 24_000_000
_LARGE = threading.Lock()

_MOST_SCANS, _MOST_SEGMENTS = 200, 20_000
"""A progressive JPEG has about ten scans, and each one more is another pass over all pixels. A
head has some hundred segments where a profile or a film is in it; each EXIF segment more is
joined to all before it."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends compressed data; in them 0xFF is followed by 0, or by the mark of a restart."""

_END_OF_IMAGE = b"\xff\xd9"

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"


@dataclass
class _Head:
    """What stands before the first scan; `info` is under Pillow's names."""

    num_pixels: int = 0
    num_components: int = 0
    info: dict[str, bytes] = field(default_factory=dict)


def decode_plain_jpeg(data: bytes) -> Image.Image | None:
    """Decode a JPEG whose file holds nothing unusual: bit for bit what Pillow makes of it.

    Both have libjpeg-turbo within, with the same accurate DCT and smooth upsampling. Pillow reads
    the head in Python first, copies each row into its own layout, and the picture once more.

    Returns:
        Upright, mode RGB or, where it has one component, L. None for what Pillow is to judge: no
        JPEG, four components, other than 8 bits, more pixels than are decoded without a question,
        or data of which libjpeg remarks anything.
    """
    head = _read_head(data)
    if head is None:
        return None
    mode, colorspace = _KINDS[head.num_components]
    with large_ones_in_turn(head.num_pixels):
        try:
            pixels = simplejpeg.decode_jpeg(data, colorspace)
        except ValueError:  # a remark of libjpeg's, such as of an end that is missing
            return None
        height, width, _ = pixels.shape
        image = Image.frombuffer(mode, (width, height), pixels, "raw", mode, 0, 1)
        turn = find_turn(head.info) if head.info else None
        return image if turn is None else image.transpose(turn)


def large_ones_in_turn(num_pixels: int) -> AbstractContextManager[object]:
    """Return what a thread holds while it decodes: one large photograph at a time in all threads.

    Decoding the largest takes 1 GB, which a thread a core would multiply.
    """
    return _LARGE if num_pixels > _LARGE_PIXELS else nullcontext()


def _read_head(data: bytes) -> _Head | None:
    """Return what stands before the first scan; None where any of it is unusual."""
    head = _Head()
    if data[:2] != b"\xff\xd8" or endless(data):
        return None
    for marker, begin, end in jpeg_segments(data):
        if marker == START_OF_SCAN:
            limit = Image.MAX_IMAGE_PIXELS
            is_usual = 0 < head.num_pixels <= (limit or head.num_pixels)
            return head if is_usual and end <= len(data) else None
        if marker == 0xE1:
            _note(head.info, data[begin + 4 : end])
        elif marker in _FRAMES and not head.num_components:
            content = data[begin + 4 : end]
            if len(content) < _FRAME.size:
                return None
            bits, height, width, head.num_components = _FRAME.unpack_from(content)
            head.num_pixels = height * width
            if bits != 8 or head.num_components not in _KINDS:
                return None
        elif marker not in _KNOWN:
            return None
    return None


def endless(data: bytes) -> str:
    """Return what of a JPEG would be worked on for hours; empty: nothing, or it is no JPEG."""
    if not data.startswith(b"\xff\xd8"):
        return ""
    num_scans = 0
    for num_segments, marker in enumerate(_markers(data), start=1):
        num_scans += marker == START_OF_SCAN
        if num_scans > _MOST_SCANS:
            return f"has more than the {_MOST_SCANS} scans that are decoded at most"
        if num_segments > _MOST_SEGMENTS:
            return f"has more than the {_MOST_SEGMENTS:,} segments that are read at most"
    return ""


def _markers(data: bytes) -> Iterator[int]:
    """Yield the markers of a JPEG's segments, those between and behind its scans as well."""
    at = 2
    for marker, _, at in jpeg_segments(data):  # noqa: B007 - the end of the head
        yield marker
    while (found := _MARKER.search(data, at)) and found[0] != _END_OF_IMAGE:
        yield found[0][1]
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")


def _note(info: dict[str, bytes], segment: bytes) -> None:
    """Keep EXIF data and XMP as Pillow does: the parts of the one joined, the last of the other."""
    if segment.startswith(_EXIF):
        info["exif"] = info["exif"] + segment[6:] if "exif" in info else segment
    elif segment.startswith(_XMP):
        info["xmp"] = segment.split(b"\0", 1)[1]
