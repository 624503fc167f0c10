"""Everything that is wrong with a data set, at once."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from indoor.dataset.findings import Finding, briefly, each, visible
from indoor.dataset.folders import ClassFolders, folded, is_printable
from indoor.dataset.lists import SplitLists, examine_lists, lists_of
from indoor.dataset.scenes import split_names
from indoor.dataset.shard_manifest import ShardManifest, find_manifest
from indoor.dataset.shards import find_damage
from indoor.dataset.soundness import find_broken_and_damaged, hash_files
from indoor.progress import NO_PROGRESS, Progress

_MISSING = "photographs that the lists name are not there"
_BROKEN = "files hold no whole photograph"
_DAMAGED = (
    "JPEGs decode, but their compressed data do not add up, so part of what they show may be wrong"
)
_TWINS = "photographs of the train list are also in the test list, under another name"


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What a data set holds and what is wrong with it.

    The counts are of listed photographs by class; `num_val` of `num_train` are validation where
    nobody chooses another share or seed, and are not counted in `num_train`. `num_unlisted` counts
    files in class folders that neither list names. `problems` need mending; `notes` are worth
    knowing, such as one photograph under two names in train and test. `problems_in_brief` and
    `notes_in_brief` say the same with one line for all of a kind where they are many.
    """

    name: str
    classes: tuple[str, ...]
    num_train: dict[str, int]
    num_val: dict[str, int]
    num_test: dict[str, int]
    num_unlisted: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    problems_in_brief: tuple[str, ...]
    notes_in_brief: tuple[str, ...]


def verify(
    root: Path,
    *,
    val_fraction: float = 0.15,
    seed: int = 0,
    progress: Progress = NO_PROGRESS,
) -> VerifyReport:
    """Read both lists, decode every listed photograph, and report all that is wrong.

    Args:
        root: A data set in MIT Indoor-67's layout; of shards, only these are held against their
            hashes.
        val_fraction: The share of the train list that is validation; for the counts.
        seed: Decides which; for the counts.
        progress: Hears of each photograph.

    Returns:
        Counts per split and class, problems and notes.

    Raises:
        IndoorError: `root` or its `Images` folder is missing.
    """
    manifest = find_manifest(root)
    if manifest is not None:
        return _verify_shards(root, manifest, val_fraction, seed, progress)
    examined = examine_lists(root)
    lists, problems = examined.lists, list(examined.problems)
    # A line whose class has no folder is a problem already, and no photograph.
    train, test = (
        tuple(line for line in lines if line.split("/")[0] in lists.classes)
        for lines in (lists.train, lists.test)
    )
    known = SplitLists(classes=lists.classes, train=train, test=test)
    paths = {name: root / "Images" / name for name in dict.fromkeys((*known.train, *known.test))}
    present = [name for name in paths if examined.folders.holds(name)]
    problems += [
        Finding(kind=_MISSING, what=f"there is no Images/{name}, which the lists name")
        for name in paths
        if not examined.folders.holds(name)
    ]
    progress.start("decoding photographs", len(present))
    broken, damaged = find_broken_and_damaged([paths[name] for name in present], progress=progress)
    progress.finish()
    problems += [
        Finding(kind=_BROKEN, what=f"Images/{name} {broken[paths[name]].what}")
        for name in present
        if paths[name] in broken
    ]
    splits = split_names(known, val_fraction=val_fraction, seed=seed)
    unlisted = _unlisted(examined.folders, known)
    notes = [
        *examined.notes,
        *_untested(known),
        *_damaged({name: damaged.get(paths[name], "") for name in present}),
        *_twins(known, present, paths),
        *_look_alikes([*lists.classes, *paths]),
        *_strange(unlisted),
    ]
    if unlisted:
        what = f"files in Images that neither list names and nobody uses: {len(unlisted)}"
        notes.append(Finding(kind="unlisted", what=what))
    return VerifyReport(
        name=visible(root.resolve().name),
        classes=lists.classes,
        num_train=_count(splits["train"], lists.classes),
        num_val=_count(splits["val"], lists.classes),
        num_test=_count(splits["test"], lists.classes),
        num_unlisted=len(unlisted),
        problems=each(problems),
        notes=each(notes),
        problems_in_brief=briefly(problems),
        notes_in_brief=briefly(notes),
    )


