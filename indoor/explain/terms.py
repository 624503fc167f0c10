"""One variant's time a photograph as a sum of six terms, from the seconds of the experiments."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from indoor.explain.observations import OperatorTime, SideObservations
from indoor.measure.speedup import MIN_PAIRS
from indoor.records import REST

Term = Literal["faults", "fusion", "memory", "overhead", "arithmetic", "unexplained"]

TERMS: tuple[Term, ...] = get_args(Term)
"""In the stated order, in which a decomposition switches them."""

NAMES: dict[Term, str] = {
    "faults": "page faults",
    "fusion": "separate passes",
    "memory": "memory traffic",
    "overhead": "framework overhead",
    "arithmetic": "arithmetic",
    "unexplained": "unexplained",
}

Experiment = Literal["as_is", "kept", "in_cache", "empty", "bytes"]

Seconds = Mapping[Experiment, np.ndarray]
"""Median seconds of a call, `(R,)`: first of all rounds, then of each resampling of them."""

MIN_TOLD = 0.8
"""Of a call's busy time: a profile that tells less has left operators out."""

_BUSY = 0.1
"""Of a call: with less beside the overhead a profile's total says nothing."""

MAX_OF_LIMIT = 1.1
"""Of the measured limit: nothing computes faster, so the experiments contradict each other."""


def measured(side: SideObservations) -> dict[Experiment, tuple[float, ...]]:
    """Return the seconds of the experiments that were made."""
    known: dict[Experiment, tuple[float, ...]] = {
        "as_is": side.as_is_s,
        "kept": side.kept_s,
        "in_cache": side.in_cache_s,
        "empty": side.empty_s,
        "bytes": side.bytes_s,
    }
    return {experiment: seconds for experiment, seconds in known.items() if seconds}


def median_seconds(side: SideObservations, rounds: Callable[[int], np.ndarray]) -> Seconds:
    """Return the medians over chosen rounds.

    Args:
        side: What was measured.
        rounds: Given a number of rounds, which of them to take: whole numbers `(R, rounds)`.
    """
    return {
        experiment: np.median(np.asarray(seconds)[rounds(len(seconds))], axis=1)
        for experiment, seconds in measured(side).items()
    }


def side_terms(side: SideObservations, seconds: Seconds) -> np.ndarray:
    """Return the seconds a photograph of each term, `(6, R)`; they add up to the time as it is.

    No experiment can show a negative cost, so what is left below zero counts as zero. Memory
    traffic is at most what moving the same bytes takes, and where a call has no page faults the
    allocator costs nothing. Whatever that leaves, of either sign, is unexplained.
    """
    as_is, kept = seconds["as_is"], seconds["kept"]
    nothing = np.zeros_like(as_is)
    faults = np.maximum(as_is - kept, 0) if side.faults >= 1 else nothing
    overhead = np.minimum(seconds.get("empty", nothing), kept)
    busy = kept - overhead
    fusion = busy * passes_share(side.operators_kept, overhead / kept)
    memory = arithmetic = nothing
    if "in_cache" in seconds and side.operators_kept and side.operators_in_cache:
        whole = seconds["in_cache"]
        passes = passes_share(side.operators_in_cache, overhead / whole)
        arithmetic = np.maximum(whole - overhead, 0) * (1 - passes)
        waiting = np.maximum(busy - fusion - arithmetic, 0)
        memory = np.minimum(waiting, seconds.get("bytes", waiting))
    unexplained = as_is - (faults + fusion + memory + overhead + arithmetic)
    terms = np.stack((faults, fusion, memory, overhead, arithmetic, unexplained))
    return terms / side.batch


def passes_share(operators: Sequence[OperatorTime], overhead: np.ndarray) -> np.ndarray:
    """Return the share of the operators' time that goes to those without multiply-adds.

    Only shares are taken from a profile, since profiling slows a call.

    Args:
        operators: Of a profile.
        overhead: Its share of a call, which is in the profile's rest where there is one.
    """
    total = sum(one.seconds for one in operators)
    passes = sum(one.seconds for one in operators if not one.multiply_adds)
    rest = sum(one.seconds for one in operators if one.operator == REST)
    held = np.minimum(overhead * total, rest)
    busy = total - held
    return np.divide(passes - held, busy, out=np.zeros_like(held), where=busy > 0)


def find_doubts(side: SideObservations) -> Iterator[str]:
    """Yield why the terms of this side cannot be relied on, one clause each; nothing if they can.

    These are faults of the experiments, whatever their times say.
    """
    known = measured(side)
    for experiment, words in _WITHOUT.items():
        if experiment not in known:
            yield f"{words} was not measured"
    few = min(map(len, known.values()))
    if few < MIN_PAIRS:
        yield f"its {few} rounds are too few for an interval of 95%, which takes {MIN_PAIRS}"
    medians = {experiment: float(np.median(seconds)) for experiment, seconds in known.items()}
    yield from _doubtful_profiles(side, medians)
    arithmetic = float(side_terms(side, _as_seconds(medians))[TERMS.index("arithmetic")][0])
    limit = at_limit_s(side)
    if limit is not None and 0 < arithmetic * MAX_OF_LIMIT < limit:
        yield (
            f"its multiply-adds in the cache would be at {limit / arithmetic:.0%} of the machine's "
            "measured limit"
        )


def at_limit_s(side: SideObservations) -> float | None:
    """Return what a photograph's multiply-adds take at the machine's limit; None: not measured."""
    if side.limit_multiply_adds_per_s is None:
        return None
    return side.multiply_adds / side.batch / side.limit_multiply_adds_per_s


_WITHOUT: dict[Experiment, str] = {
    "in_cache": "it with all data in the cache",
    "empty": "its overhead",
    "bytes": "what moving its bytes takes",
}


def _doubtful_profiles(
    side: SideObservations, medians: Mapping[Experiment, float]
) -> Iterator[str]:
    profiles: tuple[tuple[Experiment, tuple[OperatorTime, ...], str], ...] = (
        ("kept", side.operators_kept, "as they are"),
        ("in_cache", side.operators_in_cache, "in the cache"),
    )
    for experiment, operators, words in profiles:
        if not operators:
            yield f"how long its operators take {words} is not known"
            continue
        whole = medians.get(experiment, 0.0)
        busy = whole - medians.get("empty", 0.0)
        told = sum(one.seconds for one in operators)
        # Where next to nothing is left beside the overhead, its operators are next to nothing too.
        if busy > _BUSY * whole and told < MIN_TOLD * busy:
            yield f"its operators {words} tell {told / busy:.0%} of what a call takes"


def _as_seconds(medians: Mapping[Experiment, float]) -> Seconds:
    return {experiment: np.array([seconds]) for experiment, seconds in medians.items()}
