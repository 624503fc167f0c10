"""Blocks as GitHub's markdown."""

from collections.abc import Iterable

from indoor.report.blocks import Block, Facts, Grid, Heading, Paragraph


def as_markdown(blocks: Iterable[Block]) -> str:
    """Return the blocks as markdown, with tables as GitHub reads them."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * (level + 1)} {_escape(text)}"
        case Paragraph(text, style):
            mark = {"plain": "", "strong": "**", "faint": "_"}[style]
            return f"{mark}{_escape(text)}{mark}"
        case Facts(entries):
            return "\n".join(f"- **{_escape(label)}**: {_escape(text)}" for label, text in entries)
        case Grid():
            return _table(block)


def _table(grid: Grid) -> str:
    rows = [
        [" ".join(_escape(column.header).split()) for column in grid.columns],
        [":---" if column.align == "left" else "---:" for column in grid.columns],
        *([_escape(cell) for cell in row] for row in grid.rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _escape(text: str) -> str:
    """Return the text with everything that markdown would take for its own marks escaped."""
    for character in "\\`*_[]<>|#~":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", "<br>")
