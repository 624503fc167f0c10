"""What lies in the class folders, and which file there a name means."""

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from indoor.dataset.findings import Finding
from indoor.errors import IndoorError

_ENDING = re.compile(r"\.(jpe?g|png|gif|bmp|tiff?|webp|p[pg]m)$", re.IGNORECASE)

LEFT_BEHIND = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that unpacking a zip of macOS, a NAS or a disk's root leave beside the photographs."""


def is_left_behind(name: str) -> bool:
    """Tell whether a file manager, unpacking or a system left it: no class and no photograph."""
    return name.startswith(".") or name in LEFT_BEHIND


def has_ending(name: str) -> bool:
    """Tell whether a name ends as a photograph's does."""
    return _ENDING.search(name) is not None


class Names:
    """Names that lie in one folder, found also where they are written another way.

    Args:
        names: As the disk has them.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def find(self, name: str) -> tuple[str, str] | None:
        """Return the name on the disk that is meant, and what is different; None: none, or several.

        A name that is there is meant, whatever else looks like it.
        """
        if name in self.names:
            return name, ""
        for difference, written, alike in self._looser:
            if len(found := alike.get(written(name), [])) > 0:
                return (found[0], difference) if len(found) == 1 else None
        return None

    @cached_property
    def _looser(self) -> tuple[tuple[str, Callable[[str], str], dict[str, list[str]]], ...]:
        ways = (
            ("another Unicode form (NFC against NFD)", _composed, self.names),
            ("other capitals or invisible marks", folded, self.names),
        )
        tables = [(difference, way, _by(way, names)) for difference, way, names in ways]
        with_ending = frozenset(name for name in self.names if has_ending(name))
        stems = _by(lambda name: _ENDING.sub("", name), with_ending)
        # A name that has an ending of its own is no other file's stem (`a.jpg` of `a.jpg.png`).
        stem = ("no file ending", lambda name: "" if has_ending(name) else name, stems)
        return (*tables, stem)


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """The class folders below `images` and the files in each.

    `findings` are folders whose names cannot be a class's; they are in no other field.
    """

    images: Path
    files: dict[str, Names]
    findings: tuple[Finding, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The folders' names, sorted."""
        return tuple(sorted(self.files))

    @cached_property
    def _folders(self) -> Names:
        return Names(frozenset(self.files))

    def holds(self, name: str) -> bool:
        """Tell whether there is a file `class/file`."""
        folder, _, file = name.partition("/")
        return folder in self.files and file in self.files[folder].names

    def find(self, name: str) -> tuple[str, str] | None:
        """Return the `class/file` on the disk that is meant, and what is different; None: none."""
        folder, _, file = name.partition("/")
        found = self._folders.find(folder)
        within = self.files[found[0]].find(file) if found else None
        if found is None or within is None:
            return None
        return f"{found[0]}/{within[0]}", within[1] or found[1]

    def find_class(self, folder: str) -> str | None:
        """Return the class folder that is meant; None: there is none."""
        found = self._folders.find(folder)
        return found[0] if found else None

    def holders(self, file: str) -> list[str]:
        """Return the classes whose folder has a file of this name."""
        return [folder for folder in self.classes if file in self.files[folder].names]


def look_into(images: Path) -> ClassFolders:
    """Return the class folders below `images` and their files; hidden ones are a file manager's.

    Raises:
        IndoorError: A folder cannot be read.
    """
    names = [name for name, is_folder in _entries(images) if is_folder]
    strange = [name for name in names if not is_printable(name)]
    return ClassFolders(
        images=images,
        files={
            name: Names(frozenset(file for file, folder in _entries(images / name) if not folder))
            for name in names
            if name not in strange
        },
        findings=tuple(
            Finding(
                kind="class folders have names that are no UTF-8 text of one line",
                what=f"{images / name} has a name that is no UTF-8 text of one line",
                remedy="rename it, and write the new name into the lists",
            )
            for name in sorted(strange)
        ),
    )


def is_printable(name: str) -> bool:
    """Tell whether a name is text of one line; marks and emoji are, line ends are not."""
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield the name of each file and folder that is not hidden, and whether it is a folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_left_behind(entry.name):
                    continue
                try:
                    is_folder = entry.is_dir()
                    if is_folder or entry.is_file():
                        yield entry.name, is_folder
                except OSError:  # a link that leads nowhere, such as to itself, is neither
                    continue
    except OSError as error:
        raise IndoorError(
            f"cannot list {folder}: {error.strerror}; expected a readable folder"
        ) from error


def _composed(name: str) -> str:
    """Return a name in one of the two forms in which Unicode has accents."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name without capitals and without marks that nobody sees, in one Unicode form."""
    plain = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", plain.casefold())


def _by(way: Callable[[str], str], names: frozenset[str]) -> dict[str, list[str]]:
    """Return the names by what they are when written one way."""
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(way(name), []).append(name)
    return alike
