"""What a report is made of, whatever it is printed as: headings, words, facts and tables."""

from dataclasses import dataclass
from typing import Literal

Style = Literal["plain", "strong", "faint"]
Tone = Literal["plain", "good", "better", "bad", "open", "broken"]
"""What a verdict means to the reader, which decides its colour: `open` is not known either way,
`broken` is a measurement that went wrong."""

MANY = 4
"""Variants above which tables are made for their number: one line each, and an overview."""


@dataclass(frozen=True)
class Heading:
    """The line that opens a report (level 1) or one of its parts."""

    text: str
    level: int = 2
    tone: Tone = "plain"


@dataclass(frozen=True)
class Paragraph:
    """Words; `strong` ones carry the verdict, `faint` ones say what a figure belongs to."""

    text: str
    style: Style = "plain"


@dataclass(frozen=True)
class Facts:
    """Labels with their values, each value as long as it must be."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Items:
    """Sentences that stand for themselves."""

    entries: tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A column's header, whose lines are parted by newlines, and its cells' alignment."""

    header: str
    align: Literal["left", "right"] = "right"


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Attributes:
        columns: The first `num_keys` of them say what a row is about, and are repeated wherever
            the others have to be spread over several tables.
        rows: A cell a column each.
        num_keys: At least 1.
        rules: Indices of the rows below which a new group begins.
        anchors: For each row the name of the `Details` that tell more of it; none: no row has any.
        links: For each row the page that tells more of it, from this page; empty: there is none.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    num_keys: int = 1
    rules: frozenset[int] = frozenset()
    anchors: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Every row has a cell for every column."""
        assert all(len(row) == len(self.columns) for row in self.rows)
        assert 1 <= self.num_keys <= len(self.columns)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was judged, the verdict, a figure for each column, and the reason in words."""

    name: str
    verdict: str
    tone: Tone
    figures: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """A table of verdicts: `noun` (such as `cell`), the verdict, `columns`, and the reasons."""

    noun: str
    columns: tuple[Column, ...]
    rows: tuple[Judged, ...]


OWN = "own-"
"""What a picture's identifiers begin with; a page puts the picture's number in its place."""


@dataclass(frozen=True)
class Picture:
    """A drawing in SVG and what it shows in words, for a page; text and markdown have neither."""

    svg: str
    alt: str


@dataclass(frozen=True)
class Photograph:
    """A small JPEG with words below it, which a page alone shows."""

    jpeg: bytes
    words: str


@dataclass(frozen=True)
class Command:
    """A line for a shell, which a page lets copy."""

    line: str
    what: str


Block = Heading | Paragraph | Facts | Items | Grid | Verdicts


@dataclass(frozen=True)
class Details:
    """What a reader who trusts the verdict can skip: folded where that is possible.

    `anchor` is what rows of a `Grid` call it.
    """

    blocks: "tuple[Block | Picture, ...]"
    summary: str = "Details"
    anchor: str = ""


PageBlock = Block | Details | Picture | Photograph | Command
