"""The ways to run a network: one protocol, one registry, one file a runtime.

A file that is dropped in here, or into a folder that INDOOR_RUNTIMES names, is registered.
"""

import os
from pathlib import Path

__path__ += [str(Path(p).absolute()) for p in os.environ.get("INDOOR_RUNTIMES", "").split(":") if p]

from indoor.runtimes.base import (  # noqa: E402 - the folders above are searched, too
    Runnable,
    all_variants,
    baseline,
    find_variant,
    libraries_of,
    native_variants,
    plain_variants,
    unusable_runtimes,
    why_not,
)
from indoor.runtimes.loading import Loaded, check_output  # noqa: E402
from indoor.runtimes.own_process import load_variant  # noqa: E402

__all__ = [
    "Loaded",
    "Runnable",
    "all_variants",
    "baseline",
    "check_output",
    "find_variant",
    "libraries_of",
    "load_variant",
    "native_variants",
    "plain_variants",
    "unusable_runtimes",
    "why_not",
]
