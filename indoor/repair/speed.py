"""What a candidate's kernels cost beside those of the plain one, from turns side by side."""

import statistics
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from indoor.measure.pairs import LocalCall, Plan, measure_interleaved
from indoor.measure.speedup import paired_speedup
from indoor.measure.worker import timed
from indoor.records import PairedSpeedup

BUDGET_S = 4.0

_PLAN = Plan(budget_s=BUDGET_S, max_warmup_s=2.0)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How many times as fast a candidate is, and the plain one's seconds a photograph."""

    against_plain: PairedSpeedup
    against_holder: PairedSpeedup
    plain_s: float


def measure_speed(
    plain: nn.Module, holder: nn.Module | None, challenger: nn.Module, images: Tensor, seed: int = 0
) -> Speed:
    """Measure a candidate beside the plain one and the best so far, in this process.

    Args:
        plain: A network with the plain candidate's kernels.
        holder: The best so far; None where that has the plain kernels, too.
        challenger: The candidate.
        images: float32 `(B, 3, H, W)`; B photographs a call.
        seed: Decides the order of the turns.
    """
    models = {"plain": plain, "best so far": holder, "candidate": challenger}
    with torch.inference_mode():
        subjects = {
            name: LocalCall(timed(partial(model, images)))
            for name, model in models.items()
            if model is not None
        }
        series = {
            name: one.seconds
            for name, one in measure_interleaved(subjects, _PLAN, seed=seed).items()
        }

    def against(name: str) -> PairedSpeedup:
        return paired_speedup(
            series[name], series["candidate"], baseline=name, candidate="candidate"
        )

    return Speed(
        against_plain=against("plain"),
        against_holder=against("plain" if holder is None else "best so far"),
        plain_s=statistics.median(series["plain"]) / len(images),
    )
