"""The answer of a run in one sentence: eager against eager, and best against best."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from indoor.records import Allocator, Measurement, Variant
from indoor.report import units
from indoor.report.best import Best, Contest, best_of_each, contest
from indoor.report.verdict import Verdict, describe_speedup, verdict
from indoor.runs.results import RunResult
from indoor.runs.select import (
    MeanSpeedup,
    cells,
    described,
    headline_cells,
    mean_speedups,
    pairs,
    variants,
)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The verdict on int8, or on whatever else is judged, and the cells it is taken from.

    `threads` and `allocator` are None where no case of the matrix was measured; `cells` are those
    at that thread count, by variant and batch; `means` holds each variant's geometric mean where
    it has paired speedups, and `verdicts` that of each judged variant that was timed. `bests` are
    the fastest of each precision that ran, where one was chosen from several, and `contests` what
    is judged among them against the others.
    """

    threads: int | None = None
    allocator: Allocator | None = None
    cells: Mapping[tuple[str, int], Measurement] = field(default_factory=dict)
    means: Mapping[str, MeanSpeedup] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    bests: tuple[Best, ...] = ()
    contests: tuple[Contest, ...] = ()
    sentence: str

    @property
    def batches(self) -> tuple[int, ...]:
        """The batches that were timed at that thread count, ascending."""
        return tuple(sorted({batch for _, batch in self.cells}))


def speedup_sentence(result: RunResult) -> str:
    """Return one sentence: int8 pays, does not, or this run cannot tell, with its figures.

    Where bfloat16 was measured, the sentence says what of the speedup bfloat16 alone gives.
    """
    return headline(result).sentence


def headline(result: RunResult) -> Headline:
    """Return the verdicts at the run's largest thread count, and what it rests on."""
    place = headline_cells(result)
    if place is None:
        return Headline(
            sentence="This run cannot tell whether int8 pays: no forward pass was timed."
        )
    allocator, threads = place
    timed = cells(result, allocator, threads)
    means = mean_speedups(variants(result), timed)
    kinds = described(result)
    names = {name for name, _ in timed}
    judged = {
        name: _judge(result, kind, means.get(name))
        for name, kind in kinds.items()
        if kind.role == "judged" and name in names
    }
    bests, contests = _contests(result, allocator, threads)
    sentences = [_sentence(kinds, judged, means, threads)]
    if contests:
        sentences.append(_best_sentence(result, contests, means))
    return Headline(
        threads=threads,
        allocator=allocator,
        cells=timed,
        means=means,
        verdicts=judged,
        bests=bests,
        contests=contests,
        sentence=" ".join(sentences),
    )


def _judge(
    result: RunResult, kind: Variant, mean: MeanSpeedup | None, baseline: str | None = None
) -> Verdict:
    record = result.cases[0].measurement.run.quantization
    check = record.check if record is not None and kind.checkpoint == "int8" else None
    if baseline is None:
        baseline = next(
            (one.name for one in described(result).values() if one.role == "baseline"), "float32"
        )
    return verdict(
        kind.name,
        speedup=None if mean is None else (mean.value, mean.interval),
        accuracy=pairs(result).get(kind.name),
        findings=() if check is None else check.findings,
        baseline=baseline,
    )


def _contests(
    result: RunResult, allocator: Allocator, threads: int
) -> tuple[tuple[Best, ...], tuple[Contest, ...]]:
    """Return the bests, and those of judged precisions against the others; nothing to choose: none.

    The baseline's precision comes first of the others, as tables have it.
    """
    bests = best_of_each(result, allocator, threads)
    judged = {one.precision for one in described(result).values() if one.role == "judged"}
    if all(best.num_variants == 1 for best in bests.values()):
        return (), ()
    found = (
        contest(best, other)
        for precision, best in bests.items()
        if precision in judged
        for other in bests.values()
        if other.precision not in judged
    )
    return tuple(bests.values()), tuple(one for one in found if one is not None)


def _best_sentence(
    result: RunResult, contests: tuple[Contest, ...], means: Mapping[str, MeanSpeedup]
) -> str:
    """Return best against best in words, with how each was chosen."""
    chosen = {one.precision: one for c in contests for one in (c.candidate, c.baseline)}
    counts = [f"{one.num_variants} {precision}" for precision, one in chosen.items()]
    parts = []
    for name in dict.fromkeys(one.candidate.name for one in contests):
        first, *others = (one for one in contests if one.candidate.name == name)
        judged = _judge(result, described(result)[name], first.mean, first.baseline.name)
        parts.append(judged.sentence.removesuffix("."))
        parts += [
            f"it is {describe_speedup(one.mean.value, one.mean.interval)} as fast as "
            f"{one.baseline.name}"
            for one in others
        ]
    alone = contests[0].baseline.name
    if mean := means.get(alone):
        parts.append(
            f"{alone} by itself is {describe_speedup(mean.value, mean.interval)} as fast as eager"
        )
    return (
        f"Best against best (the fastest of {units.listed(counts)}, chosen by their medians in "
        f"this same run, which the intervals do not count): {'; '.join(parts)}."
    )


def _sentence(
    kinds: Mapping[str, Variant],
    judged: Mapping[str, Verdict],
    means: Mapping[str, MeanSpeedup],
    threads: int,
) -> str:
    if not judged:
        return "This run cannot tell whether int8 pays: it did not time int8."
    base = next((one for one in kinds.values() if one.role == "baseline"), None)
    same = {n for n, kind in kinds.items() if base is None or kind.runtime == base.runtime}
    told = {n: one for n, one in judged.items() if n in same} or judged
    sentences = []
    for name, found in told.items():
        text = found.sentence.removesuffix(".")
        if mean := means.get(name):
            opening, _, rest = text.partition(": ")
            where = f"at {units.batches(mean.batches)} with {units.threads(threads)}"
            text = f"{opening}: {where} it is {rest}"
        sentences.append(text)
    over = {means[name].batches for name in told if name in means}
    for name, mean in means.items():
        kind = kinds[name]
        if base is not None and (name not in same or kind.precision == base.precision):
            continue  # another runtime's, which is not what leaving calibration out gives
        if over and kind.role == "plain":
            where = "" if over == {mean.batches} else f" ({units.batches(mean.batches)})"
            sentences[-1] += (
                f"; {name}, which needs no calibration, gives "
                f"{describe_speedup(mean.value, mean.interval)} by itself{where}"
            )
    return f"{'. '.join(sentences)}."
