"""One epoch of training every weight: how fast each learns, and the average of them."""

import copy
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from indoor.devices import autocast_dtype
from indoor.model import head_of
from indoor.progress import Progress
from indoor.ranks import ALONE, Ranks
from indoor.train.resume_state import restore_random
from indoor.vision import torchvision

LABEL_SMOOTHING = 0.1
"""The share of each target that all classes get (Szegedy et al., arXiv 1512.00567, section 7)."""

WARMUP_EPOCHS = 1
"""Epochs in which the learning rate rises."""

WEIGHT_DECAY = 0.05
"""AdamW's, on the weights of convolutions and linear layers alone."""


@dataclass(frozen=True)
class Run:
    """A network in training, the average of its weights, and its optimizer.

    `forward` is the network as it is called: itself, or what exchanges the gradients with the other
    ranks. `is_frozen` tells whether its batch norms keep their statistics.
    """

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    forward: nn.Module
    is_frozen: bool = False


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The steps of a training: `num_warmup` of `num_steps` raise the learning rate."""

    num_photographs: int
    batch: int
    epochs: int

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
        return min(WARMUP_EPOCHS * self.steps_per_epoch, self.num_steps // 3)

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
    ranks: Ranks = ALONE,
    freezes_batch_norm: bool = False,
) -> Run:
    """Return a run on a copy of the model, with AdamW (Loshchilov and Hutter, 1711.05101).

    With several ranks on GPUs the batch norms take their statistics from all ranks' photographs.
    On CPUs torch cannot, so there `freezes_batch_norm` has to be set.
    """
    assert freezes_batch_norm or ranks.backend != "gloo", "statistics of a part of the batch"
    training = copy.deepcopy(model).to(device).to(memory_format=torch.channels_last)
    training = training.requires_grad_(True).train()
    average = copy.deepcopy(training).requires_grad_(False).eval()
    if ranks.backend == "nccl" and not freezes_batch_norm:
        training = nn.SyncBatchNorm.convert_sync_batchnorm(training)  # type: ignore[no-untyped-call]
    groups = parameter_groups(
        training, learning_rate=learning_rate, backbone_factor=backbone_factor
    )
    forward = training
    if ranks.backend is not None:
        # Statistics are frozen or the same on all ranks: there is nothing to broadcast.
        forward = nn.parallel.DistributedDataParallel(training, broadcast_buffers=False)
    optimizer = torch.optim.AdamW(groups, lr=learning_rate)
    return Run(training, average, optimizer, forward, freezes_batch_norm)


def run_epoch(
    run: Run,
    batches: Iterable[tuple[Tensor, Tensor]],
    schedule: Schedule,
    epoch: int,
    *,
    device: torch.device,
    progress: Progress,
    seed: int = 0,
    ranks: Ranks = ALONE,
    share: float = 1.0,
    num_done: int = 0,
    random: Mapping[str, Tensor] | None = None,
    after_step: Callable[[int], None] = lambda _: None,
) -> float:
    """Train on one epoch's batches, in place.

    Args:
        run: Its network, average and optimizer are changed.
        batches: float32 `(B, 3, H, W)` and int64 `(B,)`.
        schedule: The steps of the whole training.
        epoch: From 1.
        device: Where the run's network lies.
        progress: Hears of each photograph.
        seed: Decides with the epoch what dropout leaves out, in networks that have it; each rank
            leaves out something else.
        ranks: The job's; all of them call this.
        share: This rank's batches as a share of each step's photographs, in 0..1.
        num_done: Steps of the epoch that are behind the run; `batches` are those after them.
        random: As of `random_state` after these steps; None to draw as from the epoch's start.
        after_step: Hears of each step how many of the epoch are done now; the run and torch's
            generators stand there, which `capture` and `random_state` keep.

    Returns:
        The head's learning rate at the epoch's last step.
    """
    dtype = autocast_dtype(device)
    run.forward.train()
    if run.is_frozen:
        freeze_batch_norm(run.model)
    # The ranks' gradients are averaged, and each is to count by its number of photographs.
    weight = share * ranks.size
    key = (seed, epoch) if ranks.is_first else (seed, epoch, ranks.rank)
    first = (epoch - 1) * schedule.steps_per_epoch
    step = first + num_done
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator_for("dropout", *key).initial_seed())
        if random is not None:
            restore_random(random, device)
        for images, labels in batches:
            factor = learning_rate_factor(step, schedule.num_steps, schedule.num_warmup)
            for group in run.optimizer.param_groups:
                group["lr"] = group["full_lr"] * factor
            images = images.to(device).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                logits = run.forward(images)
            loss = nn.functional.cross_entropy(
                logits.float(), labels.to(device), label_smoothing=LABEL_SMOOTHING
            )
            run.optimizer.zero_grad()
            torch.autograd.backward(loss * weight)
            run.optimizer.step()
            update_average(run.average, run.model, step, schedule.average_decay)
            step += 1
            progress.advance(len(images))
            after_step(step - first)
    return max(float(group["lr"]) for group in run.optimizer.param_groups)


def draws(model: nn.Module) -> bool:
    """Return whether the network draws random numbers in training."""
    return any(
        isinstance(one, (_DropoutNd, torchvision.ops.StochasticDepth)) for one in model.modules()
    )


def freeze_batch_norm(model: nn.Module) -> None:
    """Let the batch norms of a network in training use the statistics they have, and keep them.

    Their scale and shift go on training.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def learning_rate_factor(step: int, num_steps: int, num_warmup: int) -> float:
    """Return the share of the full learning rate at a step: a linear rise, then half a cosine.

    Args:
        step: From 0.
        num_steps: All steps of the training.
        num_warmup: The steps of the rise; the step after them has the full rate.

    Returns:
        A factor in 0..1, above 0 before the last step's end (Goyal et al., arXiv 1706.02677, for
        the rise; Loshchilov and Hutter, arXiv 1608.03983, for the cosine).
    """
    if step < num_warmup:
        return (step + 1) / (num_warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / max(1, num_steps - num_warmup)))


