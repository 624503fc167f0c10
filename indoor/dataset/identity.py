"""What makes two data sets the same: their lists and the content of their photographs."""

import hashlib
from pathlib import Path

from indoor.dataset.lists import read_split_lists
from indoor.dataset.scenes import IndoorScenes
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
        The folder's name, the counts of photographs in use, and the hash.

    Raises:
        IndoorError: As `IndoorScenes`.
    """
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
    listed = lists.test if test else ()
    names = [*lists.train, *listed]
    progress.start("hashing photographs", len(names))
    total = hashlib.sha256(f"train {len(lists.train)} test {len(listed)}\n".encode())
    hashes = hash_files([root / "Images" / name for name in names], progress=progress)
    for name, digest in zip(names, hashes, strict=True):
        total.update(f"{digest} {name}\n".encode())
    progress.finish()
    return DataIdentity(
        name=root.resolve().name,
        num_classes=len(lists.classes),
        num_train=len(scenes["train"]),
        num_val=len(scenes["val"]),
        num_test=len(scenes["test"]) if test else 0,
        num_skipped=sum(split.num_skipped for split in scenes.values()),
        sha256=total.hexdigest(),
        seed=seed,
        val_fraction=val_fraction,
    )
