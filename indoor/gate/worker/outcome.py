"""What launches share, and what one of them measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from indoor.gate.records import LaunchTrace
from indoor.gate.settings import PlanRules
from indoor.gate.worker.process import Arm, WorkerLostError

CONTROL = "control"
"""The name of the frozen workload's trace."""

NUM_DISCARDED = 1
"""Rounds at the start of a turn: the other side's turn has emptied the caches."""


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """How a cell is measured in every launch, found once on base."""

    iterations: int
    num_pairs: int
    pair_s: float
    num_discarded: int = NUM_DISCARDED
    other_share: float = 0.0
    """Of a round's CPU time, what other threads than the test's take; the larger of both sides."""

    @property
    def discarded_s(self) -> float:
        """Seconds that a turn's discarded rounds take."""
        return self.pair_s / 2 * self.num_discarded / (1 + self.num_discarded)


@dataclass(frozen=True, kw_only=True)
class CellFailure:
    """A cell's test that did not pass, or measured nothing, on one arm."""

    cell: str
    arm: str
    outcome: str
    message: str


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
class LaunchOutcome:
    """What a launch measured, by cell; what failed; and the gauges of cells met for the first time.

    `stopped` is what broke the launch off, if something did: a lost worker, an interruption, a full
    disk. What was whole by then is here.
    """

    traces: dict[str, LaunchTrace] = field(default_factory=dict)
    failures: list[CellFailure] = field(default_factory=list)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    stopped: WorkerLostError | KeyboardInterrupt | OSError | None = None
