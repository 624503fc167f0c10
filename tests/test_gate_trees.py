"""The gate's trees: worktrees that come and go, modules from the right side, one gate at a time."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from gate_trees import LEAN, NAP, PLAN, config, environment_with, naps, write_tree

from indoor import locks
from indoor.errors import IndoorError
from indoor.gate.sides import setup as sides_module
from indoor.gate.sides.homes import NUM_HOMES
from indoor.gate.sides.imports import check_imports, import_paths, provided_names
from indoor.gate.sides.repository import find_repository, resolve_revision, uncopied_parts
from indoor.gate.sides.setup import HOME, GateJob, Sides, open_sides
from indoor.gate.sides.trees import (
    Tree,
    base_tree,
    head_tree,
    new_folder,
    remove_leftovers,
    remove_old_folders,
)
from indoor.gate.worker import Collected, LaunchRules, collect_cells
from indoor.locks import LOCKS_FOLDER, machine_lock, take_lock
from indoor.machine import code, unredirected_environment
from indoor.measure import worker as worker_plugin

PYTHON = Path(sys.executable)

HOLD_TREE = """
import sys
from pathlib import Path
from indoor.gate.sides.trees import base_tree
with base_tree(Path(sys.argv[1]), sys.argv[2], Path(sys.executable)) as tree:
    print(tree.root, flush=True)
    sys.stdin.read()
"""

HOLD_LOCK = """
import sys
from indoor.locks import machine_lock
with machine_lock(0, print):
    print("held", flush=True)
    sys.stdin.read()
"""


def git(repo: Path, *words: str) -> str:
    """Run git in a test's repository and return what it says."""
    user = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(
        ["git", "-C", str(repo), *user, *words],
        check=True,
        capture_output=True,
        text=True,
        env=unredirected_environment(),
    ).stdout.strip()


def worktrees(repo: Path) -> list[str]:
    """Return the folders that git lists, the working tree itself first."""
    lines = git(repo, "worktree", "list", "--porcelain").splitlines()
    return [line.removeprefix("worktree ") for line in lines if line.startswith("worktree ")]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for this test's temporary files, also those of its processes."""
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv(LOCKS_FOLDER, str(folder))
    return folder


