"""What can make a cell of a narrower precision slow, each judged from what the run recorded."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from indoor.machine.processor import native_bfloat16, native_vnni, onednn_cap
from indoor.measure.proof import giga, named, percentage
from indoor.measure.slow_pair import (
    BFLOAT16,
    FLOAT32,
    GAINS,
    INT8,
    Cause,
    Pair,
    ms,
    seconds_of_call,
)
from indoor.records import Executed, Measurement, Precision

FAULT_S = 1.3e-6
"""What a minor page fault took on a Zen 4 with two threads, where a run has no second allocator."""

NOTHING_LEFT = 0.9
"""Of the multiply-adds: where as many are float32's, int8 has next to nothing to make quicker."""

TINY_SHARE = 0.15
"""Of float32's time: where its multiply-adds take less at its limit, faster ones cannot decide."""

TINY_LAYER = 1_000_000
"""Multiply-adds of a layer: 20 microseconds of one core in float32, where a call of a convolution
takes some 5 to 10 besides. Larger ones that are far from their limit are slow for other reasons."""

_NO_VNNI = frozenset({"any", "sse41", "avx", "avx2", "avx512_core"})
_BELOW: dict[Precision, frozenset[str]] = {
    FLOAT32: frozenset(),
    BFLOAT16: _NO_VNNI | {"avx2_vnni", "avx512_core_vnni"},
    INT8: _NO_VNNI,
}
"""oneDNN's words, at the end of a kernel's name, for instructions without those of the precision;
`any` is its reference code."""

_CONVERTS = re.compile("reorder|quantize|convert|cast", re.IGNORECASE)
"""Operators that change a layout or a type, in oneDNN's, ONNX's and OpenVINO's words."""

_ANY = "jit"
"""Its word for code that is made from whatever instructions it may use."""


def judged(pair: Pair) -> Iterator[Cause]:
    """Yield what the record holds against the slow cell, whatever it costs."""
    for judge in (_kernels, _emulation, _no_vnni, _engine, _conversions, _threads, _faults, _tiny):
        yield from judge(pair)


def _kernels(pair: Pair) -> Iterator[Cause]:
    """Judge whether another precision computed; int8's advantage is lost for that share."""
    proof = pair.proof
    if proof is None or not proof.is_otherwise:
        return
    others = {p: n for p in proof.multiply_adds if (n := proof.num_elsewhere(p))}
    share, what = 1.0, f"it computes in {proof.precision}, as its runtime says"
    if proof.is_told:
        share = sum(others.values()) / proof.total
        names = tuple(name for precision in others for name in proof.layers[precision])
        what = (
            f"{percentage(sum(others.values()), proof.total)} of {giga(proof.total)} multiply-adds "
            f"are computed in {' and '.join(map(str, others))}, not in {proof.claimed}, "
            f"{len(names)} of {proof.num_layers} layers: {named(names)}"
        )
    at_its_pace_s = share * pair.reference_s
    yield Cause(
        kind="float32 kernels",
        certainty="part" if share < NOTHING_LEFT else "shown",
        words=f"{what}; at the pace of {pair.reference.variant} these take "
        f"{ms(at_its_pace_s)} of its {ms(pair.took_s)} a call",
        cost_s=at_its_pace_s * max(0.0, 1 - 1 / pair.gain),
    )


def _emulation(pair: Pair) -> Iterator[Cause]:
    machine, environment = pair.slow.run.machine, pair.slow.run.environment or {}
    if pair.claimed != BFLOAT16:
        return
    is_capped = not native_bfloat16(machine.isa, environment)
    share, kernels = _without_instructions(pair, is_capped=is_capped)
    if share is not None and share >= 0.5:
        how = f"its kernels ({kernels}) have no bfloat16 instructions"
    elif share is None and machine.bfloat16 is False:
        how = "this CPU has no bfloat16 instructions"
        if native_bfloat16(machine.isa, {}):
            how = f"no bfloat16 instructions are used{_kept_off(environment)}"
    else:
        return
    yield Cause(
        kind="emulated bfloat16",
        certainty="shown",
        words=f"{how}, so that each product is computed in float32 between conversions",
    )


