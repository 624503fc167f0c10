"""Photographs to tensors: geometry, scale, and views that repeat."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from indoor import transforms
from indoor.records import Preprocessing
from indoor.transforms import (
    DEFAULT_PREPROCESSING,
    augment,
    augmented_pixels,
    inference_transform,
    normalise,
    photograph_generator,
)

PLAIN = Preprocessing(resize="whole", size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an RGB picture of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def test_pixels_are_scaled_then_normalised() -> None:
    """A plain colour becomes (value / 255 - mean) / std in each channel, as float32."""
    image = Image.new("RGB", (20, 10), (255, 51, 0))
    p = replace(PLAIN, mean=(0.5, 0.2, 0.1), std=(0.25, 0.5, 0.2))
    tensor = inference_transform(p)(image)
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 8, 8)
    expected = torch.tensor([2.0, 0.0, -0.5]).view(3, 1, 1).expand(3, 8, 8)
    torch.testing.assert_close(tensor, expected)


@pytest.mark.parametrize("resize", ["whole", "crop"])
def test_equals_torchvision_step_by_step(resize: str) -> None:
    """Both geometries give what torchvision's own chain of transforms gives."""
    image = noise(61, 43)
    p = replace(DEFAULT_PREPROCESSING, resize=resize, size=28)
    steps = [v2.Resize((28, 28))] if resize == "whole" else [v2.Resize(32), v2.CenterCrop(28)]
    chain = v2.Compose(
        [
            *steps,
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(p.mean), list(p.std)),
        ]
    )
    torch.testing.assert_close(
        inference_transform(p)(image), torch.Tensor(chain(image)), atol=2e-6, rtol=0
    )


def test_crop_sees_the_centre_and_whole_sees_everything() -> None:
    """A white left edge is in the whole photograph and outside the centre crop."""
    image = Image.new("RGB", (200, 100))
    image.paste((255, 255, 255), (0, 0, 40, 100))
    whole = inference_transform(PLAIN)(image)
    crop = inference_transform(replace(PLAIN, resize="crop"))(image)
    assert whole[:, :, 0].min() == 1
    assert crop.max() == 0


def test_resizing_is_antialiased() -> None:
    """One-pixel stripes shrink to an even grey, not to whichever stripe was hit."""
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[:, ::2] = 255
    tensor = inference_transform(PLAIN)(Image.fromarray(pixels))
    assert tensor.min() > 0.45
    assert tensor.max() < 0.55


def test_the_default_is_the_references() -> None:
    """Without a checkpoint that says otherwise: the whole photograph to 224 x 224."""
    tensor = inference_transform(DEFAULT_PREPROCESSING)(noise(40, 30))
    assert tensor.shape == (3, 224, 224)
    assert DEFAULT_PREPROCESSING.resize == "whole"
    assert DEFAULT_PREPROCESSING.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (replace(PLAIN, size=0), "size is 0, expected a positive number"),
        (replace(PLAIN, std=(0.2, 0.0, 0.2)), "expected three positive numbers"),
    ],
)
def test_a_preprocessing_that_cannot_work_is_refused(p: Preprocessing, message: str) -> None:
    """A size or std of zero is a ValueError, at inference and in training."""
    with pytest.raises(ValueError, match=message):
        inference_transform(p)
    with pytest.raises(ValueError, match=message):
        augment(p, noise(9, 9), torch.Generator())


