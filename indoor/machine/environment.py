"""What around this process changes which kernels run, how memory is got, or how long a turn is."""

import os
import re
import sys
from collections.abc import Mapping

_PREFIXES = (
    *("ONEDNN_", "DNNL_", "ATEN_", "TORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_", "PYTORCH_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_"),
    *("MALLOC_", "TCMALLOC_", "MIMALLOC_", "JE_MALLOC_"),
)

_NAMES = (
    *("LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES"),
    *("LRU_CACHE_CAPACITY", "THP_MEM_ALLOC_ENABLE"),  # oneDNN's primitives and ARM's huge pages
    *("NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG", "CUDA_LAUNCH_BLOCKING"),
    *("PYTHONMALLOC", "PYTHONMALLOCSTATS", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "PYTHONOPTIMIZE"),
    *("PYTHONPERFSUPPORT", "PYTHON_GIL", "PYTHON_JIT"),
)

_NO_KERNELS = ("_DIR", "_HOME", "_PATH", "_LOGS", "_FILE", "_STACKTRACES")
"""Ends of torch's variables that say where it keeps and writes things."""

THRESHOLDS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
"""Blocks above the first are mapped anew each time, free memory above the second is given back."""

RETAINED_BYTES = 2**32
"""Above any activation; 32 MiB, the limit of glibc's own adjustment, left every fault in place."""


def read_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what may make the same code on the same machine run at another speed, by name.

    A value holds no folder: a preloaded allocator is named by its library alone.

    Args:
        environ: The variables to look through. None: those of this process, and besides them its
            priority, its scheduler, Python's `-X` options and whether something traces it.

    Returns:
        Sorted by name; what is not set, or as it is by default, does not appear.
    """
    found = {} if environ is not None else _process()
    environ = os.environ if environ is None else environ
    # `Measurement.allocator` tells them already.
    told = THRESHOLDS if retains_memory(environ) else ()
    for name, value in environ.items():
        wanted = name in _NAMES or (name.startswith(_PREFIXES) and not name.endswith(_NO_KERNELS))
        if wanted and value and name not in told:
            found[name] = re.sub(r"[^\s,:;=\"']*/", "", value)
    return dict(sorted(found.items()))


def retains_memory(environ: Mapping[str, str]) -> bool:
    """Return whether both thresholds are at least as high as `--allocator retain` sets them."""
    told = [environ.get(name, "") for name in THRESHOLDS]
    return all(text.isdecimal() and int(text) >= RETAINED_BYTES for text in told)


def _process() -> dict[str, str]:
    found = {f"python -X {name}": str(value) for name, value in sys._xoptions.items()}
    if os.nice(0):
        found["nice"] = str(os.nice(0))
    if hasattr(os, "sched_getscheduler"):
        policy = os.sched_getscheduler(0)
        if policy != os.SCHED_OTHER:
            names = {getattr(os, name): name for name in dir(os) if name.startswith("SCHED_")}
            found["scheduler"] = names.get(policy, str(policy))
    if sys.gettrace() is not None or sys.getprofile() is not None:
        found["traced"] = "yes"  # by a debugger, a profiler, or a count of covered lines
    return found
