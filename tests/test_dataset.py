"""Split lists, photographs of every kind, splits, batches, identity, verification."""

import hashlib
import io
import json
import re
import shutil
import threading
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from indoor.dataset import (
    IndoorScenes,
    identify,
    load_batches,
    load_photograph,
    read_split_lists,
    soundness,
    stratified_sample,
    validation_indices,
    verify,
)
from indoor.dataset.photographs import decode_photograph
from indoor.dataset.quiet import decoders_silenced
from indoor.errors import IndoorError
from indoor.records import Preprocessing, to_json
from indoor.transforms import inference_transform

TINY = Preprocessing(resize="whole", size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

MIT67_TRAIN_SHA256 = "7ec85f88735739d8159061e4bcf6a9765aab8606ab444605b3f8e0641be0260e"
MIT67_TEST_SHA256 = "906c529a5a0918feec371de5b07a465ddb1f15ebaebc90a33cc321c371133bf1"
SCENE15_TRAIN_SHA256 = "f06bf81377b436f623563f77dbe1efd484926fe0fa5a43d854b5fd416475bd0d"
SCENE15_TEST_SHA256 = "86cb1956dbe26f735bc34fc299b5333797d8c3317bbc90b7ccd083f0d581379f"


@pytest.fixture
def root(photographs: Path, tmp_path: Path) -> Path:
    """A copy of the drawn photographs that a test may spoil."""
    return Path(shutil.copytree(photographs, tmp_path / "set"))


def rewrite(root: Path, name: str, change: Callable[[str], str]) -> None:
    """Replace a list's text, byte for byte as `change` returns it."""
    path = root / name
    path.write_bytes(change(path.read_text()).encode())


# Lists


def test_lists_keep_their_order_and_classes_are_sorted(photographs: Path) -> None:
    """Lines come in the list's order; a class's place among the sorted folders is its label."""
    lists = read_split_lists(photographs)
    assert lists.classes == ("bars", "checks", "rings")
    assert lists.train[:2] == ("bars/bars_00.jpg", "bars/bars_01.jpg")
    assert (len(lists.train), len(lists.test)) == (24, 12)


def test_the_talhankoc_file_names_are_read(root: Path, photographs: Path) -> None:
    """`Train Images.txt` and `Test Images.txt` mean the same as the published names."""
    (root / "TrainImages.txt").rename(root / "Train Images.txt")
    (root / "TestImages.txt").rename(root / "Test Images.txt")
    assert read_split_lists(root) == read_split_lists(photographs)


def test_both_names_of_a_list_must_agree(root: Path) -> None:
    """Two equal lists are one; two that differ are an error that names both."""
    shutil.copy(root / "TrainImages.txt", root / "Train Images.txt")
    assert len(read_split_lists(root).train) == 24
    (root / "Train Images.txt").write_text("bars/bars_00.jpg\n")
    with pytest.raises(IndoorError, match=r"has both TrainImages\.txt and 'Train Images\.txt'"):
        read_split_lists(root)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\n\n" + text.replace("\n", "\n\n") + "\n \n",
        lambda text: text.replace("/", "\\"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "  \n"),
    ],
    ids=["crlf", "blank lines", "backslashes", "byte order mark", "trailing blanks"],
)
def test_odd_lists_are_read_as_they_are_meant(
    root: Path, photographs: Path, change: Callable[[str], str]
) -> None:
    """Line ends, blank lines, separators and a byte order mark change nothing."""
    rewrite(root, "TrainImages.txt", change)
    assert read_split_lists(root) == read_split_lists(photographs)


@pytest.mark.parametrize(
    "file", ["concert.hall.jpg", "shopping mall.JPG", "it's.jpg.jpg", "Größe.jpeg", "noextension"]
)
def test_names_with_dots_blanks_and_capitals(root: Path, file: str) -> None:
    """The file name is taken whole; neither its dots nor its blanks mean anything."""
    (root / "Images/bars/bars_00.jpg").rename(root / "Images/bars" / file)
    rewrite(root, "TrainImages.txt", lambda text: text.replace("bars_00.jpg", file))
    scenes = IndoorScenes(root, "train", val_fraction=0.01)
    sample = next(sample for sample in scenes.samples if sample.name == f"bars/{file}")
    assert load_photograph(sample.path).size == (64, 48)


LIST_MISTAKES: list[tuple[str, Callable[[str], str], str]] = [
    ("duplicate", lambda t: t + "\nbars/bars_00.jpg", r"line 25 names bars/bars_00\.jpg again"),
    ("escape", lambda t: t + "\n../secret.jpg", r"line 25 is '\.\./secret\.jpg', expected class"),
    ("deep", lambda t: t + "\nbars/../../x.jpg", r"line 25 is 'bars/\.\./\.\./x\.jpg', expected"),
    ("absolute", lambda t: t + "\n/etc/passwd", r"line 25 is '/etc/passwd', expected class/file"),
    ("hidden", lambda t: t + "\n./x.jpg", r"line 25 is '\./x\.jpg', expected class/file"),
    ("null", lambda t: t + "\nbars/\0.jpg", r"line 25 is 'bars/\\x00\.jpg', expected"),
    ("no class", lambda t: t + "\nbars_00.jpg", r"line 25 is 'bars_00\.jpg', expected class/file"),
    ("empty", lambda t: "\r\n \n", r"TrainImages\.txt names no photograph"),  # noqa: ARG005
    ("test photo", lambda t: t + "\nbars/bars_08.jpg", r"bars/bars_08\.jpg stands in both lists"),
    ("no folder", lambda t: t + "\nattic/a.jpg", r"name class attic, and .*Images has no such"),
]


