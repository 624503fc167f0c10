"""What a training keeps of its epochs: figures, the best one, and all it needs after a kill."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.measure.proportions import wilson
from indoor.model import hash_tensors, write_plain
from indoor.records import Epoch, Recipe, TrainingCurves, from_json, to_json

OVERFIT_GAP = 0.10
"""Train minus validation accuracy beyond which a training is said to overfit."""

_HASH = "content_sha256"
_NUM_EPOCHS = "num_epochs"
_CURVES = "curves"
_STEP = "step"
_SECONDS = "seconds"
_RANDOM = "random."


@dataclass(frozen=True)
class State:
    """A training after `num_epochs` whole epochs; `curves` is None where it draws none.

    `step` counts the steps of the epoch after them that are done, in `seconds`; with them the
    tensors hold `random_state`.
    """

    tensors: dict[str, Tensor]
    num_epochs: int
    curves: TrainingCurves | None
    step: int = 0
    seconds: float = 0.0


def write_state(path: Path, state: State) -> None:
    """Write the state whole or not at all; a kill leaves the one before."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in state.tensors.items()}
    metadata = {_NUM_EPOCHS: str(state.num_epochs)}
    if state.curves is not None:
        metadata[_CURVES] = to_json(state.curves).decode()
    if state.step:
        metadata |= {_STEP: str(state.step), _SECONDS: repr(state.seconds)}
    metadata[_HASH] = _hash(tensors, metadata)
    write_plain(path, tensors, metadata)


def read_state(path: Path) -> State | None:
    """Return the state that `write_state` left, or None where there is none.

    A file that cannot be read or is not what was written (a failing disk, another version) counts
    as none: the training then begins anew, which costs time and changes no figure.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        if metadata.pop(_HASH) != _hash(tensors, metadata):
            return None
        curves = metadata.get(_CURVES)
        return State(
            # Copies: what safetensors maps need not be aligned as torch aligns its own tensors,
            # and alignment can change the last bit of a product.
            {name: tensor.clone() for name, tensor in tensors.items()},
            int(metadata[_NUM_EPOCHS]),
            None if curves is None else from_json(curves, TrainingCurves, str(path)),
            int(metadata.get(_STEP, "0")),
            float(metadata.get(_SECONDS, "0")),
        )
    except (SafetensorError, IndoorError, OSError, KeyError, ValueError):
        return None


def read_curves(path: Path) -> TrainingCurves | None:
    """Return the curves of a state alone, unproven; None where it has none that can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return from_json((file.metadata() or {})[_CURVES], TrainingCurves, str(path))
    except (SafetensorError, IndoorError, OSError, KeyError):
        return None


def _hash(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    parts = (hash_tensors(tensors), sorted(metadata.items()))
    return hashlib.sha256(to_json(parts)).hexdigest()


def capture(optimizer: torch.optim.Optimizer, **modules: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that `restore` needs; they are the modules' own, not copies."""
    tensors = {
        f"{which}.{name}": tensor
        for which, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": tensor for key, tensor in state.items()}
    return tensors


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return where torch's own generators stand, of the CPU and of the device."""
    found = {f"{_RANDOM}cpu": torch.get_rng_state()}
    if device.type != "cpu":
        found[f"{_RANDOM}device"] = torch.get_device_module(device).get_rng_state()
    return found


def restore_random(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Put the generators where `random_state` found them."""
    torch.set_rng_state(tensors[f"{_RANDOM}cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(tensors[f"{_RANDOM}device"])


@torch.no_grad()
def restore(
    tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, **modules: nn.Module
) -> None:
    """Bring the modules and their optimizer back to where `capture` saw them, in place."""
    for which, module in modules.items():
        module.load_state_dict(_part(tensors, f"{which}."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if value.shape == parameter.shape:
                # In the weight's own memory format, as the optimizer makes it: a vectorised loop
                # and a strided one may round differently.
                values[key] = torch.empty_like(parameter).copy_(value)


def measure(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean cross-entropy in nats and the accuracy in 0..1.

    Args:
        logits: float32 `(N, C)`.
        labels: int64 `(N,)`.
    """
    loss = nn.functional.cross_entropy(logits.double(), labels).item()
    hits = (logits.argmax(1) == labels).to(torch.float64).mean().item()
    return loss, hits


def best_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """Return the epoch with the highest validation accuracy.

    Of equals the one with the lower validation loss, then the earlier.
    """
    return min(epochs, key=lambda e: (-e.val_accuracy, e.val_loss, e.epoch))


def make_curves(
    recipe: Recipe,
    epochs: Sequence[Epoch],
    settings: dict[str, str | int | float],
    *,
    num_train: int,
    num_val: int,
) -> TrainingCurves:
    """Return the record of the epochs so far, with the best one and the note on overfitting.

    Args:
        recipe: The recipe.
        epochs: At least one.
        settings: What decided the training.
        num_train: The photographs behind each `train_accuracy`.
        num_val: The photographs behind each `val_accuracy`.
    """
    best = best_epoch(epochs)
    return TrainingCurves(
        recipe=recipe,
        epochs=tuple(epochs),
        best_epoch=best.epoch,
        note=overfit_note(best, num_train, num_val),
        settings=settings,
    )


def overfit_note(best: Epoch, num_train: int, num_val: int) -> str | None:
    """Say by how much the best epoch overfits, where it does beyond chance.

    It does where train minus validation accuracy exceeds `OVERFIT_GAP` and its 95% interval lies
    above zero. The interval is Newcombe's hybrid of two Wilson intervals (Statistics in Medicine
    17, 1998, method 10), since a few dozen validation photographs differ from as many train ones
    by ten points without any overfitting.

    Args:
        best: The epoch whose model is kept.
        num_train: The photographs behind `best.train_accuracy`.
        num_val: The photographs behind `best.val_accuracy`.
    """
    train, val = best.train_accuracy, best.val_accuracy
    gap = train - val
    of_train = wilson(round(train * num_train), num_train).interval
    of_val = wilson(round(val * num_val), num_val).interval
    low = gap - ((train - of_train.low) ** 2 + (of_val.high - val) ** 2) ** 0.5
    high = gap + ((of_train.high - train) ** 2 + (val - of_val.low) ** 2) ** 0.5
    if gap <= OVERFIT_GAP or low <= 0:
        return None
    return (
        f"overfits: at epoch {best.epoch} {train:.1%} of {num_train} train and {val:.1%} of "
        f"{num_val} validation photographs are right, {100 * gap:.1f} points apart "
        f"(95% interval {100 * low:.1f} to {100 * high:.1f})"
    )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
