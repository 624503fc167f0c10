"""Blocks as text for a terminal or a pipe: nothing is cut off, at any width."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

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

MIN_WIDTH = 40
"""Narrower than this no table is of use; a narrower terminal wraps the lines itself."""

_GAPS = (2, 1)
"""Characters between two columns: 1 where 2 do not fit."""

_GAP = _INDENT = "  "
_BOLD, _DIM, _TITLE = "1", "2", "1;36"
_CODES = {
    "plain": "",
    "strong": _BOLD,
    "faint": _DIM,
    "good": "32",
    "better": "36",
    "bad": "1;31",
    "open": "33",
    "broken": "1;35",
}
"""The terminal's codes (ECMA-48, SGR) of each style and tone."""


def as_text(blocks: Iterable[Block | Details], *, width: int, color: bool) -> str:
    """Return the blocks as lines of at most `width` characters.

    A grid that is too wide becomes several, one below the other, each with the key columns.

    Args:
        blocks: What to print.
        width: Characters a line; below 40 counts as 40.
        color: Whether escape codes for bold, dim and colour may stand in it.

    Returns:
        Text that ends with a newline; an empty line follows each block.
    """
    page = _Page(width=max(width, MIN_WIDTH), color=color)
    return "".join(f"{line.rstrip()}\n" for block in blocks for line in page.lines(block))


@dataclass(frozen=True, kw_only=True)
class _Page:
    """Lines of one width, with colours or without."""

    width: int
    color: bool

    def lines(self, block: Block | Details | Picture) -> Iterator[str]:
        match block:
            case Picture():
                return
            case Details(blocks):
                for inner in blocks:
                    yield from self.lines(inner)
                return
            case Heading(text, level, tone):
                code = _CODES[tone] or (_TITLE if level == 1 else _BOLD)
                yield from self._painted(text, code)
                yield self._paint(
                    ("═" if level == 1 else "─") * min(_cells(text), self.width), _DIM
                )
                return
            case Paragraph(text, style):
                yield from self._painted(text, _CODES[style])
            case Facts(entries):
                yield from self._facts(entries)
            case Items(entries):
                for entry in entries:
                    first, *rest = self._indented(entry)
                    yield f"-{first[1:]}"
                    yield from rest
            case Grid():
                yield from self._grid(block)
            case Verdicts():
                yield from self._verdicts(block)
        yield ""

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.color and text and code else text

    def _painted(self, text: str, code: str) -> Iterator[str]:
        for line in _wrap(text, self.width):
            yield self._paint(line, code)

    def _indented(self, text: str) -> list[str]:
        return [_INDENT + line for line in _wrap(text, self.width - len(_INDENT))]

    def _facts(self, entries: tuple[tuple[str, str], ...]) -> Iterator[str]:
        widest = max((_cells(label) for label, _ in entries), default=0)
        for label, value in entries:
            first, *rest = _wrap(value, self.width - widest - len(_GAP))
            yield f"{self._paint(_pad(label, widest), _DIM)}{_GAP}{first}"
            for line in rest:
                yield f"{'':{widest}}{_GAP}{line}"

    def _grid(self, grid: Grid) -> Iterator[str]:
        widths = _column_widths(grid.columns, grid.rows)
        gap = next((gap for gap in _GAPS if _table_width(widths, gap) <= self.width), _GAPS[0])
        for number, chosen in enumerate(_pieces_of(grid, widths, self.width, gap)):
            if number:
                yield ""
            yield from self._table(grid, chosen, [widths[index] for index in chosen], gap)

    def _table(
        self, grid: Grid, chosen: Sequence[int], widths: list[int], gap: int
    ) -> Iterator[str]:
        """Yield the lines of the chosen columns; where they are too wide, their cells wrap."""
        columns = [grid.columns[index] for index in chosen]
        widths = _narrowed(widths, self.width - gap * (len(widths) - 1))
        rule = self._paint("─" * _table_width(widths, gap), _DIM)
        yield from self._header(columns, widths, gap)
        yield rule
        for number, row in enumerate(grid.rows):
            cells = [_wrap(row[i], width) for i, width in zip(chosen, widths, strict=True)]
            for texts in zip_longest(*cells, fillvalue=""):
                yield _joined(texts, columns, widths, gap)
            if number in grid.rules and number < len(grid.rows) - 1:
                yield rule

    def _header(self, columns: Sequence[Column], widths: Sequence[int], gap: int) -> Iterator[str]:
        """Yield the header's lines; a short one stands at the bottom."""
        headers = [
            [line for part in column.header.split("\n") for line in _wrap(part, width)]
            for column, width in zip(columns, widths, strict=True)
        ]
        height = max(map(len, headers))
        for level in range(height):
            texts = ["" if (i := level - height + len(h)) < 0 else h[i] for h in headers]
            yield self._paint(_joined(texts, columns, widths, gap).rstrip(), _BOLD)

    def _verdicts(self, table: Verdicts) -> Iterator[str]:
        """Yield a line a row, or, where the figures take too much room, a line a figure."""
        gap = len(_GAP)
        columns = (Column(table.noun, "left"), Column("verdict", "left"), *table.columns)
        others = _column_widths(columns[1:], [(row.verdict, *row.figures) for row in table.rows])
        room = self.width - _table_width(others, gap) - gap
        if room < len(table.noun):
            for row in table.rows:
                yield from self._stacked(row, table.columns)
            return
        fitting = [_cells(row.name) for row in table.rows if _cells(row.name) <= room]
        widths = [max([*fitting, len(table.noun)]), *others]
        yield from self._header(columns, widths, gap)
        yield self._paint("─" * _table_width(widths, gap), _DIM)
        for row in table.rows:
            name = row.name
            if _cells(name) > widths[0]:
                yield from _wrap(name, self.width)
                name = ""
            verdict = self._paint(_pad(row.verdict, widths[1]), _CODES[row.tone])
            figures = _joined(row.figures, table.columns, widths[2:], gap)
            yield _GAP.join((_pad(name, widths[0]), verdict, figures))
            yield from self._indented(row.reason)

    def _stacked(self, row: Judged, columns: Sequence[Column]) -> Iterator[str]:
        verdict = self._paint(row.verdict, _CODES[row.tone])
        if _cells(row.name) + len(_GAP) + len(row.verdict) <= self.width:
            yield f"{row.name}{_GAP}{verdict}"
        else:
            yield from _wrap(row.name, self.width)
            yield f"{_INDENT}{verdict}"
        figures = [
            f"{' '.join(column.header.split())}: {figure}"
            for column, figure in zip(columns, row.figures, strict=True)
        ]
        if _cells(together := _GAP.join(figures)) <= self.width - len(_INDENT):
            figures = [together]
        for text in (*figures, row.reason):
            yield from self._indented(text)


