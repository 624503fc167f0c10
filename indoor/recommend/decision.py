"""Candidates to one answer: who holds the constraints, who is best, and whether that is decided."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from indoor.recommend.candidates import (
    SHARES,
    Candidate,
    Figure,
    Question,
    find_candidates,
)
from indoor.recommend.remedies import more_photographs, more_rounds, read_once
from indoor.records import Interval
from indoor.report import units
from indoor.runs.ratios import paired_ratio
from indoor.runs.results import RunResult

Status = Literal["decided", "nothing", "open"]
Outcome = Literal["holds", "breaks", "open", "not measured"]

MEMORY_TOLERANCE = 0.05
"""Peak memory is read once, so that a smaller difference may be chance."""

MOST_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    """A candidate's figure against a limit, which its whole interval must keep."""

    constraint: Literal["latency", "drop", "sound"]
    outcome: Outcome
    words: str
    figure: Figure | None = None
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Considered:
    """A candidate with its checks; `margin` is how many times better the answer is."""

    candidate: Candidate
    checks: tuple[Check, ...]
    margin: Figure | None = None

    @property
    def outcome(self) -> Outcome:
        """The worst of its checks."""
        found = {check.outcome for check in self.checks}
        order: tuple[Outcome, ...] = ("breaks", "not measured", "open")
        return next((one for one in order if one in found), "holds")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a run says to a question.

    Attributes:
        result: The run.
        question: What was asked.
        status: Whether the answer is decided, nothing holds the constraints, or the data leave open
            which it is.
        best: The best that holds; of an open answer the best so far.
        runner_up: The best of another variant that holds.
        considered: Every candidate, in the order of tables.
        reasons: Why it is open, with what would decide it; or the nearest miss.
        notes: What else to know.
    """

    result: RunResult
    question: Question
    status: Status
    best: Considered | None
    runner_up: Considered | None
    considered: tuple[Considered, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def recommend(result: RunResult, question: Question) -> Answer:
    """Return the run's answer.

    A candidate holds a constraint if the whole interval of its figure does, and breaks it if none
    of the interval does. The answer is decided if the interval of its ratio to every other variant
    that holds, and to everything that may hold, is on its side of 1.

    Raises:
        IndoorError: The run does not hold what the question is about.
    """
    candidates, notes = find_candidates(result, question)
    considered = [
        Considered(candidate=one, checks=tuple(_checks(one, question))) for one in candidates
    ]
    holding = [one for one in considered if one.outcome == "holds"]
    maybe = [one for one in considered if one.outcome == "open"]
    if not holding:
        reasons = _undecided(result, question, maybe) or (_nearest_miss(considered),)
        return Answer(
            result=result,
            question=question,
            status="open" if maybe else "nothing",
            best=None,
            runner_up=None,
            considered=tuple(considered),
            reasons=reasons,
            notes=notes,
        )
    best = _best(holding, question)
    rated = [one if one is best else _rated(best, one, question) for one in considered]
    rivals = _rivals([one for one in rated if one.outcome == "holds"], best, question)
    threats = _threats([one for one in rated if one.outcome == "open"])
    close = [one for one in rivals if not _is_beaten(one)]
    reasons = (
        *(_too_close(result, question, best, one) for one in close),
        *_undecided(result, question, threats),
    )
    return Answer(
        result=result,
        question=question,
        status="open" if reasons else "decided",
        best=best,
        runner_up=_best(rivals, question) if rivals else None,
        considered=tuple(rated),
        reasons=reasons,
        notes=(*notes, *_notes(best, rated)),
    )


def _checks(one: Candidate, question: Question) -> list[Check]:
    checks = []
    if one.fault is not None:
        checks.append(Check(constraint="sound", outcome="breaks", words=one.fault))
    if (limit := question.max_latency_s) is not None:
        figure = one.latency
        checks.append(
            Check(
                constraint="latency",
                outcome=_outcome(figure, limit),
                words=f"latency {_milliseconds(figure)} of {units.digits(1e3 * limit)} allowed",
                figure=figure,
                limit=limit,
            )
        )
    if (limit := question.max_drop) is not None:
        words = "its top-1 beside the baseline's was not measured"
        if one.drop is not None:
            words = f"{_points(one.drop)} of {100 * limit:.2f} allowed"
        checks.append(
            Check(
                constraint="drop",
                outcome="not measured" if one.drop is None else _outcome(one.drop, limit),
                words=words,
                figure=one.drop,
                limit=limit,
            )
        )
    return checks


def _outcome(figure: Figure, limit: float) -> Outcome:
    if figure.interval is None:
        return "open"
    if figure.interval.high <= limit:
        return "holds"
    return "breaks" if figure.interval.low > limit else "open"


def _milliseconds(figure: Figure) -> str:
    value = f"{units.milliseconds(figure.value)} ms"
    if figure.interval is None:
        return f"{value} (too few rounds for an interval)"
    low = units.milliseconds(figure.interval.low)
    if figure.interval.high == math.inf:
        return f"{value} (at least {low}, too few rounds to say at most)"
    return f"{value} ({low} to {units.milliseconds(figure.interval.high)})"


def _points(drop: Figure) -> str:
    assert drop.interval is not None
    if drop.interval.low == drop.interval.high:
        return f"a drop of {100 * drop.value:.2f} points"
    low, high = 100 * drop.interval.low, 100 * drop.interval.high
    return f"a drop of {units.points(drop.value)} points ({low:+.2f} to {high:+.2f})"


def _costs(one: Considered, question: Question) -> tuple[float, float]:
    """Return what to make small, and what decides between equals."""
    candidate = one.candidate
    latency = candidate.latency.value
    match question.objective:
        case "throughput":
            return -candidate.throughput.value, latency
        case "latency":
            return latency, -candidate.throughput.value
        case "memory":
            return (math.inf if candidate.memory is None else candidate.memory.value), latency
        case "size":
            return (math.inf if candidate.size is None else candidate.size.value), latency


def _best(several: Sequence[Considered], question: Question) -> Considered:
    return min(several, key=lambda one: _costs(one, question))


def _rivals(
    holding: Sequence[Considered], best: Considered, question: Question
) -> list[Considered]:
    """Return the best configuration of each other variant."""
    names = dict.fromkeys(one.candidate.variant for one in holding)
    names.pop(best.candidate.variant)
    return [
        _best([one for one in holding if one.candidate.variant == name], question) for name in names
    ]


def _threats(maybe: Sequence[Considered]) -> list[Considered]:
    """Return what would be the answer if it held, of each variant and open constraint the first."""
    found: dict[tuple[str, ...], Considered] = {}
    better = [one for one in maybe if not _is_beaten(one)]
    for one in sorted(better, key=lambda c: c.margin.value if c.margin else 1.0):
        open_ = tuple(c.constraint for c in one.checks if c.outcome == "open")
        found.setdefault((one.candidate.variant, *open_), one)
    return list(found.values())


def _is_beaten(one: Considered) -> bool:
    interval = one.margin.interval if one.margin is not None else None
    return interval is not None and interval.low > 1


def _rated(best: Considered, one: Considered, question: Question) -> Considered:
    margin = _margin(best.candidate, one.candidate, question)
    return Considered(candidate=one.candidate, checks=one.checks, margin=margin)


def _margin(best: Candidate, other: Candidate, question: Question) -> Figure:
    """Return how many times better the best is: at equal sizes, or memory, how much quicker."""
    match question.objective:
        case "memory" if best.memory is not None and other.memory is not None:
            value = other.memory.value / best.memory.value
            if value > 1:  # so that only what is above the tolerance clears 1
                low, high = value / (1 + MEMORY_TOLERANCE), value * (1 + MEMORY_TOLERANCE)
                return Figure(value=value, interval=Interval(low=low, high=high))
        case "size" if best.size is not None and other.size is not None:
            value = other.size.value / best.size.value
            if value != 1:
                return Figure(value=value, interval=Interval(low=value, high=value))
        case "memory" | "size":
            return Figure(value=math.inf, interval=Interval(low=math.inf, high=math.inf))
        case _:
            pass
    by_rounds = SHARES[question.basis] == 0.5 or question.objective == "throughput"
    paired = paired_ratio(other.case, best.case) if by_rounds else None
    if paired is not None:
        return Figure(value=paired.speedup, interval=paired.interval)
    if question.objective == "throughput":
        return _ratio(best.throughput, other.throughput)
    return _ratio(other.latency, best.latency)


def _ratio(above: Figure, below: Figure) -> Figure:
    """Return the ratio of two figures that were not interleaved, as `geometric_mean` combines."""
    value = above.value / below.value
    if above.interval is None or below.interval is None:
        return Figure(value=value, interval=None)
    down = math.hypot(
        math.log(above.value / above.interval.low), math.log(below.interval.high / below.value)
    )
    up = math.hypot(
        math.log(above.interval.high / above.value), math.log(below.value / below.interval.low)
    )
    return Figure(
        value=value, interval=Interval(low=value * math.exp(-down), high=value * math.exp(up))
    )


def _too_close(result: RunResult, question: Question, best: Considered, other: Considered) -> str:
    one, rival, margin = best.candidate, other.candidate, other.margin
    assert margin is not None
    if question.objective == "memory" and one.memory != rival.memory:
        return read_once(one, rival, margin, MEMORY_TOLERANCE)
    return more_rounds(result, one, rival, margin)


def _undecided(
    result: RunResult, question: Question, maybe: Sequence[Considered]
) -> tuple[str, ...]:
    """Return what is open of the candidates that may hold, with what would decide it.

    Each variant's best is told, as the others follow it; of many the first few.
    """
    drops: dict[str, list[str]] = {}
    rounds: list[str] = []
    first: dict[str, Considered] = {}
    for one in sorted(maybe, key=lambda c: _costs(c, question)):
        first.setdefault(one.candidate.variant, one)
    for one in first.values():
        for check in one.checks:
            if check.outcome != "open" or check.figure is None or check.limit is None:
                continue
            if check.constraint == "drop":
                words = more_photographs(result, one.candidate, check.words, check.limit)
                drops.setdefault(words, []).append(one.candidate.variant)
            else:
                rounds.append(
                    more_rounds(
                        result,
                        one.candidate,
                        None,
                        check.figure,
                        limit=check.limit,
                        share=SHARES[question.basis],
                        what=check.words,
                    )
                )
    reasons = [f"{units.listed(names)}: {words}." for words, names in drops.items()] + rounds
    if len(reasons) > MOST_REASONS:
        more = len(reasons) - MOST_REASONS + 1
        reasons[MOST_REASONS - 1 :] = [f"{more} more variants are open, too."]
    return tuple(reasons)


def excess(one: Considered) -> tuple[int, float]:
    """Return how many limits a candidate misses, and by how much of them."""
    failed = [check for check in one.checks if check.outcome != "holds"]
    beyond = 0.0
    for check in failed:
        if check.figure is None or check.limit is None or check.figure.interval is None:
            beyond = math.inf
        else:
            over = check.figure.interval.high - check.limit
            beyond += over / max(check.limit, 1e-3)
    return len(failed), beyond


def _nearest_miss(considered: Sequence[Considered]) -> str:
    nearest = min(considered, key=excess)
    failed = [check.words for check in nearest.checks if check.outcome != "holds"]
    return f"The nearest miss is {nearest.candidate.name}: {'; '.join(failed)}."


def _notes(best: Considered, rated: Sequence[Considered]) -> list[str]:
    notes = []
    same = [
        one.candidate.name
        for one in rated
        if one is not best
        and one.candidate.variant == best.candidate.variant
        and one.outcome == "holds"
        and not _is_beaten(one)
    ]
    if same:
        notes.append(f"As good by the intervals: {'; '.join(same)}.")
    if len(rated) > 1:
        notes.append(
            f"Chosen of {len(rated)} configurations by the same rounds that its figures are of, "
            "which flatters them a little."
        )
    measurement = best.candidate.case.measurement
    if measurement.warmup_stable is False:
        notes.append("Its warm-up had not settled: measure again on a quieter machine.")
    if measurement.run.narrowed:
        notes.append("The run was narrowed: what it left out may be better.")
    if unmeasured := {o.candidate.variant for o in rated if o.outcome == "not measured"}:
        notes.append(f"Out since not measured: {units.listed(sorted(unmeasured))}.")
    return notes
