"""Other people's weights: the network in a file of theirs, in float32 under torchvision's names."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from indoor.errors import IndoorError
from indoor.files import remembered_sha256
from indoor.model.contents import entries_of, kind_of, leaves_of
from indoor.model.file_kinds import convert
from indoor.model.imagenet import preprocessing_of
from indoor.model.inert import QUANTIZED, CodeInPickle, Placeholder
from indoor.model.last_layer import shorten
from indoor.model.matching import Found, find_network
from indoor.model.naming import RESNETS
from indoor.model.network import ARCHS_IN_WORDS
from indoor.model.said import find_channels, find_classes
from indoor.model.tensors import FORMAT
from indoor.model.torch_files import UNREADABLE, open_archive, read_torch
from indoor.records import CheckpointManifest, Preprocessing, WeightSource
from indoor.transforms import IMAGENET_MEAN

_RELATIVES: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (1, 1, 1, 1)): "resnet10",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (1, 1, 1, 1)): "resnet14",
    (True, (2, 2, 2, 2)): "resnet26",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
"""ResNets that are not read: whether their blocks have three convolutions, blocks in each layer."""

_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.")

RECTIFIED = ("mobilenet_v2",)
"""torchvision's quantizable network has ReLU for the plain one's ReLU6, which cannot be fused."""

_MAX_VALUES = 100_000_000
"""Those of a ResNeXt-101 of 1,000 classes are 89 million, others' a third of it at most."""

_MAX_TESTED = 4_000_000_000
"""Bytes that are unpacked to know whether a file is whole: ten seconds."""

_EXPONENT = 0x7F800000
"""The bits of float32 that are all 0 in zeros and subnormal numbers, all 1 in NaN and infinity."""


def read_content(path: Path) -> object:
    """Return what a file of torch.save or pickle holds; nothing in it is executed.

    Raises:
        IndoorError: It is damaged, or names something that runs programs.
    """
    try:
        return read_torch(path)
    except CodeInPickle as error:
        command = convert(
            path,
            "c = torch.load(OLD, map_location='cpu', weights_only=False); "
            "torch.save(c.state_dict() if hasattr(c, 'state_dict') else {k: v for k, v in "
            "c.items() if torch.is_tensor(v) or isinstance(v, dict)}, NEW)",
        )
        raise IndoorError(
            f"{path} could run code when loaded (it names {error}), expected weights alone; where "
            f"it was made, and if you trust it: {command}"
        ) from error
    except UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if _is_whole(path):
            raise IndoorError(
                f"{path} cannot be read ({reason}), expected a state dict in a file of torch.save; "
                "save model.state_dict() where it was made"
            ) from error
        raise IndoorError(
            f"{path} is damaged ({reason}), expected a whole file of torch.save; "
            "copy or make it again"
        ) from error


def extract(path: Path, content: object) -> Found:
    """Return the network in a file's content.

    Raises:
        IndoorError: There is none, or it is another than those that are read.
    """
    found = find_network(content)
    if found is None:
        raise _no_network(path, content)
    values = (*found.tensors.values(), *found.head.values())
    packed = any("_packed_params" in str(key) for key in found.containers[0])
    if packed or any(isinstance(v, Placeholder) and v.name == QUANTIZED for v in values):
        raise not_float(path, "int8")
    for name, value in (found.tensors | found.head).items():
        if not isinstance(value, Tensor):
            raise IndoorError(
                f"{path} has {kind_of(value)} as {name}, expected a tensor; save a state dict "
                "of ordinary tensors (of a sharded network, the full one)"
            )
    total = sum(v.numel() for v in values if isinstance(v, Tensor))
    if total > _MAX_VALUES:  # a tensor of stride 0 takes no place in the file
        raise IndoorError(
            f"{path} holds no {found.arch}: its tensors have {total:,} values, expected at most "
            f"{_MAX_VALUES:,}; give other weights"
        )
    if relative := _relative(found):
        raise IndoorError(
            f"{path} holds a {relative}, expected torchvision's {ARCHS_IN_WORDS}; "
            "give other weights"
        )
    if found.foreign:
        what = _part(found.foreign[0])
        raise IndoorError(
            f"{path} holds no {found.arch}: it has {found.foreign[0]} besides{what}; expected "
            f"torchvision's {ARCHS_IN_WORDS}; give other weights"
        )
    return found


