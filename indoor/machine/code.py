"""Which code measured: the commit, whether it was changed since, and a hash of the sources."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from indoor.errors import IndoorError

_SOURCES = (".py", ".json")

_REDIRECTING = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "WORK_TREE", "IMPLICIT_WORK_TREE", "COMMON_DIR", "INDEX_FILE", "PREFIX"),
        *("OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "QUARANTINE_PATH", "SHALLOW_FILE"),
        *("GRAFT_FILE", "NO_REPLACE_OBJECTS", "REPLACE_REF_BASE", "NAMESPACE"),
        "INTERNAL_SUPER_PREFIX",
    )
)
"""`git rev-parse --local-env-vars` without its settings, and what pushes and namespaces set."""

_GIT_S = 600.0
"""A checkout on a slow disk takes minutes; a git that waits for a password must end."""


@dataclass(frozen=True, kw_only=True)
class CodeIdentity:
    """The commit of a repository, and whether its working tree differs from it.

    `unknown` says why both are None, in one line without a folder of this machine.
    """

    commit: str | None = None
    dirty: bool | None = None
    unknown: str | None = None


def identify_code(repo: Path) -> CodeIdentity:
    """Return the commit of the repository and whether its working tree differs from it.

    Files that git does not know count as a difference, unless it ignores them: a new module is
    code, too.

    Args:
        repo: The root of the repository. A folder within another repository, such as an installed
            package in a project's environment, has no commit of its own.
    """
    try:
        top = run_git(repo, "rev-parse", "--show-toplevel")
        if top.returncode:
            return _unknown(why_git_failed(top))
        if not _is_same(Path(top.stdout.removesuffix("\n")), repo):
            return _unknown("the folder lies within another repository")
        commit = run_git(repo, "rev-parse", "--verify", "HEAD^{commit}")
        if commit.returncode:
            return _unknown(f"the repository has no commit yet ({why_git_failed(commit)})")
        status = run_git(repo, "status", "--porcelain", "--untracked-files=normal")
        if status.returncode:
            return _unknown(f"git status fails ({why_git_failed(status)})")
    except IndoorError as error:
        return _unknown(str(error).partition(";")[0])
    return CodeIdentity(commit=commit.stdout.strip(), dirty=status.stdout != "")


def code_identity(repo: Path) -> tuple[str | None, bool | None]:
    """Return the commit and whether it was changed since, as `identify_code` does, alone."""
    found = identify_code(repo)
    return found.commit, found.dirty


def why_git_failed(done: subprocess.CompletedProcess[str]) -> str:
    """Return git's own reason out of its stderr: its `fatal:` line, not the hints around it."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    fatal = [line for line in told if line.startswith("fatal:")]
    others = [line for line in lines if not line.startswith("hint:")]
    return (*fatal, *told, *others[-1:], f"exit status {done.returncode}")[0]


def how_git_may_go_on(done: subprocess.CompletedProcess[str]) -> str | None:
    """Return the command that git itself advises after its refusal, such as `safe.directory`'s."""
    lines = [line.strip() for line in done.stderr.splitlines()]
    return next((line for line in lines if line.startswith("git ")), None)


def _unknown(reason: str) -> CodeIdentity:
    """Return the reason without folders: a record is published, and may not name this machine's."""
    line = " ".join(reason.split())
    return CodeIdentity(unknown=re.sub(r"[^\s,:;=\"'(]*/(?=[^\s/])", "", line))


def _is_same(there: Path, here: Path) -> bool:
    try:
        return there.samefile(here)
    except OSError:
        return False


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


def run_git(repo: Path, *words: str, standard_input: str = "") -> subprocess.CompletedProcess[str]:
    """Run git on a repository without its hooks, whatever hook this process was started from.

    Args:
        repo: A folder of the repository.
        words: Git's command and its arguments.
        standard_input: What git reads, if it does.

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
            env={**unredirected_environment(), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
            input=standard_input,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise IndoorError(
            f"`git {words[0]}` did not end within {_GIT_S:.0f} s; expected seconds; check the disk"
        ) from error


def redirects_git(name: str) -> bool:
    """Return whether git's variable leads to another repository than that of the folder.

    Git sets them for its hooks. What else begins with `GIT_` configures it (`GIT_CONFIG_COUNT`,
    `GIT_SSH_COMMAND`), and what a user told git stays told.
    """
    return name in _REDIRECTING


def unredirected_environment() -> dict[str, str]:
    """Return this process's environment without the variables that lead git elsewhere."""
    return {key: value for key, value in os.environ.items() if not redirects_git(key)}
