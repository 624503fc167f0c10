"""Timing in the process that computes, told by another; and the plugin that makes pytest do so.

A folder that imports nothing but the standard library and, by relative names, itself, so that any
Python can have it: the suite and the processes of runtimes import it, and the gate copies it beside
the plugins of a suite that knows nothing of the gate. There, as a pytest plugin, it needs pytest
and pytest-benchmark, too.

Messages are lines of JSON over the two pipes that INDOOR_LINK names. A worker computes only between
a message to it and its answer.
"""

from .clocks import TELLS_CPU_TIME, cpu_ns, settle
from .link import LINK, Link, die_with_parent
from .plugin import pytest_addoption, pytest_configure, pytest_load_initial_conftests
from .python import describe_python
from .timing import (
    TurnResult,
    Warmup,
    answer,
    calibrate,
    minor_faults,
    take_turn,
    timed,
    warm_up,
)

__all__ = [
    "LINK",
    "TELLS_CPU_TIME",
    "Link",
    "TurnResult",
    "Warmup",
    "answer",
    "calibrate",
    "cpu_ns",
    "describe_python",
    "die_with_parent",
    "minor_faults",
    "pytest_addoption",
    "pytest_configure",
    "pytest_load_initial_conftests",
    "settle",
    "take_turn",
    "timed",
    "warm_up",
]