def as_float32(path: Path, values: Mapping[str, object], *, copy: bool) -> dict[str, Tensor]:
    """Return the tensors, floating ones as finite float32; `copy` gives memory of their own."""
    tensors = {}
    for name, value in values.items():
        assert isinstance(value, Tensor)
        kind = torch.float32 if value.is_floating_point() else value.dtype
        if name.endswith("num_batches_tracked"):  # float16 where a script halved everything
            kind = torch.int64
        tensors[name] = value.detach().to(kind, copy=copy, memory_format=torch.contiguous_format)
    for name, tensor in tensors.items():
        # One NaN or infinity makes the sum one too; isfinite on each value takes six times longer.
        if tensor.is_floating_point() and not math.isfinite(tensor.sum().item()):
            raise IndoorError(
                f"{path} holds NaN or infinite weights in {name}, expected finite ones; "
                "the training diverged, take an earlier checkpoint"
            )
        if name.endswith("running_var") and tensor.numel() and tensor.min().item() < 0:
            raise IndoorError(
                f"{path} holds negative variances in {name}, expected 0 or more; give other weights"
            )
    return tensors


def note_subnormal(source: WeightSource, tensors: Mapping[str, Tensor]) -> WeightSource:
    """Return the source with a clause that says how many of its weights are subnormal."""
    floats = [t for t in tensors.values() if t.dtype == torch.float32]
    total = sum(tensor.numel() for tensor in floats)
    num_subnormal = sum(map(_count_subnormal, floats))
    clause = (
        f"{num_subnormal:,} of {total / 1e6:.1f} million weights are subnormal, which slows "
        "float32 down"
    )
    if num_subnormal and clause in source.assumed:
        return source
    others = tuple(clause for clause in source.assumed if "are subnormal" not in clause)
    return replace(source, assumed=others + ((clause,) if num_subnormal else ()))


def describe(
    path: Path, content: object, found: Found, preprocessing: Preprocessing | None
) -> tuple[CheckpointManifest, tuple[str, ...]]:
    """Return the manifest of somebody else's file, and notes on where it says what it says.

    `weights.assumed` names what the file does not say, and of the preprocessing nothing where the
    caller gave one.
    """
    epoch = found.said.get("epoch")
    classes, place, unclear = find_classes(path, content, found)
    mean, std, channels_place, unclear_channels = find_channels(path, content, found)
    notes = [f"the classes are those of {place}"] if place else []
    notes += [f"mean and std are those of {channels_place}"] if channels_place else []
    unsaid = [key for key, value in (("mean", mean), ("std", std)) if value is None]
    usual = preprocessing_of(found.arch)
    whose = "ImageNet's" if usual.mean == IMAGENET_MEAN else "0.5, which its ImageNet weights want"
    assumed = [f"says no {' and '.join(unsaid)}: {whose}"] if unsaid else []
    assumed += [unclear_channels] if unclear_channels else []
    if max(mean or (0.0,)) > 2:  # of photographs in 0..255, as OpenMMLab has them
        mean, std = (
            value and (value[0] / 255, value[1] / 255, value[2] / 255) for value in (mean, std)
        )
        assumed.append("says a mean for 0..255: mean and std were divided by 255")
    size = usual.size
    assumed.append(f"says no input size: the whole photograph at {size} x {size}")
    if preprocessing is not None:
        assumed = []
    assumed += [unclear] if unclear else []
    if found.arch in RECTIFIED:
        assumed.append("has ReLU6 in torchvision's plain network: computed as ReLU")
    if found.rivals:
        assumed.append(f"has another network in {shorten(found.rivals)}: not used")
    if found.beside:
        assumed.append(f"has {shorten(found.beside)} beside the network: no part of it")
    manifest = CheckpointManifest(
        format=FORMAT,
        arch=found.arch,
        precision="float32",
        classes=classes,
        preprocessing=replace(
            usual,
            mean=mean or usual.mean,
            std=std or usual.std,
        ),
        weights=WeightSource(
            kind="file",
            name=path.name,
            sha256=remembered_sha256(path),
            assumed=tuple(assumed),
        ),
        epoch=epoch if isinstance(epoch, int) else None,
    )
    return manifest, tuple(f"{path.name}: {note}" for note in notes)


