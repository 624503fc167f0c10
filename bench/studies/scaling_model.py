"""What `bench.studies.scaling` recorded, and the model of more ranks: table and picture."""

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indoor.records import Machine
from indoor.report.picture import blank, caption, save, tidy

STEP = 32
"""Photographs a step: of all ranks where a step is shared, of each where steps grow."""

RANKS = (1, 2, 4, 8, 16, 32, 64)

BYTES = 4
"""Of a gradient."""


@dataclass(frozen=True, kw_only=True)
class Took:
    """Seconds of a piece of work, by the clock and of a process's CPU, of the slowest rank."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """One job: its processes, and what each piece of work took."""

    ranks: int
    took: dict[str, Took]


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The study: what was measured where, and the epoch that is modelled.

    `load` is the system's load (1 minute) after each round.
    """

    arch: str
    size: int
    data: str
    num_train: int
    num_val: int
    machine: Machine
    load: tuple[float, ...]
    rounds: tuple[Round, ...]

    def wall_s(self, ranks: int, name: str) -> float:
        """Return the median over the jobs of so many ranks, in seconds by the clock."""
        return statistics.median(r.took[name].wall_s for r in self.rounds if r.ranks == ranks)

    def sizes(self, prefix: str, ranks: int) -> list[int]:
        """Return the numbers of which `step of N` or `sum of N` were timed."""
        first = next(r for r in self.rounds if r.ranks == ranks)
        return sorted(int(n.removeprefix(prefix)) for n in first.took if n.startswith(prefix))


@dataclass(frozen=True, kw_only=True)
class Network:
    """What lies between two ranks: a message takes `latency_s` and a second `bytes_per_s`."""

    name: str
    latency_s: float
    bytes_per_s: float

    def sum_s(self, ranks: int, num_bytes: float) -> float:
        """Return what a ring takes to add up and hand round so many bytes of each rank.

        2 (N - 1) messages of a rank, each of an N-th of the bytes (Patarasuk and Yuan, Journal of
        Parallel and Distributed Computing 69, 2009).
        """
        num_messages = 2 * (ranks - 1)
        return num_messages * (self.latency_s + num_bytes / max(ranks, 1) / self.bytes_per_s)


ASSUMED = (
    Network(name="1 Gbit/s Ethernet", latency_s=50e-6, bytes_per_s=0.117e9),
    Network(name="10 Gbit/s Ethernet", latency_s=30e-6, bytes_per_s=1.17e9),
    Network(name="100 Gbit/s network", latency_s=5e-6, bytes_per_s=11.7e9),
)
"""Not measured: 94% of the line's rate, which TCP leaves of it, and customary latencies."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A modelled epoch of so many ranks."""

    ranks: int
    compute_s: float
    sums_s: float
    validation_s: float
    speedup: float

    @property
    def seconds(self) -> float:
        """What it takes."""
        return self.compute_s + self.sums_s + self.validation_s

    @property
    def rank_seconds(self) -> float:
        """What is paid for: all ranks, as long as it takes."""
        return self.ranks * self.seconds


def loopback(study: Scaling) -> Network:
    """Return this machine's own network, fitted to the sums of two ranks by least squares.

    Relative errors count, or the largest sum alone would decide.
    """
    points = [
        (BYTES * num, study.wall_s(2, f"sum of {num}")) for num in study.sizes("sum of ", ranks=2)
    ]
    # Of two ranks a sum is 2 latency + bytes / rate: linear, each equation divided by its time.
    equations = [(2 / took, num / took) for num, took in points]
    latency, seconds_a_byte = np.linalg.lstsq(equations, np.ones(len(points)))[0]
    return Network(
        name="this machine's loopback",
        latency_s=max(float(latency), 0.0),
        bytes_per_s=1 / float(seconds_a_byte) if seconds_a_byte > 0 else math.inf,
    )


def step_s(study: Scaling, num: float) -> float:
    """Return what a step of so many photographs of one rank takes, between those measured."""
    sizes = study.sizes("step of ", ranks=1)
    times = [study.wall_s(1, f"step of {size}") for size in sizes]
    if num >= sizes[-1]:
        return times[-1] * num / sizes[-1]
    return float(np.interp(num, sizes, times))


def num_gradients(study: Scaling) -> int:
    """Return how many numbers the ranks add up a step."""
    return study.sizes("sum of ", ranks=2)[-1]


def model(study: Scaling, network: Network, ranks: int, *, grows: bool) -> Epoch:
    """Return an epoch of so many ranks.

    Args:
        study: What one process takes.
        network: What lies between the ranks.
        ranks: How many.
        grows: Whether each rank keeps `STEP` photographs a step; else all of them share these.
    """
    one = _epoch(study, network, 1, grows=grows)
    epoch = _epoch(study, network, ranks, grows=grows)
    return replace(epoch, speedup=one.seconds / epoch.seconds)


