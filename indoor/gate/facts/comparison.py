"""What two trees are without a clock: sizes, what computed, memory and logits, compared."""

import numpy as np

from indoor.gate.facts.computed import compare_computed
from indoor.gate.facts.sheets import Facts
from indoor.gate.records import CheckReport, GateVerdict
from indoor.measure.logit_statistics import MAX_SQNR_DB, sqnr_db

MEMORY = "peak memory of {}"
"""The name of that check of a variant."""

SIZE_TOLERANCE = 0.01
"""A share; one more scale in a checkpoint is no reason to stop a change."""


def compare_facts(
    base: Facts, head: Facts, *, peak_memory_tolerance: float = 0.10
) -> tuple[CheckReport, ...]:
    """Judge head by what it is.

    Where the logits are not the same, the variant's accuracy stands there as INCONCLUSIVE until
    `merge_checks` puts the outcome of `compare_predictions` in its place.

    Args:
        base: What head is compared with.
        head: The candidate.
        peak_memory_tolerance: The share by which head may take more memory.

    Returns:
        Size, multiply-adds by precision, peak memory and logits of each variant, base's first.
    """
    checks: list[CheckReport] = []
    for name in _all_variants(base, head):
        size, peak = f"size of {name}", MEMORY.format(name)
        checks.append(_compare_bytes(base, head, name, size, "size_bytes", SIZE_TOLERANCE))
        if (computed := _compare_computed(base, head, name)) is not None:
            checks.append(computed)
        checks.append(
            _compare_bytes(base, head, name, peak, "peak_memory_bytes", peak_memory_tolerance)
        )
        checks.append(_compare_logits(base, head, name))
    waiting = [
        CheckReport(
            name=f"accuracy of {name}",
            verdict=GateVerdict.INCONCLUSIVE,
            base="not computed",
            head="not computed",
            reason="the logits differ, and the test photographs were not predicted",
        )
        for name in variants_to_predict(base, head)
    ]
    return (*checks, *waiting)


def variants_to_predict(base: Facts, head: Facts) -> tuple[str, ...]:
    """Return the variants whose accuracy has to be asked: head's logits are sound, and not base's.

    Where base's are not finite, head's accuracy is unknown all the same.
    """
    names = [name for name in _all_variants(base, head) if _apart(base, head, name) is None]
    pairs = {name: (base.logits[name], head.logits[name]) for name in names}
    return tuple(
        name
        for name, (ours, theirs) in pairs.items()
        if ours.tobytes() != theirs.tobytes() and _num_broken(theirs) == 0
    )


def variants_with_peaks(base: Facts, head: Facts) -> tuple[str, ...]:
    """Return the variants whose peak memory both sides know."""
    return tuple(
        name
        for name in _all_variants(base, head)
        if all(getattr(side.variants.get(name), "peak_memory_bytes", None) for side in (base, head))
    )


def merge_checks(
    checks: tuple[CheckReport, ...], later: tuple[CheckReport, ...]
) -> tuple[CheckReport, ...]:
    """Return the checks with those that were asked later in the place of their namesakes."""
    known = {check.name: check for check in checks} | {check.name: check for check in later}
    return tuple(known.values())


def _all_variants(base: Facts, head: Facts) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*base.variants, *head.variants]))


def _compare_computed(base: Facts, head: Facts, name: str) -> CheckReport | None:
    """Compare what a variant computed with, where both sides have it."""
    ours, theirs = base.variants.get(name), head.variants.get(name)
    if ours is not None and theirs is not None:
        return compare_computed(name, ours, theirs)
    return CheckReport(
        name=f"multiply-adds of {name}",
        verdict=GateVerdict.INCONCLUSIVE,
        base="unknown",
        head="unknown",
        reason=_missing(base, head, name, ours is not None, theirs is not None),
    )


def _compare_bytes(
    base: Facts, head: Facts, name: str, check: str, key: str, tolerance: float
) -> CheckReport:
    """Compare one fact of a variant that is a number of bytes, within a tolerance."""
    ours, theirs = (getattr(side.variants.get(name), key, None) or None for side in (base, head))
    words = [f"{value / 1e6:.1f} MB" if value else "unknown" for value in (ours, theirs)]
    if ours is None or theirs is None:
        verdict = GateVerdict.INCONCLUSIVE
        reason = _missing(base, head, name, ours is not None, theirs is not None)
    else:
        verdict, reason = _judge_bytes(ours, theirs, tolerance)
    return CheckReport(name=check, verdict=verdict, base=words[0], head=words[1], reason=reason)


