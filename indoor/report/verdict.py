"""A speedup and an accuracy, each with its interval, to one answer and the words for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from indoor.records import Interval, PairedEvaluation
from indoor.report.units import points

Answer = Literal["pays", "does not pay", "cannot tell"]

MIN_SPEEDUP = 1.1
"""What calibrating and keeping a second model must bring at least (asv's factor, too)."""

MAX_DROP = 0.015
"""The loss of top-1, in 0..1, up to which a speedup is worth having: 1.5 points.

A sound int8 ResNet-50 loses 0.1 to 0.6 points. On MIT Indoor-67's 1,340 photographs, with 2% of
the answers changed, the interval is about 0.8 points to either side, so a true loss of 0.6 can be
shown to be below 1.5 points, and not to be below 1.
"""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the candidate pays, what says so, and both as one sentence."""

    answer: Answer
    reasons: tuple[str, ...]
    sentence: str


def verdict(
    candidate: str,
    *,
    speedup: tuple[float, Interval] | None,
    accuracy: PairedEvaluation | None,
    findings: Sequence[str] = (),
    baseline: str = "float32",
    min_speedup: float = MIN_SPEEDUP,
    max_drop: float = MAX_DROP,
) -> Verdict:
    """Return whether the candidate pays, as criterion does: an interval must clear its threshold.

    It pays only if the whole interval of the speedup is above `min_speedup` and the whole interval
    of the accuracy's difference is above `-max_drop`. It does not pay if either interval lies
    wholly on the other side, or if the model collapsed. Everything else, and everything that was
    not measured, is "cannot tell".

    Args:
        candidate: The candidate's name, such as int8.
        speedup: The speedup and its interval, of one cell or of a geometric mean; None where the
            timings were not paired.
        accuracy: Candidate and baseline on the same photographs; None where not measured.
        findings: Why the candidate counts as collapsed (`QuantizationCheck.findings`).
        baseline: The baseline's name.
        min_speedup: Above 0.
        max_drop: In 0..1.
    """
    checks = [
        _judge_speed(speedup, baseline, min_speedup),
        _judge_accuracy(accuracy, max_drop),
        *((False, f"collapsed: {finding}") for finding in findings),
    ]
    answer: Answer
    if any(passed is False for passed, _ in checks):
        answer = "does not pay"
    elif all(passed is True for passed, _ in checks):
        answer = "pays"
    else:
        answer = "cannot tell"
    reasons = tuple(words for _, words in checks)
    opening = (
        f"This run cannot tell whether {candidate} pays"
        if answer == "cannot tell"
        else f"{candidate} {answer}"
    )
    return Verdict(answer=answer, reasons=reasons, sentence=f"{opening}: {'; '.join(reasons)}.")


def describe_speedup(speedup: float, interval: Interval) -> str:
    """Return the speedup in words, such as `2.31x (95% interval 2.28 to 2.35)`."""
    return (
        f"{speedup:.2f}x ({interval.level:.0%} interval {interval.low:.2f} to {interval.high:.2f})"
    )


def describe_accuracy(pair: PairedEvaluation) -> str:
    """Return the difference of top-1 in words: never "no loss", only "no difference shown".

    Where the interval leaves 0 out and McNemar's exact test does not, as with 5 photographs
    against none, it says "may be", and why.
    """
    interval = pair.difference_interval
    figures = (
        f"{points(pair.difference)} points, {interval.level:.0%} interval "
        f"{points(interval.low)} to {points(interval.high)}, "
        f"{pair.num_photographs:,} photographs"
    )
    if interval.low <= 0 <= interval.high:
        return f"no difference in top-1 shown ({figures})"
    verb = "is" if pair.mcnemar_p < 1 - interval.level else "may be"
    direction = "lower" if pair.difference < 0 else "higher"
    return f"top-1 {verb} {direction} ({figures}, McNemar p {_p_value(pair.mcnemar_p)})"


def _judge_speed(
    speedup: tuple[float, Interval] | None, baseline: str, min_speedup: float
) -> tuple[bool | None, str]:
    if speedup is None:
        return None, "no paired timings, so no speedup is claimed"
    value, interval = speedup
    words = f"{describe_speedup(value, interval)} as fast as {baseline}"
    if interval.low > min_speedup:
        return True, f"{words}, above the {min_speedup:.2f}x asked for"
    if interval.high < min_speedup:
        return False, f"{words}, below the {min_speedup:.2f}x asked for"
    return None, f"{words}, not clear of the {min_speedup:.2f}x asked for"


def _judge_accuracy(pair: PairedEvaluation | None, max_drop: float) -> tuple[bool | None, str]:
    if pair is None:
        return None, "accuracy was not measured"
    words = describe_accuracy(pair)
    limit = f"{100 * max_drop:.1f} points"
    if pair.difference_interval.low > -max_drop:
        return True, f"{words}; a loss above {limit} is excluded"
    if pair.difference_interval.high < -max_drop:
        return False, f"{words}; that is a loss above {limit}"
    return None, f"{words}; a loss above {limit} is not excluded"


def _p_value(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}"
