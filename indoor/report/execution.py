"""The tables of what really ran, and how much of the machine's measured limit it reached."""

import re
from collections import Counter
from typing import TYPE_CHECKING

from indoor.records import Measurement
from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Heading, Items, Paragraph
from indoor.report.pivot import pivot
from indoor.runs.results import RunResult
from indoor.runs.select import allocators, described, labels, latencies, precision_that_ran

if TYPE_CHECKING:
    from indoor.measure.proof import Proof

_NUMBERS = re.compile(r"\b\d[\d.,]*(e[+-]?\d+)?\b")

MAX_IDLE_SHARE = 0.01
"""Of one CPU: what the other variants' processes may use while one is timed."""


def execution_blocks(result: RunResult) -> list[Block]:
    """Return the tables; nothing where no case says what ran and no limit was measured."""
    blocks: list[Block] = [Heading("What ran")]
    if (table := _fingerprints(result)) is not None:
        blocks.append(table)
        blocks.append(
            Paragraph(
                "By the runtimes' own word of a warm call, with the share of the network's "
                "multiply-adds that were computed in that precision. The kernel is that of most of "
                "them; - where the library names none. Every operation stands in the JSON.",
                "faint",
            )
        )
    if notes := _notes(result):
        blocks.append(Items(tuple(notes)))
    if (table := pivot(result, _cells(result), lambda one: _share(result, one))) is not None:
        blocks.append(table)
        limits = ", ".join(
            f"{one.precision} {units.digits(1e-9 * (one.multiply_adds_per_s or 0))} with "
            f"{units.threads(one.threads or 1)}"
            for one in _limits(result)
        )
        blocks.append(
            Paragraph(
                "% of the measured limit: the network's multiply-adds by the median time, over the "
                "most that a small kernel of the precision that ran reached on this machine, in "
                f"GMAC/s: {limits}.",
                "faint",
            )
        )
    return blocks if len(blocks) > 1 else []


def share_of_limit(result: RunResult, one: Measurement) -> float | None:
    """Return the share of the measured limit that a cell's median reaches; None: not measured."""
    precision = precision_that_ran(one)
    limit = next(
        (
            known.multiply_adds_per_s
            for known in _limits(result)
            if (known.precision, known.threads) == (precision, one.threads)
        ),
        None,
    )
    if limit is None or one.multiply_adds is None or one.latency is None:
        return None
    return one.multiply_adds / one.latency.median_s / limit if one.latency.median_s else None


def _share(result: RunResult, one: Measurement) -> str | None:
    share = share_of_limit(result, one)
    return None if share is None else f"{share:.0%}"


def _limits(result: RunResult) -> list[Measurement]:
    found = [c.measurement for c in result.cases if c.measurement.case == "limit"]
    return sorted(found, key=lambda one: one.threads or 0)


def _cells(result: RunResult) -> list[Measurement]:
    """Return the cells of the run's own allocator."""
    allocator = next(iter(allocators(result)), None)
    return [case.measurement for case in latencies(result, allocator)]


def _told(result: RunResult) -> dict[str, list[Measurement]]:
    """Return the cases of each variant that say what ran."""
    return {
        name: known
        for name in described(result)
        if (
            known := [
                case.measurement
                for case in result.cases
                if case.measurement.variant == name
                and case.measurement.ran is not None
                and case.measurement.precision is not None
            ]
        )
    }


def _fingerprints(result: RunResult) -> Grid | None:
    rows = []
    shown = labels(result)
    for name, cases in _told(result).items():
        kinds: dict[tuple[str, str], list[Measurement]] = {}
        for one in cases:
            kinds.setdefault(_kind(one), []).append(one)
        for kind, same in kinds.items():
            where = "" if len(kinds) == 1 else _places(same)
            rows.append((shown[name], *kind, _kernel(same), where))
    if not rows:
        return None
    columns = (
        Column("variant", "left"),
        Column("ran", "left"),
        Column("of all\nmultiply-adds"),
        Column("kernel", "left"),
        Column("where it differs", "left"),
    )
    if not any(row[-1] for row in rows):
        return Grid(columns=columns[:-1], rows=tuple(row[:-1] for row in rows))
    return Grid(columns=columns, rows=tuple(rows))


