"""A launch: fresh workers of every arm, and what they measured side by side."""

from indoor.gate.worker.arms import (
    PLUGIN,
    Arm,
    Collected,
    LaunchRules,
    TestCode,
    changing_names,
    collect_cells,
    install_plugin,
    passes_without_other_sides,
)
from indoor.gate.worker.gauge import MIN_LAUNCHES, Gauge, longest_launch_s
from indoor.gate.worker.launch import run_launch
from indoor.gate.worker.outcome import CONTROL, CellFailure, LaunchOutcome

__all__ = [
    "CONTROL",
    "MIN_LAUNCHES",
    "PLUGIN",
    "Arm",
    "CellFailure",
    "Collected",
    "Gauge",
    "LaunchOutcome",
    "LaunchRules",
    "TestCode",
    "changing_names",
    "collect_cells",
    "install_plugin",
    "longest_launch_s",
    "passes_without_other_sides",
    "run_launch",
]
