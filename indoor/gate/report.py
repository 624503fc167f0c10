"""A gate's result as one text: a table for a terminal, markdown for CI, or JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from indoor.gate.decide.verdicts import name_verdict
from indoor.gate.records import (
    CellReport,
    ErrorBudget,
    GatedVariant,
    GateReport,
    GateVerdict,
    InstrumentReport,
    SideIdentity,
)
from indoor.gate.wording import listed, shorten
from indoor.records import to_json
from indoor.report.blocks import (
    Block,
    Column,
    Details,
    Facts,
    Heading,
    Items,
    Judged,
    Paragraph,
    Tone,
    Verdicts,
)
from indoor.report.markdown import as_markdown
from indoor.report.text import as_text
from indoor.report.units import (
    clean,
    duration,
    moment,
    share,
    slowdown,
    slowdown_interval,
    time_of_one,
)

GateFormat = Literal["table", "markdown", "json"]

_TONES: Mapping[GateVerdict, Tone] = {
    GateVerdict.PASS: "good",
    GateVerdict.IMPROVED: "better",
    GateVerdict.FAIL: "bad",
    GateVerdict.INCONCLUSIVE: "open",
    GateVerdict.UNRELIABLE: "broken",
}
_FIGURES = ("slowdown", "95%\ninterval", "limits", "pairs in\nlaunches", "base\ntime")


@dataclass(frozen=True, kw_only=True)
class _Section:
    """A heading and its blocks; `is_detail` where a reader who trusts the verdict can skip it."""

    title: str
    blocks: tuple[Block, ...]
    is_detail: bool = False


def render_gate(
    report: GateReport,
    *,
    format: GateFormat = "table",  # noqa: A002 - the option of every command that prints
    width: int = 80,
    color: bool = False,
) -> str:
    """Return what the gate found; it ends with a newline.

    Args:
        report: The run.
        format: `table` for a terminal, `markdown` as GitHub reads it, the details folded at its
            end, `json` for the whole record, traces included.
        width: Characters a line of `table`, 40 or more.
        color: Whether `table` may hold escape codes.

    Raises:
        ValueError: The format is unknown.
    """
    opening = _opening(report)
    sections = tuple(_sections(report))
    match format:
        case "json":
            return to_json(report, indent=2).decode("utf-8")
        case "markdown":
            shown = _blocks(section for section in sections if not section.is_detail)
            folded = _blocks(section for section in sections if section.is_detail)
            return as_markdown((*opening, *shown, Details(tuple(folded))))
        case "table":
            text = as_text((*opening, *_blocks(sections)), width=width, color=color)
            return text.rstrip("\n") + "\n"
        case _:
            raise ValueError(f"format {format!r}, expected table, markdown or json")


def gate_blocks(report: GateReport) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
    """Return the verdict with what must be read beside it, and everything else."""
    return _opening(report), tuple(_blocks(_sections(report)))


def _opening(report: GateReport) -> tuple[Block, ...]:
    title = f"Gate: {name_verdict(report)}{' (partial)' if report.partial else ''}"
    return (
        Heading(title, level=1, tone=_TONES[report.verdict]),
        Paragraph(clean(report.reason), "strong"),
        *_what_changed(report),
    )


def describe_packages(base: Mapping[str, str], head: Mapping[str, str]) -> str:
    """Return the distributions that differ between the two sides."""
    if not base and not head:
        return "not recorded"
    if not base or not head:
        return f"those of {'head' if base else 'base'} are not known"
    names = sorted(base.keys() | head.keys(), key=str.lower)
    changes = []
    for name in names:
        if name not in head:
            changes.append(f"{name} {base[name]} only in base")
        elif name not in base:
            changes.append(f"{name} {head[name]} only in head")
        elif base[name] != head[name]:
            changes.append(f"{name} {base[name]} -> {head[name]}")
    return ", ".join(changes) if changes else f"the same {len(names)} on both sides"


def _what_changed(report: GateReport) -> Iterator[Block]:
    """Yield whose rules did not count, and what is measured by other code than base's."""
    lines = [f"Rules: {line}." for line in report.rule_changes]
    if report.changed:
        _, short = shorten([cell.name for cell in report.cells])
        names = listed([short.get(one.name, one.name) for one in report.changed])
        lines.append(
            f"Changed: {names}: head measures other work than base there (below), which was "
            + (
                "accepted."
                if report.changes_accepted
                else "not accepted: look at it, then pass --accept-changed."
            )
        )
    if lines:
        yield Items(tuple(map(clean, lines)))


