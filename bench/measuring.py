"""What one session's tests share: checkpoints, photographs, loaded variants, measured cells."""

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.adapter import clock_of, session_of
from bench.cases import MEMORY_BATCH, Cell, cells, limits, memory_batch, variants
from bench.options import LONGEST_CELLS, Settings
from bench.terminal import say
from bench.turns import (
    busy_threads,
    faults_of,
    garbage,
    speedup_of,
    take_turns,
    watch_the_idle,
    without_the_lost,
)
from indoor.dataset import IndoorScenes
from indoor.devices import timed_on
from indoor.errors import IndoorError
from indoor.machine import num_usable_cores, read_moment
from indoor.measure import allocator_environment, current_allocator, summarize_latency
from indoor.measure.pairs import LocalCall, Plan, Series, Subject, measure_blocked
from indoor.measure.proof import judge, kept_in_float32
from indoor.measure.tails import PERCENTILES, min_calls, mlperf_tails
from indoor.measure.threads import MAX_IDLE_CPUS
from indoor.model import multiply_adds
from indoor.pipeline import Prepared, refuse_changed
from indoor.records import (
    SCHEMA_VERSION,
    Allocator,
    Case,
    Measurement,
    Precision,
    Ran,
    RunIdentity,
    Variant,
)
from indoor.runs.partial import CellResult, PartialRun
from indoor.runtimes import Loaded, all_variants, baseline, load_variant
from indoor.runtimes.artefact_manifest import MANIFEST, read_artefact
from indoor.runtimes.limits import Limit, measure_limits
from indoor.runtimes.own_process import Host, Hosted, ProcessOptions, time_loads
from indoor.runtimes.proof import prove
from indoor.runtimes.side_by_side import Throughput, measure_throughput
from indoor.transforms import inference_transform

MIN_ROUNDS = 12
"""Pairs of a cell at least, however slow it is: enough for an interval that leaves two out."""

MAX_ROUNDS = 1000
NUM_BLOCKED_CALLS = 6

THROUGHPUT_S = 3.0
LIMIT_S = 0.15
"""For each kernel of a precision and number of threads, at the run's start and its end."""


