"""What two trees are without a clock: sizes, operators, memory and logits, compared."""

from collections.abc import Callable

import numpy as np

from indoor.gate.facts.sheets import Facts, VariantFacts
from indoor.gate.records import CheckReport, GateVerdict
from indoor.measure.answers import MAX_SQNR_DB, sqnr_db

SIZE_TOLERANCE = 0.01
"""A share; one more scale in a checkpoint is no reason to stop a change."""

_QUANTIZED = "quantized "

Check = Callable[[Facts, Facts, str], CheckReport]


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
        Size, operators, peak memory and logits of each variant, base's first.
    """

    def compare_memory(base: Facts, head: Facts, name: str) -> CheckReport:
        return _amount(base, head, name, "peak memory", peak_memory_tolerance)

    kinds: tuple[Check, ...] = (_compare_size, _compare_operators, compare_memory, _compare_logits)
    checks = [kind(base, head, name) for name in _all_variants(base, head) for kind in kinds]
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


def merge_checks(
    checks: tuple[CheckReport, ...], later: tuple[CheckReport, ...]
) -> tuple[CheckReport, ...]:
    """Return the checks with those that were asked later in the place of their namesakes."""
    known = {check.name: check for check in checks} | {check.name: check for check in later}
    return tuple(known.values())


def _all_variants(base: Facts, head: Facts) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*base.variants, *head.variants]))


def _compare_size(base: Facts, head: Facts, name: str) -> CheckReport:
    return _amount(base, head, name, "size", SIZE_TOLERANCE)


def _amount(base: Facts, head: Facts, name: str, what: str, tolerance: float) -> CheckReport:
    """Compare bytes: larger than the tolerance fails, smaller by as much is an improvement."""
    field = {"size": "size_bytes", "peak memory": "peak_memory_bytes"}[what]
    ours, theirs = (getattr(side.variants.get(name), field, None) for side in (base, head))
    words = [f"{n / 1e6:.1f} MB" if n is not None else "unknown" for n in (ours, theirs)]
    if not ours or not theirs:
        verdict, reason = (
            GateVerdict.INCONCLUSIVE,
            _missing(base, head, name, bool(ours), bool(theirs)),
        )
    elif ours == theirs:
        verdict, reason = GateVerdict.PASS, "the same number of bytes"
    else:
        share = theirs / ours - 1
        reason = f"{theirs - ours:+,} bytes ({share:+.2%}), limit {tolerance:.0%}"
        verdict = GateVerdict.PASS
        if theirs > ours * (1 + tolerance):
            verdict = GateVerdict.FAIL
        elif ours > theirs * (1 + tolerance):
            verdict = GateVerdict.IMPROVED
    return CheckReport(
        name=f"{what} of {name}", verdict=verdict, base=words[0], head=words[1], reason=reason
    )


def _compare_operators(base: Facts, head: Facts, name: str) -> CheckReport:
    """Compare which modules compute: one less in int8, or another kind, is another network."""
    ours, theirs = (
        facts.operators if (facts := side.variants.get(name)) is not None else None
        for side in (base, head)
    )
    if not ours or not theirs:
        verdict, reason = (
            GateVerdict.INCONCLUSIVE,
            _missing(base, head, name, bool(ours), bool(theirs)),
        )
    elif ours == theirs:
        verdict, reason = GateVerdict.PASS, "the same kinds and numbers"
    else:
        verdict = GateVerdict.INCONCLUSIVE
        if _is_worse(ours, theirs):
            verdict = GateVerdict.FAIL
        elif _is_worse(theirs, ours):
            verdict = GateVerdict.IMPROVED
        kinds = sorted({*ours, *theirs})
        changed = [kind for kind in kinds if ours.get(kind, 0) != theirs.get(kind, 0)]
        reason = ", ".join(f"{k}: {ours.get(k, 0)} -> {theirs.get(k, 0)}" for k in changed)
    return CheckReport(
        name=f"operators of {name}",
        verdict=verdict,
        base=_describe_operators(ours, base.variants.get(name)),
        head=_describe_operators(theirs, head.variants.get(name)),
        reason=reason,
    )


def _is_worse(ours: dict[str, int], theirs: dict[str, int]) -> bool:
    """Return whether theirs lost quantized operators or computes more beside them."""
    quantized, beside = (
        [
            sum(count for kind, count in side.items() if kind.startswith(_QUANTIZED) is wanted)
            for side in (ours, theirs)
        ]
        for wanted in (True, False)
    )
    new = [kind for kind in theirs if kind not in ours and not kind.startswith(_QUANTIZED)]
    return quantized[1] < quantized[0] or beside[1] > beside[0] or bool(new)


def _describe_operators(operators: dict[str, int] | None, facts: VariantFacts | None) -> str:
    if not operators:
        return "unknown"
    quantized = sum(n for kind, n in operators.items() if kind.startswith(_QUANTIZED))
    words = f"{sum(operators.values())}"
    if quantized:
        words += f", {quantized} quantized"
    return f"{words} ({facts.engine})" if facts is not None and facts.engine else words


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
