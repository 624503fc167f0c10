"""What the study of calibration stores, the number that is read off it, its table and its plot."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from indoor.records import Count, Machine, PairedEvaluation, Share, WeightSource
from indoor.report.picture import blank, caption, save, tidy

Source = Literal["photographs", "torch.rand"]

_STYLES = tuple(zip(("#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7"), "osD^v", strict=True))

SAFE_DB = 0.5
"""How far the SQNR of a safe number's worst seed may lie below the mean at the largest number."""


@dataclass(frozen=True, kw_only=True)
class CalibrationRow:
    """An int8 network of one calibration against float32, on the same test photographs.

    `observer` is a name of ours or, where the study changed it, what it is called in a table;
    `choosing_s` is what it took from the end of the pass to the int8 network.
    """

    source: Source
    num_calibration: Count
    seed: int
    observer: str
    activation_range: tuple[int, int]
    pair: PairedEvaluation
    choosing_s: float

    @property
    def top1(self) -> float:
        """Return the int8 network's accuracy."""
        num_right = self.pair.num_both_right + self.pair.num_only_candidate_right
        return num_right / self.pair.num_photographs


@dataclass(frozen=True, kw_only=True)
class CalibrationStudy:
    """All rows of one checkpoint on one data set, as they are stored."""

    study: Literal["calibration"] = "calibration"
    arch: str
    weights: WeightSource
    data: str
    engine: str
    batch: Count
    threads: Count
    num_test: Count
    float32_top1: Share
    machine: Machine
    pass_s: tuple[float, ...]
    """Of each seed's passes, with all observers watching."""
    rows: tuple[CalibrationRow, ...]


_RAND = 2.0**-1.2
"""Where on the axis the calibration on random numbers stands."""

_FIGURES: dict[str, Callable[[CalibrationRow], float]] = {
    "SQNR of the logits (dB)": lambda r: r.pair.sqnr_db,
    "same class as float32 (%)": lambda r: 100 * r.pair.agreement.value,
    "top-1 against float32 (points)": lambda r: 100 * r.pair.difference,
}


def smallest_safe(rows: Iterable[CalibrationRow], observer: str) -> int | None:
    """Return the smallest number from which on more photographs change next to nothing.

    That is: at it and at every larger one, the worst seed's SQNR lies at most `SAFE_DB` below the
    mean at the largest. None where even that one's seeds differ by more.
    """
    by_count = curve(rows, observer)
    if not by_count:
        return None
    enough = statistics.mean(r.pair.sqnr_db for r in by_count[max(by_count)]) - SAFE_DB
    safe = None
    for count in sorted(by_count, reverse=True):
        if min(r.pair.sqnr_db for r in by_count[count]) < enough:
            break
        safe = count
    return safe


def curve(rows: Iterable[CalibrationRow], observer: str) -> dict[int, list[CalibrationRow]]:
    """Return an observer's rows by the number of photographs, ascending."""
    rows = [r for r in rows if r.source == "photographs" and r.observer == observer]
    # Half of the levels are another curve, of which the study has a few points.
    widest = max((r.activation_range for r in rows), default=None)
    counts = sorted({r.num_calibration for r in rows if r.activation_range == widest})
    return {
        n: [r for r in rows if r.num_calibration == n and r.activation_range == widest]
        for n in counts
    }


def lines(study: CalibrationStudy) -> list[str]:
    """Return the table: a line for each number and observer, over the seeds."""
    text = [
        f"{study.machine.cpu_model}, engine {study.engine}, {study.arch}, {study.num_test} test "
        f"photographs of {study.data}; float32 {study.float32_top1:.2%}",
        f"{'calibrated on':<16}{'observer':<26}{'range':>7}{'seeds':>6}{'SQNR dB':>20}"
        f"{'agreement':>20}{'top-1 points':>23}{'choosing s':>12}",
    ]
    groups: dict[tuple[Source, int, str, tuple[int, int]], list[CalibrationRow]] = {}
    for row in study.rows:
        key = (row.source, row.num_calibration, row.observer, row.activation_range)
        groups.setdefault(key, []).append(row)
    for (source, count, observer, ends), rows in groups.items():
        text.append(
            f"{f'{count:,}' if source == 'photographs' else source:<16}{observer:<26}"
            f"{f'{ends[0]}..{ends[1]}':>7}{len(rows):>6}"
            f"{_spread([r.pair.sqnr_db for r in rows], '.1f'):>20}"
            f"{_spread([100 * r.pair.agreement.value for r in rows], '.1f'):>20}"
            f"{_spread([100 * r.pair.difference for r in rows], '+.2f'):>23}"
            f"{statistics.mean(r.choosing_s for r in rows):>12.1f}"
        )
    for observer in _with_curves(study):
        safe = smallest_safe(study.rows, observer)
        text.append(
            f"{observer}: smallest safe number "
            f"{'none, since its seeds differ by more' if safe is None else safe} "
            f"(from it on the worst seed within {SAFE_DB} dB)"
        )
    return text


