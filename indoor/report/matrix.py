"""The table of every cell batch x threads, and what its figures must not be taken for."""

from collections import defaultdict

from indoor.records import Allocator, LatencySummary, Measurement
from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph
from indoor.report.select import allocators, latencies, place
from indoor.runs.results import RunResult

_MANY_FAULTS = 1000
"""Minor faults a photograph above which mapping memory costs a share worth a word."""


def matrix_blocks(result: RunResult) -> list[Block]:
    """Return a grid for each allocator, with the notes that belong to it."""
    blocks: list[Block] = []
    several = len(allocators(result)) > 1
    for allocator in allocators(result):
        title = "Every batch and thread count"
        blocks.append(Heading(f"{title}, allocator {allocator}" if several else title))
        cases = _ordered(result, allocator)
        blocks.append(_grid(cases))
        notes = _notes(cases, "retain" in allocators(result))
        blocks.extend(Paragraph(note, "faint") for note in notes)
    return blocks


def _ordered(result: RunResult, allocator: Allocator) -> list[Measurement]:
    rank = place(result)
    cases = [case.measurement for case in latencies(result, allocator)]
    return sorted(cases, key=lambda one: (one.threads or 0, one.batch or 0, rank(one.variant)))


def _grid(cases: list[Measurement]) -> Grid:
    has_p99 = any(one.latency is not None and one.latency.p99_s is not None for one in cases)
    columns = [
        Column("threads"),
        Column("batch"),
        Column("variant", "left"),
        Column("median\nms"),
        Column("p90\nms"),
        *([Column("p99\nms")] if has_p99 else []),
        Column("photos\nper s"),
        Column("faults\nper photo"),
        Column("speedup"),
        Column("95%\ninterval"),
    ]
    rows: list[tuple[str, ...]] = []
    rules = set()
    before: Measurement | None = None
    for one in cases:
        is_new_count = before is None or one.threads != before.threads
        is_new_batch = before is None or is_new_count or one.batch != before.batch
        if before is not None and is_new_count:
            rules.add(len(rows) - 1)
        places = (str(one.threads) if is_new_count else "", str(one.batch) if is_new_batch else "")
        rows.append((*places, *_figures(one, has_p99)))
        before = one
    return Grid(columns=tuple(columns), rows=tuple(rows), num_keys=3, rules=frozenset(rules))


def _figures(one: Measurement, has_p99: bool) -> tuple[str, ...]:
    latency = one.latency or LatencySummary(median_s=0.0, p90_s=None, p99_s=None, left_out={})
    unsettled = "~" if one.warmup_stable is False else ""
    speedup, interval = _speedup_cells(one)
    return (
        one.variant or "",
        unsettled + units.milliseconds(latency.median_s) if one.latency else units.NOTHING,
        units.milliseconds(latency.p90_s),
        *([units.milliseconds(latency.p99_s)] if has_p99 else []),
        units.NOTHING if one.photographs_per_s is None else units.digits(one.photographs_per_s),
        units.count(one.minor_faults_per_photograph),
        speedup,
        interval,
    )


def _speedup_cells(one: Measurement) -> tuple[str, str]:
    if one.speedup is not None:
        return units.ratio(one.speedup.speedup), units.ratio_interval(one.speedup.interval)
    return ("unpaired", "") if one.unpaired_reason else ("", "")


def _notes(cases: list[Measurement], has_retained: bool) -> list[str]:
    return [
        *_left_out(cases),
        *_unpaired(cases),
        *_unsettled(cases),
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


def _unpaired(cases: list[Measurement]) -> list[str]:
    reasons = dict.fromkeys(one.unpaired_reason for one in cases if one.unpaired_reason)
    return [f"unpaired, so no speedup is claimed: {reason}." for reason in reasons]


def _unsettled(cases: list[Measurement]) -> list[str]:
    if not any(one.warmup_stable is False for one in cases):
        return []
    return [
        "~ marks times whose warm-up had not settled when its limit was reached: "
        "measure again on a quieter machine."
    ]


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
    worst = max(
        (one for one in cases if one.minor_faults_per_photograph is not None),
        key=lambda one: one.minor_faults_per_photograph or 0.0,
        default=None,
    )
    if worst is None or (worst.minor_faults_per_photograph or 0.0) < _MANY_FAULTS:
        return []
    if worst.allocator == "retain":
        remedy = "Raised thresholds did not prevent them here"
    elif has_retained:
        remedy = "What they cost in time shows below, where allocator retain keeps the memory"
    else:
        remedy = "What they cost in time shows in a run with --allocator retain"
    return [
        f"{worst.variant} at batch {worst.batch} takes "
        f"{units.count(worst.minor_faults_per_photograph)} minor page faults a photograph, since "
        f"memory is mapped anew (allocator {worst.allocator}). {remedy}."
    ]
