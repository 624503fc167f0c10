"""What one session's tests share: checkpoints, photographs, loaded variants, measured cells."""

import random
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from bench.adapter import clock_of, session_of
from bench.cases import MEMORY_BATCH, Cell, cells, variants
from bench.options import Settings
from bench.probe import measure_apart
from bench.terminal import QuietBar, uncaptured
from indoor.dataset import IndoorScenes
from indoor.machine import num_usable_cores, read_moment
from indoor.measure import MIN_PAIRS, current_allocator, paired_speedup, summarize_latency
from indoor.measure.pairs import LocalCall, Plan, Series, measure_blocked, measure_interleaved
from indoor.measure.worker import timed
from indoor.pipeline import Prepared
from indoor.records import (
    SCHEMA_VERSION,
    Allocator,
    Case,
    Measurement,
    PairedSpeedup,
    RunIdentity,
)
from indoor.runs.partial import CellResult, PartialRun
from indoor.runtimes import Loaded, all_variants, baseline, load_variant
from indoor.transforms import inference_transform

MIN_ROUNDS = 12
"""Pairs of a cell at least, however slow it is: enough for an interval that leaves two out."""

NUM_BLOCKED_CALLS = 6


class Lab:
    """Loads and measures on first use; a cell is measured once for all of its tests."""

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        prepared: Prepared,
        identity: RunIdentity,
        finished: PartialRun,
    ) -> None:
        self.settings = settings
        self.prepared = prepared
        self.identity = identity
        self.allocator = current_allocator()
        self._config = config
        self._finished = finished
        self._variants: dict[str, Loaded] = {}
        self._references: dict[Cell, Tensor] = {}
        self._cells: dict[tuple[Allocator, Cell], CellResult] = {}
        self._scenes: IndoorScenes | None = None
        self._inputs = torch.empty(0)

    def photographs(self, batch: int) -> Tensor:
        """Return `batch` transformed photographs of the test split, float32 `(B, 3, H, W)`.

        A split that is smaller than the batch is gone through again.
        """
        if len(self._inputs) < batch:
            scenes = self.scenes()
            count = max(batch, *self.settings.suite_batches)
            positions = self.positions(count)
            self._inputs = torch.stack([scenes[position][0] for position in positions])
        return self._inputs[:batch]

    def positions(self, count: int) -> list[int]:
        """Return places in the test split, at random (its list is sorted by class) but fixed.

        A longer list begins with a shorter one.
        """
        order = list(range(len(self.scenes())))
        random.Random(0).shuffle(order)
        return [order[i % len(order)] for i in range(count)]

    def scenes(self) -> IndoorScenes:
        """Return the test split, transformed as for inference."""
        if self._scenes is None:
            self._scenes = IndoorScenes(
                self.prepared.root,
                "test",
                inference_transform(self.prepared.manifest.preprocessing),
                skip_broken=self.settings.skip_broken,
            )
        return self._scenes

    @property
    def most_threads(self) -> int:
        """The largest number of threads of the matrix."""
        return self.settings.suite_threads(num_usable_cores())[-1]

    def call(self, variant: str, batch: int) -> Callable[[], Tensor]:
        """Return a function that computes the variant's logits of one batch of photographs."""
        if variant not in self._variants:
            self._variants[variant] = load_variant(
                all_variants()[variant], self.prepared.run_folder
            )
        return partial(self._variants[variant], self.photographs(batch))

    def reference(self, cell: Cell) -> Tensor:
        """Return float32's logits of the cell's photographs, on as many threads as are set."""
        if cell not in self._references:
            self._references[cell] = self.call(baseline().name, cell.batch)()
        return self._references[cell]

    def plan(self) -> Plan:
        """Return how long to measure a cell."""
        options = session_of(self._config).options
        cell_s = self.settings.cell_s
        return Plan(
            budget_s=cell_s,
            min_rounds=max(MIN_ROUNDS, options["min_rounds"]),
            min_warmup_s=min(0.2, cell_s),
            max_warmup_s=max(1.0, cell_s / 4),
        )

    def cell(self, cell: Cell) -> CellResult:
        """Return the cell's rounds: measured now, or by the run that this one goes on with."""
        key = (self.allocator, cell)
        if key not in self._cells:
            names = variants(self.settings)
            known = self._finished.load(cell, names, self.allocator)
            self._cells[key] = known or self._measure(cell, names)
        return self._cells[key]

    def cell_with(self, allocator: Allocator, cell: Cell) -> CellResult:
        """Return a cell's rounds from a fresh process with that allocator; as `cell` otherwise."""
        key = (allocator, cell)
        if key not in self._cells:
            names = variants(self.settings)
            known = self._finished.load(cell, names, allocator)
            self._cells[key] = known or self._finished.store(
                cell,
                names,
                allocator,
                measure_apart(
                    self.prepared.run_folder,
                    names,
                    self.photographs(cell.batch),
                    cell.threads,
                    self.plan(),
                    allocator,
                ),
                None,
            )
        return self._cells[key]

    def describe_latency(
        self, cell: CellResult, variant: str, allocator: Allocator, output_sqnr_db: float | None
    ) -> Measurement:
        """Return one variant's figures of a measured cell."""
        series = cell.series[variant]
        latency = summarize_latency(series.seconds, cell.batch)
        speedup, unpaired_reason = _speedup(cell, variant)
        return self.measurement(
            "latency",
            variant,
            batch=cell.batch,
            threads=cell.threads,
            allocator=allocator,
            latency=latency,
            photographs_per_s=1 / latency.median_s,
            minor_faults_per_photograph=_faults(series) / cell.batch,
            num_warmup_calls=series.warmup.num_calls,
            warmup_stable=series.warmup.stable,
            output_sqnr_db=output_sqnr_db,
            speedup=speedup,
            unpaired_reason=unpaired_reason,
            measured_at=cell.measured_at,
            load_1min=cell.load_1min,
            resumed=cell.resumed,
        )

    def measurement(self, case: Case, variant: str | None = None, **fields: object) -> Measurement:
        """Return our part of a benchmark's result, with the run's identity in it."""
        known = None if variant is None else all_variants()[variant]
        measured_at, load_1min = read_moment()
        values: dict[str, object] = {
            "batch": None,
            "threads": None,
            "allocator": self.allocator,
            "measured_at": measured_at,
            "load_1min": load_1min,
            "resumed": False,
            **fields,
        }
        return Measurement(
            schema_version=SCHEMA_VERSION,
            case=case,
            variant=variant,
            runtime=None if known is None else known.runtime,
            precision=None if known is None else known.precision,
            device=None if known is None else known.device,
            run=self.identity,
            **values,  # type: ignore[arg-type]
        )

    def _measure(self, cell: Cell, names: tuple[str, ...]) -> CellResult:
        clock = clock_of(self._config)
        calls = {name: LocalCall(timed(self.call(name, cell.batch), clock)) for name in names}
        words = f"{cell}: {', '.join(names)}"
        with uncaptured(self._config), QuietBar(self._config, words) as bar:
            series = measure_interleaved(
                calls,
                self.plan(),
                seed=cell.batch * 1000 + cell.threads,
                clock=clock,
                after_round=bar.update,
            )
        blocked = None
        if len(calls) > 1 and cell == self._blocked_cell():
            blocked = measure_blocked(calls, NUM_BLOCKED_CALLS)
        return self._finished.store(cell, names, self.allocator, series, blocked)

    def _blocked_cell(self) -> Cell:
        """Return the cell that is measured in blocks, too: batch 8 or near it, all threads."""
        return min(cells(self.settings), key=lambda c: (abs(c.batch - MEMORY_BATCH), -c.threads))


def _speedup(cell: CellResult, variant: str) -> tuple[PairedSpeedup | None, str | None]:
    """Return the speedup over float32 measured beside it, or why there is none to claim."""
    first = baseline().name
    if first not in cell.series:
        return None, f"{first} was not measured beside it"
    if len(cell.series) == 1:
        return None, "it was measured alone"
    if variant == first:
        return None, None
    seconds = cell.series[first].seconds
    if len(seconds) < MIN_PAIRS:
        return None, f"{len(seconds)} pairs are too few for a 95% interval"
    blocked = cell.blocked
    return (
        paired_speedup(
            seconds,
            cell.series[variant].seconds,
            baseline=first,
            candidate=variant,
            blocked=None if blocked is None else (blocked[first], blocked[variant]),
        ),
        None,
    )


def _faults(series: Series) -> float:
    return sum(series.num_faults) / len(series.num_faults)