def _judge_bytes(ours: int, theirs: int, tolerance: float) -> tuple[GateVerdict, str]:
    """Larger than the tolerance fails, smaller by as much is an improvement."""
    if ours == theirs:
        return GateVerdict.PASS, "the same number of bytes"
    reason = f"{theirs - ours:+,} bytes ({theirs / ours - 1:+.2%}), limit {tolerance:.0%}"
    if theirs > ours * (1 + tolerance):
        return GateVerdict.FAIL, reason
    if ours > theirs * (1 + tolerance):
        return GateVerdict.IMPROVED, reason
    return GateVerdict.PASS, reason


def _compare_logits(base: Facts, head: Facts, name: str) -> CheckReport:
    """Compare bit by bit; how far apart they are is told, and judged by the accuracy."""
    ours, theirs = base.logits.get(name), head.logits.get(name)
    words = [f"{len(a)} photographs" if a is not None else "unknown" for a in (ours, theirs)]
    apart = _apart(base, head, name)
    if apart is not None or ours is None or theirs is None:
        verdict, reason = GateVerdict.INCONCLUSIVE, apart or ""
    elif (broken := [_num_broken(ours), _num_broken(theirs)]) != [0, 0]:
        verdict = GateVerdict.INCONCLUSIVE
        if broken[0] == 0:
            verdict = GateVerdict.FAIL
        elif broken[1] == 0:
            verdict = GateVerdict.IMPROVED
        reason = (
            f"not finite for {broken[0]} photographs in base and {broken[1]} in head: such a model "
            "is damaged and has no accuracy"
        )
    elif ours.tobytes() == theirs.tobytes():
        verdict, reason = GateVerdict.PASS, "bit-identical, so the accuracy need not be asked"
    else:
        verdict = GateVerdict.PASS
        same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        words[1] = f"top-1 as base's on {same} of {len(ours)}"
        reason = (
            f"they differ by {np.abs(ours - theirs).max():.2g} at most{_sqnr(ours, theirs)}, so "
            "the accuracy is asked"
        )
        if base.sheet.inputs_sha256 != head.sheet.inputs_sha256:
            reason += "; the photographs themselves reach the model as other numbers"
    return CheckReport(
        name=f"logits of {name}", verdict=verdict, base=words[0], head=words[1], reason=reason
    )


def _apart(base: Facts, head: Facts, name: str) -> str | None:
    """Return why two trees' logits cannot be laid side by side; None where they can."""
    ours, theirs = base.logits.get(name), head.logits.get(name)
    if ours is None or theirs is None:
        return _missing(base, head, name, ours is not None, theirs is not None)
    if base.sheet.photographs_sha256 != head.sheet.photographs_sha256:
        return "the two trees took other photographs from the same data"
    if ours.shape != theirs.shape or ours.size == 0:
        return f"logits {ours.shape} and {theirs.shape} are of other classes or photographs"
    return None


def _num_broken(logits: np.ndarray) -> int:
    return int((~np.isfinite(logits)).any(axis=1).sum())


def _sqnr(reference: np.ndarray, actual: np.ndarray) -> str:
    """Return the signal-to-quantization-noise ratio over all values together, in words."""
    ratio_db = sqnr_db(reference, actual)
    return f" (SQNR {ratio_db:.1f} dB)" if abs(ratio_db) < MAX_SQNR_DB else ""


def _missing(base: Facts, head: Facts, name: str, in_base: bool, in_head: bool) -> str:
    """Say on which side a fact is missing, and why if that is known."""
    sides = [label for label, there in (("base", in_base), ("head", in_head)) if not there]
    known = [side.variants.get(name) for side in (base, head)]
    problems = [facts.problem for facts in known if facts is not None and facts.problem]
    return "; ".join([f"unknown in {' and '.join(sides)}", *problems])
