"""What int8 really buys on a CPU: fine-tune, quantize, measure and gate a ResNet on indoor scenes.

From Python: `indoor.pipeline.prepare` and `evaluate_run`, `indoor.quantize.quantize_checkpoint`,
`indoor.measure.measure_pair` and `indoor.gate.callables.gate_callables`; docs/python.md.
"""

import os

__version__ = "0.1.0"

CPUS_AT_START = frozenset(
    os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
)
"""The CPUs that this process may run on. Read before torch: with OMP_PROC_BIND or OMP_PLACES set
its OpenMP binds the thread that loads it to one of them, and a later look would see one core."""
