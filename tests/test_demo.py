"""Drawn scenes: layout, repeatability, and that structure and not colour tells them apart."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from indoor.dataset import IndoorScenes, verify
from indoor.demo import SCENES, draw_demo, draw_scene
from indoor.demo.camera import Camera, View, develop, expose
from indoor.errors import IndoorError

NUM_TRAIN, NUM_TEST = 14, 8


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every scene, small."""
    root = tmp_path_factory.mktemp("drawn") / "demo"
    draw_demo(root, num_classes=len(SCENES), num_train=NUM_TRAIN, num_test=NUM_TEST, size=96)
    return root


def digests(root: Path) -> dict[str, str]:
    """Return the hash of every file by its path."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_drawn_set_is_a_sound_data_set(demo: Path) -> None:
    """It verifies without a problem or note, with the counts that were asked for."""
    report = verify(demo)
    assert report.problems == ()
    assert report.notes == ()
    assert report.classes == tuple(sorted(SCENES))
    assert set(report.num_test.values()) == {NUM_TEST}
    for name in report.classes:
        assert report.num_train[name] + report.num_val[name] == NUM_TRAIN


def test_same_seed_same_files(tmp_path: Path) -> None:
    """The seed decides every byte; another seed gives other photographs."""
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        draw_demo(tmp_path / folder, seed=seed, num_classes=2, num_train=2, num_test=1, size=32)
    first, second, other = (digests(tmp_path / folder) for folder in "abc")
    assert len(first) == 2 * 3 + 2
    assert first == second
    differing = {name for name in first if first[name] != other[name]}
    assert differing == {name for name in first if name.endswith(".jpg")}


def test_a_larger_set_holds_the_smaller_one(tmp_path: Path) -> None:
    """A photograph does not depend on how many others are drawn."""
    draw_demo(tmp_path / "small", num_classes=2, num_train=1, num_test=1, size=32)
    draw_demo(tmp_path / "large", num_classes=3, num_train=2, num_test=2, size=32)
    small, large = digests(tmp_path / "small"), digests(tmp_path / "large")
    assert {n: d for n, d in small.items() if n.endswith(".jpg")}.items() <= large.items()


def features(demo: Path, split: str, kind: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return mean colours, or where edges are, and labels."""
    scenes = IndoorScenes(demo, "test" if split == "test" else "train", val_fraction=0.01)
    rows = []
    for photograph, _ in scenes:  # type: ignore[attr-defined]
        if kind == "colour":
            rows.append(np.asarray(photograph, dtype=np.float64).mean(axis=(0, 1)))
            continue
        grey = np.asarray(photograph.convert("L").resize((48, 48)), dtype=np.float64)
        grey = (grey - grey.mean()) / grey.std()
        edges = [np.abs(np.diff(grey, axis=0))[:, 1:], np.abs(np.diff(grey, axis=1))[1:]]
        small = [Image.fromarray(e.astype(np.float32)).resize((6, 6), Image.BOX) for e in edges]
        rows.append(np.concatenate([np.asarray(s, dtype=np.float64).ravel() for s in small]))
    return np.stack(rows), np.array(scenes.labels)


def nearest_mean_accuracy(demo: Path, kind: str) -> float:
    """Return the test accuracy of the nearest class mean, fitted on train."""
    train, labels = features(demo, "train", kind)
    test, truth = features(demo, "test", kind)
    means = np.stack([train[labels == label].mean(axis=0) for label in range(len(SCENES))])
    distances = ((test[:, None] - means) / train.std(axis=0)) ** 2
    return float((distances.sum(axis=2).argmin(axis=1) == truth).mean())


def test_mean_colour_says_nothing(demo: Path) -> None:
    """The nearest mean colour is right about as often as chance (10 classes, 80 photographs)."""
    # Chance is 0.1; 0.22 lies 3.6 standard errors above it.
    assert nearest_mean_accuracy(demo, "colour") < 0.22


def test_structure_tells_the_scenes_apart(demo: Path) -> None:
    """Where the edges are gives the class far more often than chance."""
    assert nearest_mean_accuracy(demo, "edges") > 0.5


