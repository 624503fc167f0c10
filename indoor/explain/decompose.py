"""The logarithm of a speedup as a sum of six terms, with its uncertainty and all other orders."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from indoor.explain.observations import Observations, SideObservations
from indoor.explain.terms import (
    TERMS,
    Term,
    at_limit_s,
    find_doubts,
    median_seconds,
    side_terms,
)
from indoor.measure.pair_statistics import LEVEL
from indoor.records import Interval, Precision

NUM_RESAMPLED = 2000
NUM_ORDERS = math.factorial(len(TERMS))

BYTES: tuple[Term, ...] = ("faults", "fusion", "memory")
"""The terms that moving fewer bytes makes smaller, in the widest sense."""

_FLOOR = 1e-3
"""Of the quicker side: a time on the way from one to the other is not taken to be less."""

_NO_RATIO = 1e-12
"""Stands for a logarithm of zero, of which there are no shares."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure in the stated order, its 95% interval, and its least and most over all orders."""

    value: float
    interval: Interval
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """One term of a decomposition.

    `first_s` and `second_s` are seconds a photograph, `then_s` what a photograph takes once this
    term and those before it are the second's. `log` is the change of the logarithm at that step,
    `share` the same as a share of the whole; those of all parts add up to the logarithm and to 1.
    `leads_in` counts the orders in which it has the largest share.
    """

    term: Term
    first_s: float
    second_s: float
    then_s: float
    log: Estimate
    share: Estimate
    leads_in: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is told of a side beside its terms; seconds and faults are a photograph's."""

    variant: str
    precision: Precision
    batch: int
    threads: int
    num_rounds: int
    as_is_s: float
    faults: float
    at_limit_s: float | None
    """What its multiply-adds take at the machine's limit; None: not measured."""
    bytes_s: float | None
    """What moving its multiply-adds' bytes takes; None: not measured."""
    doubts: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Decomposition:
    """Why the second side takes another time than the first.

    `log_ratio` is ln(first / second), above 0 where the second is quicker, and `speedup` the ratio.
    `bytes` is the share of all terms that fewer bytes make smaller. `leaders` are the terms that
    cannot be told from the one with the largest share, largest first, by the rounds alone.
    """

    first: Side
    second: Side
    log_ratio: float
    log_interval: Interval
    parts: tuple[Part, ...]
    bytes: Estimate
    leaders: tuple[Term, ...]

    @property
    def speedup(self) -> float:
        """How many times as fast the second is."""
        return math.exp(self.log_ratio)

    @property
    def names(self) -> tuple[str, str]:
        """What tells the sides apart: their variants, or their batches where that is one."""
        first, second = self.first, self.second
        if first.variant == second.variant:
            return f"batch {first.batch}", f"batch {second.batch}"
        return first.variant, second.variant

    def part(self, term: Term) -> Part:
        """Return the part of a term."""
        return self.parts[TERMS.index(term)]


def decompose(
    first: SideObservations, second: SideObservations, *, paired: bool = True, seed: int = 0
) -> Decomposition:
    """Return the terms of ln(first / second), of times a photograph.

    The terms are switched from the first's to the second's one after another in the order of
    `TERMS`. At each step the time changes, and the change of its logarithm is the term's. They add
    up exactly, since each step begins where the one before ended. Where an intermediate time is
    not positive, which only an absurd unexplained term makes it, it is held just above zero.

    Intervals are percentiles of 2,000 resamplings of the rounds (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13).

    Args:
        first: What the second is compared with.
        second: Another variant, or the same one with another batch.
        paired: Whether both took turns, so that the same rounds are drawn for both; each side's own
            experiments always are.
        seed: Of the resampling.
    """
    generator = np.random.default_rng(seed)
    rounds = _rounds(generator)
    before = side_terms(first, median_seconds(first, rounds))
    after = side_terms(second, median_seconds(second, rounds if paired else _rounds(generator)))
    steps = _steps(before, after)
    logs = -np.diff(np.log(steps), axis=0)
    ratio = logs.sum(axis=0)
    whole = np.where(ratio == 0, _NO_RATIO, ratio)
    shares = logs / whole
    by_order = _by_order(before[:, 0], after[:, 0])
    shares_by_order = by_order / whole[0]
    leads = np.bincount(shares_by_order.argmax(axis=1), minlength=len(TERMS))
    return Decomposition(
        first=_describe(first),
        second=_describe(second),
        log_ratio=float(ratio[0]),
        log_interval=_interval(ratio),
        parts=tuple(
            Part(
                term=term,
                first_s=float(before[i, 0]),
                second_s=float(after[i, 0]),
                then_s=float(steps[i + 1, 0]),
                log=_estimate(logs[i], by_order[:, i]),
                share=_estimate(shares[i], shares_by_order[:, i]),
                leads_in=int(leads[i]),
            )
            for i, term in enumerate(TERMS)
        ),
        bytes=_estimate(_sum_of(BYTES, shares), _sum_of(BYTES, shares_by_order.T)),
        leaders=_leaders(shares),
    )


