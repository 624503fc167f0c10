"""Records launches of identical code beside code that is slower for sure, for replays."""

import datetime
import platform
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.options import ROOT
from bench.studies.slowdown import SLOWDOWN, UNITS
from indoor.errors import IndoorError
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
    run_launch,
)
from indoor.machine import code_identity, num_usable_cores, read_machine
from indoor.measure import worker
from indoor.records import write_record

SLOWDOWN_PLUGIN = "gate_slowdown"


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
        out: A folder; it gets `traces-0.json` and `traces-PERCENT.json`, written after each launch.
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
    arms = ["base", "head", *(_arm_name(slowdown) for slowdown in slowdowns)]
    traces: dict[str, list[LaunchTrace]] = {}
    gauges: dict[str, Gauge] = {}
    order = random.Random(seed)
    began_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    files = [out / "traces-0.json", *(out / f"traces-{_percent(s)}.json" for s in slowdowns)]
    with tempfile.TemporaryDirectory(prefix="indoor-gate-record-") as scratch:
        folder = Path(scratch)
        rules = LaunchRules(
            plan=plan, start_s=900, hang_s=300, logs=folder, check_imports=lambda _arm, _files: None
        )
        crew = [_arm(name, folder, words, units) for name in arms]
        cells = dict.fromkeys(collect_cells(crew[0], rules).cells, tuple(arms))
        for number in range(1, num_launches + 1):
            outcome = run_launch(
                crew, cells, gauges, rules, number=number, confirms=False, order=order
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
            for file, arm, slowdown in zip(files, arms[1:], (0.0, *slowdowns), strict=True):
                write_record(file, _report(traces, gauges, arm, slowdown, plan, seed, began_at))
            say(f"launch {number} of {num_launches}")
    return files


def _arm_name(slowdown: float) -> str:
    return f"slower-{_percent(slowdown)}"


def _percent(slowdown: float) -> str:
    return f"{100 * slowdown:g}"


def _arm(name: str, folder: Path, words: Sequence[str], units: Path) -> Arm:
    """Return an arm in the working tree; a slowed one's name says by how much."""
    plugins = folder / "plugins"
    if not plugins.exists():
        plugins.mkdir()
        source = Path(worker.__file__)
        shutil.copyfile(source, plugins / f"{PLUGIN}.py")
        shutil.copyfile(Path(__file__).with_name("slowdown.py"), plugins / f"{SLOWDOWN_PLUGIN}.py")
    share = float(name.removeprefix("slower-")) / 100 if name.startswith("slower-") else None
    return Arm(
        name=name,
        root=ROOT,
        python=Path(sys.executable),
        words=("bench/test_latency.py", "-q", "--benchmark-disable", *words),
        search_path=(plugins, ROOT),
        environment={} if share is None else {SLOWDOWN: str(share), UNITS: str(units.resolve())},
        plugins=(PLUGIN, SLOWDOWN_PLUGIN),
    )


def _report(
    traces: dict[str, list[LaunchTrace]],
    gauges: dict[str, Gauge],
    arm: str,
    slowdown: float,
    plan: PlanRules,
    seed: int,
    began_at: str,
) -> GateReport:
    """Return the launches of base and one arm as a gate's report that judges nothing."""
    commit, dirty = code_identity(ROOT)
    side = SideIdentity(
        label="working tree", commit=commit, dirty=dirty, python=platform.python_version()
    )
    slower = f"working tree, forward pass {slowdown:.0%} slower" if slowdown else "working tree"
    return GateReport(
        schema_version=GATE_SCHEMA_VERSION,
        verdict=GateVerdict.INCONCLUSIVE,
        reason="recorded for replays; nothing was judged",
        partial=True,
        base=side,
        head=replace(side, label=slower),
        cpu_model=read_machine().cpu_model,
        num_cores=num_usable_cores(),
        system=platform.platform(),
        began_at=began_at,
        prepare_s=0.0,
        measure_s=0.0,
        plan=plan,
        seed=seed,
        cells=(),
        checks=(),
        vanished=(),
        new=(),
        instrument=InstrumentReport(again=(), control=None, max_idle_share=None, findings=()),
        traces=tuple(
            CellTrace(
                name=cell,
                iterations=gauges[cell].iterations,
                launches=tuple(
                    replace(
                        launch,
                        seconds={"base": launch.seconds["base"], "head": launch.seconds[arm]},
                    )
                    for launch in launches
                ),
            )
            for cell, launches in traces.items()
        ),
    )
