"""What a report is made of, whatever it is printed as: headings, paragraphs and grids."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Heading:
    """The line that opens a run or one of its parts; level 1 is a run."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Words; `strong` ones carry the verdict, `faint` ones say what a figure belongs to."""

    text: str
    style: Literal["plain", "strong", "faint"] = "plain"


@dataclass(frozen=True)
class Facts:
    """Labels with their values, each value as long as it must be."""

    entries: tuple[tuple[str, str], ...]


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
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    num_keys: int = 1
    rules: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """Every row has a cell for every column."""
        assert all(len(row) == len(self.columns) for row in self.rows)
        assert 1 <= self.num_keys <= len(self.columns)


Block = Heading | Paragraph | Facts | Grid
