"""Decoders in C print nothing to the terminal: the finding is told in one line of ours."""

import io
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indoor.dataset import load_photograph
from indoor.errors import IndoorError


def packed(format_: str, mode: str = "RGB", **options: object) -> bytes:
    """Return a photograph that is hard to pack."""
    noise = np.random.default_rng(0).integers(0, 256, size=(64, 64, 3)).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(data, format_, **options)
    return data.getvalue()


def scrambled(data: bytes) -> bytes:
    """Return a file with 40 other bytes in its middle."""
    middle = len(data) // 2
    return data[:middle] + b"\xff\x13\x00\x80" * 10 + data[middle + 40 :]


def strip_count(data: bytes) -> bytes:
    """Return a TIFF whose strips' places are told with another type and beyond its end."""
    at = data.index(b"\x11\x01\x04\x00")
    return data[:at] + b"\x11\x01\x03\x00\x09\x00\x00\x00\xff\xff\xff\x7f" + data[at + 12 :]


def unknown_unit(data: bytes) -> bytes:
    """Return a TIFF with a resolution unit that there is not."""
    at = data.index(b"\x1c\x01\x03\x00")  # planar configuration
    return data[: at + 4] + b"\x05\0\0\0" + data[at + 8 :]


def many_samples(data: bytes) -> bytes:
    """Return a TIFF that says it has 255 samples a pixel."""
    at = data.index(b"\x15\x01\x03\x00")
    return data[: at + 8] + b"\xff\0" + data[at + 10 :]


def tiff(compression: str, mode: str = "RGB") -> bytes:
    """Return a TIFF that libtiff decodes."""
    return packed("TIFF", mode, compression=compression)


DAMAGED: list[tuple[str, Callable[[], bytes]]] = [
    ("tiff-lzw", lambda: scrambled(tiff("tiff_lzw"))),
    ("tiff-deflate", lambda: scrambled(tiff("tiff_adobe_deflate"))),
    ("tiff-packbits-control", lambda: scrambled(tiff("packbits"))),
    ("tiff-jpeg", lambda: scrambled(tiff("jpeg"))),
    ("tiff-fax-3-control", lambda: scrambled(tiff("group3", "1"))),
    ("tiff-fax-4", lambda: scrambled(tiff("group4", "1"))),
    ("tiff-zstd-control", lambda: scrambled(tiff("zstd"))),
    ("tiff-lzma-control", lambda: scrambled(tiff("lzma"))),
    ("tiff-short-control", lambda: tiff("tiff_lzw")[:5000]),
    ("tiff-strips-control", lambda: strip_count(tiff("tiff_lzw"))),
    ("tiff-odd-count", lambda: unknown_unit(tiff("tiff_lzw"))),
    ("jpeg-control", lambda: scrambled(packed("JPEG"))),
    ("png-control", lambda: scrambled(packed("PNG"))),
    ("webp-control", lambda: scrambled(packed("WEBP"))),
    ("webp-lossless-control", lambda: scrambled(packed("WEBP", lossless=True))),
    ("gif-control", lambda: scrambled(packed("GIF", "P"))),
    ("bmp-control", lambda: scrambled(packed("BMP"))),
]


@pytest.mark.parametrize("make", [row[1] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_nothing_reaches_the_terminal(
    make: Callable[[], bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever a decoder makes of a damaged file, standard output and error stay empty."""
    (tmp_path / "damaged.jpg").write_bytes(make())
    with suppress(IndoorError):
        load_photograph(tmp_path / "damaged.jpg")
    assert capfd.readouterr() == ("", "")


def test_threads_that_overlap_are_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The thread that ends first does not bring the lines back for one that still decodes."""
    paths = [tmp_path / f"{number}.jpg" for number in range(64)]
    for path in paths:
        path.write_bytes(scrambled(tiff("tiff_lzw")))

    def decode(path: Path) -> None:
        with pytest.raises(IndoorError, match="cannot be decoded"):
            load_photograph(path)

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(decode, paths))
    assert capfd.readouterr() == ("", "")


def test_libtiff_speaks_again_to_others(tmp_path: Path) -> None:
    """Outside a decode of ours libtiff's handlers are what they were, in a process of its own."""
    (tmp_path / "damaged.tif").write_bytes(scrambled(tiff("tiff_lzw")))
    program = (
        "import sys, contextlib; from pathlib import Path; from PIL import Image\n"
        "from indoor.dataset import load_photograph\n"
        "path = Path(sys.argv[1])\n"
        "with contextlib.suppress(Exception): load_photograph(path)\n"
        "print('ours', file=sys.stderr, flush=True)\n"
        "with contextlib.suppress(Exception): Image.open(path).load()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "damaged.tif"], capture_output=True, text=True
    )
    before, _, after = done.stderr.partition("ours\n")
    assert before == ""
    assert "LZW" in after or "code" in after


def test_pillows_own_log_is_not_printed(tmp_path: Path) -> None:
    """What Pillow logs as an error stays quiet in a process where nobody set up logging."""
    (tmp_path / "odd.tif").write_bytes(many_samples(packed("TIFF")))
    program = (
        "import sys, contextlib; from pathlib import Path\n"
        "from indoor.dataset import load_photograph; from indoor.errors import IndoorError\n"
        "with contextlib.suppress(IndoorError): load_photograph(Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "odd.tif"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
