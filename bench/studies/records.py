"""What the gate's studies store, one file a study; `gate_tables` makes tables of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from indoor.gate.records import GateVerdict
from indoor.gate.settings import PlanRules

OURS = "ours"
"""The name of the gate's own rule among the rules of a study."""

RIVALS = {
    "median-5": "`--benchmark-compare-fail=median:5%`",
    "median-10": "`--benchmark-compare-fail=median:10%`",
    "min-5": "`--benchmark-compare-fail=min:5%`",
    "mann-whitney": "Mann-Whitney, p < 0.002",
    "mann-whitney-5": "Mann-Whitney, p < 0.002, factor 1.05",
    "asv": "Mann-Whitney as in asv: p < 0.002, factor 1.1",
}
"""Every usual rule's key and what it is called in a table."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How often each verdict was given; what is none of the four counted by name is PASS.

    The usual rules know only red (FAIL) and green (PASS).
    """

    num_total: int = 0
    num_fail: int = 0
    num_improved: int = 0
    num_inconclusive: int = 0
    num_unreliable: int = 0

    @staticmethod
    def of(verdicts: Iterable[GateVerdict]) -> "Tally":
        """Count the verdicts."""
        counts = Counter(verdicts)
        return Tally(
            num_total=counts.total(),
            num_fail=counts[GateVerdict.FAIL],
            num_improved=counts[GateVerdict.IMPROVED],
            num_inconclusive=counts[GateVerdict.INCONCLUSIVE],
            num_unreliable=counts[GateVerdict.UNRELIABLE],
        )


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one rule said of gates in which one cell, each in turn, was slower by `slowdown`.

    `runs` are the verdicts on whole runs, `slowed` those on the cells that were slower, by cell
    (empty where nothing was). `launches_mean` and `launches_p95` count the launches of a gate,
    those that confirm included; None for the usual rules.
    """

    rule: str
    slowdown: float
    runs: Tally
    slowed: dict[str, Tally]
    rungs: dict[str, int] = field(default_factory=dict)
    """How many runs were not red and cleared that rung at best, accepted or not, by its name such
    as 5%; empty for the usual rules and for studies of before the ladder."""
    launches_mean: float | None = None
    launches_p95: float | None = None


@dataclass(frozen=True, kw_only=True)
class CellNoise:
    """How noisy a cell's recorded launches are; both spreads are of log-ratios."""

    name: str
    num_launches: int
    num_pairs: int
    pair_robust_sd: float
    median: float
    """The median ratio - 1 of head over base."""
    launch_sd: float
    """Of the launches' medians: what more pairs of the same processes do not remove."""
    round_lag1: float | None
    """Autocorrelation of base's rounds within a launch; None where they are all equal."""


@dataclass(frozen=True, kw_only=True)
class Slowed:
    """By how much a cell really was slower where it was made slower by `slowdown`."""

    slowdown: float
    cell: str
    measured: float


@dataclass(frozen=True, kw_only=True)
class ReplayStudy:
    """Replayed gates on the traces of one machine."""

    study: Literal["gate-replay"] = "gate-replay"
    title: str
    cpu_model: str
    num_cores: int
    commit: str | None
    sources: tuple[str, ...]
    """Names of the files that hold the traces."""
    plan: PlanRules
    seed: int
    num_gates: int
    rival_launches: int
    max_launches: int | None = None
    """Those that the gate's minutes hold; None where only the plan ended a gate."""
    measure: str = "none"
    """What was done to the launches against noise, one of `bench.studies.noise.MEASURES`."""
    cells: tuple[CellNoise, ...]
    rates: tuple[Rates, ...]
    really_slower: tuple[Slowed, ...] = ()
    """Empty where slowdowns were computed into the traces of identical code."""


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How one complete gate of identical code ended."""

    seed: int
    verdict: GateVerdict
    reason: str
    cells: dict[str, GateVerdict]
    rung: float | None = None
    """The rung of the ladder that all cells cleared; None where one cleared none."""
    num_launches: int
    """The most that any cell had."""
    measure_s: float


@dataclass(frozen=True, kw_only=True)
class FalseAlarmStudy:
    """Complete gates of identical code, one after another on one machine.

    With `hog`, another program took a core away at random moments. Gates add up while the code that
    decides is the same: `deciding` is its hash, None for studies of before.
    """

    study: Literal["gate-false-alarms"] = "gate-false-alarms"
    title: str
    cpu_model: str
    num_cores: int
    commit: str | None
    hog: bool
    plan: PlanRules
    deciding: str | None = None
    runs: tuple[RunOutcome, ...] = ()

    @property
    def kind(self) -> str:
        """What was gated: the title as far as it names no machine and no plan."""
        return self.title.partition(",")[0].partition(" (")[0]

    @property
    def tally(self) -> Tally:
        """How often each verdict was given."""
        return Tally.of(run.verdict for run in self.runs)
