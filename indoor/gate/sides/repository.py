"""The repository that both sides come from: where it is, what a revision names, how git is run."""

import os
import shutil
import subprocess
from pathlib import Path

from indoor.errors import IndoorError

_GIT_S = 600.0
"""A checkout on a slow disk takes minutes; a git that waits for a password must end."""


def find_repository(start: Path) -> Path:
    """Return the root of the git repository around a folder.

    Raises:
        IndoorError: There is none, or git cannot or will not read it.
    """
    done = run_git(start, "rev-parse", "--show-toplevel")
    if done.returncode != 0 or not done.stdout.strip():
        raise IndoorError(
            f"git finds no working tree at {start} ({last_line(done.stderr)}); expected a clone "
            "with the revision to compare with; call it there, or compare two environments with "
            "--base-python"
        )
    return Path(done.stdout.strip())


def resolve_revision(repo: Path, revision: str) -> str:
    """Return the 40 hexadecimal digits of the commit that a revision names.

    Raises:
        IndoorError: The repository does not know it.
    """
    # A revision cannot begin with a dash, and git would take one for an option.
    if revision and not revision.startswith("-"):
        done = run_git(repo, "rev-parse", "--verify", f"{revision}^{{commit}}")
        if done.returncode == 0:
            return done.stdout.strip()
    if run_git(repo, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        raise IndoorError(
            f"revision {revision!r} is not in this clone, which is shallow; expected a branch, tag "
            "or commit that was fetched; run `git fetch --unshallow`, or set fetch-depth: 0 where "
            "CI checks out"
        )
    raise IndoorError(
        f"revision {revision!r} is unknown here, or several commits fit it; expected a branch, tag "
        "or commit of this repository; run `git fetch`, or check the name with `git log`"
    )


def uncopied_parts(root: Path) -> tuple[str, ...]:
    """Return what a worktree of this repository lacks, one sentence each, for the report."""
    notes: list[str] = []
    if (root / ".gitmodules").is_file():
        notes.append("submodules are not checked out in the gate's worktree: code there is missing")
    attributes = root / ".gitattributes"
    if attributes.is_file() and "filter=lfs" in attributes.read_text("utf-8", errors="replace"):
        notes.append("the repository uses git LFS: in the gate's worktree files may be pointers")
    return tuple(notes)


def environment_without_git() -> dict[str, str]:
    """Return this process's environment without git's variables.

    Within a hook they name the hook's repository, whatever the folder.
    """
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}


def run_git(repo: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git on a repository without its hooks, whatever hook this process was started from.

    Returns:
        The finished process; the caller judges its status.

    Raises:
        IndoorError: There is no git or no such folder, or git does not end.
    """
    command = shutil.which("git")
    if command is None:
        raise IndoorError("git is not on the PATH; expected it for --base; install git")
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


def last_line(text: str) -> str:
    """Return the last line of what git said, which gives its reason."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "without a reason"