def _kind(one: Measurement) -> tuple[str, str]:
    """Return the precision of most multiply-adds, and its share."""
    proof = _proof(one)
    share = units.NOTHING
    if proof.is_told:
        from indoor.measure.proof import percentage  # numpy and scipy come with it

        share = percentage(proof.multiply_adds[proof.precision], proof.total)
    return proof.precision or "not told", share


def _kernel(cases: list[Measurement]) -> str:
    """Return the name of the kernel of most multiply-adds; old results only count names."""
    told = [one.ran for one in cases if one.ran is not None]
    computing: Counter[str] = Counter()
    for operation in (operation for ran in told for operation in ran.executed):
        if operation.implementation is not None:
            computing[operation.implementation] += operation.multiply_adds
    counted = Counter(name for ran in told for name in Counter(ran.kernels).elements())
    most = (computing or counted).most_common(1)
    return units.clean(most[0][0]) if most else units.NOTHING


def _proof(one: Measurement) -> "Proof":
    from indoor.measure.proof import proof_of

    proof = proof_of(one)
    assert proof is not None
    return proof


def _faster_than_possible(result: RunResult, one: Measurement) -> str | None:
    """Return the evidence for a narrow precision whose library names no kernels, if there is."""
    from indoor.measure.proof import beats_limit

    if one.case != "latency" or one.ran is None or not _proof(one).num_unnamed:
        return None
    return beats_limit(one, _limits(result))


def _places(cases: list[Measurement]) -> str:
    found = dict.fromkeys(
        ("once loaded" if one.batch is None else f"batch {one.batch}")
        + f", {units.threads(one.threads or 1)}{' (alone)' if one.case == 'peak-memory' else ''}"
        for one in cases
    )
    names = list(found)
    if len(names) > 3:
        names[2:] = [f"{len(names) - 2} more"]
    return "; ".join(names)


def _notes(result: RunResult) -> list[str]:
    """Return what a reader must know of single variants beside the times."""
    notes: dict[str, list[Measurement]] = {}
    words: dict[object, str] = {}
    for case in result.cases:
        one = case.measurement
        if one.variant is None or one.precision is None:
            continue
        said = list(one.ran.notes) if one.ran is not None else []
        if one.ran is not None and (proof := _proof(one)).is_told and not proof.is_whole:
            # Batches differ in how many multiply-adds there are, and in nothing else.
            same = (one.variant, *((p, round(proof.share(p), 4)) for p in proof.multiply_adds))
            said.append(words.setdefault(same, proof.words))
        if (proved := _faster_than_possible(result, one)) is not None:
            said.append(words.setdefault(one.variant, proved))
        if one.num_busy_threads is not None and one.num_busy_threads != one.threads:
            said.append(f"{units.threads(one.num_busy_threads)} computed, {one.threads} asked for")
        if one.idle_share is not None and one.idle_share > MAX_IDLE_SHARE:
            said.append(
                f"the other variants' processes used {units.share(one.idle_share)} of a CPU "
                f"meanwhile, {units.share(MAX_IDLE_SHARE)} at most was expected"
            )
        for text in said:
            notes.setdefault(f"{one.variant}: {units.clean(text)}", []).append(one)
    return _grouped(notes)


def _grouped(notes: dict[str, list[Measurement]]) -> list[str]:
    """Return a line a note: those that differ in their numbers alone are one."""
    groups: dict[str, list[str]] = {}
    for text in notes:
        groups.setdefault(_NUMBERS.sub("#", text), []).append(text)
    lines = []
    for first, *others in groups.values():
        more = sum(len(notes[text]) for text in others)
        noun = "case" if more == 1 else "cases"
        also = f"; likewise, with other numbers, in {more} {noun} more" if others else ""
        lines.append(f"{first} ({_places(notes[first])}{also}).")
    return lines
