"""What makes two data sets the same: their lists and the content of their photographs."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from indoor.dataset.findings import visible
from indoor.dataset.lists import read_split_lists
from indoor.dataset.scenes import IndoorScenes
from indoor.dataset.shard_manifest import find_manifest
from indoor.dataset.soundness import hash_files
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import DataIdentity, Split


def identify(
    root: Path,
    *,
    val_fraction: float = 0.15,
    seed: int = 0,
    test: bool = True,
    skip_broken: bool = False,
    progress: Progress = NO_PROGRESS,
) -> DataIdentity:
    """Return what tells this data set from every other.

    The hash is over the lines of both lists and the content of every listed file: a renamed
    folder, CRLF or an unlisted file change nothing, one changed byte of a photograph does.

    Args:
        root: A data set in MIT Indoor-67's layout.
        val_fraction: The share of the train list that is validation.
        seed: Decides which.
        test: Whether the test list counts. Without it the identity is that of what a checkpoint
            is made from: no photograph of the test list is looked at, and `num_test` is 0.
        skip_broken: Leave out, and count, files that hold no whole photograph.
        progress: Hears of each file.

    Returns:
        The folder's name, the counts of photographs in use, and the hash. Shards have the identity
        of the folder that they were made from.

    Raises:
        IndoorError: As `IndoorScenes`.
    """
    look = _look(root, val_fraction, seed, skip_broken, progress, test=test)
    return look(test)


def identify_with_and_without_test(
    root: Path, *, val_fraction: float = 0.15, seed: int = 0, skip_broken: bool = False
) -> tuple[DataIdentity, DataIdentity]:
    """Return both of `identify`'s answers, with the test list and without, from one look."""
    look = _look(root, val_fraction, seed, skip_broken, NO_PROGRESS, test=True)
    return look(True), look(False)


def _look(
    root: Path,
    val_fraction: float,
    seed: int,
    skip_broken: bool,
    progress: Progress,
    *,
    test: bool,
) -> Callable[[bool], DataIdentity]:
    """Look at all files once, and return what makes an identity with or without the test list."""
    splits: tuple[Split, ...] = ("train", "val", "test") if test else ("train", "val")
    scenes = {
        split: IndoorScenes(
            root,
            split,
            val_fraction=val_fraction,
            seed=seed,
            skip_broken=skip_broken,
            progress=progress,
        )
        for split in splits
    }
    lists = read_split_lists(root)
    names = [*lists.train, *(lists.test if test else ())]
    manifest = find_manifest(root)
    if manifest is None:
        progress.start("hashing photographs", len(names))
        hashes = list(hash_files([root / "Images" / name for name in names], progress=progress))
        progress.finish()
        folder = visible(root.resolve().name)
    else:  # each photograph is held against its hash when it is read
        places, folder = manifest.places, manifest.name
        hashes = [places[name][1].sha256 for name in names]

    def identity(with_test: bool) -> DataIdentity:
        num_test = len(lists.test) if with_test else 0
        total = hashlib.sha256(f"train {len(lists.train)} test {num_test}\n".encode())
        end = len(lists.train) + num_test
        for name, digest in zip(names[:end], hashes[:end], strict=True):
            total.update(f"{digest} {name}\n".encode())
        counted = [scenes[split] for split in splits if with_test or split != "test"]
        return DataIdentity(
            name=folder,
            num_classes=len(lists.classes),
            num_train=len(scenes["train"]),
            num_val=len(scenes["val"]),
            num_test=len(scenes["test"]) if with_test else 0,
            num_skipped=sum(split.num_skipped for split in counted),
            sha256=total.hexdigest(),
            seed=seed,
            val_fraction=val_fraction,
        )

    return identity
