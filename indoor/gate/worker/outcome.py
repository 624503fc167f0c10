"""What a launch measured, and which tests did not pass in it."""

from dataclasses import dataclass, field

from indoor.gate.records import LaunchTrace
from indoor.gate.worker.gauge import Gauge
from indoor.measure.process import ChildLostError

CONTROL = "control"
"""The name of the frozen workload's trace."""


@dataclass(frozen=True, kw_only=True)
class CellFailure:
    """A cell's test that did not pass, or measured nothing, on one arm.

    `outcome` is pytest's, or `missing` (not collected), `untimed` (nothing of it was timed), `lost`
    (its worker hung or died in it), `limited` (it has only as many rounds as it asks for, which
    the next launches heed), `costly` (the plan's minutes do not hold the launches that it takes).
    """

    cell: str
    arm: str
    outcome: str
    message: str


@dataclass(frozen=True, kw_only=True)
class LaunchOutcome:
    """What a launch measured, by cell; what failed; and the gauges of cells met for the first time.

    `stopped` is what broke the launch off, if something did: a lost worker, an interruption, a full
    disk. What was whole by then is here.
    """

    traces: dict[str, LaunchTrace] = field(default_factory=dict)
    failures: list[CellFailure] = field(default_factory=list)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    once_s: list[float] = field(default_factory=list)
    """Seconds of what later launches need not do again: finding gauges, and what became of that."""
    stopped: ChildLostError | KeyboardInterrupt | OSError | None = None
