"""Answers as text for a person, and as a record for `--json`."""

import math
from collections.abc import Sequence
from typing import Any

from indoor.recommend.candidates import NAMES, Candidate, Figure, Question
from indoor.recommend.decision import Answer, Considered, excess
from indoor.report import units
from indoor.report.blocks import (
    Block,
    Column,
    Facts,
    Heading,
    Items,
    Judged,
    Paragraph,
    Tone,
    Verdicts,
)
from indoor.report.caption import caption
from indoor.report.text import as_text

_ASKED = ("run", "CPU", "data", "weights")
"""Of a run's caption, what an answer is worth nothing without."""

_GOALS = {
    "throughput": "the highest throughput",
    "latency": "the lowest latency",
    "memory": "the least peak memory",
    "size": "the smallest file",
}


def render_answers(answers: Sequence[Answer], *, width: int = 80, color: bool = False) -> str:
    """Return an answer a run as text, never one of several runs together."""
    blocks = [block for answer in answers for block in _blocks(answer)]
    return as_text(blocks, width=width, color=color)


def as_record(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values; latencies in seconds a batch, drops in 0..1."""
    run = answer.result.cases[0].measurement.run
    question = answer.question
    return {
        "source": answer.result.source,
        "cpu_model": run.machine.cpu_model,
        "status": answer.status,
        "question": question,
        "answer": None if answer.best is None else _record(answer.best),
        "runner_up": None if answer.runner_up is None else _record(answer.runner_up),
        "reasons": answer.reasons,
        "notes": answer.notes,
        "candidates": [_record(one) for one in answer.considered],
    }


def _record(one: Considered) -> dict[str, Any]:
    candidate = one.candidate
    return {
        "variant": candidate.variant,
        "runtime": candidate.runtime,
        "precision": candidate.precision,
        "batch": candidate.batch,
        "threads": candidate.threads,
        "processes": candidate.processes,
        "latency_s": candidate.latency,
        "photographs_per_s": candidate.throughput,
        "peak_memory_bytes": candidate.memory,
        "size_bytes": candidate.size,
        "drop": candidate.drop,
        "outcome": one.outcome,
        "checks": [
            {"constraint": c.constraint, "outcome": c.outcome, "limit": c.limit, "words": c.words}
            for c in one.checks
        ],
        "answer_is_better_by": one.margin,
    }


def _blocks(answer: Answer) -> list[Block]:
    run = answer.result.cases[0].measurement.run
    told = caption(answer.result)
    facts = [(label, told[label]) for label in _ASKED]
    blocks: list[Block] = [
        Heading(f"{run.arch} on {run.data.name}", level=1),
        Facts((*facts, ("asked", _question(answer.question)))),
        Paragraph(_sentence(answer), "strong"),
    ]
    if answer.reasons:
        blocks.append(Items(answer.reasons))
    blocks.append(
        Verdicts(
            noun="configuration",
            columns=(Column("latency\nms"), Column("photos\nper s"), _column(answer.question)),
            rows=tuple(_row(one, answer) for one in _shown(answer)),
        )
    )
    notes = [
        f"Latency is {NAMES[answer.question.basis]}, of the whole batch, for which each of its "
        "photographs waits. Intervals are of 95%. Of each variant the best configuration is "
        "shown; --json has all.",
        *answer.notes,
    ]
    blocks.append(Paragraph(" ".join(notes), "faint"))
    return blocks


def _question(question: Question) -> str:
    parts = [_GOALS[question.objective]]
    if question.max_latency_s is not None:
        limit = units.digits(1e3 * question.max_latency_s)
        parts.append(f"at most {limit} ms {NAMES[question.basis]}")
    if question.max_drop is not None:
        parts.append(f"a drop in top-1 of at most {100 * question.max_drop:.2f} points")
    if question.max_batch is not None:
        parts.append(f"{units.batches((question.max_batch,))} at most")
    if question.max_threads is not None:
        parts.append(f"{units.threads(question.max_threads)} in all at most")
    return ", ".join(parts)


def _sentence(answer: Answer) -> str:
    if answer.status == "nothing":
        return "Nothing that this run measured holds that."
    opening = "The data do not decide it."
    if answer.best is None:
        return f"{opening} Nothing is shown to hold that, and what may hold it is below."
    one = answer.best.candidate
    processes = "1 process" if one.processes == 1 else f"{one.processes} processes"
    parts = [
        f"{one.variant} (runtime {one.runtime}, computed in {one.precision}), batch {one.batch}, "
        f"{units.threads(one.threads)}, {processes}: {_objective(one, answer.question)}",
        *(check.words for check in answer.best.checks),
    ]
    if (second := answer.runner_up) is not None and second.margin is not None:
        parts.append(f"{_ratio(second.margin)} as good as the runner-up, {second.candidate.name}")
    opening = "Take" if answer.status == "decided" else f"{opening} The best so far is"
    return f"{opening} {'; '.join(parts)}."


def _objective(one: Candidate, question: Question) -> str:
    match question.objective:
        case "throughput":
            return f"{_with_interval(one.throughput)} photographs a second"
        case "latency":
            return f"{_with_interval(one.latency, 1e3)} ms {NAMES[question.basis]}"
        case "memory":
            return f"{_with_interval(one.memory, 1e-6)} MB of peak memory"
        case "size":
            return f"{_with_interval(one.size, 1e-6)} MB on disk"


def _with_interval(figure: Figure | None, scale: float = 1.0) -> str:
    if figure is None:
        return units.NOTHING
    value, interval = units.digits(scale * figure.value), figure.interval
    if interval is None or interval.low == interval.high or interval.high == math.inf:
        return value
    return (
        f"{value} ({units.digits(scale * interval.low)} to {units.digits(scale * interval.high)})"
    )


def _ratio(margin: Figure) -> str:
    interval = margin.interval
    told = "" if interval is None else f" ({interval.low:.2f} to {interval.high:.2f})"
    return f"{margin.value:.2f}x{told}"


def _shown(answer: Answer) -> list[Considered]:
    """Return of each variant what came nearest to being the answer."""
    order = {"holds": 0, "open": 1, "not measured": 2, "breaks": 3}

    def rank(one: Considered) -> tuple[object, ...]:
        if answer.best is None:
            return (order[one.outcome], *excess(one))
        margin = 1.0 if one.margin is None else one.margin.value
        return one is not answer.best, order[one.outcome], margin, one.candidate.latency.value

    found: dict[str, Considered] = {}
    for one in sorted(answer.considered, key=rank):
        found.setdefault(one.candidate.variant, one)
    return list(found.values())


def _column(question: Question) -> Column:
    if question.objective == "memory":
        return Column("memory\nMB")
    return Column("size\nMB") if question.objective == "size" else Column("drop\npoints")


def _row(one: Considered, answer: Answer) -> Judged:
    candidate = one.candidate
    last = units.NOTHING if candidate.drop is None else units.points(candidate.drop.value)
    if answer.question.objective in ("memory", "size"):
        figure = candidate.memory if answer.question.objective == "memory" else candidate.size
        last = units.NOTHING if figure is None else units.megabytes(round(figure.value))
    verdict, tone, reason = _verdict(one, answer)
    return Judged(
        name=candidate.name,
        verdict=verdict,
        tone=tone,
        figures=(
            units.milliseconds(candidate.latency.value),
            units.digits(candidate.throughput.value),
            last,
        ),
        reason=reason,
    )


def _verdict(one: Considered, answer: Answer) -> tuple[str, Tone, str]:
    failed = "; ".join(check.words for check in one.checks if check.outcome == one.outcome)
    if one is answer.best:
        kept = "; ".join(check.words for check in one.checks) or "no constraint"
        word = "the answer" if answer.status == "decided" else "best so far"
        return word, "good", kept
    if one.outcome == "holds":
        assert one.margin is not None
        ratio = _ratio(one.margin)
        interval = one.margin.interval
        if interval is not None and interval.low > 1:
            return "less good", "plain", f"the answer is {ratio} as good"
        return "open", "open", f"not told from the best, which is {ratio} as good"
    if one.outcome == "open":
        return "open", "open", failed
    return "out", "bad", failed
