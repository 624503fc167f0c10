"""Diagnoses as pictures, and as pages with these."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from indoor.diagnose.records import Diagnosis
from indoor.diagnose.render import LAYERS, diagnosis_blocks
from indoor.report.blocks import PageBlock, Picture
from indoor.report.picture import as_svg, blank, caption, save, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES_A_LAYER = 0.17
_LEAST_INCHES = 8.4


def plot_diagnosis(found: Diagnosis, path: Path) -> None:
    """Draw each layer's share of the error, and its signal-to-noise ratios, as the layers follow.

    Args:
        found: Of one layer at least.
        path: The PNG to write, whole or not at all.

    Raises:
        IndoorError: matplotlib is not installed, or `path` cannot be written.
    """
    save(draw_diagnosis(found), path)


def diagnosis_page_blocks(found: Diagnosis) -> Iterator[PageBlock]:
    """Yield a diagnosis's page: what the terminal shows, with all layers and their picture.

    Raises:
        IndoorError: matplotlib is not installed.
    """
    for block in diagnosis_blocks(found, every_layer=True):
        yield block
        if block == LAYERS:
            yield Picture(
                as_svg(draw_diagnosis(found)),
                f"Shares of the error and signal-to-noise ratios of {len(found.layers)} layers in "
                "their order; the figures are in the table.",
            )


def draw_diagnosis(found: Diagnosis) -> "Figure":
    """Return the picture that `plot_diagnosis` writes, of one layer at least."""
    layers = found.layers
    width = max(_LEAST_INCHES, _INCHES_A_LAYER * len(layers) + 1.2)
    figure = blank(width, 7.2)
    shares, ratios = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.4))
    places = range(len(layers))
    colours = ["#d55e00" if one.causes else "#0072b2" for one in layers]
    shares.bar(places, [100 * one.share for one in layers], color=colours)
    shares.set_ylabel("share of the error, %")
    for label, colour, marker, values in (
        ("alone, in the logits", "#0072b2", "o", [one.isolated_logit_sqnr_db for one in layers]),
        ("its weights", "#009e73", "v", [one.weight_sqnr_db for one in layers]),
        ("rounding its output", "#cc79a7", "s", [one.activation_sqnr_db for one in layers]),
        ("in the int8 network", "#000000", "", [one.accumulated_sqnr_db for one in layers]),
    ):
        told = [
            (place, value) for place, value in zip(places, values, strict=True) if value is not None
        ]
        ratios.plot(
            [place for place, _ in told],
            [value for _, value in told],
            label=label,
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.4 if not marker else 0.6,
        )
    ratios.set_ylabel("SQNR, dB")
    ratios.set_xticks(places, [one.layer for one in layers], rotation=90, fontsize=6.5)
    ratios.set_xlim(-0.8, len(layers) - 0.2)
    for axes in (shares, ratios):
        tidy(axes)
    ratios.tick_params(axis="x", labelsize=6.5)
    handles, labels = ratios.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    low, high = found.config.activation_range
    caption(
        figure,
        [
            f"{found.arch} on {found.num_photographs} photographs of the split {found.split} of "
            f"{found.data}; {found.config.observer} observers, {found.config.weights} weights, "
            f"activations {low}..{high}: logits {found.logit_sqnr_db:.1f} dB.",
            "Bars: the noise in the logits with this layer alone in int8; orange where a cause is "
            "named.",
        ],
        width,
    )
    return figure
