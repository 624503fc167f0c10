"""What a tree's facts plugin wrote, read back and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from indoor.errors import IndoorError
from indoor.records import read_record

FACTS_VERSION = 2
UNTOLD = "unknown"
"""Under which `multiply_adds` holds those whose precision nobody told."""

_READABLE = (1, FACTS_VERSION)
"""Version 1 counted modules instead of what was computed, which is not compared any more."""


@dataclass(frozen=True, kw_only=True)
class VariantFacts:
    """One variant of one tree; None is what could not be had, and `problem` says why.

    `size_bytes` are those of the tensors on disk. `multiply_adds` are those of one call by the
    precision that they were computed in, nothing where the runtime, or the tree, cannot tell; `ran`
    is the precision of most, and `kernels` counts what the call executed, by name.
    """

    size_bytes: int | None
    engine: str | None
    peak_memory_bytes: int | None
    multiply_adds: dict[str, int] | None = field(default_factory=dict)
    ran: str | None = None
    kernels: dict[str, int] = field(default_factory=dict)
    problem: str | None = None
    runtime: str | None = None
    precision: str | None = None
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class FactSheet:
    """`facts.json` as `bench/gate_facts.py` writes it.

    `share` are the words that make the other tree use the same data and float checkpoint. The
    hashes are of the photographs' names and of what the transform made of them.
    """

    version: int
    num_photographs: int
    photographs_sha256: str
    inputs_sha256: str
    variants: dict[str, VariantFacts]
    share: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Facts:
    """A tree's sheet, and its logits, float32 `(N, C)`, by variant."""

    sheet: FactSheet
    logits: Mapping[str, np.ndarray]

    @property
    def variants(self) -> Mapping[str, VariantFacts]:
        """The sheet's variants."""
        return self.sheet.variants


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one tree answered, in one fixed order of the photographs until its time was over.

    `labels` and each of `classes` are int64 `(N,)`; -1 stands for logits that were not finite.
    """

    photographs: tuple[str, ...]
    labels: np.ndarray
    classes: dict[str, np.ndarray]
    num_in_split: int


def load_facts(folder: Path) -> Facts:
    """Read what the plugin wrote into `folder`.

    Raises:
        IndoorError: Something is missing, damaged or of another version.
    """
    sheet = read_record(folder / "facts.json", FactSheet)
    if sheet.version not in _READABLE:
        raise IndoorError(
            f"{folder / 'facts.json'} has version {sheet.version}, expected {FACTS_VERSION}; "
            "let the gate collect the facts of both trees with head's plugin"
        )
    return Facts(sheet, _load_arrays(folder / "logits.npz"))


def load_predictions(folder: Path) -> Predictions:
    """Read what the plugin wrote into `folder`.

    Raises:
        IndoorError: It is missing or damaged.
    """
    path = folder / "predictions.npz"
    arrays = _load_arrays(path)
    prefix = "classes_"
    try:
        return Predictions(
            photographs=tuple(str(name) for name in arrays["photographs"]),
            labels=arrays["labels"],
            classes={n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)},
            num_in_split=int(arrays["num_photographs"]),
        )
    except KeyError as error:
        raise IndoorError(
            f"{path} holds no {error}; expected what head's facts plugin writes; start the gate "
            "again"
        ) from error


def load_peaks(folder: Path) -> dict[str, int]:
    """Return the peak memory in bytes of each variant that the plugin measured once more.

    Raises:
        IndoorError: The file is missing or damaged.
    """
    return {name: int(array) for name, array in _load_arrays(folder / "memory.npz").items()}


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz; IndoorError where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise IndoorError(
            f"cannot read {path}: {error}; expected arrays that the gate's plugin wrote; "
            "start the gate again"
        ) from error
