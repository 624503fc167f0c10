"""Blocks as GitHub's markdown, for a file, the summary of a job or a comment."""

from collections.abc import Iterable, Iterator, Sequence

from indoor.report.blocks import (
    Block,
    Column,
    Details,
    Facts,
    Grid,
    Heading,
    Items,
    Judged,
    Paragraph,
    Picture,
    Verdicts,
)


def as_markdown(blocks: Iterable[Block | Details]) -> str:
    """Return the blocks as markdown, with tables as GitHub reads them."""
    return "\n\n".join(part for block in blocks for part in _parts(block)) + "\n"


def markdown_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as GitHub reads it; its cells are markdown already, no newline ends it."""
    header = [_escape(" ".join(column.header.split())) for column in columns]
    rule = [":---" if column.align == "left" else "---:" for column in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _parts(block: Block | Details | Picture) -> Iterator[str]:
    match block:
        case Picture():
            return
        case Details(blocks):
            # Without the empty line after it GitHub takes what follows for HTML.
            yield "<details>\n<summary>Details</summary>"
            for inner in blocks:
                yield from _parts(inner)
            yield "</details>"
        case Heading(text, level):
            yield f"{'#' * (level + 1)} {_escape(text)}"
        case Paragraph(text, style):
            mark = {"plain": "", "strong": "**", "faint": "_"}[style]
            yield f"{mark}{_escape(text)}{mark}"
        case Facts(entries):
            yield "\n".join(f"- **{_escape(label)}**: {_escape(text)}" for label, text in entries)
        case Items(entries):
            yield "\n".join(f"- {_escape(entry)}" for entry in entries)
        case Grid(columns, rows):
            yield markdown_table(columns, [[_escape(cell) for cell in row] for row in rows])
        case Verdicts(noun=noun, columns=columns, rows=rows):
            left = [Column(header, "left") for header in (noun, "verdict", "reason")]
            yield markdown_table((*left[:2], *columns, left[2]), [_judged(row) for row in rows])


def _judged(row: Judged) -> list[str]:
    verdict = row.verdict if row.tone == "good" else f"**{row.verdict}**"
    return [_escape(row.name), verdict, *map(_escape, row.figures), _escape(row.reason)]


def _escape(text: str) -> str:
    """Return the text with everything that GitHub would take for its own marks escaped."""
    for character in "\\`*_[]<>|#~&$":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", "<br>")
