"""One variant's processes in a cell of `indoor explain`, and what they saw."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from indoor.errors import IndoorError
from indoor.explain.observations import OperatorTime, SideObservations
from indoor.explain.pages import layouts, preloading
from indoor.explain.process import layer_traffic, with_reorders
from indoor.explain.twin import twin_images
from indoor.measure import allocator_environment
from indoor.measure.pairs import Series, Subject
from indoor.model import multiply_adds
from indoor.records import CheckpointManifest, Precision, Variant, from_builtins
from indoor.runtimes.limits import Level, Limit
from indoor.runtimes.own_process import Host

MAX_WARMUP_S = 5.0

IN_CACHE = "in_cache"
"""The experiment whose process may die of the rubbish that it computes with."""

MAX_PROFILES = 3
"""Processes that are tried until one lives to tell its operators in the cache."""

_PROCESS = "indoor.explain.process"


@dataclass(frozen=True, kw_only=True)
class Bench:
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
class Side:
    """One variant's processes in a cell; `hosts` and `subjects` by the experiment."""

    variant: Variant
    hosts: Mapping[str, Host]
    in_cache_again: Callable[[], Host]
    """Starts another process whose tensors are in the cache."""
    subjects: Mapping[str, Subject]
    notes: tuple[str, ...]


@contextmanager
def opened(
    bench: Bench, variant: Variant, images: Tensor, threads: int, lost: dict[str, str]
) -> Iterator[Side]:
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
        environment = preloading(bench.pages) if bench.pages is not None else {}
        if bench.pages is None:
            loaded("kept", allocator_environment("retain"))
        else:
            loaded("kept", environment).ask("pages", variant=name, mode="kept", layouts=[])
            try:
                told = {} if name in lost else _bring_in(loaded, environment, name, threads)
            except IndoorError as error:
                lost[name] = str(error)
                hosts.pop(IN_CACHE).close()
            else:
                if not told.get("renewed", True):
                    notes.append(
                        "its weights stay where they are: in the cache are its activations alone"
                    )
        if name in lost:
            notes.append(f"its tensors cannot be brought into the cache: {lost[name]}")
        empty = start("empty", bench.twin, 1)
        empty.load(variant)
        empty.show(twin_images(bench.twin))
        traffic = layer_traffic(
            bench.manifest.arch,
            len(bench.manifest.classes),
            bench.manifest.preprocessing.size,
            batch,
            variant.precision,
        )
        traffic = with_reorders(traffic, hosts["as_is"].ran(name).executed)
        moved = start("bytes", bench.folder, batch, serve=_PROCESS)
        moved.ask("copies", traffic=traffic, threads=threads)
        subjects = {
            kind: host.subject(name, MAX_WARMUP_S, **({"copies": True} if kind == "bytes" else {}))
            for kind, host in hosts.items()
        }

        def in_cache_again() -> Host:
            _bring_in(loaded, environment, name, threads)
            return hosts[IN_CACHE]

        yield Side(
            variant=variant,
            hosts=hosts,
            in_cache_again=in_cache_again,
            subjects=subjects,
            notes=tuple(notes),
        )


def _bring_in(
    loaded: Callable[[str, Mapping[str, str]], Host],
    environment: Mapping[str, str],
    name: str,
    threads: int,
) -> dict[str, Any]:
    """Start the process whose tensors are in the cache; return what it says of them."""
    tried = [asdict(layout) for layout in layouts(threads)]
    host = loaded(IN_CACHE, environment)
    return host.ask("pages", variant=name, mode="shared", layouts=tried)


def observed(
    bench: Bench,
    side: Side,
    series: Mapping[str, Series],
    images: Tensor,
    threads: int,
) -> SideObservations:
    """Return what a side's rounds told, and have its processes tell their operators."""
    name, manifest = side.variant.name, bench.manifest
    notes = list(side.notes)

    def seconds(kind: str) -> tuple[float, ...]:
        return series[f"{name} {kind}"].seconds if kind in side.subjects else ()

    def operators(kind: str) -> tuple[OperatorTime, ...]:
        if kind not in side.hosts:
            return ()
        # A profile may die of the rubbish in the cache, and another process has other rubbish.
        more = (side.in_cache_again,) * (MAX_PROFILES - 1) if kind == IN_CACHE else ()
        problem: IndoorError | None = None
        for host in (lambda: side.hosts[kind], *more):
            try:
                told = host().ask("operators", variant=name)["operators"]
            except IndoorError as error:
                problem = error
            else:
                return tuple(from_builtins(one, OperatorTime, name) for one in told)
        notes.append(f"its operators ({kind}) cannot be timed: {problem}")
        return ()

    operators_kept, operators_in_cache = operators("kept"), operators(IN_CACHE)

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
        in_cache_s=seconds(IN_CACHE),
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
