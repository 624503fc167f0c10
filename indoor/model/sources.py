"""Where the weights come from: a file, ImageNet's from torch's cache or the network, or nowhere."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import torch
from torch import nn

from indoor.download import fetch
from indoor.errors import IndoorError
from indoor.files import remembered_sha256
from indoor.model.checkpoints import assumed_classes, load_float
from indoor.model.file_kinds import identify_kind
from indoor.model.head import head_of, reorder_head
from indoor.model.imagenet import IMAGENET_URLS, NUM_IMAGENET_CLASSES, preprocessing_of
from indoor.model.network import ARCHS, DEFAULT_ARCH, build_model
from indoor.progress import NO_PROGRESS, Progress
from indoor.records import Preprocessing, Provenance, WeightSource

_BEGAN_AT_RANDOM = "began at random: its accuracies say nothing of weights that were trained"
"""What stays to be said of such a checkpoint where it is a file of weights for something else."""

SourceKind = Literal["file", "imagenet-cache", "imagenet-download", "none"]


@dataclass(frozen=True, kw_only=True)
class FoundWeights:
    """Where weights are: `path` is None for random ones, which `seed` decides.

    `arch` is None where it is what the file holds.

    `notes` are sentences for the user: what was tried and failed, what to keep in mind.
    """

    arch: str | None
    source: WeightSource
    path: Path | None
    seed: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class WeightsResult:
    """Weights that were loaded: a float32 network in eval mode, with the last layer it came with.

    `classes` is None where nobody knows what its outputs mean: ImageNet's and random weights, and
    a file that names none and was not given as many. `num_outputs` counts the outputs of the last
    layer that the file has; 0 where it has none, and the network's is only a place for a new one.
    `source.assumed` is what the file does not say. `provenance` is that of a checkpoint of ours.
    """

    arch: str
    model: nn.Module
    classes: tuple[str, ...] | None
    preprocessing: Preprocessing
    source: WeightSource
    notes: tuple[str, ...]
    num_outputs: int = 0
    provenance: Provenance | None = None


def resolve_weights(
    weights: Path | None, arch: str | None, *, classes: Sequence[str] | None = None, **how: Any
) -> WeightsResult:
    """Find and load the weights of the first source that answers; see both."""
    return load_weights(find_weights(weights, arch, **how), classes)


def find_weights(
    weights: Path | None,
    arch: str | None,
    *,
    allow_download: bool = True,
    seed: int = 0,
    url: str | None = None,
    hub_folder: Path | None = None,
    timeout_s: float = 8.0,
    progress: Progress = NO_PROGRESS,
) -> FoundWeights:
    """Return the first source of weights that answers, without loading them.

    The sources are: the file that was named; ImageNet weights in torch's cache, if their SHA-256
    is right; ImageNet weights by download into that cache; none (torchvision's random weights).
    Without a network this falls through to `none` within `timeout_s`.

    Args:
        weights: A checkpoint or plain state dict; None for the other sources.
        arch: One of `ARCHS`; None for what the file holds, and for the default without a file.
        allow_download: Whether the network may be asked.
        seed: Decides the random weights of `none`.
        url: The download's address; None for torchvision's. The start of the SHA-256 stands in
            the file's name, as in `resnet50-0676ba61.pth`.
        hub_folder: torch's cache; None for `torch.hub.get_dir()`, which follows TORCH_HOME.
        timeout_s: Seconds after which a silent server is given up.
        progress: Hears of the bytes that are downloaded.

    Raises:
        ValueError: An unknown architecture.
        IndoorError: The file that was named is none. The other sources raise nothing: what is
            wrong with them stands in `notes`.
    """
    if weights is None:
        arch = arch or DEFAULT_ARCH
    if arch is not None and arch not in ARCHS:
        raise ValueError(f"unknown architecture {arch!r}, expected one of {', '.join(ARCHS)}")
    notes: list[str] = []

    def found(kind: SourceKind, name: str, path: Path | None) -> FoundWeights:
        digest = remembered_sha256(path) if path else None
        source = WeightSource(kind=kind, name=name, sha256=digest)
        return FoundWeights(arch=arch, source=source, path=path, seed=seed, notes=tuple(notes))

    if weights is not None:
        identify_kind(weights)  # says what is wrong with the path, if anything
        return found("file", weights.name, weights)
    assert arch is not None
    url = url or IMAGENET_URLS[arch]
    path = (hub_folder or Path(torch.hub.get_dir())) / "checkpoints" / Path(urlsplit(url).path).name
    digits = _hash_in_name(path.name)
    name = f"ImageNet V1 ({path.name})"
    try:
        if path.is_file():
            if remembered_sha256(path).startswith(digits):
                return found("imagenet-cache", name, path)
            notes.append(f"{path} is not what its name says (SHA-256), so it was not used")
        if allow_download:
            fetch(
                url,
                path,
                sha256=digits,
                timeout_s=timeout_s,
                instead="give the weights as a file",
                elsewhere="set TORCH_HOME to one",
                progress=progress,
            )
            return found("imagenet-download", name, path)
        notes.append("no ImageNet weights in torch's cache, and downloading is switched off")
    except (IndoorError, OSError) as error:
        notes.append(f"no ImageNet weights: {error}")
    notes.append(
        f"the backbone has random weights (seed {seed}): its accuracy says nothing about one "
        "trained on photographs; give weights with --weights"
    )
    return found("none", f"random (seed {seed})", None)


def load_weights(found: FoundWeights, classes: Sequence[str] | None = None) -> WeightsResult:
    """Load weights that `find_weights` found.

    Args:
        found: Where they are.
        classes: What the outputs of a file that names no classes are taken to be, if there are as
            many; `source.assumed` says so then. The outputs of a file that names just these in
            another order are put into this order, and a note says so. The last layer of a file
            with another number of outputs, or with other names, stays what it is: compare before
            it is used.

    Raises:
        IndoorError: The file cannot be used, or holds another architecture.
    """
    if found.path is None:
        assert found.arch is not None
        return WeightsResult(
            arch=found.arch,
            model=build_model(found.arch, NUM_IMAGENET_CLASSES, seed=found.seed),
            classes=None,
            preprocessing=preprocessing_of(found.arch),
            source=found.source,
            notes=found.notes,
            num_outputs=NUM_IMAGENET_CLASSES,
        )
    is_file = found.source.kind == "file"
    published = None if is_file or found.arch is None else preprocessing_of(found.arch)
    loaded = load_float(
        found.path,
        arch=found.arch,
        preprocessing=published,
        backbone=True,
    )
    manifest = loaded.manifest
    num_outputs = head_of(loaded.model)[1].out_features if loaded.has_head else 0
    known = (manifest.classes or None) if is_file else None
    assumed, notes, model = manifest.weights.assumed, found.notes + loaded.notes, loaded.model
    if is_file and manifest.weights.kind == "none" and _BEGAN_AT_RANDOM not in assumed:
        assumed += (_BEGAN_AT_RANDOM,)
    wanted = tuple(classes or ())
    if is_file and known is None and wanted and num_outputs == len(wanted):
        known = wanted
        assumed += (assumed_classes(wanted),)
    elif known is not None and known != wanted and sorted(known) == sorted(wanted):
        model, known = reorder_head(model, [known.index(name) for name in wanted]), wanted
        notes += (
            f"{found.path.name} names the data set's {len(wanted)} classes in another order: its "
            "outputs were put into the data set's order, by their names",
        )
    return WeightsResult(
        arch=manifest.arch,
        model=model,
        classes=known,
        preprocessing=manifest.preprocessing,
        source=replace(found.source, assumed=assumed),
        notes=notes,
        num_outputs=num_outputs,
        provenance=manifest.provenance,
    )


def _hash_in_name(name: str) -> str:
    found = re.search(r"-([0-9a-f]{8,64})\.", name)
    if found is None:
        raise ValueError(f"no SHA-256 in the file name {name!r}, expected one as in x-0676ba61.pth")
    return found[1]