def _epoch(study: Scaling, network: Network, ranks: int, *, grows: bool) -> Epoch:
    local = STEP if grows else STEP / ranks
    num_steps = study.num_train / (local * ranks)
    views_s = study.num_train / ranks * study.wall_s(1, "views")  # on the same CPU
    return Epoch(
        ranks=ranks,
        # The slowest rank has the photograph that is left over.
        compute_s=num_steps * step_s(study, math.ceil(local)) + views_s,
        sums_s=num_steps * network.sum_s(ranks, BYTES * num_gradients(study)),
        validation_s=2 * study.num_val / ranks * study.wall_s(1, "validation"),
        speedup=1.0,
    )


def possible(ranks: int, *, grows: bool) -> bool:
    """Tell whether each rank has a photograph of a step."""
    return grows or ranks <= STEP


def lines(study: Scaling) -> list[str]:
    """Return the tables: what was measured, and what is modelled."""
    own = loopback(study)
    text = [
        f"{study.machine.cpu_model}, torch {study.machine.torch}, {study.arch} at {study.size} "
        f"pixels, photographs of {study.data}; one thread and one CPU a process; "
        f"{len(study.rounds) // 2} rounds, load {min(study.load):.1f} to {max(study.load):.1f}",
        f"{'measured, ms':<28}{'1 process':>12}{'2 processes':>12}{'speedup':>9}{'of CPU':>9}",
    ]
    for name, label in (
        (f"step of {STEP}", f"a step of {STEP}"),
        ("views", "a view (augmented)"),
        ("epoch", "a photograph of an epoch"),
        ("validation", "a validation photograph"),
        ("features", "a photograph's features"),
    ):
        one, two = study.wall_s(1, name), study.wall_s(2, name)
        cpu = [
            statistics.median(r.took[name].cpu_s for r in study.rounds if r.ranks == ranks)
            for ranks in (1, 2)
        ]
        text.append(
            f"{label:<28}{1e3 * one:>12.2f}{1e3 * two:>12.2f}{one / two:>9.2f}"
            f"{cpu[0] / cpu[1]:>9.2f}"
        )
    num = num_gradients(study)
    text += [
        f"sum of {num:,} gradients of two processes: {1e3 * study.wall_s(2, f'sum of {num}'):.1f} "
        f"ms; {own.name}: {1e6 * own.latency_s:.0f} us and {own.bytes_per_s / 1e9:.2f} GB/s",
        f"a step of {STEP} of two processes: modelled "
        f"{1e3 * (step_s(study, STEP / 2) + own.sum_s(2, BYTES * num)):.0f} ms, measured "
        f"{1e3 * study.wall_s(2, f'step of {STEP}'):.0f} ms",
        f"modelled epochs of {study.num_train:,} photographs and {study.num_val:,} of validation:",
        f"{'network':<26}{'step':>12}{'ranks':>6}{'epoch s':>9}{'sums':>7}{'speedup':>9}"
        f"{'efficiency':>11}{'rank-hours':>11}",
    ]
    for network in (own, *ASSUMED):
        for grows in (False, True):
            for ranks in RANKS:
                if possible(ranks, grows=grows):
                    epoch = model(study, network, ranks, grows=grows)
                    text.append(
                        f"{network.name:<26}{f'{STEP} each' if grows else f'{STEP} shared':>12}"
                        f"{ranks:>6}{epoch.seconds:>9.1f}{epoch.sums_s / epoch.seconds:>7.0%}"
                        f"{epoch.speedup:>9.2f}{epoch.speedup / ranks:>11.0%}"
                        f"{epoch.rank_seconds / 3600:>11.3f}"
                    )
    return text


def plot(study: Scaling, path: Path) -> None:
    """Draw the modelled speedup over the ranks, a panel a way to share, and what was measured.

    Raises:
        IndoorError: matplotlib is not installed, or `path` cannot be written.
    """
    width = 8.6
    figure = blank(width, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, grows in zip(panels, (False, True), strict=True):
        ranks = [n for n in RANKS if possible(n, grows=grows)]
        axes.plot(ranks, ranks, color="0.75", linestyle=":", label="as many times as ranks")
        for network, marker in zip((loopback(study), *ASSUMED), "os^D", strict=True):
            speedups = [model(study, network, n, grows=grows).speedup for n in ranks]
            axes.plot(ranks, speedups, marker=marker, markersize=4, label=network.name)
        if not grows:
            one, two = (study.wall_s(n, "epoch") for n in (1, 2))
            axes.plot([2], [one / two], "k*", markersize=11, label="measured")
        axes.set_title(f"{STEP} photographs a step{' and rank' if grows else ''}", fontsize=10)
        axes.set_xlabel("ranks")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(RANKS, list(map(str, RANKS)))
        axes.set_yticks(RANKS, list(map(str, RANKS)))
        axes.minorticks_off()
        tidy(axes)
    panels[0].set_ylabel("times as fast as one rank")
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
    caption(
        figure,
        [
            f"{study.arch} at {study.size} pixels, {study.machine.cpu_model}, torch "
            f"{study.machine.torch}, one thread a rank. Modelled from one process's steps, and "
            "sums round a ring that begin when a step's computing ends. The networks but the "
            "loopback are assumed."
        ],
        width,
    )
    save(figure, path)
