"""From a drawn view to something like a photograph: light, exposure, blur, noise."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


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
