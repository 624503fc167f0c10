"""float32 checkpoints: written, and read back into the network that they are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.files import remembered_sha256
from indoor.model.file_kinds import identify_kind
from indoor.model.head import head_of
from indoor.model.naming import names_of
from indoor.model.network import ARCHS, ARCHS_IN_WORDS, build_empty, known_arch
from indoor.model.state_dicts import (
    as_float32,
    describe,
    extract,
    not_float,
    note_subnormal,
    notes_on,
    read_content,
)
from indoor.model.tensors import read_safetensors, write_tensors
from indoor.records import CheckpointManifest, Preprocessing


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in eval mode with what its file says.

    `manifest.classes` is empty where the file names none (a plain state dict) and the caller gave
    none; `manifest.weights.assumed` is what the file does not say. `notes` are lines for the user:
    where in the file the weights were, and what was left out. Without `has_head` the file is a
    backbone: it has no last layer of use, and `model` has one of zeros with one output.
    """

    model: nn.Module
    manifest: CheckpointManifest
    path: Path
    notes: tuple[str, ...] = ()
    has_head: bool = True

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file as it is now."""
        return remembered_sha256(self.path)


def save_float(path: Path, model: nn.Module, manifest: CheckpointManifest) -> CheckpointManifest:
    """Write a float32 checkpoint of weights and manifest alone, whole or not at all.

    Args:
        path: The file, usually `float32.safetensors`; an existing one is replaced.
        model: A network of `build_model` with float32 parameters.
        manifest: Its architecture, classes, preprocessing and origin.

    Returns:
        The manifest as it stands in the file, with the hash of its content.

    Raises:
        ValueError: The manifest does not describe the model, or the model is not float32.
        IndoorError: The file cannot be written.
    """
    tensors = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if manifest.precision != "float32":
        raise ValueError(f"manifest.precision is {manifest.precision}, expected float32")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ValueError(f"{name} is {tensor.dtype}, expected torch.float32")
    if not manifest.classes:
        raise ValueError("the manifest names no classes, expected one for each logit")
    num_classes = len(manifest.classes)
    if reason := _differences(tensors, build_empty(manifest.arch, num_classes)):
        raise ValueError(f"no {manifest.arch} with {num_classes} classes: {reason}")
    weights = note_subnormal(manifest.weights, tensors)
    return write_tensors(path, tensors, replace(manifest, weights=weights))


def load_float(
    path: Path | str,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    backbone: bool = False,
) -> LoadedModel:
    """Read a float32 checkpoint without executing anything that it holds.

    Besides our own files it reads whatever holds one of `ARCHS`, from safetensors, torch.save
    or pickle, in any floating dtype: a state dict under any wrapper (`find_network` says how it is
    found), with or without classes, mean, std and epoch beside it, or a whole pickled module.

    Args:
        path: The file.
        arch: The architecture that it must hold; None takes what it holds.
        classes: The class names that it must have, in this order. Where the file names none they
            are taken, if it has as many outputs, and `manifest.weights.assumed` says so.
        preprocessing: Replaces what the file says. A plain state dict says little: without mean
            and std in it ImageNet's are taken, and always the whole photograph at 224 x 224.
        backbone: Whether a file without a last layer, or with one of several layers, will do.

    Returns:
        The float32 network in eval mode with its manifest; a plain file's `weights` is itself.

    Raises:
        IndoorError: No such file; damaged; a pickle that could run code; int8; another
            architecture; other classes; weights that are not finite; a format of the future;
            no last layer, where it is not asked for as a `backbone`.
    """
    path = Path(path)
    is_torch = identify_kind(path) == "torch"
    content, manifest = (read_content(path), None) if is_torch else read_safetensors(path)
    notes: tuple[str, ...] = ()
    no_head = ""
    if manifest is not None:
        if manifest.precision != "float32":
            raise not_float(path, manifest.precision)
        assert isinstance(content, dict)
        tensors, found = as_float32(path, content, copy=False), manifest.arch
    else:
        network = extract(path, content)
        found, no_head = network.arch, "" if network.head else network.no_head
        last = names_of(found).head
        head = {f"{last}.{name}": tensor for name, tensor in network.head.items()}
        tensors = as_float32(path, network.tensors | head, copy=True)
        manifest, notes = describe(path, content, network, preprocessing)
        notes = (*notes_on(path, network, is_torch=is_torch), *notes)
    model = _assemble(path, tensors, found, has_head=not no_head)
    if arch is not None and found != arch:
        raise IndoorError(
            f"{path} holds a {found}, expected a {arch}; choose --model {found} or other weights"
        )
    if no_head and not backbone:
        raise IndoorError(
            f"{path} is a backbone: {no_head}; expected a last layer that knows classes; "
            f"train one on it (indoor train --weights {path})"
        )
    if no_head:
        notes += (f"{path.name}: a backbone, as {no_head}",)
    _check_preprocessing(path, manifest.preprocessing)
    names: tuple[str, ...] = ()
    if not no_head:
        num_outputs = head_of(model)[1].out_features
        names = _agree_on_classes(path, manifest.classes, num_outputs, classes)
    weights = note_subnormal(manifest.weights, tensors)
    assumed = weights.assumed
    if names and not manifest.classes:
        assumed += (assumed_classes(names),)
    manifest = replace(
        manifest,
        classes=names,
        preprocessing=preprocessing or manifest.preprocessing,
        weights=replace(weights, assumed=assumed),
    )
    return LoadedModel(model, manifest, path, notes, has_head=not no_head)


def assumed_classes(names: Sequence[str]) -> str:
    """Return the clause of `WeightSource.assumed` where the data set's classes were taken."""
    return f"names no classes: taken to be the data set's {len(names)}, in sorted order"


