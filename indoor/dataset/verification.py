"""Everything that is wrong with a data set, at once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from indoor.dataset.lists import SplitLists, examine_lists
from indoor.dataset.scenes import split_names
from indoor.dataset.soundness import find_broken, hash_files
from indoor.progress import NO_PROGRESS, Progress


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What a data set holds and what is wrong with it.

    The counts are of listed photographs by class; `num_val` of `num_train` are validation where
    nobody chooses another share or seed, and are not counted in `num_train`. `num_unlisted` counts
    files in class folders that neither list names. `problems` need mending; `notes` are worth
    knowing, such as one photograph under two names in train and test.
    """

    name: str
    classes: tuple[str, ...]
    num_train: dict[str, int]
    num_val: dict[str, int]
    num_test: dict[str, int]
    num_unlisted: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def verify(
    root: Path,
    *,
    val_fraction: float = 0.15,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> VerifyReport:
    """Read both lists, decode every listed photograph, and report all that is wrong.

    Args:
        root: A data set in MIT Indoor-67's layout.
        val_fraction: The share of the train list that is validation; for the counts.
        seed: Decides which; for the counts.
        progress: Hears of each photograph.

    Returns:
        Counts per split and class, problems and notes.

    Raises:
        IndoorError: `root` or its `Images` folder is missing.
    """
    lists, problems = examine_lists(root)
    # A line whose class has no folder is a problem already, and no photograph.
    train, test = (
        tuple(line for line in lines if line.split("/")[0] in lists.classes)
        for lines in (lists.train, lists.test)
    )
    known = SplitLists(classes=lists.classes, train=train, test=test)
    paths = {name: root / "Images" / name for name in dict.fromkeys((*known.train, *known.test))}
    missing = [name for name, path in paths.items() if not path.is_file()]
    problems += [f"there is no Images/{name}, which the lists name" for name in missing]
    present = [name for name in paths if paths[name].is_file()]
    progress.start("decoding photographs", len(present))
    broken = find_broken([paths[name] for name in present], progress=progress)
    progress.finish()
    problems += [
        f"Images/{name} {broken[paths[name]].what}" for name in present if paths[name] in broken
    ]
    splits = split_names(known, val_fraction=val_fraction, seed=seed)
    num_unlisted = _count_unlisted(root / "Images", known)
    notes = _notes(known, present, paths)
    if num_unlisted:
        notes.append(f"files in Images that neither list names and nobody uses: {num_unlisted}")
    return VerifyReport(
        name=root.resolve().name,
        classes=lists.classes,
        num_train=_count(splits["train"], lists.classes),
        num_val=_count(splits["val"], lists.classes),
        num_test=_count(splits["test"], lists.classes),
        num_unlisted=num_unlisted,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _count(names: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Return how many photographs each class has."""
    counts = Counter(name.split("/")[0] for name in names)
    return {name: counts[name] for name in classes}


def _count_unlisted(images: Path, lists: SplitLists) -> int:
    """Return how many files in class folders are in neither list; hidden ones do not count."""
    listed = {*lists.train, *lists.test}
    return sum(
        f"{name}/{entry.name}" not in listed
        for name in lists.classes
        for entry in (images / name).iterdir()
        if entry.is_file() and not entry.name.startswith(".")
    )


def _notes(lists: SplitLists, present: Sequence[str], paths: dict[str, Path]) -> list[str]:
    """Say which photographs stand in train and in test under two names."""
    train = set(lists.train)
    first: dict[str, str] = {}
    notes: list[str] = []
    for name, digest in zip(present, hash_files([paths[n] for n in present]), strict=True):
        twin = first.setdefault(digest, name)
        if twin in train and name not in train:
            notes.append(f"{twin} (train) and {name} (test) are the same file")
    return notes
