"""What makes two data sets the same: their lists and the content of their photographs."""

import hashlib
from pathlib import Path

from indoor.dataset.content import hash_files
from indoor.dataset.lists import read_split_lists
from indoor.dataset.scenes import IndoorScenes
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import DataIdentity, Split


def identify(
    root: Path,
    *,
    val_fraction: float = 0.15,
    seed: int = 0,
    skip_broken: bool = False,
    progress: Progress = NO_PROGRESS,
) -> DataIdentity:
    """Return what tells this data set from every other.

    The hash is over the lines of both lists and the content of every listed file: a renamed
    folder, CRLF or an unlisted file change nothing, one changed byte of a photograph does.

    Args:
        root: A data set in MIT Indoor-67's layout.
        val_fraction: The share of the train list that is validation; for the counts.
        seed: Decides which; for the counts.
        skip_broken: Leave out, and count, files that hold no whole photograph.
        progress: Hears of each file.

    Returns:
        The folder's name, the counts of photographs in use, and the hash.

    Raises:
        IndoorError: As `IndoorScenes`.
    """
    counts: dict[Split, int] = {}
    num_skipped = 0
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split in splits:
        scenes = IndoorScenes(
            root,
            split,
            val_fraction=val_fraction,
            seed=seed,
            skip_broken=skip_broken,
            progress=progress,
        )
        counts[split] = len(scenes)
        num_skipped += scenes.num_skipped
    lists = read_split_lists(root)
    names = [*lists.train, *lists.test]
    progress.start("hashing photographs", len(names))
    total = hashlib.sha256(f"train {len(lists.train)} test {len(lists.test)}\n".encode())
    hashes = hash_files([root / "Images" / name for name in names], progress=progress)
    for name, digest in zip(names, hashes, strict=True):
        total.update(f"{digest} {name}\n".encode())
    progress.finish()
    return DataIdentity(
        name=root.resolve().name,
        num_classes=len(lists.classes),
        num_train=counts["train"],
        num_val=counts["val"],
        num_test=counts["test"],
        num_skipped=num_skipped,
        sha256=total.hexdigest(),
    )