@pytest.mark.parametrize(
    ("change", "message"), [m[1:] for m in LIST_MISTAKES], ids=[m[0] for m in LIST_MISTAKES]
)
def test_a_wrong_list_is_one_line(root: Path, change: Callable[[str], str], message: str) -> None:
    """Each mistake in a list is one line that names it, and how to see all of them."""
    rewrite(root, "TrainImages.txt", change)
    with pytest.raises(IndoorError, match=message) as error:
        read_split_lists(root)
    assert "\n" not in str(error.value)
    assert "indoor data verify" in str(error.value)


def test_several_mistakes_are_counted(root: Path) -> None:
    """The one line says how many more there are."""
    rewrite(root, "TrainImages.txt", lambda text: text + "\n../a\n../b\n../c")
    with pytest.raises(IndoorError, match=r"line 25 .*\(and 2 more\)"):
        read_split_lists(root)


def test_a_missing_set_folder_or_list_is_one_line(root: Path, tmp_path: Path) -> None:
    """The error names what is missing and what was expected."""
    with pytest.raises(IndoorError, match=r"there is no folder .*nowhere; expected a data set"):
        read_split_lists(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(IndoorError, match=r"bare has no folder Images; expected Images/<class>"):
        read_split_lists(tmp_path / "bare")
    (root / "TestImages.txt").unlink()
    with pytest.raises(IndoorError, match=r"has no TestImages\.txt \(nor 'Test Images\.txt'\)"):
        read_split_lists(root)


def test_a_list_that_is_no_text_is_one_line(root: Path) -> None:
    """A list in another encoding, or a folder's worth of bytes, is an error that names it."""
    (root / "TrainImages.txt").write_bytes(b"bars/Gr\xf6\xdfe.jpg\n")
    with pytest.raises(IndoorError, match=r"TrainImages\.txt is no UTF-8 text"):
        read_split_lists(root)


def test_class_folders_must_agree_with_the_lists(root: Path) -> None:
    """A class folder too many or a class without train photographs is an error; hidden is not."""
    (root / "Images" / ".cache").mkdir()
    (root / "Images" / "names.json").write_text("{}")
    assert len(read_split_lists(root).classes) == 3
    (root / "Images" / "attic").mkdir()
    with pytest.raises(IndoorError, match=r"Images/attic is in neither list"):
        read_split_lists(root)
    rewrite(root, "TestImages.txt", lambda text: text + "\nattic/a.jpg")
    with pytest.raises(IndoorError, match="class attic is in the test list and not in the train"):
        read_split_lists(root)


@pytest.mark.parametrize(
    "name",
    [
        "__MACOSX",
        "__MACOSX/bars",
        "@eaDir",
        "lost+found",
        "$RECYCLE.BIN",
        "System Volume Information",
        ".ipynb_checkpoints-control",
        ".Trash-1000-control",
        ".thumbnails-control",
    ],
)
def test_folders_that_programs_leave_behind_are_no_classes(root: Path, name: str) -> None:
    """What a zip of macOS, a NAS, Jupyter or a disk's root leave in Images is no class."""
    left = root / "Images" / name.removesuffix("-control")
    left.mkdir(parents=True)
    (left / "._a.jpg").write_bytes(b"x")
    assert len(read_split_lists(root).classes) == 3


def test_a_class_folder_that_no_list_names_has_a_remedy(root: Path) -> None:
    """An empty class folder, such as one made for later, is told with what to do about it."""
    (root / "Images" / "attic").mkdir()
    with pytest.raises(IndoorError, match="remove the folder, or list its photographs"):
        read_split_lists(root)


@pytest.mark.real_data
def test_the_published_mit67_lists(shared: Path, tmp_path: Path) -> None:
    """The official lists hold 5,360 train and 1,340 test photographs of 67 classes."""
    for name, digest in (
        ("Train Images.txt", MIT67_TRAIN_SHA256),
        ("Test Images.txt", MIT67_TEST_SHA256),
    ):
        data = (shared / "mit67" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        (tmp_path / name).write_bytes(data)
    ids = json.loads((shared / "mit67" / "names_to_ids.json").read_text())
    for name in ids:
        (tmp_path / "Images" / name).mkdir(parents=True)
    lists = read_split_lists(tmp_path)
    assert (len(lists.train), len(lists.test), len(lists.classes)) == (5360, 1340, 67)
    assert {name: label for label, name in enumerate(lists.classes)} == ids
    assert "mall/shopping mall.jpg" in lists.train
    labels = [ids[name.split("/")[0]] for name in lists.train]
    shares = Counter(labels[i] for i in validation_indices(labels, 0.15, 0))
    assert set(shares.values()) <= {12, 13}


def test_a_class_without_a_test_photograph_is_noted(root: Path) -> None:
    """A class that the test list leaves out is no problem, and verify says what it costs."""
    rewrite(root, "TestImages.txt", lambda text: re.sub(r"rings/.*\n?", "", text).strip())
    report = verify(root)
    assert report.problems == ()
    note = "class rings has no photograph in the test list, so no accuracy tells of it"
    assert note in report.notes


@pytest.mark.real_data
def test_scene15_as_it_is(shared: Path) -> None:
    """The 15-scene set verifies, with the counts and the twins that it is known to have."""
    root = shared / "scene15"
    for name, digest in (
        ("TrainImages.txt", SCENE15_TRAIN_SHA256),
        ("TestImages.txt", SCENE15_TEST_SHA256),
    ):
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest
    report = verify(root)
    assert report.problems == ()
    assert len(report.notes) == 5
    assert (
        "LivingRoom/image_0006.jpg (train) and LivingRoom/image_0251.jpg (test) are the same file"
        in report.notes
    )
    assert report.num_train == dict.fromkeys(report.classes, 85)
    assert report.num_val == dict.fromkeys(report.classes, 15)
    assert sum(report.num_test.values()) == 1495


# Photographs


def quadrants(mode: str = "RGB") -> Image.Image:
    """Return 40 x 24 with a red top left, green top right, blue bottom left, white rest."""
    image = Image.new("RGB", (40, 24), (250, 250, 250))
    image.paste((230, 20, 20), (0, 0, 20, 12))
    image.paste((20, 220, 20), (20, 0, 40, 12))
    image.paste((20, 20, 240), (0, 12, 20, 24))
    return image.convert(mode)


def corner_colours(image: Image.Image) -> list[str]:
    """Return the strongest channel at the four corners, or w(hite) or k (black)."""
    names = []
    for at in ((3, 3), (-4, 3), (3, -4), (-4, -4)):
        pixel = np.asarray(image)[at[1], at[0]].astype(int)
        even = pixel.max() - pixel.min() < 60
        names.append(("k" if pixel.max() < 128 else "w") if even else "rgb"[int(pixel.argmax())])
    return names


@pytest.mark.parametrize(
    ("mode", "format_", "options"),
    [
        ("RGB", "JPEG", {"quality": 95}),
        ("RGB", "JPEG", {"quality": 95, "progressive": True}),
        ("CMYK", "JPEG", {"quality": 95}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {}),
        ("P", "GIF", {}),
        ("P", "PNG", {"transparency": bytes(range(256))}),
        ("P", "PNG", {"transparency": 3}),
        ("RGB", "PNG", {"transparency": (1, 2, 3)}),
        ("RGB", "WEBP", {"quality": 95}),
        ("RGB", "BMP", {}),
        ("RGB", "TIFF", {}),
        ("YCbCr", "TIFF", {}),
        ("RGB", "PPM", {}),
    ],
)
def test_colour_photographs_of_every_kind(
    tmp_path: Path, mode: str, format_: str, options: dict[str, object]
) -> None:
    """Whatever the file's kind and mode, and though it is named .jpg: RGB in the right colours."""
    path = tmp_path / "photograph.jpg"
    quadrants(mode).save(path, format_, **options)
    photograph = load_photograph(path)
    assert photograph.mode == "RGB"
    assert photograph.size == (40, 24)
    assert corner_colours(photograph) == ["r", "g", "b", "w"]


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_photographs(tmp_path: Path, mode: str) -> None:
    """Grey, with or without alpha, and black and white become RGB of equal channels."""
    image = Image.new("L", (8, 6), 255)
    image.paste(0, (0, 0, 4, 6))
    image.convert(mode).save(tmp_path / "grey.png")
    pixels = np.asarray(load_photograph(tmp_path / "grey.png"))
    assert pixels.shape == (6, 8, 3)
    assert (pixels[:, :4] == 0).all()
    assert (pixels[:, 4:] == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    """0, 257, 33,100 and 65,535 of 65,535 become 0, 1, 129 and 255."""
    values = np.array([[0, 257, 33100, 65535]], dtype=np.uint16).repeat(3, axis=0)
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(values).save(path)
    photograph = load_photograph(path)
    assert photograph.mode == "RGB"
    assert np.asarray(photograph)[1, :, 0].tolist() == [0, 1, 129, 255]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((4, 4), 0.5, dtype=np.float32), "floating-point pixels have no agreed range"),
        (np.full((4, 4), 70000, dtype=np.int32), r"pixels of 70000\.\.70000, expected 16 bits"),
    ],
)
def test_pixels_without_an_agreed_range_are_refused(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    """Floats and numbers past 16 bits are named, not guessed at."""
    Image.fromarray(values).save(tmp_path / "odd.tif")
    with pytest.raises(IndoorError, match=message):
        load_photograph(tmp_path / "odd.tif")


EXIF_ORIENTATION = 0x0112
STORED_FOR = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED_FOR)
def test_exif_rotated_photographs_stand_upright(tmp_path: Path, orientation: int) -> None:
    """All eight orientations give the same upright photograph."""
    method = STORED_FOR[orientation]
    stored = quadrants() if method is None else quadrants().transpose(method)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    stored.save(tmp_path / "turned.jpg", quality=95, exif=exif)
    photograph = load_photograph(tmp_path / "turned.jpg")
    assert photograph.size == (40, 24)
    assert corner_colours(photograph) == ["r", "g", "b", "w"]
    assert photograph.getexif().get(EXIF_ORIENTATION, 1) == 1


