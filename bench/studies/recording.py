"""Records launches of identical code beside code that is slower for sure, for replays.

It is also a pytest plugin, which `python -m bench.studies.gate calibrate` loads into `pytest
bench`: it measures how much extra work slows each cell by a given share, and runs no test.
"""

import datetime
import json
import os
import platform
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench import terminal
from bench.cases import cells, variants
from bench.options import ROOT, SETTINGS, SHARED
from bench.studies.slowdown import SLOWDOWN, UNITS, ExtraWork, cell_key
from indoor.devices import use_threads
from indoor.errors import IndoorError
from indoor.files import write_text
from indoor.gate.records import (
    GATE_SCHEMA_VERSION,
    CellTrace,
    GateReport,
    GateVerdict,
    InstrumentReport,
    LaunchTrace,
    SideIdentity,
)
from indoor.gate.settings import PlanRules
from indoor.gate.worker import (
    CONTROL,
    PLUGIN,
    Arm,
    Gauge,
    LaunchRules,
    collect_cells,
    install_plugin,
    run_launch,
)
from indoor.machine import code_identity, num_usable_cores, read_machine
from indoor.measure import paired_speedup
from indoor.measure.pairs import Clock, LocalCall, Plan, Series, measure_interleaved
from indoor.measure.worker import timed
from indoor.records import write_record

OUT = "INDOOR_GATE_CALIBRATE_OUT"
SECONDS = "INDOOR_GATE_CALIBRATE_S"
SHARE = "INDOOR_GATE_CALIBRATE_SHARE"

NUM_UNITS = 20
"""Timed together, so that the clock's own cost vanishes."""

_SLOWDOWN_PLUGIN = "gate_slowdown"


def record(
    out: Path,
    words: Sequence[str],
    *,
    num_launches: int,
    slowdowns: Sequence[float],
    units: Path,
    plan: PlanRules,
    seed: int = 0,
    say: Callable[[str], None] = lambda _line: None,
) -> list[Path]:
    """Measure base, the same again, and one arm a slowdown, all side by side in each launch.

    All arms are the working tree; a slowed one does extra work in its forward pass.

    Args:
        out: A folder; it gets `traces-0.json.gz` and `traces-PERCENT.json.gz`, written after each
            launch.
        words: pytest's, such as the data and the cells.
        num_launches: Launches of fresh processes.
        slowdowns: Shares, such as 0.05.
        units: What `python -m bench.studies.gate calibrate` wrote.
        plan: Decides the pairs of a launch.
        seed: Decides all orders.
        say: Hears a line after each launch.

    Returns:
        The files, the one of identical code first.

    Raises:
        IndoorError: A worker was lost or a test failed; what was measured is kept.
    """
    arms: dict[str, float | None] = {"base": None, "head": None}
    arms |= {f"slower-{100 * slowdown:g}": slowdown for slowdown in slowdowns}
    files = {
        arm: out / f"traces-{100 * (slowdown or 0):g}.json.gz"
        for arm, slowdown in arms.items()
        if arm != "base"
    }
    traces: dict[str, list[LaunchTrace]] = {}
    gauges: dict[str, Gauge] = {}
    order = random.Random(seed)
    blank = _blank_report(plan, seed)
    with tempfile.TemporaryDirectory(prefix="indoor-gate-record-") as scratch:
        folder = Path(scratch)
        install_plugin(folder)
        slowdown_plugin = Path(__file__).with_name("slowdown.py")
        shutil.copyfile(slowdown_plugin, folder / f"{_SLOWDOWN_PLUGIN}.py")
        rules = LaunchRules(
            plan=plan, start_s=900, hang_s=300, logs=folder, check_imports=lambda _arm, _files: None
        )
        crew = [_arm(name, slowdown, folder, words, units) for name, slowdown in arms.items()]
        found = dict.fromkeys(collect_cells(crew[0], rules).cells, tuple(arms))
        for number in range(1, num_launches + 1):
            outcome = run_launch(
                crew, found, gauges, rules, number=number, confirms=False, order=order
            )
            if isinstance(outcome.stopped, KeyboardInterrupt):
                raise outcome.stopped
            if outcome.stopped or outcome.failures:
                reason = outcome.stopped or outcome.failures[0].message
                raise IndoorError(f"launch {number} broke: {reason}; run the same command again")
            gauges |= outcome.gauges
            for cell, trace in outcome.traces.items():
                if cell != CONTROL:
                    traces.setdefault(cell, []).append(trace)
            for arm, file in files.items():
                label = blank.head.label
                if slowdown := arms[arm]:
                    label = f"{label}, forward pass {slowdown:.0%} slower"
                head = replace(blank.head, label=label)
                told = _traces_of(arm, traces, gauges)
                write_record(file, replace(blank, head=head, traces=told))
            say(f"launch {number} of {num_launches}")
    return list(files.values())


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Measure all cells that the suite's options name, write the file, and run no test."""
    shared = session.config.stash.get(SHARED, None)
    if shared is None:
        return None
    settings = session.config.stash[SETTINGS]
    seconds, share = float(os.environ[SECONDS]), float(os.environ[SHARE])
    found: dict[str, dict[str, float]] = {}
    for cell in cells(settings):
        with use_threads(cell.threads):
            for variant in variants(settings):
                call = shared.call(variant, cell.batch)
                key = cell_key(variant, cell.batch, cell.threads)
                found[key] = calibrate_cell(call, variant, cell.batch, seconds, share)
                terminal.say(
                    session.config,
                    f"{key}: {1000 * found[key]['forward_s']:.2f} ms, a unit "
                    f"{1e6 * found[key]['unit_s']:.0f} us; {share:.0%} asked for gave "
                    f"{found[key]['checked_share']:+.2%} ({found[key]['checked_low']:+.2%} to "
                    f"{found[key]['checked_high']:+.2%}, {found[key]['num_pairs']} pairs)",
                )
    write_text(Path(os.environ[OUT]), json.dumps(found, indent=1) + "\n")
    return True


