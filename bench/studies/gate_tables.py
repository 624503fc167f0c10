"""The tables of docs/gate-error-study.md: rules against slowdowns, the ladder, complete gates."""

from collections.abc import Sequence
from dataclasses import replace

from bench.studies.records import OURS, RIVALS, FalseAlarmStudy, ReplayStudy, Tally
from indoor.errors import IndoorError
from indoor.gate.limits import rules_for
from indoor.gate.records import GateVerdict
from indoor.gate.settings import GateConfig, PlanRules
from indoor.gate.wording import percent, shorten
from indoor.measure.proportions import format_at_most, format_share, rate_at_most
from indoor.report.blocks import Column
from indoor.report.markdown import markdown_table


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
            parts += [_rules_table(study), *_ladder_table(study), _cells_table(study)]
            continue
        commit = None if study.deciding else study.commit
        key = repr(replace(study, runs=(), commit=commit))
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
    measure = f", {study.measure}" if study.measure != "none" else ""
    return (
        f"{study.title}{measure}: {study.num_gates:,} replayed gates of {len(study.cells)} cells "
        f"a column{at_most}, {study.cpu_model}, {study.num_cores} cores\n\n{_markdown(rows)}"
    )


def _ladder_table(study: ReplayStudy) -> list[str]:
    """Return at which rung runs end, without a change and with one slowed cell; [] if not asked."""
    ours = sorted((r for r in study.rates if r.rule == OURS), key=lambda rates: rates.slowdown)
    if not any(rates.rungs for rates in ours):
        return []
    rungs = sorted({rung for rates in ours for rung in rates.rungs}, key=_as_number)
    columns = [f"PASS at {rung}" + _unless_accepted(rung, study.plan) for rung in rungs]
    rows = [["one cell slower by", "FAIL", *columns, "none of them"]]
    for rates in ours:
        counts = [rates.runs.num_fail, *(rates.rungs.get(rung, 0) for rung in rungs)]
        counts.append(rates.runs.num_total - sum(counts))
        shares = [format_share(number / rates.runs.num_total) for number in counts]
        rows.append([f"{rates.slowdown:.0%}" if rates.slowdown else "no change", *shares])
    return [_markdown(rows)]


def _as_number(rung: str) -> float:
    return float(rung.removesuffix("%"))


def _unless_accepted(rung: str, plan: PlanRules) -> str:
    accepted = rules_for(GateConfig(plan=plan), "").accepts
    return "" if _as_number(rung) <= _as_number(percent(accepted)) else " (not accepted)"


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
    rows = [[*header, "passed wider", "inconclusive", "unreliable", "minutes a gate"]]
    kinds: dict[tuple[str, str | None], list[FalseAlarmStudy]] = {}
    for study in studies:
        title = f"{study.title}{', with a CPU hog' if study.hog else ''}"
        rows.append(_complete_row(title, [study]))
        kinds.setdefault((study.kind, study.deciding), []).append(study)
    # A toy function's gates say nothing of a network's, nor do those that other code decided: no
    # rate is taken of both.
    for (kind, deciding), alike in kinds.items():
        if len(alike) > 1:
            code = f"code {deciding[:8]}" if deciding else "earlier code"
            rows.append(_complete_row(f"**{kind}, {code}, together**", alike))
    return _markdown(rows)


def _complete_row(title: str, studies: Sequence[FalseAlarmStudy]) -> list[str]:
    runs = [run for study in studies for run in study.runs]
    wider = [
        run.rung is not None and run.rung > study.plan.tolerance
        for study in studies
        for run in study.runs
        if run.verdict is GateVerdict.PASS
    ]
    tally = Tally.of(run.verdict for run in runs)
    hits, total = tally.num_fail, tally.num_total
    at_most = f", at most {format_at_most(rate_at_most(hits, total))}" if hits < total else ""
    return [
        title,
        f"{hits:,} of {total:,} ({_share(tally)}{at_most})" if total else "",
        str(tally.num_improved),
        str(sum(wider)),
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
