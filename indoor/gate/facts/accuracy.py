"""Whether head's accuracy may have dropped: both sides' classes for the same photographs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indoor.gate.facts.sheets import Predictions
from indoor.gate.records import CheckReport, GateVerdict
from indoor.measure.logit_statistics import entropy_bits
from indoor.measure.pair_statistics import holm_adjusted
from indoor.measure.proportions import difference_interval, mcnemar_p
from indoor.records import Interval

MAX_SHARE = 0.9
MIN_SHARE_GAINED = 0.1
MIN_ENTROPY_SHARE = 0.5
MIN_PHOTOGRAPHS = 16
"""Fewer in one class are no proof of a collapse."""


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One variant's answers on the photographs that both sides came to."""

    base: np.ndarray
    head: np.ndarray
    labels: np.ndarray

    @property
    def num_lost(self) -> int:
        return int(((self.base == self.labels) & (self.head != self.labels)).sum())

    @property
    def num_gained(self) -> int:
        return int(((self.base != self.labels) & (self.head == self.labels)).sum())


def compare_predictions(
    base: Predictions,
    head: Predictions,
    variants: Sequence[str],
    *,
    alpha: float,
    max_drop: float = 0.015,
) -> tuple[CheckReport, ...]:
    """Judge the drop of top-1 by non-inferiority, on the photographs that both sides came to.

    A collapse beyond chance fails, unless a gain is shown. Else the whole 95% interval of the drop
    (Tango's, paired) must lie below `max_drop` to pass: failing to show a loss is no pass. A drop
    whose interval lies above 0 fails, and one whose interval lies below 0 is an improvement, if the
    exact McNemar p, by Holm over the variants, is below `alpha`. A drop that is shown, but shown to
    be below `max_drop`, passes.

    Args:
        base: What head is compared with.
        head: The candidate.
        variants: Which to judge, as `variants_to_predict` returned them.
        alpha: The chance of a false alarm, over all variants: half of it is spent on drops, since
            p has two sides, and half on collapses.
        max_drop: The loss that is accepted, a share in 0..1.

    Returns:
        A check a variant, named as the one in `compare_facts` that it replaces.
    """
    pairs = {name: _pair(base, head, name) for name in variants}
    known = {name: pair for name, pair in pairs.items() if isinstance(pair, _Pair)}
    p_values = holm_adjusted([mcnemar_p(pair.num_lost, pair.num_gained) for pair in known.values()])
    num_in_split = max(base.num_in_split, head.num_in_split)
    judged = {
        name: _judge(name, pair, p, alpha, len(known), max_drop, num_in_split)
        for (name, pair), p in zip(known.items(), p_values, strict=True)
    }
    return tuple(
        judged[name]
        if isinstance(pair, _Pair)
        else CheckReport(
            name=f"accuracy of {name}",
            verdict=GateVerdict.INCONCLUSIVE,
            base="unknown",
            head="unknown",
            reason=pair,
        )
        for name, pair in pairs.items()
    )


def _pair(base: Predictions, head: Predictions, name: str) -> _Pair | str:
    """Return one variant's answers side by side, or why they cannot be."""
    lacking = [side for side, p in (("base", base), ("head", head)) if name not in p.classes]
    if lacking:
        return f"unknown in {' and '.join(lacking)}"
    num = min(len(base.photographs), len(head.photographs))
    if not num:
        return "no photograph was predicted in time; raise accuracy.budget_s"
    if base.photographs[:num] != head.photographs[:num]:
        return "the two trees took other photographs from the same data"
    if not np.array_equal(base.labels[:num], head.labels[:num]):
        return "the two trees give the same photographs other labels"
    return _Pair(
        base=base.classes[name][:num], head=head.classes[name][:num], labels=base.labels[:num]
    )


def _judge(
    name: str,
    pair: _Pair,
    p: float,
    alpha: float,
    num_variants: int,
    max_drop: float,
    num_in_split: int,
) -> CheckReport:
    total = len(pair.labels)
    lost, gained = pair.num_lost, pair.num_gained
    gain = difference_interval(lost, gained, total)
    drop = Interval(low=-gain.high, high=-gain.low, level=gain.level)
    collapse = _find_collapse(pair)
    is_collapse = collapse is not None and num_variants * _p_collapse(pair) <= alpha / 2
    # Classes of very unequal size, answered better, have fewer answers in the rare ones too.
    is_gain = drop.high < 0 and p < alpha
    if is_collapse and not is_gain:
        verdict, opening = GateVerdict.FAIL, f"collapsed: {collapse}"
    elif is_gain:
        verdict, opening = GateVerdict.IMPROVED, "a gain is shown"
    elif drop.high < max_drop:
        verdict, opening = GateVerdict.PASS, f"no drop of {100 * max_drop:g} points or more"
    elif drop.low > 0 and p < alpha:
        verdict, opening = GateVerdict.FAIL, "a drop is shown"
    else:
        verdict = GateVerdict.INCONCLUSIVE
        opening = f"a drop of {100 * max_drop:g} points can neither be shown nor excluded"
    seen = f"{total}" if total == num_in_split else f"the first {total} of {num_in_split}"
    reason = (
        f"{opening}: {100 * drop.low:+.2f} to {100 * drop.high:+.2f} points lost (95%), {lost} "
        f"photographs lost and {gained} gained of {seen}, McNemar p {p:.2g}"
    )
    return CheckReport(
        name=f"accuracy of {name}",
        verdict=verdict,
        base=f"{(pair.base == pair.labels).mean():.2%}",
        head=f"{(pair.head == pair.labels).mean():.2%}",
        reason=reason,
    )


def _p_collapse(pair: _Pair) -> float:
    """Return the exact p of answers that moved into one class more often than out of it.

    Were both sides equally good, as many would move either way. Any class may be the one, so the
    smallest p counts as often as there are classes.
    """
    classes = np.unique([pair.base, pair.head])
    p = 1.0
    for one in classes:
        num_in = int(((pair.base != one) & (pair.head == one)).sum())
        num_out = int(((pair.base == one) & (pair.head != one)).sum())
        if num_in > num_out:
            p = min(p, mcnemar_p(num_in, num_out) / 2)
    return min(1.0, p * len(classes))


def _find_collapse(pair: _Pair) -> str | None:
    """Return how head's answers have fallen into few classes where base's have not."""
    total = len(pair.labels)
    if total < MIN_PHOTOGRAPHS:
        return None
    shares = [np.unique(side, return_counts=True)[1] / total for side in (pair.base, pair.head)]
    most = [float(share.max()) for share in shares]
    if most[1] > MAX_SHARE and most[1] - most[0] > MIN_SHARE_GAINED:
        return f"{most[1]:.0%} of the answers are one class, {most[0]:.0%} of base's"
    entropy = [entropy_bits(side) for side in (pair.base, pair.head)]
    if entropy[0] > 0 and entropy[1] <= MIN_ENTROPY_SHARE * entropy[0]:
        return f"the answers' entropy is {entropy[1]:.2f} bits, base's {entropy[0]:.2f}"
    return None
