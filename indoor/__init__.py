"""Fine-tune, quantize and measure ResNet-50 on indoor scenes: what int8 really buys on a CPU."""

import os

__version__ = "0.1.0"

CPUS_AT_START = frozenset(
    os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
)
"""The CPUs that this process may run on. Read before torch: with OMP_PROC_BIND or OMP_PLACES set
its OpenMP binds the thread that loads it to one of them, and a later look would see one core."""