def notes_on(path: Path, found: Found, *, is_torch: bool) -> Iterator[str]:
    """Return what to tell the user of where the weights were found, and of what was left out."""
    for note in found.notes:
        yield f"{path.name}: {note}"
    for expression in found.averaged:
        load = (
            "torch.load(OLD, map_location='cpu', weights_only=False)"
            if is_torch
            else "__import__('safetensors.torch').torch.load_file(OLD)"
        )
        command = convert(path, f"c = {load}; torch.save({expression}, NEW)")
        yield f"{path.name}: to use the averaged weights, where it was made: {command}"


def not_float(path: Path, precision: str) -> IndoorError:
    """Return the error for a quantized model where a float32 one is expected."""
    return IndoorError(
        f"{path} holds an {precision} model, expected float32; give the float32.safetensors that "
        "it was made from"
    )


def _is_whole(path: Path) -> bool:
    """Tell whether a file is a zip archive whose checksums are right; others have none.

    One that unpacks without end is not unpacked: whoever made it so made it whole.
    """
    try:
        with path.open("rb") as file, open_archive(file) as archive:
            total = sum(info.file_size for info in archive.infolist())
            return total > _MAX_TESTED or archive.testzip() is None
    except UNREADABLE:
        return False


def _no_network(path: Path, content: object) -> IndoorError:
    """Return the error for a file that has not one tensor of a network that is read."""
    leaves = leaves_of(content)
    if any(isinstance(v.value, Placeholder) and v.value.name == QUANTIZED for v in leaves.values()):
        return not_float(path, "int8")
    if isinstance(content, Mapping) and {"state", "param_groups"} <= content.keys():
        what = "holds an optimizer's state"
    elif not isinstance(content, Mapping) or (isinstance(content, Placeholder) and not leaves):
        what = f"holds a {kind_of(content)}"
    else:
        entries = list(entries_of(content))
        tensors = [n for n in leaves if not n.isdigit() and isinstance(leaves[n].value, Tensor)]
        if entries and not tensors:
            key, value = entries[0]
            return IndoorError(
                f"{path} holds no state dict ({key!r} is a {kind_of(value)}), expected "
                "tensors by name; save model.state_dict() instead"
            )
        has = f" (these have {shorten(tensors)})" if tensors else ""
        return IndoorError(
            f"{path} holds no resnet18: it lacks conv1.weight; expected torchvision's "
            f"{ARCHS_IN_WORDS}; give other weights{has}"
        )
    return IndoorError(f"{path} {what}, expected a state dict; save model.state_dict() instead")


def _relative(found: Found) -> str:
    """Return the name of another ResNet, by the number and the width of its blocks."""
    if found.arch not in RESNETS or found.arch == RESNETS[-1]:
        return ""
    blocks: dict[str, set[str]] = {}
    for name in (*found.tensors, *found.foreign):
        if block := _BLOCK.match(name):
            blocks.setdefault(block[1], set()).add(block[2])
    depth = tuple(len(blocks.get(layer, ())) for layer in "1234")
    has_three = found.arch == "resnet50"
    known = _RELATIVES.get((has_three, depth), "")
    second = found.tensors.get("layer1.0.conv2.weight")
    if not has_three or not isinstance(second, Tensor) or second.dim() != 4:
        return known
    width, depth_in = second.shape[:2]
    if depth_in < width:
        number = known.removeprefix("resnet") or "50"
        return f"resnext{number} ({width // depth_in} groups)"
    return known or ("wide resnet50" if width > 64 else "")


def _part(name: str) -> str:
    """Return what a tensor of this name is a part of, in brackets, where that is known."""
    kinds = {
        r"\.(se|fc1|fc2|se_module|conv_reduce)\.": "squeeze and excitation",
        r"\.(filt|aa|blur)\b": "anti-aliasing",
        r"^(conv1|stem)\.\d": "a stem of several convolutions",
        r"fake_quant|activation_post_process": "quantization-aware training",
        r"weight_(orig|mask)$": "pruning; torch.nn.utils.prune.remove ends it",
    }
    return next((f" ({kind})" for words, kind in kinds.items() if re.search(words, name)), "")


def _count_subnormal(tensor: Tensor) -> int:
    """Count the values with 0 < |x| < 2**-126, float32 of any shape."""
    bits = tensor.view(torch.int32)  # arithmetic on subnormal floats would be slow, or flush them
    num_small = tensor.numel() - int(torch.count_nonzero(bits & _EXPONENT))
    if num_small == 0:
        return 0
    return num_small - (tensor.numel() - int(torch.count_nonzero(bits & 0x7FFFFFFF)))