def parameter_groups(
    model: nn.Module, *, learning_rate: float, backbone_factor: float
) -> list[dict[str, object]]:
    """Return an optimizer's groups: the new head fast, the backbone slowly, decay where it fits.

    Weight decay pulls the weights of convolutions and linear layers only: on batch-norm scales and
    on biases it changes the function without regularising it (He et al., arXiv 1812.01187, section
    3.1).

    Args:
        model: The network; the parameters of its last layer are the head's.
        learning_rate: The head's.
        backbone_factor: The backbone's learning rate as a share of the head's.

    Returns:
        Up to four groups with `params`, `lr`, `full_lr` (which the schedule scales) and
        `weight_decay`.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    last, _ = head_of(model)
    for name, parameter in model.named_parameters():
        key = (name.startswith(f"{last}."), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * (1.0 if is_head else backbone_factor),
            "full_lr": learning_rate * (1.0 if is_head else backbone_factor),
            "weight_decay": WEIGHT_DECAY if decays else 0.0,
        }
        for (is_head, decays), parameters in groups.items()
    ]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the model: weights and batch-norm statistics alike.

    The statistics are averaged too because they belong to the weights: averaged weights with the
    last step's statistics are no network that was ever near the training's path.

    Args:
        average: Changed in place.
        model: The network in training.
        step: Updates before this one; early ones count for more, or the average would remember
            its beginning (`min(decay, (1 + step) / (10 + step))`, as TensorFlow's
            ExponentialMovingAverage has it).
        decay: The share that stays, in 0..1.
    """
    kept = min(decay, (1 + step) / (10 + step))
    current = model.state_dict()
    floats: list[Tensor] = []
    targets: list[Tensor] = []
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            targets.append(tensor)
            floats.append(current[name])
        else:
            tensor.copy_(current[name])
    torch._foreach_lerp_(targets, floats, 1 - kept)


def generator_for(*key: str | int) -> torch.Generator:
    """Return a CPU generator whose numbers depend on the key alone.

    Deriving one per (seed, epoch, photograph) leaves no generator state to save, so a resumed
    training draws what an uninterrupted one draws.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
