"""Whether head computes less than base in the precision that a variant claims: no clock needed."""

from dataclasses import dataclass

from indoor.gate.facts.sheets import UNTOLD, VariantFacts
from indoor.gate.records import CheckReport, GateVerdict
from indoor.measure.proof import NUM_NAMED, TOLERANCE, giga, percentage

_MOST = (0.5 + 2 * TOLERANCE, 1.0)
_LEAST = (0.0, 0.5)
"""Between which shares what a side claims lies where it tells only in what it computed most."""


@dataclass(frozen=True, kw_only=True)
class _Side:
    """What one side's call computed with: multiply-adds by precision, or only that of most."""

    multiply_adds: dict[str, int]
    ran: str | None
    engine: str | None

    @property
    def total(self) -> int:
        return sum(self.multiply_adds.values())

    def bounds(self, claimed: str) -> tuple[float, float]:
        """Return the least and the most that can be in a precision: what nobody told may be."""
        if not self.multiply_adds:
            return _MOST if self.ran == claimed else _LEAST
        known = self.multiply_adds.get(claimed, 0)
        untold = self.multiply_adds.get(UNTOLD, 0)
        return known / self.total, (known + untold) / self.total

    def words(self) -> str:
        """Return what it computed with, the most first."""
        parts = [
            f"{percentage(count, self.total)} {precision}"
            for precision, count in sorted(self.multiply_adds.items(), key=lambda one: -one[1])
        ]
        words = ", ".join(parts) or f"most {self.ran}"
        return f"{words} ({self.engine})" if self.engine else words


def compare_computed(name: str, base: VariantFacts, head: VariantFacts) -> CheckReport | None:
    """Judge what one call of each side really computed with, by the precision of multiply-adds.

    Less than before in what the variant claims fails, more is an improvement, each beyond a
    tolerance of 0.1% of the multiply-adds. What else changed is only told: an upgrade of torch
    takes other kernels, and what they cost is the clock's question.

    Args:
        name: The variant's.
        base: What head is compared with.
        head: The candidate.

    Returns:
        None where neither side's runtime can tell.
    """
    known = [_side(base), _side(head)]
    if known == [None, None] and None not in (base.multiply_adds, head.multiply_adds):
        return None
    sides = [("base", known[0]), ("head", known[1])]
    lacking = [label for label, side in sides if side is None]
    ours, theirs = known
    claimed = base.precision or head.precision
    if ours is None or theirs is None:
        verdict = GateVerdict.INCONCLUSIVE
        problems = [facts.problem for facts in (base, head) if facts.problem]
        reason = "; ".join([f"unknown in {' and '.join(lacking)}", *problems])
    elif claimed is None:
        verdict, reason = GateVerdict.INCONCLUSIVE, "what the variant claims is unknown"
    else:
        verdict, reason = _judge(ours, theirs, claimed)
        reason += _told(base.kernels, head.kernels)
    return CheckReport(
        name=f"multiply-adds of {name}",
        verdict=verdict,
        base="unknown" if ours is None else ours.words(),
        head="unknown" if theirs is None else theirs.words(),
        reason=reason,
    )


def _side(facts: VariantFacts) -> _Side | None:
    if not facts.multiply_adds and (facts.multiply_adds is None or facts.ran is None):
        return None
    return _Side(multiply_adds=facts.multiply_adds or {}, ran=facts.ran, engine=facts.engine)


def _judge(ours: _Side, theirs: _Side, claimed: str) -> tuple[GateVerdict, str]:
    totals = [side.total for side in (ours, theirs) if side.multiply_adds]
    if max(totals, default=0) - min(totals, default=0) > TOLERANCE * max(totals, default=0):
        counts = " and ".join(giga(total) for total in totals)
        return GateVerdict.INCONCLUSIVE, f"{counts} multiply-adds are of two networks"
    low, high = ours.bounds(claimed)
    least, most = theirs.bounds(claimed)
    of = f" of {giga(max(totals))} multiply-adds" if totals else ""
    change = f"{claimed}: {_range(low, high)} -> {_range(least, most)}{of}"
    if most < low - TOLERANCE:
        return GateVerdict.FAIL, change
    if least > high + TOLERANCE:
        return GateVerdict.IMPROVED, change
    if abs(least - low) <= TOLERANCE and abs(most - high) <= TOLERANCE:
        return GateVerdict.PASS, f"{claimed}: {_range(least, most)}{of} on both sides"
    if least >= high - TOLERANCE:
        return GateVerdict.PASS, change
    return GateVerdict.INCONCLUSIVE, f"{change}, so a fall can neither be shown nor excluded"


def _range(low: float, high: float) -> str:
    least, most = (int(1e4 * share + 1e-6) / 100 for share in (low, high))
    return f"{least:g}%" if high - low <= TOLERANCE else f"{least:g} to {most:g}%"


def _told(ours: dict[str, int], theirs: dict[str, int]) -> str:
    """Return which kernels came, went or were called more or less often."""
    kinds = sorted({*ours, *theirs})
    changed = [kind for kind in kinds if ours.get(kind, 0) != theirs.get(kind, 0)]
    if not changed or not ours or not theirs:
        return ""
    told = [f"{kind}: {ours.get(kind, 0)} -> {theirs.get(kind, 0)}" for kind in changed[:NUM_NAMED]]
    more = len(changed) - NUM_NAMED
    return f"; other kernels: {', '.join(told)}{f' and {more} more' if more > 0 else ''}"
