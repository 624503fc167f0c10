"""Git as people have it: what it refuses, what its variables say, and what a record keeps of it."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gate_records import HEAD, red_gate
from report_records import full_json, full_run, identity

from indoor.cli import main
from indoor.errors import IndoorError
from indoor.gate.report import render_gate
from indoor.gate.sides.repository import find_repository, resolve_revision
from indoor.gate.sides.trees import base_tree, head_tree
from indoor.gate.worker.arms import Arm
from indoor.machine import code_identity, identify_code, run_git, unredirected_environment
from indoor.report.caption import caption

OTHER_UID = 54_321


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "gitconfig").write_text(
        '[user]\n name = a\n email = a@example.org\n[protocol "file"]\n allow = always\n'
    )


def git(folder: Path, *words: str) -> str:
    """Run git in the folder and return what it prints."""
    done = subprocess.run(
        ["git", "-C", str(folder), *words],
        capture_output=True,
        text=True,
        check=True,
        env=unredirected_environment(),
    )
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit of one file."""
    return make(tmp_path / "repo")


def make(folder: Path, *words: str) -> Path:
    """Make a repository with one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", *words)
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def dubious(repo: Path) -> Iterator[Path]:
    """The repository, owned by somebody else."""
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    give(repo, OTHER_UID)
    yield repo
    give(repo, 0)


def give(folder: Path, uid: int) -> None:
    """Make another user the owner of all that is in the folder."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, -1, follow_symlinks=False)


# What git says no to


def shallow(repo: Path) -> Path:
    """A clone of the last commit alone."""
    git(repo, "commit", "-qm", "second", "--allow-empty")
    git(repo.parent, "clone", "-q", "--depth", "1", f"file://{repo}", "shallow")
    return repo.parent / "shallow"


def submodule(repo: Path) -> Path:
    """The repository as a part of another."""
    outer = make(repo.parent / "outer")
    git(outer, "submodule", "--quiet", "add", f"file://{repo}", "part")
    return outer / "part"


def worktree(repo: Path) -> Path:
    """A second working tree."""
    git(repo, "worktree", "add", "-q", "--detach", str(repo.parent / "second"))
    return repo.parent / "second"


def detached(repo: Path) -> Path:
    """No branch is checked out."""
    git(repo, "checkout", "-q", "--detach")
    return repo


def linked(repo: Path) -> Path:
    """The folder by another path."""
    (repo.parent / "link").symlink_to(repo)
    return repo.parent / "link"


def sha256(repo: Path) -> Path:
    """A repository whose hashes have 64 digits."""
    return make(repo.parent / "long", "--object-format=sha256")


def locked(repo: Path) -> Path:
    """Another git is at work, or died."""
    (repo / ".git/index.lock").write_text("")
    return repo


def traced(repo: Path) -> Path:
    """Git tells on stderr what it does."""
    os.environ["GIT_TRACE"] = "1"
    return repo


def odd(repo: Path) -> Path:
    """Blanks and letters beyond ASCII in the path."""
    return make(repo.parent / "mein Projekt (café)")


