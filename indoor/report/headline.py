"""The table that answers the question, and the one sentence under it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from indoor.records import Allocator, Evaluation, Measurement, Variant
from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph
from indoor.report.select import (
    HEADLINE_BATCHES,
    MeanSpeedup,
    allocators,
    cells,
    described,
    evaluations,
    latencies,
    mean_speedup,
    pairs,
    size_bytes,
    thread_counts,
    variants,
)
from indoor.report.verdict import Verdict, describe_speedup, verdict
from indoor.runs.results import RunResult


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The verdict on int8, or on whatever else is judged, and the cells it is taken from.

    `threads` and `allocator` are None where no case of the matrix was measured; `cells` are those
    at that thread count, by variant and batch; `means` holds each variant's geometric mean where
    it has paired speedups, and `verdicts` that of each judged variant that was timed.
    """

    threads: int | None = None
    allocator: Allocator | None = None
    cells: Mapping[tuple[str, int], Measurement] = field(default_factory=dict)
    means: Mapping[str, MeanSpeedup] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    sentence: str

    @property
    def batches(self) -> tuple[int, ...]:
        """The batches that were timed at that thread count, ascending."""
        return tuple(sorted({batch for _, batch in self.cells}))


def speedup_sentence(result: RunResult) -> str:
    """Return one sentence: int8 pays, does not, or this run cannot tell, with its figures.

    Where bfloat16 was measured, the sentence says what of the speedup bfloat16 alone gives.
    """
    return headline(result).sentence


def headline(result: RunResult) -> Headline:
    """Return the verdicts at the run's largest thread count, and what it rests on."""
    allocator = next(iter(allocators(result)), None)
    counts = thread_counts(latencies(result, allocator))
    if allocator is None or not counts:
        return Headline(
            sentence="This run cannot tell whether int8 pays: no forward pass was timed."
        )
    threads = counts[-1]
    timed = cells(result, allocator, threads)
    means = {}
    for name in variants(result):
        speedups = {b: one.speedup for (v, b), one in timed.items() if v == name and one.speedup}
        if (mean := mean_speedup(speedups)) is not None:
            means[name] = mean
    kinds = described(result)
    names = {name for name, _ in timed}
    judged = {
        name: _judge(result, kind, means.get(name))
        for name, kind in kinds.items()
        if kind.role == "judged" and name in names
    }
    return Headline(
        threads=threads,
        allocator=allocator,
        cells=timed,
        means=means,
        verdicts=judged,
        sentence=_sentence(kinds, judged, means, threads),
    )


def headline_blocks(result: RunResult) -> list[Block]:
    """Return the headline's table, its notes and the sentence."""
    found = headline(result)
    blocks: list[Block] = [Heading("Size, accuracy and time")]
    names = list(described(result))
    if names:
        blocks.append(_grid(result, found, names))
        blocks.append(Paragraph(" ".join(_notes(result, found)), "faint"))
    blocks.append(Paragraph(found.sentence, "strong"))
    return blocks


def _judge(result: RunResult, kind: Variant, mean: MeanSpeedup | None) -> Verdict:
    record = result.cases[0].measurement.run.quantization
    check = record.check if record is not None and kind.checkpoint == "int8" else None
    baseline = next(
        (one.name for one in described(result).values() if one.role == "baseline"), "float32"
    )
    return verdict(
        kind.name,
        speedup=None if mean is None else (mean.value, mean.interval),
        accuracy=pairs(result).get(kind.name),
        findings=() if check is None else check.findings,
        baseline=baseline,
    )


def _sentence(
    kinds: Mapping[str, Variant],
    judged: Mapping[str, Verdict],
    means: Mapping[str, MeanSpeedup],
    threads: int,
) -> str:
    if not judged:
        return "This run cannot tell whether int8 pays: it did not time int8."
    sentences = []
    for name, found in judged.items():
        text = found.sentence.removesuffix(".")
        if mean := means.get(name):
            opening, _, rest = text.partition(": ")
            where = f"at {units.batches(mean.batches)} with {units.threads(threads)}"
            text = f"{opening}: {where} it is {rest}"
        sentences.append(text)
    over = {means[name].batches for name in judged if name in means}
    for name, mean in means.items():
        if over and kinds[name].role == "plain":
            same = "" if over == {mean.batches} else f" ({units.batches(mean.batches)})"
            sentences[-1] += (
                f"; {name}, which needs no calibration, gives "
                f"{describe_speedup(mean.value, mean.interval)} by itself{same}"
            )
    return f"{'. '.join(sentences)}."


def _grid(result: RunResult, found: Headline, names: list[str]) -> Grid:
    columns = [
        Column("variant", "left"),
        Column("size\nMB"),
        Column("top-1\n%"),
        *(Column(f"batch {batch}\nms") for batch in found.batches),
    ]
    mean_of = _mean_batches(found)
    if mean_of:
        columns.append(Column(f"mean of\n{units.batches(mean_of).removeprefix('batches ')}"))
    rows: list[tuple[str, ...]] = []
    rules = set()
    accuracies = evaluations(result)
    for name in names:
        rows.extend(_rows(result, found, name, accuracies.get(name), bool(mean_of)))
        rules.add(len(rows) - 1)
    return Grid(columns=tuple(columns), rows=tuple(rows), rules=frozenset(rules - {len(rows) - 1}))


def _rows(
    result: RunResult,
    found: Headline,
    name: str,
    accuracy: Evaluation | None,
    has_mean: bool,
) -> list[tuple[str, ...]]:
    """Return a variant's rows: its figures, its speedups where there are any, the intervals."""
    times, speedups, intervals = [], [], []
    for batch in found.batches:
        known = found.cells.get((name, batch))
        latency = known.latency if known is not None else None
        paired = known.speedup if known is not None else None
        times.append(units.milliseconds(latency.median_s if latency is not None else None))
        speedups.append(units.ratio(paired.speedup) if paired is not None else "")
        intervals.append(units.ratio_interval(paired.interval) if paired is not None else "")
    mean = found.means.get(name)
    if has_mean:
        times.append("")
        speedups.append(units.ratio(mean.value) if mean is not None else "")
        intervals.append(units.ratio_interval(mean.interval) if mean is not None else "")
    top1 = units.NOTHING if accuracy is None else units.percent(accuracy.top1.value)
    top1_interval = "" if accuracy is None else units.percent_interval(accuracy.top1.interval)
    rows = [(name, units.megabytes(size_bytes(result, name)), top1, *times)]
    if any(speedups):
        rows.append(("  speedup", "", "", *speedups))
    if top1_interval or any(intervals):
        rows.append(("  interval", "", top1_interval, *intervals))
    return rows


def _notes(result: RunResult, found: Headline) -> list[str]:
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
    if mean_of and mean_of != HEADLINE_BATCHES:
        notes.append(
            f"The geometric mean is over {units.batches(mean_of)}, since this run has no pairs at "
            f"both of {units.batches(HEADLINE_BATCHES)}."
        )
    elif mean_of:
        notes.append(f"The mean over {units.batches(mean_of)} is geometric.")
    notes += [
        f"This CPU computes {name} itself, but this run did not time it: what of a speedup "
        "comes without calibration stays open."
        for name in _untimed(result)
    ]
    return notes


def _mean_batches(found: Headline) -> tuple[int, ...]:
    """Return the batches that the column of means is over; empty where it would repeat one."""
    over = {mean.batches for mean in found.means.values()}
    if len(over) != 1:
        return ()
    (sizes,) = over
    return sizes if len(sizes) > 1 else ()


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
