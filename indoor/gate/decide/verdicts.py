"""One verdict for a whole gate run, and the exit status that carries it to CI."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from indoor.gate.records import (
    CellReport,
    CheckReport,
    GateReport,
    GateVerdict,
    InstrumentReport,
)
from indoor.gate.wording import at_most, count, listed, matches, percent, shorten

_EXIT_STATUS = {
    GateVerdict.PASS: 0,
    GateVerdict.IMPROVED: 0,
    GateVerdict.FAIL: 1,
    GateVerdict.INCONCLUSIVE: 3,
    GateVerdict.UNRELIABLE: 3,
}


_SETTLED = (GateVerdict.PASS, GateVerdict.IMPROVED)


def combine(
    cells: Sequence[CellReport],
    checks: Sequence[CheckReport],
    *,
    vanished: Collection[str] = (),
    allowed: Collection[str] = (),
    instrument: InstrumentReport,
    partial: bool = False,
) -> tuple[GateVerdict, str]:
    """Return the run's verdict and one sentence that says what it rests on.

    In this order: a check, a vanished cell or a test that fails on head needs no clock, so it is
    FAIL whatever the instrument says (such a test not where the run is partial: what broke it off
    may have broken the test); findings on the instrument are UNRELIABLE, since then no timing
    counts; a slower cell is FAIL unless the run is partial, since then the instrument was not
    watched to the end; anything unknown, missing, partial or not measured at all is INCONCLUSIVE;
    what is left is IMPROVED or PASS.

    Args:
        cells: The timed cells. One without a finite ratio is unknown, whatever its verdict claims.
        checks: What was compared without a clock.
        vanished: Cells of base that head does not have.
        allowed: Globs (see `indoor.gate.wording.matches`) of those that may vanish.
        instrument: What the run found of itself.
        partial: Whether the run was interrupted or something broke.
    """
    missing = [name for name in vanished if not any(matches(name, glob) for glob in allowed)]
    _, short = shorten([cell.name for cell in cells])
    red = [cell for cell in cells if cell.verdict is GateVerdict.FAIL]
    slower = [short[cell.name] for cell in red if cell.ratio is not None]
    broken = [short[cell.name] for cell in red if cell.ratio is None]
    failed = [check.name for check in checks if check.verdict is GateVerdict.FAIL]
    facts = []
    if slower and not partial and not instrument.findings:
        facts.append(f"{len(slower)} of {count(len(cells), 'cell')} slower: {listed(slower)}")
    if broken and not partial:
        number = f"{len(broken)} of {count(len(cells), 'cell')}"
        facts.append(f"{number} failed on head: {listed(broken)}")
    if failed:
        facts.append(f"{len(failed)} of {count(len(checks), 'check')} failed: {listed(failed)}")
    if missing:
        facts.append(f"{count(len(missing), 'cell')} vanished: {listed(missing)}")
    if instrument.findings:
        rest = len(instrument.findings) - 1
        more = f" (and {count(rest, 'more finding')})" if rest else ""
        distrust = f"{instrument.findings[0].rstrip('.')}{more}."
        if facts:
            words = f"{'; '.join(facts)}; no clock is needed for that. The timings do not count"
            return GateVerdict.FAIL, f"{words}: {distrust}"
        words = "This run cannot judge time, so it blames neither side"
        return GateVerdict.UNRELIABLE, f"{words}: {distrust}"
    if facts:
        rest_of_run = ", and the run is partial" if partial else ""
        return GateVerdict.FAIL, f"{'; '.join(facts)}{rest_of_run}."
    if doubts := _doubts(cells, checks, short, partial):
        return GateVerdict.INCONCLUSIVE, f"{'; '.join(doubts)}. That is not a pass."
    better = [short[cell.name] for cell in cells if cell.verdict is GateVerdict.IMPROVED]
    better += [check.name for check in checks if check.verdict is GateVerdict.IMPROVED]
    rung = widest_rung(cells)
    limit = "the tolerance" if rung is None else percent(rung)
    good = f"{count(len(cells), 'cell')} without a slowdown above {limit}"
    if wider := [short[c.name] for c in cells if c.rung is not None and c.rung > c.tolerance]:
        good += f" ({listed(wider)}: no tighter limit could be shown in the time)"
    if checks:
        good += f", {count(len(checks), 'check')} passed"
    if better:
        return GateVerdict.IMPROVED, f"Better: {listed(better)}; {good}."
    return GateVerdict.PASS, f"{good}."


class _Judged(Protocol):
    """A cell that has been judged, as it is stored or as the plan decided it."""

    @property
    def verdict(self) -> GateVerdict: ...
    @property
    def rung(self) -> float | None: ...


def widest_rung(cells: Iterable[_Judged]) -> float | None:
    """Return the rung of the ladder that all cells cleared; None where one cleared none.

    Cells that are shown to be faster need none.
    """
    rungs = [cell.rung for cell in cells if cell.verdict is not GateVerdict.IMPROVED]
    return None if None in rungs else max((r for r in rungs if r is not None), default=None)


def name_verdict(report: GateReport) -> str:
    """Return the run's verdict with the rung that its worst cell took, for a first line.

    Such as `PASS at 5% (at most +4.1%)`; the bound is the highest of all cells. A run of which no
    more is known than a rung that is not accepted says so.
    """
    rung, name = widest_rung(report.cells), report.verdict.value
    highs = [c.slowdown_at_most for c in report.cells if c.slowdown_at_most is not None]
    if rung is None or not highs:
        return name
    level = f"at {percent(rung)} ({at_most(max(highs))})"
    match report.verdict:
        case GateVerdict.PASS:
            return f"{name} {level}"
        case GateVerdict.IMPROVED:
            return f"{name}, the rest PASS {level}"
        case GateVerdict.INCONCLUSIVE if not report.partial and all(
            check.verdict in _SETTLED for check in report.checks
        ):
            return f"{name}, PASS only {level}"
        case _:
            return name


def exit_status(report: GateReport, *, allow_inconclusive: bool = False) -> int:
    """Return 0 for PASS and IMPROVED, 1 for FAIL, 3 for INCONCLUSIVE and UNRELIABLE.

    Where head measures by other code than base, 0 is for changes that somebody accepted, else 3.

    Args:
        report: The run.
        allow_inconclusive: Whether a run that could not tell counts as 0. A partial run does not:
            there something broke, and what broke may be head. Nor does one that measured nothing.
    """
    if report.partial and report.verdict is not GateVerdict.FAIL:
        return _EXIT_STATUS[GateVerdict.INCONCLUSIVE]
    if allow_inconclusive and report.verdict is GateVerdict.INCONCLUSIVE:
        has_measured = any(cell.num_pairs for cell in report.cells)
        status = 0 if has_measured else _EXIT_STATUS[GateVerdict.INCONCLUSIVE]
    else:
        status = _EXIT_STATUS[report.verdict]
    # Green, but of other work than base's: somebody has to look.
    if status == 0 and report.changed and not report.changes_accepted:
        return _EXIT_STATUS[GateVerdict.INCONCLUSIVE]
    return status


def _doubts(
    cells: Sequence[CellReport],
    checks: Sequence[CheckReport],
    short: Mapping[str, str],
    partial: bool,
) -> list[str]:
    doubts = []
    if partial:
        doubts.append("The run is partial: it was interrupted or something broke")
    if not cells:
        doubts.append("No cell was timed")
    open_cells = [
        cell
        for cell in cells
        if cell.verdict not in _SETTLED or cell.ratio is None or not math.isfinite(cell.ratio)
    ]
    above = {short[cell.name]: cell.rung for cell in open_cells if cell.rung is not None}
    unknown = [short[cell.name] for cell in open_cells if cell.rung is None]
    open_checks = [check.name for check in checks if check.verdict not in _SETTLED]
    for names, total in (
        (unknown, count(len(cells), "cell")),
        (open_checks, count(len(checks), "check")),
    ):
        if names:
            doubts.append(f"{len(names)} of {total} could not be judged: {listed(names)}")
    if above:
        doubts.append(
            f"{len(above)} of {count(len(cells), 'cell')} cleared only "
            f"{percent(max(above.values()))}, more than is accepted: {listed(tuple(above))}"
        )
    return doubts
