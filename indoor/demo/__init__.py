"""Drawn indoor scenes in MIT Indoor-67's layout, for when there are no photographs."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from indoor.demo import halls, rooms
from indoor.demo.camera import Camera, View, develop
from indoor.errors import IndoorError
from indoor.files import new_folder
from indoor.progress import NO_PROGRESS, Progress

__all__ = ["SCENES", "draw_demo", "draw_scene"]

SCENES: dict[str, Callable[[View, np.random.Generator], None]] = {
    "corridor": halls.draw_corridor,
    "library": halls.draw_library,
    "staircase": halls.draw_staircase,
    "cloister": halls.draw_cloister,
    "poolinside": rooms.draw_pool,
    "movietheater": rooms.draw_cinema,
    "classroom": rooms.draw_classroom,
    "bedroom": rooms.draw_bedroom,
    "bowling": halls.draw_bowling,
    "kitchen": rooms.draw_kitchen,
}
"""Every scene that can be drawn; a smaller data set has the first ones."""

EYES = {"staircase": (1.3, 1.8), "movietheater": (1.7, 2.4), "poolinside": (1.8, 3.0)}
"""Metres from the floor to the camera where it is not a standing person's."""

_SUPERSAMPLING = 2


def draw_demo(
    root: Path,
    *,
    seed: int = 0,
    num_classes: int = 8,
    num_train: int = 60,
    num_test: int = 60,
    size: int = 256,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Draw a data set of indoor scenes, whole or not at all.

    The scenes differ in structure; colours, light, camera and noise are random for each, and the
    mean colour comes from one distribution for all. The same arguments give the same files (with
    the same Pillow and numpy), and a photograph does not depend on how many others are drawn.

    Args:
        root: The folder to make: `Images/<class>/<file>.jpg`, `TrainImages.txt`,
            `TestImages.txt`.
        seed: Decides everything that is random; not negative.
        num_classes: 2 to 10.
        num_train: Photographs a class in the train list, at least 1.
        num_test: Photographs a class in the test list, at least 1.
        size: Pixels of the long side, at least 16.
        progress: Hears of each photograph.

    Raises:
        IndoorError: `root` exists already and is not empty, or cannot be written.
        ValueError: A number is out of its range.
    """
    for name, value, low, high in (
        ("seed", seed, 0, math.inf),
        ("num_classes", num_classes, 2, len(SCENES)),
        ("num_train", num_train, 1, math.inf),
        ("num_test", num_test, 1, math.inf),
        ("size", size, 16, math.inf),
    ):
        if not low <= value <= high:
            expected = f"at least {low}" if high == math.inf else f"{low} to {high}"
            raise ValueError(f"{name} is {value}, expected {expected}")
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise IndoorError(
            f"{root} exists already, expected a new or empty folder; "
            "remove it, or choose another place"
        )
    try:
        with new_folder(root) as built:
            progress.start("drawing scenes", num_classes * (num_train + num_test))
            lists = {"train": num_train, "test": num_test}
            _draw_into(built, seed, list(SCENES)[:num_classes], lists, size, progress)
            progress.finish()
    except OSError as error:
        raise IndoorError(
            f"cannot draw into {root}: {error.strerror or error}; "
            "expected a folder where one can write, with free space; choose another place"
        ) from error


def draw_scene(name: str, generator: np.random.Generator, size: int) -> Image.Image:
    """Draw one photograph of a scene.

    Args:
        name: A key of `SCENES`.
        generator: Decides everything that is random.
        size: Pixels of the long side.

    Returns:
        RGB, `size` x 3/4 `size` in either direction, or square.
    """
    width, height = size, size
    shape = generator.random()
    if shape < 0.6:
        height = size * 3 // 4
    elif shape < 0.8:
        width = size * 3 // 4
    view = View()
    SCENES[name](view, generator)
    low, high = EYES.get(name, (1.3, 1.75))
    camera = Camera(
        position=(
            generator.uniform(-0.45, 0.45),
            generator.uniform(low, high),
            generator.uniform(-0.3, 0.3),
        ),
        yaw=generator.normal(0, 0.09),
        pitch=generator.normal(0.03, 0.05),
        roll=generator.normal(0, 0.02),
        focal=generator.uniform(0.6, 0.95),
    )
    light = (generator.normal(), abs(generator.normal()) + 0.5, generator.normal())
    picture = view.draw(
        camera,
        width * _SUPERSAMPLING,
        height * _SUPERSAMPLING,
        light,
        generator.uniform(0.0, 0.08),
    ).reduce(_SUPERSAMPLING)
    if generator.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return develop(picture, generator)


def _draw_into(
    folder: Path,
    seed: int,
    names: Sequence[str],
    lists: Mapping[str, int],
    size: int,
    progress: Progress,
) -> None:
    """Draw so many photographs a scene for each list, and write the lists."""
    for part, (split, count) in enumerate(lists.items()):
        lines: list[str] = []
        for label, name in enumerate(names):
            (folder / "Images" / name).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                generator = np.random.default_rng([seed, label, part, index])
                line = f"{name}/{name}_{split}_{index + 1:04d}.jpg"
                quality = int(generator.integers(70, 96))
                draw_scene(name, generator, size).save(folder / "Images" / line, quality=quality)
                lines.append(line)
                progress.advance()
        text = "\n".join(lines) + "\n"
        (folder / f"{split.title()}Images.txt").write_text(text, encoding="utf-8")
