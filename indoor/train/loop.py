"""One epoch of training every weight, and the tensors that an interrupted training needs."""

import copy
import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from indoor.devices import autocast_dtype
from indoor.progress import Progress
from indoor.train.schedule import learning_rate_factor, parameter_groups, update_average


@dataclass(frozen=True)
class Run:
    """A network in training, the average of its weights, and its optimizer."""

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The steps of a training: `num_warmup` of `num_steps` raise the learning rate."""

    num_photographs: int
    batch: int
    epochs: int
    warmup_epochs: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch; the ragged rest waits for another epoch's order."""
        return max(1, self.num_photographs // self.batch)

    @property
    def num_steps(self) -> int:
        """All steps of the training."""
        return self.epochs * self.steps_per_epoch

    @property
    def num_warmup(self) -> int:
        """Steps that raise the learning rate, fewer where the training is short."""
        return min(self.warmup_epochs * self.steps_per_epoch, self.num_steps // 3)

    @property
    def average_decay(self) -> float:
        """An average over about the last epoch's steps, at least eight."""
        return math.exp(-1 / max(8, self.steps_per_epoch))


def start_run(
    model: nn.Module,
    device: torch.device,
    *,
    learning_rate: float,
    backbone_factor: float,
    weight_decay: float,
) -> Run:
    """Return a run on a copy of the model, with AdamW (Loshchilov and Hutter, 1711.05101)."""
    training = copy.deepcopy(model).to(device).to(memory_format=torch.channels_last)
    training = training.requires_grad_(True).train()
    average = copy.deepcopy(training).requires_grad_(False).eval()
    groups = parameter_groups(
        training,
        learning_rate=learning_rate,
        backbone_factor=backbone_factor,
        weight_decay=weight_decay,
    )
    return Run(training, average, torch.optim.AdamW(groups, lr=learning_rate))


def run_epoch(
    run: Run,
    batches: Iterable[tuple[Tensor, Tensor]],
    schedule: Schedule,
    epoch: int,
    *,
    label_smoothing: float,
    device: torch.device,
    progress: Progress,
) -> float:
    """Train on one epoch's batches, in place.

    Args:
        run: Its network, average and optimizer are changed.
        batches: float32 `(B, 3, H, W)` and int64 `(B,)`.
        schedule: The steps of the whole training.
        epoch: From 1.
        label_smoothing: The share of each target that all classes get, in 0..1.
        device: Where the run's network lies.
        progress: Hears of each photograph.

    Returns:
        The head's learning rate at the epoch's last step.
    """
    dtype = autocast_dtype(device)
    run.model.train()
    step = (epoch - 1) * schedule.steps_per_epoch
    for images, labels in batches:
        factor = learning_rate_factor(step, schedule.num_steps, schedule.num_warmup)
        for group in run.optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        with _autocast(device, dtype):
            logits = run.model(images)
        loss = nn.functional.cross_entropy(
            logits.float(), labels.to(device), label_smoothing=label_smoothing
        )
        run.optimizer.zero_grad()
        torch.autograd.backward(loss)
        run.optimizer.step()
        update_average(run.average, run.model, step, schedule.average_decay)
        step += 1
        progress.advance(len(images))
    return max(float(group["lr"]) for group in run.optimizer.param_groups)


def capture(run: Run) -> dict[str, Tensor]:
    """Return the tensors that `restore` needs; they are the run's own, not copies."""
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in run.average.state_dict().items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": tensor for key, tensor in state.items()}
    return tensors


@torch.no_grad()
def restore(run: Run, tensors: Mapping[str, Tensor]) -> None:
    """Bring the run back to where `capture` saw it, in place."""
    run.model.load_state_dict(_part(tensors, "model."))
    run.average.load_state_dict(_part(tensors, "average."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    groups = run.optimizer.state_dict()["param_groups"]
    run.optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, values in run.optimizer.state.items():
        for key, value in values.items():
            if value.shape == parameter.shape:
                # In the weight's own memory format, as the optimizer makes it: a vectorised loop
                # and a strided one may round differently.
                values[key] = torch.empty_like(parameter).copy_(value)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
