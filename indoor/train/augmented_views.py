"""The photographs as a training sees them: one epoch's random views, or as inference does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image
from torch import Tensor

from indoor.dataset import IndoorScenes
from indoor.records import Preprocessing
from indoor.transforms import augment, inference_transform, photograph_generator


@dataclass(frozen=True, eq=False)
class AugmentedScenes:
    """One epoch's random views of the train photographs, in the epoch's order.

    Each view depends on seed, epoch and photograph alone, so that a resumed epoch sees what an
    uninterrupted one sees. `size` is their side in pixels.
    """

    scenes: IndoorScenes
    preprocessing: Preprocessing
    size: int
    order: Tensor
    seed: int
    epoch: int

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.order)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Return float32 `(3, size, size)` and the label."""
        index = int(self.order[position])
        image, label = _picture(self.scenes, index)
        generator = photograph_generator(self.seed, self.epoch, index)
        return augment(replace(self.preprocessing, size=self.size), image, generator), label


class PlainScenes:
    """Some photographs under the transform of inference."""

    def __init__(
        self, scenes: IndoorScenes, preprocessing: Preprocessing, indices: Sequence[int]
    ) -> None:
        self.scenes = scenes
        self.indices = tuple(indices)
        self.transform = inference_transform(preprocessing)

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Return float32 `(3, size, size)` and the label."""
        image, label = _picture(self.scenes, self.indices[position])
        return self.transform(image), label


def _picture(scenes: IndoorScenes, index: int) -> tuple[Image.Image, int]:
    image, label = scenes[index]
    assert isinstance(image, Image.Image), "a training needs photographs without a transform"
    return image, label
