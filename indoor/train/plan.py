"""What a fine-tuning works on, and the name of everything that it leaves for a resumed run."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from indoor.dataset import IndoorScenes
from indoor.files import remembered_sha256
from indoor.model import WeightsResult, hash_tensors
from indoor.progress import Progress
from indoor.records import to_json

_VERSION = 2
"""Counted up whenever a change of the code would make a resumed training end elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Photographs, the network to begin with, and what decides the result.

    `resume` is the folder of everything that only an interrupted run needs, `cache` that of the
    features.
    """

    weights: WeightsResult
    start: nn.Module
    train: IndoorScenes
    val: IndoorScenes
    epochs: int
    size: int | None
    seed: int
    device: torch.device
    settings: dict[str, str | int | float]
    resume: Path
    cache: Path
    progress: Progress

    @property
    def is_random(self) -> bool:
        """Whether the backbone has random weights."""
        return self.weights.source.kind == "none"

    def state_path(self, stage: str) -> Path:
        """Return the file of a stage's state; its name changes with whatever decides the stage."""
        key = hashlib.sha256(f"{stage} {self._fingerprint}".encode()).hexdigest()
        return self.resume / f"{stage}-{key[:16]}.safetensors"

    @cached_property
    def _fingerprint(self) -> str:
        files = hashlib.sha256()
        for dataset in (self.train, self.val):
            for sample in dataset.samples:
                files.update(f"{remembered_sha256(sample.path)} {sample.label}\n".encode())
        key = (
            _VERSION,
            self.epochs,
            self.size,
            self.seed,
            self.settings,
            self.weights.preprocessing,
            self.is_random,
            hash_tensors(dict(self.start.state_dict())),
            files.hexdigest(),
            str(torch.__version__),
            torch.backends.cpu.get_cpu_capability(),
        )
        return hashlib.sha256(to_json(key)).hexdigest()
