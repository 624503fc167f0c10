"""The split lists of a data set and their photographs."""

from indoor.dataset.batches import load_batches
from indoor.dataset.identity import identify, identify_with_and_without_test
from indoor.dataset.lists import SplitLists, read_split_lists
from indoor.dataset.obtaining import Obtained, obtain
from indoor.dataset.photographs import load_photograph
from indoor.dataset.samples import Sample, load_sample, own_files, sample_sha256
from indoor.dataset.scenes import (
    IndoorScenes,
    stratified_sample,
    validation_indices,
)
from indoor.dataset.shards import write_shards
from indoor.dataset.verification import VerifyReport, verify

__all__ = [
    "IndoorScenes",
    "Obtained",
    "Sample",
    "SplitLists",
    "VerifyReport",
    "identify",
    "identify_with_and_without_test",
    "load_batches",
    "load_photograph",
    "load_sample",
    "obtain",
    "own_files",
    "read_split_lists",
    "sample_sha256",
    "stratified_sample",
    "validation_indices",
    "verify",
    "write_shards",
]
