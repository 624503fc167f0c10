"""Ordinary JPEGs bypass Pillow and give the very pixels that it gives; it judges all others."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from indoor.dataset import IndoorScenes, load_photograph
from indoor.dataset.photographs import decode_by_pillow, decode_photograph
from indoor.dataset.plain_jpeg import decode_plain_jpeg
from indoor.records import Preprocessing
from indoor.transforms import DEFAULT_PREPROCESSING, inference_transform

EXIF_ORIENTATION = 0x0112


def scene(mode: str = "RGB", width: int = 61, height: int = 43) -> Image.Image:
    """Return a picture of waves, edges and noise."""
    rows, columns = np.mgrid[:height, :width]
    waves = 128 + 90 * np.sin(rows / 5) * np.cos(columns / 9)
    noise = np.random.default_rng(0).normal(0, 25, size=(height, width, 3))
    pixels = (waves[..., None] + noise).clip(0, 255).astype(np.uint8)
    pixels[:, width // 2] = (255, 0, 0)
    return Image.fromarray(pixels).convert(mode)


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    """Return the picture as JPEG."""
    data = io.BytesIO()
    scene(mode).save(data, "JPEG", **{"quality": 85, **options})
    return data.getvalue()


def exif(orientation: int) -> Image.Exif:
    """Return EXIF data that say how the camera was held."""
    block = Image.Exif()
    block[EXIF_ORIENTATION] = orientation
    return block


def segment(marker: int, data: bytes) -> bytes:
    """Return a JPEG segment."""
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data


def after_start(data: bytes, *segments: bytes) -> bytes:
    """Return a JPEG with segments put behind its start."""
    return data[:2] + b"".join(segments) + data[2:]


PLAIN: dict[str, Callable[[], bytes]] = {
    "444": lambda: jpeg(subsampling=0),
    "422": lambda: jpeg(subsampling=1),
    "420": lambda: jpeg(subsampling=2),
    "grey": lambda: jpeg("L"),
    "progressive": lambda: jpeg(progressive=True),
    "progressive 444": lambda: jpeg(progressive=True, subsampling=0),
    "progressive grey": lambda: jpeg("L", progressive=True),
    "own Huffman tables": lambda: jpeg(optimize=True),
    "restart markers": lambda: jpeg(restart_marker_blocks=2),
    "stored as RGB": lambda: jpeg(keep_rgb=True),
    "coarse": lambda: jpeg(quality=3),
    "fine": lambda: jpeg(quality=100, subsampling=0),
    "a comment": lambda: jpeg(comment=b"a\xffb"),
    "a colour profile": lambda: jpeg(icc_profile=b"junk" * 9),
    "an empty application's": lambda: after_start(jpeg(), segment(0xEB, b"")),
    "a thumbnail in it": lambda: after_start(jpeg(), segment(0xE2, jpeg("L", quality=9))),
    **{f"turned {n}": lambda n=n: jpeg(exif=exif(n)) for n in range(1, 9)},
    **{f"grey turned {n}": lambda n=n: jpeg("L", exif=exif(n)) for n in (3, 6)},
    "turned by XMP": lambda: jpeg(xmp=b'<x tiff:Orientation="6"/>'),
    "EXIF in two parts": lambda: after_start(
        jpeg(), segment(0xE1, b"Exif\0\0II"), segment(0xE1, b"Exif\0\0*\0")
    ),
    "behind its end": lambda: jpeg() + b"more",
}


@pytest.mark.parametrize("make", PLAIN.values(), ids=PLAIN)
def test_pixels_are_those_of_pillow(make: Callable[[], bytes]) -> None:
    """Whatever the subsampling, coding and orientation: the same size and the same bytes."""
    data = make()
    assert decode_plain_jpeg(data) is not None, "it was left to Pillow, and nothing is shown"
    expected = decode_by_pillow(data, "file")
    found = decode_photograph(data, "file")
    assert (found.mode, found.size) == ("RGB", expected.size)
    assert found.tobytes() == expected.tobytes()
    assert found.info == {}


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (16, 17), (130, 2)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_any_size_gives_pillows_pixels(mode: str, size: tuple[int, int]) -> None:
    """Blocks that hang over the edge are cut as Pillow cuts them."""
    data = io.BytesIO()
    scene(mode, *size).save(data, "JPEG")
    found = decode_plain_jpeg(data.getvalue())
    assert found is not None
    assert (found.mode, found.size) == (mode, size)
    assert found.convert("RGB").tobytes() == decode_by_pillow(data.getvalue(), "file").tobytes()


def with_frame(change: Callable[[bytearray, int], None]) -> bytes:
    """Return a JPEG whose frame's head (from its marker on) is changed."""
    data = bytearray(jpeg())
    change(data, data.index(b"\xff\xc0"))
    return bytes(data)


def set_byte(offset: int, value: int) -> Callable[[bytearray, int], None]:
    """Return what puts a byte into a frame's head."""
    return lambda data, at: data.__setitem__(at + offset, value)


