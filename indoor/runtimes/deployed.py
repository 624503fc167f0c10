"""An exported folder that can be called, and nothing else, in processes of its own."""

import weakref
from pathlib import Path

import torch
from torch import Tensor

from indoor.runtimes.exported import Export, checked_package, read_export, split, variant_of
from indoor.runtimes.loading import Loaded
from indoor.runtimes.own_process import Host, load_in


class Deployed:
    """An export, ready to be called; close it when done, which ends its processes.

    Args:
        folder: What `indoor export` wrote.
        trust: Whether packages that others compiled may be loaded, which executes them.

    Raises:
        IndoorError: It is no export, damaged, foreign or not for this machine; one line.
    """

    def __init__(self, folder: Path, *, trust: bool = False) -> None:
        self.export: Export = read_export(folder)
        self.variant = variant_of(self.export)
        self.notes: dict[str, None] = {}
        """What is to be said of the calls so far, each line once."""
        self._folder, self._trust = folder, trust
        self._loaded: dict[int, Loaded] = {}
        for package in self.export.packages:
            checked_package(folder, self.export, package, trust=trust)
        self.close = weakref.finalize(self, _close, self._loaded)

    def logits(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of float32 photographs `(B, 3, H, W)`, however many.

        Where packages are for one batch each, those that are there are filled.

        Raises:
            IndoorError: The runtime failed, or a process died.
        """
        calls, line = split(len(images), self.export.batches)
        if line:
            self.notes[line] = None
        parts = images.split_with_sizes(_lengths(calls, len(images)))
        return torch.cat(
            [self._load(batch).logits(part) for batch, part in zip(calls, parts, strict=True)]
        )

    def _load(self, batch: int) -> Loaded:
        key = batch if self.export.batches else 0
        if key not in self._loaded:
            name, threads = self.variant.name, torch.get_num_threads()
            host = Host(name, self._folder, batch=batch, threads=threads)
            how = {"exported": True, "trust": self._trust}
            self._loaded[key] = load_in(
                host, self.variant, batch, lambda: self.export.checkpoint, **how
            )
        return self._loaded[key]


def _lengths(calls: list[int], num: int) -> list[int]:
    """Return how many photographs each call gets; only the last may get fewer than it takes."""
    return [*calls[:-1], num - sum(calls[:-1])]


def _close(loaded: dict[int, Loaded]) -> None:
    for one in loaded.values():
        one.close()
