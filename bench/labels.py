"""The suite's rounds from photographs' bytes to labels: measured once for all tests of a cell."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from bench.adapter import clock_of
from bench.cases import Cell, variants
from bench.measuring import Shared
from bench.turns import faults_of, speedup_of, take_turns, without_the_lost
from indoor.errors import IndoorError
from indoor.machine import read_moment
from indoor.measure import MIN_PAIRS, summarize_latency
from indoor.measure.pairs import LocalCall, Series, Subject
from indoor.measure.worker import timed
from indoor.records import Measurement
from indoor.runs.partial import CellResult
from indoor.runtimes.labels import hold
from indoor.runtimes.own_process import Hosted

LABEL_SHARE = 1 / 3
"""Of a cell's time for the same from bytes: what decoding adds is seen in a few rounds."""

MAX_WARMUP_S = 1.0


@dataclass(frozen=True)
class Labels:
    """The labels that each variant gave a cell's photographs, its rounds, and who was lost."""

    names: dict[str, list[str]]
    result: CellResult
    lost: dict[str, str]

    def series(self, variant: str) -> Series:
        """Return one variant's rounds.

        Raises:
            IndoorError: It could not be measured; one line.
        """
        if variant not in self.result.series:
            raise IndoorError(self.lost[variant])
        return self.result.series[variant]


def measure_labels(shared: Shared, cell: Cell) -> Labels:
    """Measure all variants of the cell side by side, from files in memory."""
    paths = [shared.scenes().samples[place].path for place in shared.positions(cell.batch)]
    lost: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    plan = shared.plan()
    plan = dataclasses.replace(
        plan,
        budget_s=plan.budget_s * LABEL_SHARE,
        min_rounds=MIN_PAIRS,
        min_warmup_s=min(plan.min_warmup_s, MAX_WARMUP_S),
        max_warmup_s=MAX_WARMUP_S,
    )

    def subject(name: str) -> Subject:
        loaded = shared.loaded(name, cell.batch)
        if isinstance(loaded.network, Hosted):
            host = loaded.network.host
            names[name] = host.hold(name, paths, cell.threads)
            return host.subject(name, plan.max_warmup_s, labels=True)
        call = hold(loaded, paths, cell.threads)
        names[name] = call()
        return LocalCall(timed(call, clock_of(shared.config)))

    def measure(subjects: Mapping[str, Subject]) -> dict[str, Series]:
        return take_turns(
            shared.config,
            f"from bytes to labels, {cell}: {', '.join(subjects)}",
            subjects,
            plan,
            seed=cell.batch * 1000 + cell.threads,
            collects=shared.process_options()["collects"],
        )

    series = without_the_lost(variants(shared.settings), subject, measure, lost)
    measured_at, load_1min = read_moment()
    result = CellResult(
        batch=cell.batch,
        threads=cell.threads,
        series=series,
        blocked=None,
        measured_at=measured_at,
        load_1min=load_1min,
    )
    return Labels(names, result, lost)


def describe_labels(shared: Shared, cell: Cell, found: Labels, variant: str) -> Measurement:
    """Return the figures from bytes to labels of one variant."""
    series = found.series(variant)
    latency = summarize_latency(series.seconds, cell.batch)
    speedup, unpaired_reason = speedup_of(found.result, variant)
    return shared.measurement(
        "label",
        variant,
        batch=cell.batch,
        threads=cell.threads,
        latency=latency,
        photographs_per_s=1 / latency.median_s,
        minor_faults_per_photograph=faults_of(series) / cell.batch,
        num_warmup_calls=series.warmup.num_calls,
        warmup_stable=series.warmup.stable,
        speedup=speedup,
        unpaired_reason=unpaired_reason,
        measured_at=found.result.measured_at,
        load_1min=found.result.load_1min,
    )
