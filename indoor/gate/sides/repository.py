"""The repository that both sides come from: where it is, and what a revision names."""

from pathlib import Path

from indoor.errors import IndoorError
from indoor.machine import how_git_may_go_on, run_git, why_git_failed


def find_repository(start: Path) -> Path:
    """Return the root of the git repository around a folder.

    Raises:
        IndoorError: There is none, or git cannot or will not read it.
    """
    done = run_git(start, "rev-parse", "--show-toplevel")
    if done.returncode != 0 or not done.stdout.strip():
        advised = how_git_may_go_on(done)
        remedy = f"run `{advised}`" if advised else "call it there"
        raise IndoorError(
            f"git finds no working tree at {start} ({why_git_failed(done)}); expected a clone "
            f"with the revision to compare with; {remedy}, or compare two environments with "
            "--base-python"
        )
    return Path(done.stdout.strip())


NUM_NAMED = 5
"""Branches that are told beside a revision that nobody knows."""


def find_root(start: Path) -> Path:
    """Return the root of the code: the repository's, or without git the folder itself."""
    try:
        return find_repository(start)
    except IndoorError:  # two environments can be compared without git
        return start.resolve()


def resolve_revision(repo: Path, revision: str) -> str:
    """Return the 40 hexadecimal digits of the commit that a revision names.

    Raises:
        IndoorError: The repository does not know it, or git refuses to look.
    """
    find_repository(repo)
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
    newest = ("--sort=-committerdate", f"--count={NUM_NAMED}", "refs/heads", "refs/remotes")
    branches = run_git(repo, "for-each-ref", "--format=%(refname:short)", *newest).stdout.split()
    if branches:
        known = f"such as {', '.join(branches)}"
    elif run_git(repo, "rev-parse", "--verify", "HEAD").returncode == 0:  # asks for no object
        known = "whose commits git cannot read (`git fsck` tells which)"
    else:
        known = "which has no commit yet"
    raise IndoorError(
        f"revision {revision!r} is unknown here, or several commits fit it; expected a branch, tag "
        f"or commit of this repository, {known}; run `git fetch`, or check the name with `git log`"
    )


def read_committed(repo: Path, commit: str, path: str) -> str | None:
    """Return the text of a file as a commit has it, links within the tree followed.

    Returns:
        None where the commit has no such file.
    """
    done = run_git(
        repo, "cat-file", "--batch", "--follow-symlinks", standard_input=f"{commit}:{path}\n"
    )
    told, _, content = done.stdout.partition("\n")
    # Else it is missing, a folder, or a link that leads nowhere.
    return content.removesuffix("\n") if told.split()[1:2] == ["blob"] else None


def has_folder(repo: Path, commit: str, path: str) -> bool:
    """Return whether a commit has a folder of that name, or a link to one."""
    done = run_git(
        repo,
        *("cat-file", "--batch-check", "--follow-symlinks"),
        standard_input=f"{commit}:{'' if path == '.' else path}\n",
    )
    return done.stdout.split()[1:2] == ["tree"]


def uncopied_parts(root: Path) -> tuple[str, ...]:
    """Return what a worktree of this repository lacks, one sentence each, for the report."""
    notes: list[str] = []
    if (root / ".gitmodules").is_file():
        notes.append(
            "submodules are not checked out in the gate's worktree: code there is missing, "
            "unless prepare in gate.toml fetches them"
        )
    attributes = root / ".gitattributes"
    if attributes.is_file() and "filter=lfs" in attributes.read_text("utf-8", errors="replace"):
        notes.append("the repository uses git LFS: in the gate's worktree files may be pointers")
    return tuple(notes)
