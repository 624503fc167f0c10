"""Which code measured: the commit, whether it was changed since, and a hash of the sources."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

_SOURCES = (".py", ".json")


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
    top = _git(repo, "rev-parse", "--show-toplevel")
    if top is None or Path(top) != repo.resolve():
        return None, None
    commit = _git(repo, "rev-parse", "--verify", "HEAD^{commit}")
    status = _git(repo, "status", "--porcelain", "--untracked-files=normal")
    if commit is None or status is None:
        return None, None
    return commit, status != ""


def code_sha256(package_folders: Iterable[Path]) -> str:
    """Return a hash over the sources (`.py`, `.json`) of the packages, names included.

    The same sources in another place, or with other dates, give the same hash.

    Raises:
        ValueError: A folder holds no source.
    """
    digest = hashlib.sha256()
    for folder in sorted(package_folders, key=lambda folder: folder.name):
        sources = sorted(
            (path.relative_to(folder).as_posix(), path)
            for path in folder.rglob("*")
            if path.suffix in _SOURCES and path.is_file()
        )
        if not sources:
            raise ValueError(f"{folder} holds no source file, expected a package's folder")
        for name, path in sources:
            content = path.read_bytes()
            # The length keeps what belongs to one file apart from the next.
            digest.update(f"{folder.name}/{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _git(repo: Path, *words: str) -> str | None:
    command = shutil.which("git")
    if command is None or not repo.is_dir():
        return None
    # Within a git hook these name the hook's repository, whatever the folder.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - the command and its words are ours
            [command, "-C", str(repo), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
