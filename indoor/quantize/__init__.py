"""Calibrated int8: configuration, the eager flow, its check, and int8 checkpoints."""

from indoor.quantize.checkpoints import load_int8, save_int8
from indoor.quantize.collapse import WatchedBatches, check, refuse_collapse
from indoor.quantize.config import default_config, validate_config
from indoor.quantize.conversion import copy_weights, count_quantized_modules, quantize
from indoor.quantize.engines import (
    EngineBound,
    is_exact,
    supported_engines,
    using_engine,
    vnni_supported,
)
from indoor.quantize.from_checkpoint import NUM_CHECK, quantize_checkpoint
from indoor.quantize.qdq import load_qdq

__all__ = [
    "NUM_CHECK",
    "EngineBound",
    "WatchedBatches",
    "check",
    "copy_weights",
    "count_quantized_modules",
    "default_config",
    "is_exact",
    "load_int8",
    "load_qdq",
    "quantize",
    "quantize_checkpoint",
    "refuse_collapse",
    "save_int8",
    "supported_engines",
    "using_engine",
    "validate_config",
    "vnni_supported",
]
