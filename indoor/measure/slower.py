"""Why a cell of a narrower precision is slower than float32's: its causes, weighed.

Nothing is measured here. What a cause costs is estimated from the figures that stand beside the
cell (`causes.py`), and held against what was lost.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from indoor.measure.causes import judged
from indoor.measure.slow_pair import FLOAT32, Cause, CauseKind, Certainty, Pair, ms
from indoor.records import Measurement

MIN_PART = 0.1
"""Of what was lost: a cause that costs less is not worth a line."""


def why_slower(
    slow: Measurement, reference: Measurement, of_run: Sequence[Measurement]
) -> tuple[Cause, ...]:
    """Return why a cell takes longer than float32's, the most certain cause first.

    Args:
        slow: A case `latency` of a narrower precision.
        reference: float32's case of the same batch, threads and allocator, which is faster.
        of_run: The run's measurements, for its limits and for cells of another allocator.

    Returns:
        One cause or more; the last is open where the others do not cost half of what was lost.

    Raises:
        ValueError: One of the two has no latency or no batch.
    """
    pair = Pair(slow=slow, reference=reference, of_run=tuple(of_run))
    weighed = [_weighed(cause, pair.lost_s) for cause in judged(pair)]
    kept = sorted((cause for cause in weighed if cause is not None), key=_place)
    known_s = sum(cause.cost_s or 0.0 for cause in kept)
    if not any(cause.certainty == "shown" for cause in kept) and known_s < pair.lost_s / 2:
        kept.append(_open(pair, known_s))
    return tuple(kept)


def _open(pair: Pair, known_s: float) -> Cause:
    """Return what stands where nothing fits, with how far both are from their limits."""
    reached = []
    for one, precision, took_s in (
        (pair.slow, pair.claimed, pair.took_s),
        (pair.reference, FLOAT32, pair.reference_s),
    ):
        limit = pair.limit(precision)
        if limit is not None and pair.multiply_adds is not None:
            share = pair.multiply_adds / limit / took_s
            reached.append(f"{one.variant} reaches {share:.0%} of {precision}'s measured limit")
    lost = f"{ms(pair.lost_s)} a call that it takes longer"
    if known_s:
        lost = f"{ms(pair.lost_s - known_s)} of the {lost}"
    more = f"; {', '.join(reached)}" if reached else ""
    return Cause(
        kind="not explained",
        certainty="open",
        words=f"by what was recorded, {lost}{more}",
        cost_s=pair.lost_s - known_s,
    )


def _weighed(cause: Cause, lost_s: float) -> Cause | None:
    """Return the cause with its certainty by what it costs; None where that is too little."""
    if cause.cost_s is None or cause.certainty == "shown":
        return cause
    if cause.cost_s < MIN_PART * lost_s:
        return None
    accounts = cause.certainty == "part" and cause.cost_s >= lost_s
    return replace(cause, certainty="shown") if accounts else cause


def _place(cause: Cause) -> tuple[int, int, float]:
    certainties, kinds = get_args(Certainty), get_args(CauseKind)
    is_part = cause.certainty == "part"
    return (
        certainties.index(cause.certainty),
        0 if is_part else kinds.index(cause.kind),
        -(cause.cost_s or 0.0),
    )
