"""What every drawn scene is made of: random paint, a room with panels on its walls, furniture."""

import colorsys
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from indoor.demo.camera import Colour, Point, View

Wall = Literal["left", "right", "back", "floor", "ceiling"]


def paint(generator: np.random.Generator, low: float = 0.3, high: float = 0.9) -> Colour:
    """Return a random colour of any hue, with a brightness between low and high (0..1)."""
    hue, saturation, value = generator.uniform((0, 0.05, low), (1, 0.55, high))
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return 255 * red, 255 * green, 255 * blue


def tone(colour: Colour, factor: float) -> Colour:
    """Return a darker (factor below 1) or brighter colour."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


@dataclass(frozen=True, kw_only=True)
class Room:
    """A room of width x height x depth metres around the viewer.

    x is 0 in the middle, the floor is at y = 0, the back wall at z = depth; the side walls
    begin 3 m behind z = 0.
    """

    view: View
    width: float
    height: float
    depth: float

    def build(self, generator: np.random.Generator) -> None:
        """Add floor, walls and ceiling in random colours."""
        wall = paint(generator)
        walls: dict[Wall, Colour] = {
            "floor": paint(generator),
            "left": wall,
            "right": wall,
            "back": tone(wall, generator.uniform(0.8, 1.15)),
            "ceiling": paint(generator, 0.5, 0.95),
        }
        for name, colour in walls.items():
            across = name in {"floor", "ceiling", "back"}
            start = -self.width / 2 if across else -3.0
            end = self.width / 2 if across else self.depth
            low, high = (0.0, self.height) if name not in {"floor", "ceiling"} else (-3, self.depth)
            self.panel(name, start, end, low, high, colour, priority=-1)

    def panel(
        self,
        wall: Wall,
        a0: float,
        a1: float,
        b0: float,
        b1: float,
        colour: Colour,
        *,
        priority: int = 0,
        glows: bool = False,
    ) -> None:
        """Add a rectangle flat on a wall.

        `a` runs along x (back, floor, ceiling) or z (left, right); `b` along y, or along z on
        floor and ceiling. A higher priority lies above a lower one.
        """
        corners = [(a0, b0), (a1, b0), (a1, b1), (a0, b1)]
        self.shape(wall, corners, colour, priority=priority, glows=glows)

    def shape(
        self,
        wall: Wall,
        corners: list[tuple[float, float]],
        colour: Colour,
        *,
        priority: int = 0,
        glows: bool = False,
    ) -> None:
        """Add a polygon flat on a wall; the corners are (a, b) as in `panel`."""
        # The walls touch and hide nothing of each other, so one common centre leaves the order
        # to the priority.
        points = [self._point(wall, a, b) for a, b in corners]
        self.view.polygon(
            points, colour, layer=0, priority=priority, centre=(0.0, 0.0, 0.0), glows=glows
        )

    def grid(self, wall: Wall, step: float, colour: Colour, *, joint: float = 0.02) -> None:
        """Add the joints of square tiles of `step` metres."""
        across = wall in {"back", "floor", "ceiling"}
        a0, a1 = (-self.width / 2, self.width / 2) if across else (-3.0, self.depth)
        b0, b1 = (-3.0, self.depth) if wall in {"floor", "ceiling"} else (0.0, self.height)
        for a in np.arange(a0, a1, step).tolist():
            self.panel(wall, a, a + joint, b0, b1, colour)
        for b in np.arange(b0, b1, step).tolist():
            self.panel(wall, a0, a1, b, b + joint, colour)

    def window(self, wall: Wall, a0: float, a1: float, b0: float, b1: float, sky: Colour) -> None:
        """Add a bright window with a frame and a cross."""
        frame = tone(sky, 0.45)
        self.panel(wall, a0 - 0.08, a1 + 0.08, b0 - 0.08, b1 + 0.08, frame, priority=1)
        self.panel(wall, a0, a1, b0, b1, sky, priority=2, glows=True)
        a, b = (a0 + a1) / 2, (b0 + b1) / 2
        self.panel(wall, a - 0.03, a + 0.03, b0, b1, frame, priority=3)
        self.panel(wall, a0, a1, b - 0.03, b + 0.03, frame, priority=3)

    def arch(self, wall: Wall, a0: float, a1: float, b0: float, b1: float, sky: Colour) -> None:
        """Add a bright round-headed opening from a0 to a1, its sides straight from b0 to b1."""
        radius, middle = (a1 - a0) / 2, (a0 + a1) / 2
        angles = np.linspace(0, math.pi, 13).tolist()
        head = [(middle + radius * math.cos(t), b1 + radius * math.sin(t)) for t in angles]
        self.shape(wall, [(a0, b0), (a1, b0), *head], sky, priority=4, glows=True)

    def table(self, x: float, z: float, size: Point, colour: Colour) -> None:
        """Add a table top on four legs; `size` is width, height, depth."""
        width, height, depth = size
        top = (x - width / 2, height - 0.05, z - depth / 2)
        self.view.box(top, (x + width / 2, height, z + depth / 2), colour)
        for side in (-1, 1):
            for end in (-1, 1):
                leg_x, leg_z = x + side * (width / 2 - 0.05), z + end * (depth / 2 - 0.05)
                self.view.box(
                    (leg_x - 0.03, 0, leg_z - 0.03),
                    (leg_x + 0.03, height - 0.05, leg_z + 0.03),
                    tone(colour, 0.6),
                )

    def _point(self, wall: Wall, a: float, b: float) -> Point:
        if wall == "back":
            return a, b, self.depth
        if wall == "floor":
            return a, 0.0, b
        if wall == "ceiling":
            return a, self.height, b
        return (-self.width / 2 if wall == "left" else self.width / 2), b, a


def random_room(view: View, generator: np.random.Generator, *sizes: tuple[float, float]) -> Room:
    """Return a painted room of random size; the ranges are of width, height and depth."""
    width, height, depth = (generator.uniform(low, high) for low, high in sizes)
    room = Room(view=view, width=width, height=height, depth=depth)
    room.build(generator)
    return room
