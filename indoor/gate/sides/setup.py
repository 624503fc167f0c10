"""The two sides of a gate: their trees, their Pythons, and how pytest is called in each."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import platformdirs

from indoor.errors import IndoorError
from indoor.gate.settings import GateConfig
from indoor.gate.sides.homes import prune_homes, sources_of
from indoor.gate.sides.ignored import (
    BY_PREPARE,
    COMPILED,
    copy_ignored,
    remedy,
    unshared_modules,
)
from indoor.gate.sides.imports import check_imports, import_paths
from indoor.gate.sides.neighbours import installed_neighbours
from indoor.gate.sides.pieces import same_code
from indoor.gate.sides.pythons import (
    active,
    find_python,
    own_environment,
    packages_of,
    run_prepare,
)
from indoor.gate.sides.repository import find_repository, find_root, uncopied_parts
from indoor.gate.sides.trees import (
    Tree,
    base_tree,
    head_tree,
    new_folder,
    remove_leftovers,
    remove_old_folders,
)
from indoor.gate.worker import PLUGIN, Arm, Collected, install_plugin
from indoor.machine import files_sha256

FACTS_PLUGIN = "indoor_gate_facts"
HOME = "{home}"
"""Stands in the suite's arguments for a folder that belongs to one side's code alone."""

_SCRATCH = "indoor-gate-scratch-"


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
    environments: dict[Path, bool] = field(default_factory=dict)
    """Folders of the working tree, and whether they are an environment's."""
    remarks: list[str] = field(default_factory=list)
    """What base's tree does without, and what both take from an installation; a sentence each."""

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
        search_path = (self.plugins, *import_paths(tree.root, config.suite, config.paths))
        environment: dict[str, str] = {}
        if own := self._own_environment(name):
            # What was installed there was built from the tree, and the tree may hold half of it.
            search_path = (self.plugins, packages_of(own), *search_path[1:])
            environment = {**active(tree.python), "PYTHONSAFEPATH": "1"}
        return Arm(
            name=name,
            root=tree.root,
            python=tree.python,
            words=(config.suite, "-q", *(word.replace(HOME, str(home)) for word in words)),
            search_path=search_path,
            environment={**environment, **config.environment},
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
        sources = files_sha256(sources_of(self.tree(name).root, self.job.out))
        key = repr((sources, collected.python, packages, words))
        home = _cache(self.job) / hashlib.sha256(key.encode()).hexdigest()[:24]
        home.mkdir(parents=True, exist_ok=True)
        home.touch()
        return home

    def prepare(self, name: str) -> None:
        """Run the settings' command in a side's tree, if there is one.

        Raises:
            ChildLostError: It failed.
        """
        config, tree = self.job.config, self.tree(name)
        if config.prepare is not None:
            self.job.say(f"{name}: {config.prepare}")
            run_prepare(
                config.prepare,
                name,
                tree,
                config.environment,
                log=self.scratch / f"prepare-{name}.log",
                timeout_s=config.start_s,
            )

    def remedy(self, name: str, reason: str) -> str:
        """Return what would help a side that said so, as `; ...`; empty where nothing is known."""
        return remedy(self.repository, self.tree(name).root, reason)

    def _own_environment(self, name: str) -> Path | None:
        if not self.job.config.own_environment:
            return None
        return self.tree(name).python.parent.parent

    def _check_ignored(self, files: Iterable[str]) -> None:
        """Refuse compiled code of head that git ignores and base lacks; note other modules."""
        if self.job.config.prepare or not self.repository:
            return
        root = self.repository.resolve()
        if self.head.root != root:
            return
        for name in unshared_modules(root, self.base.root, files, self.environments):
            if Path(name).suffix in COMPILED:
                raise IndoorError(
                    f"head imported {name}, which git ignores and base's tree lacks, so that base "
                    f"would run other code; expected both sides built alike; {BY_PREPARE}"
                )
            self.remarks.append(
                f"head imported {name}, which git ignores and base's tree lacks: name it in copy, "
                f"or {BY_PREPARE}"
            )

    def _note_neighbours(self, arm: Arm, modules: Mapping[str, str]) -> None:
        """Note the tree's own code that both sides take from an installation."""
        own = self._own_environment(arm.name)
        foreign = {n: f for n, f in modules.items() if not own or not Path(f).is_relative_to(own)}
        found = installed_neighbours(arm.root.resolve(), foreign, arm.search_path)
        self.remarks.extend(
            f"{module} is installed, and that copy is what both sides run, though the tree has it "
            f"in {folder}: have its changes measured with paths = ['{folder}'] in gate.toml"
            for folder, module in found.items()
        )

    def check_imports(self, arm: Arm, modules: Mapping[str, str]) -> None:
        """Raise IndoorError where an arm's modules are not its own tree's."""
        own, other = (self.head, self.base) if arm.name == "head" else (self.base, self.head)
        if arm.installed_from:
            self.installed_from[arm.python] = arm.installed_from
        files = {(own.root, arm.python, name, file) for name, file in modules.items()}
        fresh = {name: file for _, _, name, file in files - self.checked}
        check_imports(
            own,
            other,
            fresh,
            list(self.plugins.rglob("*.py")),
            suite=self.job.config.suite,
            paths=self.job.config.paths,
            repository=self.repository,
            installed_from=self.installed_from.get(arm.python),
            environment=self._own_environment(arm.name),
        )
        if arm.name == "head":
            self._check_ignored(fresh.values())
            self._note_neighbours(arm, fresh)
        self.checked.update(files)


@contextmanager
def open_sides(job: GateJob) -> Iterator[Sides]:
    """Lay both trees ready for as long as the block runs.

    Raises:
        IndoorError: A revision, a Python or the suite does not exist; one line.
    """
    base_python = find_python(job.base_python, "--base-python")
    head_python = find_python(job.head_python, "--head-python")
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
            notes = remove_leftovers(repository)
            if job.config.prepare is None:
                notes += uncopied_parts(repository)
            base = stack.enter_context(base_tree(repository, job.base, base_python))
            head = (
                head_tree(repository, head_python)
                if job.head is None
                else stack.enter_context(base_tree(repository, job.head, head_python))
            )
            for tree in (base, head):
                if tree.root != repository.resolve():
                    copy_ignored(repository, job.config.copy, tree.root)
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
        remove_old_folders()
        scratch, in_use = new_folder(_SCRATCH)
        stack.callback(os.close, in_use)
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        if job.config.own_environment:
            base, head = (
                replace(tree, python=own_environment(tree.python, scratch / name))
                for name, tree in (("own-base", base), ("own-head", head))
            )
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
        prune_homes(_cache(job))
        yield Sides(
            base=base,
            head=head,
            scratch=scratch,
            notes=notes,
            job=job,
            plugins=plugins,
            repository=repository,
        )


def _device(root: Path) -> int:
    """Return the number of the file system that a folder lies on."""
    return root.stat().st_dev


def _cache(job: GateJob) -> Path:
    """Return the folder of all homes."""
    return job.cache or Path(platformdirs.user_cache_dir("indoor")) / "gate"
