"""How well the chain of gates tells what changed: histories drawn from recorded launches.

Every link is a gate of its own: launches of identical code, recorded on ResNet-50's cells, drawn
one by one as in the replay study, with what truly changed between its commits added to their pairs.

Example:
    python -m bench.studies.history --draws 1000 --out history-epyc.json
"""

import argparse
import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.options import ROOT
from bench.studies import run
from bench.studies.reading import read_reports
from bench.studies.replay import Pool, join_runs
from indoor.gate.decide.evidence import Summary, summarize
from indoor.gate.records import GateVerdict
from indoor.gate.worker import CONTROL
from indoor.history.history import ALPHA, tell_history
from indoor.history.records import Change, KeptCell, KeptCommit, KeptGate
from indoor.records import write_record

STUDIES = ROOT / "results" / "studies"
TRACES = {
    "Zen 4": ("gate-traces-epyc-zen4-2-no-change", "gate-traces-epyc-zen4-3-environments"),
    "Zen 4, a noisier evening": ("gate-traces-epyc-zen4-1-recorded",),
    "Zen 3, busy host": (
        "gate-traces-epyc-zen3-1-no-change",
        "gate-traces-epyc-zen3-2-environments",
        "gate-recorded-epyc-zen3-0",
    ),
}
"""The machines that take turns: launches of identical code, by machine."""

NUM_COMMITS = 60
NUM_LINKS = 500
"""Gates of identical code that are drawn a machine; a history's links are drawn from these."""

NUM_LAUNCHES = 16
"""A link's: what twelve minutes hold on the busy machine, and the quiet one's median."""

STEP_AT, STEP = 20, 0.04
DRIFT = range(36, 46)
DRIFT_STEP = 0.01
RELEASES = (1, 31)
NIGHT = 4
"""Every so many commits there is a gate against the last release, too."""


Gates = Mapping[str, Sequence[Mapping[str, Summary]]]
"""What gates of identical code measured of each cell, by machine."""


@dataclass(frozen=True, kw_only=True)
class HistoryRates:
    """What was told of histories with a +4% step and a drift of ten times +1%, and without.

    Counts are of cells' chains, but `num_told_without` are histories in which any cell changed.
    """

    num_draws: int
    num_changed: int
    num_cells: int
    alpha: float
    is_anchored: bool
    """Whether gates against the last release were drawn, too."""
    num_steps_found: int
    """The step, as one, within one commit of the truth, and with the right size within 2 points."""
    num_drifts_found: int
    """The drift, begin and end within ten commits of the truth."""
    num_others_told: int
    """What is neither."""
    num_told_without: int
    link_errors: dict[str, float]
    """The median standard error of a link's logarithm, by machine, over all cells."""
    last_error: float
    """That of the newest commit's level, the median over cells and draws without a change."""
    last_off: float
    """The root mean square by which that level missed the truth."""


def draw_gates(seed: int, num_gates: int = NUM_LINKS, cells: Sequence[str] = ()) -> Gates:
    """Return gates of identical code, their launches drawn from the recorded ones.

    Args:
        seed: Decides which launches a gate is made of.
        num_gates: How many a machine.
        cells: Ends of the names of the cells; empty for all.
    """
    gates = {}
    for number, (machine, names) in enumerate(TRACES.items()):
        reports = read_reports([STUDIES / f"{name}.json.gz" for name in names])
        traces = join_runs([[t for t in report.traces if t.name != CONTROL] for report in reports])
        chosen = [t for t in traces if not cells or t.name.endswith(tuple(cells))]
        pool, random = Pool(chosen), np.random.default_rng([seed, number])
        gates[machine] = [_gate(pool, random) for _ in range(num_gates)]
    return gates


def draw_history(
    drawn: Gates,
    random: np.random.Generator,
    levels: Sequence[float],
    *,
    is_anchored: bool = True,
) -> tuple[KeptCommit, ...]:
    """Return the kept lines of a branch whose commits take their machines in turn.

    Args:
        drawn: Gates of identical code by machine.
        random: Decides which gate a link is.
        levels: Each commit's true logarithm, the oldest's first, which no gate judges.
        is_anchored: Whether every fourth commit is gated against the last release, too.
    """
    machines = itertools.cycle(drawn.items())
    lines = []
    for position in range(2, len(levels) + 1):
        bases = [position - 1]
        release = max(one for one in RELEASES if one < position)
        if is_anchored and position % NIGHT == 0 and release not in bases:
            bases.append(release)
        gates = []
        for base in bases:
            machine, same = next(machines)
            change = levels[position - 1] - levels[base - 1]
            gates.append(_link(machine, same[int(random.integers(len(same)))], base, change))
        lines.append(
            KeptCommit(
                commit=_name(position),
                position=position,
                subject=f"commit {position}",
                gates=tuple(gates),
            )
        )
    return tuple(lines)


def changed_levels(num_commits: int = NUM_COMMITS) -> list[float]:
    """Return the logarithms of a branch with one +4% step and ten times +1%."""
    steps = [math.log1p(STEP) if one == STEP_AT else 0.0 for one in range(1, num_commits + 1)]
    drift = [math.log1p(DRIFT_STEP) if one in DRIFT else 0.0 for one in range(1, num_commits + 1)]
    return list(itertools.accumulate(map(sum, zip(steps, drift, strict=True))))


