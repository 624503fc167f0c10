"""Measures why one variant is faster than another, by experiments that take turns."""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

import indoor
from indoor.errors import IndoorError
from indoor.explain.observations import (
    SCHEMA_VERSION,
    Observations,
    OperatorTime,
    SideObservations,
)
from indoor.explain.pages import build_pages, layouts, preloading
from indoor.explain.traffic import layer_traffic
from indoor.explain.twin import twin_images, twin_run
from indoor.files import remembered_sha256
from indoor.machine import identify_code, read_environment, read_machine, read_moment
from indoor.measure import allocator_environment
from indoor.measure.pairs import Plan, Series, Subject, measure_interleaved
from indoor.model import multiply_adds, read_manifest
from indoor.records import CheckpointManifest, Precision, Variant, from_builtins
from indoor.runtimes import baseline
from indoor.runtimes.base import libraries_of
from indoor.runtimes.limits import Level, Limit, best_limits, measure_bandwidths, measure_limits
from indoor.runtimes.loading import checkpoint_of
from indoor.runtimes.own_process import LOST, Host, lost_line

LIMIT_S = 0.3
"""For each kernel of a precision and number of threads."""

MIN_ROUNDS = 8

MAX_WARMUP_S = 5.0

_PROCESS = "indoor.explain.process"

