"""One verdict for a whole gate run, and the exit status that carries it to CI."""

import math
from collections.abc import Collection, Mapping, Sequence

from indoor.gate.names import matches, shorten
from indoor.gate.records import (
    CellReport,
    CheckReport,
    GateReport,
    GateVerdict,
    InstrumentReport,
)

_EXIT_STATUS = {
    GateVerdict.PASS: 0,
    GateVerdict.IMPROVED: 0,
    GateVerdict.FAIL: 1,
    GateVerdict.INCONCLUSIVE: 3,
    GateVerdict.UNRELIABLE: 3,
}
_MAX_NAMED = 3
"""So many cells are named in the sentence; the table has them all."""


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
        allowed: Globs (see `indoor.gate.names.matches`) of those that may vanish.
        instrument: What the run found of itself.
        partial: Whether the run was interrupted or something broke.
    """
    missing = [name for name in vanished if not any(matches(name, glob) for glob in allowed)]
    facts = _failed_facts(checks, missing)
    _, short = shorten([cell.name for cell in cells])
    red = [cell for cell in cells if cell.verdict is GateVerdict.FAIL]
    slower = [short[cell.name] for cell in red if cell.ratio is not None]
    broken = [short[cell.name] for cell in red if cell.ratio is None]
    if broken and not partial:
        facts.insert(0, _red_cells("failed on head", broken, len(cells)))
    if instrument.findings:
        distrust = _distrust(instrument.findings)
        if facts:
            words = f"{'; '.join(facts)}; no clock is needed for that. The timings do not count"
            return GateVerdict.FAIL, f"{words}: {distrust}"
        words = "This run cannot judge time, so it blames neither side"
        return GateVerdict.UNRELIABLE, f"{words}: {distrust}"
    if slower and not partial:
        facts.insert(0, _red_cells("slower", slower, len(cells)))
    if facts:
        rest = ", and the run is partial" if partial else ""
        return GateVerdict.FAIL, f"{'; '.join(facts)}{rest}."
    if doubts := _doubts(cells, checks, short, partial):
        return GateVerdict.INCONCLUSIVE, f"{'; '.join(doubts)}. That is not a pass."
    better = [short[cell.name] for cell in cells if cell.verdict is GateVerdict.IMPROVED]
    better += [check.name for check in checks if check.verdict is GateVerdict.IMPROVED]
    good = f"{_number(len(cells), 'cell')} without a slowdown above the tolerance"
    if checks:
        good += f", {_number(len(checks), 'check')} passed"
    if better:
        return GateVerdict.IMPROVED, f"Better: {_listed(better)}; {good}."
    return GateVerdict.PASS, f"{good}."


def exit_status(report: GateReport, *, allow_inconclusive: bool = False) -> int:
    """Return 0 for PASS and IMPROVED, 1 for FAIL, 3 for INCONCLUSIVE and UNRELIABLE.

    Args:
        report: The run.
        allow_inconclusive: Whether a run that could not tell counts as 0. A partial run does not:
            there something broke, and what broke may be head. Nor does one that measured nothing.
    """
    if report.partial and report.verdict is not GateVerdict.FAIL:
        return _EXIT_STATUS[GateVerdict.INCONCLUSIVE]
    if allow_inconclusive and report.verdict is GateVerdict.INCONCLUSIVE:
        has_measured = any(cell.num_pairs for cell in report.cells)
        return 0 if has_measured else _EXIT_STATUS[GateVerdict.INCONCLUSIVE]
    return _EXIT_STATUS[report.verdict]


def _red_cells(what: str, names: Sequence[str], num_cells: int) -> str:
    return f"{_counted(len(names), num_cells, 'cell')} {what}: {_listed(names)}"


def _failed_facts(checks: Sequence[CheckReport], missing: Sequence[str]) -> list[str]:
    facts = []
    failed = [check.name for check in checks if check.verdict is GateVerdict.FAIL]
    if failed:
        facts.append(f"{_counted(len(failed), len(checks), 'check')} failed: {_listed(failed)}")
    if missing:
        facts.append(f"{_number(len(missing), 'cell')} vanished: {_listed(missing)}")
    return facts


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
    if open_cells := [short[cell.name] for cell in cells if not _is_settled(cell)]:
        opening = _counted(len(open_cells), len(cells), "cell")
        doubts.append(f"{opening} could not be judged: {_listed(open_cells)}")
    settled = (GateVerdict.PASS, GateVerdict.IMPROVED)
    if open_checks := [check.name for check in checks if check.verdict not in settled]:
        opening = _counted(len(open_checks), len(checks), "check")
        doubts.append(f"{opening} could not be judged: {_listed(open_checks)}")
    return doubts


def _is_settled(cell: CellReport) -> bool:
    if cell.verdict not in (GateVerdict.PASS, GateVerdict.IMPROVED):
        return False
    return cell.ratio is not None and math.isfinite(cell.ratio)


def _distrust(findings: Sequence[str]) -> str:
    rest = len(findings) - 1
    more = f" (and {_number(rest, 'more finding')})" if rest else ""
    return f"{findings[0].rstrip('.')}{more}."


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_NAMED
    shown = ", ".join(names[:_MAX_NAMED])
    return f"{shown} and {rest} more" if rest > 0 else shown


def _counted(part: int, total: int, noun: str) -> str:
    return f"{part} of {_number(total, noun)}"


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
