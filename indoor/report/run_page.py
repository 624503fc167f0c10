"""Runs as a page: the sentence, the pictures, the tables, and every cell with its rounds."""

import shlex
from collections.abc import Iterator, Sequence
from itertools import chain

from indoor.hints import command_line
from indoor.records import Measurement
from indoor.report import units
from indoor.report.blocks import (
    Block,
    Command,
    Details,
    Facts,
    Heading,
    PageBlock,
    Paragraph,
    Picture,
)
from indoor.report.caption import short_caption
from indoor.report.headline import Headline, headline
from indoor.report.marks import histogram
from indoor.report.picture import as_svg
from indoor.report.plots import draw_frontier, draw_latency
from indoor.runs.results import MeasuredCase, RunResult
from indoor.runs.select import (
    allocators,
    batch_sizes,
    cell_anchor,
    evaluations,
    label,
    latencies,
    thread_counts,
    variants,
)


def run_page_blocks(
    result: RunResult, blocks: Sequence[Block], unit: units.TimeUnit
) -> Iterator[PageBlock]:
    """Yield a run's page: what its tables say (`blocks`), with the answer and pictures first.

    Raises:
        IndoorError: matplotlib is not installed.
    """
    title, *others = blocks
    answer = headline(result)
    sentence = Paragraph(answer.sentence, "strong")
    yield title
    yield sentence
    yield Paragraph(short_caption(result), "faint")
    yield from _pictures(result, answer)
    # The sentence ends the headline's blocks, and stands at the top here.
    found = [block for block in others if block != sentence]
    at = next((place for place, one in enumerate(found) if isinstance(one, Heading)), len(found))
    about, tables = found[:at], found[at:]
    yield from tables
    yield from _cells(result, unit)
    yield Heading("What this was measured on")
    yield from about
    yield from _commands(result)


def _pictures(result: RunResult, answer: Headline) -> Iterator[Picture]:
    if not latencies(result):
        return
    yield Picture(
        as_svg(draw_latency([result])),
        "Milliseconds a photograph over the batch, a panel a thread count; the figures are in the "
        "table of every batch and thread count.",
    )
    known = evaluations(result)
    sizes = sorted({batch for name, batch in answer.cells if name in known})
    for batch in dict.fromkeys((*sizes[:1], *sizes[-1:])):
        yield Picture(
            as_svg(draw_frontier(result, answer, batch)),
            f"Top-1 over milliseconds a photograph at batch {batch}; the figures are in the first "
            "table.",
        )


def _cells(result: RunResult, unit: units.TimeUnit) -> Iterator[PageBlock]:
    """Yield what each cell of the matrix was, and how its rounds are spread."""
    cases = [case for name in allocators(result) for case in latencies(result, name)]
    if not cases:
        return
    yield Heading("Each cell's rounds")
    for case in cases:
        one = case.measurement
        median = unit.text(one.latency.median_s if one.latency else None)
        yield Details(
            tuple(_cell(case, unit)),
            summary=f"{label(one)}, batch {one.batch}, {units.threads(one.threads or 1)}, "
            f"allocator {one.allocator}: {median} {unit.name}",
            anchor=cell_anchor(one),
        )


def _cell(case: MeasuredCase, unit: units.TimeUnit) -> Iterator[Block | Picture]:
    one, rounds = case.measurement, case.rounds
    batch = one.batch or 1
    quartiles = (rounds.minimum_s, rounds.q1_s, rounds.median_s, rounds.q3_s)
    told = " / ".join(unit.text(seconds / batch) for seconds in quartiles)
    entries = [
        ("rounds", f"{rounds.num_rounds}; least / quartiles: {told} {unit.name} a photograph"),
        ("warm-up", _warm_up(one)),
        ("test", case.fullname),
    ]
    if one.runtime:
        entries.append(("runtime", f"{one.runtime}, {one.precision}, {one.device or 'cpu'}"))
    if one.ran is not None and (counts := one.ran.multiply_adds):
        total = sum(counts.values())
        shares = (f"{name or 'not told'} {count / total:.1%}" for name, count in counts.items())
        entries.append(("multiply-adds", ", ".join(shares)))
    if one.output_sqnr_db is not None:
        entries.append(("logits", f"{one.output_sqnr_db:.1f} dB against float32's"))
    if one.speedup is not None:
        entries.append(
            (
                "speedup",
                f"{units.ratio(one.speedup.speedup)} ({units.ratio_interval(one.speedup.interval)})"
                f" over {one.speedup.baseline}, {one.speedup.num_pairs} pairs",
            )
        )
    if one.measured_at:
        entries.append(("measured", units.moment(one.measured_at)))
    yield Facts(tuple(entries))
    if case.seconds:
        yield histogram([unit.per_s * seconds / batch for seconds in case.seconds], unit.name)


def _warm_up(one: Measurement) -> str:
    calls = "not recorded" if one.num_warmup_calls is None else f"{one.num_warmup_calls} calls"
    return f"{calls}, not settled" if one.warmup_stable is False else calls


def _commands(result: RunResult) -> Iterator[Command]:
    cases = latencies(result)
    yield Command(command_line("report", result.source), "These tables in a terminal:")
    if not cases:
        return
    run = result.cases[0].measurement.run
    options = {
        "--model": run.arch,
        "--variant": ",".join(variants(result)),
        "--batch": ",".join(map(str, batch_sizes(cases))),
        "--threads": ",".join(map(str, thread_counts(cases))),
    }
    line = shlex.join(("pytest", "bench", *chain.from_iterable(options.items())))
    yield Command(line, "The same cells, measured anew (add --data and --weights):")
