"""What a gate run measured and decided, as it is stored."""

from dataclasses import dataclass, field
from enum import StrEnum

from indoor.gate.settings import PlanRules
from indoor.records import Interval, Sha256

GATE_SCHEMA_VERSION = 1
"""The version of a gate's JSON; a rename, a removal or a change of meaning counts it up."""


class GateVerdict(StrEnum):
    """What the gate says of a cell, of a check, or of the run."""

    PASS = "PASS"  # noqa: S105 - a verdict
    IMPROVED = "IMPROVED"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    UNRELIABLE = "INSTRUMENT UNRELIABLE"


@dataclass(frozen=True, kw_only=True)
class LaunchTrace:
    """One cell's rounds within one launch of fresh processes.

    `seconds` are those of one iteration, by arm (`base`, `head`, and `again` where a second copy of
    base ran); element i of all arms was taken side by side. `idle_share` is the CPU time that the
    waiting workers used during timed rounds, as a share of the rounds, averaged over them.
    """

    launch: int
    confirms: bool
    seconds: dict[str, tuple[float, ...]]
    idle_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class CellTrace:
    """All rounds of one cell, in the order of time."""

    name: str
    iterations: int
    launches: tuple[LaunchTrace, ...]


@dataclass(frozen=True, kw_only=True)
class CellReport:
    """The verdict on one cell.

    `ratio` is head's time / base's (above 1: slower) and `interval` its unadjusted 95% interval;
    the verdict itself uses bounds adjusted for all cells and looks, `slowdown_at_least` and
    `slowdown_at_most` (slowdowns, such as 0.012). None where nothing was measured, and in gates of
    before the ladder of tolerances.
    """

    name: str
    verdict: GateVerdict
    reason: str
    margin: float
    tolerance: float
    ratio: float | None = None
    interval: Interval | None = None
    num_pairs: int = 0
    num_launches: int = 0
    robust_sd: float | None = None
    """Of the pairs' log-ratios."""
    lag1: float | None = None
    base_s: float | None = None
    """Median seconds of one iteration on base."""
    advice: str = ""
    accepted: float | None = None
    """The widest rung that is a PASS."""
    rung: float | None = None
    """The smallest tolerance of the ladder that is cleared, accepted or not."""
    slowdown_at_least: float | None = None
    slowdown_at_most: float | None = None


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The verdict on something that needs no clock: `base` and `head` as a reader wants them."""

    name: str
    verdict: GateVerdict
    base: str
    head: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class InstrumentReport:
    """What the gate measured of itself.

    `again` are the cells of which a second copy of base ran against base, `control` a frozen
    workload in the workers of base and head. `max_idle_share` is the highest of all
    `LaunchTrace.idle_share`. `findings` says why the run is not to be trusted.
    """

    again: tuple[CellReport, ...]
    control: CellReport | None
    max_idle_share: float | None
    findings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SideIdentity:
    """Which code one arm ran: `label` is as the user named it; no paths of this machine."""

    label: str
    commit: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str] = field(default_factory=dict)
    """The installed distributions and their versions."""
    commit_unknown: str | None = None
    """Why there is no `commit`, as git says it; None: there is one, or not recorded."""


@dataclass(frozen=True, kw_only=True)
class GatedVariant:
    """A variant whose facts head's suite told, and what runs it; None: not told."""

    name: str
    runtime: str | None = None
    precision: str | None = None
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class ErrorBudget:
    """A run's chance of a false alarm, `PlanRules.alpha_fail`, by what may raise one."""

    timing: float
    accuracy: float = 0.0
    memory: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ChangedTest:
    """A cell, or the plugin of facts, that head measures by other code than base does."""

    name: str
    what: str
    """Which parts of which files."""


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """A whole gate run; `partial` where it was interrupted or something broke."""

    schema_version: int
    verdict: GateVerdict
    reason: str
    partial: bool
    base: SideIdentity
    head: SideIdentity
    cpu_model: str
    num_cores: int
    system: str
    began_at: str
    """ISO 8601 in UTC."""
    prepare_s: float
    measure_s: float
    plan: PlanRules
    seed: int
    cells: tuple[CellReport, ...]
    checks: tuple[CheckReport, ...]
    vanished: tuple[str, ...]
    new: tuple[str, ...]
    instrument: InstrumentReport
    traces: tuple[CellTrace, ...] = ()
    notes: tuple[str, ...] = ()
    variants: tuple[GatedVariant, ...] = ()
    budget: ErrorBudget | None = None
    """None: nothing was compared, or a run of before, whose timings alone spent it all."""
    rule_changes: tuple[str, ...] = ()
    """What head's settings and marks say otherwise than those that this run was judged by."""
    changed: tuple[ChangedTest, ...] = ()
    changes_accepted: bool = False
    """Whether somebody looked at them."""
    content_sha256: Sha256 | None = field(default=None, compare=False)
    """The hash of its file without this one; `write_record` works it out."""
