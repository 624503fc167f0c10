"""Whether a JPEG's compressed data add up, which a picture that decodes does not show."""

import re

import simplejpeg

from indoor.dataset.metadata import without_metadata

VERSION = simplejpeg.__version__

_SCAN_DAMAGE = re.compile(
    "(?:Corrupt JPEG data: )?(Premature end of JPEG file|premature end of data segment"
    "|bad Huffman code|bad arithmetic code|found marker .* instead of RST.*"
    "|(?P<extra>[0-9]+) extraneous bytes before marker 0x(?P<marker>c4|d.|da))"
)
"""What libjpeg says of compressed data; what it says of headers and profiles spoils no pixel."""


def find_stream_damage(data: bytes) -> str | None:
    """Return what libjpeg says of a JPEG whose compressed data do not add up; None: nothing.

    Decoders go on behind a wrong bit as well as they can, so such a picture has all its pixels and
    part of them may be wrong. Not every wrong bit is noticed: the code may find its way back.

    Args:
        data: A photograph that decodes, of any format; others than JPEG are not looked at.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        # Grey is enough: the other channels are unpacked all the same, and not converted.
        simplejpeg.decode_jpeg(without_metadata(data), "GRAY", fastdct=True, strict=True)
    except ValueError as error:
        found = _SCAN_DAMAGE.fullmatch(str(error).strip())
        if found is None or _is_padding(data, found["extra"], found["marker"]):
            return None
        return found[1]
    return None


def _is_padding(data: bytes, num_extra: str | None, marker: str | None) -> bool:
    """Tell whether the bytes too many are one byte repeated, with which some cameras pad."""
    if num_extra is None or marker is None:
        return False
    same = rb"(.)\1{%d}\xff+\x%s" % (int(num_extra) - 1, marker.encode())
    return re.search(same, data, re.DOTALL) is not None
