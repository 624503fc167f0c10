"""The photographs as a training sees them: one epoch's random views, or as inference does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from indoor.dataset import IndoorScenes, load_sample
from indoor.dataset.kept import Kept
from indoor.records import Preprocessing
from indoor.transforms import augment, augmented_pixels, inference_transform, photograph_generator


def keep_decoded(scenes: IndoorScenes, max_bytes: int | None = None) -> Kept[Image.Image]:
    """Return what decodes each photograph once, as far as they fit into memory.

    Args:
        scenes: The photographs.
        max_bytes: As for `Kept`.
    """
    return Kept(partial(_picture, scenes), max_bytes)


@dataclass(frozen=True, eq=False)
class AugmentedScenes:
    """One epoch's random views of the train photographs, in the epoch's order.

    Each view depends on seed, epoch and photograph alone, so that a resumed epoch sees what an
    uninterrupted one sees, and it is the same in whichever thread or process it is made. `size` is
    their side in pixels; `decoded` keeps the photographs, None decodes them in every epoch.
    """

    scenes: IndoorScenes
    preprocessing: Preprocessing
    size: int
    order: Tensor
    seed: int
    epoch: int
    decoded: Kept[Image.Image] | None = None

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Return float32 `(3, size, size)` and the label."""
        return augment(*self._drawn(position)), self._label(position)

    def pixels(self, position: int) -> tuple[Tensor, int]:
        """Return the view before it is normalised, uint8 `(size, size, 3)`, and the label."""
        return augmented_pixels(*self._drawn(position)), self._label(position)

    def _drawn(self, position: int) -> tuple[Preprocessing, Image.Image, torch.Generator]:
        """Return what the view is made of."""
        index = int(self.order[position])
        kept = self.decoded
        image = _picture(self.scenes, index) if kept is None else kept(index)
        generator = photograph_generator(self.seed, self.epoch, index)
        return replace(self.preprocessing, size=self.size), image, generator

    def _label(self, position: int) -> int:
        return self.scenes.samples[int(self.order[position])].label


class PlainScenes:
    """Some photographs under the transform of inference.

    Args:
        scenes: Photographs.
        preprocessing: The transform.
        indices: Which of them.
        keeps: Whether the views are kept once they were made, as far as they fit into memory.
        max_bytes: As for `Kept`.
    """

    def __init__(
        self,
        scenes: IndoorScenes,
        preprocessing: Preprocessing,
        indices: Sequence[int],
        *,
        keeps: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        self.scenes = scenes
        self.preprocessing = preprocessing
        self.indices = tuple(indices)
        self.transform = inference_transform(preprocessing)
        self._kept = Kept(self._made, max_bytes) if keeps else None

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Return float32 `(3, size, size)` and the label."""
        index = self.indices[position]
        return self.transform(_picture(self.scenes, index)), self.scenes.samples[index].label

    def pixels(self, position: int) -> tuple[Tensor, int]:
        """Return the view before it is normalised, uint8 `(size, size, 3)`, and the label."""
        index = self.indices[position]
        make = self._made if self._kept is None else self._kept
        return make(index), self.scenes.samples[index].label

    def _made(self, index: int) -> Tensor:
        return self.transform.pixels(_picture(self.scenes, index))


def _picture(scenes: IndoorScenes, index: int) -> Image.Image:
    """Return a photograph, RGB, or L where it is stored in grey, of which views are the same."""
    assert scenes.transform is None, "a training needs photographs without a transform"
    return load_sample(scenes.samples[index], keep_grey=True)
