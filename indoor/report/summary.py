"""The table that answers the question, its notes, and the sentence under it."""

from collections import Counter
from itertools import pairwise

from indoor.records import Evaluation
from indoor.report import units
from indoor.report.blocks import MANY, Block, Column, Grid, Heading, Paragraph
from indoor.report.headline import Headline, headline
from indoor.runs.results import RunResult
from indoor.runs.select import (
    HEADLINE_BATCHES,
    MeanSpeedup,
    described,
    evaluations,
    labels,
    size_bytes,
)


def headline_blocks(result: RunResult, unit: units.TimeUnit = units.MS) -> list[Block]:
    """Return the headline's table, its notes and the sentence."""
    found = headline(result)
    blocks: list[Block] = [Heading("Size, accuracy and time")]
    names = list(described(result))
    if names:
        make = _grid if len(names) <= MANY else _grid_of_many
        blocks.append(make(result, found, names, unit))
        blocks.append(Paragraph(" ".join(_notes(result, found, unit)), "faint"))
    blocks.append(Paragraph(found.sentence, "strong"))
    return blocks


def _grid(result: RunResult, found: Headline, names: list[str], unit: units.TimeUnit) -> Grid:
    columns = [
        Column("variant", "left"),
        Column("size\nMB"),
        Column("top-1\n%"),
        *(Column(f"batch {batch}\n{unit.name}") for batch in found.batches),
    ]
    mean_of = _mean_batches(found)
    has_mean = len(mean_of) > 1  # that of one batch would repeat its column
    if has_mean:
        columns.append(Column(f"mean of\n{units.batches(mean_of).removeprefix('batches ')}"))
    rows: list[tuple[str, ...]] = []
    rules = set()
    accuracies = evaluations(result)
    for name in names:
        rows.extend(_rows(result, found, name, accuracies.get(name), has_mean, unit))
        rules.add(len(rows) - 1)
    return Grid(columns=tuple(columns), rows=tuple(rows), rules=frozenset(rules - {len(rows) - 1}))


def _grid_of_many(
    result: RunResult, found: Headline, names: list[str], unit: units.TimeUnit
) -> Grid:
    """Return the table with one line a variant, a rule below each precision."""
    kinds, accuracies, shown = described(result), evaluations(result), labels(result)
    fastest = {one.name for one in found.bests}
    mean_of, means = _mean_batches(found), _shown_means(found)
    columns = [
        Column("variant", "left"),
        Column("size\nMB"),
        Column("top-1\n%"),
        Column("95%\ninterval"),
        *(Column(f"{unit.name} at\n{batch}") for batch in found.batches),
        Column(
            f"speedup\n{units.batches(mean_of).removeprefix('batches ')}" if mean_of else "speedup"
        ),
        Column("95%\ninterval"),
    ]
    rows: list[tuple[str, ...]] = []
    for name in names:
        latencies_s = [
            one.latency.median_s if one is not None and one.latency is not None else None
            for one in (found.cells.get((name, batch)) for batch in found.batches)
        ]
        mean, accuracy = means.get(name), accuracies.get(name)
        rows.append(
            (
                shown[name].replace(name, f"{name} *", 1) if name in fastest else shown[name],
                units.megabytes(size_bytes(result, name)),
                units.NOTHING if accuracy is None else units.percent(accuracy.top1.value),
                "" if accuracy is None else units.percent_interval(accuracy.top1.interval),
                *map(unit.text, latencies_s),
                "" if mean is None else units.ratio(mean.value),
                "" if mean is None else units.ratio_interval(mean.interval),
            )
        )
    rules = {
        index
        for index, (one, following) in enumerate(pairwise(names))
        if kinds[one].precision != kinds[following].precision
    }
    return Grid(columns=tuple(columns), rows=tuple(rows), rules=frozenset(rules))