_IN_CACHE = "in_cache"


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What all cells of a run share."""

    folder: Path
    twin: Path
    manifest: CheckpointManifest
    pages: Path | None
    """The allocator; None where it cannot be had."""
    limits: Mapping[tuple[Precision, int], Limit]
    bytes_per_s: Mapping[tuple[Level, int], float]
    """From memory and from L2, by threads."""


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One variant's processes in a cell; `hosts` and `subjects` by the experiment."""

    variant: Variant
    hosts: Mapping[str, Host]
    subjects: Mapping[str, Subject]
    notes: tuple[str, ...]


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
    notes: list[str] = []
    cells: list[tuple[SideObservations, SideObservations]] = []
    todo = [(pair, b, t) for t in threads for b in batches for pair in pairs]
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="indoor-explain-")))
        pages: Path | None = None
        try:
            pages = build_pages(scratch)
        except IndoorError as error:
            notes.append(str(error))
        say("measuring what this machine can reach")
        bandwidths = measure_bandwidths(threads, LIMIT_S)
        bench = _Bench(
            folder=run_folder,
            twin=stack.enter_context(twin_run(run_folder)),
            manifest=read_manifest(checkpoint_of(baseline(), run_folder)),
            pages=pages,
            limits=best_limits(measure_limits(threads, LIMIT_S)),
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
            cells.append(_measure_cell(bench, pair, images[:batch], count, plan))
            save(_found(bench, pairs, cells, notes))
        # A busy moment at the beginning would have the limits too low.
        again = best_limits((*bench.limits.values(), *measure_limits(threads, LIMIT_S)))
        cells = [(_limited(first, again), _limited(second, again)) for first, second in cells]
        found = _found(bench, pairs, cells, notes)
        save(found)
    return found


def _limited(
    side: SideObservations, limits: Mapping[tuple[Precision, int], Limit]
) -> SideObservations:
    """Return it with the machine's limit as it is known at the end."""
    limit = limits.get((side.precision, side.threads))
    return (
        side
        if limit is None
        else replace(side, limit_multiply_adds_per_s=limit.multiply_adds_per_s)
    )


def _found(
    bench: _Bench,
    pairs: Sequence[tuple[Variant, Variant]],
    cells: Sequence[tuple[SideObservations, SideObservations]],
    notes: Sequence[str],
) -> Observations:
    """Return the record of the cells so far."""
    code = identify_code(Path(indoor.__file__).parent.parent)
    used = {variant.name: variant for pair in pairs for variant in pair}
    return Observations(
        schema=SCHEMA_VERSION,
        run=bench.folder.name,
        arch=bench.manifest.arch,
        checkpoint_sha256={
            v.checkpoint: remembered_sha256(checkpoint_of(v, bench.folder)) for v in used.values()
        },
        weights=bench.manifest.weights,
        machine=read_machine(),
        cells=tuple(cells),
        commit=code.commit,
        dirty=code.dirty,
        environment=read_environment(),
        libraries={name: libraries_of(v) for name, v in used.items() if libraries_of(v)},
        # A file to be published holds no folder of this machine.
        command=shlex.join(["indoor", *(Path(word).name or word for word in sys.argv[1:])]),
        measured_at=read_moment()[0],
        notes=tuple(notes),
    )


def _measure_cell(
    bench: _Bench,
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
                stack.enter_context(_opened(bench, variant, images, threads, lost))
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
                if kind != _IN_CACHE or name in lost:
                    raise IndoorError(lost_line(error)) from error
                lost[name] = lost_line(error)
                continue
            return (
                _observed(bench, first, series, images, threads),
                _observed(bench, second, series, images, threads),
            )


@contextmanager
def _opened(
    bench: _Bench, variant: Variant, images: Tensor, threads: int, lost: dict[str, str]
) -> Iterator[_Side]:
    """Start a variant's processes, load it in each and lay out their memory.

    Args:
        bench: What all cells share.
        variant: Whose.
        images: A batch.
        threads: To compute on.
        lost: Why a variant's tensors cannot be in the cache; what is found out is added.
    """
    notes: list[str] = []
    name, batch = variant.name, len(images)
    with ExitStack() as stack:
        hosts: dict[str, Host] = {}

        def start(kind: str, folder: Path, batch: int, **how: Any) -> Host:
            hosts[kind] = stack.enter_context(
                Host(f"{name} {kind}", folder, batch=batch, threads=threads, **how)
            )
            return hosts[kind]

        def loaded(kind: str, environment: Mapping[str, str] | None) -> Host:
            host = start(kind, bench.folder, batch, environment=environment, serve=_PROCESS)
            host.load(variant)
            host.show(images)
            return host

        loaded("as_is", None)
        if bench.pages is None:
            loaded("kept", allocator_environment("retain"))
        else:
            environment = preloading(bench.pages)
            loaded("kept", environment).ask("pages", variant=name, mode="kept", layouts=[])
            try:
                told = {} if name in lost else _bring_in(loaded, environment, name, threads)
            except IndoorError as error:
                lost[name] = str(error)
                hosts.pop(_IN_CACHE).close()
            else:
                if not told.get("renewed", True):
                    notes.append(
                        "its weights stay where they are: in the cache are its activations alone"
                    )
        if name in lost:
            notes.append(f"its tensors cannot be brought into the cache: {lost[name]}")
        empty = start("empty", bench.twin, 1)
        empty.load(variant)
        empty.show(twin_images())
        traffic = layer_traffic(
            bench.manifest.arch,
            len(bench.manifest.classes),
            bench.manifest.preprocessing.size,
            batch,
            variant.precision,
        )
        moved = start("bytes", bench.folder, batch, serve=_PROCESS)
        moved.ask("copies", traffic=traffic, threads=threads)
        subjects = {
            kind: host.subject(name, MAX_WARMUP_S, **({"copies": True} if kind == "bytes" else {}))
            for kind, host in hosts.items()
        }
        yield _Side(variant=variant, hosts=hosts, subjects=subjects, notes=tuple(notes))


def _bring_in(
    loaded: Callable[[str, Mapping[str, str]], Host],
    environment: Mapping[str, str],
    name: str,
    threads: int,
) -> dict[str, Any]:
    """Start the process whose tensors are in the cache; return what it says of them."""
    tried = [asdict(layout) for layout in layouts(threads)]
    host = loaded(_IN_CACHE, environment)
    return host.ask("pages", variant=name, mode="shared", layouts=tried)


def _observed(
    bench: _Bench,
    side: _Side,
    series: Mapping[str, Series],
    images: Tensor,
    threads: int,
) -> SideObservations:
    name, manifest = side.variant.name, bench.manifest
    notes = list(side.notes)

    def seconds(kind: str) -> tuple[float, ...]:
        return series[f"{name} {kind}"].seconds if kind in side.subjects else ()

    def operators(kind: str) -> tuple[OperatorTime, ...]:
        if kind not in side.hosts:
            return ()
        try:
            told = side.hosts[kind].ask("operators", variant=name)["operators"]
        except IndoorError as error:
            notes.append(f"its operators ({kind}) cannot be timed: {error}")
            return ()
        return tuple(from_builtins(one, OperatorTime, name) for one in told)

    operators_kept, operators_in_cache = operators("kept"), operators(_IN_CACHE)

    faults = series[f"{name} as_is"].num_faults
    limit = bench.limits.get((side.variant.precision, threads))
    size = manifest.preprocessing.size
    return SideObservations(
        variant=name,
        precision=side.variant.precision,
        threads=threads,
        batch=len(images),
        as_is_s=seconds("as_is"),
        kept_s=seconds("kept"),
        in_cache_s=seconds(_IN_CACHE),
        empty_s=seconds("empty"),
        bytes_s=seconds("bytes"),
        faults=sum(faults) / len(faults),
        operators_kept=operators_kept,
        operators_in_cache=operators_in_cache,
        multiply_adds=len(images) * multiply_adds(manifest.arch, len(manifest.classes), size),
        limit_multiply_adds_per_s=None if limit is None else limit.multiply_adds_per_s,
        limit_bytes_per_s=bench.bytes_per_s["memory", threads],
        limit_l2_bytes_per_s=bench.bytes_per_s["L2", threads],
        notes=tuple(notes),
    )
