"""The studies' files as the README's markdown tables."""

from collections.abc import Sequence

from bench.studies.records import OURS, FalseAlarmStudy, Rates, ReplayStudy, Tally, join_studies
from bench.studies.rivals import RIVALS
from indoor.gate.names import shorten
from indoor.measure.rates import format_at_most, format_share, rate_at_most

_NAMES = {OURS: "**`indoor gate`**", **RIVALS}


def render_studies(studies: Sequence[ReplayStudy | FalseAlarmStudy]) -> str:
    """Return the tables: rules against slowdowns for each replay, then the complete gates."""
    parts = []
    for study in studies:
        if isinstance(study, ReplayStudy):
            parts += [_rules_table(study), _cells_table(study)]
    complete = join_studies(study for study in studies if isinstance(study, FalseAlarmStudy))
    if complete:
        parts.append(_complete_table(complete))
    return "\n".join(parts)


def _rules_table(study: ReplayStudy) -> str:
    """Return how often each rule is red without a change, and finds one slowed cell."""
    slowdowns = sorted({rates.slowdown for rates in study.rates} - {0.0})
    rows = [
        ["rule", "red without a change", "inconclusive", *(f"finds +{s:.0%}" for s in slowdowns)]
    ]
    for rule in _NAMES:
        found = {rates.slowdown: rates for rates in study.rates if rates.rule == rule}
        if 0.0 not in found:
            continue
        same = found[0.0].runs
        inconclusive = format_share(same.num_inconclusive / same.num_total)
        rows.append(
            [
                _NAMES[rule],
                # Gates drawn from the same launches are no sample of a machine's, so no bound.
                _share_of(same.num_fail, same.num_total),
                inconclusive if rule == OURS else "",
                *(_found(found.get(slowdown)) for slowdown in slowdowns),
            ]
        )
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
    rows = [[*header, *(f"finds +{rates.slowdown:.0%}" for rates in slowed)]]
    for cell in study.cells:
        rows.append(
            [
                short[cell.name],
                f"{cell.num_launches} ({cell.num_pairs:,})",
                f"{cell.pair_robust_sd:.2%}",
                f"{cell.launch_sd:.2%}",
                "" if cell.round_lag1 is None else f"{cell.round_lag1:.2f}",
                *(_share(rates.slowed.get(cell.name)) for rates in slowed),
            ]
        )
    launches = "; ".join(
        f"{f'+{r.slowdown:.0%}' if r.slowdown else 'no change'}: {r.launches_mean:.1f} "
        f"(95% within {r.launches_p95:.0f})"
        for r in ours
        if r.launches_mean is not None and r.launches_p95 is not None
    )
    num_faster = sum(rates.runs.num_improved for rates in ours if not rates.slowdown)
    green = "; ".join(f"+{r.slowdown:.0%}: {format_share(_green(r.runs))}" for r in slowed)
    real = "; ".join(
        f"+{slowdown:.0%}: "
        + ", ".join(
            f"{short.get(one.cell, one.cell)} {one.measured:+.1%}"
            for one in study.really_slower
            if one.slowdown == slowdown
        )
        for slowdown in dict.fromkeys(one.slowdown for one in study.really_slower)
    )
    slower = f"Really slower, by the pairs: {real}. " if real else ""
    return (
        f"{_markdown(rows)}\n{slower}Green although a cell is slower: {green}. "
        f"Launches a gate: {launches}. Called faster without a change: {num_faster} gates.\n"
    )


def _complete_table(studies: Sequence[FalseAlarmStudy]) -> str:
    """Return the verdicts of complete gates of identical code."""
    rows = [
        [
            "complete gates of identical code",
            "false alarms",
            "called faster",
            "inconclusive",
            "unreliable",
            "minutes a gate",
        ]
    ]
    total, total_s = Tally(), 0.0
    for study in studies:
        measure_s = sum(run.measure_s for run in study.runs)
        title = f"{study.title}{', with a CPU hog' if study.hog else ''}"
        rows.append(_complete_row(title, study.tally, measure_s))
        total, total_s = total.joined(study.tally), total_s + measure_s
    if len(studies) > 1:
        rows.append(_complete_row("**together**", total, total_s))
    return _markdown(rows)


def _complete_row(title: str, tally: Tally, measure_s: float) -> list[str]:
    return [
        title,
        _share_at_most(tally.num_fail, tally.num_total),
        str(tally.num_improved),
        str(tally.num_inconclusive),
        str(tally.num_unreliable),
        f"{measure_s / 60 / max(1, tally.num_total):.1f}",
    ]


def _found(rates: Rates | None) -> str:
    if rates is None:
        return ""
    total = Tally()
    for tally in rates.slowed.values():
        total = total.joined(tally)
    return _share(total)


def _green(tally: Tally) -> float:
    return 1 - (tally.num_fail + tally.num_inconclusive + tally.num_unreliable) / tally.num_total


def _share(tally: Tally | None) -> str:
    if tally is None or not tally.num_total:
        return ""
    return format_share(tally.num_fail / tally.num_total)


def _share_at_most(hits: int, total: int) -> str:
    if not total:
        return ""
    at_most = "" if hits == total else f", at most {format_at_most(rate_at_most(hits, total))}"
    return _share_of(hits, total, at_most)


def _share_of(hits: int, total: int, bound: str = "") -> str:
    return f"{hits:,} of {total:,} ({format_share(hits / total)}{bound})"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    rule = ["---", *("---:" for _ in header[1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *body))
