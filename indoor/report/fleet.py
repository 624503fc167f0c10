"""Many runs by the machine they were measured on, and how far their ratios lie apart.

A speedup of one machine says nothing of another's, so nothing here is averaged across machines.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from indoor.errors import IndoorError
from indoor.records import Interval, Machine, RunIdentity
from indoor.runs.groups import groups_by_place, letter
from indoor.runs.summary import Ratio, RunSummary

LEFT_OUT_TOLD = 20
"""Files of which a report says why they were left out; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class FleetMachine:
    """A machine with its device and environment; `first` and `last` are its runs' datetimes.

    What was so at one moment alone, such as the load, is None in `machine`.
    """

    name: str
    machine: Machine
    device: str | None
    environment: dict[str, str] | None
    num_runs: int
    first: str
    last: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a speedup is of, so that those of two machines may stand beside each other."""

    arch: str
    size: int
    """The side of its input in pixels."""
    baseline: str
    variant: str
    batches: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MachineSpeedup:
    """A figure on one machine.

    Attributes:
        figure: Which.
        label: The variant as tables call it.
        machine: The machine's name here.
        threads: The largest thread count of its runs.
        num_runs: How many of its runs tell the figure with as many threads.
        speedup: The median of these runs' speedups.
        lowest: Their smallest.
        highest: Their largest.
        interval: From the lowest end of their intervals to the highest.
    """

    figure: Figure
    label: str
    machine: str
    threads: int
    num_runs: int
    speedup: float
    lowest: float
    highest: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over several machines: its ends, and how many machines are clear of 1.

    Attributes:
        figure: Which.
        num_machines: How many tell it.
        lowest: The machine with the smallest speedup.
        highest: That with the largest.
        num_faster: Machines on which each run's interval lies above 1.
        num_slower: Those on which each lies below 1.
    """

    figure: Figure
    num_machines: int
    lowest: MachineSpeedup
    highest: MachineSpeedup
    num_faster: int
    num_slower: int


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Many runs in short.

    `left_out` has the reasons of the first files that could not be read, by their paths;
    `num_unpaired` counts runs that hold no speedup.
    """

    num_runs: int
    num_left_out: int
    left_out: dict[str, str]
    num_unpaired: int
    machines: tuple[FleetMachine, ...]
    speedups: tuple[MachineSpeedup, ...]
    spreads: tuple[Spread, ...]


def survey(found: Iterable[tuple[Path, RunSummary | IndoorError]]) -> Fleet:
    """Return runs by machine; each is forgotten once it was counted.

    Args:
        found: The runs in short, or why a file cannot be read.

    Raises:
        IndoorError: None could be read.
    """
    groups = groups_by_place()
    dates: list[list[str]] = []
    seen: dict[tuple[int, int, Figure], list[Ratio]] = {}
    left_out: dict[str, str] = {}
    num_left_out = num_unpaired = 0
    for path, run in found:
        if isinstance(run, IndoorError):
            num_left_out += 1
            if len(left_out) < LEFT_OUT_TOLD:
                left_out[str(path)] = str(run)
            continue
        number = groups.number(run.subject)
        if number == len(dates):
            dates.append([])
        dates[number].append(run.datetime)
        num_unpaired += not run.ratios
        for ratio in run.ratios:
            key = (number, -ratio.threads, _figure(run.run, ratio))
            seen.setdefault(key, []).append(ratio)
    if not dates:
        first = next(iter(left_out.values()), "no file was named")
        raise IndoorError(
            f"none of {num_left_out:,} files holds a run of this suite ({first}); expected "
            "results that `pytest bench` saved; name their folder or files"
        )
    speedups = tuple(_speedup(key, seen[key]) for key in sorted(seen, key=lambda one: one[:2]))
    return Fleet(
        num_runs=sum(map(len, dates)),
        num_left_out=num_left_out,
        left_out=left_out,
        num_unpaired=num_unpaired,
        machines=tuple(
            _machine(letter(number), subject.run, dates[number])
            for number, subject in enumerate(groups.firsts)
        ),
        speedups=speedups,
        spreads=_spreads(speedups),
    )


def _figure(run: RunIdentity, ratio: Ratio) -> Figure:
    return Figure(
        arch=run.arch,
        size=run.preprocessing.size,
        baseline=ratio.baseline,
        variant=ratio.variant,
        batches=ratio.batches,
    )


def _machine(name: str, run: RunIdentity, dates: list[str]) -> FleetMachine:
    known = sorted(filter(None, dates))
    return FleetMachine(
        name=name,
        machine=replace(run.machine, load_1min=None, swap_used_bytes=None, num_throttled=None),
        device=run.device,
        environment=run.environment,
        num_runs=len(dates),
        first=known[0] if known else "",
        last=known[-1] if known else "",
    )


def _speedup(key: tuple[int, int, Figure], ratios: list[Ratio]) -> MachineSpeedup:
    number, threads, figure = key
    values = [one.speedup for one in ratios]
    return MachineSpeedup(
        figure=figure,
        label=ratios[0].label,
        machine=letter(number),
        threads=-threads,
        num_runs=len(ratios),
        speedup=statistics.median(values),
        lowest=min(values),
        highest=max(values),
        interval=Interval(
            low=min(one.interval.low for one in ratios),
            high=max(one.interval.high for one in ratios),
            level=ratios[0].interval.level,
        ),
    )


def _spreads(speedups: tuple[MachineSpeedup, ...]) -> tuple[Spread, ...]:
    """Return each figure that two machines or more tell, at the largest thread count of each."""
    by_figure: dict[Figure, dict[str, MachineSpeedup]] = {}
    for one in speedups:  # a machine's largest thread count comes first
        by_figure.setdefault(one.figure, {}).setdefault(one.machine, one)
    return tuple(
        Spread(
            figure=figure,
            num_machines=len(told),
            lowest=min(told.values(), key=lambda one: one.speedup),
            highest=max(told.values(), key=lambda one: one.speedup),
            num_faster=sum(one.interval.low > 1 for one in told.values()),
            num_slower=sum(one.interval.high < 1 for one in told.values()),
        )
        for figure, told in by_figure.items()
        if len(told) > 1
    )
