"""A slow cell and float32's beside it: what is asked of the two, and what a cause is."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from indoor.measure.proof import Proof, claimed_precision, proof_of
from indoor.records import Measurement, Precision

CauseKind = Literal[
    "float32 kernels",
    "emulated bfloat16",
    "no VNNI",
    "the engine",
    "conversions",
    "threads",
    "page faults",
    "tiny layers",
    "not explained",
]
"""In the order in which equally certain ones are told; the last one explains nothing."""

Certainty = Literal["shown", "part", "possible", "open"]
"""`shown`: by the record's own figures it costs as much as was lost, or it leaves nothing that a
narrower precision could have made quicker; `part`: it costs less; `possible`: the record holds the
circumstance and not what it costs; `open`: no cause."""

FLOAT32: Precision = "float32"
BFLOAT16: Precision = "bfloat16"
INT8: Precision = "int8"

GAINS: dict[Precision, float] = {
    FLOAT32: 1.0,
    "tf32": 1.0,
    BFLOAT16: 2.0,
    "float16": 2.0,
    INT8: 4.0,
}
"""Multiply-adds in the time of one in float32, by instructions made for the precision (bfloat16's
and VNNI's; measured with intrinsics on a Zen 4). Without VNNI int8 has half of that."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Something that makes a cell slow; `cost_s` are seconds a call, None where nobody can say."""

    kind: CauseKind
    certainty: Certainty
    words: str
    cost_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two cells, and what the judges ask of them; times are seconds a call."""

    slow: Measurement
    reference: Measurement
    of_run: tuple[Measurement, ...]

    @cached_property
    def took_s(self) -> float:
        """Return how long the slow one took."""
        return seconds_of_call(self.slow)

    @cached_property
    def reference_s(self) -> float:
        """Return how long float32 took."""
        return seconds_of_call(self.reference)

    @property
    def lost_s(self) -> float:
        """Return what there is to explain."""
        return self.took_s - self.reference_s

    @cached_property
    def claimed(self) -> Precision:
        """Return what the slow one claims to compute with."""
        return claimed_precision(self.slow) or FLOAT32

    @cached_property
    def proof(self) -> Proof | None:
        """Return what it really computed with."""
        return proof_of(self.slow)

    @property
    def multiply_adds(self) -> int | None:
        """Return those of a call."""
        one = self.slow.multiply_adds
        return None if one is None else one * (self.slow.batch or 1)

    def limit(self, precision: Precision) -> float | None:
        """Return the measured multiply-adds a second of a precision on the cell's threads."""
        found = [
            one.multiply_adds_per_s
            for one in self.of_run
            if one.case == "limit"
            and (one.precision, one.threads) == (precision, self.slow.threads)
            and one.multiply_adds_per_s is not None
        ]
        return max(found, default=None)

    @property
    def gain(self) -> float:
        """Return how many multiply-adds it could do in the time of one of float32's."""
        narrow, wide = self.limit(self.claimed), self.limit(FLOAT32)
        if narrow is not None and wide is not None:
            return narrow / wide
        machine = self.slow.run.machine
        halved = self.claimed == INT8 and machine.vnni is False
        return GAINS[self.claimed] / (2 if halved else 1)

    def elsewhere(self, one: Measurement) -> Measurement | None:
        """Return the same cell with the other allocator, where the run has it."""
        return next(
            (
                other
                for other in self.of_run
                if (other.case, other.variant, other.batch, other.threads)
                == (one.case, one.variant, one.batch, one.threads)
                and other.allocator != one.allocator
                and other.latency is not None
            ),
            None,
        )


def seconds_of_call(one: Measurement) -> float:
    """Return the median seconds of a cell's call.

    Raises:
        ValueError: It has no latency or no batch.
    """
    if one.latency is None or one.batch is None:
        raise ValueError(f"{one.variant}: expected a case with a latency and a batch")
    return one.latency.median_s * one.batch


def ms(seconds: float) -> str:
    """Return seconds in words."""
    return f"{seconds * 1e3:.3g} ms"
