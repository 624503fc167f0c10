"""The machine a figure is taken on, what to distrust about it, and which code measured."""

from indoor.machine.code import code_identity, code_sha256
from indoor.machine.diagnosis import Advice, diagnose
from indoor.machine.environment import read_environment
from indoor.machine.process import (
    allocator_environment,
    current_allocator,
    minor_faults,
    peak_memory_bytes,
)
from indoor.machine.reading import computes_bfloat16, num_usable_cores, read_machine, read_moment

__all__ = [
    "Advice",
    "allocator_environment",
    "code_identity",
    "code_sha256",
    "computes_bfloat16",
    "current_allocator",
    "diagnose",
    "minor_faults",
    "num_usable_cores",
    "peak_memory_bytes",
    "read_environment",
    "read_machine",
    "read_moment",
]
