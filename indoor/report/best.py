"""The fastest variant of each precision of a run, and the ratios of the fastest to each other."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from indoor.records import Allocator, Precision
from indoor.runs.ratios import paired_ratio
from indoor.runs.results import MeasuredCase, RunResult
from indoor.runs.select import (
    MeanSpeedup,
    batch_sizes,
    described,
    headline_batches,
    latencies,
    mean_speedup,
    precision_that_ran,
)


@dataclass(frozen=True, kw_only=True)
class Best:
    """The variant of a precision with the lowest geometric mean of its medians.

    `precision` is the one that ran, `num_variants` says of how many it was chosen, and `cases` are
    its cells by batch.
    """

    name: str
    precision: Precision
    num_variants: int
    cases: Mapping[int, MeasuredCase]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """How many times as fast the best of one precision is as another's, from pairs of a run."""

    candidate: Best
    baseline: Best
    mean: MeanSpeedup


def best_of_each(result: RunResult, allocator: Allocator, threads: int) -> dict[Precision, Best]:
    """Return the best variant of each precision that ran, in the order of tables.

    A variant that lacks one of the batches that count, or whose cells ran in several precisions,
    is not among them.
    """
    cases = [c for c in latencies(result, allocator) if c.measurement.threads == threads]
    batches = headline_batches(batch_sizes(cases))
    groups: dict[Precision, list[tuple[float, str, dict[int, MeasuredCase]]]] = {}
    for name in described(result):
        own = {
            case.measurement.batch: case
            for case in cases
            if case.measurement.variant == name
            and case.measurement.latency is not None
            and case.measurement.batch in batches
        }
        ran = {precision_that_ran(case.measurement) for case in own.values()}
        (precision, *others) = ran or {None}
        if precision is None or others or len(own) < len(batches):
            continue
        by_batch = {batch: own[batch] for batch in batches}
        logs = [math.log(case.rounds.median_s / batch) for batch, case in by_batch.items()]
        groups.setdefault(precision, []).append((math.fsum(logs) / len(logs), name, by_batch))
    found = {}
    for precision, known in groups.items():
        _, name, by_batch = min(known, key=lambda one: one[0])
        found[precision] = Best(
            name=name, precision=precision, num_variants=len(known), cases=by_batch
        )
    return found


def contest(candidate: Best, baseline: Best) -> Contest | None:
    """Return the ratio of two bests; None where a batch has too few pairs, or they are one."""
    ratios = {
        batch: paired_ratio(baseline.cases[batch], case) for batch, case in candidate.cases.items()
    }
    known = {batch: ratio for batch, ratio in ratios.items() if ratio is not None}
    mean = mean_speedup(known)
    if mean is None or len(known) < len(ratios) or candidate.name == baseline.name:
        return None
    return Contest(candidate=candidate, baseline=baseline, mean=mean)
