"""A launch: fresh workers of every arm, and what they measured side by side."""

from indoor.gate.launch.alone import Collected, collect_cells, passes_alone
from indoor.gate.launch.outcome import (
    CONTROL,
    CellFailure,
    Gauge,
    LaunchOutcome,
    LaunchRules,
)
from indoor.gate.launch.pairs import run_launch

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
