"""The two sides of a gate: their trees, their Pythons, and how pytest is called in each."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from indoor.errors import IndoorError
from indoor.gate.settings import GateConfig
from indoor.gate.sides.imports import check_imports, import_paths
from indoor.gate.sides.repository import find_repository, find_root, uncopied_parts
from indoor.gate.sides.suite_code import same_code
from indoor.gate.sides.trees import (
    LOCK,
    Tree,
    base_tree,
    head_tree,
    new_folder,
    remove_leftovers,
)
from indoor.gate.worker import PLUGIN, Arm, Collected, install_plugin
from indoor.locks import take_lock
from indoor.machine import files_sha256
from indoor.measure.worker import python

FACTS_PLUGIN = "indoor_gate_facts"
HOME = "{home}"
"""Stands in the suite's arguments for a folder that belongs to one side's code alone."""

_SOURCES = frozenset({".py", ".json", ".toml"})
_NO_SOURCES = frozenset({"tests", "data", "results"})

_SCRATCH = "indoor-gate-scratch-"

_IMPORT_S = 120
"""For a Python to import pytest, on a slow disk as well."""

_PROBE = """
import runpy, sys
import pytest, pytest_benchmark
print(pytest_benchmark.__version__, flush=True)
sys.exit(runpy.run_path(sys.argv[1])["lacking"]())
"""
"""Asks a Python whether the worker's plugin would find there what it needs."""

NUM_HOMES = 6
"""Kept in the cache; a home of the default suite holds about 150 MB."""


