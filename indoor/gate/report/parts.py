"""What a gate's report is made of, whatever it is printed as: sections, facts, items and tables."""

from dataclasses import dataclass

from indoor.gate.records import GateVerdict


@dataclass(frozen=True)
class Words:
    """A paragraph; `strong` where it carries the verdict."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Facts:
    """Labels with their values."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Items:
    """Sentences that stand for themselves."""

    entries: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was judged, the verdict, a figure for each further column, and the reason in words."""

    name: str
    verdict: GateVerdict
    figures: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Verdicts with their figures; the columns are `noun`, the verdict, `headers`, the reason.

    Attributes:
        noun: What a row is about, such as `cell`.
        headers: One for each figure; lines are parted by newlines.
        is_numeric: Whether the figures are numbers, which stand at the right of their column.
    """

    noun: str
    headers: tuple[str, ...]
    rows: tuple[Row, ...]
    is_numeric: bool = True


Part = Words | Facts | Items | Table


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and its parts; `is_detail` where a reader who trusts the verdict can skip it."""

    title: str
    parts: tuple[Part, ...]
    is_detail: bool = False