def test_16_bit_photographs_are_rotated_too(tmp_path: Path) -> None:
    """The orientation holds for every mode."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 3
    values = np.array([[0, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png", exif=exif)
    assert np.asarray(load_photograph(tmp_path / "deep.png"))[0, :, 0].tolist() == [255, 0]


def test_corrupt_exif_data_does_not_spoil_a_photograph(tmp_path: Path) -> None:
    """Metadata that cannot be read costs the orientation, not the photograph, and no warning."""
    data = io.BytesIO()
    # A little-endian TIFF header, one entry of 200 values far past the end of the block.
    entry = b"\x12\x01\x05\x00\xc8\x00\x00\x00\xff\xff\x00\x00"
    quadrants().save(data, "JPEG", quality=95, exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entry)
    (tmp_path / "odd.jpg").write_bytes(data.getvalue())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Image.open(tmp_path / "odd.jpg") as image:
            image.getexif().get(EXIF_ORIENTATION)
        assert caught, "Pillow warns of this file, or the test tests nothing"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert corner_colours(load_photograph(tmp_path / "odd.jpg")) == ["r", "g", "b", "w"]
    assert caught == []


def test_warnings_stay_quiet_until_the_last_thread_has_decoded() -> None:
    """A thread that ends first does not bring the warnings back for one that still decodes."""
    before = list(warnings.filters)
    first, second = decoders_silenced(), decoders_silenced()
    first.__enter__()
    during = list(warnings.filters)
    second.__enter__()
    first.__exit__(None, None, None)
    assert list(warnings.filters) == during != before
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before


def test_warning_filters_are_put_back_after_threads_decode(photographs: Path) -> None:
    """However threads overlap, the process's warning filters are what they were."""
    before = list(warnings.filters)
    paths = sorted((photographs / "Images").rglob("*.jpg")) * 4
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(load_photograph, paths))
    assert list(warnings.filters) == before


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_photograph_is_named(tmp_path: Path, format_: str, share: float) -> None:
    """A file that ends early is an error of one line with its path, wherever it ends."""
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, size=(40, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(data, format_)
    path = tmp_path / "half.jpg"
    path.write_bytes(data.getvalue()[: int(len(data.getvalue()) * share)])
    with pytest.raises(IndoorError, match=r"half\.jpg .*expected a whole photograph") as error:
        load_photograph(path)
    assert "\n" not in str(error.value)
    assert "--skip-broken" in str(error.value)


BRANDED = b"\0\0\0\x18ftyp%b\0\0\0\0" + bytes(99)

OTHER_KINDS: dict[str, tuple[bytes, str]] = {
    "iphone": (BRANDED % b"heic", "is HEIC, which is not read"),
    "samsung": (BRANDED % b"mif1", "is HEIC, which is not read"),
    "avif": (BRANDED % b"avif", "is AVIF, which is not read"),
    "canon raw": (BRANDED % b"crx ", "is a camera's raw file, which is not read"),
    "canon raw of before": (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "is a camera's raw file"),
    "film": (BRANDED % b"mp42", "is a film, which is not read"),
    "jpeg xl": (b"\xff\x0a" + bytes(99), "is JPEG XL, which is not read"),
    "jpeg xl in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "is JPEG XL, which is not"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "is JPEG 2000, which is not read"),
    "pdf": (b"%PDF-1.7\n" + bytes(99), "is PDF, which is not read"),
    "photoshop": (b"8BPS\0\1" + bytes(99), "is a Photoshop file, which is not read"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS.*git lfs pull"),
    "apple double": (b"\0\5\x16\7" + bytes(99), "is macOS's file beside a photograph"),
    "jpeg of 12 bits": (b"\xff\xd8\xff\xc1\0\x11\x0c" + bytes(99), "is JPEG, and its head"),
    "tiff of five bands": (b"II*\0\x08\0\0\0" + bytes(99), "is TIFF, and its head"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is PNG, and its head"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "told"), OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_another_kind_of_file_is_called_by_its_name(tmp_path: Path, data: bytes, told: str) -> None:
    """Whoever has a thousand of them named .jpg learns what to convert; none is called damaged."""
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(IndoorError, match=told) as error:
        load_photograph(tmp_path / "a.jpg")
    assert "\n" not in str(error.value)
    assert f"{len(data)} bytes" in str(error.value)


def test_a_photograph_with_too_many_pixels_is_not_called_damaged(tmp_path: Path) -> None:
    """Telephones take 200 million pixels; the message says that this is too many, and how many."""
    data = b"\x89PNG\r\n\x1a\n"
    for chunk in (
        b"IHDR" + (16_320).to_bytes(4, "big") + (12_240).to_bytes(4, "big") + b"\x08\2\0\0\0",
        b"IDAT" + zlib.compress(bytes(99)),
        b"IEND",
    ):
        size, crc = len(chunk) - 4, zlib.crc32(chunk)
        data += size.to_bytes(4, "big") + chunk + crc.to_bytes(4, "big")
    (tmp_path / "large.png").write_bytes(data)
    with pytest.raises(IndoorError, match=r"has 199756800 pixels, .* scale it down"):
        load_photograph(tmp_path / "large.png")


@pytest.mark.parametrize("data", [b"", b"\x00" * 500, b"<html>not found</html>"])
def test_what_is_no_image_is_named(tmp_path: Path, data: bytes) -> None:
    """An empty file, zeros or a web page is an error that names it."""
    (tmp_path / "page.jpg").write_bytes(data)
    with pytest.raises(IndoorError, match=rf"page\.jpg is no image .* {len(data)} bytes\)"):
        load_photograph(tmp_path / "page.jpg")


def test_a_program_for_a_printer_is_not_run(tmp_path: Path) -> None:
    """EPS, which Pillow would hand to Ghostscript, counts as no image."""
    data = io.BytesIO()
    quadrants().save(data, "EPS")
    (tmp_path / "page.jpg").write_bytes(data.getvalue())
    with pytest.raises(IndoorError, match=r"page\.jpg is no image of a known kind"):
        load_photograph(tmp_path / "page.jpg")


def test_a_missing_or_unreadable_photograph_is_named(tmp_path: Path) -> None:
    """A missing file says so; so does a folder in its place."""
    with pytest.raises(IndoorError, match=r"there is no photograph .*gone\.jpg; restore"):
        load_photograph(tmp_path / "gone.jpg")
    with pytest.raises(IndoorError, match=r"cannot read .*: Is a directory; expected a readable"):
        load_photograph(tmp_path)


# Splits


def test_splits_share_no_photograph_and_lose_none(photographs: Path) -> None:
    """Train and val together are the train list, test is the test list, in their order."""
    lists = read_split_lists(photographs)
    train, val, test = (
        [sample.name for sample in IndoorScenes(photographs, split, val_fraction=0.25).samples]
        for split in ("train", "val", "test")
    )
    assert sorted(train + val) == sorted(lists.train)
    assert tuple(test) == lists.test
    assert train == [name for name in lists.train if name in train]
    assert Counter(name.split("/")[0] for name in val) == {"bars": 2, "checks": 2, "rings": 2}


def test_validation_depends_on_seed_and_names_alone(root: Path) -> None:
    """Another order of the list leaves every photograph in its split; another seed does not."""
    before = {sample.name for sample in IndoorScenes(root, "val").samples}
    other = {sample.name for sample in IndoorScenes(root, "val", seed=1).samples}
    rewrite(root, "TrainImages.txt", lambda text: "\n".join(reversed(text.split("\n"))))
    assert {sample.name for sample in IndoorScenes(root, "val").samples} == before
    assert other != before


def test_samples_carry_their_label_and_file(photographs: Path) -> None:
    """A sample's label is its folder's place, and indexing gives that photograph and label."""
    scenes = IndoorScenes(photographs, "test")
    assert scenes.classes == ("bars", "checks", "rings")
    assert scenes.labels == (0,) * 4 + (1,) * 4 + (2,) * 4
    photograph, label = scenes[5]
    assert label == 1
    assert scenes.samples[5].name == "checks/checks_09.jpg"
    assert photograph.tobytes() == load_photograph(scenes.samples[5].path).tobytes()


def test_the_transform_is_applied(photographs: Path) -> None:
    """With a transform an item is what it returns."""
    scenes = IndoorScenes(photographs, "test", inference_transform(TINY))
    tensor, label = scenes[0]
    assert tensor.shape == (3, 32, 32)
    assert label == 0


def test_an_unknown_split_lists_the_known_ones(photographs: Path) -> None:
    """A wrong split or fraction is a ValueError with the valid values."""
    with pytest.raises(ValueError, match="split is 'dev', expected one of train, val, test"):
        IndoorScenes(photographs, "dev")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="val_fraction is 1, expected a number between 0 and 1"):
        IndoorScenes(photographs, "val", val_fraction=1)


def test_a_listed_file_that_is_missing_is_an_error(root: Path) -> None:
    """It is noticed when the split is made, with or without skip_broken, and the rest counted."""
    (root / "Images/bars/bars_08.jpg").unlink()
    (root / "Images/rings/rings_09.jpg").unlink()
    for skip_broken in (False, True):
        with pytest.raises(IndoorError, match=r"bars_08\.jpg and 1 more, and there is no such"):
            IndoorScenes(root, "test", skip_broken=skip_broken)
    assert len(IndoorScenes(root, "train")) == 21


def break_file(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_broken_file_is_an_error_where_it_is_read(root: Path) -> None:
    """Strict is the default: the others can be read, the broken one raises with its name."""
    break_file(root / "Images/bars/bars_08.jpg")
    scenes = IndoorScenes(root, "test")
    assert scenes.num_skipped == 0
    assert scenes[1][0].size == (64, 48)
    with pytest.raises(IndoorError, match=r"bars_08\.jpg cannot be decoded: image file is trunc"):
        scenes[0]


def test_broken_files_are_left_out_and_counted(root: Path) -> None:
    """With skip_broken they are gone, counted, and no other photograph changes its split."""
    splits = {split: IndoorScenes(root, split) for split in ("train", "val", "test")}
    victims = [splits["train"].samples[3], splits["val"].samples[0], splits["test"].samples[11]]
    for victim in victims:
        break_file(victim.path)
    (root / "Images/bars/bars_08.jpg").write_text("no image")
    for split, num in (("train", 1), ("val", 1), ("test", 2)):
        scenes = IndoorScenes(root, split, skip_broken=True)
        assert scenes.num_skipped == num
        gone = {v.name for v in victims} | {"bars/bars_08.jpg"}
        expected = [sample for sample in splits[split].samples if sample.name not in gone]
        assert list(scenes.samples) == expected


def test_soundness_is_remembered_by_content_and_not_by_name(root: Path) -> None:
    """A file that is replaced by a broken one of the same name is noticed, and the way back."""
    path = root / "Images/bars/bars_08.jpg"
    whole = path.read_bytes()
    for data, num in ((whole, 0), (whole[:300], 1), (whole, 0)):
        path.write_bytes(data)
        assert IndoorScenes(root, "test", skip_broken=True).num_skipped == num


def test_a_photograph_is_decoded_once_to_know(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look at the same content, even under another path, decodes nothing."""
    decoded: list[str] = []

    def decode(data: bytes, source: str) -> Image.Image:
        decoded.append(source)
        return decode_photograph(data, source)

    monkeypatch.setenv("INDOOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(soundness, "decode_photograph", decode)
    IndoorScenes(root, "test", skip_broken=True)
    assert len(decoded) == 12
    copy = Path(shutil.copytree(root, root.parent / "copy"))
    IndoorScenes(copy, "test", skip_broken=True)
    assert len(decoded) == 12


def test_a_split_without_photographs_is_an_error(root: Path) -> None:
    """All photographs broken, or one photograph a class and so none for validation: one line."""
    for path in (root / "Images").rglob("*_0[89].jpg"):
        path.write_text("")
    for path in (root / "Images").rglob("*_1[01].jpg"):
        path.write_text("")
    with pytest.raises(IndoorError, match=r"the test split of .* is empty \(12 photographs skip"):
        IndoorScenes(root, "test", skip_broken=True)
    (root / "TrainImages.txt").write_text(
        "bars/bars_00.jpg\nchecks/checks_00.jpg\nrings/rings_00.jpg"
    )
    with pytest.raises(IndoorError, match=r"the val split of .*two a class in the train list"):
        IndoorScenes(root, "val")


# Samples


def test_a_stratified_sample_is_even() -> None:
    """10 of classes with 2, 9 and 9: the small class gives its 2, the others 4 each."""
    labels = [0] * 2 + [1] * 9 + [2] * 9
    chosen = stratified_sample(labels, 10, seed=0)
    assert len(set(chosen)) == 10
    assert Counter(labels[index] for index in chosen) == {0: 2, 1: 4, 2: 4}


def test_every_prefix_of_a_sample_is_even() -> None:
    """The sample's order mixes the classes, so no batch of it is of one class."""
    labels = [label for label in range(5) for _ in range(20)]
    chosen = stratified_sample(labels, 100, seed=3)
    assert sorted(chosen) == list(range(100))
    for end in range(5, 101, 5):
        assert set(Counter(labels[index] for index in chosen[:end]).values()) == {end // 5}


def test_a_remainder_goes_to_random_classes() -> None:
    """Which classes give one more depends on the seed, not on their place."""
    labels = [label for label in range(6) for _ in range(4)]
    givers = {
        frozenset(labels[i] for i in stratified_sample(labels, 2, seed)) for seed in range(20)
    }
    assert len(givers) > 5


def test_a_sample_repeats_with_its_seed() -> None:
    """Same seed, same photographs in the same order; another seed, others."""
    labels = [0] * 30 + [1] * 30
    assert stratified_sample(labels, 8, 5) == stratified_sample(labels, 8, 5)
    assert stratified_sample(labels, 8, 5) != stratified_sample(labels, 8, 6)
    assert stratified_sample(labels, 0, 5) == ()


@pytest.mark.parametrize("count", [-1, 4])
def test_a_sample_larger_than_the_list_is_refused(count: int) -> None:
    """The count must lie between 0 and the number of labels."""
    with pytest.raises(ValueError, match=f"count is {count}, expected 0 to 3"):
        stratified_sample([0, 0, 1], count, 0)


def test_every_class_keeps_a_train_photograph() -> None:
    """A share of each class, at least one of two, and none of a class with a single one."""
    labels = [0] + [1] * 2 + [2] * 20 + [3] * 3
    chosen = validation_indices(labels, 0.15, 0)
    assert Counter(labels[index] for index in chosen) == {1: 1, 2: 3, 3: 1}
    assert Counter(labels[i] for i in validation_indices(labels, 0.99, 0)) == {1: 1, 2: 19, 3: 2}


# Batches


def test_batches_keep_the_order_and_lose_nothing(photographs: Path) -> None:
    """Whatever the number of threads: the same tensors in the same batches."""
    scenes = IndoorScenes(photographs, "test", inference_transform(TINY))
    one, four = (list(load_batches(scenes, 5, num_threads=n)) for n in (1, 4))
    assert [len(labels) for _, labels in one] == [5, 5, 2]
    assert [labels.tolist() for _, labels in one] == [[0, 0, 0, 0, 1], [1, 1, 1, 2, 2], [2, 2]]
    for (inputs, labels), (again, same) in zip(one, four, strict=True):
        assert inputs.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert torch.equal(inputs, again)
        assert torch.equal(labels, same)
    assert torch.equal(one[1][0][0], scenes[5][0])


def test_batches_of_chosen_photographs(photographs: Path) -> None:
    """With indices, those photographs in that order."""
    scenes = IndoorScenes(photographs, "test", inference_transform(TINY))
    batches = list(load_batches(scenes, 2, indices=(11, 0, 4)))
    assert [labels.tolist() for _, labels in batches] == [[2, 0], [1]]
    assert torch.equal(batches[0][0][0], scenes[11][0])


class Slow:
    """A dataset whose first items take longest, and that knows who is asked for what."""

    def __init__(self, num: int) -> None:
        self.num = num
        self.asked: list[int] = []
        self.threads: set[int] = set()

    def __len__(self) -> int:
        """Return the number of items."""
        return self.num

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Wait, and return the index twice."""
        self.asked.append(index)
        self.threads.add(threading.get_ident())
        time.sleep(0.02 if index % 4 == 0 else 0.001)
        if index == 9:
            raise IndoorError("photograph 9 is broken")
        return torch.full((1, 1, 1), float(index)), index


def test_slow_photographs_are_not_overtaken() -> None:
    """Threads share the work, and the order is the list's all the same."""
    slow = Slow(9)
    labels = [
        label for _, batch in load_batches(slow, 2, num_threads=3) for label in batch.tolist()
    ]
    assert labels == list(range(9))
    assert len(slow.threads) > 1
    assert threading.get_ident() not in slow.threads


def test_an_error_arrives_after_the_batches_before_it() -> None:
    """Sound batches come first, then the broken photograph's own error."""
    batches = load_batches(Slow(30), 4, num_threads=3)
    assert [next(batches)[1].tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(IndoorError, match="photograph 9 is broken"):
        next(batches)


class Gated:
    """A dataset that gives an item for every permit."""

    def __init__(self, num_permits: int) -> None:
        self.permits = threading.Semaphore(num_permits)
        self.asked: list[int] = []

    def __len__(self) -> int:
        """Return more than any test wants."""
        return 1000

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Wait for a permit."""
        self.asked.append(index)
        assert self.permits.acquire(timeout=30)
        return torch.zeros(1, 1, 1), index


def test_decoding_runs_only_a_little_ahead() -> None:
    """While the caller is busy with the first batch, four more a thread are decoded, not all."""
    gated = Gated(num_permits=1000)
    batches = load_batches(gated, 1, num_threads=2)
    next(batches)
    deadline = time.monotonic() + 10
    while len(gated.asked) < 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert sorted(gated.asked) == list(range(9))
    batches.close()  # type: ignore[attr-defined]


def test_a_caller_that_stops_early_leaves_no_work_behind() -> None:
    """What no thread has begun is called off when the caller closes the batches."""
    gated = Gated(num_permits=1)
    batches = load_batches(gated, 1, num_threads=1)
    next(batches)
    deadline = time.monotonic() + 10
    while len(gated.asked) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    release = threading.Timer(0.1, gated.permits.release, (100,))
    release.start()
    batches.close()  # type: ignore[attr-defined]
    release.join()
    assert gated.asked == [0, 1]


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"batch": 4, "num_threads": 0}])
def test_batches_check_their_arguments_at_once(wrong: dict[str, int]) -> None:
    """A batch or a number of threads below 1 is refused before any photograph is read."""
    with pytest.raises(ValueError, match=r"is 0, expected at least 1"):
        load_batches(Slow(3), **wrong)


# Identity


def test_identity_counts_what_is_there(photographs: Path) -> None:
    """The record has the folder's name and the splits' counts."""
    identity = identify(photographs, val_fraction=0.25)
    assert (identity.num_classes, identity.num_train, identity.num_val, identity.num_test) == (
        3,
        18,
        6,
        12,
    )
    assert identity.num_skipped == 0
    assert identity.name == photographs.name


def test_identity_is_of_content(root: Path, photographs: Path) -> None:
    """A copy, CRLF and unlisted files have the same hash; a changed photograph or line has not."""
    original = identify(photographs).sha256
    rewrite(root, "TrainImages.txt", lambda text: text.replace("\n", "\r\n"))
    (root / "Images/bars/unlisted.jpg").write_text("")
    assert identify(root).sha256 == original
    path = root / "Images/bars/bars_00.jpg"
    data = path.read_bytes()
    path.write_bytes(data + b"\0")
    assert identify(root).sha256 != original
    path.write_bytes(data)
    assert identify(root).sha256 == original
    moved = (root / "TestImages.txt").read_text().split("\n")[0]
    rewrite(root, "TestImages.txt", lambda text: text.replace(moved + "\n", ""))
    rewrite(root, "TrainImages.txt", lambda text: text + "\n" + moved)
    assert identify(root).sha256 != original


def test_identity_counts_what_was_skipped(root: Path) -> None:
    """Broken photographs are in num_skipped and in no split's count."""
    for name in ("bars/bars_00.jpg", "rings/rings_11.jpg"):
        break_file(root / "Images" / name)
    identity = identify(root, skip_broken=True)
    assert identity.num_skipped == 2
    assert identity.num_train + identity.num_val + identity.num_test == 34


# Verification


def test_a_sound_set_has_no_problem(photographs: Path) -> None:
    """Counts per split and class, nothing wrong, nothing to note."""
    report = verify(photographs, val_fraction=0.25)
    assert report.num_train == {"bars": 6, "checks": 6, "rings": 6}
    assert report.num_val == {"bars": 2, "checks": 2, "rings": 2}
    assert report.num_test == {"bars": 4, "checks": 4, "rings": 4}
    assert report.problems == report.notes == ()
    assert json.loads(to_json(report))["num_unlisted"] == 0


def test_everything_wrong_is_reported_at_once(root: Path) -> None:
    """One pass names every mistake of lists, folders and files."""
    images = root / "Images"
    (images / "attic").mkdir()
    break_file(images / "bars/bars_00.jpg")
    (images / "bars/bars_01.jpg").write_text("<html>")
    (images / "checks/checks_08.jpg").unlink()
    shutil.copy(images / "rings/rings_00.jpg", images / "rings/rings_11.jpg")
    shutil.copy(images / "rings/rings_00.jpg", images / "rings/spare.jpg")
    (images / "rings/.DS_Store").write_text("a file manager's")
    rewrite(
        root,
        "TrainImages.txt",
        lambda text: text + "\n../x.jpg\nbars/bars_02.jpg\nrings/rings_09.jpg\ncellar/c.jpg",
    )
    report = verify(root)
    expected = [
        "TrainImages.txt line 25 is '../x.jpg', expected class/file inside Images",
        "TrainImages.txt line 26 names bars/bars_02.jpg again (first in line 3)",
        "rings/rings_09.jpg stands in both lists",
        "the lists name class cellar",
        "Images/attic is in neither list",
        "there is no Images/checks/checks_08.jpg, which the lists name",
        "Images/bars/bars_00.jpg cannot be decoded: image file is truncated",
        "Images/bars/bars_01.jpg is no image of a known kind",
    ]
    assert len(report.problems) == len(expected)
    for part, problem in zip(expected, report.problems, strict=True):
        assert part in problem
        assert "\n" not in problem
    assert report.notes == (
        "rings/rings_00.jpg (train) and rings/rings_11.jpg (test) are the same file",
        "files in Images that neither list names and nobody uses: 1",
    )
    assert report.num_unlisted == 1


def test_missing_lists_are_problems_and_a_missing_folder_an_error(root: Path) -> None:
    """What can still be looked at is; without a folder there is nothing to look at."""
    (root / "TrainImages.txt").unlink()
    report = verify(root)
    assert len(report.problems) == 1
    assert "has no TrainImages.txt" in report.problems[0]
    assert report.num_test == {"bars": 4, "checks": 4, "rings": 4}
    assert report.num_train == {"bars": 0, "checks": 0, "rings": 0}
    with pytest.raises(IndoorError, match="there is no folder"):
        verify(root / "nowhere")


class Counting:
    """Progress that adds up."""

    def __init__(self) -> None:
        self.announced = 0
        self.done = 0
        self.num_finished = 0

    def start(self, description: str, total: int) -> None:
        """Add what is announced."""
        assert description
        self.announced += total

    def advance(self, count: int = 1) -> None:
        """Add what is done."""
        self.done += count

    def finish(self) -> None:
        """Count the ends."""
        self.num_finished += 1


def test_long_work_tells_how_far_it_is(photographs: Path) -> None:
    """Verifying and identifying announce as many steps as they then take."""
    for work in (verify, identify):
        progress = Counting()
        work(photographs, progress=progress)
        assert progress.announced == progress.done == 36
        assert progress.num_finished == 1
    progress = Counting()
    identify(photographs, skip_broken=True, progress=progress)
    assert progress.announced == progress.done == 72
    assert progress.num_finished == 4
