"""The two split lists of MIT Indoor-67 and the class folders that they must agree with."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from indoor.errors import IndoorError
from indoor.hints import command_line

ListName = Literal["train", "test"]

LIST_NAMES: dict[ListName, tuple[str, str]] = {
    "train": ("TrainImages.txt", "Train Images.txt"),
    "test": ("TestImages.txt", "Test Images.txt"),
}
"""Each list's file name as published, and as the talhankoc repository has it."""


@dataclass(frozen=True, kw_only=True)
class SplitLists:
    """The data set as its lists have it: lines `class/file`, in their order.

    `classes` are the sorted names of the class folders; a class's place is its label.
    """

    classes: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]


def read_split_lists(root: Path) -> SplitLists:
    r"""Read the lists of a data set in MIT Indoor-67's layout.

    `root` holds `Images/<class>/<file>`, `TrainImages.txt` and `TestImages.txt` (or `Train
    Images.txt` and `Test Images.txt`). CRLF, blank lines, backslashes and a byte order mark are
    read as they are meant. Whether the photographs are there is not looked at.

    Args:
        root: The data set's folder.

    Returns:
        Classes and lines.

    Raises:
        IndoorError: A folder or a list is missing or empty, a line does not name
            `class/file`, a photograph is named twice, or lists and class folders differ.
    """
    lists, problems = examine_lists(root)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        verify = command_line("data", "verify", root)
        raise IndoorError(f"{problems[0]}{more}; `{verify}` lists everything wrong with it")
    return lists


def examine_lists(root: Path) -> tuple[SplitLists, list[str]]:
    """Read what can be read of the lists, and say everything that is wrong with them.

    Args:
        root: The data set's folder.

    Returns:
        The sound lines, each once, and one line of text a problem.

    Raises:
        IndoorError: `root` or its `Images` folder is missing.
    """
    folders = _class_folders(photographs_folder(root))
    problems: list[str] = []
    train = _read_list(root, "train", problems)
    test = _read_list(root, "test", problems)
    for line in sorted(train.keys() & test.keys()):
        problems.append(f"{line} stands in both lists, expected one of train and test")
    if train and test:
        problems += _compare_classes(root, folders, train, test)
    return SplitLists(classes=folders, train=tuple(train), test=tuple(test)), problems


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
            "give the folder that holds Images"
        )
    return images


def _class_folders(images: Path) -> tuple[str, ...]:
    """Return the names of the class folders, sorted; hidden ones are a file manager's."""
    try:
        return tuple(
            sorted(
                entry.name
                for entry in images.iterdir()
                if entry.is_dir() and not entry.name.startswith(".")
            )
        )
    except OSError as error:
        raise IndoorError(
            f"cannot list {images}: {error.strerror}; expected a readable folder"
        ) from error


def _read_list(root: Path, name: ListName, problems: list[str]) -> dict[str, int]:
    """Return the list's sound lines and their line numbers; append what is wrong to `problems`."""
    path = _find_list(root, name, problems)
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(f"{path} is no UTF-8 text ({error.reason}); expected lines class/file")
        return {}
    except OSError as error:
        problems.append(f"cannot read {path}: {error.strerror}; expected lines class/file")
        return {}
    lines: dict[str, int] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip().replace("\\", "/")
        if not line:
            continue
        where = f"{path.name} line {number}"
        if not _is_class_and_file(line):
            problems.append(f"{where} is {raw.strip()!r}, expected class/file inside Images")
        elif line in lines:
            problems.append(f"{where} names {line} again (first in line {lines[line]})")
        else:
            lines[line] = number
    if not lines:
        problems.append(f"{path} names no photograph; expected lines class/file")
    return lines


def _find_list(root: Path, name: ListName, problems: list[str]) -> Path | None:
    """Return the path of the list, under either of its names."""
    found = [root / file for file in LIST_NAMES[name] if (root / file).is_file()]
    published, other = LIST_NAMES[name]
    if not found:
        problems.append(f"{root} has no {published} (nor {other!r}); expected the {name} list")
        return None
    if len(found) == 2 and found[0].read_bytes() != found[1].read_bytes():
        problems.append(f"{root} has both {published} and {other!r} and they differ; remove one")
    return found[0]


def _is_class_and_file(line: str) -> bool:
    """Whether a line is two plain names, so that it cannot leave the Images folder."""
    parts = line.split("/")
    return (
        len(parts) == 2
        and all(part.strip() == part and part not in {"", ".", ".."} for part in parts)
        and "\0" not in line
    )


def _compare_classes(
    root: Path, folders: tuple[str, ...], train: dict[str, int], test: dict[str, int]
) -> Iterator[str]:
    """Say where the class folders, the train list and the test list differ."""
    in_train = {line.split("/")[0] for line in train}
    in_test = {line.split("/")[0] for line in test}
    for name in sorted((in_train | in_test) - set(folders)):
        yield f"the lists name class {name}, and {root / 'Images'} has no such folder"
    for name in sorted(set(folders) - in_train - in_test):
        yield f"{root / 'Images' / name} is in neither list; expected a folder for each class"
    for name in sorted((in_test - in_train) & set(folders)):
        yield f"class {name} is in the test list and not in the train list"