LEFT: dict[str, Callable[[], bytes]] = {
    "no JPEG": lambda: b"\x89PNG\r\n\x1a\n" + bytes(99),
    "nothing": lambda: b"",
    "the start alone": lambda: b"\xff\xd8",
    "a marker without its length": lambda: b"\xff\xd8\xff",
    "four components": lambda: jpeg("CMYK"),
    "cut off": lambda: jpeg()[:-400],
    "without its end": lambda: jpeg()[:-2],
    "cut off in its head": lambda: jpeg()[:100],
    "cut off in its frame's head": lambda: jpeg()[: jpeg().index(b"\xff\xc0") + 9],
    "a frame's head too short": lambda: with_frame(set_byte(3, 7)),
    "12 bits": lambda: with_frame(set_byte(4, 12)),
    "another code": lambda: with_frame(set_byte(1, 0xC9)),
    "no rows": lambda: with_frame(
        lambda data, at: data.__setitem__(slice(at + 5, at + 7), b"\0\0")
    ),
    "two frames": lambda: after_start(jpeg(), jpeg()[jpeg().index(b"\xff\xc0") :][:19]),
    "a fill byte's marker": lambda: jpeg()[:2] + b"\xff\x02" + jpeg()[2:],
    "zeros in its data": lambda: jpeg()[:-600] + bytes(300) + jpeg()[-300:],
}


@pytest.mark.parametrize("make", LEFT.values(), ids=LEFT)
def test_what_is_unusual_is_left_to_pillow(make: Callable[[], bytes]) -> None:
    """Damaged, of another kind, or of another number of components or bits: not decoded here."""
    assert decode_plain_jpeg(make()) is None


def test_many_pixels_are_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's limit is asked before memory is; without a limit nothing is too large."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 61 * 43 - 1)
    assert decode_plain_jpeg(jpeg()) is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode_plain_jpeg(jpeg()) is not None


def test_grey_may_stay_grey(tmp_path: Path) -> None:
    """Who asks for it has mode L, with the same values; who does not has RGB."""
    (tmp_path / "grey.jpg").write_bytes(jpeg("L"))
    grey = load_photograph(tmp_path / "grey.jpg", keep_grey=True)
    assert grey.mode == "L"
    assert grey.convert("RGB").tobytes() == load_photograph(tmp_path / "grey.jpg").tobytes()
    (tmp_path / "colour.jpg").write_bytes(jpeg())
    assert load_photograph(tmp_path / "colour.jpg", keep_grey=True).mode == "RGB"


def torchvisions(p: Preprocessing, image: Image.Image) -> Tensor:
    """Return what torchvision's resizing and this arithmetic give, step by step."""
    steps = [v2.Resize([p.size] * 2)]
    if p.resize == "crop":
        steps = [v2.Resize([round(p.size * 256 / 224)]), v2.CenterCrop(p.size)]
    for step in steps:
        image = step(image)
    pixels = np.asarray(image, dtype=np.float32)
    scale = np.float32(1) / (np.float32(255) * np.asarray(p.std, dtype=np.float32))
    shift = np.asarray(p.mean, dtype=np.float32) / np.asarray(p.std, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray((pixels * scale - shift).transpose(2, 0, 1)))


@pytest.mark.parametrize("size", [(61, 43), (43, 61), (28, 28), (32, 90), (300, 7)])
@pytest.mark.parametrize("resize", ["whole", "crop"])
def test_tensors_keep_every_bit(resize: str, size: tuple[int, int]) -> None:
    """In place and a plane at a time: the tensor is the one of whole arrays, for grey as well."""
    p = replace(DEFAULT_PREPROCESSING, resize=resize, size=28)
    transform = inference_transform(p)
    colour, grey = scene("RGB", *size), scene("L", *size)
    assert torch.equal(transform(colour), torchvisions(p, colour))
    assert torch.equal(transform(grey), torchvisions(p, grey.convert("RGB")))


def test_only_our_transform_sees_grey(tmp_path: Path, photographs: Path) -> None:
    """A caller's own transform gets RGB of a photograph that is stored in grey; both agree."""
    sample = IndoorScenes(photographs, "test").samples[0]
    grey = tmp_path / "grey.jpg"
    with Image.open(sample.path) as image:
        image.convert("L").save(grey)
    transform = inference_transform(replace(DEFAULT_PREPROCESSING, size=32))
    seen: list[str] = []

    def own(image: Image.Image) -> Tensor:
        seen.append(image.mode)
        return transform(image)

    tensors = []
    for one in (transform, own):
        scenes = IndoorScenes(photographs, "test", one)
        scenes.samples = (replace(sample, path=grey),)
        tensors.append(scenes[0][0])
    assert seen == ["RGB"]
    assert torch.equal(*tensors)


@pytest.mark.real_data
def test_real_photographs_keep_every_bit(shared: Path) -> None:
    """Every tenth of scene15's test photographs, as RGB: none is left to Pillow, none differs."""
    for sample in IndoorScenes(shared / "scene15", "test").samples[::10]:
        data = sample.path.read_bytes()
        assert decode_plain_jpeg(data) is not None
        assert decode_photograph(data, "").tobytes() == decode_by_pillow(data, "").tobytes()