@pytest.mark.parametrize(
    "kind", [shallow, submodule, worktree, detached, linked, sha256, locked, traced, odd],
    ids=lambda kind: f"{kind.__name__}-control",
)  # fmt: skip
def test_the_commit_is_known_wherever_git_knows_it(
    repo: Path, kind: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the repository came to be, commit and cleanliness are git's own."""
    monkeypatch.setenv("GIT_TRACE", "")  # put back afterwards
    folder = kind(repo)
    found = identify_code(folder)
    assert (found.commit, found.dirty, found.unknown) == (
        git(folder, "rev-parse", "HEAD"), False, None,
    )  # fmt: skip
    assert code_identity(folder) == (found.commit, found.dirty)


def bare(repo: Path) -> Path:
    """No working tree."""
    git(repo.parent, "clone", "-q", "--bare", str(repo), "bare.git")
    return repo.parent / "bare.git"


def broken_file(repo: Path) -> Path:
    """A submodule or worktree whose repository was moved away."""
    folder = repo.parent / "moved"
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /nowhere/at/all\n")
    return folder


def no_gitfile(repo: Path) -> Path:
    """A .git that is something else."""
    folder = repo.parent / "odd"
    folder.mkdir()
    (folder / ".git").write_text("nothing of git's\n")
    return folder


def unborn(repo: Path) -> Path:
    """Before the first commit."""
    folder = repo.parent / "unborn"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def within(repo: Path) -> Path:
    """An installed package in a project's environment."""
    folder = repo / "lib/site-packages"
    folder.mkdir(parents=True)
    return folder


def outside(repo: Path) -> Path:
    """No repository at all."""
    folder = repo.parent / "plain"
    folder.mkdir()
    return folder


def missing(repo: Path) -> Path:
    """No such folder."""
    return repo.parent / "missing"


def damaged_index(repo: Path) -> Path:
    """The index was cut off."""
    (repo / ".git/index").write_bytes(b"DIRC")
    return repo


def damaged_config(repo: Path) -> Path:
    """A line in .git/config that git does not read."""
    with (repo / ".git/config").open("a") as file:
        file.write("[core\n")
    return repo


def newer_format(repo: Path) -> Path:
    """A repository of a git from the future."""
    git(repo, "config", "core.repositoryformatversion", "999")
    return repo


def no_git(repo: Path) -> Path:
    """There is no git on the PATH."""
    os.environ["PATH"] = str(repo.parent)
    return repo


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (bare, "fatal: this operation must be run in a work tree"),
        (broken_file, "fatal: not a git repository: all"),
        (no_gitfile, "fatal: invalid gitfile format: .git"),
        (unborn, "the repository has no commit yet"),
        (within, "the folder lies within another repository"),
        (outside, "fatal: not a git repository"),
        (missing, "there is no folder missing"),
        (damaged_index, "index file"),
        (damaged_config, "fatal: bad config line"),
        (newer_format, "found 999"),
        (no_git, "git is not on the PATH"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_why_a_commit_is_unknown_is_told(
    repo: Path, kind: Callable[[Path], Path], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In git's own words where it has some, without a folder of this machine, in one line."""
    monkeypatch.setenv("PATH", os.environ["PATH"])  # put back afterwards
    found = identify_code(kind(repo))
    assert found.commit is None
    assert found.dirty is None
    assert found.unknown is not None
    assert reason in found.unknown
    assert "\n" not in found.unknown
    assert str(repo.parent) not in found.unknown


def test_another_owner_is_told_with_gits_own_words(dubious: Path) -> None:
    """Dubious ownership is git's refusal, and no folder without a repository."""
    found = identify_code(dubious)
    assert found.commit is None
    assert found.unknown == "fatal: detected dubious ownership in repository at 'repo'"


@pytest.mark.parametrize("way", ["global", "count", "parameters"])
def test_another_owner_works_where_git_itself_works(
    dubious: Path, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`safe.directory`, whichever way the user told git: in a file, or by variables as CI does."""
    match way:
        case "global":
            monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "other"))
            (tmp_path / "other").write_text(f"[safe]\n directory = {dubious}\n")
        case "count":
            monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
            monkeypatch.setenv("GIT_CONFIG_KEY_0", "safe.directory")
            monkeypatch.setenv("GIT_CONFIG_VALUE_0", "*")
        case "parameters":
            monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'safe.directory'='*'")
    commit = git(dubious, "rev-parse", "HEAD")
    assert code_identity(dubious) == (commit, False)
    assert find_repository(dubious) == dubious
    with base_tree(dubious, "HEAD", Path("python")) as tree:
        assert (tree.root / "code.py").is_file()


def test_the_gate_shows_gits_refusal(
    dubious: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`indoor gate --base` has the fatal line, and git's own remedy in it."""
    monkeypatch.chdir(dubious)
    (dubious / "suite").mkdir()
    assert main(["gate", "--base", "HEAD", "--suite", "suite"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"fatal: detected dubious ownership in repository at '{dubious}'" in line
    assert f"git config --global --add safe.directory {dubious}" in line


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (bare, "fatal: this operation must be run in a work tree"),
        (broken_file, "fatal: not a git repository: /nowhere/at/all"),
        (no_gitfile, "fatal: invalid gitfile format"),
        (damaged_config, "fatal: bad config line"),
        (outside, "fatal: not a git repository"),
    ],
    ids=["bare-control", "broken .git file-control", "no gitfile-control",
         "damaged config-control", "outside-control"],
)  # fmt: skip
def test_a_repository_that_git_refuses_is_told_by_its_fatal_line(
    repo: Path, kind: Callable[[Path], Path], words: str
) -> None:
    """Not by the hint below it."""
    with pytest.raises(IndoorError, match=r"git finds no working tree") as caught:
        find_repository(kind(repo))
    assert words in str(caught.value)


def test_a_revision_of_a_refused_repository_is_not_called_unknown(dubious: Path) -> None:
    """`pytest bench --gate HEAD`: git refused to look, which says nothing of the revision."""
    with pytest.raises(IndoorError, match="fatal: detected dubious ownership"):
        resolve_revision(dubious, "HEAD")


def test_a_worktree_that_cannot_be_made_shows_the_fatal_line(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What git traced or advised around it is left out."""
    monkeypatch.setenv("GIT_TRACE", "1")
    (repo / ".git/worktrees").write_text("in the way")
    with (
        pytest.raises(IndoorError, match=r"cannot check 'HEAD' out .*\(fatal: ") as caught,
        base_tree(repo, "HEAD", Path("python")),
    ):
        pass
    assert "trace:" not in str(caught.value)


# Variables

REDIRECTS = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE"),
    *("GIT_NAMESPACE", "GIT_QUARANTINE_PATH", "GIT_INTERNAL_SUPER_PREFIX", "GIT_REPLACE_REF_BASE"),
    *("GIT_IMPLICIT_WORK_TREE", "GIT_NO_REPLACE_OBJECTS"),
)
CONFIGURES = (
    *("GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG_VALUE_0", "GIT_CONFIG_GLOBAL"),
    *("GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_PARAMETERS", "GIT_SSH_COMMAND"),
    *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_TRACE", "GIT_ASKPASS"),
    *("GIT_TERMINAL_PROMPT", "GIT_SSL_NO_VERIFY", "GIT_EXEC_PATH", "GIT_AUTHOR_NAME"),
    *("GIT_SSH", "GIT_PAGER", "GIT_OPTIONAL_LOCKS", "GITHUB_SHA"),
)


@pytest.mark.parametrize("name", [pytest.param(n, id=f"{n}-control") for n in REDIRECTS])
def test_a_variable_that_redirects_is_dropped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook's repository is not the one that was asked for, in our own git and in workers."""
    monkeypatch.setenv(name, "elsewhere")
    arm = Arm(name="base", root=Path(), python=Path(), words=(), search_path=())
    assert name not in unredirected_environment()
    assert name not in arm.variables({})


@pytest.mark.parametrize("name", CONFIGURES)
def test_a_variable_that_configures_is_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user told git stays told, in our own git and in workers."""
    monkeypatch.setenv(name, "told")
    arm = Arm(name="base", root=Path(), python=Path(), words=(), search_path=())
    assert unredirected_environment()[name] == "told"
    assert arm.variables({})[name] == "told"


def test_gits_own_list_of_redirections_is_covered() -> None:
    """Whatever this git calls local to a repository is dropped, but for settings."""
    local = run_git(Path.cwd(), "rev-parse", "--local-env-vars").stdout.split()
    assert {name for name in local if not name.startswith("GIT_CONFIG")} <= set(REDIRECTS)


def test_a_hook_leads_nowhere_else(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a hook of another repository this one's commit is found."""
    other = make(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert code_identity(repo)[0] == git(repo, "rev-parse", "HEAD")
    assert find_repository(repo) == repo


# Records


def test_a_caption_says_why_the_commit_is_unknown() -> None:
    """Over every table; an old result, which did not record it, has no commit as before."""
    reason = "fatal: detected dubious ownership in repository at 'repo'"
    known, refused, old = (
        caption(full_run(**words))["code"]
        for words in ({}, {"commit": None, "commit_unknown": reason}, {"commit": None})
    )
    assert known == "commit 0123456789ab, resnet50"
    assert refused == f"commit unknown: {reason}, resnet50"
    assert old == "no commit, resnet50"


def test_results_list_says_why_the_commit_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has the word, a line below it the reason, and `--json` both."""
    run = identity(commit=None, dirty=None, commit_unknown="git is not on the PATH")
    path = tmp_path / "Linux-CPython-3.11-64bit/0001_resnet50.json"
    path.parent.mkdir()
    path.write_text(json.dumps(full_json(run=run)))
    words = ["results", "list", "--results", str(tmp_path), "--width", "200"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert " unknown " in out
    assert "0001_resnet50: commit unknown: git is not on the PATH" in out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["commit_unknown"] == "git is not on the PATH"


def test_the_gates_report_says_why_a_commit_is_unknown(dubious: Path) -> None:
    """Of the side that git refused."""
    tree = head_tree(dubious, Path("python"))
    assert tree.unknown is not None
    side = replace(HEAD, commit=tree.commit, dirty=tree.dirty, commit_unknown=tree.unknown)
    report = replace(red_gate(), head=side)
    assert f"commit unknown: {tree.unknown}" in " ".join(render_gate(report, width=200).split())