def _no_vnni(pair: Pair) -> Iterator[Cause]:
    """Judge whether int8 was multiplied without the instructions that make it quick."""
    machine, environment = pair.slow.run.machine, pair.slow.run.environment or {}
    if pair.claimed != INT8 or "neon" in machine.isa or machine.vnni is None:
        return
    is_there = machine.vnni or native_vnni(machine.isa, {})
    is_capped = is_there and not native_vnni(machine.isa, environment)
    share, kernels = _without_instructions(pair, is_capped=is_capped or not is_there)
    if share is None:  # nobody tells; what oneDNN may use is no limit to other libraries
        share = 1.0 if not is_there or (is_capped and pair.slow.ran is None) else 0.0
    if share < 0.5:
        return
    words = f"its kernels ({kernels}) do without VNNI" if kernels else "int8 does without VNNI"
    if not is_there:
        words += ", which this CPU has not"
    elif is_capped:
        words += _kept_off(environment)
    else:
        words += ", although this CPU has it"
    narrow, wide, count = pair.limit(INT8), pair.limit(FLOAT32), pair.multiply_adds
    if narrow is None or wide is None or count is None:
        yield Cause(kind="no VNNI", certainty="possible", words=words)
        return
    inside = 1.0 if pair.proof is None or not pair.proof.is_told else pair.proof.share(INT8)
    yield Cause(
        kind="no VNNI",
        certainty="part",
        words=f"{words}; the limit measured on these threads is {narrow / 1e9:.3g} GMAC/s in "
        f"{INT8} and {wide / 1e9:.3g} in {FLOAT32}",
        cost_s=share * count * inside * max(0.0, 1 / narrow - 1 / (GAINS[INT8] * wide)),
    )


def _engine(pair: Pair) -> Iterator[Cause]:
    run = pair.slow.run
    operators = [] if pair.slow.ran is None else pair.slow.ran.executed
    asked = any(one.operator.startswith("quantized::") for one in operators)
    if run.quantization is None or run.quantization.config.engine != "qnnpack" or not asked:
        return
    if "neon" not in run.machine.isa:
        yield Cause(
            kind="the engine",
            certainty="possible",
            words="engine qnnpack is written for ARM; indoor quantize --engine onednn computes "
            "with this CPU's vectors",
        )


def _conversions(pair: Pair) -> Iterator[Cause]:
    """Judge what lies between the layers, by the one call whose operations were told."""
    notes = () if pair.slow.ran is None else pair.slow.ran.notes
    repacked = [note for note in notes if "repacked" in note]
    converting, others = _converting(pair.slow), _converting(pair.reference)
    took_s, others_s = (sum(one.seconds or 0.0 for one in found) for found in (converting, others))
    if took_s > others_s:
        names = " and ".join(dict.fromkeys(one.operator for one in converting))
        words = (
            f"{len(converting)} operations convert or reorder ({names}), {ms(took_s)} of the one "
            f"call that was looked into, and {ms(others_s)} in {pair.reference.variant}"
        )
        yield Cause(
            kind="conversions",
            certainty="part",
            words="; ".join((words, *repacked)),
            cost_s=took_s - others_s,
        )
    elif repacked:
        yield Cause(kind="conversions", certainty="possible", words="; ".join(repacked))


def _converting(one: Measurement) -> list[Executed]:
    """Return the operations that compute nothing and whose times were told."""
    told = () if one.ran is None else one.ran.executed
    return [
        operation
        for operation in told
        if operation.seconds is not None
        and not operation.multiply_adds
        and _CONVERTS.search(operation.operator)
    ]


def _threads(pair: Pair) -> Iterator[Cause]:
    busy, others = pair.slow.num_busy_threads, pair.reference.num_busy_threads
    if busy is None or others is None or busy >= others:
        return
    at_best_s = pair.took_s * busy / others
    yield Cause(
        kind="threads",
        certainty="part",
        words=f"{busy} of {pair.slow.threads} threads computed, and {others} in "
        f"{pair.reference.variant}; on as many it takes {ms(at_best_s)} at best instead of "
        f"{ms(pair.took_s)} a call",
        cost_s=pair.took_s - at_best_s,
    )


