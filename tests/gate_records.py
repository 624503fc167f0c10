"""Gate runs that never took place, for tests of what is said of them."""

from dataclasses import replace
from typing import Any

from indoor.gate.decide.verdicts import combine
from indoor.gate.records import (
    GATE_SCHEMA_VERSION,
    CellReport,
    CellTrace,
    CheckReport,
    GateReport,
    GateVerdict,
    InstrumentReport,
    LaunchTrace,
    SideIdentity,
)
from indoor.gate.settings import PlanRules
from indoor.records import Interval

FORWARD = "bench/test_latency.py::test_forward"

BASE = SideIdentity(
    label="origin/main",
    commit="0123456789abcdef0123456789abcdef01234567",
    dirty=False,
    python="3.11.9",
    packages={"numpy": "2.4.6", "torch": "2.14.1", "triton": "3.8.0"},
)
HEAD = SideIdentity(
    label="working tree",
    commit="89abcdef0123456789abcdef0123456789abcdef",
    dirty=True,
    python="3.11.9",
    packages={"numpy": "2.4.6", "torch": "2.15.0", "regress": "1.0"},
)


def cell(name: str, verdict: GateVerdict, percent: float = 0.1, **changes: Any) -> CellReport:
    """A judged cell, `percent` slower, with an interval of 0.8 points to either side."""
    figures: dict[str, Any] = {
        "reason": "no slowdown above 3% (at most 1.2%)",
        "margin": 0.01,
        "tolerance": 0.03,
        "ratio": 1 + percent / 100,
        "interval": Interval(low=1 + (percent - 0.8) / 100, high=1 + (percent + 0.8) / 100),
        "num_pairs": 120,
        "num_launches": 6,
        "robust_sd": 0.021,
        "lag1": 0.02,
        "base_s": 0.0593,
    }
    return CellReport(name=name, verdict=verdict, **{**figures, **changes})


PASSED = cell(f"{FORWARD}[int8-1-2]", GateVerdict.PASS, base_s=0.00098)
IMPROVED = cell(
    f"{FORWARD}[int8-8-2]",
    GateVerdict.IMPROVED,
    -6.2,
    reason="faster by 4.9 to 7.5% (adjusted for 4 cells and 4 looks), margin 1%, reproduced in 4 "
    "fresh launches",
)
SLOWER = cell(
    f"{FORWARD}[float32-1-2]",
    GateVerdict.FAIL,
    4.9,
    reason="slower by 4.1 to 5.9% (adjusted for 4 cells and 4 looks), margin 1%, reproduced in 4 "
    "fresh launches",
    num_pairs=240,
    num_launches=10,
    advice="see which commit it is with git bisect and this gate, then profile the forward pass",
)
OPEN = cell(
    f"{FORWARD}[float32-8-2]",
    GateVerdict.INCONCLUSIVE,
    1.9,
    reason="between -0.4 and 4.9%: neither above 1% nor below 3%; pairs spread 8.1%",
    num_pairs=400,
    num_launches=20,
    advice="a quieter machine, more minutes or a wider tolerance",
)
SIZE = CheckReport(
    name="int8 size on disk",
    verdict=GateVerdict.PASS,
    base="24.1 MB",
    head="24.1 MB",
    reason="the same to the byte",
)
DROP = CheckReport(
    name="int8 top-1",
    verdict=GateVerdict.FAIL,
    base="78.53%",
    head="61.20%",
    reason="-17.33 points (95% interval -19.60 to -15.10, 1,495 photographs, McNemar p below "
    "0.001), allowed are 1.5",
)
OPERATORS = CheckReport(
    name="int8 operators",
    verdict=GateVerdict.FAIL,
    base="QuantizedConvReLU2d 33, QuantizedConv2d 20, QuantizedLinear 1",
    head="QuantizedConvReLU2d 33, QuantizedConv2d 19, Conv2d 1, QuantizedLinear 1",
    reason="1 module fewer is quantized",
)
QUIET = InstrumentReport(
    again=(cell(f"{FORWARD}[int8-1-2]", GateVerdict.PASS, -0.02),),
    control=cell("control", GateVerdict.PASS, 0.3),
    max_idle_share=0.0042,
    findings=(),
)
MOVED = replace(
    QUIET,
    findings=(
        "A second copy of base was 3.1 to 4.4% slower than base in int8-1-2 (margin 1%): the "
        "machine changed speed during the run; use a quieter one.",
        "In 3 of 14 launches a waiting worker used more than 5% of a timed round; set "
        "OMP_WAIT_POLICY=passive.",
    ),
)


def gate(
    *cells: CellReport,
    checks: tuple[CheckReport, ...] = (),
    instrument: InstrumentReport = QUIET,
    vanished: tuple[str, ...] = (),
    partial: bool = False,
    **changes: Any,
) -> GateReport:
    """A run with the verdict that its parts combine to."""
    verdict, reason = combine(
        cells, checks, vanished=vanished, instrument=instrument, partial=partial
    )
    report = GateReport(
        schema_version=GATE_SCHEMA_VERSION,
        verdict=verdict,
        reason=reason,
        partial=partial,
        base=BASE,
        head=HEAD,
        cpu_model="AMD EPYC 7763 64-Core Processor",
        num_cores=2,
        system="Linux 6.8.0 x86_64",
        began_at="2026-11-23T18:54:07+00:00",
        prepare_s=72.4,
        measure_s=450.2,
        plan=PlanRules(looks=(6, 10, 14, 20), launch_s=3.0),
        seed=17,
        cells=cells,
        checks=checks,
        vanished=vanished,
        new=(),
        instrument=instrument,
        traces=(
            CellTrace(
                name=f"{FORWARD}[int8-1-2]",
                iterations=1,
                launches=(
                    LaunchTrace(
                        launch=0,
                        confirms=False,
                        seconds={"base": (0.059, 0.06), "head": (0.059, 0.061)},
                        idle_share=0.004,
                    ),
                ),
            ),
        ),
    )
    return replace(report, **changes)


def red_gate() -> GateReport:
    """A run in which everything that a report can say is said."""
    return gate(
        SLOWER,
        OPEN,
        PASSED,
        IMPROVED,
        checks=(SIZE, DROP, OPERATORS),
        vanished=(f"{FORWARD}[bfloat16-1-2]",),
        new=(f"{FORWARD}[int8-16-2]",),
        notes=("A worktree that an earlier run left behind was removed.",),
    )
