"""What the gate's studies count and store: verdicts by rule, and one file a study."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from indoor.errors import IndoorError
from indoor.gate.records import GateVerdict
from indoor.gate.settings import PlanRules

OURS = "ours"
"""The name of the gate's own rule among the rules of a study."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How often each verdict was given; the usual rules know only red (FAIL) and green (PASS).

    What is none of the four counted by name is PASS.
    """

    num_total: int = 0
    num_fail: int = 0
    num_improved: int = 0
    num_inconclusive: int = 0
    num_unreliable: int = 0

    def plus(self, verdict: GateVerdict) -> "Tally":
        """Return the tally with one verdict more."""
        return replace(
            self,
            num_total=self.num_total + 1,
            num_fail=self.num_fail + (verdict is GateVerdict.FAIL),
            num_improved=self.num_improved + (verdict is GateVerdict.IMPROVED),
            num_inconclusive=self.num_inconclusive + (verdict is GateVerdict.INCONCLUSIVE),
            num_unreliable=self.num_unreliable + (verdict is GateVerdict.UNRELIABLE),
        )

    def joined(self, other: "Tally") -> "Tally":
        """Return both tallies as one."""
        return Tally(
            num_total=self.num_total + other.num_total,
            num_fail=self.num_fail + other.num_fail,
            num_improved=self.num_improved + other.num_improved,
            num_inconclusive=self.num_inconclusive + other.num_inconclusive,
            num_unreliable=self.num_unreliable + other.num_unreliable,
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
    num_launches: int
    """The most that any cell had."""
    measure_s: float


@dataclass(frozen=True, kw_only=True)
class FalseAlarmStudy:
    """Complete gates of identical code, one after another on one machine.

    With `hog`, another program took a core away at random moments.
    """

    study: Literal["gate-false-alarms"] = "gate-false-alarms"
    title: str
    cpu_model: str
    num_cores: int
    commit: str | None
    hog: bool
    plan: PlanRules
    runs: tuple[RunOutcome, ...] = ()

    @property
    def tally(self) -> Tally:
        """How often each verdict was given."""
        tally = Tally()
        for run in self.runs:
            tally = tally.plus(run.verdict)
        return tally


def join_studies(studies: Iterable[FalseAlarmStudy]) -> list[FalseAlarmStudy]:
    """Return studies that differ in nothing but their gates as one, in the order of their first.

    Args:
        studies: Such as those of two cores that ran side by side.

    Raises:
        IndoorError: A gate is in two of them.
    """
    joined: dict[str, FalseAlarmStudy] = {}
    for study in studies:
        key = repr(replace(study, runs=()))
        runs = (*joined[key].runs, *study.runs) if key in joined else study.runs
        seeds = [run.seed for run in runs]
        if len(set(seeds)) < len(seeds):
            raise IndoorError(
                f"two studies of {study.title} hold gates of the same seed, expected each gate "
                "once; name each file once, and give each study a --seed of its own"
            )
        joined[key] = replace(study, runs=runs)
    return list(joined.values())
