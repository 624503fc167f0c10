"""Whether head takes more memory: a finding of one measurement is reproduced before it counts."""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from indoor.gate.facts.comparison import MEMORY
from indoor.gate.records import CheckReport, GateVerdict

Measure = Callable[[str, int], dict[str, int]]
"""From a side's name and the turn's number to the peak of each variant that was asked for."""


def num_repeats(alpha: float, num_variants: int) -> int:
    """Return how many fresh processes of either side must agree, at least.

    Were both sides the same code, each order of all peaks would be as likely: that all of head's
    lie above all of base's has the chance 1 / C(2n, n), and that the measurement which raised the
    question lay above base's, one half at most.

    Args:
        alpha: The chance of a false alarm for all variants together.
        num_variants: Whose peaks are compared.
    """
    num = 2
    while num_variants / (2 * math.comb(2 * num, num)) > alpha:
        num += 1
    return num


def reproduce_memory(
    checks: Sequence[CheckReport],
    variants: Sequence[str],
    measure: Measure,
    *,
    tolerance: float,
    alpha: float,
    order: random.Random,
) -> tuple[CheckReport, ...]:
    """Measure again what was found to take more memory, in fresh processes of both sides in turn.

    It is FAIL where every fresh peak of head is above every one of base, and head's median by more
    than the tolerance. As soon as one is not, the question is closed for its variant: PASS where
    head's median is within the tolerance, else INCONCLUSIVE.

    Args:
        checks: Those of all variants, of which each may have raised the question.
        variants: Whose peaks were compared; those whose check failed are measured again.
        measure: Takes one measurement of a side.
        tolerance: The share by which head may take more.
        alpha: The chance of a false alarm by memory, over all variants.
        order: Decides which side comes first in a turn.

    Returns:
        The checks, with those of memory that were measured again in their place.
    """
    failed = [check.name for check in checks if check.verdict is GateVerdict.FAIL]
    asked = [name for name in variants if MEMORY.format(name) in failed]
    if not asked:
        return tuple(checks)
    peaks: dict[str, dict[str, list[int]]] = {name: {"base": [], "head": []} for name in asked}
    number = num_repeats(alpha, len(variants))
    is_red = len(failed) > len(asked)  # by something without noise: minutes would decide nothing
    for turn in range(0 if is_red else number):
        still = [name for name in asked if _is_above(peaks[name], turn)]
        if not still:
            break
        for side in order.sample(("base", "head"), 2):
            found = measure(side, turn)
            for name in still:
                if name in found:
                    peaks[name][side].append(found[name])
    again = {MEMORY.format(name): _judge(peaks[name], number, tolerance, alpha) for name in asked}
    return tuple(
        replace(
            check, verdict=again[check.name][0], reason=f"{check.reason}; {again[check.name][1]}"
        )
        if check.name in again
        else check
        for check in checks
    )


def _is_above(peaks: dict[str, list[int]], num_turns: int) -> bool:
    """Return whether each turn brought both peaks, and all of head's are above all of base's."""
    base, head = peaks["base"], peaks["head"]
    if not len(base) == len(head) == num_turns:
        return False
    return num_turns == 0 or min(head) > max(base)


def _judge(
    peaks: dict[str, list[int]], number: int, tolerance: float, alpha: float
) -> tuple[GateVerdict, str]:
    base, head = peaks["base"], peaks["head"]
    if not base or not head:
        return GateVerdict.INCONCLUSIVE, "not measured again"
    ratio = statistics.median(head) / statistics.median(base)
    told = f"{min(base) / 1e6:.1f} to {max(base) / 1e6:.1f} MB in base and {min(head) / 1e6:.1f} "
    told += f"to {max(head) / 1e6:.1f} MB in head"
    if _is_above(peaks, number) and ratio > 1 + tolerance:
        return GateVerdict.FAIL, f"reproduced in {number} fresh processes of either side ({told})"
    verdict = GateVerdict.PASS if ratio <= 1 + tolerance else GateVerdict.INCONCLUSIVE
    return verdict, f"not reproduced in fresh processes ({told}) within an error of {alpha:.2%}"
