"""The split lists of a data set and their photographs."""

from indoor.dataset.batches import load_batches
from indoor.dataset.identity import identify, identify_with_and_without_test
from indoor.dataset.lists import SplitLists, read_split_lists
from indoor.dataset.obtaining import Obtained, obtain
from indoor.dataset.photographs import load_photograph
from indoor.dataset.scenes import (
    IndoorScenes,
    Sample,
    stratified_sample,
    validation_indices,
)
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
    "obtain",
    "read_split_lists",
    "stratified_sample",
    "validation_indices",
    "verify",
]