@pytest.mark.parametrize("name", SCENES)
def test_scenes_vary_in_shape_and_brightness(name: str) -> None:
    """Each scene comes in several formats, in colour, and no two alike."""
    pictures = [draw_scene(name, np.random.default_rng([5, i]), 32) for i in range(12)]
    assert len({picture.size for picture in pictures}) >= 2
    assert all(picture.mode == "RGB" and max(picture.size) == 32 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 12
    means = [float(np.asarray(picture).mean()) for picture in pictures]
    assert max(means) - min(means) > 15


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    """A folder with something in it is an error and stays untouched; an empty one is filled."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(IndoorError, match="exists already, expected a new or empty folder"):
        draw_demo(tmp_path / "mine", num_classes=2, num_train=1, num_test=1, size=32)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    (tmp_path / "empty").mkdir()
    draw_demo(tmp_path / "empty", num_classes=2, num_train=1, num_test=1, size=32)
    assert (tmp_path / "empty" / "TestImages.txt").is_file()


class Interrupting:
    """Progress that stops the work after some steps, as Ctrl-C does."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def start(self, description: str, total: int) -> None:
        """Remember what was announced."""
        self.heard.append(f"{description} {total}")

    def advance(self, count: int = 1) -> None:
        """Stop at the third photograph."""
        self.heard.append(str(count))
        if len(self.heard) == 4:
            raise KeyboardInterrupt

    def finish(self) -> None:
        """Never reached."""
        self.heard.append("finish")


def test_interrupted_drawing_leaves_nothing(tmp_path: Path) -> None:
    """The data set is there whole or not at all, with nothing left beside it."""
    progress = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        draw_demo(
            tmp_path / "demo", num_classes=2, num_train=2, num_test=2, size=32, progress=progress
        )
    assert progress.heard == ["drawing scenes 8", "1", "1", "1"]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_readable_by_others(tmp_path: Path) -> None:
    """It has the permissions of any new folder, not those of a temporary one."""
    draw_demo(tmp_path / "demo", num_classes=2, num_train=1, num_test=1, size=32)
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "demo").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    """Where a file stands in the way of the folder, the error names the place and the remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(IndoorError, match=r"cannot draw into .*choose another place") as error:
        draw_demo(tmp_path / "file" / "demo", num_classes=2, num_train=1, num_test=1, size=32)
    assert os.linesep not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_classes", 1, "expected 2 to 10"),
        ("num_classes", 11, "expected 2 to 10"),
        ("num_train", 0, "expected at least 1"),
        ("num_test", 0, "expected at least 1"),
        ("size", 8, "expected at least 16"),
        ("seed", -1, "expected at least 0"),
    ],
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, name: str, value: int, expected: str
) -> None:
    """Each number says its range, and nothing is drawn."""
    with pytest.raises(ValueError, match=f"{name} is {value}, {expected}"):
        draw_demo(tmp_path / "demo", **{name: value})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_exposure_reaches_the_wanted_mean() -> None:
    """The tone curve brings each channel's mean to the target, without clipping."""
    ramp = np.linspace(5, 250, 64 * 64).reshape(64, 64, 1)
    picture = Image.fromarray(np.broadcast_to(ramp, (64, 64, 3)).astype(np.uint8))
    exposed = np.asarray(expose(picture, np.array([90.0, 120.0, 160.0])), dtype=np.float64)
    np.testing.assert_allclose(exposed.mean(axis=(0, 1)), [90, 120, 160], atol=1)
    assert exposed.max() < 255


def test_dark_and_bright_scenes_develop_to_the_same_mean() -> None:
    """How dark the drawn scene is leaves no trace in its photograph's mean colour."""
    ramp = np.linspace(0, 60, 64 * 64).reshape(64, 64, 1).repeat(3, axis=2)
    dark, bright = (Image.fromarray((ramp + base).astype(np.uint8)) for base in (5, 190))
    for seed in range(4):
        means = [
            np.asarray(develop(picture, np.random.default_rng(seed))).mean(axis=(0, 1))
            for picture in (dark, bright)
        ]
        np.testing.assert_allclose(means[0], means[1], atol=4)


LOOKING_AHEAD = Camera(position=(0.0, 0.0, 0.0), yaw=0.0, pitch=0.0, roll=0.0, focal=0.5)


def test_the_camera_projects_as_a_pinhole() -> None:
    """With focal 0.5 a square of 2 m at 2 m fills half of the picture's width, centred."""
    view = View()
    square = [(-1.0, -1.0, 2.0), (1.0, -1.0, 2.0), (1.0, 1.0, 2.0), (-1.0, 1.0, 2.0)]
    view.polygon(square, (200.0, 100.0, 50.0), glows=True)
    pixels = np.asarray(view.draw(LOOKING_AHEAD, 80, 80, (0.0, 1.0, 0.0), 0.0))
    rows, columns = np.nonzero(pixels[:, :, 0])
    assert (rows.min(), rows.max()) == (20, 60)
    assert (columns.min(), columns.max()) == (20, 60)
    assert tuple(pixels[40, 40]) == (200, 100, 50)


def test_the_nearer_box_hides_the_farther_one() -> None:
    """Boxes are painted far to near, whatever the order they were added in."""
    for order in ((2.0, 4.0), (4.0, 2.0)):
        view = View()
        for z in order:
            colour = (250.0, 0.0, 0.0) if z == 2.0 else (0.0, 250.0, 0.0)
            view.box((-0.5, -0.5, z), (0.5, 0.5, z + 1), colour, glows=True)
        pixels = np.asarray(view.draw(LOOKING_AHEAD, 40, 40, (0.0, 1.0, 0.0), 0.0))
        assert pixels[20, 20, 0] == 250


def test_what_lies_behind_the_camera_is_cut_off() -> None:
    """A floor that runs from behind the viewer fills the lower half, and a wall behind nothing."""
    view = View()
    floor = [(-9.0, -1.0, -5.0), (9.0, -1.0, -5.0), (9.0, -1.0, 500.0), (-9.0, -1.0, 500.0)]
    view.polygon(floor, (0.0, 200.0, 0.0), glows=True)
    view.polygon([(-9, -9, -1), (9, -9, -1), (9, 9, -1), (-9, 9, -1)], (250, 0, 0), glows=True)
    pixels = np.asarray(view.draw(LOOKING_AHEAD, 40, 40, (0.0, 1.0, 0.0), 0.0))
    assert pixels[39, 20, 1] == 200
    assert pixels[25, 20, 1] == 200
    assert pixels[10, 20].max() == 0
    assert pixels[:, :, 0].max() < 250
