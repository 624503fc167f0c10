"""From a decomposition to what may be said of it: which term leads, and what of the claim is true.

The claim is that the second side is faster since it moves fewer bytes, and not since its arithmetic
is faster.
"""

import math
from dataclasses import dataclass
from typing import Literal

from indoor.explain.decompose import (
    NUM_ORDERS,
    Decomposition,
    Estimate,
    decompose,
    decompose_batches,
)
from indoor.explain.observations import Observations
from indoor.explain.terms import NAMES, Term
from indoor.report import units

Status = Literal["decided", "not decided", "no difference"]
Claim = Literal["true", "false", "in part"]

MAX_UNEXPLAINED = 0.15
"""Of the logarithm's size: with more the cause is not known."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a decomposition shows.

    `terms` are those that lead: one where it has the largest share beyond the rounds' noise and in
    every order, several where that is not so; none unless it is decided. `claim` is None where
    there is nothing to say of it. `reasons` are why it is not decided.
    """

    status: Status
    terms: tuple[Term, ...]
    claim: Claim | None
    sentence: str
    claim_sentence: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A decomposition with its verdict."""

    decomposition: Decomposition
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Every cell of some observations, and each second side's batches against each other."""

    cells: tuple[Explained, ...]
    batches: tuple[Explained, ...]


def explain(observations: Observations) -> Explanation:
    """Return all that the observations show."""
    cells = [decompose(first, second) for first, second in observations.cells]
    return Explanation(
        cells=tuple(_explained(found) for found in cells),
        batches=tuple(_explained(found) for found in decompose_batches(observations)),
    )


def judge(found: Decomposition) -> Verdict:
    """Return the verdict; it says no more than the intervals and the orders allow."""
    low, high = found.log_interval.low, found.log_interval.high
    if low <= 0 <= high:
        return _verdict(
            "no difference",
            f"{_opening(found)} So neither is shown to be faster, and there is nothing to explain.",
        )
    if reasons := _reasons(found):
        return _verdict("not decided", f"{_opening(found)} Why is not decided.", reasons=reasons)
    terms = _leading(found)
    is_claimed = found.first.variant != found.second.variant  # not of two batches of one
    claim = _claim(found) if is_claimed and found.log_ratio > 0 else None
    return Verdict(
        status="decided",
        terms=terms,
        claim=claim,
        sentence=_sentence(found, terms),
        claim_sentence=_claim_sentence(found, claim) if is_claimed else "",
        reasons=(),
    )


def _reasons(found: Decomposition) -> tuple[str, ...]:
    reasons = [
        f"{side.variant}: {doubt}" for side in (found.first, found.second) for doubt in side.doubts
    ]
    share = found.part("unexplained").share
    if abs(share.value) > MAX_UNEXPLAINED:
        reasons.append(
            f"{percent(share)} of the logarithm is explained by no experiment, which is more than "
            f"{MAX_UNEXPLAINED:.0%}"
        )
    elif max(-share.interval.low, share.interval.high) > MAX_UNEXPLAINED:
        reasons.append(
            f"{percent(share)} of the logarithm is explained by no experiment, so it may be more "
            f"than {MAX_UNEXPLAINED:.0%}; more rounds would tell (--minutes)"
        )
    return tuple(reasons)


def _leading(found: Decomposition) -> tuple[Term, ...]:
    """Return the terms that the noise does not tell from the first, and that lead in some order."""
    in_some_order = [part for part in found.parts if part.leads_in]
    in_some_order.sort(key=lambda part: -part.leads_in)
    return tuple(dict.fromkeys((*found.leaders, *(part.term for part in in_some_order))))


def _claim(found: Decomposition) -> Claim:
    """Return what is true of the claim: in the stated order beyond the noise, and in all orders."""
    memory, moved = found.part("memory").share, found.bytes
    if min(memory.interval.low, memory.least) > 0.5:
        return "true"
    if max(moved.interval.high, moved.most) < 0.5:
        return "false"
    return "in part"


def _sentence(found: Decomposition, terms: tuple[Term, ...]) -> str:
    first, *others = terms
    told = f"{NAMES[first]}, {percent(found.part(first).share)} of the logarithm"
    if not others:
        told = f"The largest part is {told}, and it is the largest in each of {NUM_ORDERS} orders."
    elif len(found.leaders) > 1:
        shared = [f"{NAMES[term]} {percent(found.part(term).share)}" for term in found.leaders]
        told = f"Shared: the rounds do not tell which part is larger, {units.listed(shared)}."
    else:
        orders = [f"{NAMES[term]} in {found.part(term).leads_in}" for term in terms]
        told = (
            f"Shared: in the stated order the largest part is {told}, but of {NUM_ORDERS} orders "
            f"it is {units.listed(orders)}."
        )
    return f"{_opening(found)} {told}"


def _claim_sentence(found: Decomposition, claim: Claim | None) -> str:
    if claim is None:
        return "The claim has nothing to stand on here, since the second is not faster."
    memory, arithmetic = found.part("memory").share, found.part("arithmetic").share
    others = (
        f"page faults {percent(found.part('faults').share)}, separate passes "
        f"{percent(found.part('fusion').share)}"
    )
    opening = {
        "true": "True here, memory traffic is more than half of it",
        "false": "False here, fewer bytes are less than half of it, even if page faults and "
        "separate passes count as bytes",
        "in part": "In part",
    }[claim]
    return (
        f"{opening}: of the logarithm, memory traffic of the multiply-adds is {percent(memory)} "
        f"and arithmetic {percent(arithmetic)}; {others}; over all orders memory traffic is "
        f"{_range(memory)} and arithmetic {_range(arithmetic)}."
    )


def percent(share: Estimate) -> str:
    """Return a share with its interval, such as `62% (58 to 66)`."""
    low, high = share.interval.low, share.interval.high
    return f"{whole_percent(share.value)}% ({whole_percent(low)} to {whole_percent(high)})"


def whole_percent(share: float) -> str:
    """Return a share in percent without the sign, and without decimals."""
    text = f"{100 * share:.0f}"
    return "0" if text == "-0" else text


def _range(share: Estimate) -> str:
    return f"{whole_percent(share.least)} to {whole_percent(share.most)}%"


def _opening(found: Decomposition) -> str:
    first, second = found.names
    low, high = math.exp(found.log_interval.low), math.exp(found.log_interval.high)
    return f"{second} is {found.speedup:.2f}x ({low:.2f} to {high:.2f}) as fast as {first}."


def _explained(found: Decomposition) -> Explained:
    return Explained(decomposition=found, verdict=judge(found))


def _verdict(status: Status, sentence: str, *, reasons: tuple[str, ...] = ()) -> Verdict:
    return Verdict(
        status=status,
        terms=(),
        claim=None,
        sentence=sentence,
        claim_sentence="",
        reasons=reasons,
    )
