"""A JPEG whose compressed data were damaged decodes all the same: `verify` notes it.

Ids that end in "-control" are intact; none was noted before, and none is now.
"""

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indoor.cli import main
from indoor.dataset import IndoorScenes, load_photograph, verify


def scene(mode: str = "RGB") -> Image.Image:
    """Return a picture of 160 x 120 with edges and noise."""
    rows, columns = np.mgrid[:120, :160]
    waves = 128 + 80 * np.sin(rows / 9) * np.cos(columns / 7)
    noise = np.random.default_rng(0).normal(0, 12, size=(120, 160, 3))
    pixels = (waves[..., None] + noise).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    """Return the picture as JPEG."""
    data = io.BytesIO()
    scene(mode).save(data, "JPEG", **{"quality": 85, **options})
    return data.getvalue()


def mpo() -> bytes:
    """Return two frames in one file."""
    data = io.BytesIO()
    scene().save(data, "MPO", save_all=True, append_images=[scene()], quality=85)
    return data.getvalue()


def scan(data: bytes) -> int:
    """Return where the (first) compressed data begin."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def middle(data: bytes) -> int:
    """Return the place in the middle of the first picture's compressed data."""
    start = scan(data)
    return (start + data.index(b"\xff\xd9", start)) // 2


def zeroed(data: bytes, num: int) -> bytes:
    """Return the file with zeros in the middle, as a disk that lost a sector gives them."""
    at = middle(data)
    return data[:at] + bytes(num) + data[at + num :]


def burst(data: bytes) -> bytes:
    """Return the file with 200 random bytes in the middle, none of which begins a marker."""
    at = middle(data)
    other = np.random.default_rng(1).integers(0, 255, size=200).astype(np.uint8).tobytes()
    return data[:at] + other + data[at + 200 :]


def shorter(data: bytes) -> bytes:
    """Return the file without 300 bytes of its middle."""
    at = middle(data)
    return data[:at] + data[at + 300 :]


def longer(data: bytes) -> bytes:
    """Return the file with a part of its middle twice."""
    at = middle(data)
    return data[:at] + data[at - 100 : at] + data[at:]


def exchanged(data: bytes) -> bytes:
    """Return the file with two blocks of its middle exchanged."""
    at = middle(data)
    return data[: at - 500] + data[at : at + 500] + data[at - 500 : at] + data[at + 500 :]


def ended(data: bytes) -> bytes:
    """Return the file cut in its middle and closed, as a repair program does it."""
    return data[: middle(data)] + b"\xff\xd9"


