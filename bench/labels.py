"""The suite's rounds from photographs' bytes to labels: measured once for all tests of a cell."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from bench.adapter import clock_of
from bench.cases import Cell, variants
from bench.measuring import Shared
from bench.turns import take_turns, without_the_lost
from indoor.dataset import own_files
from indoor.errors import IndoorError
from indoor.measure import MIN_PAIRS
from indoor.measure.pairs import LocalCall, Series, Subject
from indoor.measure.worker import timed
from indoor.runs.partial import CellResult, finished_cell
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
    scenes = shared.scenes()
    chosen = [scenes.samples[place] for place in shared.positions(cell.batch)]
    paths = own_files(chosen, "timing from a file's bytes to its label")
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
    return Labels(names, finished_cell(cell, series), lost)
