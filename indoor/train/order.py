"""The order in which an epoch reads the train photographs."""

import random

import torch
from torch import Tensor

from indoor.dataset import IndoorScenes
from indoor.dataset.shards import windowed_order
from indoor.errors import IndoorError
from indoor.train.head import epoch_order


def reading_order(
    scenes: IndoorScenes, seed: int, epoch: int, shards_at_once: int | None = None
) -> Tensor:
    """Return an epoch's order, int64 `(N,)`, which seed and epoch decide and nothing else.

    So a reading that was cut off goes on at any place of it.

    Args:
        scenes: The train photographs.
        seed: As of the training.
        epoch: From 1.
        shards_at_once: Of photographs in shards, how many of these are read at the same time, so
            that an epoch reads each shard once; None for any order, as from a folder.

    Raises:
        IndoorError: They are not in shards.
    """
    if shards_at_once is None:
        return epoch_order(len(scenes), seed, epoch)
    if any(one.stored is None for one in scenes.samples):
        raise IndoorError(
            f"--shards-at-once {shards_at_once} with {scenes.root}, which holds no shards; "
            "expected a folder that `indoor data shard` wrote; leave the option out"
        )
    numbers = {path: n for n, path in enumerate(sorted({one.path for one in scenes.samples}))}
    shard_of = [numbers[one.path] for one in scenes.samples]
    chance = random.Random(f"order of shards {seed} {epoch}")
    return torch.tensor(windowed_order(len(scenes), shard_of, shards_at_once, chance))
