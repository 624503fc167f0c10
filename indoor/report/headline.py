"""The table that answers the question, and the one sentence under it."""

from dataclasses import dataclass

from indoor.records import Allocator, Evaluation, Measurement
from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph
from indoor.report.select import (
    HEADLINE_BATCHES,
    MeanSpeedup,
    all_threads,
    allocators,
    batch_sizes,
    cell,
    evaluations,
    latencies,
    mean_speedup,
    pairs,
    precision,
    size_bytes,
    variants,
)
from indoor.report.verdict import Verdict, describe_speedup, verdict
from indoor.runs.results import RunResult


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The verdict on int8, and the cells it is taken from.

    `threads` and `allocator` are None where no case of the matrix was measured; `means` holds
    each variant's geometric mean where it has paired speedups.
    """

    threads: int | None
    allocator: Allocator | None
    batches: tuple[int, ...]
    means: dict[str, MeanSpeedup]
    verdict: Verdict | None
    sentence: str


def speedup_sentence(result: RunResult) -> str:
    """Return one sentence: int8 pays, does not, or this run cannot tell, with its figures.

    Where bfloat16 was measured, the sentence says what of the speedup bfloat16 alone gives.
    """
    return headline(result).sentence


def headline(result: RunResult) -> Headline:
    """Return the verdict on int8 at the run's largest thread count, and what it rests on."""
    known = allocators(result)
    threads = all_threads(result, known[0]) if known else None
    if threads is None:
        return Headline(
            threads=None,
            allocator=None,
            batches=(),
            means={},
            verdict=None,
            sentence="This run cannot tell whether int8 pays: no forward pass was timed.",
        )
    allocator = known[0]
    cases = latencies(result, allocator)
    at_threads = [case for case in cases if case.measurement.threads == threads]
    timed = [name for name in variants(result) if _is_timed(result, name, threads, allocator)]
    means = {
        name: mean
        for name in timed
        if (mean := mean_speedup(result, name, threads, allocator)) is not None
    }
    int8 = next((name for name in timed if precision(result, name) == "int8"), None)
    judged = None if int8 is None else _judge(result, int8, means.get(int8))
    return Headline(
        threads=threads,
        allocator=allocator,
        batches=batch_sizes(at_threads),
        means=means,
        verdict=judged,
        sentence=_sentence(result, int8, judged, means, threads),
    )


def headline_blocks(result: RunResult) -> list[Block]:
    """Return the headline's table, its notes and the sentence."""
    found = headline(result)
    blocks: list[Block] = [Heading("Size, accuracy and time")]
    names = [name for name in variants(result) if precision(result, name) is not None]
    if names:
        blocks.append(_grid(result, found, names))
        blocks.append(Paragraph(" ".join(_notes(result, found)), "faint"))
    blocks.append(Paragraph(found.sentence, "strong"))
    return blocks


def _judge(result: RunResult, int8: str, mean: MeanSpeedup | None) -> Verdict:
    record = result.cases[0].measurement.run.quantization
    check = record.check if record is not None else None
    return verdict(
        int8,
        speedup=None if mean is None else (mean.value, mean.interval),
        accuracy=pairs(result).get(int8),
        findings=() if check is None else check.findings,
    )


def _sentence(
    result: RunResult,
    int8: str | None,
    judged: Verdict | None,
    means: dict[str, MeanSpeedup],
    threads: int,
) -> str:
    if int8 is None or judged is None:
        return "This run cannot tell whether int8 pays: it did not time int8."
    text = judged.sentence.removesuffix(".")
    if mean := means.get(int8):
        opening, _, rest = text.partition(": ")
        where = f"at {units.batches(mean.batches)} with {units.threads(threads)}"
        text = f"{opening}: {where} it is {rest}"
    bfloat16 = next((name for name in means if precision(result, name) == "bfloat16"), None)
    if bfloat16 is not None and int8 in means:
        mean = means[bfloat16]
        same = "" if mean.batches == means[int8].batches else f" ({units.batches(mean.batches)})"
        text += (
            f"; {bfloat16}, which needs no calibration, gives "
            f"{describe_speedup(mean.value, mean.interval)} by itself{same}"
        )
    return f"{text}."


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


def _is_timed(result: RunResult, variant: str, threads: int, allocator: Allocator) -> bool:
    return any(
        case.measurement.variant == variant and case.measurement.threads == threads
        for case in latencies(result, allocator)
    )


def _cell(result: RunResult, found: Headline, variant: str, batch: int) -> Measurement | None:
    assert found.threads is not None
    assert found.allocator is not None
    return cell(result, variant, batch, found.threads, found.allocator)


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
        known = _cell(result, found, name, batch)
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
    if _bfloat16_is_missing(result):
        notes.append(
            "This CPU computes bfloat16 itself, but this run did not time it: what of a speedup "
            "comes without calibration stays open."
        )
    return notes


def _mean_batches(found: Headline) -> tuple[int, ...]:
    """Return the batches that the column of means is over; empty where it would repeat one."""
    over = {mean.batches for mean in found.means.values()}
    if len(over) != 1:
        return ()
    (sizes,) = over
    return sizes if len(sizes) > 1 else ()


def _bfloat16_is_missing(result: RunResult) -> bool:
    has_it = result.cases[0].measurement.run.machine.bfloat16
    measured = {precision(result, name) for name in variants(result)}
    return bool(has_it) and "bfloat16" not in measured
