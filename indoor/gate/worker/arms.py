"""One side of the comparison: how its pytest is started, which cells it has, what passes in it."""

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from indoor.errors import IndoorError
from indoor.gate.settings import PlanRules
from indoor.machine import unredirected_environment
from indoor.measure import worker as plugin_source
from indoor.measure.process import ChildLostError, ChildProcess

PLUGIN = "indoor_gate_worker"
OPTIONS_PLUGIN = f"{PLUGIN}.options"

_NOT_RUNNABLE = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)
_DROPPED_VARIABLES = ("PYTEST_", "COV_", "COVERAGE_", "INDOOR_GATE_", "INDOOR_LINK")
_KEPT_VARIABLES = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")
"""What a user says to every pytest; the others are of the one that the gate may run in."""

SLEEPING_THREADS: Mapping[str, str] = {"OPENBLAS_THREAD_TIMEOUT": "4", "KMP_BLOCKTIME": "0"}
"""Where the user says nothing: threads that wait for work sleep at once. By default OpenBLAS's spin
for 2^26 cycles, some 30 ms, and those of LLVM's and Intel's OpenMP for 200 ms: within the turn of
the other side."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of the comparison: a tree, the Python that runs it, and pytest's words.

    `search_path` becomes PYTHONPATH, so that the tree's packages are found before installed ones;
    folders that the settings' `environment` names there come behind.
    `installed_from` holds the folders that the Python's modules were copied from, by import name,
    once a worker has told them.
    """

    name: str
    root: Path
    python: Path
    words: tuple[str, ...]
    search_path: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = (PLUGIN,)
    installed_from: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Return the process's command line."""
        plugins = [word for name in (*self.plugins, OPTIONS_PLUGIN) for word in ("-p", name)]
        # Without --rootdir, settings in a folder above would name head's cells otherwise. The
        # worker's own plugin stands in for pytest-codspeed's, whose fixture it could not serve.
        own = [f"--rootdir={self.root}", "-p", "no:codspeed", *plugins]
        return [str(self.python), "-m", "pytest", *own, *self.words]

    def variables(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return the process's whole environment."""
        known = unredirected_environment()
        kept = {
            k: v
            for k, v in known.items()
            if k in _KEPT_VARIABLES or not k.startswith(_DROPPED_VARIABLES)
        }
        named = self.environment.get("PYTHONPATH")
        path = os.pathsep.join([*map(str, self.search_path), *([named] if named else [])])
        said = {**SLEEPING_THREADS, **kept, **self.environment, **extra}
        return {**said, "PYTHONPATH": path}


@dataclass(frozen=True, kw_only=True)
class LaunchRules:
    """What all launches share; times in seconds.

    `check_imports` hears which files an arm's modules came from, and raises IndoorError where they
    are not its own tree's.
    """

    plan: PlanRules
    start_s: float
    hang_s: float
    logs: Path
    check_imports: Callable[[Arm, Mapping[str, str]], None]


@dataclass(frozen=True, kw_only=True)
class TestCode:
    """Where a cell's test, its fixtures and its conftests lie.

    `names` are what `files` call them; that of a method is dotted.
    """

    __test__ = False

    files: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The cells of an arm's suite with their markers, and what the arm's Python is.

    `installed_from` holds the folders that installed modules were copied from, by import name;
    `code` says where each cell's test, fixtures and conftests lie.
    `whole` are cells that a mark times as a whole, without the fixture `benchmark`; `unmeasured`
    carry the gate's mark and are no cells.
    """

    cells: dict[str, dict[str, Any]]
    python: str
    packages: dict[str, str]
    installed_from: dict[str, str] = field(default_factory=dict)
    code: dict[str, TestCode] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()


def install_plugin(folder: Path) -> None:
    """Copy the worker's plugin to a folder, so that a suite's Python finds it by its name there."""
    place = folder / PLUGIN
    place.mkdir()
    for file in sorted(Path(plugin_source.__file__).parent.glob("*.py")):
        shutil.copyfile(file, place / file.name)


def start_worker(arm: Arm, log: Path, environment: Mapping[str, str]) -> ChildProcess:
    """Return an arm's pytest with the worker's plugin, just started; it tells its cells first.

    Raises:
        IndoorError: Its Python cannot be run.
        OSError: The machine cannot start it: a full disk, too many processes.
    """
    try:
        return ChildProcess(
            arm.name,
            arm.command(),
            log=log,
            folder=arm.root,
            environment=arm.variables(environment),
        )
    except OSError as error:
        if error.errno not in _NOT_RUNNABLE:
            raise
        raise IndoorError(
            f"cannot start {arm.python}: {error.strerror or error}; "
            "expected a Python that has pytest and pytest-benchmark"
        ) from error


def collect_cells(arm: Arm, rules: LaunchRules) -> Collected:
    """Return what the arm's suite holds.

    Raises:
        ChildLostError: It cannot be collected; the reason is in the message.
        IndoorError: It was imported from elsewhere.
    """
    worker = start_worker(arm, rules.logs / f"collect-{arm.name}.log", {})
    try:
        told = worker.receive(rules.start_s)
        described = worker.ask("describe", rules.start_s)
        described.pop("event")
        code = {
            name: TestCode(files=tuple(one["files"]), names=tuple(one["names"]))
            for name, one in described.pop("code").items()
        }
        collected = Collected(
            cells=told["cells"],
            code=code,
            whole=tuple(told["whole"]),
            unmeasured=tuple(told["unmeasured"]),
            **described,
        )
        arm = replace(arm, installed_from=collected.installed_from)
        rules.check_imports(arm, told["modules"])
        return collected
    finally:
        worker.kill()


def changing_names(arm: Arm, known: Collected, rules: LaunchRules) -> frozenset[str]:
    """Return the cells that only one of two collections of an arm's suite has.

    Their ids hold something of the process, such as a random number or the time.

    Args:
        arm: One side.
        known: What its first collection told.
        rules: What all launches share.

    Raises:
        ChildLostError: It cannot be collected again.
        IndoorError: It was imported from elsewhere.
    """
    return frozenset(known.cells.keys() ^ collect_cells(arm, rules).cells.keys())


def passes_without_other_sides(arm: Arm, cell: str, rules: LaunchRules) -> bool:
    """Return whether a test passes where no other side's worker is in the middle of the same test.

    Two that want one port, lock file or database cannot run side by side, which is no failure of
    either.
    """
    worker = start_worker(arm, rules.logs / f"alone-{arm.name}.log", {})
    try:
        if cell not in worker.receive(rules.start_s)["cells"]:
            return False
        said = worker.ask("order", rules.start_s, cells=[cell], peers=[])
        if said["event"] == "ready":
            said = worker.ask("finish", rules.hang_s)
        return bool(said["outcome"] == "passed")
    except ChildLostError:
        return False
    finally:
        worker.kill()