def overwritten(data: bytes) -> bytes:
    """Return the file with another file's text in place of its second half, and as much again."""
    at = middle(data)
    return data[:at] + b"<p>this is quite another file</p>\n" * (2 * (len(data) - at) // 34)


def without_a_restart(data: bytes) -> bytes:
    """Return the file without one of its restart markers and what it begins."""
    at = data.index(b"\xff\xd3", scan(data))
    return data[:at] + data[data.index(b"\xff\xd4", at) :]


def segment(marker: int, data: bytes) -> bytes:
    """Return a JPEG segment."""
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data


def with_segment(segment_: bytes) -> bytes:
    """Return the picture with a segment behind its start."""
    data = jpeg()
    return data[:2] + segment_ + data[2:]


DAMAGED: list[tuple[str, Callable[[], bytes]]] = [
    ("a sector of zeros", lambda: zeroed(jpeg(), 512)),
    ("burst", lambda: burst(jpeg())),
    ("bytes lost", lambda: shorter(jpeg())),
    ("bytes twice", lambda: longer(jpeg())),
    ("blocks exchanged", lambda: exchanged(jpeg())),
    ("cut and closed", lambda: ended(jpeg())),
    ("grey", lambda: zeroed(jpeg("L"), 512)),
    ("cmyk", lambda: zeroed(jpeg("CMYK"), 512)),
    ("progressive", lambda: zeroed(jpeg(progressive=True), 200)),
    ("optimized", lambda: zeroed(jpeg(optimize=True), 512)),
    ("4:4:4", lambda: zeroed(jpeg(subsampling=0), 512)),
    ("restart lost", lambda: without_a_restart(jpeg(restart_marker_rows=1))),
    ("zeros beside restarts", lambda: zeroed(jpeg(restart_marker_rows=1), 512)),
    ("first of two frames", lambda: zeroed(mpo(), 512)),
    ("odd metadata too", lambda: zeroed(with_segment(segment(0xE0, b"JFIF\0\7\7")), 512)),
    ("text from the middle on", lambda: overwritten(jpeg("L", optimize=True))),
    ("text from the middle on, 4:4:4", lambda: overwritten(jpeg(optimize=True, subsampling=0))),
    ("a thumbnail too", lambda: zeroed(jpeg(), 512) + jpeg()),
]
INTACT: list[tuple[str, Callable[[], bytes]]] = [
    ("plain-control", jpeg),
    ("grey-control", lambda: jpeg("L")),
    ("cmyk-control", lambda: jpeg("CMYK")),
    ("cmyk progressive-control", lambda: jpeg("CMYK", progressive=True)),
    ("progressive-control", lambda: jpeg(progressive=True)),
    ("optimized-control", lambda: jpeg(optimize=True)),
    ("rgb-control", lambda: jpeg(keep_rgb=True)),
    ("4:1:1-control", lambda: jpeg(subsampling="4:1:1")),
    ("restarts-control", lambda: jpeg(restart_marker_blocks=3)),
    ("restart rows-control", lambda: jpeg(restart_marker_rows=1)),
    ("two frames-control", mpo),
    ("zeros behind-control", lambda: jpeg() + bytes(4096)),
    ("line end behind-control", lambda: jpeg() + b"\r\n"),
    ("another picture behind-control", lambda: jpeg() + jpeg("L")),
    ("text behind-control", lambda: jpeg() + b"SEFH trailer of a telephone"),
    ("zeros before the end-control", lambda: jpeg()[:-2] + bytes(40) + b"\xff\xd9"),
    ("fill bytes before the end-control", lambda: jpeg()[:-2] + b"\xff" * 9 + b"\xff\xd9"),
    ("jfif 7-control", lambda: jpeg().replace(b"JFIF\0\1\1", b"JFIF\0\7\7")),
    ("adobe 7-control", lambda: with_segment(segment(0xEE, b"Adobe\0\x64\0\0\0\0\x07"))),
    ("icc broken-control", lambda: with_segment(segment(0xE2, b"ICC_PROFILE\0\3\2x"))),
    ("exif junk-control", lambda: with_segment(segment(0xE1, b"Exif\0\0" + b"\xff" * 90))),
    ("bytes between segments-control", lambda: jpeg()[:20] + b"\0\0" + jpeg()[20:]),
    ("png-control", lambda: packed("PNG")),
    ("webp-control", lambda: packed("WEBP")),
    ("gif-control", lambda: packed("GIF")),
    ("tiff of jpeg-control", lambda: packed("TIFF", compression="jpeg")),
]


def packed(format_: str, **options: object) -> bytes:
    """Return the picture in another format."""
    data = io.BytesIO()
    scene().save(data, format_, **options)
    return data.getvalue()


@pytest.fixture
def root(photographs: Path, tmp_path: Path) -> Path:
    """A copy of the drawn photographs that a test may spoil."""
    return Path(shutil.copytree(photographs, tmp_path / "set"))


@pytest.mark.parametrize("make", [row[1] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_a_damaged_stream_is_noted(root: Path, make: Callable[[], bytes]) -> None:
    """It decodes to a wrong picture; it is one note that names the file, and no problem."""
    path = root / "Images/bars/bars_00.jpg"
    path.write_bytes(make())
    pixels, right = (np.asarray(image.convert("L")) for image in (load_photograph(path), scene()))
    assert np.abs(pixels.astype(int) - right).mean() > 1
    report = verify(root)
    assert report.problems == ()
    assert len(report.notes) == 1
    assert (
        "Images/bars/bars_00.jpg decodes, but part of it may be wrong (libjpeg: " in report.notes[0]
    )


@pytest.mark.parametrize("make", [row[1] for row in INTACT], ids=[row[0] for row in INTACT])
def test_an_intact_photograph_is_not_noted(root: Path, make: Callable[[], bytes]) -> None:
    """What is only unusual, and what stands around the picture, is no damage."""
    (root / "Images/bars/bars_00.jpg").write_bytes(make())
    report = verify(root)
    assert (report.problems, report.notes) == ((), ())


def test_a_noted_photograph_stays_in(root: Path) -> None:
    """Every decoder reads it alike, so it is used, with --skip-broken too."""
    (root / "Images/bars/bars_00.jpg").write_bytes(zeroed(jpeg(), 512))
    scenes = IndoorScenes(root, "train", val_fraction=0.01, skip_broken=True)
    assert scenes.num_skipped == 0
    assert scenes.samples[0].name == "bars/bars_00.jpg"
    assert scenes[0][0].size == (160, 120)


def test_many_are_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text counts them and shows the first; a note is no finding, so the status is 0."""
    for index in range(5):
        path = root / f"Images/bars/bars_0{index}.jpg"
        path.write_bytes(zeroed(jpeg(), 512 + index))
    assert main(["data", "verify", str(root)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1
    assert notes[0].startswith("note: 5 JPEGs decode, but their compressed data do not add up")
    assert "bars_00.jpg" in notes[0]
    assert "stay in use" in notes[0]


@pytest.mark.real_data
def test_no_intact_photograph_of_2995_is_noted(shared: Path) -> None:
    """Photographs that came from a published archive have no damaged stream."""
    assert not any("libjpeg" in note for note in verify(shared / "scene15").notes)