def _assemble(path: Path, tensors: dict[str, Tensor], arch: str, *, has_head: bool) -> nn.Module:
    """Return the network that the tensors are; what a file may lack is added to them."""
    if not known_arch(arch):
        raise IndoorError(
            f"{path} holds a {arch}, expected one of {', '.join(ARCHS)}; give other weights"
        )
    model = build_empty(arch, 1)
    last, layer = head_of(model)
    head = tensors.get(f"{last}.weight")
    if head is not None and head.dim() == 2 and len(head):
        new = nn.Linear(layer.in_features, len(head), device="meta")
        model.set_submodule(last, new.eval())
    for name, expected in model.state_dict().items():
        if name.endswith("num_batches_tracked"):  # torchvision's older files have none
            tensors.setdefault(name, torch.tensor(0))
        elif not has_head and name.startswith(f"{last}."):
            tensors[name] = torch.zeros(expected.shape)
        elif name == f"{last}.bias" and head is not None:
            tensors.setdefault(name, torch.zeros(expected.shape))
    if found := _differences(tensors, model):
        raise IndoorError(
            f"{path} holds no {arch}: {found}; expected torchvision's {ARCHS_IN_WORDS}; "
            "give other weights"
        )
    model.load_state_dict(tensors, assign=True)
    return model


def _differences(tensors: Mapping[str, Tensor], model: nn.Module) -> str:
    """Say the first thing that keeps the tensors from being the model's; empty if nothing."""
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in tensors:
            return f"it lacks {name}"
        if tensors[name].shape != tensor.shape:
            return f"{name} is {tuple(tensors[name].shape)} and not {tuple(tensor.shape)}"
        if tensors[name].dtype != tensor.dtype:
            return f"{name} is {tensors[name].dtype} and not {tensor.dtype}"
    surplus = [name for name in tensors if name not in expected]
    return f"it has {surplus[0]} besides" if surplus else ""


def _check_preprocessing(path: Path, p: Preprocessing) -> None:
    if p.size < 1 or min(p.std) <= 0 or not all(map(math.isfinite, (*p.mean, *p.std))):
        raise IndoorError(
            f"{path} has size {p.size}, mean {p.mean} and std {p.std}, expected a positive size, "
            "finite means and positive deviations; save it again"
        )


def _agree_on_classes(
    path: Path, named: tuple[str, ...], num_outputs: int, wanted: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the class names of a network with `num_outputs` logits."""
    if named and len(named) != num_outputs:
        raise IndoorError(
            f"{path} names {len(named)} classes, expected {num_outputs} as its last layer has; "
            "save it again with its own names"
        )
    if len(set(named)) != len(named):
        raise IndoorError(f"{path} names a class twice, expected different names; save it again")
    if wanted is None:
        return named
    remedy = "train a new head on it (indoor train --weights)"
    if num_outputs != len(wanted):
        raise IndoorError(
            f"{path} has {num_outputs} classes, expected {len(wanted)} as the data has; {remedy}"
        )
    for index, (mine, other) in enumerate(zip(named, wanted, strict=False)):
        if mine != other:
            raise IndoorError(
                f"{path} has {mine!r} as class {index}, expected {other!r} as the data has; "
                f"{remedy}"
            )
    return tuple(wanted)
