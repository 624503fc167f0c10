"""The two split lists of MIT Indoor-67 and the class folders that they must agree with."""

import filecmp
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from indoor.dataset.findings import MANY, Finding, briefly
from indoor.dataset.folders import ClassFolders, look_into
from indoor.dataset.list_lines import read_list
from indoor.dataset.list_remarks import (
    named_again,
    names_another_class,
    no_text,
    not_understood,
    read_as_meant,
)
from indoor.dataset.shard_manifest import ShardManifest, find_manifest
from indoor.errors import IndoorError
from indoor.files import read_limited
from indoor.hints import command_line

ListName = Literal["train", "test"]

LIST_NAMES: dict[ListName, tuple[str, str]] = {
    "train": ("TrainImages.txt", "Train Images.txt"),
    "test": ("TestImages.txt", "Test Images.txt"),
}
"""Each list's file name as published, and as the talhankoc repository has it."""

_MOST_BYTES = 64_000_000
"""Of a list: a million photographs."""

_LIKE_A_LIST = r"{}(ing)?[ _.-]*(images|files|list|set|split)?\.(txt|csv|tsv|lst|list)"
"""What else people call a list, in capitals or not; its blank is `train` or `test`."""


@dataclass(frozen=True, kw_only=True)
class SplitLists:
    """The data set as its lists have it: lines `class/file`, in their order.

    `classes` are the sorted names of the class folders; a class's place is its label.
    """

    classes: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExaminedLists:
    """What can be read of the lists, what is in the folders, and what is to be told of both.

    `lists` has the sound lines, each once; `notes` say what was read as it was meant.
    """

    lists: SplitLists
    folders: ClassFolders
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def read_split_lists(root: Path) -> SplitLists:
    r"""Read the lists of a data set in MIT Indoor-67's layout.

    `root` holds `Images/<class>/<file>`, `TrainImages.txt` and `TestImages.txt` (or `Train
    Images.txt` and `Test Images.txt`). CRLF, blank lines, backslashes and a byte order mark are
    read as they are meant, and so is whatever else leads to a file (see `list_lines`): the lines
    returned are names as the disk has them. Whether all photographs are there is not looked at.

    Args:
        root: The data set's folder, or that of its shards, whose manifest holds the lists.

    Returns:
        Classes and lines.

    Raises:
        IndoorError: A folder or a list is missing or empty, a line does not name
            `class/file`, a photograph is named twice, or lists and class folders differ.
    """
    manifest = find_manifest(root)
    return require_sound_lists(root).lists if manifest is None else lists_of(manifest)


def lists_of(manifest: ShardManifest) -> SplitLists:
    """Return the lists that shards were made from."""
    return SplitLists(classes=manifest.classes, train=manifest.train, test=manifest.test)


def require_sound_lists(root: Path) -> ExaminedLists:
    """Return lists and folders as `read_split_lists` does, or raise as it does."""
    found = examine_lists(root)
    if found.problems:
        first = briefly(found.problems)[0]
        num_told = sum(problem.kind == found.problems[0].kind for problem in found.problems)
        num_told = num_told if num_told > MANY else 1
        rest = len(found.problems) - num_told
        more = f" (and {rest:,} more)" if rest else ""
        verify = command_line("data", "verify", root)
        raise IndoorError(f"{first}{more}; `{verify}` lists everything wrong with it")
    return found


