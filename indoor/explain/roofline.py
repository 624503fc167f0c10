"""Where each layer stands under the roofline of its machine, and that as a table.

The model is that of Williams, Waterman and Patterson ("Roofline: an insightful visual performance
model for multicore architectures", CACM 52(4), 2009): a layer takes at least what its multiply-adds
take at the machine's limit, and at least what its bytes take at the machine's bandwidth. Both are
measured here, the bandwidth by copies of memory; what a cache still holds comes quicker than that.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from indoor.explain.observations import Observations, OperatorTime, SideObservations
from indoor.report import units
from indoor.report.blocks import Block, Column, Grid, Heading, Paragraph


@dataclass(frozen=True, kw_only=True)
class Position:
    """One operator of a call under the roofline, or several together.

    Seconds are a call's. `seconds` is its share of its profile times what a call takes unprofiled,
    `in_cache_s` the same with all data in the cache, None where that was not measured.
    `arithmetic_s` is what its multiply-adds take at least, `memory_s` its bytes, and `roof_s` the
    larger of both, which several take one after another; None: not known.
    """

    operator: OperatorTime
    seconds: float
    in_cache_s: float | None
    arithmetic_s: float | None
    memory_s: float | None
    roof_s: float | None

    @property
    def intensity(self) -> float | None:
        """Multiply-adds a byte that is read or written; None: it does not multiply, or move."""
        known = self.operator.multiply_adds and self.operator.bytes
        return self.operator.multiply_adds / self.operator.bytes if known else None

    @property
    def bound(self) -> Literal["arithmetic", "memory"] | None:
        """Which of the two roofs is over it; None: not known."""
        if self.roof_s is None:
            return None
        return "arithmetic" if (self.arithmetic_s or 0.0) >= (self.memory_s or 0.0) else "memory"

    @property
    def share(self) -> float | None:
        """How much of its roof it reaches; above 1 where its bytes came from a cache."""
        return self.roof_s / self.seconds if self.roof_s and self.seconds else None


def place_operators(side: SideObservations) -> tuple[Position, ...]:
    """Return each operator of a side under the roofline, in the order of the call."""
    kept = _scaled(side.operators_kept, side.kept_s, side.empty_s)
    in_cache = _scaled(side.operators_in_cache, side.in_cache_s, side.empty_s)
    known = [(one.operator, one.layer) for one in side.operators_kept]
    told = [(one.operator, one.layer) for one in side.operators_in_cache]
    cached: Sequence[float | None] = in_cache if known == told else [None] * len(kept)
    return tuple(
        _place(side, one, seconds, cached_s)
        for one, seconds, cached_s in zip(side.operators_kept, kept, cached, strict=True)
    )


def place_together(positions: Iterable[Position]) -> tuple[Position, ...]:
    """Return those of the same operator as one, with what they take together, the longest first.

    Its layer says how many they are, unless it is one alone.
    """
    by_operator: dict[str, list[Position]] = {}
    for one in positions:
        by_operator.setdefault(one.operator.operator, []).append(one)
    found = [_together(same) for same in by_operator.values()]
    return tuple(sorted(found, key=lambda one: -one.seconds))


def layers_blocks(observations: Observations) -> tuple[Block, ...]:
    """Return a table for each side of each cell: its operators by kind, and layer by layer."""
    words = (
        "Figures are a photograph's, but for multiply-adds a byte: a batch reads the weights once. "
        "The roof is by the machine's measured limits, of memory by copies; what is above 100% of "
        "it had its bytes from a cache."
    )
    blocks: list[Block] = [Heading("Layers under the roofline"), Paragraph(words, "faint")]
    for side in (side for cell in observations.cells for side in cell):
        blocks += render_side(side)
    return tuple(blocks)


def render_side(side: SideObservations) -> Iterator[Block]:
    """Yield the table of one side."""
    yield Heading(
        f"{side.variant}, batch {side.batch}, {units.threads(side.threads)}: "
        f"{units.time_of_one(median(side.kept_s) / side.batch)} a photograph",
        3,
    )
    positions = place_operators(side)
    if not positions:
        yield Paragraph("Its runtime tells no operators.", "faint")
        return
    yield Paragraph(_roof_words(side), "faint")
    kinds = place_together(positions)
    layers = [one for one in positions if one.operator.multiply_adds]
    whole_s = sum(one.seconds for one in positions)
    rows = [_row(one, side.batch, whole_s) for one in (*kinds, *layers)]
    yield Grid(
        columns=(
            Column("layer", "left"),
            Column("operator", "left"),
            Column("million\nmultiply-adds"),
            Column("MB"),
            Column("multiply-adds\na byte"),
            Column("ms"),
            Column("of all"),
            Column("ms in\nthe cache"),
            Column("bound by", "left"),
            Column("of its\nroof"),
        ),
        rows=tuple(rows),
        num_keys=2,
        rules=frozenset({len(kinds) - 1}),
    )


def _roof_words(side: SideObservations) -> str:
    arithmetic, memory = side.limit_multiply_adds_per_s, side.limit_bytes_per_s
    if arithmetic is None or memory is None:
        return "The machine's limits were not measured, so that nothing has a roof."
    nearer = side.limit_l2_bytes_per_s
    cached = "" if nearer is None else f" (from L2 {units.digits(nearer / 1e9)})"
    return (
        f"Roof: {units.digits(arithmetic / 1e9)} thousand million multiply-adds of "
        f"{side.precision} a second, {units.digits(memory / 1e9)} GB a second from memory{cached}; "
        f"memory bounds what has fewer than {units.digits(arithmetic / memory)} multiply-adds a "
        "byte."
    )


def _row(one: Position, batch: int, whole_s: float) -> tuple[str, ...]:
    operator, cached_s = one.operator, one.in_cache_s
    millions, megabytes = (
        units.digits(amount / batch / 1e6) if amount else units.NOTHING
        for amount in (operator.multiply_adds, operator.bytes)
    )
    return (
        units.clean(operator.layer or units.NOTHING),
        units.clean(operator.operator),
        millions,
        megabytes,
        units.NOTHING if one.intensity is None else units.digits(one.intensity),
        units.milliseconds(one.seconds / batch),
        f"{one.seconds / whole_s:.1%}" if whole_s else units.NOTHING,
        units.milliseconds(None if cached_s is None else cached_s / batch),
        one.bound or units.NOTHING,
        units.NOTHING if one.share is None else f"{one.share:.0%}",
    )


def _place(
    side: SideObservations, operator: OperatorTime, seconds: float, in_cache_s: float | None
) -> Position:
    arithmetic_s = _least(operator.multiply_adds, side.limit_multiply_adds_per_s)
    memory_s = _least(operator.bytes, side.limit_bytes_per_s)
    return Position(
        operator=operator,
        seconds=seconds,
        in_cache_s=in_cache_s,
        arithmetic_s=arithmetic_s,
        memory_s=memory_s,
        roof_s=max((one for one in (arithmetic_s, memory_s) if one is not None), default=None),
    )


def _together(same: list[Position]) -> Position:
    operators = [one.operator for one in same]
    return Position(
        operator=replace(
            operators[0],
            layer=operators[0].layer if len(same) == 1 else f"{len(same)} together",
            multiply_adds=sum(one.multiply_adds for one in operators),
            bytes=sum(one.bytes for one in operators) if all(o.bytes for o in operators) else 0,
        ),
        seconds=sum(one.seconds for one in same),
        in_cache_s=_sum(one.in_cache_s for one in same),
        arithmetic_s=_sum(one.arithmetic_s for one in same),
        memory_s=_sum(one.memory_s for one in same),
        roof_s=_sum(one.roof_s for one in same),
    )


def _sum(seconds: Iterable[float | None]) -> float | None:
    """Return the sum of what is known of all; None where it is not."""
    known = list(seconds)
    told = [one for one in known if one is not None]
    return sum(told) if len(told) == len(known) else None


def _scaled(
    operators: Sequence[OperatorTime], whole_s: Sequence[float], empty_s: Sequence[float]
) -> list[float]:
    """Return the operators' seconds as shares of what a call takes unprofiled, less its overhead.

    They are a profile's own where the call was not measured.
    """
    told = sum(one.seconds for one in operators)
    if not (told and whole_s):
        return [one.seconds for one in operators]
    overhead = median(empty_s) if empty_s else 0.0
    scale = max(median(whole_s) - overhead, 0.0) / told
    return [scale * one.seconds for one in operators]


def _least(amount: int, per_s: float | None) -> float | None:
    return amount / per_s if amount and per_s else None
