"""Which photographs of a class-labelled list go where, by a seed."""

from collections.abc import Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")


def stratified_sample(labels: Sequence[int], count: int, seed: int) -> tuple[int, ...]:
    """Choose photographs at random, as evenly over the classes as their numbers allow.

    Every class gives the same number, give or take one; a class that has fewer gives all it has,
    and the others make up for it. The order is such that every prefix of the sample is as even
    as it can be, so batches of it hold many classes.

    Args:
        labels: The label of each photograph.
        count: How many to choose, 0 to `len(labels)`.
        seed: Decides which, and their order.

    Returns:
        `count` different indices into `labels`.

    Raises:
        ValueError: There are fewer than `count`, or `count` is negative.
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"count is {count}, expected 0 to {len(labels)}, the number of labels")
    generator = torch.Generator().manual_seed(seed)
    ranked = [
        (turn, rank, index)
        for rank, indices in enumerate(_shuffled(_by_class(labels), generator))
        for turn, index in enumerate(_shuffled(indices, generator))
    ]
    return tuple(index for _, _, index in sorted(ranked)[:count])


def validation_indices(labels: Sequence[int], fraction: float, seed: int) -> tuple[int, ...]:
    """Choose the validation share of a train list: the same share of every class.

    A class keeps at least one photograph for training, and gives at least one where it has two.

    Args:
        labels: The label of each photograph.
        fraction: The share of each class, between 0 and 1.
        seed: Decides which.

    Returns:
        Indices into `labels`, ascending.

    Raises:
        ValueError: `fraction` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"val_fraction is {fraction}, expected a number between 0 and 1")
    generator = torch.Generator().manual_seed(seed)
    chosen: list[int] = []
    for indices in _by_class(labels):
        count = min(max(1, round(len(indices) * fraction)), len(indices) - 1)
        chosen += _shuffled(indices, generator)[:count]
    return tuple(sorted(chosen))


def _by_class(labels: Sequence[int]) -> list[list[int]]:
    """Return the indices of each class that occurs, in the order of the labels."""
    classes: dict[int, list[int]] = {label: [] for label in sorted(set(labels))}
    for index, label in enumerate(labels):
        classes[label].append(index)
    return list(classes.values())


def _shuffled(items: list[Item], generator: torch.Generator) -> list[Item]:
    """Return the items in a random order."""
    return [items[place] for place in torch.randperm(len(items), generator=generator).tolist()]