def _verify_shards(
    root: Path, manifest: ShardManifest, val_fraction: float, seed: int, progress: Progress
) -> VerifyReport:
    """Hold each shard against its hash; its photographs are what they were when it was written."""
    damage = tuple(find_damage(root, manifest, progress=progress))
    splits = split_names(lists_of(manifest), val_fraction=val_fraction, seed=seed)
    return VerifyReport(
        name=manifest.name,
        classes=manifest.classes,
        num_train=_count(splits["train"], manifest.classes),
        num_val=_count(splits["val"], manifest.classes),
        num_test=_count(splits["test"], manifest.classes),
        num_unlisted=0,
        problems=damage,
        notes=(),
        problems_in_brief=damage,
        notes_in_brief=(),
    )


def _count(names: Iterable[str], classes: Sequence[str]) -> dict[str, int]:
    """Return how many photographs each class has."""
    counts = Counter(name.split("/")[0] for name in names)
    return {name: counts[name] for name in classes}


def _unlisted(folders: ClassFolders, lists: SplitLists) -> list[str]:
    """Return the files in class folders that are in neither list, hidden ones left out."""
    listed = {*lists.train, *lists.test}
    return [
        f"{folder}/{file}"
        for folder in folders.classes
        for file in sorted(folders.files[folder].names)
        if f"{folder}/{file}" not in listed
    ]


def _untested(lists: SplitLists) -> Iterator[Finding]:
    """Tell of classes with photographs to train on and none to test on."""
    in_train, in_test = (
        {line.split("/")[0] for line in part} for part in (lists.train, lists.test)
    )
    for name in sorted(in_train - in_test) if in_test else ():
        what = f"class {name} has no photograph in the test list, so no accuracy tells of it"
        yield Finding(kind="classes have no photograph in the test list", what=what)


def _damaged(remarks: dict[str, str]) -> Iterator[Finding]:
    """Tell of JPEGs that decode though their compressed data do not add up."""
    for name, said in remarks.items():
        if said:
            yield Finding(
                kind=_DAMAGED,
                what=f"Images/{name} decodes, but part of it may be wrong (libjpeg: {said})",
                remedy="such photographs stay in use, as every decoder reads them alike; "
                "look at them, and replace what is damaged",
            )


def _twins(lists: SplitLists, present: Sequence[str], paths: dict[str, Path]) -> Iterator[Finding]:
    """Tell which photographs stand in train and in test under two names."""
    train = set(lists.train)
    first: dict[str, str] = {}
    for name, digest in zip(present, hash_files([paths[n] for n in present]), strict=True):
        twin = first.setdefault(digest, name)
        if twin in train and name not in train:
            what = f"{twin} (train) and {name} (test) are the same file"
            yield Finding(kind=_TWINS, what=what)


def _look_alikes(names: Iterable[str]) -> Iterator[Finding]:
    """Tell which names are one name on a disk that knows no capitals or one Unicode form."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(folded(name), name)
        if other != name:
            yield Finding(
                kind="names differ only in capitals, invisible marks or Unicode form",
                what=f"{other} and {name} differ only in capitals, invisible marks or Unicode "
                "form: on another computer they may be one file",
            )


def _strange(unlisted: Iterable[str]) -> Iterator[Finding]:
    """Tell which files no list can name."""
    for name in unlisted:
        if not is_printable(name):
            yield Finding(
                kind="files have names that are no UTF-8 text of one line",
                what=f"Images/{name} has a name that is no UTF-8 text of one line",
                remedy="no list can name such a file; rename it",
            )
