"""What would decide an open answer: how many photographs, or how many rounds of which cell."""

import math
import shlex

from indoor.recommend.candidates import Candidate, Figure
from indoor.report import units
from indoor.runs.results import RunResult
from indoor.runs.select import described, pairs

MOST_ROUNDS = 1000
"""The suite takes no more of a cell."""

LABEL_SHARE = 1 / 3
"""Of a cell's seconds, what the suite gives to the same cell from bytes to label."""

MOST_PHOTOGRAPHS = 1_000_000


def more_photographs(result: RunResult, one: Candidate, words: str, limit: float) -> str:
    """Return in words how many photographs would decide a drop, if they go on like these."""
    pair = pairs(result)[one.variant]
    needed = _photographs_needed(
        pair.num_only_baseline_right, pair.num_only_candidate_right, pair.num_photographs, limit
    )
    remedy = (
        f"no number of photographs up to {MOST_PHOTOGRAPHS:,} would decide it: allow more or less"
        if needed is None
        else f"about {needed:,} test photographs instead of {pair.num_photographs:,} would decide "
        "it, if they go on like these"
    )
    return f"{words}; {remedy}"


def read_once(best: Candidate, other: Candidate, figure: Figure, tolerance: float) -> str:
    """Return in words that two peak memories lie within what reading them once cannot tell."""
    return (
        f"{best.name}: its peak memory is {100 * (figure.value - 1):.1f}% below that of "
        f"{other.name}, and what is read once tells nothing below {100 * tolerance:.0f}%: take "
        "either, or ask for another --objective."
    )


def more_rounds(
    result: RunResult,
    one: Candidate,
    other: Candidate | None,
    figure: Figure | None,
    *,
    limit: float = 1.0,
    share: float = 0.5,
    what: str = "",
) -> str:
    """Return how many rounds of a cell, or of two, would part a figure from its limit.

    Args:
        result: The run.
        one: The candidate; with `other`, the best.
        other: The candidate that it could not be told from; None where it is about a limit.
        figure: The latency, or the ratio of the two.
        limit: The latency's, in seconds.
        share: Of the percentile that the latency is.
        what: What is open, in words; of two candidates it is made here.
    """
    assert figure is not None
    if other is not None:
        interval = figure.interval
        told = "" if interval is None else f" ({interval.low:.3f} to {interval.high:.3f})"
        what = f"it cannot be told from {other.name}: {figure.value:.3f}x{told}"
    least = _least_rounds(share)
    num_rounds = min(c.case.rounds.num_rounds for c in (one, other) if c is not None)
    needed: float = least
    if figure.interval is not None and figure.interval.high < math.inf:
        low, high = figure.interval.low, figure.interval.high
        away = abs(math.log(limit / figure.value))
        half = max(math.log(figure.value / low), math.log(high / figure.value))
        needed = num_rounds * (half / away) ** 2 if away else math.inf
    if not needed <= MOST_ROUNDS:
        remedy = f"no number of rounds up to {MOST_ROUNDS:,} would decide it"
        remedy += ": take either, or ask for another --objective" if other else ": ask for more"
        return f"{one.name}: {what}; {remedy}."
    wanted = max(math.ceil(1.1 * needed), num_rounds + 1, least)
    remedy = f"about {wanted:,} rounds instead of {num_rounds:,} would decide it"
    if any(c.processes > 1 for c in (one, other) if c is not None):
        return f"{one.name}: {what}; {remedy}: measure again, on a quieter machine if there is one."
    return f"{one.name}: {what}; {remedy}: {_command(result, one, other, wanted)}"


def _photographs_needed(lost: int, gained: int, total: int, limit: float) -> int | None:
    from indoor.measure.proportions import difference_interval  # numpy and scipy come with it

    def is_decided(times: float) -> bool:
        scaled = [round(times * count) for count in (lost, gained, total)]
        interval = difference_interval(*scaled)
        return interval.low >= -limit or interval.high < -limit

    most = MOST_PHOTOGRAPHS / total
    if most < 1 or not is_decided(most):
        return None
    low, high = 1.0, most
    while high / low > 1.02:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if is_decided(middle) else (middle, high)
    return math.ceil(high * total / 10) * 10


def _least_rounds(share: float) -> int:
    """Return the rounds from which on a percentile has an interval."""
    from indoor.measure.pair_statistics import LEVEL, quantile_ranks

    return next(
        n
        for n in range(1, MOST_ROUNDS)
        if (ranks := quantile_ranks(n, share, (1 - LEVEL) / 2))[0] >= 1 and ranks[1] <= n
    )


def _command(result: RunResult, one: Candidate, other: Candidate | None, num_rounds: int) -> str:
    """Return the suite's command that measures just these cells for so long."""
    run = result.cases[0].measurement.run
    several = [c for c in (one, other) if c is not None]
    names = [k.name for k in described(result).values() if k.role == "baseline"] or [one.variant]
    names += [c.variant for c in several if c.variant not in names]
    baseline_s = next(
        (
            case.rounds.median_s
            for case in result.cases
            if case.measurement.variant == names[0]
            and case.measurement.case == one.case.measurement.case
            and (case.measurement.batch, case.measurement.threads) == (one.batch, one.threads)
        ),
        0.0,
    )
    call_s = sum(c.case.rounds.median_s for c in several)
    if names[0] not in [c.variant for c in several]:
        call_s += baseline_s
    words = ["pytest", "bench"]
    if run.arch != "resnet50":
        words += ["--model", run.arch]
    words += ["--variant", ",".join(dict.fromkeys(names))]
    words += ["--batch", ",".join(map(str, sorted({c.batch for c in several})))]
    words += ["--threads", ",".join(map(str, sorted({c.threads for c in several})))]
    share = LABEL_SHARE if one.case.measurement.case == "label" else 1
    cell_s = max(1, math.ceil(2 * num_rounds * call_s / share))
    words += ["--cell-seconds", str(cell_s)]
    return f"{shlex.join(words)} (on the same data, {units.duration(cell_s)} a cell)"