def is_the_step(change: Change, positions: Mapping[str, int]) -> bool:
    """Return whether a change is the step, within one commit and two points."""
    return (
        change.kind == "step"
        and abs(positions[change.commit] - STEP_AT) <= 1
        and abs(change.ratio - 1 - STEP) < 0.02
    )


def is_the_drift(change: Change, positions: Mapping[str, int]) -> bool:
    """Return whether a change is the drift, its begin and its end within ten commits."""
    return (
        change.kind == "drift"
        and change.ratio > 1
        and abs(positions[change.after] - (DRIFT[0] - 1)) <= 10
        and abs(positions[change.commit] - DRIFT[-1]) <= 10
    )


def rates(
    drawn: Gates,
    num_draws: int,
    seed: int,
    *,
    is_anchored: bool = True,
    num_changed: int | None = None,
) -> HistoryRates:
    """Draw histories with and without changes and count what is told of them.

    Args:
        drawn: Gates of identical code by machine.
        num_draws: Histories without a change.
        seed: Of the draws.
        is_anchored: As in `draw_history`.
        num_changed: Histories with the changes; None for as many.
    """
    num_changed = num_draws if num_changed is None else num_changed
    steps, drifts, others, told = 0, 0, 0, 0
    errors: list[float] = []
    missed: list[float] = []
    noise = {
        machine: [(one.high - one.low) / 3.92 for gate in gates for one in gate.values()]
        for machine, gates in drawn.items()
    }
    for draw in range(num_changed):
        random = np.random.default_rng([seed, draw])
        lines = draw_history(drawn, random, changed_levels(), is_anchored=is_anchored)
        for cell in tell_history(lines).cells:
            positions = {one.commit: one.position for one in cell.places}
            step = any(is_the_step(change, positions) for change in cell.changes)
            drift = any(is_the_drift(change, positions) for change in cell.changes)
            steps, drifts = steps + step, drifts + drift
            others += len(cell.changes) - step - drift
    for draw in range(num_draws):
        random = np.random.default_rng([seed, draw, 1])
        lines = draw_history(drawn, random, [0.0] * NUM_COMMITS, is_anchored=is_anchored)
        without = tell_history(lines)
        told += any(cell.changes for cell in without.cells)
        for cell in without.cells:
            last = cell.places[-1]
            assert last.interval is not None
            errors.append(math.log(last.interval.high / last.interval.low) / 3.92)
            missed.append(math.log(last.level))
    return HistoryRates(
        num_draws=num_draws,
        num_changed=num_changed,
        num_cells=len(next(iter(drawn.values()))[0]),
        alpha=ALPHA,
        is_anchored=is_anchored,
        num_steps_found=steps,
        num_drifts_found=drifts,
        num_others_told=others,
        num_told_without=told,
        link_errors={machine: float(np.median(found)) for machine, found in noise.items()},
        last_error=float(np.median(errors)),
        last_off=math.sqrt(float(np.mean(np.square(missed)))),
    )


def render_rates(found: Sequence[HistoryRates]) -> str:
    """Return the rates as a table in markdown."""
    lines = [
        "| gates against the last release | step within one commit | drift within ten | anything "
        "else told | histories without a change of which one was told | last level off by (rms) |",
        "| :--- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        chains = one.num_changed * one.num_cells
        lines.append(
            f"| {'every fourth commit' if one.is_anchored else 'none'} "
            f"| {_share(one.num_steps_found, chains)} | {_share(one.num_drifts_found, chains)} "
            f"| {one.num_others_told:,} | {one.num_told_without:,} of {one.num_draws:,} "
            f"| {100 * one.last_off:.1f}% |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw histories, print the table and, where asked, keep the counts."""
    parsed = _parse(arguments)
    drawn = draw_gates(parsed.seed)
    found = [
        rates(drawn, parsed.draws, parsed.seed, is_anchored=anchored) for anchored in (True, False)
    ]
    sys.stdout.write(render_rates(found))
    if parsed.out:
        write_record(parsed.out, found)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=100, help="histories each (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--out", type=Path, help="write the counts as JSON (default: nowhere)")
    return parser.parse_args(arguments)


def _gate(pool: Pool, random: np.random.Generator) -> dict[str, Summary]:
    launches = [pool.draw(pool.names, random) for _ in range(NUM_LAUNCHES)]
    summaries = {name: summarize([launch[name] for launch in launches]) for name in pool.names}
    return {name: summary for name, summary in summaries.items() if summary is not None}


def _link(machine: str, same: Mapping[str, Summary], base: int, change: float) -> KeptGate:
    return KeptGate(
        base=_name(base),
        base_position=base,
        began_at="2026-11-27T00:00:00+00:00",
        cpu_model=machine,
        num_cores=2,
        verdict=GateVerdict.PASS,
        cells={
            name: KeptCell(
                ratio=math.exp(summary.center + change),
                low=math.exp(summary.low + change),
                high=math.exp(summary.high + change),
                num_launches=summary.num_launches,
            )
            for name, summary in same.items()
        },
    )


def _name(position: int) -> str:
    return f"{position:040x}"


def _share(number: int, total: int) -> str:
    return f"{number:,} of {total:,} ({100 * number / total:.1f}%)"


if __name__ == "__main__":
    run(main)
