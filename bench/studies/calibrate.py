"""A pytest plugin that measures how much extra work slows each cell of the suite by a given share.

`python -m bench.studies.gate calibrate` loads it into `pytest bench`, whose own options say which
cells, data and weights. No test is run.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from bench.cases import cells, variants
from bench.options import LAB, SETTINGS
from bench.outputs import torch_threads
from bench.studies.slowdown import ExtraWork, cell_key
from bench.terminal import say
from indoor.files import write_text
from indoor.measure import paired_speedup
from indoor.measure.pairs import Clock, LocalCall, Plan, measure_interleaved
from indoor.measure.worker import timed

OUT = "INDOOR_GATE_CALIBRATE_OUT"
SECONDS = "INDOOR_GATE_CALIBRATE_S"
SHARE = "INDOOR_GATE_CALIBRATE_SHARE"

NUM_UNITS = 20
"""Timed together, so that the clock's own cost vanishes."""


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Measure all cells that the suite's options name, write the file, and run no test."""
    lab = session.config.stash.get(LAB, None)
    if lab is None:
        return None
    settings = session.config.stash[SETTINGS]
    seconds, share = float(os.environ[SECONDS]), float(os.environ[SHARE])
    found: dict[str, dict[str, float]] = {}
    for cell in cells(settings):
        with torch_threads(cell.threads):
            for variant in variants(settings):
                call = lab.call(variant, cell.batch)
                key = cell_key(variant, cell.batch, cell.threads)
                found[key] = calibrate_cell(call, variant, cell.batch, key, seconds, share)
                say(
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
    key: str,
    seconds: float,
    share: float,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Measure a call beside units of extra work, then beside itself with `share` added.

    Args:
        call: The forward pass.
        variant: Its variant.
        batch: Its batch.
        key: Its `cell_key`.
        seconds: For each of the two measurements.
        share: What the check adds.
        clock: Seconds; only differences count.

    Returns:
        The medians `forward_s` and `unit_s`; and the check: `checked_share` is by how much the call
        with extra work really was slower, with its 95% interval and the number of pairs.
    """
    extra = ExtraWork()
    plan = Plan(budget_s=seconds, min_warmup_s=min(0.2, seconds), max_warmup_s=max(1.0, seconds))
    series = measure_interleaved(
        _subjects(clock, forward=call, unit=lambda: extra.do(NUM_UNITS)), plan, seed=0, clock=clock
    )
    units = {
        "forward_s": statistics.median(series["forward"].seconds),
        "unit_s": statistics.median(series["unit"].seconds) / NUM_UNITS,
    }
    slower = extra.added_to(call, variant, batch, share, {key: units})
    both = _subjects(clock, plain=call, slower=slower)
    checked = measure_interleaved(both, plan, seed=1, clock=clock)
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


def _subjects(clock: Clock, **calls: Callable[[], object]) -> dict[str, LocalCall]:
    """Return the calls as what can be measured with that clock."""
    return {name: LocalCall(timed(call, clock), clock=clock) for name, call in calls.items()}
