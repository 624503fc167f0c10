"""What all pictures share; the only importer of matplotlib, and only when called."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from indoor.errors import IndoorError
from indoor.files import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_DPI = 144

_CAPTION_CHARACTERS_PER_INCH = 15.5


def blank(width: float, height: float) -> "Figure":
    """Return a figure of that many inches, without pyplot: no global state, and drawn by Agg.

    Raises:
        IndoorError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise IndoorError(
            f"cannot plot: {error}; expected matplotlib; pip install 'indoor[plot]'"
        ) from error
    return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def tidy(axes: "Axes") -> None:
    """Give a panel its faint grid, and take its frame's upper and right side away."""
    axes.grid(visible=True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def caption(figure: "Figure | SubFigure", lines: list[str], width: float) -> None:
    """Write lines below the panels, wrapped to the picture's width in inches."""
    columns = int(width * _CAPTION_CHARACTERS_PER_INCH)
    text = "\n".join(part for line in lines for part in textwrap.wrap(line, columns))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color="0.35")


def save(figure: "Figure", path: Path) -> None:
    """Write the picture as a PNG, whole or not at all."""
    with replace_file(path) as temporary:
        figure.savefig(temporary, format="png")