def _blocks(sections: Iterable[_Section]) -> Iterator[Block]:
    for section in sections:
        yield Heading(section.title)
        yield from section.blocks


def _sections(report: GateReport) -> Iterator[_Section]:
    shared, short = shorten([cell.name for cell in report.cells])
    yield _Section(title="What was compared", blocks=(_sides(report),), is_detail=True)
    if report.cells:
        title = "Time of head against base"
        if report.instrument.findings:
            title += ", which does not count in this run"
        yield _Section(title=title, blocks=tuple(_cells(report, shared, short)))
    if report.checks:
        yield _Section(title="What needs no clock", blocks=(_checks(report),))
    if report.vanished or report.new:
        yield _Section(title="Cells on one side only", blocks=(_one_sided(report),))
    if report.changed:
        changed = Items(
            tuple(clean(f"{short.get(one.name, one.name)}: {one.what}") for one in report.changed)
        )
        yield _Section(title="Changed tests", blocks=(changed,))
    yield _instrument(report.instrument, short)
    if report.notes:
        notes = Items(tuple(map(clean, report.notes)))
        yield _Section(title="Notes", blocks=(notes,), is_detail=True)
    if steps := tuple(_next_steps(report, short)):
        yield _Section(title="What to do next", blocks=(Items(steps),))


def _sides(report: GateReport) -> Facts:
    plan = report.plan
    looks = ", ".join(map(str, plan.looks))
    cores = f"{report.num_cores} core{'' if report.num_cores == 1 else 's'}"
    entries = (
        ("base", _side(report.base)),
        ("head", _side(report.head)),
        ("packages", describe_packages(report.base.packages, report.head.packages)),
        ("CPU", f"{report.cpu_model}, {cores}, {report.system}"),
        *((("variants", "; ".join(map(_variant, report.variants))),) if report.variants else ()),
        (
            "plan",
            f"judged after {looks} launches of fresh processes; set for false alarms in at "
            f"most {share(plan.alpha_fail)} of runs{_shares(report.budget)}, a wrong PASS in at "
            f"most {share(plan.alpha_pass)} for each cell; seed {report.seed}",
        ),
        (
            "took",
            f"{duration(report.prepare_s)} to prepare, {duration(report.measure_s)} to measure, "
            f"from {moment(report.began_at)}",
        ),
    )
    return Facts(tuple((label, clean(text)) for label, text in entries))


def _shares(budget: ErrorBudget | None) -> str:
    """Return how the chance of a false alarm is shared out, where not only timings have it."""
    if budget is None or not (budget.accuracy or budget.memory):
        return ""
    parts = {"timings": budget.timing, "accuracy": budget.accuracy, "peak memory": budget.memory}
    return f" ({', '.join(f'{name} {share(part)}' for name, part in parts.items() if part)})"


def _side(side: SideIdentity) -> str:
    """Return which code a side is: as the user named it, its commit, its Python."""
    unknown = f"commit unknown: {side.commit_unknown}" if side.commit_unknown else "no commit"
    commit = unknown if side.commit is None else f"commit {side.commit[:12]}"
    if side.dirty:
        commit += " with changes"
    return f"{side.label}, {commit}, Python {side.python}"


def _variant(variant: GatedVariant) -> str:
    """Return a variant and what runs it, such as `int8: eager, int8, cpu`."""
    told = [part for part in (variant.runtime, variant.precision, variant.device) if part]
    return f"{variant.name}: {', '.join(told) or 'not told'}"


def _cells(report: GateReport, shared: str, short: Mapping[str, str]) -> Iterator[Block]:
    if shared:
        yield Paragraph(f"Cells of {clean(shared)}")
    yield Verdicts(
        noun="cell",
        columns=tuple(Column(header) for header in _FIGURES),
        rows=tuple(
            Judged(
                name=clean(short[cell.name]),
                verdict=_verdict(cell),
                tone=_TONES[cell.verdict],
                figures=(
                    slowdown(cell.ratio),
                    slowdown_interval(cell.interval),
                    ", ".join(map(share, limits_of(cell))),
                    f"{cell.num_pairs} in {cell.num_launches}",
                    time_of_one(cell.base_s),
                ),
                reason=clean(cell.reason),
            )
            for cell in report.cells
        ),
    )
    passed = "the second (the tolerance)"
    if any(_has_ladder(cell) for cell in report.cells):
        passed += (
            ", or, once the minutes are used, below the wider one that is named, up to the third "
            "(what is accepted)"
        )
    yield Paragraph(
        "Slowdown is head's time / base's - 1, its interval unadjusted. FAIL: shown to be above "
        f"the first limit (the margin), and reproduced. PASS: shown to be below {passed}."
    )


