"""A run in short: what it measured and its ratios, for lists and for comparisons of many runs."""

from dataclasses import dataclass

from indoor.records import Count, Interval, PositiveCount, RunIdentity
from indoor.runs.comparable import Subject
from indoor.runs.results import RunResult
from indoor.runs.select import cells, headline_cells, labels, mean_speedups, variants


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """How many times as fast as the baseline a variant was: the headline's figure of a run.

    Attributes:
        variant: Its name.
        label: The same as tables call it, on a second line what ran instead.
        baseline: The name of what it was paired with.
        threads: The run's largest thread count.
        batches: Those that the geometric mean is over.
        speedup: baseline / variant.
        interval: Of 95%.
    """

    variant: str
    label: str
    baseline: str
    threads: PositiveCount
    batches: tuple[PositiveCount, ...]
    speedup: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run without its cases.

    Attributes:
        run: What it measured, as its file says.
        allocator: That of most of its cases.
        datetime: ISO 8601 as pytest-benchmark wrote it.
        num_benchmarks: All of the file, also those that are not this suite's.
        ratios: One a variant with paired speedups, in the order of tables.
    """

    run: RunIdentity
    allocator: str | None
    datetime: str
    num_benchmarks: Count
    ratios: tuple[Ratio, ...]

    @property
    def subject(self) -> Subject:
        """What the run is about."""
        return Subject(run=self.run, allocator=self.allocator)


def summarize(result: RunResult) -> RunSummary:
    """Return a run in short."""
    subject = result.subject
    return RunSummary(
        run=subject.run,
        allocator=subject.allocator,
        datetime=result.datetime,
        num_benchmarks=len(result.stats),
        ratios=_ratios(result),
    )


def _ratios(result: RunResult) -> tuple[Ratio, ...]:
    place = headline_cells(result)
    if place is None:
        return ()
    allocator, threads = place
    shown = labels(result)
    timed = cells(result, allocator, threads)
    paired = {
        name: one.speedup.baseline for (name, _), one in timed.items() if one.speedup is not None
    }
    return tuple(
        Ratio(
            variant=name,
            label=shown[name],
            baseline=paired[name],
            threads=threads,
            batches=mean.batches,
            speedup=mean.value,
            interval=mean.interval,
        )
        for name, mean in mean_speedups(variants(result), timed).items()
    )