class Shared:
    """Loads and measures on first use; a cell is measured once for all of its tests.

    `began` is when the run did, in seconds since the epoch: what is older it found.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        prepared: Prepared,
        identity: RunIdentity,
        partial_run: PartialRun,
        began: float = 0.0,
    ) -> None:
        self.settings = settings
        self.prepared = prepared
        self._began = began
        self.identity = identity
        self.allocator = current_allocator()
        self.config = config
        self._partial_run = partial_run
        self._loaded: dict[str, tuple[tuple[int | None, ...], Loaded]] = {}
        self._lost: dict[tuple[Allocator, Cell], dict[str, str]] = {}
        self._references: dict[Cell, Tensor] = {}
        self._cells: dict[tuple[Allocator, Cell], CellResult] = {}
        self._limits: tuple[Limit, ...] = ()
        self._idle: dict[tuple[Allocator, Cell], dict[str, float]] = {}
        self._proved: dict[str, Precision] = {}
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

    def variant(self, name: str) -> Variant:
        """Return the variant of that name on the session's device."""
        return all_variants(self.settings.device)[name]

    def loaded(self, name: str, batch: int) -> Loaded:
        """Return the variant ready for that batch and the threads that torch is set to.

        One that lives in a process of its own gets a new one whenever either changes.
        """
        known = self.variant(name)
        fixed = (
            batch if known.own_process or known.static_batch else None,
            torch.get_num_threads() if known.own_process else None,
        )
        if name in self._loaded and self._loaded[name][0] != fixed:
            self._loaded.pop(name)[1].close()
        if name not in self._loaded:
            options = self.process_options() if known.own_process else ProcessOptions()
            loaded = load_variant(known, self.prepared.run_folder, batch, **options)
            self._loaded[name] = fixed, loaded
            for line in loaded.notes:
                say(self.config, line)
        return self._loaded[name][1]

    def call(self, variant: str, batch: int) -> Callable[[], Tensor]:
        """Return a function that computes the variant's logits of one batch of photographs."""
        images = self.photographs(batch).to(self.settings.device)
        return partial(self.loaded(variant, batch), images)

    def ran(self, variant: str, batch: int) -> Ran:
        """Return what one more call of the variant really computes with.

        Raises:
            IndoorError: It claims what it did not compute with; one line.
        """
        ran, proof = prove(self.loaded(variant, batch), self.photographs(batch))
        self._proved[variant] = proof.precision or proof.claimed
        return ran

    def refuse_a_lie(self, variant: str, batch: int) -> None:
        """Ask what the variant computes with, unless another of its cases did.

        Raises:
            IndoorError: It claims what it did not compute with; one line.
        """
        if variant not in self._proved:
            self.ran(variant, batch)

    def time_loads(self, variant: str, num_loads: int, batch: int) -> list[float]:
        """Return the seconds of loads of a variant from its file."""
        folder, options = self.prepared.run_folder, self.process_options()
        return time_loads(self.variant(variant), folder, num_loads, batch, **options)

    def build_s(self, variant: str, batch: int) -> float | None:
        """Return the seconds that making its artefact took; None where this run found one."""
        artefact = self.loaded(variant, batch).artefact
        if not artefact.is_dir():
            return None  # the checkpoint itself
        known = read_artefact(artefact)
        made_here = known and (artefact / MANIFEST).stat().st_mtime >= self._began
        return known.build_s if known and made_here else None

    def reference(self, cell: Cell) -> Tensor:
        """Return the baseline's logits of the cell's photographs, on as many threads as are set."""
        if cell not in self._references:
            self._references[cell] = self.call(baseline().name, cell.batch)()
        return self._references[cell]

    def busy_threads(self, cell: Cell, variant: str, call: Callable[[], Tensor]) -> int | None:
        """Return how many threads of the variant's process compute in its call of the cell.

        Raises:
            IndoorError: They are others than were asked for; one line.
        """
        if self.settings.device != "cpu":
            return None
        return busy_threads(self.loaded(variant, cell.batch), cell, call, self.settings.cell_s)

    def plan(self, batch: int | None = None) -> Plan:
        """Return how long to measure a cell of that batch.

        MLPerf's single stream is one photograph after another, so that its percentiles get their
        rounds there; elsewhere they are told of the rounds that there are.
        """
        cell_s = self.settings.cell_s
        min_rounds = max(MIN_ROUNDS, session_of(self.config).options["min_rounds"])
        single = batch == 1 and self.settings.percentiles is not None
        return Plan(
            budget_s=cell_s,
            min_rounds=min_rounds,
            max_rounds=max(min_calls(PERCENTILES[-1]) if single else MAX_ROUNDS, min_rounds),
            min_warmup_s=min(0.2, cell_s),
            max_warmup_s=max(1.0, cell_s / 4),
            wanted_rounds=min_calls(99.0) if single else 0,
            longest_s=LONGEST_CELLS * cell_s if single else 0.0,
        )

    def cell(self, cell: Cell, allocator: Allocator | None = None) -> CellResult:
        """Return the cell's rounds: measured now, or by the run that this one goes on with.

        With another allocator than this process has, they are measured in fresh processes. A
        variant that could not be measured is not among them; `rounds` says why.
        """
        key = (allocator or self.allocator, cell)
        if key not in self._cells:
            names = variants(self.settings)
            self._cells[key] = self._partial_run.load(cell, names, key[0]) or self._measure(
                cell, names, key[0]
            )
        return self._cells[key]

    def rounds(self, cell: Cell, variant: str, allocator: Allocator | None = None) -> Series:
        """Return one variant's rounds of a cell.

        Raises:
            IndoorError: It could not be measured; one line.
        """
        result = self.cell(cell, allocator)
        if variant not in result.series:
            raise IndoorError(self._lost[allocator or self.allocator, cell][variant])
        return result.series[variant]

    def describe_latency(
        self,
        cell: Cell,
        variant: str,
        allocator: Allocator | None = None,
        **found: Any,
    ) -> Measurement:
        """Return one variant's figures of a cell that was measured with it, and what was found."""
        result = self.cell(cell, allocator)
        seconds = result.series[variant].seconds
        return self.describe_rounds(
            "latency",
            variant,
            result,
            allocator=allocator or self.allocator,
            tails=mlperf_tails(seconds, cell.batch) if self.settings.percentiles else (),
            idle_share=result.idle.get(variant),
            **found,
        )

    def describe_rounds(
        self, case: Case, variant: str, result: CellResult, **found: Any
    ) -> Measurement:
        """Return the figures of one variant's rounds among a cell's, and what was found."""
        series = result.series[variant]
        latency = summarize_latency(series.seconds, result.batch)
        speedup, unpaired_reason = speedup_of(result, variant)
        return self.measurement(
            case,
            variant,
            batch=result.batch,
            threads=result.threads,
            latency=latency,
            photographs_per_s=1 / latency.median_s,
            minor_faults_per_photograph=faults_of(series) / result.batch,
            num_warmup_calls=series.warmup.num_calls,
            warmup_stable=series.warmup.stable,
            speedup=speedup,
            unpaired_reason=unpaired_reason,
            measured_at=result.measured_at,
            load_1min=result.load_1min,
            resumed=result.resumed,
            **found,
        )

    def throughput(self, variant: str, num_processes: int) -> Throughput:
        """Return what so many processes of one thread compute side by side."""
        return measure_throughput(
            self.variant(variant),
            self.prepared.run_folder,
            self.photographs(memory_batch(self.settings)),
            num_processes=num_processes,
            for_s=min(THROUGHPUT_S, self.settings.cell_s),
            **self.process_options(),
        )

    def try_limits(self) -> tuple[Limit, ...]:
        """Measure this machine's limits once more, and return all that were found so far."""
        threads = dict.fromkeys(count for _, count in limits(self.settings))
        kernel_s = min(LIMIT_S, self.settings.cell_s / 100)
        self._limits += measure_limits(tuple(threads), kernel_s)
        return self._limits

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """What kernels reached at the run's start and at its end, which is now."""
        return self.try_limits()

    def measurement(
        self,
        case: Case,
        variant: str | None = None,
        ran: Ran | None = None,
        ran_batch: int | None = None,
        **fields: object,
    ) -> Measurement:
        """Return our part of a benchmark's result, with the run's identity and what ran in it.

        `ran_batch` is how many photographs `ran` is about; None for the case's own batch.

        Raises:
            IndoorError: Another command changed the run's checkpoints meanwhile, or the variant
                claims what it did not compute with.
        """
        refuse_changed(self.prepared.run_folder, self.prepared.checkpoint_sha256)
        known = None if variant is None else self.variant(variant)
        measured_at, load_1min = read_moment()
        values: dict[str, object] = {
            "batch": None,
            "threads": None,
            "allocator": self.allocator,
            "measured_at": measured_at,
            "load_1min": load_1min,
            "resumed": False,
            "precision": None if known is None else self._proved.get(known.name, known.precision),
            "multiply_adds": None if known is None else self._multiply_adds,
            **fields,
        }
        if known is not None and ran is not None:
            batch = ran_batch or fields.get("batch")
            assert isinstance(batch, int)
            num_all = batch * self._multiply_adds
            kept = kept_in_float32(known, self.prepared.quantization, num_all)
            proof = judge(known, ran, num_all, kept)
            values["precision"] = proof.precision or known.precision
        return Measurement(
            schema_version=SCHEMA_VERSION,
            case=case,
            variant=variant,
            runtime=None if known is None else known.runtime,
            device=None if known is None else known.device,
            run=self.identity,
            ran=ran,
            **values,  # type: ignore[arg-type]
        )

    @cached_property
    def _multiply_adds(self) -> int:
        manifest = self.prepared.manifest
        size = manifest.preprocessing.size
        return multiply_adds(manifest.arch, len(manifest.classes), size)

    def _measure(self, cell: Cell, names: tuple[str, ...], allocator: Allocator) -> CellResult:
        lost = self._lost.setdefault((allocator, cell), {})
        blocked = None
        with ExitStack() as stack:
            fresh = None if allocator == self.allocator else self._hosts(cell, allocator, stack)

            def take_turns(subjects: Mapping[str, Subject]) -> dict[str, Series]:
                nonlocal blocked
                series, blocked = self._take_turns(cell, subjects, allocator)
                return series

            series = without_the_lost(
                names, lambda name: self._subject(name, cell, fresh), take_turns, lost
            )
        refuse_changed(self.prepared.run_folder, self.prepared.checkpoint_sha256)
        idle = self._idle.get((allocator, cell))
        return self._partial_run.store(cell, names, allocator, series, blocked, idle)

    def _take_turns(
        self, cell: Cell, subjects: Mapping[str, Subject], allocator: Allocator
    ) -> tuple[dict[str, Series], dict[str, tuple[float, ...]] | None]:
        def look() -> None:
            idle, own = watch_the_idle(subjects, self.settings.cell_s)
            self._idle[allocator, cell] = idle
            if own > MAX_IDLE_CPUS:
                say(self.config, f"WARNING: {cell}: this process uses {own:.2f} CPUs idly")

        words = f"{cell}: {', '.join(subjects)}"
        seed, collects = cell.batch * 1000 + cell.threads, self.process_options()["collects"]
        series = take_turns(
            self.config,
            words,
            subjects,
            self.plan(cell.batch),
            seed=seed,
            collects=collects,
            after_warmup=look,
        )
        if len(subjects) > 1 and (allocator, cell) == (self.allocator, self._blocked_cell()):
            with garbage(collects=collects):
                return series, measure_blocked(subjects, NUM_BLOCKED_CALLS)
        return series, None

    def _subject(self, name: str, cell: Cell, fresh: Mapping[str, Host] | None) -> Subject:
        """Return the variant's calls in its process: a fresh one, its own, or this one."""
        network = None if fresh is not None else self.loaded(name, cell.batch).network
        if fresh is not None:
            host = fresh[name]
            host.load(self.variant(name))
        elif isinstance(network, Hosted):
            host = network.host
        else:
            call, clock = self.call(name, cell.batch), clock_of(self.config)
            return LocalCall(timed_on(self.settings.device, call, clock))
        host.show(self.photographs(cell.batch))
        return host.subject(name, self.plan().max_warmup_s)

    def _hosts(self, cell: Cell, allocator: Allocator, stack: ExitStack) -> dict[str, Host]:
        """Return a process for each variant: one together for those that can share one."""
        names = variants(self.settings)
        together = [name for name in names if not self.variant(name).own_process]
        groups = [together, *([name] for name in names if name not in together)]
        hosts: dict[str, Host] = {}
        for group in filter(None, groups):
            host = Host(
                ", ".join(group),
                self.prepared.run_folder,
                batch=cell.batch,
                threads=cell.threads,
                environment=allocator_environment(allocator),
                **self.process_options(),
            )
            stack.callback(host.close)
            hosts |= dict.fromkeys(group, host)
        return hosts

    def process_options(self) -> ProcessOptions:
        """Return how processes of a variant's own time, as pytest-benchmark was told."""
        options = session_of(self.config).options
        return {"clock": str(options["timer"]), "collects": not options["disable_gc"]}

    def _blocked_cell(self) -> Cell:
        """Return the cell that is measured in blocks, too: batch 8 or near it, all threads."""
        return min(cells(self.settings), key=lambda c: (abs(c.batch - MEMORY_BATCH), -c.threads))
