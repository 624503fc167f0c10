"""Code of the tree that a worker took from elsewhere: a repository of several projects."""

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from indoor.gate.sides.imports import PROJECT_MARKS
from indoor.machine import run_git


def installed_neighbours(
    root: Path, modules: Mapping[str, str], searched: Collection[Path]
) -> dict[str, str]:
    """Return the folders of the tree whose code was imported from elsewhere.

    A suite often lies in one project of a repository and imports another one, whose release is
    installed. Changes to the tree's own are then on neither side.

    Args:
        root: The tree's root, resolved.
        modules: The file of each module that a worker loaded.
        searched: Folders whose modules are found before installed ones.

    Returns:
        A module that was found elsewhere, by the folder from the root that would have it; of a tree
        without git nothing is known.
    """
    elsewhere = {
        name: place
        for name, file in modules.items()
        if name.partition(".")[0] not in sys.stdlib_module_names
        and (place := Path(file)).suffix == ".py"
        and not place.is_relative_to(root)
    }
    found: dict[str, str] = {}
    for folder in _code_folders(root) if elsewhere else ():
        if folder in searched:
            continue
        for name, place in sorted(elsewhere.items()):
            *outer, last = name.split(".")
            package = Path(*outer, last) if place.name == "__init__.py" else Path(*outer)
            if (folder / package / place.name).is_file():
                found[folder.relative_to(root).as_posix()] = name
                break
    return found


def _code_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of the tree's projects that hold code, as git knows them."""
    done = run_git(root, "ls-files", "-z", "--", *(f":(glob)**/{mark}" for mark in PROJECT_MARKS))
    names = done.stdout.split("\0") if done.returncode == 0 else ()
    for project in sorted({(root / name).parent for name in names if name}):
        yield project / "src" if (project / "src").is_dir() else project