def _with_curves(study: CalibrationStudy) -> list[str]:
    """Return the observers of which there are several numbers of photographs."""
    names = dict.fromkeys(r.observer for r in study.rows)
    return [name for name in names if len(curve(study.rows, name)) > 1]


def plot(study: CalibrationStudy, path: Path) -> None:
    """Draw SQNR, agreement and difference over the number of photographs, a line an observer.

    Args:
        study: With rows of photographs.
        path: The PNG to write, whole or not at all.

    Raises:
        IndoorError: matplotlib is not installed, or `path` cannot be written.
    """
    width = 11.4
    figure = blank(width, 4.6)
    panels = figure.subplots(1, 3, sharex=True)
    observers = _with_curves(study)
    counts = sorted({n for o in observers for n in curve(study.rows, o)})
    random = [r for r in study.rows if r.source == "torch.rand"]
    for axes, (title, figure_of) in zip(panels, _FIGURES.items(), strict=True):
        for index, observer in enumerate(observers):
            shift = 2.0 ** (0.06 * (index - 2))  # whiskers do not hide each other
            colour, marker = _STYLES[index % len(_STYLES)]
            of_observer = {"color": colour, "marker": marker, "markersize": 4.5}
            points = curve(study.rows, observer)
            values = [[figure_of(r) for r in rows] for rows in points.values()]
            means = [statistics.mean(v) for v in values]
            below = [m - min(v) for m, v in zip(means, values, strict=True)]
            above = [max(v) - m for m, v in zip(means, values, strict=True)]
            axes.errorbar(
                [n * shift for n in points],
                means,
                yerr=[below, above],
                linewidth=1.4,
                elinewidth=1,
                capsize=2.5,
                label=observer,
                **of_observer,
            )
            if axes is panels[0]:  # in the others it would flatten all curves
                drawn = [r for r in random if r.observer == observer]
                places, figures = [_RAND * shift] * len(drawn), [figure_of(r) for r in drawn]
                axes.plot(places, figures, linestyle="", markerfacecolor="white", **of_observer)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("calibration photographs")
        axes.set_xscale("log", base=2)
        axes.set_xticks([_RAND, *counts], ["rand", *map(str, counts)], rotation=60)
        axes.minorticks_off()
        tidy(axes)
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    seeds = sorted({r.seed for r in study.rows})
    caption(
        figure,
        [
            f"{study.arch} on {study.data}, {study.num_test} test photographs (float32 "
            f"{study.float32_top1:.1%}), engine {study.engine}, {study.machine.cpu_model}, torch "
            f"{study.machine.torch}.",
            f"Points: the mean of up to {len(seeds)} seeds; whiskers: smallest and largest. "
            "Hollow, at the left: calibrated on torch.rand(1, 3, 299, 299), as torchvision does.",
            *_of_random(random),
        ],
        width,
    )
    save(figure, path)


def _of_random(rows: Sequence[CalibrationRow]) -> list[str]:
    if not rows:
        return []
    same, points = ([figure(r) for r in rows] for figure in list(_FIGURES.values())[1:])
    return [
        f"torch.rand, not drawn in the other two panels: the same class for {min(same):.1f} to "
        f"{max(same):.1f}%, top-1 {min(points):+.1f} to {max(points):+.1f} points."
    ]


def _spread(values: Sequence[float], how: str) -> str:
    if len(values) == 1:
        return format(values[0], how)
    return f"{statistics.mean(values):{how}} ({min(values):{how}}..{max(values):{how}})"
