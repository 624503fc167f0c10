"""A gate as a page: the verdict, each cell's interval against its limits, the pairs over time."""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from indoor.gate.decide.verdicts import name_verdict
from indoor.gate.records import CellReport, CellTrace, GateReport, GateVerdict
from indoor.gate.report import gate_blocks, limits_of
from indoor.gate.wording import shorten
from indoor.report.blocks import Details, Heading, PageBlock, Picture
from indoor.report.marks import dots
from indoor.report.picture import as_svg, blank, caption, tidy
from indoor.report.units import clean, share, slowdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {
    GateVerdict.PASS: "#009e73",
    GateVerdict.IMPROVED: "#56b4e9",
    GateVerdict.FAIL: "#d55e00",
    GateVerdict.INCONCLUSIVE: "#e69f00",
    GateVerdict.UNRELIABLE: "#cc79a7",
}
"""Okabe and Ito's, as in all pictures."""
_WIDTH, _CELL_HEIGHT = 8.4, 0.34
_STYLES = ("-", "--", ":")
"""Of the lines of a cell's limits, in their order."""
_ABOUT = (
    "Head's time / base's - 1: the median of the pairs with its 95% interval. Solid line: the "
    "margin, above which a slowdown counts. Dashed: the tolerance. Dotted: what is accepted."
)


def gate_page_blocks(report: GateReport) -> Iterator[PageBlock]:
    """Yield a gate's page.

    Raises:
        IndoorError: matplotlib is not installed.
    """
    opening, rest = gate_blocks(report)
    yield from opening
    timed = [cell for cell in report.cells if cell.interval is not None]
    if timed:
        yield Picture(as_svg(_draw(timed)), f"Intervals of {len(timed)} cells against their limits")
    yield from rest
    yield from _pairs(report.traces)


def page_title(report: GateReport) -> str:
    """Return what a browser calls the page."""
    return f"indoor gate: {name_verdict(report)}"


def _draw(cells: Sequence[CellReport]) -> "Figure":
    figure = blank(_WIDTH, 1.2 + _CELL_HEIGHT * len(cells))
    axes = figure.subplots()
    _, short = shorten([cell.name for cell in cells])
    for place, cell in enumerate(cells):
        assert cell.interval is not None
        assert cell.ratio is not None
        low, high = (100 * (end - 1) for end in (cell.interval.low, cell.interval.high))
        axes.plot([low, high], [place, place], color=_COLOURS[cell.verdict], linewidth=2.5)
        axes.plot([100 * (cell.ratio - 1)], [place], color=_COLOURS[cell.verdict], marker="o")
        for limit, style in zip(limits_of(cell), _STYLES, strict=False):
            ends = [place - 0.4, place + 0.4]
            axes.plot([100 * limit] * 2, ends, color="0.45", linestyle=style, linewidth=1.2)
    axes.axvline(0, color="0.45", linewidth=0.8)
    names = [f"{clean(short[cell.name])}: {cell.verdict.value}" for cell in cells]
    axes.set_yticks(range(len(cells)), names)
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlabel("slowdown (%)")
    tidy(axes)
    caption(figure, [_ABOUT], _WIDTH)
    return figure


def _pairs(traces: Sequence[CellTrace]) -> Iterator[PageBlock]:
    """Yield each cell's pairs in the order of time."""
    _, short = shorten([trace.name for trace in traces])
    shown = [(trace, _ratios(trace)) for trace in traces]
    if any(ratios for _, ratios in shown):
        yield Heading("Pairs over time")
    for trace, ratios in shown:
        if ratios:
            middle = statistics.median(ratios)
            yield Details(
                (dots(ratios, "pairs, head / base - 1"),),
                summary=f"{clean(short[trace.name])}: {len(ratios)} pairs in "
                f"{len(trace.launches)} launches, median {slowdown(1 + middle)}, "
                f"widest {share(max(map(abs, ratios)))}",
            )


def _ratios(trace: CellTrace) -> list[float]:
    """Return head's time / base's - 1 of every pair; a launch of base and its copy has none."""
    found = [
        head / base - 1
        for launch in trace.launches
        for base, head in zip(
            launch.seconds.get("base", ()), launch.seconds.get("head", ()), strict=False
        )
        if base > 0
    ]
    return [ratio for ratio in found if math.isfinite(ratio)]
