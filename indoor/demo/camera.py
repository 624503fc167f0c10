"""A camera: flat-shaded polygons in metres become something like a photograph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Point = tuple[float, float, float]
"""x to the right, y up, z away from the viewer, in metres."""

Colour = tuple[float, float, float]
"""Red, green, blue in 0..255 before light falls on it."""

Floats = NDArray[np.float64]

NEAR = 0.05
"""Metres in front of the camera where polygons are cut off."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Where the viewer stands and looks; angles in radians, `focal` in picture widths."""

    position: Point
    yaw: float
    pitch: float
    roll: float
    focal: float


@dataclass(frozen=True)
class _Face:
    points: Sequence[Point]
    colour: Colour
    layer: int
    centre: Point
    priority: int
    glows: bool


class View:
    """Collects polygons and boxes, and draws them from the farthest to the nearest.

    Faces are ordered by layer, then by the distance of what they belong to, then by priority,
    then by their own distance. Layer 0 is for the room, whose walls hide nothing of what is in it.
    """

    def __init__(self) -> None:
        self._faces: list[_Face] = []

    def polygon(
        self,
        points: Sequence[Point],
        colour: Colour,
        *,
        layer: int = 1,
        priority: int = 0,
        centre: Point | None = None,
        glows: bool = False,
    ) -> None:
        """Add a flat polygon; `centre` stands for what it belongs to, `glows` means unshaded."""
        if centre is None:
            x, y, z = (sum(axis) / len(points) for axis in zip(*points, strict=True))
            centre = (x, y, z)
        self._faces.append(_Face(points, colour, layer, centre, priority, glows))

    def box(
        self, low: Point, high: Point, colour: Colour, *, layer: int = 1, glows: bool = False
    ) -> None:
        """Add a box with sides along the axes, from one corner to the opposite one."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        centre = ((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2)
        for points in (
            ((x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)),
            ((x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)),
            ((x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)),
            ((x0, y0, z0), (x0, y0, z1), (x0, y1, z1), (x0, y1, z0)),
            ((x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)),
            ((x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)),
        ):
            self.polygon(points, colour, layer=layer, centre=centre, glows=glows)

    def draw(
        self, camera: Camera, width: int, height: int, light: Point, falloff: float
    ) -> Image.Image:
        """Return the RGB picture that the camera takes.

        Args:
            camera: Where from.
            width: Pixels.
            height: Pixels.
            light: A direction; faces square to it are brightest.
            falloff: How much darker it is a metre farther away, 0 for not at all.
        """
        sizes = np.array([len(face.points) for face in self._faces])
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        points = np.array([point for face in self._faces for point in face.points])
        seen = _to_camera(points, camera)
        middles = np.add.reduceat(points, starts, axis=0) / sizes[:, None]
        position = np.array(camera.position)
        away = np.linalg.norm(middles - position, axis=1)
        centres = np.array([face.centre for face in self._faces])
        order = np.lexsort(
            (
                -away,
                [face.priority for face in self._faces],
                -np.linalg.norm(centres - position, axis=1),
                [face.layer for face in self._faces],
            )
        )
        normals = np.cross(points[starts + 1] - points[starts], points[starts + 2] - points[starts])
        lengths = np.linalg.norm(normals, axis=1) + 1e-9
        direction = np.array(light) / np.linalg.norm(light)
        shade = (0.5 + 0.5 * np.abs(normals @ direction) / lengths) / (1 + falloff * away)
        shade[[face.glows for face in self._faces]] = 1.0
        colours = np.array([face.colour for face in self._faces]) * shade[:, None]
        fills = colours.clip(6, 255).astype(int).tolist()
        nearest = np.minimum.reduceat(seen[:, 2], starts)
        picture = Image.new("RGB", (width, height))
        pen = ImageDraw.Draw(picture)
        for index in order.tolist():
            corners = seen[starts[index] : starts[index] + sizes[index]]
            if nearest[index] < NEAR:
                corners = _cut_near(corners)
                if len(corners) < 3:
                    continue
            scale = camera.focal * width / corners[:, 2]
            flat = np.empty(2 * len(corners))
            flat[0::2] = width / 2 + corners[:, 0] * scale
            flat[1::2] = height / 2 - corners[:, 1] * scale
            pen.polygon(flat.tolist(), fill=tuple(fills[index]))
        return picture


def _to_camera(points: Floats, camera: Camera) -> Floats:
    """Return the points `(N, 3)` as the camera sees them: right, up, away."""
    cy, sy = np.cos(camera.yaw), np.sin(camera.yaw)
    cp, sp = np.cos(camera.pitch), np.sin(camera.pitch)
    cr, sr = np.cos(camera.roll), np.sin(camera.roll)
    yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned: Floats = (points - np.array(camera.position)) @ (roll @ pitch @ yaw).T
    return turned


def _cut_near(corners: Floats) -> Floats:
    """Cut a polygon off at the near plane (Sutherland and Hodgman 1974, one plane)."""
    kept: list[Floats] = []
    for index, corner in enumerate(corners):
        before = corners[index - 1]
        if (corner[2] >= NEAR) != (before[2] >= NEAR):
            share = (NEAR - before[2]) / (corner[2] - before[2])
            kept.append(before + share * (corner - before))
        if corner[2] >= NEAR:
            kept.append(corner)
    return np.array(kept)


def develop(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Light a picture unevenly, expose it to a random mean colour, blur it, add grain.

    The mean colour is drawn from one distribution for every scene, so that it says nothing about
    which scene it is.

    Args:
        picture: RGB.
        generator: Decides everything that is random.

    Returns:
        RGB, of the same size.
    """
    pixels = np.asarray(picture, dtype=np.float32)
    pixels = pixels * _light(picture.height, picture.width, generator)[:, :, None]
    lit = Image.fromarray(pixels.clip(1, 255).astype(np.uint8))
    brightness = generator.uniform(85, 160)
    exposed = expose(lit, brightness * generator.uniform(0.82, 1.18, size=3))
    radius = generator.uniform(0, 0.8)
    if radius > 0.2:
        exposed = exposed.filter(ImageFilter.GaussianBlur(radius))
    grain = generator.standard_normal((picture.height, picture.width, 3), dtype=np.float32)
    pixels = np.asarray(exposed, dtype=np.float32) + grain * np.float32(generator.uniform(1, 9))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def expose(picture: Image.Image, mean: NDArray[np.float64]) -> Image.Image:
    """Bring each channel's mean to `mean` (0..255) by a tone curve, which clips nothing."""
    levels = np.arange(256) / 255
    table: list[int] = []
    for channel, target in zip(picture.split(), mean.tolist(), strict=True):
        counts = np.array(channel.histogram(), dtype=np.float64)
        low, high = 0.05, 20.0
        for _ in range(24):
            power = (low * high) ** 0.5
            if 255 * counts @ levels**power / counts.sum() > target:
                low = power
            else:
                high = power
        table += np.rint(255 * levels**power).astype(int).tolist()
    return picture.point(table)


def _light(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Return a factor for each pixel: a bright spot somewhere, darker corners."""
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    row, column = generator.uniform(-0.9, 0.9, size=2).astype(np.float32)
    wide = np.float32(generator.uniform(0.5, 1.5))
    spot = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / wide)
    strength = np.float32(generator.uniform(0.0, 0.7))
    corners = np.float32(generator.uniform(0.0, 0.25)) * (rows**2 + columns**2)
    light: NDArray[np.float32] = (1 - strength / 2 + strength * spot) * (1 - corners)
    return light
