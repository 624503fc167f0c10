"""What git ignores and a fresh worktree lacks: copied where the settings say so, else named."""

import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

from indoor.errors import IndoorError
from indoor.gate.sides.imports import tree_of
from indoor.machine import run_git, why_git_failed

COMPILED = frozenset({".so", ".pyd", ".dylib"})

_NO_SOURCES = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})

_MODULE = re.compile(r"No module named '([\w.]+)'")
_NAME = re.compile(r"cannot import name '(\w+)' from (?:partially initialized module )?'([\w.]+)'")
_FILE = re.compile(r"[\w./+-]*\w\.\w+")
_METADATA = re.compile(r"PackageNotFoundError|No package metadata was found|DistributionNotFound")

BY_PREPARE = "make it in each tree with prepare in gate.toml"


def copy_ignored(repository: Path, patterns: Collection[str], root: Path) -> None:
    """Copy files that git ignores from the working tree into a worktree.

    Args:
        repository: The working tree.
        patterns: Files, folders or globs from its root, as git takes them.
        root: The worktree; what it has already stays.

    Raises:
        IndoorError: A pattern names nothing that git ignores, or compiled code.
    """
    for pattern in patterns:
        names = ignored_files(repository, pattern)
        if not names:
            raise IndoorError(
                f"copy: {pattern!r} names no file in {repository} that git ignores; expected one "
                "that a fresh worktree lacks; make it there, or correct gate.toml"
            )
        for name in names:
            if Path(name).suffix in COMPILED:
                raise IndoorError(
                    f"copy: {name} is compiled; expected nothing that is compared, since base "
                    f"would run head's; {BY_PREPARE}"
                )
            target = root / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(repository / name, target, follow_symlinks=False)


def ignored_files(repository: Path, *patterns: str) -> list[str]:
    """Return the files, from the root, that git ignores there.

    Raises:
        IndoorError: Git cannot tell.
    """
    words = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", *patterns)
    done = run_git(repository, *words)
    if done.returncode != 0:
        raise IndoorError(
            f"git cannot tell what it ignores in {repository} ({why_git_failed(done)}); expected "
            "a working tree that it can read; correct copy in gate.toml"
        )
    return [name for name in done.stdout.split("\0") if name and not name.endswith("/")]


def lacking_file(repository: Path, root: Path, reason: str) -> str | None:
    """Return the ignored file of the working tree that a worktree's error asks for, from the root.

    Args:
        repository: The working tree.
        root: The worktree.
        reason: What a worker said of the worktree.
    """
    modules = set(_MODULE.findall(reason))
    modules |= {f"{package}.{name}" for name, package in _NAME.findall(reason)}
    files = {PurePosixPath(text.strip()).name for text in _FILE.findall(reason)}
    if not modules and not files:
        return None
    found = [
        name
        for name in ignored_files(repository)
        if (PurePosixPath(name).name in files or modules & set(_import_names(name)))
        and not _NO_SOURCES & set(PurePosixPath(name).parts)
        and not (root / name).exists()
    ]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def unshared_modules(
    repository: Path, root: Path, files: Iterable[str], known: dict[Path, bool]
) -> list[str]:
    """Return the modules of the working tree that git ignores and a worktree lacks, from the root.

    Args:
        repository: The working tree, resolved.
        root: The worktree.
        files: What a worker of the working tree loaded.
        known: Remembers which folders are environments' (`tree_of`), which belong to nobody.
    """
    paths = (Path(file).resolve() for file in files)
    names = [
        path.relative_to(repository).as_posix()
        for path in paths
        if tree_of(path, (repository, root), known) == repository
    ]
    lacking = [name for name in names if not (root / name).exists()]
    if not lacking:
        return []
    return ignored_files(repository, *(f":(literal){name}" for name in sorted(lacking)))


def remedy(repository: Path | None, root: Path, reason: str) -> str:
    """Return what would help a tree whose suite cannot be imported, or nothing, as `; ...`.

    Args:
        repository: The working tree, if the trees are of one.
        root: The tree.
        reason: What its worker said.
    """
    try:
        lacking = lacking_file(repository, root, reason) if repository else None
    except IndoorError:  # advice alone: the reason stands without it
        lacking = None
    if lacking and Path(lacking).suffix in COMPILED:
        return f"; the working tree has {lacking}, which git ignores: {BY_PREPARE}"
    if lacking:
        return (
            f"; the working tree has {lacking}, which git ignores: name it in copy, or {BY_PREPARE}"
        )
    if _METADATA.search(reason):
        return (
            "; the project must be installed: set prepare = '{python} -m pip install --no-deps "
            "-e .' and own_environment = true in gate.toml"
        )
    for module in _MODULE.findall(reason):
        if folder := _folder_of(root, module.partition(".")[0]):
            return f"; it lies in {folder}: set paths = [{folder!r}] in gate.toml"
    return ""


def _import_names(name: str) -> Iterator[str]:
    """Yield the names by which a file may be imported: `b.c` and `a.b.c` of a/b/c.py."""
    path = PurePosixPath(name)
    if path.suffix == ".py" or path.suffix in COMPILED:
        stem = path.name.partition(".")[0]
        parts = path.parts[:-1] if stem == "__init__" else (*path.parts[:-1], stem)
        for start in range(len(parts)):
            yield ".".join(parts[start:])


def _folder_of(root: Path, module: str) -> str | None:
    """Return the folder in a tree, not the root, that holds a package or module; None for none.

    Two levels are looked at, since deeper ones hold vendored copies.
    """
    for depth in ("*", "*/*"):
        for place in (f"{module}/__init__.py", f"{module}.py"):
            for path in sorted(root.glob(f"{depth}/{place}")):
                folder = path.parent.parent if path.name == "__init__.py" else path.parent
                inside = folder.relative_to(root)
                hidden = any(part.startswith(".") for part in inside.parts)
                if not hidden and not (folder / "__init__.py").exists():
                    return inside.as_posix()
    return None
