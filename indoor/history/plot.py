"""The picture of a history: each cell's level over the commits, and where it changed."""

from pathlib import Path
from typing import TYPE_CHECKING

from indoor.errors import IndoorError
from indoor.gate.wording import shorten
from indoor.history.records import CellHistory, History
from indoor.history.render import tell_change
from indoor.report.picture import blank, caption, save, tidy
from indoor.report.units import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _PANEL_HEIGHT = 8.4, 2.6


def plot_history(history: History, path: Path) -> None:
    """Draw a panel a cell, one below the other, with 95% intervals and changes as lines.

    Args:
        history: The chains.
        path: The PNG to write, whole or not at all.

    Raises:
        IndoorError: matplotlib is not installed, there is nothing to draw, or `path` cannot be
            written.
    """
    if not history.cells:
        raise IndoorError(
            f"cannot plot {path}: no gate is kept; expected one or more; keep a gate's JSON with "
            "`indoor history FILE`"
        )
    save(draw_history(history), path)


def draw_history(history: History) -> "Figure":
    """Return the picture that `plot_history` writes, of a history with a cell at least."""
    figure = blank(_WIDTH, _PANEL_HEIGHT * len(history.cells) + 0.4)
    panels = figure.subplots(len(history.cells), 1, squeeze=False)[:, 0]
    _, short = shorten([cell.name for cell in history.cells])
    for axes, cell in zip(panels, history.cells, strict=True):
        positions = [place.position for place in cell.places]
        axes.fill_between(
            positions,
            [100 * ((p.interval.low if p.interval else 1) - 1) for p in cell.places],
            [100 * ((p.interval.high if p.interval else 1) - 1) for p in cell.places],
            color="#0072b2",
            alpha=0.18,
            linewidth=0,
        )
        levels = [100 * (place.level - 1) for place in cell.places]
        axes.plot(positions, levels, color="#0072b2", marker="o", markersize=3)
        for first, last in _spans(cell):
            axes.axvspan(first - 0.15, last + 0.15, color="#d55e00", alpha=0.3, linewidth=0)
        axes.set_title(clean(short[cell.name]), fontsize=10, loc="left")
        axes.set_ylabel(f"% since {cell.reference[:7]}", fontsize=9)
        axes.xaxis.get_major_locator().set_params(integer=True)
        tidy(axes)
    panels[-1].set_xlabel("commit of the branch")
    caption(
        figure,
        [
            "Time over that of the oldest commit by all gates together, with its 95% interval; "
            "orange: what changed.",
            *(
                f"{clean(short[cell.name])}: {tell_change(change)}."
                for cell in history.cells
                for change in cell.changes
            ),
        ],
        _WIDTH,
    )
    return figure


def _spans(cell: CellHistory) -> list[tuple[int, int]]:
    """Return the positions between which the changes happened."""
    positions = {place.commit: place.position for place in cell.places}
    return [
        (
            positions[change.commit] if change.kind == "step" else positions[change.after],
            positions[change.commit],
        )
        for change in cell.changes
    ]