def decompose_batches(observations: Observations) -> tuple[Decomposition, ...]:
    """Return for each second side why a batch takes another time a photograph than the next larger.

    Batches were measured one after the other, so their rounds are not paired.
    """
    found: dict[tuple[str, int], dict[int, SideObservations]] = {}
    for _, side in observations.cells:
        found.setdefault((side.variant, side.threads), {}).setdefault(side.batch, side)
    return tuple(
        decompose(smaller, larger, paired=False)
        for sides in found.values()
        for smaller, larger in itertools.pairwise(sides[batch] for batch in sorted(sides))
    )


def _rounds(generator: np.random.Generator) -> Callable[[int], np.ndarray]:
    """Return what draws rounds `(1 + NUM_RESAMPLED, num)`: all as they are, then resampled.

    Lists of as many rounds get the same draws, since their rounds are the same.
    """

    @functools.cache
    def draw(num: int) -> np.ndarray:
        return np.vstack((np.arange(num), generator.integers(num, size=(NUM_RESAMPLED, num))))

    return draw


def _steps(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the times on the way, `(7, R)`: with none of the terms switched to with all."""
    num = len(TERMS)
    times = np.stack([after[:i].sum(axis=0) + before[i:].sum(axis=0) for i in range(num + 1)])
    above_zero: np.ndarray = np.maximum(times, _FLOOR * np.minimum(times[0], times[-1]))
    return above_zero


def _by_order(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return each term's change of the logarithm in each of the 720 orders, `(720, 6)`."""
    num = len(TERMS)
    switched = np.array([[mask >> i & 1 for i in range(num)] for mask in range(1 << num)], bool)
    times = np.where(switched, after, before).sum(axis=1)
    logs = np.log(np.maximum(times, _FLOOR * min(times[0], times[-1])))
    changes = np.empty((NUM_ORDERS, num))
    for row, order in enumerate(itertools.permutations(range(num))):
        mask = 0
        for term in order:
            changes[row, term] = logs[mask] - logs[mask | 1 << term]
            mask |= 1 << term
    return changes


def _leaders(shares: np.ndarray) -> tuple[Term, ...]:
    """Return the largest term by `(6, R)` shares, and those that the rounds do not tell from it."""
    order = np.argsort(-shares[:, 0], kind="stable")
    top = order[0]
    return tuple(TERMS[i] for i in order if i == top or _interval(shares[top] - shares[i]).low <= 0)


def _sum_of(terms: Sequence[Term], shares: np.ndarray) -> np.ndarray:
    total: np.ndarray = shares[[TERMS.index(term) for term in terms]].sum(axis=0)
    return total


def _estimate(draws: np.ndarray, by_order: np.ndarray) -> Estimate:
    return Estimate(
        value=float(draws[0]),
        interval=_interval(draws),
        least=float(by_order.min()),
        most=float(by_order.max()),
    )


def _interval(draws: np.ndarray) -> Interval:
    """Return the interval of what was drawn: the first is the estimate and no resampling."""
    low, high = np.quantile(draws[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(low=float(low), high=float(high), level=LEVEL)


def _describe(side: SideObservations) -> Side:
    return Side(
        variant=side.variant,
        precision=side.precision,
        batch=side.batch,
        threads=side.threads,
        num_rounds=len(side.as_is_s),
        as_is_s=float(np.median(side.as_is_s)) / side.batch,
        faults=side.faults / side.batch,
        at_limit_s=at_limit_s(side),
        bytes_s=float(np.median(side.bytes_s)) / side.batch if side.bytes_s else None,
        doubts=tuple(find_doubts(side)),
        notes=side.notes,
    )