def calibrate_cell(
    call: Callable[[], Tensor],
    variant: str,
    batch: int,
    seconds: float,
    share: float,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Measure a call beside units of extra work, then beside itself with `share` added.

    Args:
        call: The forward pass of `variant` at `batch`, on the threads that are set.
        variant: Its variant.
        batch: Its batch.
        seconds: For each of the two measurements.
        share: What the check adds.
        clock: Seconds; only differences count.

    Returns:
        The medians `forward_s` and `unit_s`; and the check: `checked_share` is by how much the call
        with extra work really was slower, with its 95% interval and the number of pairs.
    """
    extra = ExtraWork()
    plan = Plan(budget_s=seconds, min_warmup_s=min(0.2, seconds), max_warmup_s=max(1.0, seconds))

    def measure(seed: int, **calls: Callable[[], object]) -> dict[str, Series]:
        subjects = {
            name: LocalCall(timed(call, clock), clock=clock) for name, call in calls.items()
        }
        return measure_interleaved(subjects, plan, seed=seed, clock=clock)

    series = measure(0, forward=call, unit=lambda: extra.do(NUM_UNITS))
    units = {
        "forward_s": statistics.median(series["forward"].seconds),
        "unit_s": statistics.median(series["unit"].seconds) / NUM_UNITS,
    }
    key = cell_key(variant, batch, torch.get_num_threads())
    slower = extra.added_to(call, variant, batch, share, {key: units})
    checked = measure(1, plain=call, slower=slower)
    pairs = paired_speedup(
        checked["slower"].seconds, checked["plain"].seconds, baseline="slower", candidate="plain"
    )
    return {
        **units,
        "checked_share": pairs.speedup - 1,
        "checked_low": pairs.interval.low - 1,
        "checked_high": pairs.interval.high - 1,
        "num_pairs": pairs.num_pairs,
    }


def _arm(
    name: str, slowdown: float | None, plugins: Path, words: Sequence[str], units: Path
) -> Arm:
    slowed = {SLOWDOWN: str(slowdown), UNITS: str(units.resolve())}
    return Arm(
        name=name,
        root=ROOT,
        python=Path(sys.executable),
        words=("bench/test_latency.py", "-q", "--benchmark-disable", *words),
        search_path=(plugins, ROOT),
        environment={} if slowdown is None else slowed,
        plugins=(PLUGIN, _SLOWDOWN_PLUGIN),
    )


def _traces_of(
    arm: str, traces: Mapping[str, Sequence[LaunchTrace]], gauges: Mapping[str, Gauge]
) -> tuple[CellTrace, ...]:
    """Return base's rounds and those of one arm as head's."""
    return tuple(
        CellTrace(
            name=cell,
            iterations=gauges[cell].iterations,
            launches=tuple(
                replace(one, seconds={"base": one.seconds["base"], "head": one.seconds[arm]})
                for one in launches
            ),
        )
        for cell, launches in traces.items()
    )


def _blank_report(plan: PlanRules, seed: int) -> GateReport:
    """Return a gate's report that judges nothing and has no traces yet."""
    commit, dirty = code_identity(ROOT)
    side = SideIdentity(
        label="working tree", commit=commit, dirty=dirty, python=platform.python_version()
    )
    return GateReport(
        schema_version=GATE_SCHEMA_VERSION,
        verdict=GateVerdict.INCONCLUSIVE,
        reason="recorded for replays; nothing was judged",
        partial=True,
        base=side,
        head=side,
        cpu_model=read_machine().cpu_model,
        num_cores=num_usable_cores(),
        system=platform.platform(),
        began_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        prepare_s=0.0,
        measure_s=0.0,
        plan=plan,
        seed=seed,
        cells=(),
        checks=(),
        vanished=(),
        new=(),
        instrument=InstrumentReport(again=(), control=None, max_idle_share=None, findings=()),
        traces=(),
    )