@dataclass(frozen=True, kw_only=True)
class GateJob:
    """What to compare, by which rules.

    `base` and `head` are revisions; without `base` both sides run the same tree, each in an
    environment of its own, and without `head` that is the working tree. `base_root` and
    `head_root` name trees that lie ready instead. `say` hears one line at a time.
    """

    start: Path
    base: str | None = None
    head: str | None = None
    base_root: Path | None = None
    head_root: Path | None = None
    base_python: Path | None = None
    head_python: Path | None = None
    config: GateConfig = field(default_factory=GateConfig)
    rule_changes: tuple[str, ...] = ()
    """What head's settings say otherwise, one sentence each (`choose_rules`)."""
    head_allows: tuple[str, ...] = ()
    """Globs of cells that by head's settings alone may vanish."""
    use_head_marks: bool = False
    """Whether the limits in marks are head's rather than base's."""
    accept_changed: bool = False
    """Whether somebody looked at the tests that head changed."""
    arguments: tuple[str, ...] = ()
    seed: int = 0
    out: Path | None = None
    use_facts: bool = True
    lock_wait_s: float = 3600.0
    cache: Path | None = None
    say: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Both trees, and a folder for logs and plugins that goes when the gate ends."""

    base: Tree
    head: Tree
    scratch: Path
    notes: tuple[str, ...]
    job: GateJob
    plugins: Path
    repository: Path | None = None
    """Both sides may be worktrees of it."""
    installed_from: dict[Path, Mapping[str, str]] = field(default_factory=dict)
    """What `check_imports` heard of each Python; workers tell it only when they collect."""
    checked: set[tuple[Path, Path, str, str]] = field(default_factory=set)
    """Tree, Python, name and file of modules that are fine: each launch loads the same ones."""

    def tree(self, name: str) -> Tree:
        """Return the tree that an arm runs: `base`, `head`, or base's for its second copy."""
        return self.head if name == "head" else self.base

    def arm(
        self,
        name: str,
        extra: tuple[str, ...] = (),
        home: Path | None = None,
        plugins: tuple[str, ...] = (PLUGIN,),
    ) -> Arm:
        """Return an arm: `base`, `head` or `again`; `extra` words come last on its command line."""
        tree, config = self.tree(name), self.job.config
        words = [*config.arguments, *self.job.arguments, *extra]
        # Without a home it is for collecting alone, which prepares nothing.
        home = home or self.scratch / f"home-{name}"
        return Arm(
            name=name,
            root=tree.root,
            python=tree.python,
            words=(config.suite, "-q", *(word.replace(HOME, str(home)) for word in words)),
            search_path=(self.plugins, *import_paths(tree.root, config.suite, config.paths)),
            environment=config.environment,
            plugins=plugins,
        )

    def has_facts(self) -> bool:
        """Return whether there is a plugin that collects what needs no clock."""
        return (self.plugins / f"{FACTS_PLUGIN}.py").is_file()

    def changed_facts(self) -> str | None:
        """Return the plugin's path where base has another; None where both have the same."""
        path = self.job.config.facts
        if path is None or not self.has_facts() or not (self.base.root / path).is_file():
            return None
        is_same = same_code(self.base.root / path, self.head.root / path)
        return None if is_same else path

    def needs_home(self) -> bool:
        """Return whether the suite's arguments ask for a folder of the side's own."""
        return any(HOME in word for word in (*self.job.config.arguments, *self.job.arguments))

    def home(self, name: str, collected: Collected) -> Path:
        """Return the folder for what a side prepares; the same code finds it again.

        Its name hashes the side's sources, environment and arguments, so nothing that other code
        made is ever taken for this side's own.
        """
        words = repr(self.arm(name).words[2:]).replace(str(self.scratch), "")
        packages = sorted(collected.packages.items())
        sources = files_sha256(_sources(self.tree(name).root, self.job.out))
        key = repr((sources, collected.python, packages, words))
        home = _cache(self.job) / hashlib.sha256(key.encode()).hexdigest()[:24]
        home.mkdir(parents=True, exist_ok=True)
        home.touch()
        return home

    def check_imports(self, arm: Arm, modules: Mapping[str, str]) -> None:
        """Raise IndoorError where an arm's modules are not its own tree's."""
        own, other = (self.head, self.base) if arm.name == "head" else (self.base, self.head)
        if arm.installed_from:
            self.installed_from[arm.python] = arm.installed_from
        files = {(own.root, arm.python, name, file) for name, file in modules.items()}
        check_imports(
            own,
            other,
            {name: file for _, _, name, file in files - self.checked},
            list(self.plugins.rglob("*.py")),
            suite=self.job.config.suite,
            paths=self.job.config.paths,
            repository=self.repository,
            installed_from=self.installed_from.get(arm.python),
        )
        self.checked.update(files)


@contextmanager
def open_sides(job: GateJob) -> Iterator[Sides]:
    """Lay both trees ready for as long as the block runs.

    Raises:
        IndoorError: A revision, a Python or the suite does not exist; one line.
    """
    base_python = _python(job.base_python, "--base-python")
    head_python = _python(job.head_python, "--head-python")
    with ExitStack() as stack:
        notes: tuple[str, ...] = ()
        repository = None
        if job.base_root is not None:
            base = head_tree(job.base_root, base_python, label="base")
            head = head_tree(job.head_root or job.base_root, head_python, label="head")
        elif job.base is None:
            root = find_root(job.start)
            notes = ("both sides run the working tree's own code; only the environments differ",)
            head = head_tree(root, head_python, label="working tree, head's environment")
            base = head_tree(root, base_python, label="working tree, base's environment")
        else:
            repository = find_repository(job.start)
            notes = (*remove_leftovers(repository), *uncopied_parts(repository))
            base = stack.enter_context(base_tree(repository, job.base, base_python))
            head = (
                head_tree(repository, head_python)
                if job.head is None
                else stack.enter_context(base_tree(repository, job.head, head_python))
            )
            if _device(base.root) != _device(head.root):
                notes += (
                    "base's worktree lies on another file system than head: benchmarks that read "
                    "files of their tree may differ by that alone; set TMPDIR to a folder on the "
                    "same disk as the working tree",
                )
        for folder in job.config.paths:
            if not any((tree.root / folder).is_dir() for tree in (base, head)):
                raise IndoorError(
                    f"paths: there is no folder {folder} in base or head; expected one with code "
                    "to import, from the root; correct gate.toml"
                )
        _remove_old_scratch()
        scratch, in_use = new_folder(_SCRATCH)
        stack.callback(os.close, in_use)
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        plugins = scratch / "plugins"
        plugins.mkdir()
        install_plugin(plugins)
        if job.config.facts is not None and job.use_facts:
            source = head.root / job.config.facts
            if not source.is_file():
                raise IndoorError(
                    f"facts: there is no {job.config.facts} in head; expected a pytest plugin; "
                    "correct gate.toml, or pass --no-facts"
                )
            shutil.copyfile(source, plugins / f"{FACTS_PLUGIN}.py")
        _prune_homes(_cache(job))
        yield Sides(
            base=base,
            head=head,
            scratch=scratch,
            notes=notes,
            job=job,
            plugins=plugins,
            repository=repository,
        )


