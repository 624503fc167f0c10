"""How a photograph becomes a tensor; the only home of 224 and of ImageNet's mean and std."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from indoor.records import Preprocessing
from indoor.vision import torchvision

functional = torchvision.transforms.functional
"""Not `v2`, which computes the same on pictures and loads torch's compiler when it is imported."""

SIZE = 224
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DEFAULT_PREPROCESSING = Preprocessing(
    resize="whole", size=SIZE, mean=IMAGENET_MEAN, std=IMAGENET_STD
)
"""The whole photograph to 224 x 224, as the reference does, with ImageNet's mean and std."""

CROP_AREA = (0.35, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
JITTER = 0.2
_CROP_TRIES = 10

_LONGEST, _MIDDLE = 1000, 4
"""Sides of 1,000 to 1, from which on only the middle, 4 to 1, is resized; no camera has it."""


@dataclass(frozen=True)
class InferenceTransform:
    """The function from a photograph to a model's input, float32 `(3, size, size)`.

    The photograph is RGB, or L of one that is grey, which gives the same tensor as its RGB. It
    draws no random number and is safe to call from several threads.
    """

    preprocessing: Preprocessing

    def __call__(self, image: Image.Image) -> Tensor:
        """Return RGB in 0..1, less the mean, divided by the std."""
        return _to_tensor(self._resized(image), self.preprocessing)

    def pixels(self, image: Image.Image) -> Tensor:
        """Return uint8 `(size, size, 3)`, of which `normalise` makes the same, to the last bit."""
        return _to_pixels(self._resized(image))

    def _resized(self, image: Image.Image) -> Image.Image:
        p = self.preprocessing
        if p.resize == "whole":
            return _resize(image, [p.size, p.size])
        resized = _resize(_without_far_ends(image), [round(p.size * 256 / 224)])
        cropped: Image.Image = functional.center_crop(resized, [p.size, p.size])
        return cropped


def inference_transform(p: Preprocessing) -> InferenceTransform:
    """Return the function from a photograph to a model's input.

    Args:
        p: `whole` resizes the whole photograph to size x size; `crop` resizes the short side to
            size * 256 / 224 and cuts out the centre. Both are bilinear and antialiased.

    Raises:
        ValueError: The size is not positive, or a std is not.
    """
    _check(p)
    return InferenceTransform(p)


def augment(p: Preprocessing, image: Image.Image, generator: torch.Generator) -> Tensor:
    """Return a randomly cropped, flipped and lightly recoloured view of a photograph.

    The crop holds 35% to 100% of the area at a side ratio of 3/4 to 4/3 (Szegedy et al. 2015,
    "Going deeper with convolutions", section 6, with a larger lower bound: a scene is its
    whole); half of the views are mirrored; brightness, contrast and saturation change by a factor
    of 0.8 to 1.2 each. Every random number comes from `generator`, so that a resumed training
    sees the very same views.

    Args:
        p: Size, mean and std; `resize` plays no part.
        image: RGB, or L of one that is grey, which gives the same as its RGB.
        generator: Advanced by the call; see `photograph_generator`.

    Returns:
        float32 `(3, size, size)`, normalised as `inference_transform` does.

    Raises:
        ValueError: The size is not positive, or a std is not.
    """
    return _to_tensor(_augmented(p, image, generator), p)


def augmented_pixels(p: Preprocessing, image: Image.Image, generator: torch.Generator) -> Tensor:
    """Return the view of `augment` before it is normalised, uint8 `(size, size, 3)`."""
    return _to_pixels(_augmented(p, image, generator))


def normalise(pixels: Tensor, p: Preprocessing) -> Tensor:
    """Return pixels in 0..1, less the mean, divided by the std, on the device where they lie.

    A byte a value crosses the bus instead of four, and the bits are those of `inference_transform`
    on whatever device: each step is one exactly rounded operation, and none is fused with another.

    Args:
        pixels: uint8 `(B, H, W, 3)`.
        p: Mean and std.

    Returns:
        float32 `(B, 3, H, W)`, channels-last.
    """
    batch, height, width, channels = pixels.shape
    scale, shift = (torch.from_numpy(a).to(pixels.device) for a in _scale_and_shift(p))
    # A row at a time: three values alone would keep a CPU's vectors empty.
    rows = pixels.reshape(batch, height, width * channels).to(torch.float32)
    rows.mul_(scale.repeat(width)).sub_(shift.repeat(width))
    return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _augmented(p: Preprocessing, image: Image.Image, generator: torch.Generator) -> Image.Image:
    """Return the view of `augment` as a picture of the photograph's own mode."""
    _check(p)
    top, left, height, width = _crop(image.height, image.width, generator)
    box = (left, top, left + width, top + height)
    view = image.resize((p.size, p.size), Image.Resampling.BILINEAR, box=box)
    if _uniform(0.0, 1.0, generator) < 0.5:
        view = functional.hflip(view)
    for adjust in (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
    ):
        view = adjust(view, _uniform(1 - JITTER, 1 + JITTER, generator))
    return view


def photograph_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """Return a generator that depends on nothing but seed, epoch and the photograph's index.

    So the views of a photograph do not depend on which thread decodes it, or on how many were
    decoded before it.

    Args:
        seed: The training's; not negative.
        epoch: From 0 or 1, as the caller counts; not negative.
        index: The photograph's place in its dataset; not negative.
    """
    state = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def _without_far_ends(image: Image.Image) -> Image.Image:
    """Return the middle of an image that is very long: the centre is cut out of it in any case.

    Where the short side is 1 of 20,000, all of it would be resized to 5 GB.
    """
    short, long = sorted(image.size)
    if long <= _LONGEST * short:
        return image
    keep = _MIDDLE * short
    first = (long - keep) // 2
    if image.width == long:
        return image.crop((first, 0, first + keep, short))
    return image.crop((0, first, short, first + keep))


def _resize(image: Image.Image, size: list[int]) -> Image.Image:
    """Return a bilinear, antialiased resizing to a size, or of the short side."""
    resized: Image.Image = functional.resize(
        image, size, interpolation=torchvision.transforms.InterpolationMode.BILINEAR, antialias=True
    )
    return resized


def _to_tensor(image: Image.Image, p: Preprocessing) -> Tensor:
    """Return an image, RGB or L, as normalised float32 `(3, height, width)`."""
    # numpy and not torch: decoding runs in a pool of threads, and each thread that computes with
    # torch starts an OpenMP team of its own.
    assert image.mode in ("RGB", "L"), f"the image's mode is {image.mode}, expected RGB or L"
    scale, shift = _scale_and_shift(p)
    planes = np.empty((3, image.height, image.width), dtype=np.float32)
    bands = image.split() if image.mode == "RGB" else (image,) * 3
    # A plane at a time, in place: it stays in the core's cache.
    for channel, (plane, band) in enumerate(zip(planes, bands, strict=True)):
        plane[...] = np.asarray(band)
        plane *= scale[channel]
        plane -= shift[channel]
    return torch.from_numpy(planes)


def _to_pixels(image: Image.Image) -> Tensor:
    """Return an image, RGB or L, as uint8 `(height, width, 3)`."""
    assert image.mode in ("RGB", "L"), f"the image's mode is {image.mode}, expected RGB or L"
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return torch.from_numpy(np.array(rgb))


def _scale_and_shift(p: Preprocessing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return by what a pixel of each channel is multiplied, and what is then taken off it."""
    std = np.asarray(p.std, dtype=np.float32)
    return np.float32(1) / (np.float32(255) * std), np.asarray(p.mean, dtype=np.float32) / std


def _crop(height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """Draw (top, left, height, width) as torchvision's RandomResizedCrop does."""
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    for _ in range(_CROP_TRIES):
        area = height * width * _uniform(*CROP_AREA, generator)
        ratio = math.exp(_uniform(low, high, generator))
        crop_width = round(math.sqrt(area * ratio))
        crop_height = round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(_uniform(0, height - crop_height + 1, generator))
            left = int(_uniform(0, width - crop_width + 1, generator))
            return top, left, crop_height, crop_width
    crop_width = min(width, max(1, round(height * CROP_RATIO[1])))
    crop_height = min(height, max(1, round(width / CROP_RATIO[0])))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Draw a number from low (included) to high (left out)."""
    share = float(torch.rand((), dtype=torch.float64, generator=generator))
    return low + (high - low) * share


def _check(p: Preprocessing) -> None:
    """Raise ValueError for a size or std that no photograph can be brought to."""
    if p.size < 1:
        raise ValueError(f"size is {p.size}, expected a positive number of pixels")
    if min(p.std) <= 0:
        raise ValueError(f"std is {p.std}, expected three positive numbers")
