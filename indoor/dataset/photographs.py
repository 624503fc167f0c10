"""From an image file of any common kind to an upright RGB photograph."""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from indoor.errors import IndoorError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""What is decoded, by content and not by name. Pillow knows more, some of it (EPS) by running
another program on the file."""

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files; they have no common base."""


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


def load_photograph(path: Path) -> Image.Image:
    """Read a photograph as upright RGB.

    Grey, palette, RGBA (alpha is dropped, as torchvision's loader does), CMYK and 16-bit (scaled,
    not clipped) become RGB, 8 bits a channel; the EXIF orientation is applied; of an animation
    the first frame is taken. The file's name plays no part in how it is decoded.

    Args:
        path: A JPEG, PNG, GIF, BMP, TIFF, WebP or PPM file.

    Returns:
        The photograph, mode RGB, fully decoded.

    Raises:
        IndoorError: There is no such file, or it cannot be read.
        BrokenPhotographError: It is truncated, or holds no photograph.
    """
    return decode_photograph(read_photograph_bytes(path), str(path))


def read_photograph_bytes(path: Path) -> bytes:
    """Return the file's content.

    Raises:
        IndoorError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> IndoorError:
    """Return the error for a file that is missing or cannot be read."""
    if isinstance(error, FileNotFoundError):
        return IndoorError(
            f"there is no photograph {path}; restore the file, or correct the list or path"
        )
    return IndoorError(f"cannot read {path}: {error.strerror}; expected a readable photograph")


def decode_photograph(data: bytes, source: str) -> Image.Image:
    """Decode a file's content as `load_photograph` does.

    Args:
        data: The file's content.
        source: What to call it in an error, such as its path.

    Raises:
        BrokenPhotographError: It is truncated, or holds no photograph.
    """
    try:
        with _pillow_warnings_ignored(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            return _to_rgb(_upright(image))
    except UnidentifiedImageError as error:
        what = f"is no image of a known kind ({', '.join(FORMATS)}; {len(data)} bytes)"
        raise BrokenPhotographError(source, what) from error
    except _DECODER_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BrokenPhotographError(source, f"cannot be decoded: {reason}") from error


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; a photograph with unreadable EXIF data stays as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except _DECODER_ERRORS:
        return image.copy()


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
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"pixels of {grey.min()}..{grey.max()}, expected 16 bits (0..65535)")
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")


_lock = threading.Lock()
_num_decoding = 0
_filters = ExitStack()


@contextmanager
def _pillow_warnings_ignored() -> Iterator[None]:
    """Keep Pillow's warnings about odd but decodable files (corrupt EXIF data, size) to itself.

    `warnings.catch_warnings` alone is not made for a pool of threads that enter and leave in any
    order: the first one to decode sets the filter, the last one to end puts the old ones back.
    """
    global _num_decoding
    with _lock:
        if _num_decoding == 0:
            _filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _num_decoding += 1
    try:
        yield
    finally:
        with _lock:
            _num_decoding -= 1
            if _num_decoding == 0:
                _filters.close()
