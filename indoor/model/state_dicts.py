"""Other people's weights: state dicts of torch.save, read without executing what they hold."""

import math
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from indoor.errors import IndoorError
from indoor.files import remembered_sha256
from indoor.model.tensors import FORMAT
from indoor.records import CheckpointManifest, Preprocessing, WeightSource
from indoor.transforms import DEFAULT_PREPROCESSING

_CONTAINERS = ("state_dict", "model_state_dict", "model")
"""The keys under which training scripts keep a state dict beside other things."""

_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and wrapper modules put before each name."""

_LOAD_WARNINGS = (
    "Detected pickle protocol",
    "'torch.load' received a zip file that looks like a TorchScript archive",
    "TypedStorage is deprecated",
)
"""torch.load's remarks on files that are read, or refused with an error of ours, all the same."""


def read_state_dict(path: Path) -> tuple[dict[str, object], Mapping[str, object]]:
    """Return the state dict in a file of torch.save, and the dict that it lay in (or nothing)."""
    content = _unpickle(path)
    if not isinstance(content, Mapping):
        raise IndoorError(
            f"{path} holds a {type(content).__name__}, expected a state dict; "
            "save model.state_dict() instead"
        )
    for key in _CONTAINERS:
        if isinstance(content.get(key), Mapping):
            return dict(content[key]), content
    return dict(content), {}


def as_float32(path: Path, state: Mapping[str, object]) -> dict[str, Tensor]:
    """Return the tensors under torchvision's names, floating ones as finite float32."""
    quantized = [
        name
        for name, value in state.items()
        if "_packed_params" in str(name) or (isinstance(value, Tensor) and value.is_quantized)
    ]
    if quantized:
        raise not_float(path, "int8")
    tensors = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise IndoorError(
                f"{path} holds no state dict ({name!r} is a {type(value).__name__}), expected "
                "tensors by name; save model.state_dict() instead"
            )
        if name.endswith("num_batches_tracked"):  # float16 where a script halved everything
            tensors[name] = value.to(torch.int64)
        else:
            tensors[name] = value.to(torch.float32) if value.is_floating_point() else value
    while prefix := _common_prefix(tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        # One NaN or infinity makes the sum one too; isfinite on each value takes six times longer.
        if tensor.is_floating_point() and not math.isfinite(tensor.sum().item()):
            raise IndoorError(
                f"{path} holds NaN or infinite weights in {name}, expected finite ones; "
                "the training diverged, take an earlier checkpoint"
            )
    return tensors


def describe(
    path: Path, arch: str, about: Mapping[str, object], preprocessing: Preprocessing | None
) -> CheckpointManifest:
    """Return the manifest of somebody else's file, from what lies beside its state dict.

    `weights.assumed` names what the file does not say, unless the caller gave the `preprocessing`.
    """
    epoch = about.get("epoch")
    unsaid = [key for key in ("mean", "std") if about.get(key) is None]
    assumed = [f"says no {' and '.join(unsaid)}: ImageNet's"] if unsaid else []
    size = DEFAULT_PREPROCESSING.size
    assumed.append(f"says no input size: the whole photograph at {size} x {size}")
    return CheckpointManifest(
        format=FORMAT,
        arch=arch,
        precision="float32",
        classes=_names(path, about.get("classes")),
        preprocessing=replace(
            DEFAULT_PREPROCESSING,
            mean=_channels(path, about, "mean", DEFAULT_PREPROCESSING.mean),
            std=_channels(path, about, "std", DEFAULT_PREPROCESSING.std),
        ),
        weights=WeightSource(
            kind="file",
            name=path.name,
            sha256=remembered_sha256(path),
            assumed=() if preprocessing else tuple(assumed),
        ),
        epoch=epoch if isinstance(epoch, int) else None,
    )


def not_float(path: Path, precision: str) -> IndoorError:
    """Return the error for a quantized model where a float32 one is expected."""
    return IndoorError(
        f"{path} holds an {precision} model, expected float32; give the float32.safetensors that "
        "it was made from"
    )


def _unpickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            for message in _LOAD_WARNINGS:
                warnings.filterwarnings("ignore", message=re.escape(message))
            # By its content: torch.load would take a name that ends in .safetensors at its word.
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it names {named[1]}" if named else "more than tensors, or damaged"
        raise IndoorError(
            f"{path} could run code when loaded ({what}), expected weights alone; "
            "save model.state_dict() where it was made"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        # A damaged archive surfaces as any of these, depending on the byte that is wrong.
        if "TorchScript" in str(error):
            raise IndoorError(
                f"{path} is a TorchScript archive, which is code, expected weights alone; "
                "save model.state_dict() where it was made"
            ) from error
        raise IndoorError(
            f"{path} is damaged ({_first_sentence(error)}), expected a whole file of torch.save; "
            "copy or make it again"
        ) from error


def _common_prefix(tensors: Mapping[str, Tensor]) -> str:
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return prefix
    return ""


def _names(path: Path, classes: object) -> tuple[str, ...]:
    if classes is None:
        return ()
    if isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes):
        return tuple(classes)
    raise IndoorError(
        f"{path} has classes of type {type(classes).__name__}, expected a list of names in the "
        "order of the logits; save it again with one"
    )


def _channels(
    path: Path, about: Mapping[str, object], key: str, default: tuple[float, float, float]
) -> tuple[float, float, float]:
    value = about.get(key)
    if value is None:
        return default
    numbers = value.tolist() if isinstance(value, Tensor) else value
    if (
        not isinstance(numbers, list | tuple)
        or len(numbers) != 3
        or not all(isinstance(x, int | float) for x in numbers)
    ):
        raise IndoorError(f"{path} has {key} {numbers!r}, expected three numbers; save it again")
    return (float(numbers[0]), float(numbers[1]), float(numbers[2]))


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0].rstrip(".")
