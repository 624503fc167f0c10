"""Where a worker's modules may come from: its own tree, never the other side's."""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from indoor.errors import IndoorError
from indoor.gate.sides.trees import Tree

_NEVER_INSTALLED = frozenset({"conftest", "setup"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")
PROJECT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg")

_REINSTALL = (
    "an editable or a second install would be measured instead: install the project without -e, "
    "name an environment without it (--base-python, --head-python), or let each side have its own "
    "(prepare and own_environment in gate.toml)"
)


def import_paths(root: Path, suite: str, extra: Collection[str] = ()) -> list[Path]:
    """Return what PYTHONPATH names first, so that the tree's modules win over installed ones.

    In a repository of several projects a suite's own one need not lie in the root.

    Args:
        root: The tree's root.
        suite: The suite's folder or file, from the root.
        extra: More folders, from the root; one that the tree lacks is left out.

    Returns:
        `extra`, the projects (folders with a pyproject.toml, setup.py or setup.cfg) from the suite
        outwards, and root; before a project and before root its `src`, if there is one.
    """
    found = [folder for name in extra if (folder := root / name).is_dir()]
    for name in (Path(suite), *Path(suite).parents):
        folder = root / name
        if folder == root or any((folder / mark).is_file() for mark in PROJECT_MARKS):
            found += [folder / "src", folder] if (folder / "src").is_dir() else [folder]
    return list(dict.fromkeys((*found, root)))


def provided_names(folders: Iterable[Path]) -> frozenset[str]:
    """Return the top-level import names that folders of `import_paths` provide.

    They are the modules, extension modules and packages (folders with an `__init__.py`) in them.
    Left out are names of the standard library, which a worker may load before its paths are
    searched, and `conftest` and `setup`, which are never installed.
    """
    names: set[str] = set()
    for folder in folders:
        for path in folder.iterdir():
            if path.is_dir():
                if (path / "__init__.py").is_file():
                    names.add(path.name)
            elif path.suffix in {".py", ".so", ".pyd"}:
                # An extension module is called NAME.cpython-311-x86_64-linux-gnu.so.
                names.add(path.name.split(".")[0])
    return frozenset(
        name
        for name in names - sys.stdlib_module_names - _NEVER_INSTALLED
        if name.isidentifier() and not name.startswith("__")
    )


def check_imports(
    own: Tree,
    other: Tree,
    modules: Mapping[str, str],
    loaded_by_path: Collection[Path] = (),
    *,
    suite: str = "",
    paths: Collection[str] = (),
    repository: Path | None = None,
    installed_from: Mapping[str, str] | None = None,
    environment: Path | None = None,
) -> None:
    """Refuse a worker whose modules came from elsewhere than its own tree.

    An editable install, or a copy that is found first, would compare a side with itself.

    Args:
        own: The tree that the worker was to run.
        other: The other side's; may be the same, or lie within `own` or around it.
        modules: The file of each module that the worker loaded; one without a file is not named.
        loaded_by_path: The gate's own files that the worker was given, wherever they lie.
        suite: The suite's folder or file, from the root.
        paths: The setting of that name: more folders with the tree's code, from the root.
        repository: The working tree, if the sides may both be worktrees of it.
        installed_from: The folder that an installed module was copied from, by import name.
        environment: The tree's own, if it has one: what was installed there from the tree is its.

    Raises:
        IndoorError: A module that the tree provides, or that was installed from either side's code
            or the repository, was loaded from outside the tree; or any module from the other side's
            tree or the repository's. Or the tree cannot be read.
    """
    here, there = own.root.resolve(), other.root.resolve()
    roots = [here, there] + ([repository.resolve()] if repository else [])
    allowed = {path.resolve() for path in loaded_by_path}
    copies = {
        name: folder
        for name, folder in (installed_from or {}).items()
        if any(Path(folder).resolve().is_relative_to(root) for root in roots)
    }
    try:
        provided = provided_names(import_paths(here, suite, paths))
    except OSError as error:
        raise IndoorError(
            f"cannot read {here}: {error.strerror or error}; expected the folder with the code "
            "that is measured; check that nothing removes it during the run"
        ) from error
    environments: dict[Path, bool] = {}
    for name, file in sorted(modules.items()):
        path = Path(file).resolve()
        if path in allowed:
            continue
        tree = tree_of(path, roots, environments)
        if tree == here:
            continue
        top = name.split(".")[0]
        copied = next((outer for outer in _outer_names(name) if outer in copies), None)
        if environment is not None and path.is_relative_to(environment):
            if copied and tree_of(Path(copies[copied], name).resolve(), roots, {}) == here:
                continue
            tree = None  # what an index or the other side gave is not the tree's
        remedy = _REINSTALL
        if tree is not None:
            owner = "the other side's tree" if tree == there else "the working tree, no side's"
            whose = f"which belongs to {owner}"
        elif top in provided:
            whose = "which lies outside its tree"
        elif copied is not None:
            whose = f"a copy that was installed from {copies[copied]}"
            remedy = (
                f"both sides would run that copy: name the folder that holds {top} in gate.toml's "
                "paths, such as paths = ['python'], or install what is no part of the compared "
                "code from elsewhere"
            )
        else:
            continue
        raise IndoorError(
            f"{own.label} imported {name} from {path}, {whose}; expected it from {own.root}; "
            f"{remedy}"
        )


def _outer_names(name: str) -> Iterator[str]:
    """Yield `a`, `a.b`, `a.b.c`: a namespace belongs to nobody, but a package within it may."""
    parts = name.split(".")
    return (".".join(parts[: end + 1]) for end in range(len(parts)))


def tree_of(path: Path, roots: Sequence[Path], environments: dict[Path, bool]) -> Path | None:
    """Return the innermost root around a file; None also within an environment in a root.

    A `.venv` often lies in the working tree, and what is installed there belongs to no side.
    """
    around = [root for root in roots if path.is_relative_to(root)]
    if not around:
        return None
    tree = max(around, key=lambda root: len(root.parts))
    folder = path.parent
    while folder != tree:
        if _is_environment(folder, environments):
            return None
        folder = folder.parent
    return tree


def _is_environment(folder: Path, known: dict[Path, bool]) -> bool:
    """Tell whether a folder holds installed packages; remembered, since modules are thousands."""
    if folder not in known:
        known[folder] = folder.name in _INSTALLED or any(
            (folder / mark).exists() for mark in _ENVIRONMENT_MARKS
        )
    return known[folder]