def _python(given: Path | None, option: str) -> Path:
    if given is None:
        return Path(sys.executable)
    # Not resolved: a virtual environment's python is a link, and its place says which it is.
    path = given.expanduser().absolute()
    if path.is_dir():
        path = path / "bin" / "python"
    if not path.is_file():
        raise IndoorError(
            f"{option} {given}: there is no such file; expected the python of an environment, "
            "such as .venv-old/bin/python"
        )
    try:
        done = subprocess.run(  # noqa: S603 - the user's own interpreter
            [path, "-c", _PROBE, python.__file__],
            capture_output=True,
            check=False,
            timeout=_IMPORT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IndoorError(
            f"{option} {given}: it cannot be run ({error}); expected the python of an environment"
        ) from error
    if done.returncode != 0:
        reason = _last_line(done.stderr.decode(errors="replace"))
        if done.stdout.strip():
            version = _last_line(done.stdout.decode(errors="replace"))
            reason = f"pytest-benchmark {version} there: {reason}"
        raise IndoorError(
            f"{option} {given}: it cannot run a suite ({reason}); expected a Python "
            "that has pytest and pytest-benchmark>=5.3,<6; install them there"
        )
    return path


def _device(root: Path) -> int:
    """Return the number of the file system that a folder lies on."""
    return root.stat().st_dev


def _sources(root: Path, out: Path | None) -> dict[str, Path]:
    """Return the tree's source files outside tests, data and environments, by name.

    Left out are the gate's own `out`, which every run changes, and what an editor hides.
    """
    result = out.parent.resolve() / out.name if out is not None else None
    found: dict[str, Path] = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if _holds_sources(Path(folder), name, root)]
        for path in (Path(folder) / name for name in files if not name.startswith(".")):
            # A link of Emacs's leads nowhere, and a pipe never ends.
            if path.suffix in _SOURCES and path != result and path.is_file():
                found[path.relative_to(root).as_posix()] = path
    return found


def _holds_sources(folder: Path, name: str, root: Path) -> bool:
    if name.startswith(".") or name == "__pycache__" or (folder / name / "pyvenv.cfg").exists():
        return False
    return folder != root or name not in _NO_SOURCES


def _remove_old_scratch() -> None:
    """Remove the logs of gates that were killed; those of one that runs are locked."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            if (lock := take_lock(folder / LOCK)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _cache(job: GateJob) -> Path:
    """Return the folder of all homes."""
    return job.cache or Path(platformdirs.user_cache_dir("indoor")) / "gate"


def _prune_homes(cache: Path) -> None:
    """Remove the homes that were not used for longest; another gate cannot be using them."""
    if cache.is_dir():
        homes = sorted((p for p in cache.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
        for home in homes[:-NUM_HOMES]:
            shutil.rmtree(home, ignore_errors=True)


def _last_line(text: str) -> str:
    """Return the last line that a Python wrote, which gives its reason."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "without a reason"