def _verdict(cell: CellReport) -> str:
    """Return a cell's verdict with the rung it passed at, such as `PASS at 5%`."""
    if cell.verdict is not GateVerdict.PASS or cell.rung is None:
        return cell.verdict.value
    return f"{cell.verdict.value} at {share(cell.rung)}"


def _has_ladder(cell: CellReport) -> bool:
    return cell.accepted is not None and cell.accepted > cell.tolerance


def limits_of(cell: CellReport) -> tuple[float, ...]:
    """Return a cell's margin, tolerance, and what is accepted where that is wider."""
    limits = (cell.margin, cell.tolerance)
    if cell.accepted is not None and _has_ladder(cell):
        return (*limits, cell.accepted)
    return limits


def _checks(report: GateReport) -> Verdicts:
    return Verdicts(
        noun="check",
        columns=(Column("base", "left"), Column("head", "left")),
        rows=tuple(
            Judged(
                name=clean(check.name),
                verdict=check.verdict.value,
                tone=_TONES[check.verdict],
                figures=(clean(check.base), clean(check.head)),
                reason=clean(check.reason),
            )
            for check in report.checks
        ),
    )


def _one_sided(report: GateReport) -> Items:
    vanished = (f"vanished: {clean(name)} (base has it, head does not)" for name in report.vanished)
    new = (f"new: {clean(name)} (head has it, so there is no base)" for name in report.new)
    return Items((*vanished, *new))


def _instrument(instrument: InstrumentReport, short: Mapping[str, str]) -> _Section:
    arms = [_arm(c, clean(short.get(c.name, c.name))) for c in instrument.again]
    again = f"base against a copy of itself: {'; '.join(arms)}" if arms else "not measured"
    control = idle = "not measured"
    if instrument.control is not None:
        control = _arm(instrument.control, "frozen work in both workers:")
    if instrument.max_idle_share is not None:
        most = share(instrument.max_idle_share)
        idle = f"waiting workers used at most {most} of a launch's timed rounds"
    blocks: tuple[Block, ...] = (Facts((("A/A", again), ("control", control), ("idle", idle))),)
    if instrument.findings:
        blocks = (Items(tuple(map(clean, instrument.findings))), *blocks)
    return _Section(title="The instrument", blocks=blocks, is_detail=not instrument.findings)


def _arm(cell: CellReport, name: str) -> str:
    """Return what an A/A arm or the control found, with its figures."""
    figures = f"{slowdown_interval(cell.interval)}, {cell.num_pairs} pairs"
    return f"{name} {slowdown(cell.ratio)} ({figures})"


def _next_steps(report: GateReport, short: Mapping[str, str]) -> Iterator[str]:
    if report.partial and report.verdict is not GateVerdict.FAIL:
        yield "Run the gate again: what was measured is kept, but it decides nothing."
    if report.instrument.findings:
        yield "Do what the findings on the instrument say, then run the gate again."
    else:
        yield from _advice(report.cells, short)
    failed = [clean(c.name) for c in report.checks if c.verdict is GateVerdict.FAIL]
    if failed:
        yield f"{', '.join(failed)}: no noise is in that, so look at the change itself."
    if report.vanished and report.verdict is GateVerdict.FAIL:
        yield "A cell that vanished on purpose is allowed by name: allow_vanished in gate.toml."


def _advice(cells: Sequence[CellReport], short: Mapping[str, str]) -> Iterator[str]:
    """Yield each piece of advice once, with the cells that it is for."""
    advised: dict[str, list[str]] = {}
    for cell in cells:
        if cell.advice:
            advised.setdefault(clean(cell.advice), []).append(clean(short[cell.name]))
    for advice, names in advised.items():
        yield f"{', '.join(names)}: {advice}"