def _faults(pair: Pair) -> Iterator[Cause]:
    told = [one.minor_faults_per_photograph for one in (pair.slow, pair.reference)]
    if told[0] is None or told[1] is None or told[0] <= told[1]:
        return
    extra = (told[0] - told[1]) * (pair.slow.batch or 1)
    words = f"{extra:,.0f} page faults a call more than {pair.reference.variant}"
    slow, reference = pair.elsewhere(pair.slow), pair.elsewhere(pair.reference)
    if slow is None or reference is None:
        guess_s = extra * FAULT_S
        yield Cause(
            kind="page faults",
            certainty="possible",
            words=f"{words}, about {ms(guess_s)} at the {FAULT_S * 1e6:g} µs that one took on a "
            "Zen 4; --allocator retain measures it",
            cost_s=guess_s,
        )
        return
    slow_s, reference_s = seconds_of_call(slow), seconds_of_call(reference)
    yield Cause(
        kind="page faults",
        certainty="part",
        words=f"{words}; with allocator {slow.allocator} the two take {ms(slow_s)} and "
        f"{ms(reference_s)} a call instead of {ms(pair.took_s)} and {ms(pair.reference_s)}",
        cost_s=(pair.took_s - slow_s) - (pair.reference_s - reference_s),
    )


def _tiny(pair: Pair) -> Iterator[Cause]:
    """Judge whether arithmetic matters at all, since no precision can save what it does not take.

    What it does not take is neither of the kernels nor of the instructions.
    """
    count, limit = pair.multiply_adds, pair.limit(FLOAT32)
    executed = () if pair.slow.ran is None else pair.slow.ran.executed
    num_layers = sum(bool(one.multiply_adds) for one in executed)
    if not count or not num_layers or count >= TINY_LAYER * num_layers:
        return
    noun = "layer" if num_layers == 1 else "layers"
    words = f"{count:,} multiply-adds a call in {num_layers} {noun}, {count // num_layers:,} each"
    if limit is None:
        words += ", about as long as it takes to call them"
        yield Cause(kind="tiny layers", certainty="possible", words=words)
    elif (least_s := count / limit) < TINY_SHARE * pair.reference_s:
        yield Cause(
            kind="tiny layers",
            certainty="shown",
            words=f"{words}, take {ms(least_s)} at {FLOAT32}'s measured limit, "
            f"{least_s / pair.reference_s:.1%} of the {ms(pair.reference_s)} of "
            f"{pair.reference.variant}: quicker arithmetic can save no more than that, and what "
            f"operations cost besides, quantizing among them, is {ms(pair.lost_s)} more",
            cost_s=pair.lost_s,
        )


def _without_instructions(pair: Pair, *, is_capped: bool) -> tuple[float | None, str]:
    """Return by which share kernels of lesser instructions computed, and the first of their names.

    The share is of the precision's multiply-adds by kernels whose names tell instructions; None
    where no name does. `is_capped` is whether oneDNN cannot have used those of the precision.
    """
    below: Counter[str] = Counter()
    num_told = 0
    for one in () if pair.slow.ran is None else pair.slow.ran.executed:
        kernel = one.implementation or ""
        _, colon, isa = kernel.rpartition(":")
        if one.precision != pair.claimed or not colon or (isa == _ANY and not is_capped):
            continue
        num_told += one.multiply_adds
        if isa == _ANY or isa in _BELOW.get(pair.claimed, ()):
            below[kernel] += one.multiply_adds
    if not num_told:
        return None, ""
    names = [name for name, _ in below.most_common(2)]
    return below.total() / num_told, " and ".join(names)


def _kept_off(environment: Mapping[str, str]) -> str:
    return f", since ONEDNN_MAX_CPU_ISA={onednn_cap(environment)} keeps oneDNN off them"
