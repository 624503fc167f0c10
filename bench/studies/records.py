"""What the gate's studies store, one file a study, and the tables of docs/gate-error-study.md."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from indoor.errors import IndoorError
from indoor.gate.records import GateVerdict
from indoor.gate.settings import PlanRules
from indoor.gate.wording import shorten
from indoor.measure.proportions import format_at_most, format_share, rate_at_most
from indoor.report.blocks import Column
from indoor.report.markdown import markdown_table

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
        return Tally.of(run.verdict for run in self.runs)


def render_studies(studies: Sequence[ReplayStudy | FalseAlarmStudy]) -> str:
    """Return the tables: rules against slowdowns for each replay, then the complete gates.

    Complete gates that differ in nothing but their seeds, such as those of two cores that ran side
    by side, are one row.

    Raises:
        IndoorError: A gate is in two of them.
    """
    parts = []
    complete: dict[str, FalseAlarmStudy] = {}
    for study in studies:
        if isinstance(study, ReplayStudy):
            parts += [_rules_table(study), _cells_table(study)]
            continue
        key = repr(replace(study, runs=()))
        runs = (*complete[key].runs, *study.runs) if key in complete else study.runs
        if len({run.seed for run in runs}) < len(runs):
            raise IndoorError(
                f"two studies of {study.title} hold gates of the same seed, expected each gate "
                "once; name each file once, and give each study a --seed of its own"
            )
        complete[key] = replace(study, runs=runs)
    if complete:
        parts.append(_complete_table(list(complete.values())))
    return "\n".join(parts)


def _rules_table(study: ReplayStudy) -> str:
    """Return how often each rule is red without a change, and finds one slowed cell."""
    slowdowns = sorted({rates.slowdown for rates in study.rates} - {0.0})
    rows = [["rule", "red without a change", "inconclusive", *map(_finds, slowdowns)]]
    for rule, name in {OURS: "**`indoor gate`**", **RIVALS}.items():
        found = {rates.slowdown: rates for rates in study.rates if rates.rule == rule}
        if 0.0 not in found:
            continue
        same = found[0.0].runs
        # Gates drawn from the same launches are no sample of a machine's, so no bound.
        red = f"{same.num_fail:,} of {same.num_total:,} ({_share(same)})"
        inconclusive = format_share(same.num_inconclusive / same.num_total) if rule == OURS else ""
        shares = [_share(*found[s].slowed.values()) if s in found else "" for s in slowdowns]
        rows.append([name, red, inconclusive, *shares])
    at_most = f", {study.max_launches} launches at most" if study.max_launches else ""
    return (
        f"{study.title}: {study.num_gates:,} replayed gates of {len(study.cells)} cells a column"
        f"{at_most}, {study.cpu_model}, {study.num_cores} cores\n\n{_markdown(rows)}"
    )


def _cells_table(study: ReplayStudy) -> str:
    """Return how noisy each cell is and how often ours finds it slower."""
    _, short = shorten([cell.name for cell in study.cells])
    ours = sorted((r for r in study.rates if r.rule == OURS), key=lambda rates: rates.slowdown)
    slowed = [rates for rates in ours if rates.slowdown]
    header = ["cell", "launches (pairs)", "sd of a pair", "sd of a launch", "lag-1 of rounds"]
    rows = [[*header, *(_finds(rates.slowdown) for rates in slowed)]]
    for cell in study.cells:
        rows.append(
            [
                short[cell.name],
                f"{cell.num_launches} ({cell.num_pairs:,})",
                f"{cell.pair_robust_sd:.2%}",
                f"{cell.launch_sd:.2%}",
                "" if cell.round_lag1 is None else f"{cell.round_lag1:.2f}",
                *(_share(rates.slowed.get(cell.name, Tally())) for rates in slowed),
            ]
        )
    real: dict[float, list[str]] = {}
    for one in study.really_slower:
        words = f"{short.get(one.cell, one.cell)} {one.measured:+.1%}"
        real.setdefault(one.slowdown, []).append(words)
    listed = "; ".join(f"+{slowdown:.0%}: {', '.join(cells)}" for slowdown, cells in real.items())
    slower = f"Really slower, by the pairs: {listed}. " if real else ""
    green = "; ".join(f"+{r.slowdown:.0%}: {_green(r.runs)}" for r in slowed)
    launches = "; ".join(
        f"{f'+{r.slowdown:.0%}' if r.slowdown else 'no change'}: {r.launches_mean:.1f} "
        f"(95% within {r.launches_p95:.0f})"
        for r in ours
        if r.launches_mean is not None and r.launches_p95 is not None
    )
    num_faster = sum(rates.runs.num_improved for rates in ours if not rates.slowdown)
    return (
        f"{_markdown(rows)}\n{slower}Green although a cell is slower: {green}. "
        f"Launches a gate: {launches}. Called faster without a change: {num_faster} gates.\n"
    )


def _complete_table(studies: Sequence[FalseAlarmStudy]) -> str:
    """Return the verdicts of complete gates of identical code."""
    header = ["complete gates of identical code", "false alarms", "called faster"]
    rows = [[*header, "inconclusive", "unreliable", "minutes a gate"]]
    for study in studies:
        title = f"{study.title}{', with a CPU hog' if study.hog else ''}"
        rows.append(_complete_row(title, study.runs))
    if len(studies) > 1:
        rows.append(_complete_row("**together**", [run for study in studies for run in study.runs]))
    return _markdown(rows)


def _complete_row(title: str, runs: Sequence[RunOutcome]) -> list[str]:
    tally = Tally.of(run.verdict for run in runs)
    hits, total = tally.num_fail, tally.num_total
    at_most = f", at most {format_at_most(rate_at_most(hits, total))}" if hits < total else ""
    return [
        title,
        f"{hits:,} of {total:,} ({_share(tally)}{at_most})" if total else "",
        str(tally.num_improved),
        str(tally.num_inconclusive),
        str(tally.num_unreliable),
        f"{sum(run.measure_s for run in runs) / 60 / max(1, total):.1f}",
    ]


def _finds(slowdown: float) -> str:
    return f"finds +{slowdown:.0%}"


def _share(*tallies: Tally) -> str:
    """Return the share of red gates, empty where there was none to be red."""
    total = sum(tally.num_total for tally in tallies)
    return format_share(sum(tally.num_fail for tally in tallies) / total) if total else ""


def _green(tally: Tally) -> str:
    not_green = tally.num_fail + tally.num_inconclusive + tally.num_unreliable
    return format_share(1 - not_green / tally.num_total)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    (first, *others), *body = rows
    return markdown_table((Column(first, "left"), *map(Column, others)), body) + "\n"
