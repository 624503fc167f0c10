"""A gate's result as one text: a table for a terminal, markdown for CI, or JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from indoor.gate.names import shorten
from indoor.gate.records import CellReport, CheckReport, GateReport, GateVerdict, InstrumentReport
from indoor.gate.report.markdown import as_markdown
from indoor.gate.report.parts import Facts, Items, Part, Row, Section, Table, Words
from indoor.gate.report.text import as_text
from indoor.gate.report.words import (
    clean,
    describe_arm,
    describe_packages,
    describe_side,
    duration,
    moment,
    share,
    slowdown,
    slowdown_interval,
    time_of_one,
)
from indoor.records import to_json

GateFormat = Literal["table", "markdown", "json"]

_HEADERS = ("slowdown", "95%\ninterval", "limits", "pairs in\nlaunches", "base\ntime")


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
        format: `table` for a terminal, `markdown` as GitHub reads it, `json` for the whole record,
            traces included.
        width: Characters a line of `table`, 40 or more.
        color: Whether `table` may hold escape codes.

    Raises:
        ValueError: The format is unknown.
    """
    title = f"Gate: {report.verdict.value}{' (partial)' if report.partial else ''}"
    sentence = clean(report.reason)
    match format:
        case "json":
            return to_json(report, indent=2).decode("utf-8")
        case "markdown":
            return as_markdown(title, sentence, _sections(report))
        case "table":
            return as_text(
                title, report.verdict, sentence, _sections(report), width=width, color=color
            )
        case _:
            raise ValueError(f"format {format!r}, expected table, markdown or json")


def _sections(report: GateReport) -> Iterator[Section]:
    shared, short = shorten([cell.name for cell in report.cells])
    yield Section(title="What was compared", parts=(_sides(report),), is_detail=True)
    if report.cells:
        title = "Time of head against base"
        if report.instrument.findings:
            title += ", which does not count in this run"
        yield Section(title=title, parts=_cells(report, shared, short))
    if report.checks:
        parts = (_checks(report.checks),)
        yield Section(title="What needs no clock", parts=parts)
    if report.vanished or report.new:
        yield Section(title="Cells on one side only", parts=(_one_sided(report),))
    yield _instrument(report.instrument, short)
    if report.notes:
        notes = Items(tuple(map(clean, report.notes)))
        yield Section(title="Notes", parts=(notes,), is_detail=True)
    if steps := tuple(_next_steps(report, short)):
        yield Section(title="What to do next", parts=(Items(steps),))


def _sides(report: GateReport) -> Facts:
    plan = report.plan
    looks = ", ".join(map(str, plan.looks))
    cores = f"{report.num_cores} core{'' if report.num_cores == 1 else 's'}"
    entries = (
        ("base", describe_side(report.base)),
        ("head", describe_side(report.head)),
        ("packages", describe_packages(report.base.packages, report.head.packages)),
        ("CPU", f"{report.cpu_model}, {cores}, {report.system}"),
        (
            "plan",
            f"judged after {looks} launches of fresh processes; set for false alarms in at "
            f"most {share(plan.alpha_fail)} of runs, a wrong PASS in at most "
            f"{share(plan.alpha_pass)} for each cell; seed {report.seed}",
        ),
        (
            "took",
            f"{duration(report.prepare_s)} to prepare, {duration(report.measure_s)} to measure, "
            f"from {moment(report.began_at)}",
        ),
    )
    return Facts(tuple((label, clean(text)) for label, text in entries))


def _cells(report: GateReport, shared: str, short: Mapping[str, str]) -> tuple[Part, ...]:
    rows = tuple(_cell(cell, clean(short[cell.name])) for cell in report.cells)
    words = (
        "Slowdown is head's time / base's - 1, its interval unadjusted. FAIL: shown to be above "
        "the first limit (the margin), and reproduced. PASS: shown to be below the second (the "
        "tolerance)."
    )
    table = Table(noun="cell", headers=_HEADERS, rows=rows)
    return (
        (Words(f"Cells of {clean(shared)}"), table, Words(words))
        if shared
        else (table, Words(words))
    )


def _cell(cell: CellReport, name: str) -> Row:
    figures = (
        slowdown(cell.ratio),
        slowdown_interval(cell.interval),
        f"{share(cell.margin)}, {share(cell.tolerance)}",
        f"{cell.num_pairs} in {cell.num_launches}",
        time_of_one(cell.base_s),
    )
    return Row(name=name, verdict=cell.verdict, figures=figures, reason=clean(cell.reason))


def _checks(checks: tuple[CheckReport, ...]) -> Table:
    rows = tuple(
        Row(
            name=clean(check.name),
            verdict=check.verdict,
            figures=(clean(check.base), clean(check.head)),
            reason=clean(check.reason),
        )
        for check in checks
    )
    return Table(noun="check", headers=("base", "head"), rows=rows, is_numeric=False)


def _one_sided(report: GateReport) -> Items:
    vanished = (f"vanished: {clean(name)} (base has it, head does not)" for name in report.vanished)
    new = (f"new: {clean(name)} (head has it, so there is no base)" for name in report.new)
    return Items((*vanished, *new))


def _instrument(instrument: InstrumentReport, short: Mapping[str, str]) -> Section:
    arms = [describe_arm(c, clean(short.get(c.name, c.name))) for c in instrument.again]
    control, idle = instrument.control, instrument.max_idle_share
    facts = Facts(
        (
            (
                "A/A",
                f"base against a copy of itself: {'; '.join(arms)}" if arms else "not measured",
            ),
            (
                "control",
                "not measured"
                if control is None
                else describe_arm(control, "frozen work in both workers:"),
            ),
            (
                "idle",
                "not measured"
                if idle is None
                else f"waiting workers used at most {share(idle)} of a launch's timed rounds",
            ),
        )
    )
    parts: tuple[Part, ...] = (facts,)
    if instrument.findings:
        parts = (Items(tuple(map(clean, instrument.findings))), facts)
    return Section(title="The instrument", parts=parts, is_detail=not instrument.findings)


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
