"""Blocks as text for a terminal or a pipe: nothing is cut off, at any width."""

import io
from collections.abc import Iterable

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from indoor.report.blocks import Block, Facts, Grid, Heading, Paragraph

MIN_WIDTH = 40
"""Narrower than this no table is of use; a narrower terminal wraps the lines itself."""

_RULED = Box("    \n    \n ── \n    \n ── \n ── \n    \n    \n")
"""A rule below the header and between groups, and no other line."""

_GAPS = (2, 1)
"""Characters between two columns, the box's empty divider among them: 1 where 2 do not fit."""

_STYLES = {"plain": "", "strong": "bold", "faint": "dim"}


def as_text(blocks: Iterable[Block], *, width: int, color: bool) -> str:
    """Return the blocks as lines of at most `width` characters.

    A grid that is too wide becomes several, one below the other, each with the key columns.

    Args:
        blocks: What to print.
        width: Characters a line; below 40 counts as 40.
        color: Whether escape codes for bold, dim and colour may stand in it.

    Returns:
        Text that ends with a newline.
    """
    width = max(width, MIN_WIDTH)
    lines = io.StringIO()
    console = Console(
        file=lines,
        width=width,
        height=100,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={},
    )
    for block in blocks:
        for part in _renderables(block, width):
            console.print(part)
    text = lines.getvalue()
    if not color:
        text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    return text


def _renderables(block: Block, width: int) -> Iterable[RenderableType]:
    match block:
        case Heading(text, level):
            yield Text(text, style="bold cyan" if level == 1 else "bold", overflow="fold")
            yield Text(("═" if level == 1 else "─") * min(len(text), width), style="dim")
        case Paragraph(text, style):
            yield Text(text, style=_STYLES[style], overflow="fold")
            yield ""
        case Facts(entries):
            yield _facts(entries)
            yield ""
        case Grid():
            gap = next((gap for gap in _GAPS if _grid_width(block, gap) <= width), _GAPS[0])
            for part in _parts(block, width, gap):
                yield _table(part, gap)
                yield ""


def _facts(entries: tuple[tuple[str, str], ...]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, _GAPS[0], 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in entries:
        table.add_row(Text(label), Text(value))
    return table


def _table(grid: Grid, gap: int) -> Table:
    table = Table(
        box=_RULED,
        show_edge=False,
        padding=(0, gap - 1, 0, 0),
        pad_edge=False,
        header_style="bold",
        border_style="dim",
    )
    for column in grid.columns:
        table.add_column(Text(column.header), justify=column.align, vertical="top", overflow="fold")
    for index, row in enumerate(grid.rows):
        table.add_row(*(Text(cell) for cell in row), end_section=index in grid.rules)
    return table


def _parts(grid: Grid, width: int, gap: int) -> Iterable[Grid]:
    """Yield the grid in pieces that fit, each of at least one column beside the keys."""
    widths = _column_widths(grid)
    keys = list(range(grid.num_keys))
    room = width - sum(widths[: grid.num_keys]) - gap * (grid.num_keys - 1)
    chosen: list[int] = []
    taken = 0
    for index in range(grid.num_keys, len(grid.columns)):
        needed = widths[index] + gap
        if chosen and taken + needed > room:
            yield _only(grid, keys + chosen)
            chosen, taken = [], 0
        chosen.append(index)
        taken += needed
    yield _only(grid, keys + chosen)


def _grid_width(grid: Grid, gap: int) -> int:
    return sum(_column_widths(grid)) + gap * (len(grid.columns) - 1)


def _column_widths(grid: Grid) -> list[int]:
    return [
        max(cell_len(line) for text in texts for line in text.split("\n"))
        for texts in zip(*([column.header for column in grid.columns], *grid.rows), strict=True)
    ]


def _only(grid: Grid, indices: list[int]) -> Grid:
    return Grid(
        columns=tuple(grid.columns[index] for index in indices),
        rows=tuple(tuple(row[index] for index in indices) for row in grid.rows),
        num_keys=grid.num_keys,
        rules=grid.rules,
    )
