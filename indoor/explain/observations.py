"""The frozen records of what `indoor explain` saw: seconds by experiment, variant and cell."""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from indoor.records import (
    Count,
    Machine,
    NotNegative,
    Positive,
    PositiveCount,
    Precision,
    Sha256,
    WeightSource,
)

Rounds = Annotated[tuple[Positive, ...], Meta(min_length=1)]

SCHEMA_VERSION = 1
"""The version of a saved file of observations."""


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """One operator of a call, or all of one kind, as the library's own profile times it.

    `multiply_adds` are those of the whole batch, 0 for what only moves or adds. `bytes` are read
    and written: input, weights and output; 0: not known. `layer` is the network's own name.
    """

    operator: str
    layer: str | None
    multiply_adds: Count
    bytes: Count
    seconds: NotNegative


@dataclass(frozen=True, kw_only=True)
class SideObservations:
    """One variant in one cell; all seconds are of one call, which is of a whole batch.

    What stands at the same index of the lists was measured in the same round. `in_cache_s`,
    `empty_s` and `bytes_s` are empty where this machine cannot measure them.
    """

    variant: str
    precision: Precision
    threads: PositiveCount
    batch: PositiveCount
    as_is_s: Rounds
    """In a process of its own, as a user has it."""
    kept_s: Rounds
    """With an allocator that gives no large block back to the system."""
    in_cache_s: tuple[Positive, ...]
    """The same, with all large blocks on the same few pages, which stay in the cache."""
    empty_s: tuple[Positive, ...]
    """Of the network's thin twin: as many calls, with next to nothing to compute."""
    bytes_s: tuple[Positive, ...]
    """What the multiply-adds read and write, moved by copies, with no multiply-adds."""
    faults: NotNegative
    """Minor page faults of a call as it is."""
    operators_kept: tuple[OperatorTime, ...]
    operators_in_cache: tuple[OperatorTime, ...]
    multiply_adds: Count
    """Of a call."""
    limit_multiply_adds_per_s: Positive | None
    """The most that this precision was seen to reach on so many threads; None: not measured."""
    limit_bytes_per_s: Positive | None = None
    """The most that copies moved from memory, read and written, on so many threads."""
    limit_l2_bytes_per_s: Positive | None = None
    """The same from the threads' L2 caches."""
    notes: tuple[str, ...] = ()
    """What else is to be said, such as weights that could not be brought into the cache."""


@dataclass(frozen=True, kw_only=True)
class Observations:
    """All cells of one `indoor explain`, each of two sides that took turns, round by round.

    A cell's first side is what its second is compared with.
    """

    schema: Annotated[int, Meta(ge=1, le=SCHEMA_VERSION)]
    run: str
    """The run by the name of its folder."""
    arch: str
    checkpoint_sha256: dict[str, Sha256]
    """The SHA-256 of the checkpoints' files, by precision."""
    weights: WeightSource
    machine: Machine
    cells: tuple[tuple[SideObservations, SideObservations], ...]
    commit: str | None = None
    dirty: bool | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """What changes kernels, memory or clocks, as `machine.read_environment` tells it."""
    libraries: dict[str, str] = field(default_factory=dict)
    """By variant, with which libraries beside torch it ran, such as `openvino 2026.4.1`."""
    command: str | None = None
    """What measured them."""
    measured_at: str | None = None
    """When the rounds were finished, ISO 8601 in UTC."""
    notes: tuple[str, ...] = ()
    content_sha256: Sha256 | None = field(default=None, compare=False)
    """The hash of its file without this one; `write_record` works it out."""
