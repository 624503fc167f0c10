"""A launch: fresh workers of every arm, and what they measured side by side."""

from indoor.gate.worker.alone import Collected, collect_cells, passes_alone
from indoor.gate.worker.launch import run_launch
from indoor.gate.worker.outcome import (
    CONTROL,
    CellFailure,
    Gauge,
    LaunchOutcome,
    LaunchRules,
)

__all__ = [
    "CONTROL",
    "CellFailure",
    "Collected",
    "Gauge",
    "LaunchOutcome",
    "LaunchRules",
    "collect_cells",
    "passes_alone",
    "run_launch",
]
