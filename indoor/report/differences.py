"""Photographs that two variants answer differently: who said what, how sure, who was right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from indoor.report.blocks import Column, Grid, Heading, PageBlock, Paragraph, Photograph
from indoor.report.units import clean, percent

MOST_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Differing:
    """One photograph with two answers: classes, and each one's softmax, in 0..1.

    `jpeg` is a small copy to look at; None: not asked for.
    """

    name: str
    label: str
    first: str
    first_confidence: float
    other: str
    other_confidence: float
    jpeg: bytes | None = None


def differing_blocks(
    found: Sequence[Differing], first: str, other: str, num_photographs: int
) -> Iterator[PageBlock]:
    """Yield a table of the photographs, the surest answers first, and pictures where there are.

    Args:
        found: In the order to show.
        first: The variant whose answers are `first`, such as `float32`.
        other: The variant whose answers are `other`.
        num_photographs: That both answered.
    """
    yield Heading(f"Where {other} answers otherwise than {first}")
    if not found:
        yield Paragraph(f"Nowhere: all {num_photographs:,} answers are the same.")
        return
    yield Paragraph(
        f"{len(found):,} of {num_photographs:,} photographs, the surest answers first. % is the "
        "softmax of the answer; * marks the right one."
    )
    shown = found[:MOST_SHOWN]
    yield Grid(
        columns=(
            Column("photograph", "left"),
            Column(first, "left"),
            Column("%"),
            Column(other, "left"),
            Column("%"),
            Column("is", "left"),
        ),
        rows=tuple(
            (
                clean(one.name),
                _marked(one.first, one.label),
                percent(one.first_confidence),
                _marked(one.other, one.label),
                percent(one.other_confidence),
                clean(one.label),
            )
            for one in shown
        ),
    )
    if len(found) > MOST_SHOWN:
        yield Paragraph(f"{len(found) - MOST_SHOWN:,} more are left out here.", "faint")
    for one in shown:
        if one.jpeg is not None:
            words = (
                f"{clean(one.name)}: {first} {_marked(one.first, one.label)} "
                f"{percent(one.first_confidence)}%, {other} {_marked(one.other, one.label)} "
                f"{percent(one.other_confidence)}%"
            )
            yield Photograph(one.jpeg, words)


def _marked(answer: str, label: str) -> str:
    return f"{clean(answer)} *" if answer == label else clean(answer)
