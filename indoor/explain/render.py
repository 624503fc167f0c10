"""Explanations as tables, for a terminal or as markdown."""

from typing import Literal

from indoor.explain.decompose import Decomposition, Part, Side
from indoor.explain.observations import Observations
from indoor.explain.roofline import layers_blocks
from indoor.explain.terms import NAMES, TERMS
from indoor.explain.verdict import Explained, Explanation, whole_percent
from indoor.report import units
from indoor.report.blocks import Block, Column, Facts, Grid, Heading, Items, Paragraph
from indoor.report.caption import describe_cpu, describe_isa, describe_weights
from indoor.report.markdown import as_markdown
from indoor.report.text import as_text

TableFormat = Literal["table", "markdown"]

_SHORT_HASH = 12


def render_explanation(
    observations: Observations,
    explanation: Explanation,
    *,
    format: TableFormat = "table",  # noqa: A002 - the option of every command that prints
    layers: bool = False,
    width: int = 80,
    color: bool = False,
) -> str:
    """Return what was observed and what it shows, as text or as GitHub's markdown.

    With `layers` it ends with each layer's time and its place under the roofline.
    """
    blocks = explanation_blocks(observations, explanation)
    if layers:
        blocks += layers_blocks(observations)
    if format == "markdown":
        return as_markdown(blocks)
    return as_text(blocks, width=width, color=color)


def explanation_blocks(observations: Observations, explanation: Explanation) -> list[Block]:
    """Return the overview, then each cell by itself, then the batches."""
    blocks: list[Block] = [
        Heading(f"Why is it faster: {observations.arch} of {observations.run}", level=1),
        Facts(tuple(_caption(observations).items())),
        _overview(explanation.cells),
        Paragraph(
            "Shares of the logarithm of the speedup in percent, in the stated order, which is the "
            "columns'; they add up to 100. Above 15% unexplained nothing is decided.",
            "faint",
        ),
    ]
    if observations.notes:
        blocks.append(Items(observations.notes))
    for one in (*explanation.cells, *explanation.batches):
        blocks += [Heading(_title(one.decomposition)), *_cell(one)]
    blocks.append(
        Paragraph(
            "ms are of a photograph; then: what it takes once this term and those above it are the "
            "second's; ln: by how much that changes the logarithm. Intervals are of 95%, by "
            "resampling the rounds; all orders: least and most, whichever of the 720 orders the "
            "terms are switched in.",
            "faint",
        )
    )
    return blocks


def _caption(observations: Observations) -> dict[str, str]:
    machine, commit = observations.machine, observations.commit
    changed = " (uncommitted changes)" if observations.dirty else ""
    libraries = dict.fromkeys(filter(None, observations.libraries.values()))
    rounds = sorted({len(side.as_is_s) for cell in observations.cells for side in cell})
    told = {
        "CPU": f"{describe_cpu(machine)}; {describe_isa(machine)}",
        "build": ", ".join((f"torch {machine.torch}", *libraries, machine.system)),
        "environment": ", ".join(f"{k} {v}" for k, v in observations.environment.items()),
        "code": f"commit {commit[:_SHORT_HASH]}{changed}" if commit else "no commit",
        "weights": describe_weights(observations.weights),
        "measured": ", ".join(
            filter(
                None,
                (
                    units.moment(observations.measured_at) if observations.measured_at else None,
                    f"{' to '.join(dict.fromkeys(map(str, (rounds[0], rounds[-1]))))} rounds"
                    if rounds
                    else None,
                    observations.command,
                ),
            )
        ),
    }
    return {label: value for label, value in told.items() if value}


def _overview(cells: tuple[Explained, ...]) -> Grid:
    return Grid(
        columns=(
            Column("pair", "left"),
            Column("batch"),
            Column("threads"),
            Column("speedup"),
            Column("verdict", "left"),
            *(Column(NAMES[term].replace(" ", "\n")) for term in TERMS),
        ),
        rows=tuple(_overview_row(one) for one in cells),
        num_keys=3,
    )


def _overview_row(one: Explained) -> tuple[str, ...]:
    found, verdict = one.decomposition, one.verdict
    has_shares = verdict.status != "no difference"
    shares = [
        whole_percent(part.share.value) if has_shares else units.NOTHING for part in found.parts
    ]
    leading = " and ".join(NAMES[term] for term in verdict.terms)
    return (
        f"{found.first.variant} / {found.second.variant}",
        str(found.second.batch),
        str(found.second.threads),
        units.ratio(found.speedup),
        leading or verdict.status,
        *shares,
    )


