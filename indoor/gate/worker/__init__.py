"""A launch: fresh workers of every arm, and what they measured side by side."""

from indoor.gate.worker.arms import (
    PLUGIN,
    Arm,
    Collected,
    LaunchRules,
    TestCode,
    collect_cells,
    install_plugin,
    passes_without_other_sides,
)
from indoor.gate.worker.launch import CONTROL, CellFailure, Gauge, LaunchOutcome, run_launch

__all__ = [
    "CONTROL",
    "PLUGIN",
    "Arm",
    "CellFailure",
    "Collected",
    "Gauge",
    "LaunchOutcome",
    "LaunchRules",
    "TestCode",
    "collect_cells",
    "install_plugin",
    "passes_without_other_sides",
    "run_launch",
]
