"""A file of weights becomes a run: written once, and found again by its content."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from indoor import places
from indoor.dataset import read_split_lists
from indoor.errors import IndoorError
from indoor.files import remembered_sha256
from indoor.hints import command_line, run_word
from indoor.locks import locked
from indoor.model import (
    FORMAT,
    WeightsResult,
    find_weights,
    load_weights,
    record_provenance,
    save_float,
    verify,
)
from indoor.model.file_kinds import identify_kind
from indoor.model.imagenet import NUM_IMAGENET_CLASSES
from indoor.model.tensors import read_metadata
from indoor.records import CheckpointManifest, to_json
from indoor.vision import torchvision

_MAX_STEM = 100
"""Bytes of a file's name that a run's name keeps: file systems allow 255 for all of it."""


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """A run's folder with its `float32.safetensors`; `notes` are lines for the user."""

    folder: Path
    notes: tuple[str, ...] = ()


def open_run(
    checkpoint: Path,
    home: Path,
    root: Path | None = None,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> OpenedRun:
    """Return the run that a checkpoint stands for, made of it where it is a file by itself.

    `runs/<name>-<8 digits>/float32.safetensors` is written once; the digits are those of the
    file's content and its classes, so the same file finds the same run, and a file that changed is
    another one. Nothing is written where the run is there.

    Args:
        checkpoint: What `places.find_checkpoint` returned.
        home: The folder that holds `runs/`.
        root: The data set whose classes the outputs are to be; None for whatever they are.
        say: Hears for whom there is to wait.

    Raises:
        IndoorError: The file cannot be used, or its outputs are not the data's classes.
    """
    wanted = None if root is None else read_split_lists(root).classes
    folder = places.run_of(checkpoint)
    if folder is not None and (ours := _manifest_of_ours(folder / places.FLOAT32)) is not None:
        reorders = wanted not in (None, ours.classes) and sorted(ours.classes) == sorted(wanted)
        if not reorders:
            return OpenedRun(folder=folder)
        checkpoint = folder / places.FLOAT32
    weights = load_weights(find_weights(checkpoint, None), wanted)
    if remembered_sha256(checkpoint) != weights.source.sha256:
        raise IndoorError(
            f"{checkpoint} changed while it was read; expected it whole; start again once it is "
            "written"
        )
    weights = _named(weights, checkpoint, root, wanted)
    run_folder = places.runs_folder(home) / _run_name(weights)
    there = run_folder / places.FLOAT32
    adopted = f"{weights.source.name} is the run {run_word(run_folder)}"
    if not _holds(there, weights):
        holder = f"another process that adopts {run_folder.name}"
        with locked(run_folder.parent / f".{run_folder.name}.lock", holder, say=say):
            if not _holds(there, weights):
                write_adopted(there, weights)
    return OpenedRun(folder=run_folder, notes=(*weights.notes, adopted))


def write_adopted(path: Path, weights: WeightsResult) -> CheckpointManifest:
    """Write weights that know their classes as a run's float32, with what they were made from.

    Where the file was a checkpoint of ours, what it recorded of its training stays recorded.
    """
    assert weights.classes is not None
    assert weights.source.sha256 is not None
    before = weights.provenance
    manifest = CheckpointManifest(
        format=FORMAT,
        arch=weights.arch,
        precision="float32",
        classes=weights.classes,
        preprocessing=weights.preprocessing,
        weights=weights.source,
        provenance=record_provenance(
            {"weights": weights.source.sha256},
            before.data if before else None,
            run=path.parent.name,
            recipe=before.recipe if before else None,
            settings=before.settings if before else {},
        ),
    )
    return save_float(path, weights.model, manifest)


def read_own(path: Path) -> CheckpointManifest:
    """Return what a run's float32 says of itself, once it is known to be this run's and whole.

    Raises:
        IndoorError: Something else than a preparation or adoption of this run put it there; it may
            be somebody's only copy.
    """
    manifest = verify(path)
    if manifest.provenance is None or manifest.provenance.run != path.parent.name:
        raise IndoorError(
            f"{path} was not made for this run, but by another command, and would be "
            "measured under its name; expected the checkpoint that was prepared here; "
            "move it to a folder of its own, or remove it"
        )
    return manifest


def _manifest_of_ours(path: Path) -> CheckpointManifest | None:
    return read_metadata(path) if identify_kind(path) == "safetensors" else None


def _holds(path: Path, weights: WeightsResult) -> bool:
    """Tell whether the weights were written there; what an earlier indoor wrote is made again."""
    if not path.is_file():
        return False
    there = read_own(path)
    assert there.provenance is not None
    here = (weights.arch, weights.classes, weights.preprocessing, weights.source)
    return (
        (there.arch, there.classes, there.preprocessing, there.weights) == here
        and there.weights.assumed == weights.source.assumed
        and there.provenance.made_from == {"weights": weights.source.sha256}
    )


def _named(
    weights: WeightsResult, path: Path, root: Path | None, wanted: tuple[str, ...] | None
) -> WeightsResult:
    """Return the weights with a name for each output; they are the data's where there is any."""
    train = command_line("train", weights=path, data=root)
    remedy = f"train a new head on it with {train}"
    if weights.num_outputs == 0:
        raise IndoorError(
            f"{'; '.join(weights.notes) or path}; expected a last layer with an output a class; "
            f"{remedy}"
        )
    if wanted is None:
        return weights if weights.classes is not None else _numbered(weights)
    if weights.classes == wanted:
        return weights
    if weights.num_outputs != len(wanted):
        raise IndoorError(
            f"{path} has {weights.num_outputs} outputs, expected {len(wanted)}, one for each class "
            f"of {root}; {remedy}"
        )
    assert weights.classes is not None
    pairs = zip(weights.classes, wanted, strict=True)
    index, (mine, other) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
    raise IndoorError(
        f"{path} has {mine!r} as class {index}, expected the classes of {root}, where it is "
        f"{other!r}; {remedy}"
    )


def _numbered(weights: WeightsResult) -> WeightsResult:
    """Return the weights with numbers for names, or ImageNet's where there are as many outputs."""
    count = weights.num_outputs
    if count == NUM_IMAGENET_CLASSES:
        names = _told_apart(torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
        clause = f"names no classes: taken to be ImageNet's {count}, in torchvision's order"
    else:
        names = tuple(f"class {index}" for index in range(count))
        clause = f"names no classes: its {count} outputs are numbered from 0"
    source = replace(weights.source, assumed=(*weights.source.assumed, clause))
    return replace(weights, classes=names, source=source)


def _told_apart(names: list[str]) -> tuple[str, ...]:
    """Return names of which none stands twice (ImageNet has two cranes and two maillots)."""
    return tuple(
        f"{name} ({names[:index].count(name) + 1})" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    )


def _run_name(weights: WeightsResult) -> str:
    """Return a folder's name that a shell takes as it is, with digits of content and classes."""
    key = to_json((weights.source.sha256, weights.classes))
    stem = re.sub(r"[^\w.+=-]+", "-", Path(weights.source.name).stem).strip("-.")
    stem = stem.encode()[:_MAX_STEM].decode(errors="ignore")
    return f"{stem or 'weights'}-{hashlib.sha256(key).hexdigest()[:8]}"
