"""How variants take turns in the suite: the lost left out, threads counted, the idle watched."""

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from bench.terminal import QuietBar, uncaptured
from indoor.errors import IndoorError
from indoor.measure import MIN_PAIRS, paired_speedup
from indoor.measure.pairs import Plan, RemoteCall, Series, Subject, measure_interleaved
from indoor.measure.threads import (
    MAX_IDLE_CPUS,
    NUM_TRIES,
    WATCH_S,
    idle_cpus,
    watch_threads,
    why_not_the_threads,
)
from indoor.records import PairedSpeedup
from indoor.runs.partial import Cell, CellResult
from indoor.runtimes import Loaded, baseline
from indoor.runtimes.base import VariantError
from indoor.runtimes.own_process import LOST, Hosted, lost_line, lost_name

IDLE_S = 0.5
"""How long the waiting processes of a cell are watched: 1% of it is above what a clock tells."""


def take_turns(
    config: pytest.Config,
    words: str,
    subjects: Mapping[str, Subject],
    plan: Plan,
    *,
    seed: int,
    collects: bool,
    after_warmup: Callable[[], None] = lambda: None,
) -> dict[str, Series]:
    """Return interleaved rounds, with a bar that says `words`; see `measure_interleaved`."""
    with uncaptured(config), QuietBar(config, words) as bar, garbage(collects=collects):
        return measure_interleaved(
            subjects, plan, seed=seed, after_warmup=after_warmup, after_round=bar.update
        )


def without_the_lost(
    names: Sequence[str],
    make: Callable[[str], Subject],
    measure: Callable[[Mapping[str, Subject]], dict[str, Series]],
    lost: dict[str, str],
) -> dict[str, Series]:
    """Return the series of the variants that can be measured; `lost` gets the others' reasons."""
    subjects: dict[str, Subject] = {}
    for name in names:
        try:
            subjects[name] = make(name)
        except IndoorError as error:
            lost[name] = str(error)
    while subjects:
        try:
            return measure(subjects)
        except LOST as error:  # the others' rounds are taken again without it
            dead = lost_name(error)
            for name in [n for n, one in subjects.items() if dead in (n, process_of(one))]:
                del subjects[name]
                lost[name] = lost_line(error)
    return {}


def busy_threads(
    loaded: Loaded, cell: Cell, call: Callable[[], object], for_s: float
) -> int | None:
    """Return how many threads of the variant's process compute in its call of the cell.

    Args:
        loaded: The variant.
        cell: What was asked for.
        call: One of the variant's, of the cell's batch.
        for_s: How long to look, `WATCH_S` at most.

    Raises:
        IndoorError: They are others than were asked for, on several looks; one line.
    """
    network, reason = loaded.network, None
    pid = network.host.pid if isinstance(network, Hosted) else os.getpid()
    for _ in range(NUM_TRIES):
        found = watch_threads(pid, call, min(WATCH_S, for_s))
        if found is None or found.num_busy == cell.threads <= found.num_cpus:
            return None if found is None else found.num_busy
        reason = why_not_the_threads(found, cell.threads, cell.batch)
    if reason is not None:
        raise IndoorError(f"{loaded.variant.name}: {reason}")
    assert found is not None
    return found.num_busy


def watch_the_idle(subjects: Mapping[str, Subject], for_s: float) -> tuple[dict[str, float], float]:
    """Return the CPUs that the others' processes use while none is called, and this one's.

    Args:
        subjects: All that take turns, by variant.
        for_s: How long to look, `IDLE_S` at most.

    Returns:
        By variant what all processes but its own use, nothing where nobody tells it; and what this
        process uses.

    Raises:
        VariantError: A variant's own process spins: before the first round, so that it disturbs
            nobody's.
    """
    own, pids = os.getpid(), {name: pid_of(subject) for name, subject in subjects.items()}
    for _ in range(NUM_TRIES):
        used = idle_cpus((*pids.values(), own), min(IDLE_S, for_s))
        if used is None:
            return {}, 0.0
        if max(used.values()) <= MAX_IDLE_CPUS:
            break
    assert used is not None
    for name, pid in pids.items():
        if pid != own and used[pid] > MAX_IDLE_CPUS:
            reason = (
                f"its process uses {used[pid]:.2f} CPUs while it waits, which the others lack; "
                f"expected {MAX_IDLE_CPUS:g} or fewer; have its threads sleep between calls"
            )
            raise VariantError(name, IndoorError(reason))
    shares = {
        name: sum(share for other, share in used.items() if other != pid)
        for name, pid in pids.items()
    }
    return shares, used[own]


def speedup_of(cell: CellResult, variant: str) -> tuple[PairedSpeedup | None, str | None]:
    """Return the speedup over float32 measured beside it, or why there is none to claim."""
    first = baseline().name
    if first not in cell.series:
        return None, f"{first} was not measured beside it"
    if len(cell.series) == 1:
        return None, "it was measured alone"
    if variant == first:
        return None, None
    seconds = cell.series[first].seconds
    if len(seconds) < MIN_PAIRS:
        return None, f"{len(seconds)} pairs are too few for a 95% interval"
    blocked = cell.blocked
    return (
        paired_speedup(
            seconds,
            cell.series[variant].seconds,
            baseline=first,
            candidate=variant,
            blocked=None if blocked is None else (blocked[first], blocked[variant]),
        ),
        None,
    )


def pid_of(subject: Subject) -> int:
    """Return the number of the process that computes it."""
    return subject.process.pid if isinstance(subject, RemoteCall) else os.getpid()


def process_of(subject: Subject) -> str | None:
    """Return the name of its process; None for this one."""
    return subject.process.name if isinstance(subject, RemoteCall) else None


@contextmanager
def garbage(*, collects: bool) -> Iterator[None]:
    """Let Python collect garbage in the block or not, and afterwards as before."""
    before = gc.isenabled()
    if not collects:
        gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def faults_of(series: Series) -> float:
    """Return the minor page faults of a call, on average."""
    return sum(series.num_faults) / len(series.num_faults)
