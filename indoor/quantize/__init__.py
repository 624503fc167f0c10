"""Calibrated int8: configuration, the eager flow, its check, and int8 checkpoints."""

from indoor.quantize.checkpoints import load_int8, save_int8
from indoor.quantize.collapse import WatchedBatches, check, check_logits, refuse_collapse
from indoor.quantize.config import default_config, validate_config
from indoor.quantize.conversion import copy_weights, count_quantized_modules, quantize
from indoor.quantize.engines import (
    EngineBound,
    is_exact,
    supported_engines,
    using_engine,
    vnni_supported,
)
from indoor.quantize.from_checkpoint import (
    NUM_CHECK,
    Made,
    Source,
    make_int8,
    open_source,
    quantize_checkpoint,
    write_int8,
)
from indoor.quantize.qdq import load_qdq
from indoor.quantize.rounding import Roundings

__all__ = [
    "NUM_CHECK",
    "EngineBound",
    "Made",
    "Roundings",
    "Source",
    "WatchedBatches",
    "check",
    "check_logits",
    "copy_weights",
    "count_quantized_modules",
    "default_config",
    "is_exact",
    "load_int8",
    "load_qdq",
    "make_int8",
    "open_source",
    "quantize",
    "quantize_checkpoint",
    "refuse_collapse",
    "save_int8",
    "supported_engines",
    "using_engine",
    "validate_config",
    "vnni_supported",
    "write_int8",
]
