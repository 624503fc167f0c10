"""Which photographs two variants answer differently, for people to look at."""

import io

from torch import Tensor

from indoor.dataset import IndoorScenes, load_sample
from indoor.report.differences import MOST_SHOWN, Differing

_THUMBNAIL = 200
"""Pixels of the longer side."""


def find_differing(
    scenes: IndoorScenes, first: Tensor, other: Tensor, *, thumbnails: bool = False
) -> tuple[Differing, ...]:
    """Return the photographs with two answers, the surest first.

    Args:
        scenes: The photographs that were answered, in the order of the logits.
        first: float32 logits `(N, C)`.
        other: Another variant's on the same photographs.
        thumbnails: Whether each of the first 100 comes with a small copy.

    Raises:
        IndoorError: A photograph cannot be read.
    """
    answers = [logits.softmax(1).max(1) for logits in (first, other)]
    (first_sure, first_class), (other_sure, other_class) = answers
    differ = (first_class != other_class).nonzero().flatten()
    surest = (first_sure + other_sure)[differ].argsort(descending=True, stable=True)
    found = []
    for place, index in enumerate(differ[surest].tolist()):
        sample = scenes.samples[index]
        found.append(
            Differing(
                name=sample.name,
                label=scenes.classes[sample.label],
                first=scenes.classes[int(first_class[index])],
                first_confidence=float(first_sure[index]),
                other=scenes.classes[int(other_class[index])],
                other_confidence=float(other_sure[index]),
                jpeg=_thumbnail(scenes, index) if thumbnails and place < MOST_SHOWN else None,
            )
        )
    return tuple(found)


def _thumbnail(scenes: IndoorScenes, index: int) -> bytes:
    image = load_sample(scenes.samples[index])
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=80)
    return written.getvalue()
