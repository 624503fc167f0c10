"""How many photographs a second several processes of one variant compute side by side."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from torch import Tensor

from indoor.errors import IndoorError
from indoor.measure.threads import busy_since, cpus_of, running_ns
from indoor.records import Variant
from indoor.runtimes.own_process import Host, ProcessOptions

NUM_WARMUP_CALLS = 3
START_S = 0.2
"""From the last message to the common start: time for each process to hear its own."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Photographs a second over all processes, and the seconds of each call of any of them."""

    photographs_per_s: float
    seconds: tuple[float, ...]


def measure_throughput(
    variant: Variant,
    run_folder: Path,
    images: Tensor,
    *,
    num_processes: int,
    for_s: float,
    **options: Unpack[ProcessOptions],
) -> Throughput:
    """Have several processes of one thread each compute batches from a common start.

    Each goes on until the time is over for all, so that none computes its last batch on a machine
    that has become quiet; its rate is its photographs by the time when its last batch ended.

    Args:
        variant: Which to load.
        run_folder: Holds the checkpoints.
        images: float32 `(B, 3, H, W)`, the batch of each.
        num_processes: As many as cores, as a rule.
        for_s: How long to compute; one batch is computed in any case.
        options: For the processes.

    Raises:
        IndoorError: A process failed, or they may only use fewer CPUs than they are.
    """
    with ExitStack() as stack:
        hosts = [  # all start, which takes seconds, before the first one loads
            stack.enter_context(
                Host(variant.name, run_folder, batch=len(images), threads=1, **options)
            )
            for _ in range(num_processes)
        ]
        for host in hosts:
            host.load(variant)
            host.show(images)
            for _ in range(NUM_WARMUP_CALLS):
                host.run(variant.name)
        before = [running_ns(host.pid) for host in hosts]
        start = time.monotonic() + START_S
        begun = [
            host.begin("repeat", variant=variant.name, start=start, for_s=for_s) for host in hosts
        ]
        told = [hear() for hear in begun]
        busy = [busy_since(host.pid, ran) for host, ran in zip(hosts, before, strict=True)]
    _refuse_pinned(variant.name, [cpus_of(threads) for threads in busy if threads is not None])
    return Throughput(
        photographs_per_s=sum(len(one["seconds"]) * len(images) / one["ended"] for one in told),
        seconds=tuple(second for one in told for second in one["seconds"]),
    )


def _refuse_pinned(name: str, cpus: Sequence[frozenset[int]]) -> None:
    """Raise an IndoorError where processes may only use fewer CPUs than they are."""
    together: frozenset[int] = frozenset().union(*cpus)
    if len(together) < len(cpus):
        raise IndoorError(
            f"{name}: {len(cpus)} processes side by side pin themselves to {len(together)} "
            f"CPU{'s' * (len(together) > 1)}, expected {len(cpus)} or more; have the runtime not "
            "pin its threads"
        )
