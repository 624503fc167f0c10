"""Pictures of runs and of fine-tunings."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indoor.errors import IndoorError
from indoor.records import TrainingCurves
from indoor.report import units
from indoor.report.blocks import MANY
from indoor.report.caption import short_caption
from indoor.report.headline import Headline
from indoor.report.picture import blank, caption, save, tidy
from indoor.runs.results import MeasuredCase, RunResult
from indoor.runs.select import (
    allocators,
    batch_sizes,
    described,
    evaluations,
    labels,
    latencies,
    thread_counts,
    variants,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_PANEL_INCHES = 3.8
_HEIGHT, _HEIGHT_OF_MANY = 4.3, 6.6
_OTHER_STYLES = (("#009e73", "D"), ("#cc79a7", "v"), ("#56b4e9", "P"), ("#000000", "X"))
"""Okabe and Ito's colours, which people with any colour vision can tell apart, and markers."""

_MARKERS = "os^vDPX*"
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (8, 1.5)))
"""Of many variants, by runtime; eight markers with five lines tell forty apart."""

_SHIFT, _SHIFT_OF_MANY = 0.05, 0.02
"""Octaves of the batch between two variants, so that their whiskers do not hide each other."""

_FRONTIER_INCHES = 7.6
_FRONTIER = (
    "Left and up is better. Whiskers: Wilson's 95% interval of top-1. Line: what no other beats in "
    "both, by these points alone."
)

_WHISKERS = (
    "Points: medians of the rounds. Whiskers: first to third quartile. Variants stand a little "
    "apart sideways."
)
_LEGEND_OF_MANY = "Colours: the precision. Markers and lines: the runtime. The axis is logarithmic."


def plot_latency(results: Sequence[RunResult], path: Path) -> None:
    """Draw ms per photograph over the batch, a panel a thread count and a row of panels a run.

    Each point is a median; its whisker goes from the first to the third quartile of the rounds.

    Args:
        results: Runs; those without a forward pass are left out.
        path: The PNG to write, whole or not at all.

    Raises:
        IndoorError: matplotlib is not installed, no run timed a forward pass, or `path` cannot
            be written.
    """
    runs = [result for result in results if latencies(result)]
    if not runs:
        raise IndoorError(
            f"cannot plot {path}: no forward pass was timed; expected cases of batch x threads; "
            "run `pytest bench` without narrowing it to other cases"
        )
    save(draw_latency(runs), path)


def draw_latency(runs: Sequence[RunResult]) -> "Figure":
    """Return the picture that `plot_latency` writes, of runs that timed a forward pass."""
    num_columns = max(len(thread_counts(_shown(run))) for run in runs)
    width = max(6.4, num_columns * _PANEL_INCHES)
    heights = [_HEIGHT_OF_MANY if len(variants(run)) > MANY else _HEIGHT for run in runs]
    figure = blank(width, sum(heights))
    rows = figure.subfigures(len(runs), 1, squeeze=False, height_ratios=heights)
    for row, run in zip(rows[:, 0], runs, strict=True):
        _latency_row(row, run, width)
    return figure


def draw_frontier(run: RunResult, answer: Headline, batch: int) -> "Figure":
    """Return top-1 over ms per photograph, with the line of those that nothing beats in both.

    Args:
        run: One that measured both.
        answer: Its headline.
        batch: Whose times are shown, at the headline's thread count.
    """
    figure = blank(_FRONTIER_INCHES, _HEIGHT)
    axes = figure.subplots()
    styles, names = _styles(run), _names(run)
    points: list[tuple[float, float]] = []
    for name, accuracy in evaluations(run).items():
        cell = answer.cells.get((name, batch))
        if cell is None or cell.latency is None:
            continue
        x, y, interval = 1e3 * cell.latency.median_s, accuracy.top1.value, accuracy.top1.interval
        points.append((x, 100 * y))
        axes.errorbar(
            [x],
            [100 * y],
            yerr=[[100 * (y - interval.low)], [100 * (interval.high - y)]],
            color=styles[name]["color"],
            marker=styles[name]["marker"],
            markersize=5,
            elinewidth=0.8,
            capsize=2,
            linestyle="",
            label=names[name],
        )
    best = frontier(points)
    axes.step(*zip(*best, strict=True), where="post", color="0.45", linewidth=1, zorder=0)
    axes.set_xlabel(f"ms per photograph at batch {batch}, {units.threads(answer.threads or 1)}")
    axes.set_ylabel("top-1 (%)")
    axes.set_xlim(left=0)
    tidy(axes)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    caption(figure, [_FRONTIER], _FRONTIER_INCHES)
    return figure


