"""Measures why one variant is faster than another, by experiments that take turns."""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

import indoor
from indoor.errors import IndoorError
from indoor.explain.observations import (
    SCHEMA_VERSION,
    Observations,
    SideObservations,
)
from indoor.explain.pages import build_pages
from indoor.explain.sides import IN_CACHE, MAX_WARMUP_S, Bench, observed, opened
from indoor.explain.twin import twin_run
from indoor.files import remembered_sha256
from indoor.machine import code_identity, read_environment, read_machine, read_moment
from indoor.measure.pairs import Plan, measure_interleaved
from indoor.model import read_manifest
from indoor.records import Precision, Variant
from indoor.runtimes import baseline
from indoor.runtimes.base import libraries_of
from indoor.runtimes.limits import Limit, best_limits, measure_bandwidths, measure_limits
from indoor.runtimes.loading import checkpoint_of
from indoor.runtimes.own_process import LOST, lost_line

LIMIT_S = 0.3
"""For each kernel of a precision and number of threads."""

MIN_ROUNDS = 8


def observe(
    run_folder: Path,
    pairs: Sequence[tuple[Variant, Variant]],
    batches: Sequence[int],
    threads: Sequence[int],
    images: Tensor,
    minutes: float,
    say: Callable[[str], None],
    save: Callable[[Observations], object] = lambda _found: None,
) -> Observations:
    """Measure every experiment of both variants of each pair, at each batch and number of threads.

    Args:
        run_folder: Holds the checkpoints.
        pairs: The second of each is what the first is compared with.
        batches: Photographs a call.
        threads: To compute on.
        images: Normalised photographs `(B, 3, H, W)`, as many as the largest batch.
        minutes: For all rounds together; each cell has 8 rounds however long they take.
        say: Hears a line for each cell.
        save: Gets what is known after each cell, so that a failure costs its own cell alone.

    Raises:
        IndoorError: A variant cannot be loaded, or its process died; one line.
    """
    found = _nothing_yet(run_folder, {v.name: v for pair in pairs for v in pair})
    todo = [(pair, b, t) for t in threads for b in batches for pair in pairs]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="indoor-explain-")))
        pages: Path | None = None
        try:
            pages = build_pages(scratch)
        except IndoorError as error:
            found = replace(found, notes=(str(error),))
        say("measuring what this machine can reach")
        bandwidths = measure_bandwidths(threads, LIMIT_S)
        precisions = {variant.precision for pair in pairs for variant in pair}
        bench = Bench(
            folder=run_folder,
            twin=stack.enter_context(twin_run(run_folder)),
            manifest=read_manifest(checkpoint_of(baseline(), run_folder)),
            pages=pages,
            limits=best_limits(measure_limits(threads, LIMIT_S, precisions)),
            bytes_per_s={(one.level, one.threads): one.bytes_per_s for one in bandwidths},
        )
        for number, (pair, batch, count) in enumerate(todo, start=1):
            names = " and ".join(variant.name for variant in pair)
            say(f"cell {number} of {len(todo)}: {names}, batch {batch}, threads {count}")
            plan = Plan(
                budget_s=60 * minutes / len(todo),
                min_rounds=MIN_ROUNDS,
                max_warmup_s=MAX_WARMUP_S,
            )
            cell = _measure_cell(bench, pair, images[:batch], count, plan)
            found = replace(
                found,
                cells=(*found.cells, cell),
                measured_at=read_moment()[0],
            )
            save(found)
        # A busy moment at the beginning would have the limits too low.
        later = measure_limits(threads, LIMIT_S, precisions)
        again = best_limits((*bench.limits.values(), *later))
    cells = tuple((_limited(one, again), _limited(other, again)) for one, other in found.cells)
    found = replace(found, cells=cells)
    save(found)
    return found


def _nothing_yet(run_folder: Path, used: Mapping[str, Variant]) -> Observations:
    """Return the record of what is measured, with no cell in it."""
    manifest = read_manifest(checkpoint_of(baseline(), run_folder))
    commit, dirty = code_identity(Path(indoor.__file__).parent.parent)
    return Observations(
        schema=SCHEMA_VERSION,
        run=run_folder.name,
        arch=manifest.arch,
        checkpoint_sha256={
            v.checkpoint: remembered_sha256(checkpoint_of(v, run_folder)) for v in used.values()
        },
        weights=manifest.weights,
        machine=read_machine(),
        cells=(),
        commit=commit,
        dirty=dirty,
        environment=read_environment(),
        libraries={name: libraries_of(v) for name, v in used.items() if libraries_of(v)},
        # A file to be published holds no folder of this machine.
        command=shlex.join(["indoor", *(Path(word).name or word for word in sys.argv[1:])]),
    )


def _limited(
    side: SideObservations, limits: Mapping[tuple[Precision, int], Limit]
) -> SideObservations:
    """Return it with the machine's limit, which a precision that is only emulated has none of."""
    limit = limits.get((side.precision, side.threads))
    per_s = None if limit is None else limit.multiply_adds_per_s
    return replace(side, limit_multiply_adds_per_s=per_s)


def _measure_cell(
    bench: Bench,
    pair: tuple[Variant, Variant],
    images: Tensor,
    threads: int,
    plan: Plan,
) -> tuple[SideObservations, SideObservations]:
    lost: dict[str, str] = {}
    """Why a variant's tensors cannot be in the cache: rubbish in them may end a process."""
    while True:
        with ExitStack() as stack:
            first, second = (
                stack.enter_context(opened(bench, variant, images, threads, lost))
                for variant in pair
            )
            subjects = {
                f"{side.variant.name} {kind}": subject
                for side in (first, second)
                for kind, subject in side.subjects.items()
            }
            try:
                series = measure_interleaved(subjects, plan, seed=0)
            except LOST as error:
                name, _, kind = error.name.partition(" ")
                if kind != IN_CACHE or name in lost:
                    raise IndoorError(lost_line(error)) from error
                lost[name] = lost_line(error)
                continue
            return (
                observed(bench, first, series, images, threads),
                observed(bench, second, series, images, threads),
            )
