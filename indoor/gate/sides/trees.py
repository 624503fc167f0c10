"""The two sides' code: the working tree as it stands, and worktrees that go when the gate ends."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from indoor.errors import IndoorError
from indoor.gate.sides.repository import resolve_revision
from indoor.locks import take_lock
from indoor.machine import identify_code, run_git, why_git_failed

_PREFIX = "indoor-gate-"
_TREE = "tree"
LOCK = "lock"


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One side's code and the interpreter that runs it.

    `label` is as the user named it; `commit` and `dirty` are None where there is no repository, or
    git refuses it, and `unknown` says why.
    """

    label: str
    root: Path
    commit: str | None
    dirty: bool | None
    python: Path
    unknown: str | None = None


def head_tree(root: Path, python: Path, *, label: str = "working tree") -> Tree:
    """Return the working tree as it stands, changes included; a folder without git serves, too."""
    code = identify_code(root)
    return Tree(
        label=label,
        root=root.resolve(),
        commit=code.commit,
        dirty=code.dirty,
        python=python,
        unknown=code.unknown,
    )


@contextmanager
def base_tree(repo: Path, revision: str, python: Path) -> Iterator[Tree]:
    """Check a revision out beside the working tree for as long as the block runs.

    It is a detached worktree in a folder of its own among the temporary files, removed afterwards,
    also after an exception. What cannot be removed, or what a killed process leaves, goes with the
    next `remove_leftovers`. No hook of the repository runs. Submodules and LFS files are not
    fetched (see `uncopied_parts`).

    Args:
        repo: The repository's root.
        revision: A branch, tag or commit; a head revision is checked out the same way.
        python: The interpreter that runs this side.

    Raises:
        IndoorError: The revision is unknown, or git cannot check it out (a full disk, say).
    """
    commit = resolve_revision(repo, revision)
    folder, descriptor = new_folder(_PREFIX)
    root = folder / _TREE
    try:
        done = run_git(repo, "worktree", "add", "--detach", str(root), commit)
        if done.returncode != 0:
            raise IndoorError(
                f"git cannot check {revision!r} out into {root} ({why_git_failed(done)}); "
                "expected a worktree of it; free space there, or set TMPDIR to another folder"
            )
        yield Tree(label=revision, root=root, commit=commit, dirty=False, python=python)
    finally:
        # The lock is let go last: until then another gate must not take this for a leftover.
        try:
            _remove(repo, folder)
        finally:
            os.close(descriptor)


def remove_leftovers(repo: Path) -> tuple[str, ...]:
    """Remove the worktrees that gates of this repository left when they were killed.

    Only worktrees with the gate's own name and lock are touched, and of these only those whose
    owner is gone; other missing worktrees of the user are not pruned.

    Returns:
        One sentence a worktree of the gate's, with no folder of this machine in it.
    """
    done = run_git(repo, "worktree", "list", "--porcelain")
    if done.returncode != 0:
        return (f"leftovers of earlier gates were not looked for ({why_git_failed(done)})",)
    notes: list[str] = []
    for line in done.stdout.splitlines():
        root = Path(line.removeprefix("worktree "))
        folder = root.parent
        if root.name != _TREE or not folder.name.startswith(_PREFIX):
            continue
        if root.exists() and not (folder / LOCK).is_file():
            continue  # a name like ours, but the work of somebody else
        descriptor: int | None = None
        try:
            if folder.is_dir():
                descriptor = take_lock(folder / LOCK)
                if descriptor is None:
                    notes.append(f"another gate is using {folder.name}: left alone")
                    continue
            _remove(repo, folder)
        except OSError as error:
            notes.append(f"{folder.name} cannot be locked ({error.strerror}): left alone")
            continue
        finally:
            if descriptor is not None:
                os.close(descriptor)
        if root.exists():
            notes.append(
                f"{folder.name}, left by a gate that died, cannot be removed: do it by hand"
            )
        else:
            notes.append(f"removed {folder.name}, left by a gate that died")
    return tuple(notes)


def remove_old_folders() -> None:
    """Remove folders of gates that were killed, with their logs; those of one that runs are locked.

    One with a worktree is left to `remove_leftovers` of its repository, and one with files and no
    lock to whoever gave it a name like ours.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.lstat().st_uid != os.getuid() or (folder / _TREE).exists():
                continue
            if not (folder / LOCK).is_file() and any(folder.iterdir()):
                continue
            if (lock := take_lock(folder / LOCK)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def new_folder(prefix: str) -> tuple[Path, int]:
    """Return a new temporary folder, and the descriptor that marks it as in use until it is closed.

    Raises:
        IndoorError: There is no place for it, or its disk knows no locks.
    """
    while True:
        try:
            # Resolved, since git and the workers name files by their real path.
            folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
        except OSError as error:
            raise IndoorError(
                f"cannot make a folder for the gate's files: {error.strerror or error}; expected "
                "space among the temporary files; free some, or set TMPDIR to another folder"
            ) from error
        try:
            descriptor = take_lock(folder / LOCK)
        except FileNotFoundError:
            continue  # another gate took it for an old one before it was locked
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise IndoorError(
                f"cannot lock a file in {folder}: {error.strerror or error}; expected a local disk "
                "with free space; set TMPDIR to another folder"
            ) from error
        if descriptor is not None:
            return folder, descriptor


def _remove(repo: Path, folder: Path) -> None:
    """Remove a worktree's folder and git's record of it; where the folder stays, so does that."""
    root = folder / _TREE
    shutil.rmtree(root, ignore_errors=True)
    if root.exists():
        # A suite may have made folders that nobody may write to; links lead out of the tree.
        for path, names, _ in os.walk(root):
            for place in (Path(path), *(Path(path, name) for name in names)):
                if not place.is_symlink():
                    with suppress(PermissionError):
                        place.chmod(0o700)
        shutil.rmtree(root, ignore_errors=True)
    if not root.exists():
        # --force twice: git locks a worktree while it makes it, and may have been killed then.
        run_git(repo, "worktree", "remove", "--force", "--force", str(root))
        shutil.rmtree(folder, ignore_errors=True)