def frontier(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points with no other of less `x` and as much `y`, by ascending `x`."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda one: (one[0], -one[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best


def plot_curves(curves: TrainingCurves, path: Path) -> None:
    """Draw a fine-tuning's loss and accuracy over its epochs, its best epoch marked.

    Args:
        curves: The history, of one epoch at least.
        path: The PNG to write, whole or not at all.

    Raises:
        IndoorError: matplotlib is not installed, there is no epoch, or `path` cannot be written.
    """
    if not curves.epochs:
        raise IndoorError(f"cannot plot {path}: no epoch has ended; train for one at least")
    save(draw_curves(curves), path)


def draw_curves(curves: TrainingCurves) -> "Figure":
    """Return the picture that `plot_curves` writes, of one epoch at least."""
    figure = blank(8.4, 3.8)
    loss, accuracy = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in curves.epochs]
    marker = "o" if len(epochs) <= 40 else ""
    for axes, title, train, val in (
        (
            loss,
            "loss (nats)",
            [epoch.train_loss for epoch in curves.epochs],
            [epoch.val_loss for epoch in curves.epochs],
        ),
        (
            accuracy,
            "accuracy (%)",
            [100 * epoch.train_accuracy for epoch in curves.epochs],
            [100 * epoch.val_accuracy for epoch in curves.epochs],
        ),
    ):
        axes.plot(epochs, train, color="#0072b2", marker=marker, markersize=3.5, label="train")
        axes.plot(epochs, val, color="#d55e00", marker=marker, markersize=3.5, label="validation")
        axes.axvline(curves.best_epoch, color="0.45", linestyle="--", linewidth=1, zorder=0)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        tidy(axes)
    loss.set_ylim(bottom=0)
    best = next((e for e in curves.epochs if e.epoch == curves.best_epoch), curves.epochs[-1])
    lines = [
        f"Recipe {curves.recipe}, {len(epochs)} epochs. Dashed: the best epoch by validation, "
        f"{best.epoch} (validation {best.val_accuracy:.1%}, train {best.train_accuracy:.1%}).",
        *([curves.note] if curves.note else []),
    ]
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    caption(figure, lines, 8.4)
    return figure


def _shown(run: RunResult) -> tuple[MeasuredCase, ...]:
    """Return the cases of the run's first allocator: the others are a cell or two."""
    return latencies(run, allocators(run)[0])


def _latency_row(figure: "SubFigure", run: RunResult, width: float) -> None:
    """Draw one run: a panel a thread count, all with the same axes."""
    cases = _shown(run)
    counts = thread_counts(cases)
    panels = figure.subplots(1, len(counts), sharex=True, sharey=True, squeeze=False)[0]
    sizes = batch_sizes(cases)
    styles, names = _styles(run), _names(run)
    many = len(styles) > MANY
    for axes, threads in zip(panels, counts, strict=True):
        for index, variant in enumerate(variants(run)):
            apart = _SHIFT_OF_MANY * (index - len(styles) / 2) if many else _SHIFT * (index - 1)
            shown = [c for c in cases if _is_of(c, variant, threads)]
            _line(axes, shown, 2.0**apart, many=many, label=names[variant], **styles[variant])
        axes.set_title(units.threads(threads), fontsize=10)
        axes.set_xlabel("batch")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        tidy(axes)
    panels[0].set_ylabel("ms per photograph")
    if many:  # the fastest lie a tenth of the way to the slowest
        _logarithmic(panels[0])
    else:
        panels[0].set_ylim(bottom=0)
    entries = dict(zip(*reversed(panels[0].get_legend_handles_labels()), strict=True))
    for axes in panels[1:]:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside upper center",
        ncols=3 if many else 4,
        frameon=False,
        fontsize=8 if many else 9,
        handlelength=3.4 if many else None,
    )
    caption(figure, [short_caption(run), _WHISKERS, *([_LEGEND_OF_MANY] if many else [])], width)


def _names(run: RunResult) -> dict[str, str]:
    return {variant: label.replace("\n", " ") for variant, label in labels(run).items()}


def _styles(run: RunResult) -> dict[str, dict[str, Any]]:
    """Return each variant's colour, marker and line.

    A few have those they ask for; of many the colour says the precision, marker and line what is
    the same in several precisions, which is the runtime.
    """
    kinds = described(run)
    styles: dict[str, dict[str, Any]] = {}
    colours: dict[str, str] = {}
    for one in kinds.values():
        if one.colour is not None:
            colours.setdefault(one.precision, one.colour)
    kept: list[str] = []
    for index, variant in enumerate(variants(run)):
        colour, marker = _OTHER_STYLES[index % len(_OTHER_STYLES)]
        kind = kinds.get(variant)
        if kind is not None and len(kinds) <= MANY:
            colour, marker = kind.colour or colour, kind.marker or marker
        elif kind is not None:
            free = (c for c, _ in _OTHER_STYLES if c not in colours.values())
            colour = colours.setdefault(kind.precision, next(free, colour))
        styles[variant] = {"color": colour, "marker": marker}
        if len(kinds) > MANY:
            way = variant.removeprefix(kind.precision) if kind is not None else variant
            place = kept.index(way) if way in kept else len(kept)
            kept[place:] = [way] if place == len(kept) else kept[place:]
            styles[variant] |= {
                "marker": _MARKERS[place % len(_MARKERS)],
                "linestyle": _DASHES[place % len(_DASHES)],
            }
    return styles


def _logarithmic(axes: "Axes") -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _line(
    axes: "Axes", cases: list[MeasuredCase], shift: float, *, many: bool, **style: Any
) -> None:
    """Draw one variant's medians with their quartiles, all in ms per photograph."""
    places, medians, below, above = [], [], [], []
    for case in sorted(cases, key=lambda c: c.measurement.batch or 0):
        batch, latency = case.measurement.batch, case.measurement.latency
        if batch is None or latency is None:
            continue
        median = 1e3 * latency.median_s
        places.append(batch * shift)
        medians.append(median)
        below.append(max(0.0, median - 1e3 * case.rounds.q1_s / batch))
        above.append(max(0.0, 1e3 * case.rounds.q3_s / batch - median))
    if not places:
        return
    axes.errorbar(
        places,
        medians,
        yerr=[below, above],
        markersize=4.5,
        linewidth=1.4,
        elinewidth=1,
        capsize=0 if many else 3,
        **style,
    )


def _is_of(case: MeasuredCase, variant: str, threads: int) -> bool:
    one = case.measurement
    return one.variant == variant and one.threads == threads