def _rows(
    result: RunResult,
    found: Headline,
    name: str,
    accuracy: Evaluation | None,
    has_mean: bool,
    unit: units.TimeUnit,
) -> list[tuple[str, ...]]:
    """Return a variant's rows: its figures, its speedups where there are any, the intervals."""
    times, speedups, intervals = [], [], []
    for batch in found.batches:
        known = found.cells.get((name, batch))
        latency = known.latency if known is not None else None
        paired = known.speedup if known is not None else None
        times.append(unit.text(latency.median_s if latency is not None else None))
        speedups.append(units.ratio(paired.speedup) if paired is not None else "")
        intervals.append(units.ratio_interval(paired.interval) if paired is not None else "")
    mean = _shown_means(found).get(name)
    if has_mean:
        times.append("")
        speedups.append(units.ratio(mean.value) if mean is not None else "")
        intervals.append(units.ratio_interval(mean.interval) if mean is not None else "")
    top1 = units.NOTHING if accuracy is None else units.percent(accuracy.top1.value)
    top1_interval = "" if accuracy is None else units.percent_interval(accuracy.top1.interval)
    rows = [(labels(result)[name], units.megabytes(size_bytes(result, name)), top1, *times)]
    if any(speedups):
        rows.append(("  speedup", "", "", *speedups))
    if top1_interval or any(intervals):
        rows.append(("  interval", "", top1_interval, *intervals))
    return rows


def _notes(result: RunResult, found: Headline, unit: units.TimeUnit) -> list[str]:
    notes = ["MB are 10^6 bytes of weights on disk."]
    if found.threads is not None:
        notes.insert(
            0,
            f"Medians with {units.threads(found.threads)}, allocator {found.allocator}. Intervals "
            "are of 95%: Wilson's for top-1, for the speedups that of the median over pairs of "
            "calls interleaved in time.",
        )
    if accuracies := evaluations(result):
        first = next(iter(accuracies.values()))
        notes.append(f"top-1 is on {first.num_photographs:,} {first.split} photographs.")
    mean_of = _mean_batches(found)
    has_headline = any(mean.batches == HEADLINE_BATCHES for mean in found.means.values())
    if len(mean_of) > 1 and not has_headline:
        notes.append(
            f"The geometric mean is over {units.batches(mean_of)}, since this run has no pairs at "
            f"both of {units.batches(HEADLINE_BATCHES)}."
        )
    elif len(mean_of) > 1:
        notes.append(f"The mean over {units.batches(mean_of)} is geometric.")
    others = {name: mean.batches for name, mean in found.means.items() if mean.batches != mean_of}
    if others:
        left_out = [f"{name} ({units.batches(over)})" for name, over in others.items()]
        notes.append(f"Mean speedups over other batches are left out: {units.listed(left_out)}.")
    if len(described(result)) > MANY and found.batches:
        last = found.batches[-1]
        notes.append(f"{unit.name} at {last}: per photograph, at batch {last}.")
    if found.bests:
        notes.append("* marks the fastest of a precision, by its medians at these batches.")
    if names := _untimed(result):
        what = "it" if len(names) == 1 else "them"
        notes.append(
            f"This CPU computes {units.listed(names)} itself, but this run did not time {what}"
            + (
                ": what of a speedup comes without calibration stays open."
                if _leaves_open(result)
                else "; --full or --variant does."
            )
        )
    return notes


def _mean_batches(found: Headline) -> tuple[int, ...]:
    """Return the batches that most of the means are over, of as many the most batches."""
    counts = Counter(mean.batches for mean in found.means.values())
    return max(counts, key=lambda over: (counts[over], len(over), over), default=())


def _shown_means(found: Headline) -> dict[str, MeanSpeedup]:
    """Return the means that stand in one column, since they are over the same batches."""
    over = _mean_batches(found)
    return {name: mean for name, mean in found.means.items() if mean.batches == over}


def _untimed(result: RunResult) -> list[str]:
    """Return what this CPU computes without calibration, faster perhaps, and was not timed."""
    run = result.cases[0].measurement.run
    measured = described(result)
    if run.variants is None:
        has_it = run.machine.bfloat16 and not any(
            one.precision == "bfloat16" for one in measured.values()
        )
        return ["bfloat16"] if has_it else []
    return [one.name for one in run.variants if one.role == "plain" and one.name not in measured]


def _leaves_open(result: RunResult) -> bool:
    """Return whether a precision that needs no calibration was timed in no variant at all."""
    variants = result.cases[0].measurement.run.variants
    if variants is None:
        return True
    calibrated = {one.precision for one in variants if one.role == "judged"}
    timed = {one.precision for one in described(result).values()}
    return any(one.precision not in timed | calibrated for one in variants)
