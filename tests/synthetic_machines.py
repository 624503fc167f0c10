"""Machines whose truth is known: they answer every experiment of `indoor explain`."""

import math
import random
from dataclasses import dataclass, field, replace

from report_records import AMX, WEIGHTS

from indoor.explain.observations import Observations, OperatorTime, SideObservations
from indoor.explain.terms import TERMS
from indoor.records import Precision

NUM_ROUNDS = 15
PROFILE_SLOWDOWN = 1.3


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one call of a variant does.

    `num_bytes` are those of the multiply-adds, `pass_bytes` those of operators without any.
    `hidden_s` is waiting that all data in the cache ends and no copy shows.
    """

    precision: Precision = "float32"
    multiply_adds: float = 0
    num_bytes: float = 0
    pass_bytes: float = 0
    num_calls: int = 0
    faults: int = 0
    hidden_s: float = 0
    efficiency: float = 0.8
    """What the kernels reach of the machine's rate."""


@dataclass(frozen=True, kw_only=True)
class SyntheticMachine:
    """Rates a second; `overlap` is the share of arithmetic behind which memory traffic hides.

    A round has a speed of its own (`drift`), and each measurement in it its `noise`, both as
    standard deviations of the logarithm.
    """

    rates: dict[Precision, float] = field(
        default_factory=lambda: {"float32": 60e9, "int8": 240e9},
    )
    bytes_per_s: float = 20e9
    cache_bytes_per_s: float = 400e9
    fault_s: float = 1.3e-6
    call_s: float = 5e-6
    overlap: float = 0.0
    noise: float = 0.01
    drift: float = 0.05

    def truth(self, work: Work) -> dict[str, float]:
        """Return the seconds a call of each term, as the machine is made."""
        computing = work.multiply_adds / (self.rates[work.precision] * work.efficiency)
        return {
            "faults": work.faults * self.fault_s,
            "fusion": work.pass_bytes / self.bytes_per_s,
            "memory": max(work.num_bytes / self.bytes_per_s - self.overlap * computing, 0),
            "overhead": work.num_calls * self.call_s,
            "arithmetic": computing,
            "unexplained": work.hidden_s,
        }

    def observe(
        self,
        work: Work,
        *,
        name: str = "",
        seed: int = 0,
        batch: int = 1,
        threads: int = 1,
        num_rounds: int = NUM_ROUNDS,
    ) -> SideObservations:
        """Return what the experiments would see."""
        true = self.truth(work)
        cached = replace(self, bytes_per_s=self.cache_bytes_per_s).truth(work)
        kept = sum(true.values()) - true["faults"]
        in_cache = sum(cached.values()) - cached["faults"] - cached["unexplained"]
        drifts, own = random.Random("drift"), random.Random(f"{name} {seed}")
        speeds = [drifts.gauss(0, self.drift) for _ in range(num_rounds)]

        def rounds(seconds: float) -> tuple[float, ...]:
            return tuple(seconds * math.exp(own.gauss(speed, self.noise)) for speed in speeds)

        return SideObservations(
            variant=name or work.precision,
            precision=work.precision,
            threads=threads,
            batch=batch,
            as_is_s=rounds(kept + true["faults"]),
            kept_s=rounds(kept),
            in_cache_s=rounds(in_cache),
            empty_s=rounds(max(true["overhead"], 1e-9)),
            bytes_s=rounds(max(work.num_bytes / self.bytes_per_s, 1e-9)),
            faults=work.faults,
            operators_kept=_profile(
                work, true["arithmetic"] + true["memory"] + true["unexplained"], true["fusion"]
            ),
            operators_in_cache=_profile(
                work, cached["arithmetic"] + cached["memory"], cached["fusion"]
            ),
            multiply_adds=round(work.multiply_adds),
            limit_multiply_adds_per_s=self.rates[work.precision],
            limit_bytes_per_s=self.bytes_per_s,
        )

    def true_shares(self, first: Work, second: Work) -> dict[str, float]:
        """Return the true shares of the logarithm, the terms switched one by one as stated."""
        before, after = self.truth(first), self.truth(second)
        time = start = sum(before.values())
        end = sum(after.values())
        shares = {}
        for term in TERMS:
            switched = time - before[term] + after[term]
            shares[term] = math.log(time / switched) / math.log(start / end)
            time = switched
        return shares


def observations(*cells: tuple[SideObservations, SideObservations]) -> Observations:
    """Return the cells as a saved file would hold them."""
    return Observations(
        schema=1,
        run="scene15",
        arch="resnet50",
        checkpoint_sha256={"float32": "f3" * 32, "int8": "18" * 32},
        weights=WEIGHTS,
        machine=AMX,
        cells=cells,
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        libraries={"int8-openvino": "openvino 2026.4.1"},
        command="indoor explain scene15 --batch 32",
        measured_at="2026-11-26T22:00:00+00:00",
    )


def _profile(work: Work, multiplying_s: float, passing_s: float) -> tuple[OperatorTime, ...]:
    """Return two multiply-adds and a pass, all slowed by being profiled."""
    return (
        *(
            OperatorTime(
                operator="conv",
                layer=f"layer{number}",
                multiply_adds=round(work.multiply_adds / 2) or 1,
                bytes=round(work.num_bytes / 2),
                seconds=PROFILE_SLOWDOWN * multiplying_s / 2,
            )
            for number in (1, 2)
        ),
        OperatorTime(
            operator="relu",
            layer=None,
            multiply_adds=0,
            bytes=round(work.pass_bytes),
            seconds=PROFILE_SLOWDOWN * passing_s,
        ),
    )