@pytest.fixture
def repo(tmp_path: Path, temporary: Path) -> Path:
    """A repository in a path with spaces: two commits, the first tagged v1, nothing changed."""
    assert temporary.is_dir()
    root = tmp_path / "the repository"
    (root / "package").mkdir(parents=True)
    (root / "package" / "__init__.py").write_text("VALUE = 1\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    git(root, "tag", "v1")
    (root / "package" / "__init__.py").write_text("VALUE = 2\n")
    git(root, "commit", "--quiet", "-am", "two")
    return root


@contextmanager
def running(code: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run code in a process until the block ends; yield it with the first line it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,  # what may be inherited is, as with a worker's own children
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            if process.poll() is None:
                process.communicate()


def killed_tree(repo: Path) -> Path:
    """Return the worktree that a process leaves when it is killed."""
    with running(HOLD_TREE, str(repo), "v1") as (process, line):
        process.send_signal(signal.SIGKILL)
        process.wait()
    root = Path(line)
    assert (root / "package" / "__init__.py").is_file()
    return root


def test_a_revision_lies_ready_for_as_long_as_the_block_runs(repo: Path, temporary: Path) -> None:
    """The base's code is in a worktree of its own; afterwards neither it nor a record is left."""
    with base_tree(repo, "v1", PYTHON) as tree:
        assert (tree.root / "package" / "__init__.py").read_text() == "VALUE = 1\n"
        assert (tree.label, tree.commit, tree.dirty) == ("v1", git(repo, "rev-parse", "v1"), False)
        assert tree.python == PYTHON
        assert tree.root.is_relative_to(temporary)
        assert len(worktrees(repo)) == 2
    assert worktrees(repo) == [str(repo)]
    assert list(temporary.iterdir()) == []
    assert (repo / "package" / "__init__.py").read_text() == "VALUE = 2\n"


def test_a_worktree_goes_also_after_a_failure(repo: Path, temporary: Path) -> None:
    """An exception in the block passes on, and the worktree with its new files is removed."""

    def fail() -> NoReturn:
        with base_tree(repo, "v1", PYTHON) as tree:
            sealed = tree.root / "sealed"
            (sealed / "inner").mkdir(parents=True)
            (sealed / "inner" / "file").touch()
            (sealed / "inner").chmod(0o555)
            sealed.chmod(0o000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert worktrees(repo) == [str(repo)]
    assert list(temporary.iterdir()) == []


def test_a_checkout_that_fails_leaves_nothing(repo: Path, temporary: Path) -> None:
    """Where git cannot write the files, its reason is told and the half-made worktree is gone."""
    blob = git(repo, "rev-parse", "v1:package/__init__.py")
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with (
        pytest.raises(IndoorError, match=r"cannot check 'v1' out .*; expected .*TMPDIR") as caught,
        base_tree(repo, "v1", PYTHON),
    ):
        pytest.fail("there is nothing to measure")
    assert "\n" not in str(caught.value)
    assert worktrees(repo) == [str(repo)]
    assert list(temporary.iterdir()) == []


def test_hooks_do_not_run(repo: Path, tmp_path: Path) -> None:
    """A post-checkout hook, which may build or fetch, is not called for the gate's worktree."""
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.write_text(f'#!/bin/sh\ntouch "{tmp_path}/ran"\n')
    hook.chmod(0o755)
    git(repo, "worktree", "add", "--detach", str(tmp_path / "by hand"), "v1")
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()
    with base_tree(repo, "v1", PYTHON):
        pass
    assert not (tmp_path / "ran").exists()


def test_a_gate_within_a_hook_sees_the_right_repository(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_DIR and its kind, which git sets for hooks, do not lead to another repository."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert find_repository(repo / "package") == repo
    with base_tree(repo, "v1", PYTHON) as tree:
        assert (tree.root / "package").is_dir()


def test_what_a_killed_gate_left_is_removed(repo: Path, temporary: Path) -> None:
    """A worktree whose owner was killed goes, with a note that names no folder of this machine."""
    root = killed_tree(repo)
    assert len(worktrees(repo)) == 2
    notes = remove_leftovers(repo)
    assert len(notes) == 1
    assert "left by a gate that died" in notes[0]
    assert str(temporary) not in notes[0]
    assert not root.parent.exists()
    assert worktrees(repo) == [str(repo)]
    assert remove_leftovers(repo) == ()


def test_folders_of_killed_gates_are_removed(repo: Path, temporary: Path) -> None:
    """Killed before it had a tree, or a lock; not one in use, with a worktree, or of others."""
    root = killed_tree(repo)
    bare, logs, other, results = (
        temporary / f"indoor-{name}" for name in ("gate-a", "gate-scratch-b", "other", "gate-mine")
    )
    for folder in (bare, logs, other, results):
        folder.mkdir()
    (logs / "lock").touch()
    (results / "gate.json").touch()
    used, descriptor = new_folder("indoor-gate-scratch-")
    remove_old_folders()
    assert {path.name for path in temporary.iterdir()} == {
        root.parent.name,
        used.name,
        "indoor-other",
        "indoor-gate-mine",
    }
    assert (results / "gate.json").exists()
    os.close(descriptor)


def test_a_folder_that_is_removed_before_it_is_locked_is_made_anew(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another gate, which takes it for a killed one's."""
    make, made = tempfile.mkdtemp, []

    def removed(**words: str) -> str:
        made.append(make(**words))
        if len(made) == 1:
            remove_old_folders()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", removed)
    folder, descriptor = new_folder("indoor-gate-")
    assert [path.name for path in temporary.iterdir()] == [folder.name]
    os.close(descriptor)


@pytest.mark.parametrize("lost", ["nothing", "the worktree", "the whole folder"])
def test_a_half_made_worktree_is_removed(repo: Path, temporary: Path, lost: str) -> None:
    """Git killed in the middle leaves its record locked; it goes, whatever of the folder is left.

    Another worktree of the user's that is missing just now (a disk not mounted) stays recorded.
    """
    root = killed_tree(repo)
    git(repo, "worktree", "lock", "--reason", "initializing", str(root))
    other = temporary / "other" / "tree"
    git(repo, "worktree", "add", "--detach", str(other), "v1")
    shutil.rmtree(other.parent)
    if lost != "nothing":
        shutil.rmtree(root if lost == "the worktree" else root.parent)
    assert len(remove_leftovers(repo)) == 1
    assert worktrees(repo) == [str(repo), str(other)]
    assert list(temporary.iterdir()) == []


def test_a_leftover_that_cannot_be_removed_is_told(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that stays keeps its record, so that the next gate finds it again."""
    root = killed_tree(repo)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        assert "cannot be removed" in remove_leftovers(repo)[0]
        assert worktrees(repo) == [str(repo), str(root)]
    assert "removed" in remove_leftovers(repo)[0]
    assert worktrees(repo) == [str(repo)]


def test_somebody_elses_worktree_is_left_alone(repo: Path, temporary: Path) -> None:
    """A folder that only has a name like the gate's may hold work that was never committed."""
    theirs = temporary / "indoor-gate-notes" / "tree"
    git(repo, "worktree", "add", "--detach", str(theirs), "v1")
    assert remove_leftovers(repo) == ()
    assert (theirs / "package").is_dir()


def test_two_gates_at_once_keep_their_own_worktrees(repo: Path) -> None:
    """A worktree in use is left alone by another gate, which has one of its own."""
    with running(HOLD_TREE, str(repo), "v1") as (process, line):
        assert remove_leftovers(repo) == (
            f"another gate is using {Path(line).parent.name}: left alone",
        )
        with base_tree(repo, "v1", PYTHON) as mine:
            assert str(mine.root) != line
            assert len(worktrees(repo)) == 3
            assert len(remove_leftovers(repo)) == 2
        assert (Path(line) / "package").is_dir()
        process.communicate()
    assert process.returncode == 0
    assert worktrees(repo) == [str(repo)]


def test_the_working_tree_counts_as_it_stands(repo: Path) -> None:
    """Head is the folder itself; a change and a new file make it dirty."""
    clean = head_tree(repo, PYTHON)
    assert (clean.root, clean.commit, clean.dirty) == (repo, git(repo, "rev-parse", "main"), False)
    (repo / "package" / "new.py").touch()
    assert head_tree(repo, PYTHON).dirty is True


def test_a_folder_without_git_serves_as_head(tmp_path: Path) -> None:
    """Two environments can be compared on code that no repository knows."""
    tree = head_tree(tmp_path, PYTHON, label="new torch")
    assert (tree.label, tree.commit, tree.dirty) == ("new torch", None, None)


@pytest.mark.parametrize("revision", ["nope", "", "--all", "main..v1", "HEAD:package", "v1\nv1"])
def test_an_unknown_revision_is_named(repo: Path, revision: str) -> None:
    """What names no commit is refused in one line that says what to do."""
    with pytest.raises(
        IndoorError, match=r"revision .* is unknown .*; expected .*; run `git fetch"
    ):
        resolve_revision(repo, revision)


@pytest.mark.parametrize(
    ("branches", "known"),
    [
        (("develop",), "such as develop"),
        (("trunk", "release/1.0"), "release/1.0"),
        (("entwicklung-ä",), "such as entwicklung-ä"),
        ((), "which has no commit yet"),
    ],
    ids=["no-master", "two", "not-ascii", "no-commit"],
)
def test_an_unknown_revision_is_told_beside_the_branches_there_are(
    tmp_path: Path, branches: tuple[str, ...], known: str
) -> None:
    """`--base master` where the branch has another name: the line says which names there are."""
    git(tmp_path, "init", "-q", "-b", branches[0] if branches else "main")
    if branches:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        git(tmp_path, *identity, "commit", "-q", "--allow-empty", "-m", "one")
    for name in branches[1:]:
        git(tmp_path, "branch", name)
    with pytest.raises(IndoorError, match="revision 'master' is unknown here") as error:
        resolve_revision(tmp_path, "master")
    assert known in str(error.value)
    assert "\n" not in str(error.value)


def test_a_repository_whose_commits_are_gone_is_not_called_new(tmp_path: Path) -> None:
    """A branch that leads to no readable commit is damage, which the line says."""
    git(tmp_path, "init", "-q", "-b", "main")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    git(tmp_path, *identity, "commit", "-q", "--allow-empty", "-m", "one")
    for folder in (tmp_path / ".git/objects").iterdir():
        shutil.rmtree(folder)
    with pytest.raises(IndoorError, match=r"whose commits git cannot read .*git fsck") as error:
        resolve_revision(tmp_path, "HEAD~1")
    assert "no commit yet" not in str(error.value)


def test_a_shallow_clone_says_how_to_get_the_rest(repo: Path, tmp_path: Path) -> None:
    """A commit that CI did not fetch is not called misspelt: the message names fetch-depth."""
    shallow = tmp_path / "shallow"
    git(repo, "clone", "--quiet", "--depth=1", repo.as_uri(), str(shallow))
    assert resolve_revision(shallow, "main") == git(repo, "rev-parse", "main")
    with pytest.raises(IndoorError, match=r"'v1' is not in this clone, which is shallow.*depth: 0"):
        resolve_revision(shallow, "v1")


def test_branches_tags_and_short_commits_are_revisions(repo: Path) -> None:
    """All of git's names for a commit give the same 40 digits; an annotated tag its commit."""
    commit = git(repo, "rev-parse", "main")
    git(repo, "tag", "-a", "-m", "two", "v2")
    assert {resolve_revision(repo, r) for r in ("main", "HEAD", "v2", commit[:8])} == {commit}


def test_no_repository_is_told(tmp_path: Path, temporary: Path) -> None:
    """A folder outside any repository is named, with git's reason and the other way to gate."""
    assert temporary.is_dir()
    with pytest.raises(IndoorError, match=r"finds no working tree at .*not a git.*--base-python"):
        find_repository(tmp_path)
    with pytest.raises(IndoorError, match="there is no folder"):
        find_repository(tmp_path / "missing")
    assert remove_leftovers(tmp_path)[0].startswith("leftovers of earlier gates were not looked")


def test_a_machine_without_git_is_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git on the PATH the message names it."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(IndoorError, match="git is not on the PATH"):
        find_repository(repo)


def test_a_git_that_hangs_is_ended(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git gets a limit, so that a gate cannot wait for ever."""
    monkeypatch.setattr(code, "_GIT_S", 0.0)
    with pytest.raises(IndoorError, match="did not end within 0 s"):
        find_repository(repo)


def test_no_space_for_a_worktree_is_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of temporary files that cannot be written to is a user's matter, not a crash."""
    monkeypatch.setattr(tempfile, "tempdir", str(repo / "missing"))
    with pytest.raises(IndoorError, match="cannot make a folder"), base_tree(repo, "v1", PYTHON):
        pytest.fail("there is no folder")


def test_a_disk_without_locks_is_told(
    repo: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file can be locked nothing is checked out, and no leftover is taken for dead."""
    root = killed_tree(repo)

    def fail(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(IndoorError, match="cannot lock a file"), base_tree(repo, "v1", PYTHON):
        pytest.fail("nobody would know that this tree is in use")
    notes = remove_leftovers(repo)
    assert notes == (f"{root.parent.name} cannot be locked (No locks available): left alone",)
    assert list(temporary.iterdir()) == [root.parent]


def test_what_a_worktree_lacks_is_said(tmp_path: Path) -> None:
    """Submodules and LFS files are announced; a plain repository has nothing to announce."""
    assert uncopied_parts(tmp_path) == ()
    (tmp_path / ".gitattributes").write_text("*.png binary\n")
    assert uncopied_parts(tmp_path) == ()
    (tmp_path / ".gitmodules").touch()
    (tmp_path / ".gitattributes").write_text("*.bin filter=lfs diff=lfs\n")
    assert [note.split()[0] for note in uncopied_parts(tmp_path)] == ["submodules", "the"]


def test_provided_names_are_what_python_would_find(tmp_path: Path) -> None:
    """Modules, packages and extension modules of the root and of src count; the rest does not."""
    for name in ("flat/__init__.py", "src/inner/__init__.py", "docs/index.py", "flat/part.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("single.py", "fast.cpython-311-x86_64-linux-gnu.so", "conftest.py", "setup.py"):
        (tmp_path / name).touch()
    for name in ("random.py", "__main__.py", "not-a-name.py", "README.md"):
        (tmp_path / name).touch()
    folders = import_paths(tmp_path, "bench")
    assert folders == [tmp_path / "src", tmp_path]
    assert provided_names(folders) == {"flat", "inner", "single", "fast"}
    assert import_paths(tmp_path / "flat", "bench") == [tmp_path / "flat"]


def test_a_suites_own_projects_are_searched_from_within(tmp_path: Path) -> None:
    """In a monorepo the projects around the suite come before the root, each with its src first."""
    for name in ("a/b/src", "a/b/c/bench", "src", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a/setup.cfg", "a/b/pyproject.toml", "other/pyproject.toml", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / "a/b/c/bench/test_x.py").touch()
    inner = [tmp_path / name for name in ("a/b/src", "a/b", "a", "src")]
    assert import_paths(tmp_path, "a/b/c/bench") == [*inner, tmp_path]
    assert import_paths(tmp_path, "a/b/c/bench/test_x.py") == [*inner, tmp_path]
    assert import_paths(tmp_path, "a/b") == [*inner, tmp_path]


def test_the_named_folders_are_searched_first(tmp_path: Path) -> None:
    """The paths of gate.toml beat all others, in their order; one that base lacks is left out."""
    for name in ("backend", "python", "lib"):
        (tmp_path / name).mkdir()
    (tmp_path / "backend/setup.py").touch()
    first = [tmp_path / name for name in ("python", "lib", "backend")]
    assert import_paths(tmp_path, "backend/bench", ("python", "gone", "lib")) == [*first, tmp_path]
    assert import_paths(tmp_path, "backend/bench", ("backend",)) == [first[2], tmp_path]


def tree_at(root: Path, label: str) -> Tree:
    """Return a tree with one package, `package`, which has a `part`."""
    (root / "package").mkdir(parents=True)
    (root / "package" / "__init__.py").touch()
    (root / "package" / "part.py").touch()
    return Tree(label=label, root=root, commit=None, dirty=None, python=PYTHON)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Tree, Tree]:
    """Base inside head's folder, as with TMPDIR in the repository: the harder place."""
    head = tree_at(tmp_path / "head", "head")
    return tree_at(head.root / "tmp" / "tree", "base"), head


@pytest.mark.parametrize(
    "file",
    [
        "tmp/tree/package/part.py",
        ".venv/lib/python3.11/site-packages/numpy/__init__.py",
        "env/lib/python3.11/os.py",
        "../elsewhere/lib/python3.11/json/__init__.py",
    ],
)
def test_own_and_installed_modules_pass(sides: tuple[Tree, Tree], file: str) -> None:
    """Base may load its own tree, and what is installed even where that lies in head's folder."""
    base, head = sides
    (head.root / "env").mkdir()
    (head.root / "env" / "pyvenv.cfg").touch()
    name = "package.part" if "package/" in file else "module"
    check_imports(base, head, {name: str(head.root / file)})


@pytest.mark.parametrize(
    ("name", "file", "whose"),
    [
        ("package", "package/__init__.py", "the other side"),
        ("package.part", "package/part.py", "the other side"),
        ("new", "new.py", "the other side"),
        ("package", ".venv/lib/python3.11/site-packages/package/__init__.py", "outside"),
        ("package.part", "../third/package/part.py", "outside"),
    ],
)
def test_modules_from_elsewhere_are_refused(
    sides: tuple[Tree, Tree], name: str, file: str, whose: str
) -> None:
    """Head's module in base's worker, or an installed copy of what base provides, is an error."""
    base, head = sides
    with pytest.raises(IndoorError, match=rf"base imported {name} from .*{whose}.*expected.*-e"):
        check_imports(base, head, {name: str(head.root / file)})


def test_the_outer_side_may_not_load_the_inner_one(sides: tuple[Tree, Tree]) -> None:
    """The innermost root owns a file: base's worktree within head's folder is not head's."""
    base, head = sides
    with pytest.raises(IndoorError, match=r"head imported package from .*the other side"):
        check_imports(head, base, {"package": str(base.root / "package" / "__init__.py")})


def test_one_tree_in_two_environments_passes(sides: tuple[Tree, Tree]) -> None:
    """With --base-python alone both sides load the same files, and only from the tree."""
    _, head = sides
    check_imports(head, head, {"package": str(head.root / "package" / "__init__.py")})
    with pytest.raises(IndoorError, match="outside"):
        check_imports(head, head, {"package": "/opt/package/__init__.py"})


def test_the_gates_own_files_pass(sides: tuple[Tree, Tree]) -> None:
    """A plugin of head's that the gate loads by path is no stray import."""
    base, head = sides
    plugin = head.root / "package" / "part.py"
    check_imports(base, head, {"plugin": str(plugin)}, [plugin])
    with pytest.raises(IndoorError, match="base imported plugin"):
        check_imports(base, head, {"plugin": str(plugin)})


def test_a_link_to_the_other_side_is_seen_through(sides: tuple[Tree, Tree]) -> None:
    """A file counts where it really lies."""
    base, head = sides
    (base.root / "linked").symlink_to(head.root / "package")
    with pytest.raises(IndoorError, match="the other side"):
        check_imports(base, head, {"linked": str(base.root / "linked" / "__init__.py")})


def test_an_editable_install_of_head_is_found_out(repo: Path) -> None:
    """A process that runs base's tree, but finds head's package first, is refused; the cure works.

    The finder stands for those of editable installs, which may come before PYTHONPATH.
    """
    code = (
        "import json, sys; sys.path[:0] = sys.argv[1:]; import package; "
        "print(json.dumps({n: m.__file__ for n, m in list(sys.modules.items()) "
        "if getattr(m, '__file__', None)}))"
    )
    with base_tree(repo, "v1", PYTHON) as base:
        head = head_tree(repo, PYTHON)

        def modules(*editable: str) -> dict[str, str]:
            words = [
                sys.executable,
                "-c",
                code,
                *editable,
                *map(str, import_paths(base.root, "bench")),
            ]
            done = subprocess.run(words, cwd=base.root, check=True, capture_output=True, text=True)
            return dict(json.loads(done.stdout))

        check_imports(base, head, modules())
        with pytest.raises(IndoorError, match="v1 imported package from"):
            check_imports(base, head, modules(str(repo)))


@pytest.mark.parametrize(
    ("suite", "paths"), [("backend/bench/test_x.py", ()), ("bench", ("python", "backend"))]
)
def test_the_code_of_an_inner_project_counts(
    sides: tuple[Tree, Tree], suite: str, paths: tuple[str, ...]
) -> None:
    """What the suite's own project or a named folder provides may not come from elsewhere."""
    base, head = sides
    (base.root / "backend").mkdir()
    (base.root / "backend/pyproject.toml").touch()
    (base.root / "backend/foo.py").touch()
    check_imports(base, head, {"foo": "/opt/foo.py"})
    own = {"foo": str(base.root / "backend/foo.py")}
    check_imports(base, head, own, suite=suite, paths=paths)
    with pytest.raises(IndoorError, match=r"base imported foo from .*outside its tree"):
        check_imports(base, head, {"foo": "/opt/foo.py"}, suite=suite, paths=paths)


@pytest.mark.parametrize("place", ["own", "other", "repository"])
def test_a_copy_of_the_compared_code_is_refused(
    sides: tuple[Tree, Tree], tmp_path: Path, place: str
) -> None:
    """What was installed from either tree or the repository is no side's; the cure is named."""
    base, head = sides
    clone = tmp_path / "clone"
    folder = {"own": base.root, "other": head.root, "repository": clone}[place] / "a"
    with pytest.raises(
        IndoorError,
        match=rf"base imported foo.x from /opt/foo/x.py, a copy .* from {folder}; expected it from "
        rf"{base.root}; both .*: name the folder that holds foo in gate.toml's paths, such as",
    ):
        check_imports(
            base,
            head,
            {"foo.x": "/opt/foo/x.py"},
            repository=clone,
            installed_from={"foo": str(folder)},
        )


@pytest.mark.parametrize(
    ("name", "file"),
    [("foo", "package/part.py"), ("space.numbers", "/opt/numbers.py"), ("far", "/opt/far.py")],
)
def test_what_is_no_copy_passes(sides: tuple[Tree, Tree], name: str, file: str) -> None:
    """The tree's own module, a neighbour in a namespace, and code from elsewhere are fine."""
    base, head = sides
    copies = {"foo": str(head.root), "space.foo": str(head.root), "far": "/opt/downloads"}
    check_imports(base, head, {name: str(base.root / file)}, installed_from=copies)


def test_the_working_tree_is_no_side_of_two_revisions(
    sides: tuple[Tree, Tree], tmp_path: Path
) -> None:
    """With --head both sides are worktrees, and an editable install of the clone is neither."""
    base, head = sides
    file = tmp_path / "clone" / "backend" / "foo.py"
    with pytest.raises(IndoorError, match=r"base imported foo from .*the working tree.*without -e"):
        check_imports(base, head, {"foo": str(file)}, repository=tmp_path / "clone")


def distribution(folder: Path, name: str, files: str, told: object) -> None:
    """Write a distribution's metadata; `told` is what direct_url.json holds."""
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (place / "RECORD").write_text("".join(f"{file},,\n" for file in files.split()))
    (place / "direct_url.json").write_text(told if isinstance(told, str) else json.dumps(told))


def test_a_worker_tells_what_was_copied_from_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only copies from files count, under the names that belong to their distribution alone."""
    local = {"url": "file:///the%20repo/a", "dir_info": {}}
    flat = "flat/__init__.py flat/part/__init__.py one.py fast.cpython-311-x86_64-linux-gnu.so"
    scripts = "flat-1.0.dist-info/RECORD ../../../bin/script.py flat/data.json"
    distribution(tmp_path, "flat", f"{flat} {scripts}", local)
    distribution(tmp_path, "space", "space/mine/__init__.py space/mine/x.py space/y.py", local)
    distribution(tmp_path, "linked", "linked.py", {**local, "dir_info": {"editable": True}})
    distribution(tmp_path, "far", "far.py", {"url": "https://example.invalid/far.whl"})
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    names = ("flat", "one", "fast", "space.mine", "space.y")
    assert worker_plugin.describe_python()["installed_from"] == dict.fromkeys(names, "/the repo/a")


@pytest.mark.parametrize("told", ["{", "[]", '{"url": 3}', '{"url": "file:///a", "dir_info": 1}'])
def test_broken_metadata_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """What one distribution's metadata should say does not keep the others' from being heard."""
    distribution(tmp_path, "a", "a.py", told)
    distribution(tmp_path, "b", "b.py", {"url": "file:///b", "dir_info": {}})
    (tmp_path / "b-1.0.dist-info" / "RECORD").unlink()
    (tmp_path / "b-1.0.dist-info" / "top_level.txt").write_text("b\n")
    (tmp_path / "c-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert worker_plugin.describe_python()["installed_from"] == {"b": "/b"}
    assert worker_plugin.describe_python()["packages"] == {"a": "1.0", "b": "1.0"}


def test_a_suite_that_runs_an_installed_copy_is_refused(tmp_path: Path, temporary: Path) -> None:
    """A worker tells that its module was copied from head; with `paths` it finds the tree's own."""
    assert temporary.is_dir()
    test = "import foo\n\ndef test_nap(benchmark):\n    benchmark(foo.nap)\n"
    files = {"python/foo.py": naps(), "suite/test_naps.py": test}
    base, head = (write_tree(tmp_path / name, files) for name in ("base", "head"))
    installed = {
        "foo.py": naps(),
        "foo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n",
        "foo-1.0.dist-info/RECORD": "foo.py,,\n",
        "foo-1.0.dist-info/direct_url.json": json.dumps({"url": head.as_uri(), "dir_info": {}}),
    }
    python = environment_with(tmp_path / "environment", installed)

    def collect(**settings: object) -> list[str]:
        job = GateJob(
            start=head,
            base_root=base,
            head_root=head,
            base_python=python,
            head_python=python,
            config=config(**settings),
            cache=tmp_path / "cache",
        )
        with open_sides(job) as two:
            rules = LaunchRules(
                plan=PLAN, start_s=60, hang_s=20, logs=two.scratch, check_imports=two.check_imports
            )
            return list(collect_cells(two.arm("base"), rules).cells)

    with pytest.raises(IndoorError, match=rf"base imported foo .* copy .* from {head}; .*paths"):
        collect()
    assert collect(paths=("python",)) == [NAP]


@contextmanager
def opened(tmp_path: Path, *, out: Path | None = None) -> Iterator[Sides]:
    """Lay two equal trees ready, whose suite asks for a home of each side's own."""
    base, head = (tmp_path / name for name in ("base", "head"))
    for root in (base, head):
        if not root.exists():
            write_tree(root)
    job = GateJob(
        start=head,
        base_root=base,
        head_root=head,
        config=config(arguments=(*LEAN, f"--home={HOME}")),
        out=out,
        cache=tmp_path / "cache",
    )
    with open_sides(job) as two:
        yield two


COLLECTED = Collected(cells={}, python="3.11.7", packages={"numpy": "2.4.6"})


def test_a_copy_is_known_also_when_it_is_imported_late(tmp_path: Path, temporary: Path) -> None:
    """A launch's worker tells only modules; what its Python has installed was told before."""
    assert temporary.is_dir()
    with opened(tmp_path) as two:
        copies = {"foo": str(two.head.root)}
        two.check_imports(replace(two.arm("base"), installed_from=copies), {})
        with pytest.raises(IndoorError, match=r"base imported foo from .*, a copy"):
            two.check_imports(two.arm("again"), {"foo": "/opt/foo.py"})


def test_a_module_that_was_fine_is_refused_from_elsewhere(tmp_path: Path, temporary: Path) -> None:
    """What is remembered of earlier launches is the file, and for which side it was fine."""
    assert temporary.is_dir()
    other = write_tree(tmp_path / "base", {"naps.py": naps()})
    job = GateJob(start=other, base_root=other, head_root=write_tree(tmp_path / "head"))
    with open_sides(job) as two:
        own = {"naps": str(two.base.root / "naps.py")}
        two.check_imports(two.arm("base"), own)
        two.check_imports(two.arm("again"), own)
        with pytest.raises(IndoorError, match=r"imported naps from .* the other side's tree"):
            two.check_imports(two.arm("head"), own)
        with pytest.raises(IndoorError, match=r"imported naps from .* outside its tree"):
            two.check_imports(two.arm("base"), {"naps": "/opt/naps.py"})


def test_a_folder_that_neither_side_has_is_told(tmp_path: Path, temporary: Path) -> None:
    """A misspelt entry of `paths` would leave the installed copy in place."""
    assert temporary.is_dir()
    tree = write_tree(tmp_path / "tree")
    job = GateJob(start=tree, base_root=tree, config=config(paths=("suite", "pyhton")))
    with (
        pytest.raises(IndoorError, match=r"paths: there is no folder pyhton .*; correct gate.toml"),
        open_sides(job),
    ):
        pytest.fail("there is nothing to import")


def test_the_same_code_finds_its_home_again(tmp_path: Path, temporary: Path) -> None:
    """A second gate on unchanged code takes what the first prepared."""
    assert temporary.is_dir()
    with opened(tmp_path) as two:
        assert two.needs_home()
        first = two.home("base", COLLECTED)
        (first / "prepared").touch()
    with opened(tmp_path) as two:
        assert two.home("base", COLLECTED) == first
    assert (first / "prepared").is_file()
    assert first.parent == tmp_path / "cache"


@pytest.mark.parametrize("name", ["naps.py", "new.py", "suite/settings.json"])
def test_other_code_has_a_home_of_its_own(tmp_path: Path, temporary: Path, name: str) -> None:
    """A source that changed, or a new one, may have prepared something else."""
    assert temporary.is_dir()
    with opened(tmp_path) as two:
        before = two.home("head", COLLECTED)
        (two.head.root / name).write_text("SECONDS = 2\n")
        assert two.home("head", COLLECTED) != before


def test_other_packages_have_a_home_of_their_own(tmp_path: Path, temporary: Path) -> None:
    """What another version of a package made is not taken for this one's."""
    assert temporary.is_dir()
    with opened(tmp_path) as two:
        other = replace(COLLECTED, packages={"numpy": "2.4.5"})
        assert two.home("head", COLLECTED) != two.home("head", other)


def test_base_and_head_never_share_a_home(tmp_path: Path, temporary: Path) -> None:
    """Equal code on both sides still prepares twice: neither may find what the other made."""
    assert temporary.is_dir()
    with opened(tmp_path) as two:
        assert two.home("base", COLLECTED) != two.home("head", COLLECTED)


def test_what_is_no_source_changes_no_home(tmp_path: Path, temporary: Path) -> None:
    """The gate's own report, an editor's link that leads nowhere, and a pipe are no code."""
    assert temporary.is_dir()
    out = tmp_path / "head" / "gate.json"
    with opened(tmp_path, out=out) as two:
        before = two.home("head", COLLECTED)
        out.write_text("{}")
        (two.head.root / ".#naps.py").symlink_to("me@here.1234:5678")
        (two.head.root / "gone.py").symlink_to("nowhere.py")
        os.mkfifo(two.head.root / "pipe.json")
        assert two.home("head", COLLECTED) == before


def test_only_the_newest_homes_stay(tmp_path: Path, temporary: Path) -> None:
    """The next gate removes what was not used for longest; files beside the homes stay."""
    assert temporary.is_dir()
    homes = [tmp_path / "cache" / str(number) for number in range(NUM_HOMES + 2)]
    for age, home in enumerate(homes):
        home.mkdir(parents=True)
        (home / "prepared").touch()
        os.utime(home, (1e9 - age, 1e9 - age))
    (tmp_path / "cache" / "file").touch()
    with opened(tmp_path):
        left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left == {*(home.name for home in homes[:NUM_HOMES]), "file"}


@pytest.mark.parametrize(
    ("fixture", "reason"),
    [
        ("class BenchmarkFixture: pass\n", "ImportError: .*PauseInstrumentation"),
        (
            "class PauseInstrumentation: pass\n"
            "class BenchmarkFixture:\n    _raw = _make_runner = _make_stats = None\n",
            "its benchmark fixture has no _raw_pedantic",
        ),
    ],
)
def test_a_pytest_benchmark_that_does_not_fit_is_a_mistake(
    tmp_path: Path, temporary: Path, fixture: str, reason: str
) -> None:
    """It is no regression of head's suite: the version there and those that fit are named."""
    assert temporary.is_dir()
    files = {
        "pytest_benchmark/__init__.py": '__version__ = "4.0.0"\n',
        "pytest_benchmark/fixture.py": fixture,
    }
    python = environment_with(tmp_path / "environment", files)
    tree = write_tree(tmp_path / "tree")
    job = GateJob(start=tree, head_python=python, config=config())
    with (
        pytest.raises(
            IndoorError,
            match=rf"--head-python .* \(pytest-benchmark 4.0.0 there: {reason}.*>=5.3,<6; install",
        ) as caught,
        open_sides(job),
    ):
        pytest.fail("no worker could run there")
    assert "\n" not in str(caught.value)


def test_trees_on_two_disks_are_told(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading the same file may take longer on another file system; the remedy is named."""
    job = GateJob(start=repo, base="v1", config=config(), cache=tmp_path / "cache")
    with open_sides(job) as two:
        assert two.notes == ()
    monkeypatch.setattr(sides_module, "_device", lambda root: int(root == repo))
    with open_sides(job) as two:
        (note,) = two.notes
    assert "another file system" in note
    assert "set TMPDIR" in note


def test_a_tree_that_is_gone_is_told(sides: tuple[Tree, Tree], tmp_path: Path) -> None:
    """A root that somebody removed during the run is named."""
    base, _ = sides
    gone = Tree(label="x", root=tmp_path / "gone", commit=None, dirty=None, python=PYTHON)
    with pytest.raises(IndoorError, match=r"cannot read .*gone"):
        check_imports(gone, base, {})


def test_a_second_gate_waits_and_says_for_whom(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes second says once which process it waits for, and measures when that one ends."""
    assert temporary.is_dir()
    said: list[str] = []
    with running(HOLD_LOCK) as (first, line):
        assert line == "held"

        def sleep(_seconds: float) -> None:
            assert len(said) == 1
            first.communicate()

        monkeypatch.setattr(time, "sleep", sleep)
        with machine_lock(60, said.append):
            assert first.returncode == 0
    assert said == [
        f"waiting up to 60 s for another gate on this machine (process {first.pid}) to end"
    ]


def test_the_lock_is_one_wherever_temporary_files_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell and cron with a TMPDIR each see each other's gate; who names a folder is apart."""
    monkeypatch.setattr(locks, "_LOCKS", tmp_path)
    monkeypatch.delenv(LOCKS_FOLDER, raising=False)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "one"))
    with machine_lock(0, print):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "two"))
        with pytest.raises(IndoorError, match="another gate"), machine_lock(0, print):
            pytest.fail("two gates measure at once")
        monkeypatch.setenv(LOCKS_FOLDER, str(tmp_path / "two"))
        with machine_lock(0, lambda line: pytest.fail(line)):
            pass


def test_a_gate_leaves_the_logs_of_one_that_runs(tmp_path: Path, temporary: Path) -> None:
    """Two that are bound to CPUs of their own share temporary files; what a dead one left goes."""
    left = temporary / "indoor-gate-scratch-left"
    left.mkdir()
    with opened(tmp_path) as first:
        assert not left.exists()
        with opened(tmp_path):
            assert first.plugins.is_dir()
    assert list(temporary.glob("indoor-gate-*")) == []


def test_a_wait_ends(temporary: Path) -> None:
    """A gate that does not end is named by its process, and nobody measures beside it."""
    (temporary / f"indoor-gate-{os.getuid()}.lock").write_text("123456789012")
    with (
        running(HOLD_LOCK) as (first, _),
        pytest.raises(IndoorError, match=rf"another gate \(process {first.pid}\).*; wait for it"),
        machine_lock(0.05, lambda _line: None),
    ):
        pytest.fail("two gates measure at once")


def test_a_killed_gate_holds_no_lock(temporary: Path) -> None:
    """The lock goes with its process, whatever ends that; its file may stay."""
    with running(HOLD_LOCK) as (first, _):
        first.send_signal(signal.SIGKILL)
        first.wait()
    with machine_lock(0, lambda line: pytest.fail(line)):
        assert len(list(temporary.iterdir())) == 1
    with machine_lock(0, lambda line: pytest.fail(line)):
        pass


def test_a_worker_does_not_inherit_the_lock(temporary: Path) -> None:
    """A process that outlives its controller keeps no other gate from measuring."""
    assert temporary.is_dir()
    with ExitStack() as stack:
        with machine_lock(0, print):
            stack.enter_context(running("import sys; print(flush=True); sys.stdin.read()"))
        with machine_lock(0, lambda line: pytest.fail(line)):
            pass


def test_a_lock_file_of_somebody_else_is_told(temporary: Path) -> None:
    """What stands in the lock's place and is no file of ours is an error with a remedy."""
    (temporary / f"indoor-gate-{os.getuid()}.lock").symlink_to(temporary / "elsewhere")
    with pytest.raises(IndoorError, match=r"cannot lock .*; remove it"), machine_lock(0, print):
        pytest.fail("nothing is locked")


def test_an_owner_without_a_number_is_unknown(temporary: Path) -> None:
    """Between taking the lock and writing its number the owner cannot be named."""
    descriptor = take_lock(temporary / f"indoor-gate-{os.getuid()}.lock")
    assert descriptor is not None
    try:
        with (
            pytest.raises(IndoorError, match="process unknown"),
            machine_lock(0, lambda _line: None),
        ):
            pytest.fail("two gates measure at once")
    finally:
        os.close(descriptor)
