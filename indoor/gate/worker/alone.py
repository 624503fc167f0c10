"""What one arm tells without another beside it: its cells, and whether a test passes."""

from dataclasses import dataclass, field, replace
from typing import Any

from indoor.gate.worker.outcome import LaunchRules
from indoor.gate.worker.process import DESCRIBE, Arm, Worker, WorkerLostError


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The cells of an arm's suite with their markers, and what the arm's Python is.

    `installed_from` holds the folders that installed modules were copied from, by import name.
    """

    cells: dict[str, dict[str, Any]]
    python: str
    packages: dict[str, str]
    installed_from: dict[str, str] = field(default_factory=dict)


def collect_cells(arm: Arm, rules: LaunchRules) -> Collected:
    """Return what the arm's suite holds.

    Raises:
        WorkerLostError: It cannot be collected; the reason is in the message.
        IndoorError: It was imported from elsewhere.
    """
    log = rules.logs / f"collect-{arm.name}.log"
    worker = Worker(arm, log, {DESCRIBE: "1"})
    try:
        message = worker.receive(rules.start_s)
        collected = Collected(
            cells=message["cells"],
            python=message["python"],
            packages=message["packages"],
            installed_from=message["installed_from"],
        )
        described = replace(arm, installed_from=collected.installed_from)
        rules.check_imports(described, message["modules"])
        return collected
    finally:
        worker.kill()


def passes_alone(arm: Arm, cell: str, rules: LaunchRules) -> bool:
    """Return whether a test passes where no other side's worker is in the middle of the same test.

    Two that want one port, lock file or database cannot run side by side, which is no failure of
    either.
    """
    worker = Worker(arm, rules.logs / f"alone-{arm.name}.log", {})
    try:
        known = worker.receive(rules.start_s)["cells"]
        if cell not in known:
            return False
        worker.send("order", cells=[cell])
        said = worker.receive(rules.start_s)
        if said["event"] == "ready":
            said = worker.ask("finish", rules.hang_s)
        return bool(said["outcome"] == "passed")
    except WorkerLostError:
        return False
    finally:
        worker.kill()