def _title(found: Decomposition) -> str:
    first, second = found.first, found.second
    threads = units.threads(second.threads)
    if first.variant == second.variant:
        return f"{second.variant}, {threads}: batch {second.batch} against {first.batch}"
    return f"{second.variant} against {first.variant}, batch {second.batch}, {threads}"


def _cell(one: Explained) -> list[Block]:
    found, verdict = one.decomposition, one.verdict
    blocks: list[Block] = [Paragraph(verdict.sentence, "strong")]
    if verdict.claim_sentence:
        blocks.append(
            Paragraph(
                f'"It is faster since it moves fewer bytes, not since its arithmetic is faster": '
                f"{verdict.claim_sentence}"
            )
        )
    if verdict.reasons:
        blocks.append(Items(verdict.reasons))
    blocks += [_table(found), Facts(tuple(_facts(found).items()))]
    if notes := (*_notes(found.first), *_notes(found.second)):
        blocks.append(Items(notes))
    return blocks


def _table(found: Decomposition) -> Grid:
    names = found.names
    total = (
        "together",
        units.milliseconds(found.first.as_is_s),
        units.milliseconds(found.second.as_is_s),
        "",
        units.signed(found.log_ratio, 3),
        "100",
        "",
        "",
    )
    return Grid(
        columns=(
            Column("term", "left"),
            *(Column(f"{name}\nms") for name in names),
            Column("then\nms"),
            Column("ln"),
            Column("%"),
            Column("95%"),
            Column("all orders\n%"),
        ),
        rows=(*(_row(part) for part in found.parts), total),
        rules=frozenset({len(TERMS) - 1}),
    )


def _row(part: Part) -> tuple[str, ...]:
    share = part.share
    return (
        NAMES[part.term],
        units.milliseconds(part.first_s),
        units.milliseconds(part.second_s),
        units.milliseconds(part.then_s),
        units.signed(part.log.value, 3),
        whole_percent(share.value),
        f"{whole_percent(share.interval.low)} to {whole_percent(share.interval.high)}",
        f"{whole_percent(share.least)} to {whole_percent(share.most)}",
    )


def _facts(found: Decomposition) -> dict[str, str]:
    """Return what else bears on the terms: faults, the machine's limit, and the bytes' own time."""
    sides = tuple(zip(found.names, (found.first, found.second), strict=True))
    faults, arithmetic = found.part("faults"), found.part("arithmetic")
    spent = (faults.first_s, faults.second_s)
    computed = (arithmetic.first_s, arithmetic.second_s)
    told = {
        "page faults": "; ".join(
            f"{name} {units.count(side.faults)} a photograph"
            + (f", {1e6 * seconds / side.faults:.1f} µs each" if side.faults >= 1 else "")
            for (name, side), seconds in zip(sides, spent, strict=True)
        ),
        "multiply-adds": "; ".join(
            f"{name} {units.milliseconds(seconds)} ms in the cache, "
            f"{side.at_limit_s / seconds:.0%} of the machine's limit"
            for (name, side), seconds in zip(sides, computed, strict=True)
            if side.at_limit_s is not None and seconds > 0
        ),
        "limits": _limits(found),
        "their bytes, copied": "; ".join(
            f"{name} {units.milliseconds(side.bytes_s)} ms"
            for name, side in sides
            if side.bytes_s is not None
        ),
    }
    return {label: value for label, value in told.items() if value}


def _limits(found: Decomposition) -> str:
    """Return how the machine's limits of both precisions and the kernels make up arithmetic."""
    first, second = found.first, found.second
    arithmetic = found.part("arithmetic")
    if not (first.at_limit_s and second.at_limit_s and arithmetic.second_s > 0):
        return ""
    of_hardware = first.at_limit_s / second.at_limit_s
    of_both = arithmetic.first_s / arithmetic.second_s
    return (
        f"arithmetic is {of_both:.2f}x as fast: {of_hardware:.2f}x by the machine's limits, "
        f"{of_both / of_hardware:.2f}x by how near the kernels come to them"
    )


def _notes(side: Side) -> tuple[str, ...]:
    return tuple(f"{side.variant}: {note}" for note in side.notes)
