"""What was made of photographs, kept in memory while it fits, so that it is made once."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from PIL import Image
from torch import Tensor

from indoor.machine import free_memory_bytes
from indoor.ranks import read_ranks

Made = TypeVar("Made", Image.Image, Tensor)

MEMORY_SHARE = 0.25
"""Of the memory that is free when keeping begins; the rest is for networks and for others."""


class Kept(Generic[Made]):
    """Makes something of each photograph once, and again only where there was no room to keep it.

    It may be called from several threads. What it returns is shared, and is to be left as it is.

    Args:
        make: Makes it of a photograph's place in its data set, the same each time.
        max_bytes: For all that is kept, which is never given back; None for a share of the memory
            that is free now.
    """

    def __init__(self, make: Callable[[int], Made], max_bytes: int | None = None) -> None:
        self._make: Callable[[int], Made] = make
        self._left = affordable_bytes() if max_bytes is None else max_bytes
        self._made: dict[int, Made] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._made)

    def __call__(self, index: int) -> Made:
        """Return what is made of the photograph at that place."""
        found = self._made.get(index)
        if found is not None:
            return found
        made = self._make(index)
        num_bytes = _bytes_of(made)
        with self._lock:
            if index not in self._made and num_bytes <= self._left:
                self._left -= num_bytes
                self._made[index] = made
        return made


def affordable_bytes() -> int:
    """Return how much this process of a job, and those that it starts, may keep together."""
    return int(MEMORY_SHARE * free_memory_bytes()) // read_ranks().local_size


def _bytes_of(made: Image.Image | Tensor) -> int:
    if isinstance(made, Tensor):
        return made.nbytes
    return made.width * made.height * len(made.getbands())
