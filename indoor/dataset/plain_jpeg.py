"""Ordinary JPEGs, which libjpeg-turbo decodes without Pillow's way around it."""

import struct
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
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace)
    except ValueError:  # a remark of libjpeg's, such as of an end that is missing
        return None
    height, width, _ = pixels.shape
    image = Image.frombuffer(mode, (width, height), pixels, "raw", mode, 0, 1)
    turn = find_turn(head.info) if head.info else None
    return image if turn is None else image.transpose(turn)


def _read_head(data: bytes) -> _Head | None:
    """Return what stands before the first scan; None where any of it is unusual."""
    head = _Head()
    if data[:2] != b"\xff\xd8":
        return None
    for marker, begin, end in jpeg_segments(data):
        if marker == START_OF_SCAN:
            limit = Image.MAX_IMAGE_PIXELS
            is_usual = 0 < head.num_pixels <= (limit or head.num_pixels)
            return head if is_usual and end <= len(data) else None
        if marker == 0xE1:
            _note(head.info, data[begin + 4 : end])
        elif marker in _FRAMES and not head.num_components:
            height, width = (
                int.from_bytes(data[at : at + 2], "big") for at in (begin + 5, begin + 7)
            )
            head.num_pixels, head.num_components = height * width, data[begin + 9]
            if data[begin + 4] != 8 or head.num_components not in _KINDS:
                return None
        elif marker not in _KNOWN:
            return None
    return None


def _note(info: dict[str, bytes], segment: bytes) -> None:
    """Keep EXIF data and XMP as Pillow does: the parts of the one joined, the last of the other."""
    if segment.startswith(_EXIF):
        info["exif"] = info["exif"] + segment[6:] if "exif" in info else segment
    elif segment.startswith(_XMP):
        info["xmp"] = segment.split(b"\0", 1)[1]
