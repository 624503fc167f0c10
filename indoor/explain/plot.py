"""Explanations as a picture, and as a page with it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from indoor.explain.observations import Observations
from indoor.explain.render import explanation_blocks
from indoor.explain.roofline import layers_blocks
from indoor.explain.terms import NAMES, TERMS, Term
from indoor.explain.verdict import Explained, Explanation
from indoor.report import units
from indoor.report.blocks import Details, Grid, PageBlock, Picture
from indoor.report.picture import as_svg, blank, caption, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = 8.4
_COLOURS: dict[Term, str] = {
    "faults": "#cc79a7",
    "fusion": "#56b4e9",
    "memory": "#0072b2",
    "overhead": "#e69f00",
    "arithmetic": "#009e73",
    "unexplained": "#999999",
}


def explanation_page_blocks(
    observations: Observations, explanation: Explanation
) -> Iterator[PageBlock]:
    """Yield an explanation's page: what the terminal shows, layers too, with a picture.

    Raises:
        IndoorError: matplotlib is not installed.
    """
    blocks = explanation_blocks(observations, explanation)
    overview = next(block for block in blocks if isinstance(block, Grid))
    for block in blocks:
        if block is overview:
            yield Picture(
                as_svg(draw_shares(explanation.cells)),
                "The terms of each speedup's logarithm, a bar a cell; the figures are in the table "
                "of each.",
            )
        yield block
    layers = tuple(layers_blocks(observations))
    yield Details(layers, "Each operator's time, and each layer's place under the roofline")


def draw_shares(cells: Sequence[Explained]) -> "Figure":
    """Return a bar a cell: what each term is of the speedup's logarithm, in order.

    Terms that make the second slower stand left of zero.

    Raises:
        IndoorError: matplotlib is not installed.
    """
    figure = blank(_INCHES, 1.9 + 0.42 * len(cells))
    from matplotlib.patches import Patch  # `blank` has told where there is none

    axes = figure.subplots()
    names = []
    for place, one in enumerate(cells):
        found = one.decomposition
        ends = {True: 0.0, False: 0.0}  # of what makes it faster, and of what makes it slower
        for part in found.parts:
            value = part.log.value
            axes.barh(place, value, left=ends[value > 0], height=0.7, color=_COLOURS[part.term])
            ends[value > 0] += value
        axes.plot([found.log_ratio], [place], "D", color="#000000", markersize=4)
        names.append(
            f"{found.first.variant} / {found.second.variant}, batch {found.second.batch}, "
            f"{units.threads(found.second.threads)}: {units.ratio(found.speedup)}"
        )
    axes.axvline(0, color="0.45", linewidth=1)
    axes.set_yticks(range(len(cells)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("part of the speedup's natural logarithm")
    tidy(axes)
    axes.tick_params(axis="y", labelsize=8)
    figure.legend(
        handles=[Patch(color=_COLOURS[term], label=NAMES[term]) for term in TERMS],
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    caption(
        figure,
        ["Terms in the stated order. Left of zero: what makes the second slower. Diamond: all."],
        _INCHES,
    )
    return figure
