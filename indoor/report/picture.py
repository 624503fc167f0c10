"""What all pictures share; the only importer of matplotlib, and only when called."""

import hashlib
import io
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indoor.errors import IndoorError
from indoor.files import replace_file
from indoor.records import to_json
from indoor.report.blocks import OWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
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
    """Write the picture as a PNG, whole or not at all; it says which figures it draws.

    256 colours are all that its lines need, and a third of the bytes.
    """
    from PIL import Image  # matplotlib needs it, too
    from PIL.PngImagePlugin import PngInfo

    drawn, told = io.BytesIO(), PngInfo()
    figure.savefig(drawn, format="png", metadata={DRAWN: drawn_sha256(figure)})
    with Image.open(drawn) as image, replace_file(path) as temporary:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        for key, value in image.info.items():
            if isinstance(key, str) and isinstance(value, str):
                told.add_text(key, value)
        few.save(temporary, "PNG", optimize=True, pnginfo=told, dpi=image.info["dpi"])


DRAWN = "drawn-sha256"
"""Under this a PNG of ours holds `drawn_sha256` in its text."""


def drawn_sha256(figure: "Figure") -> str:
    """Return a hash of what a picture shows: its panels' titles, labels, points and whiskers.

    Two pictures of one hash tell the same, whatever drew them and at which size.
    """
    panels = [
        (
            axes.get_title(),
            axes.get_xlabel(),
            axes.get_ylabel(),
            axes.get_legend_handles_labels()[1],
            [_rounded(line.get_xydata()) for line in axes.lines],
            [[_rounded(part) for part in one.get_segments()] for one in _whiskers(axes)],
        )
        for axes in figure.axes
    ]
    return hashlib.sha256(to_json(panels)).hexdigest()


def _whiskers(axes: "Axes") -> "Iterator[LineCollection]":
    from matplotlib.collections import LineCollection

    return (one for one in axes.collections if isinstance(one, LineCollection))


def _rounded(points: Any) -> list[list[str]]:
    return [[f"{value:.6g}" for value in point] for point in points]


def as_svg(figure: "Figure") -> str:
    """Return the picture as SVG to stand within a page: its text is text, its ground the page's.

    The same figure gives the same characters. What is black becomes `currentColor`, so that a dark
    page shows it; identifiers begin with `OWN`.
    """
    import matplotlib as mpl

    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    written = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "indoor"}):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    drawing = text[text.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r' (width|height)="[\d.]+pt"', "", drawing, count=2)
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    drawing = re.sub(r'\bid="', f'id="{OWN}', drawing)
    drawing = re.sub(r'(href="|url\()#', rf"\g<1>#{OWN}", drawing)
    drawing = _DARK.sub("currentColor", _FONTS.sub("", drawing))
    return _TAG.sub(lambda tag: _DIGITS.sub(r"\1", tag[0]), _SPACE.sub("\n", drawing))


_DARK = re.compile(r"#000000|#262626")
"""What matplotlib draws frames, ticks and text with."""
_FONTS = re.compile(r" ?font-family: [^;\"]*;?")
"""The page's own is taken."""
_SPACE = re.compile(r"\s*\n\s*")
_TAG = re.compile("<[^>]*>")
_DIGITS = re.compile(r"(\.\d\d)\d+")
"""A hundredth of a point is finer than any screen, and matplotlib writes millionths."""
