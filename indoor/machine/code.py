"""Which code measured: the commit, whether it was changed since, and a hash of the sources."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from indoor.errors import IndoorError

_SOURCES = (".py", ".json")

_GIT_S = 600.0
"""A checkout on a slow disk takes minutes; a git that waits for a password must end."""


def code_identity(repo: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the repository and whether its working tree differs from it.

    Files that git does not know count as a difference, unless it ignores them: a new module is
    code, too.

    Args:
        repo: The root of the repository. A folder within another repository, such as an installed
            package in a project's environment, has no commit of its own.

    Returns:
        `(None, None)` without git, outside a repository's root, or before the first commit.
    """

    def ask(*words: str) -> str | None:
        done = run_git(repo, *words)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        top = ask("rev-parse", "--show-toplevel")
        if top is None or Path(top) != repo.resolve():
            return None, None
        commit = ask("rev-parse", "--verify", "HEAD^{commit}")
        status = ask("status", "--porcelain", "--untracked-files=normal")
    except IndoorError:
        return None, None
    if commit is None or status is None:
        return None, None
    return commit, status != ""


def code_sha256(package_folders: Iterable[Path]) -> str:
    """Return a hash over the sources (`.py`, `.json`) of the packages, names included.

    The same sources in another place, or with other dates, give the same hash.

    Raises:
        ValueError: A folder holds no source.
    """
    files: dict[str, Path] = {}
    for folder in package_folders:
        sources = [p for p in folder.rglob("*") if p.suffix in _SOURCES and p.is_file()]
        if not sources:
            raise ValueError(f"{folder} holds no source file, expected a package's folder")
        files |= {f"{folder.name}/{p.relative_to(folder).as_posix()}": p for p in sources}
    return files_sha256(files)


def files_sha256(files: dict[str, Path]) -> str:
    """Return a hash over the files' names and contents, whatever their order."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        # The length keeps what belongs to one file apart from the next.
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def run_git(repo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git on a repository without its hooks, whatever hook this process was started from.

    Returns:
        The finished process; the caller judges its status.

    Raises:
        IndoorError: There is no git or no such folder, or git does not end.
    """
    command = shutil.which("git")
    if command is None:
        raise IndoorError("git is not on the PATH; expected it for a revision; install git")
    if not repo.is_dir():
        raise IndoorError(f"there is no folder {repo}; expected a repository; check the path")
    # In a session of its own, so that a second Ctrl-C does not stop git in the middle of a removal.
    try:
        return subprocess.run(  # noqa: S603 - the command and its words are ours
            [command, "-c", f"core.hooksPath={os.devnull}", "-C", str(repo), *words],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=_GIT_S,
            env={**environment_without_git(), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise IndoorError(
            f"`git {words[0]}` did not end within {_GIT_S:.0f} s; expected seconds; check the disk"
        ) from error


def environment_without_git() -> dict[str, str]:
    """Return this process's environment without git's variables.

    Within a hook they name the hook's repository, whatever the folder.
    """
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
