"""The quantizable classifiers, their checkpoints, and the sources that their weights come from."""

from indoor.model.checkpoints import LoadedModel, load_float, save_float
from indoor.model.fused import can_fuse, fuse
from indoor.model.head import head_of, replace_head
from indoor.model.network import (
    ARCHS,
    DEFAULT_ARCH,
    build_model,
    fold,
    known_arch,
    multiply_adds,
    share_of_layers,
    thin,
)
from indoor.model.provenance import (
    describe_pair,
    is_made_from,
    open_split,
    record_provenance,
    recorded_split,
    refuse_other_seed,
    unknown_split,
)
from indoor.model.sources import (
    FoundWeights,
    WeightsResult,
    find_weights,
    load_weights,
    resolve_weights,
)
from indoor.model.tensors import (
    FORMAT,
    hash_tensors,
    read_manifest,
    read_tensors,
    verify,
    write_plain,
    write_tensors,
)

__all__ = [
    "ARCHS",
    "DEFAULT_ARCH",
    "FORMAT",
    "FoundWeights",
    "LoadedModel",
    "WeightsResult",
    "build_model",
    "can_fuse",
    "describe_pair",
    "find_weights",
    "fold",
    "fuse",
    "hash_tensors",
    "head_of",
    "is_made_from",
    "known_arch",
    "load_float",
    "load_weights",
    "multiply_adds",
    "open_split",
    "read_manifest",
    "read_tensors",
    "record_provenance",
    "recorded_split",
    "refuse_other_seed",
    "replace_head",
    "resolve_weights",
    "save_float",
    "share_of_layers",
    "thin",
    "unknown_split",
    "verify",
    "write_plain",
    "write_tensors",
]