def test_views_repeat_with_their_generator() -> None:
    """Same seed, epoch and index: the same view, bit for bit; another of them: another view."""
    image = noise(60, 40)
    first = augment(PLAIN, image, photograph_generator(1, 2, 3))
    assert torch.equal(first, augment(PLAIN, image, photograph_generator(1, 2, 3)))
    for other in ((0, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert not torch.equal(first, augment(PLAIN, image, photograph_generator(*other)))


def test_augmentation_draws_from_its_generator_alone() -> None:
    """Torch's global generator is neither read nor advanced."""
    image = noise(60, 40)
    before = torch.get_rng_state()
    first = augment(PLAIN, image, photograph_generator(0, 0, 0))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    try:
        assert torch.equal(first, augment(PLAIN, image, photograph_generator(0, 0, 0)))
    finally:
        torch.set_rng_state(before)


def test_about_half_of_the_views_are_mirrored() -> None:
    """A picture that darkens to the right darkens to the left in about half of 200 views."""
    ramp = np.linspace(255, 0, 64).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(ramp[None, :, None], (48, 64, 3)).copy())
    views = [augment(PLAIN, image, photograph_generator(0, 0, i)) for i in range(200)]
    num_mirrored = sum(bool(view[0, :, 0].mean() < view[0, :, -1].mean()) for view in views)
    assert 70 <= num_mirrored <= 130


def test_brightness_changes_by_a_fifth_at_most_either_way() -> None:
    """Views of a plain grey photograph are 0.8 to 1.2 times as bright, over all of that range."""
    image = Image.new("RGB", (20, 20), (100, 100, 100))
    means = [
        float(augment(PLAIN, image, photograph_generator(0, 0, i)).mean()) * 2.55 for i in range(99)
    ]
    assert 0.79 <= min(means) < 0.85
    assert 1.15 < max(means) <= 1.21


def test_crops_cover_35_to_100_percent() -> None:
    """The part of the photograph that a view shows keeps to the stated area."""
    rows, columns = np.mgrid[:100, :100]
    pixels = np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)
    image = Image.fromarray(pixels)
    p = replace(PLAIN, size=64)
    shares = []
    for index in range(100):
        # Without jitter a pixel's value still says where it came from.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("indoor.transforms.JITTER", 0.0)
            view = augment(p, image, photograph_generator(0, 0, index)) * 255
        width = float(view[0].max() - view[0].min()) + 1
        height = float(view[1].max() - view[1].min()) + 1
        shares.append(width * height / 10_000)
    assert 0.3 <= min(shares) < 0.5
    assert 0.8 < max(shares) <= 1.05


@pytest.mark.parametrize("size", [(600, 3), (3, 600), (1, 1)])
def test_extreme_shapes_still_give_a_view(size: tuple[int, int]) -> None:
    """A strip that no crop of the right ratio fits falls back to its centre."""
    view = augment(PLAIN, noise(*size), photograph_generator(0, 0, 0))
    assert view.shape == (3, 8, 8)
    assert bool(view.isfinite().all())


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("resize", ["whole", "crop"])
def test_pixels_are_normalised_to_the_same_bits(resize: str, mode: str) -> None:
    """Bytes that cross a bus and are normalised behind it are inference's tensor, channels-last."""
    p = replace(DEFAULT_PREPROCESSING, resize=resize, size=28)
    images = [noise(61, 43, seed).convert(mode) for seed in range(3)]
    transform = inference_transform(p)
    pixels = torch.stack([transform.pixels(image) for image in images])
    assert pixels.shape == (3, 28, 28, 3)
    assert pixels.dtype == torch.uint8
    found = normalise(pixels, p)
    assert torch.equal(found, torch.stack([transform(image) for image in images]))
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_views_pixels_are_normalised_to_the_same_bits(mode: str) -> None:
    """The view is drawn alike, and what is grey stays grey in all three channels."""
    p = replace(DEFAULT_PREPROCESSING, size=24)
    image = noise(60, 40).convert(mode)
    pixels = augmented_pixels(p, image, photograph_generator(1, 2, 3))
    view = augment(p, image, photograph_generator(1, 2, 3))
    assert torch.equal(normalise(pixels[None], p)[0], view)
    as_rgb = augmented_pixels(p, image.convert("RGB"), photograph_generator(1, 2, 3))
    assert torch.equal(pixels, as_rgb)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (20_000, 3)])
def test_a_very_long_photograph_is_not_resized_as_a_whole(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its short side becomes 256 pixels, and the long one would be five million of them."""
    made: list[int] = []
    resize = transforms.functional.resize

    def watched(image: Image.Image, wanted: list[int], **how: object) -> Image.Image:
        scale = wanted[0] / min(image.size)
        made.append(round(image.width * scale) * round(image.height * scale))
        assert made[-1] < 1_000_000
        return resize(image, wanted, **how)

    monkeypatch.setattr(transforms.functional, "resize", watched)
    crop = replace(DEFAULT_PREPROCESSING, resize="crop")
    assert inference_transform(crop)(noise(*size)).shape == (3, 224, 224)
    assert len(made) == 1


def test_the_middle_of_a_very_long_photograph_is_its_middle() -> None:
    """What is left out would be cut off anyway: the centre shows the same."""
    image = Image.new("RGB", (24_000, 20))
    image.paste((255, 0, 0), (12_000, 0, 24_000, 20))
    crop = replace(PLAIN, resize="crop", size=224)
    red = inference_transform(crop)(image)[0]
    assert red[:, :105].max() == 0
    assert red[:, 119:].min() == 1
