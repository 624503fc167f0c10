"""Which photographs are train, validation and test, and a split of them as a torch dataset."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch
from PIL import Image
from torch.utils.data import Dataset

from indoor.dataset.lists import SplitLists, lists_of, require_sound_lists
from indoor.dataset.samples import Sample, load_sample
from indoor.dataset.shard_manifest import MANIFEST, ShardManifest, find_manifest
from indoor.dataset.soundness import find_broken
from indoor.errors import IndoorError
from indoor.hints import command_line
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import Split
from indoor.transforms import InferenceTransform

Item = TypeVar("Item")


class IndoorScenes(Dataset[tuple[Any, int]]):
    """The photographs of a split, each with its label.

    Validation is a share of every class of the train list, chosen by the seed from the names
    alone, so that neither the list's order nor a broken file elsewhere moves a photograph from
    one split to another. The test list is the test split, untouched.

    Args:
        root: A data set in MIT Indoor-67's layout; see `read_split_lists`. Or the shards that
            were made of one: photographs, splits and labels are the same.
        split: `train`, `val` or `test`.
        transform: What to make of each RGB photograph; None leaves it as it is.
        val_fraction: The share of the train list that is validation, between 0 and 1.
        seed: Decides which photographs are validation.
        skip_broken: Leave out, and count, files that hold no whole photograph. Each is decoded
            once to know. Without it such a file raises when it is read.
        progress: Hears of each photograph that is decoded to know.

    Attributes:
        root: As given.
        split: As given.
        classes: The sorted names of the class folders; a class's place is its label.
        samples: The photographs, in their list's order.
        num_skipped: How many were left out.

    Raises:
        IndoorError: The lists cannot be used, a listed file is missing, or no photograph is left.
        ValueError: The split is unknown, or the fraction is not between 0 and 1.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        transform: Callable[[Image.Image], Any] | None = None,
        *,
        val_fraction: float = 0.15,
        seed: int = 0,
        skip_broken: bool = False,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        if split not in get_args(Split):
            raise ValueError(f"split is {split!r}, expected one of {', '.join(get_args(Split))}")
        manifest = find_manifest(root)
        if manifest is None:
            lists, samples = _in_folders(root, split, val_fraction, seed)
        else:
            lists, samples = _in_shards(root, manifest, split, val_fraction, seed)
        self.root = root
        self.split: Split = split
        self.transform = transform
        self.classes = lists.classes
        self.num_skipped = 0
        if skip_broken and manifest is not None:
            raise IndoorError(
                f"--skip-broken with {root}, which holds shards; expected photographs in files of "
                "their own; leave broken ones out when the shards are written: "
                f"{command_line('data', 'shard', 'ROOT', root, skip_broken=True)}"
            )
        if skip_broken:
            progress.start(f"checking the {split} photographs", len(samples))
            broken = find_broken([sample.path for sample in samples], progress=progress)
            progress.finish()
            self.num_skipped = len(broken)
            samples = tuple(sample for sample in samples if sample.path not in broken)
        self.samples = samples
        if not samples:
            raise IndoorError(
                f"the {split} split of {root} is empty ({self.num_skipped} photographs skipped); "
                "expected at least one, and two a class in the train list for validation"
            )

    @property
    def labels(self) -> tuple[int, ...]:
        """The label of each photograph."""
        return tuple(sample.label for sample in self.samples)

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return the transformed photograph (RGB without a transform) and its label.

        Raises:
            IndoorError: The file does not hold a whole photograph.
        """
        sample = self.samples[index]
        is_ours = isinstance(self.transform, InferenceTransform)
        photograph = load_sample(sample, keep_grey=is_ours)
        return photograph if self.transform is None else self.transform(photograph), sample.label


def _in_folders(
    root: Path, split: Split, val_fraction: float, seed: int
) -> tuple[SplitLists, tuple[Sample, ...]]:
    """Return the lists, and a split's photographs in their class folders."""
    examined = require_sound_lists(root)
    lists, folders = examined.lists, examined.folders
    samples = tuple(
        Sample(path=folders.images / name, name=name, label=label)
        for name, label in _labelled(lists, split, val_fraction, seed)
    )
    if missing := [sample.path for sample in samples if not folders.holds(sample.name)]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise IndoorError(
            f"the lists name {missing[0]}{more}, and there is no such file; "
            "restore it, or take its line off the list"
        )
    return lists, samples


def _in_shards(
    root: Path, manifest: ShardManifest, split: Split, val_fraction: float, seed: int
) -> tuple[SplitLists, tuple[Sample, ...]]:
    """Return the lists, and a split's photographs in the shards."""
    lists, places = lists_of(manifest), manifest.places
    samples = []
    for name, label in _labelled(lists, split, val_fraction, seed):
        number, stored = places[name]
        path = root / manifest.shards[number].file
        samples.append(Sample(path=path, name=name, label=label, stored=stored))
    if missing := [
        path for path in {sample.path: None for sample in samples} if not path.is_file()
    ]:
        raise IndoorError(
            f"there is no shard {missing[0]} ({len(missing):,} of them are missing); expected all "
            f"that {root / MANIFEST} names; copy or write them again"
        )
    return lists, tuple(samples)


def _labelled(
    lists: SplitLists, split: Split, val_fraction: float, seed: int
) -> list[tuple[str, int]]:
    """Return the lines of a split with their labels, in their list's order."""
    labels = {name: label for label, name in enumerate(lists.classes)}
    names = split_names(lists, val_fraction=val_fraction, seed=seed)[split]
    return [(name, labels[name.split("/")[0]]) for name in names]


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


def split_names(
    lists: SplitLists, *, val_fraction: float, seed: int
) -> dict[Split, tuple[str, ...]]:
    """Return the lines of each split, in their list's order."""
    ordered = sorted(lists.train)
    labels = {name: label for label, name in enumerate(lists.classes)}
    chosen = validation_indices(
        [labels[name.split("/")[0]] for name in ordered], val_fraction, seed
    )
    val = {ordered[index] for index in chosen}
    return {
        "train": tuple(name for name in lists.train if name not in val),
        "val": tuple(name for name in lists.train if name in val),
        "test": lists.test,
    }


def _by_class(labels: Sequence[int]) -> list[list[int]]:
    """Return the indices of each class that occurs, in the order of the labels."""
    classes: dict[int, list[int]] = {label: [] for label in sorted(set(labels))}
    for index, label in enumerate(labels):
        classes[label].append(index)
    return list(classes.values())


def _shuffled(items: list[Item], generator: torch.Generator) -> list[Item]:
    """Return the items in a random order."""
    return [items[place] for place in torch.randperm(len(items), generator=generator).tolist()]
