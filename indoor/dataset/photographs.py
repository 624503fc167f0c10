"""From an image file of any common kind to an upright RGB photograph."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from indoor.dataset.metadata import hide_orientation, turn_upright, without_metadata
from indoor.dataset.plain_jpeg import decode_plain_jpeg, endless, large_ones_in_turn
from indoor.dataset.quiet import decoders_silenced
from indoor.errors import IndoorError
from indoor.files import read_limited

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""What is decoded, by content and not by name. Pillow knows more, some of it (EPS) by running
another program on the file."""

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files; they have no common base."""


_MOST_BYTES = 300_000_000
"""Of a file: as many as the most pixels that are decoded have without compression."""

_LONGEST_SIDE = 65_535
"""Pixels, JPEG's own limit; of a longer row, Pillow's BMP makes gigabytes of two bytes."""

_STRIP = 64
"""Rows that are scaled to 8 bits at a time."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"\xff\xd8", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WEBP"),
    (rb"II\*\0....CR\x02|....ftypcrx |FUJIFILMCCD-RAW|IIRO|IIU\0", "a camera's raw file"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"....ftypavi[fs]", "AVIF"),
    (rb"....ftyp(hei|hev|mif1|msf1)", "HEIC"),
    (rb"....ftyp|\x1a\x45\xdf\xa3", "a film"),
    (rb"\xff\n|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"%PDF-", "PDF"),
    (rb"8BPS", "a Photoshop file"),
    (rb"PK\x03\x04", "a zip archive"),
    (rb"\x1f\x8b", "packed by gzip"),
    (rb"\0\x05\x16\x07", "macOS's file beside a photograph, and none itself"),
    (rb"version https://git-lfs", "a pointer of Git LFS (git lfs pull fetches the photograph)"),
)
"""How files begin that lie about under a photograph's name, and what they are."""


class BrokenPhotographError(IndoorError):
    """A file that is there and readable, and does not hold a whole photograph.

    Args:
        source: What to call the file.
        what: What is wrong with it; kept as the attribute of that name.
    """

    def __init__(self, source: str, what: str) -> None:
        super().__init__(
            f"{source} {what}; expected a whole photograph; "
            "replace the file, or leave such files out with --skip-broken"
        )
        self.what = what


def load_photograph(path: Path, *, keep_grey: bool = False) -> Image.Image:
    """Read a photograph as upright RGB.

    Grey, palette, RGBA (alpha is dropped, as torchvision's loader does), CMYK and 16-bit (scaled,
    not clipped) become RGB, 8 bits a channel; the EXIF orientation is applied; of an animation
    the first frame is taken. The file's name plays no part in how it is decoded.

    Args:
        path: A JPEG, PNG, GIF, BMP, TIFF, WebP or PPM file.
        keep_grey: Let a photograph that is stored in grey be of mode L, in which it is resized in
            a third of the time. `InferenceTransform` gives the same tensor for it.

    Returns:
        The photograph, mode RGB (or L where that is let), fully decoded.

    Raises:
        IndoorError: There is no such file, or it cannot be read.
        BrokenPhotographError: It is truncated, or holds no photograph.
    """
    return decode_photograph(read_photograph_bytes(path), str(path), keep_grey=keep_grey)


def read_photograph_bytes(path: Path) -> bytes:
    """Return the file's content.

    Raises:
        IndoorError: There is no such file, or it cannot be read.
    """
    try:
        return read_limited(path, _MOST_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> IndoorError:
    """Return the error for a file that is missing or cannot be read."""
    if isinstance(error, FileNotFoundError):
        return IndoorError(
            f"there is no photograph {path}; restore the file, or correct the list or path"
        )
    return IndoorError(
        f"cannot read {path}: {error.strerror or error}; expected a readable photograph"
    )


def decode_photograph(data: bytes, source: str, *, keep_grey: bool = False) -> Image.Image:
    """Decode a file's content as `load_photograph` does.

    Args:
        data: The file's content.
        source: What to call it in an error, such as its path.
        keep_grey: As for `load_photograph`.

    Raises:
        BrokenPhotographError: It is truncated, or holds no photograph.
    """
    try:
        image = decode_plain_jpeg(data)
        if image is None:
            return decode_by_pillow(data, source)
        return image if keep_grey else _to_rgb(image)
    except MemoryError as error:
        raise IndoorError(
            f"{source} cannot be decoded: the memory does not suffice; expected 1 GB for the "
            "largest photographs; end other programs, or scale it down"
        ) from error


def decode_by_pillow(data: bytes, source: str) -> Image.Image:
    """Decode upright RGB as `decode_photograph` does what is no ordinary JPEG.

    Raises:
        BrokenPhotographError: It is truncated, or holds no photograph.
    """
    if what := endless(data):
        raise BrokenPhotographError(source, f"{what}; save it again")
    try:
        with decoders_silenced():
            try:
                return _decode(data)
            except _DECODER_ERRORS:
                # Where metadata alone are at fault (a text that unpacks to gigabytes, a checksum),
                # the pixels are whole.
                bare = without_metadata(data)
                if bare == data:
                    raise
                return _decode(bare)
    except UnidentifiedImageError as error:
        raise BrokenPhotographError(source, _unidentified(data)) from error
    except Image.DecompressionBombError as error:
        num = re.search(r"[0-9]+", str(error))
        what = f"has {num[0] if num else 'too many'} pixels, more than are decoded; scale it down"
        raise BrokenPhotographError(source, what) from error
    except _DECODER_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BrokenPhotographError(source, f"cannot be decoded: {reason}") from error


def _decode(data: bytes) -> Image.Image:
    """Decode upright RGB, or raise what the decoder raises."""
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    num_pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    # Pillow itself warns from its limit on and decodes up to twice as many.
    if most is not None and num_pixels > most:
        raise Image.DecompressionBombError(f"{num_pixels} pixels, expected {most} at most")
    if max(image.size) > _LONGEST_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels, expected {_LONGEST_SIDE} a side")
    with large_ones_in_turn(num_pixels):
        if image.format == "TIFF":
            hide_orientation(image)
        image.load()
        # One name for all of them, so that none is kept longer than it is needed.
        image = turn_upright(image, data)
        return _to_rgb(image)


def _unidentified(data: bytes) -> str:
    """Return what a file is that no decoder here takes for its own."""
    known, size = ", ".join(FORMATS), f"{len(data)} bytes"
    for signature, kind in _SIGNATURES:
        if re.match(signature, data, re.DOTALL):
            if kind in FORMATS:
                return (
                    f"is {kind}, and its head is damaged or says what no decoder here reads, such "
                    f"as 12 bits or five channels ({size})"
                )
            return f"is {kind}, which is not read ({known} are; {size})"
    return f"is no image of a known kind ({known}; {size})"


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB, 8 bits a channel."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; save it with 8 or 16 bits")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion clips everything above 255."""
    scaled = np.empty((image.height, image.width), dtype=np.uint8)
    for top in range(0, image.height, _STRIP):  # the whole in 64 bits would take gigabytes
        bottom = min(top + _STRIP, image.height)
        grey = np.asarray(image.crop((0, top, image.width, bottom))).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError(f"pixels of {grey.min()}..{grey.max()}, expected 16 bits (0..65535)")
        scaled[top:bottom] = (grey + 128) // 257
    return Image.fromarray(scaled).convert("RGB")
