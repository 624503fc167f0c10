"""A history as text, markdown or JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from indoor.gate.wording import count, shorten
from indoor.history.records import CellHistory, Change, History, Place
from indoor.records import to_json
from indoor.report.blocks import Block, Column, Details, Facts, Grid, Heading, Items, Paragraph
from indoor.report.markdown import as_markdown
from indoor.report.text import as_text
from indoor.report.units import clean, share, slowdown, slowdown_interval

HistoryFormat = Literal["text", "markdown", "json"]

_NUM_NEWEST = 20
_MAX_OTHERS = 3


def render_history(
    history: History,
    *,
    format: HistoryFormat = "text",  # noqa: A002 - the option of every command that prints
    width: int = 80,
    color: bool = False,
) -> str:
    """Return what the history says; it ends with a newline.

    Args:
        history: The chains and their changes.
        format: `text` for a terminal, `markdown` as GitHub reads it, the chains folded at its end,
            `json` for the whole record.
        width: Characters a line of `text`, 40 or more.
        color: Whether `text` may hold escape codes.

    Raises:
        ValueError: The format is unknown.
    """
    match format:
        case "json":
            return to_json(history, indent=2).decode("utf-8")
        case "markdown":
            return as_markdown((*_found(history), Details(tuple(_chains(history)))))
        case "text":
            blocks = (*_found(history), *_chains(history))
            return as_text(blocks, width=width, color=color).rstrip("\n") + "\n"
        case _:
            raise ValueError(f"format {format!r}, expected text, markdown or json")


def history_blocks(history: History) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
    """Return what was found, and the chains that it was found on."""
    return tuple(_found(history)), tuple(_chains(history))


def tell_change(change: Change) -> str:
    """Return a change in one sentence, without its cell."""
    commit, after = change.commit[:12], change.after[:12]
    subject = f" ({clean(change.subject)})" if change.subject else ""
    figures = f"{slowdown(change.ratio)} ({slowdown_interval(change.interval)})"
    if change.kind == "drift":
        return (
            f"{figures}, little by little over the {change.num_commits} commits behind {after} "
            f"up to {commit}{subject}"
        )
    words = f"{figures} with {commit}{subject}"
    if change.num_commits > 1:
        words += f" or another of the {change.num_commits} commits behind {after}"
    if change.test_changed:
        words += ", which changed its test, too"
    if change.or_with:
        others = ", ".join(one[:12] for one in change.or_with[:_MAX_OTHERS])
        rest = len(change.or_with) - _MAX_OTHERS
        words += f"; {others}{f' and {rest} more' if rest > 0 else ''} cannot be excluded"
    return words


def _found(history: History) -> Iterator[Block]:
    slower = [c for cell in history.cells for c in cell.changes if c.ratio > 1]
    faster = [c for cell in history.cells for c in cell.changes if c.ratio <= 1]
    told = [count(len(found), word) for found, word in ((slower, "slowdown"), (faster, "gain"))]
    yield Heading(f"History: {' and '.join(told)}", level=1, tone="bad" if slower else "good")
    if not history.cells:
        yield Paragraph(
            "Nothing is kept yet: indoor gate --base REV --head REV --out FILE measures a link, "
            "indoor history FILE keeps it."
        )
    else:
        yield Paragraph(
            f"{count(history.num_gates, 'gate')} of {count(history.num_commits, 'commit')} on "
            f"{count(len(history.machines), 'machine')} ({clean('; '.join(history.machines))}); a "
            "history without any change is said to have one with a chance of at most "
            f"{share(history.alpha)}, over {count(len(history.cells), 'cell')}."
        )
    _, short = shorten([cell.name for cell in history.cells])
    lines = [
        f"{clean(short[cell.name])}: {tell_change(change)}"
        for cell in history.cells
        for change in cell.changes
    ]
    if lines:
        yield Heading("What changed")
        yield Items(tuple(lines))
    if history.notes:
        yield Heading("Notes")
        yield Items(tuple(map(clean, history.notes)))


def _chains(history: History) -> Iterator[Block]:
    if not history.cells:
        return
    shared, short = shorten([cell.name for cell in history.cells])
    yield Heading("Where each cell stands")
    if shared:
        yield Paragraph(f"Cells of {clean(shared)}")
    yield Grid(
        columns=(
            Column("cell", "left"),
            Column("since", "left"),
            Column("to", "left"),
            Column("slowdown"),
            Column("95%\ninterval"),
            Column("links"),
        ),
        rows=tuple(_row(cell, short) for cell in history.cells),
    )
    yield Paragraph(
        "Slowdown is the newest commit's time over the oldest's - 1, by all links together, and so "
        "is its interval."
    )
    yield Heading(f"Slowdown since the oldest commit, of the newest {_NUM_NEWEST}")
    yield _newest(history.cells, short)


def _row(cell: CellHistory, short: Mapping[str, str]) -> tuple[str, ...]:
    last = cell.places[-1]
    return (
        clean(short[cell.name]),
        cell.reference[:12],
        last.commit[:12],
        slowdown(last.level),
        slowdown_interval(last.interval),
        str(cell.num_links),
    )


def _newest(cells: Sequence[CellHistory], short: Mapping[str, str]) -> Block:
    """Return the newest commits' levels, a column a cell."""
    found: dict[str, Place] = {place.commit: place for cell in cells for place in cell.places}
    ordered = sorted(found.values(), key=lambda place: (place.position, place.commit))
    levels = [{place.commit: place for place in cell.places} for cell in cells]
    if not ordered:
        return Facts(())
    return Grid(
        columns=(Column("commit", "left"), *(Column(clean(short[cell.name])) for cell in cells)),
        rows=tuple(
            (
                place.commit[:12],
                *(
                    slowdown(known[place.commit].level) if place.commit in known else "-"
                    for known in levels
                ),
            )
            for place in ordered[-_NUM_NEWEST:]
        ),
    )
