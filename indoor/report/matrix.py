"""The table of every cell batch x threads, and what its figures must not be taken for."""

from collections import defaultdict

from indoor.records import Allocator, Measurement
from indoor.report import units
from indoor.report.blocks import MANY, Block, Column, Grid, Heading, Paragraph
from indoor.report.pivot import pivot
from indoor.report.slower import slower_blocks
from indoor.report.tails import tails_blocks
from indoor.runs.results import RunResult
from indoor.runs.select import allocators, cell_anchor, label, latencies, place

_MANY_FAULTS = 1000
"""Minor faults a photograph above which mapping memory costs a share worth a word."""


def matrix_blocks(result: RunResult, unit: units.TimeUnit = units.MS) -> list[Block]:
    """Return a grid for each allocator, with the notes that belong to it."""
    blocks: list[Block] = []
    several = len(allocators(result)) > 1
    for allocator in allocators(result):
        title = "Every batch and thread count"
        blocks.append(Heading(f"{title}, allocator {allocator}" if several else title))
        cases = _ordered(result, allocator)
        several_counts = len({one.threads for one in cases}) > 1
        if len({one.variant for one in cases}) > MANY and several_counts:
            blocks += _overview(result, cases, unit)
        blocks.append(_grid(cases, unit))
        blocks += tails_blocks(cases, unit)
        notes = _notes(cases, "retain" in allocators(result))
        blocks.extend(Paragraph(note, "faint") for note in notes)
        blocks += slower_blocks(result, allocator)
    return blocks


def _ordered(result: RunResult, allocator: Allocator) -> list[Measurement]:
    rank = place(result)
    cases = [case.measurement for case in latencies(result, allocator)]
    return sorted(cases, key=lambda one: (one.threads or 0, one.batch or 0, rank(one.variant)))


def _overview(result: RunResult, cases: list[Measurement], unit: units.TimeUnit) -> list[Block]:
    """Return the medians with a row a variant, which the whole table is too long to show."""
    table = pivot(
        result,
        cases,
        lambda one: None if one.latency is None else unit.text(one.latency.median_s),
    )
    words = f"{unit.name} per photograph, medians; below with what belongs to each."
    return [] if table is None else [table, Paragraph(words, "faint")]


def _grid(cases: list[Measurement], unit: units.TimeUnit) -> Grid:
    has_p99 = any(one.latency is not None and one.latency.p99_s is not None for one in cases)
    columns = [
        Column("threads"),
        Column("batch"),
        Column("variant", "left"),
        Column(f"median\n{unit.name}"),
        Column(f"p90\n{unit.name}"),
        *([Column(f"p99\n{unit.name}")] if has_p99 else []),
        Column("photos\nper s"),
        Column("faults\nper photo"),
        Column("speedup"),
        Column("95%\ninterval"),
    ]
    rows: list[tuple[str, ...]] = []
    rules = set()
    before: tuple[int | None, int | None] = (None, None)
    for one in cases:
        here = (one.threads, one.batch)
        is_new_count = here[0] != before[0]
        if rows and is_new_count:
            rules.add(len(rows) - 1)
        places = (str(here[0]) if is_new_count else "", str(here[1]) if here != before else "")
        rows.append((*places, *_figures(one, has_p99, unit)))
        before = here
    return Grid(
        columns=tuple(columns),
        rows=tuple(rows),
        num_keys=3,
        rules=frozenset(rules),
        anchors=tuple(map(cell_anchor, cases)),
    )


def _figures(one: Measurement, has_p99: bool, unit: units.TimeUnit) -> tuple[str, ...]:
    known, paired = one.latency, one.speedup
    seconds = (known.median_s, known.p90_s, known.p99_s) if known else (None, None, None)
    median, *percentiles = map(unit.text, seconds[: 2 + has_p99])
    speedup = ("unpaired", "") if one.unpaired_reason else ("", "")
    if paired is not None:
        speedup = units.ratio(paired.speedup), units.ratio_interval(paired.interval)
    return (
        label(one),
        f"~{median}" if known and one.warmup_stable is False else median,
        *percentiles,
        units.NOTHING if one.photographs_per_s is None else units.digits(one.photographs_per_s),
        units.count(one.minor_faults_per_photograph),
        *speedup,
    )


def _notes(cases: list[Measurement], has_retained: bool) -> list[str]:
    reasons = dict.fromkeys(one.unpaired_reason for one in cases if one.unpaired_reason)
    unsettled = (
        "~ marks times whose warm-up had not settled when its limit was reached: "
        "measure again on a quieter machine."
    )
    return [
        *_left_out(cases),
        *(f"unpaired, so no speedup is claimed: {reason}." for reason in reasons),
        *([unsettled] if any(one.warmup_stable is False for one in cases) else []),
        *_blocked(cases),
        *_faults(cases, has_retained),
    ]


def _left_out(cases: list[Measurement]) -> list[str]:
    """Say once for each percentile why cells lack it; reasons differ in their number of rounds."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in cases:
        for name, reason in (one.latency.left_out if one.latency else {}).items():
            number, separator, rest = reason.partition("; ")
            found[name.removesuffix("_s"), rest if separator else reason].append(number)
    notes = []
    for (name, reason), numbers in found.items():
        counts = list(dict.fromkeys(numbers))
        shown = f" ({', '.join(counts[:4])}{', ...' if len(counts) > 4 else ''})"
        notes.append(
            f"{name} is left out of {len(numbers)} of {len(cases)} cells: {reason}"
            f"{'' if counts == [reason] else shown}."
        )
    return notes


def _blocked(cases: list[Measurement]) -> list[str]:
    """Show beside the pairs what two blocks one after the other would have made believe."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in cases:
        if one.speedup is not None and one.speedup.blocked_speedup is not None:
            found[f"batch {one.batch}, {units.threads(one.threads or 1)}"].append(
                f"{one.speedup.candidate} {units.ratio(one.speedup.blocked_speedup)} "
                f"instead of {units.ratio(one.speedup.speedup)}"
            )
    return [
        f"Blocked, that is each variant in one stretch of time instead of interleaved, {place}: "
        f"{', '.join(ratios)}. For comparison only."
        for place, ratios in found.items()
    ]


def _faults(cases: list[Measurement], has_retained: bool) -> list[str]:
    """Point at page faults where there are many; what they cost, only a second run can say."""
    worst = max(cases, key=lambda one: one.minor_faults_per_photograph or 0.0)
    num_faults = worst.minor_faults_per_photograph
    if num_faults is None or num_faults < _MANY_FAULTS:
        return []
    if worst.allocator == "retain":
        remedy = "Raised thresholds did not prevent them here"
    elif has_retained:
        remedy = "What they cost in time shows below, where allocator retain keeps the memory"
    else:
        remedy = "What they cost in time shows in a run with --allocator retain"
    return [
        f"{worst.variant} at batch {worst.batch} takes {units.count(num_faults)} minor page "
        f"faults a photograph, since memory is mapped anew (allocator {worst.allocator}). {remedy}."
    ]
