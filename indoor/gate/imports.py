"""Where a worker's modules may come from: its own tree, never the other side's."""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from indoor.errors import IndoorError

__all__ = ["foreign_module", "import_paths", "provided_names"]

_NEVER_INSTALLED = frozenset({"conftest", "setup"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")


def import_paths(root: Path) -> list[Path]:
    """Return what PYTHONPATH names first, so that the tree's modules win: `src` if any, root."""
    source = root / "src"
    return [source, root] if source.is_dir() else [root]


def provided_names(root: Path) -> frozenset[str]:
    """Return the top-level import names that a tree provides.

    They are the modules, extension modules and packages (folders with an `__init__.py`) in the root
    and in `src/`. Left out are names of the standard library, which a worker may load before its
    paths are searched, and `conftest` and `setup`, which are never installed.
    """
    names: set[str] = set()
    for folder in import_paths(root):
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


def foreign_module(
    own: Path, other: Path, modules: Mapping[str, str], loaded_by_path: Collection[Path] = ()
) -> tuple[str, Path, str] | None:
    """Find the first module that came from somewhere it must not come from.

    Args:
        own: The root of the tree that the worker was to run.
        other: The root of the other side's tree; may be the same, or lie within `own` or around it.
        modules: The file of each loaded module; one without a file is not named.
        loaded_by_path: Files that the gate itself gave the worker, wherever they lie.

    Returns:
        The module, its file, and whose it is, in words; None where all is well.

    Raises:
        IndoorError: A root cannot be read.
    """
    own, other = own.resolve(), other.resolve()
    allowed = {path.resolve() for path in loaded_by_path}
    try:
        provided = provided_names(own)
    except OSError as error:
        raise IndoorError(
            f"cannot read {own}: {error.strerror or error}; expected the folder with the code that "
            "is measured; check that nothing removes it during the run"
        ) from error
    environments: dict[Path, bool] = {}
    for name, file in sorted(modules.items()):
        path = Path(file).resolve()
        if path in allowed:
            continue
        tree = _tree_of(path, (own, other), environments)
        if tree == other != own:
            return name, path, "which belongs to the other side's tree"
        if tree != own and name.split(".")[0] in provided:
            return name, path, "which lies outside its tree"
    return None


def _tree_of(path: Path, roots: Sequence[Path], environments: dict[Path, bool]) -> Path | None:
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