def _pieces_of(grid: Grid, widths: list[int], width: int, gap: int) -> Iterator[list[int]]:
    """Yield the columns of pieces that fit, each of at least one column beside the keys."""
    keys = list(range(grid.num_keys))
    room = width - _table_width(widths[: grid.num_keys], gap)
    chosen: list[int] = []
    taken = 0
    for index in range(grid.num_keys, len(grid.columns)):
        needed = widths[index] + gap
        if chosen and taken + needed > room:
            yield keys + chosen
            chosen, taken = [], 0
        chosen.append(index)
        taken += needed
    yield keys + chosen


def _column_widths(columns: Iterable[Column], rows: Iterable[Sequence[str]]) -> list[int]:
    return [
        max(_cells(line) for text in texts for line in text.split("\n"))
        for texts in zip(*([column.header for column in columns], *rows), strict=True)
    ]


def _table_width(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


def _narrowed(widths: list[int], room: int) -> list[int]:
    """Return the widths with the widest columns cut, so that all fit; their cells are wrapped."""
    widths = list(widths)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return widths


def _joined(
    texts: Sequence[str], columns: Sequence[Column], widths: Sequence[int], gap: int
) -> str:
    cells = zip(texts, columns, widths, strict=True)
    return (" " * gap).join(_pad(text, width, column.align) for text, column, width in cells)


def _pad(text: str, width: int, align: str = "left") -> str:
    blanks = " " * (width - _cells(text))
    return text + blanks if align == "left" else blanks + text


def _wrap(text: str, width: int) -> list[str]:
    """Return at least one line; only blanks part words, since `-0.4` is a number."""
    # A name in a file from elsewhere must not steer the terminal.
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if _cells(paragraph) <= width:
            lines.append(paragraph)
            continue
        line = ""
        for word in paragraph.split():
            for piece in _pieces(word, width):
                if line and _cells(line) + 1 + _cells(piece) > width:
                    lines.append(line)
                    line = piece
                else:
                    line = f"{line} {piece}" if line else piece
        lines.append(line)
    return lines


def _pieces(word: str, width: int) -> Iterator[str]:
    """Yield a word, in pieces where it is longer than a line."""
    piece = ""
    for character in word:
        if _cells(piece) + _cells(character) > width:
            yield piece
            piece = ""
        piece += character
    yield piece


def _cells(text: str) -> int:
    """Return how many columns of a terminal the text takes: two for East Asian characters."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )
