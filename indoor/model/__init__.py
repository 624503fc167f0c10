"""The quantizable ResNets, their checkpoints, and the sources that their weights come from."""

from indoor.model.checkpoints import LoadedModel, load_float, read_float, save_float
from indoor.model.network import ARCHS, build_model, fold, replace_head
from indoor.model.sources import WeightsResult, resolve_weights
from indoor.model.tensors import (
    FORMAT,
    hash_tensors,
    read_manifest,
    read_tensors,
    write_tensors,
)

__all__ = [
    "ARCHS",
    "FORMAT",
    "LoadedModel",
    "WeightsResult",
    "build_model",
    "fold",
    "hash_tensors",
    "load_float",
    "read_float",
    "read_manifest",
    "read_tensors",
    "replace_head",
    "resolve_weights",
    "save_float",
    "write_tensors",
]