def examine_lists(root: Path) -> ExaminedLists:
    """Read what can be read of the lists, and say everything that is wrong with them.

    Raises:
        IndoorError: `root` or its `Images` folder is missing.
    """
    folders = look_into(photographs_folder(root))
    problems: list[Finding] = list(folders.findings)
    notes: list[Finding] = []
    train = _read_list(root, "train", folders, problems, notes)
    test = _read_list(root, "test", folders, problems, notes)
    if train and train.keys() == test.keys():
        problems.append(
            Finding(
                kind="lists are the same",
                what=f"both lists of {root} name the same {len(train):,} photographs",
                remedy="expected two lists that share none; put the right ones in their places",
            )
        )
    else:
        problems += [
            Finding(
                kind="photographs stand in both lists",
                what=f"{line} stands in both lists, expected one of train and test",
            )
            for line in sorted(train.keys() & test.keys())
        ]
    if train and test:
        problems += _compare_classes(folders, train, test)
    notes += [
        Finding(
            kind="validation lists are not read",
            what=f"{path.name} is not read: a seeded share of the train list is the validation",
        )
        for path in _like_a_list(root, "(val|valid|validation|dev)")
    ]
    if len(test) > len(train) > 0:
        what = (
            f"the train list names fewer photographs ({len(train):,}) than the test list "
            f"({len(test):,}); are they swapped?"
        )
        notes.append(Finding(kind="lists may be swapped", what=what))
    return ExaminedLists(
        lists=SplitLists(classes=folders.classes, train=tuple(train), test=tuple(test)),
        folders=folders,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def photographs_folder(root: Path) -> Path:
    """Return `root / "Images"`.

    Raises:
        IndoorError: It is missing.
    """
    if not root.is_dir():
        raise IndoorError(
            f"there is no folder {root}; expected a data set in MIT Indoor-67's layout "
            "(Images/<class>/<file>, TrainImages.txt, TestImages.txt); give its path"
        )
    images = root / "Images"
    if not images.is_dir():
        raise IndoorError(
            f"{root} has no folder Images; expected Images/<class>/<file> beside the split lists; "
            f"{_instead_of_images(root)}"
        )
    return images


def _instead_of_images(root: Path) -> str:
    """Return what to do where a data set's folder has no Images, by what lies there."""
    if root.name == "Images":
        return f"give {root.parent}"
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        folders = []
    for folder in folders:
        if folder.name.casefold() == "images":
            return f"rename {folder} to Images"
        if (folder / "Images").is_dir():
            return f"give {folder}"
    splits = [f.name for f in folders if f.name in ("train", "val", "valid", "validation", "test")]
    if splits:
        return (
            f"the folders {' and '.join(splits)} are not read as splits; put all class folders "
            "into Images, and each photograph into a list"
        )
    return "give the folder that holds Images"


def _read_list(
    root: Path,
    name: ListName,
    folders: ClassFolders,
    problems: list[Finding],
    notes: list[Finding],
) -> dict[str, int]:
    """Return the list's sound lines and their line numbers; append what there is to tell."""
    path = _find_list(root, name, problems, notes)
    if path is None:
        return {}
    try:
        data = read_limited(path, _MOST_BYTES)
    except OSError as error:
        what = f"cannot read {path}: {error.strerror or error}; expected lines class/file"
        problems.append(Finding(kind="lists cannot be read", what=what))
        return {}
    readings, encoding = read_list(data, folders)
    if readings is None:
        problems.append(no_text(path))
        return {}
    wrong = [*not_understood(path, readings, folders)]
    problems += wrong
    lines: dict[str, int] = {}
    for reading in readings:
        if reading.name in lines:
            problems.append(named_again(path, reading, lines[reading.name]))
        elif reading.name is not None:
            lines[reading.name] = reading.number
    if not lines and not wrong:
        what = f"{path} names no photograph; expected lines class/file"
        problems.append(Finding(kind="lists name no photograph", what=what))
    if encoding:
        what = f"{path.name} is no UTF-8 text and was read as {encoding}"
        notes.append(Finding(kind="lists are no UTF-8 text", what=what))
    notes += read_as_meant(path, readings)
    notes += names_another_class(path, readings, folders)
    return lines


def _find_list(
    root: Path, name: ListName, problems: list[Finding], notes: list[Finding]
) -> Path | None:
    """Return the path of the list, under either of its names, or the one file named alike."""
    found = [root / file for file in LIST_NAMES[name] if (root / file).is_file()]
    published, other = LIST_NAMES[name]
    others = [] if found else _like_a_list(root, name)
    if len(others) == 1:
        what = f"{others[0].name} is read as the {name} list, as there is no {published}"
        notes.append(Finding(kind="lists have other names", what=what))
        return others[0]
    if not found:
        what = f"{root} has no {published} (nor {other!r}); expected the {name} list"
        problems.append(Finding(kind="lists are missing", what=what))
        return None
    if len(found) == 2 and not filecmp.cmp(found[0], found[1], shallow=False):
        what = f"{root} has both {published} and {other!r} and they differ; remove one"
        problems.append(Finding(kind="lists differ", what=what))
    return found[0]


def _like_a_list(root: Path, name: str) -> list[Path]:
    """Return the files of which the name says that they are this list."""
    pattern = re.compile(_LIKE_A_LIST.format(name), re.IGNORECASE)
    return sorted(p for p in root.iterdir() if pattern.fullmatch(p.name) and p.is_file())


def _compare_classes(
    folders: ClassFolders, train: dict[str, int], test: dict[str, int]
) -> Iterator[Finding]:
    """Say where the class folders, the train list and the test list differ."""
    known = set(folders.classes)
    in_train = {line.split("/")[0] for line in train}
    in_test = {line.split("/")[0] for line in test}
    if known and not known & (in_train | in_test):
        few = [", ".join(sorted(names)[:3]) for names in (in_train | in_test, known)]
        what = (
            f"none of the classes that the lists name ({few[0]}, ...) has a folder in "
            f"{folders.images}, which holds others ({few[1]}, ...); expected the same names"
        )
        yield Finding(kind="lists are another data set's", what=what)
        return
    if len(known) == 1:
        what = f"{folders.images} has one class folder ({min(known)}); expected two or more"
        yield Finding(kind="there is one class", what=what)
    for name in sorted((in_train | in_test) - known):
        what = f"the lists name class {name}, and {folders.images} has no such folder"
        if name.startswith(".") and (folders.images / name).is_dir():
            what = f"the lists name class {name}, and Images/{name} is hidden; rename it"
        yield Finding(kind="classes of the lists have no folder", what=what)
    for name in sorted(known - in_train - in_test):
        yield Finding(
            kind="class folders are in neither list",
            what=f"{folders.images / name} is in neither list",
            remedy="expected each class folder in both; remove the folder, or list its photographs",
        )
    for name in sorted((in_test - in_train) & known):
        what = f"class {name} is in the test list and not in the train list"
        yield Finding(kind="classes are in the test list and not in the train list", what=what)
