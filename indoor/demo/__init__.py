"""Drawn indoor scenes in MIT Indoor-67's layout, for when there are no photographs."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from indoor.demo.film import develop
from indoor.demo.halls import (
    draw_bowling,
    draw_cloister,
    draw_corridor,
    draw_library,
    draw_staircase,
)
from indoor.demo.homes import draw_bedroom, draw_kitchen
from indoor.demo.rooms import draw_cinema, draw_classroom, draw_pool
from indoor.demo.view import Camera, View
from indoor.errors import IndoorError
from indoor.progress import NO_PROGRESS, Progress

__all__ = ["SCENES", "draw_demo", "draw_scene"]

SCENES: dict[str, Callable[[View, np.random.Generator], None]] = {
    "corridor": draw_corridor,
    "library": draw_library,
    "staircase": draw_staircase,
    "cloister": draw_cloister,
    "poolinside": draw_pool,
    "movietheater": draw_cinema,
    "classroom": draw_classroom,
    "bedroom": draw_bedroom,
    "bowling": draw_bowling,
    "kitchen": draw_kitchen,
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
        ("seed", seed, 0, None),
        ("num_classes", num_classes, 2, len(SCENES)),
        ("num_train", num_train, 1, None),
        ("num_test", num_test, 1, None),
        ("size", size, 16, None),
    ):
        if value < low or (high is not None and value > high):
            raise ValueError(
                f"{name} is {value}, expected {low} to {high}"
                if high is not None
                else f"{name} is {value}, expected at least {low}"
            )
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise IndoorError(
            f"{root} exists already, expected a new or empty folder; "
            "remove it, or choose another place"
        )
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as temporary:
            # A folder in the folder: the temporary one is for its owner alone, this one is not.
            built = Path(temporary, "built")
            progress.start("drawing scenes", num_classes * (num_train + num_test))
            _draw_into(built, seed, num_classes, num_train, num_test, size, progress)
            built.rename(root)
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
    num_classes: int,
    num_train: int,
    num_test: int,
    size: int,
    progress: Progress,
) -> None:
    """Draw the photographs and write the lists."""
    lists: dict[str, list[str]] = {"TrainImages.txt": [], "TestImages.txt": []}
    for label, name in enumerate(list(SCENES)[:num_classes]):
        (folder / "Images" / name).mkdir(parents=True)
        for part, (list_name, count) in enumerate(
            (("TrainImages.txt", num_train), ("TestImages.txt", num_test))
        ):
            for index in range(count):
                generator = np.random.default_rng([seed, label, part, index])
                line = f"{name}/{name}_{list_name[:-10].lower()}_{index + 1:04d}.jpg"
                quality = int(generator.integers(70, 96))
                draw_scene(name, generator, size).save(folder / "Images" / line, quality=quality)
                lists[list_name].append(line)
                progress.advance()
    for list_name, lines in lists.items():
        (folder / list_name).write_text("\n".join(lines) + "\n", encoding="utf-8")
