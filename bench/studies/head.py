"""What 20 epochs of the head cost by the reference's loop and by ours, in one run.

Example:
    python -m bench.studies.head --data ROOT --weights FILE --photographs 512 --out head.json
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.studies import run
from indoor.dataset import IndoorScenes, load_batches, stratified_sample
from indoor.errors import IndoorError
from indoor.files import write_text
from indoor.machine import read_machine
from indoor.measure import current_allocator
from indoor.measure.worker import minor_faults
from indoor.model import ARCHS, head_of, replace_head, resolve_weights
from indoor.records import Preprocessing, to_builtins
from indoor.train.augmented_views import PlainScenes
from indoor.train.features import read_features
from indoor.train.head import (
    HEAD_BATCH,
    HEAD_EPOCHS,
    HEAD_LEARNING_RATE,
    HEAD_MOMENTUM,
    epoch_order,
    train_head,
)
from indoor.train.resume_state import read_state

VAL_PER_TRAIN = 0.15 / 0.85
MAX_DIFFERENCE = 1e-4
NUM_OURS = 5
"""How often ours is run, spread over the reference's epochs."""


@dataclass(frozen=True)
class Decoded:
    """Transformed photographs in memory, float32 `(N, 3, H, W)`, and their labels."""

    scenes: IndoorScenes
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a photograph and its label."""
        return self.images[index], int(self.labels[index])


@dataclass(frozen=True)
class Arm:
    """What one way of training ended at and cost."""

    weight: Tensor
    bias: Tensor
    val_accuracy: float
    seconds: float
    num_faults: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Time both ways, compare their heads, print and record the figures.

    Returns:
        0; 1 where the heads differ by more than 1e-4.
    """
    parsed = _parse(arguments)
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    weights = resolve_weights(parsed.weights, parsed.model)
    train = _decode(parsed.data, "train", parsed.photographs, weights.preprocessing)
    num_val = max(1, round(parsed.photographs * VAL_PER_TRAIN))
    val = _decode(parsed.data, "val", num_val, weights.preprocessing)
    network = replace_head(weights.model, len(train.scenes.classes), seed=0)
    # Ours stands between the reference's epochs, and not before or after all of them: a busy
    # quarter of an hour then hits both, and medians leave it out of the ratio.
    reference: list[Arm] = []
    ours: list[Arm] = []
    for arm in _train_through_backbone(network, train, val, parsed.epochs):
        if len(reference) % (parsed.epochs // NUM_OURS or 1) == 0:
            ours.append(_train_cached(network, train, val, weights.preprocessing, parsed.epochs))
        reference.append(arm)
    end = reference[-1]
    difference = max(
        float((arm.weight - end.weight).abs().max().maximum((arm.bias - end.bias).abs().max()))
        for arm in ours
    )
    reference_s = parsed.epochs * statistics.median(arm.seconds for arm in reference)
    ours_s = statistics.median(arm.seconds for arm in ours)
    num_photographs = len(train) + len(val)
    machine = read_machine()
    record = {
        "study": "head",
        "arch": parsed.model,
        "weights": to_builtins(weights.source),
        "preprocessing": to_builtins(weights.preprocessing),
        "data": parsed.data.resolve().name,
        "num_train": len(train),
        "num_val": len(val),
        "epochs": parsed.epochs,
        "threads": torch.get_num_threads(),
        "allocator": current_allocator(),
        "machine": to_builtins(machine),
        "reference_s": reference_s,
        "reference_epochs_s": [arm.seconds for arm in reference],
        "ours_s": ours_s,
        "ours_runs_s": [arm.seconds for arm in ours],
        "ratio": reference_s / ours_s,
        "max_abs_difference": difference,
        "val_accuracy": {"reference": end.val_accuracy, "ours": ours[-1].val_accuracy},
        "faults_per_photograph_and_pass": {
            "reference": reference[-1].num_faults / num_photographs,
            "ours": ours[-1].num_faults / num_photographs,
        },
    }
    if parsed.out:
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    print(  # noqa: T201 - a script's output
        f"{machine.cpu_model}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
        f"{parsed.epochs} epochs, {len(train)} train and {len(val)} validation photographs\n"
        f"reference's loop  {reference_s:9.1f} s ({_spread(reference)} s an epoch)\n"
        f"features once     {ours_s:9.1f} s (median of {len(ours)}, {_spread(ours)} s)\n"
        f"ratio             {record['ratio']:9.1f}\n"
        f"heads differ by   {difference:9.1e} at most (allowed: {MAX_DIFFERENCE:.0e})"
    )
    return 0 if difference <= MAX_DIFFERENCE else 1


def _train_cached(
    network: nn.Module, train: Decoded, val: Decoded, preprocessing: Preprocessing, epochs: int
) -> Arm:
    """Do what `indoor train --recipe head` does, from an empty cache, hashing and all."""
    _, head = head_of(network)
    with tempfile.TemporaryDirectory() as folder, _counting() as cost:
        cache, state_path = Path(folder) / "features", Path(folder) / "state.safetensors"
        features = [
            read_features(network, part.scenes, preprocessing, cache, decoded=part)
            for part in (train, val)
        ]
        result = train_head(head, *features, epochs=epochs, state_path=state_path)
        state = read_state(state_path)
    assert state is not None
    return Arm(
        state.tensors["last.weight"],
        state.tensors["last.bias"],
        result.curves.epochs[-1].val_accuracy,
        *cost,
    )


def _train_through_backbone(
    network: nn.Module, train: Decoded, val: Decoded, epochs: int
) -> Iterator[Arm]:
    """Do what the reference does, but for its backbone in training mode; yield each epoch."""
    model = replace_head(network, len(train.scenes.classes), seed=0).requires_grad_(False)
    head = head_of(model)[1].requires_grad_(True)
    optimizer = torch.optim.SGD(head.parameters(), lr=HEAD_LEARNING_RATE, momentum=HEAD_MOMENTUM)
    for epoch in range(1, epochs + 1):
        num_hits = 0
        with _counting() as cost:
            for rows in epoch_order(len(train), 0, epoch).split(HEAD_BATCH):
                optimizer.zero_grad()
                logits = model(train.images[rows])
                nn.functional.cross_entropy(logits, train.labels[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                for rows in torch.arange(len(val)).split(HEAD_BATCH):
                    hits = model(val.images[rows]).argmax(1) == val.labels[rows]
                    num_hits += int(hits.sum())
        yield Arm(head.weight.detach(), head.bias.detach(), num_hits / len(val), *cost)


def _spread(arms: Sequence[Arm]) -> str:
    seconds = [arm.seconds for arm in arms]
    return f"{min(seconds):.2f} to {max(seconds):.2f}"


@contextmanager
def _counting() -> Iterator[list[Any]]:
    """Yield a list that holds seconds and minor page faults after the block."""
    cost: list[Any] = []
    started, faults = time.perf_counter(), minor_faults()
    yield cost
    cost += [time.perf_counter() - started, minor_faults() - faults]


def _decode(root: Path, split: str, count: int, preprocessing: Preprocessing) -> Decoded:
    scenes = IndoorScenes(root, split)  # type: ignore[arg-type]
    if count > len(scenes):
        raise IndoorError(
            f"{root} has {len(scenes)} {split} photographs, expected {count}; lower --photographs"
        )
    sample = sorted(stratified_sample(scenes.labels, count, 0))
    scenes.samples = tuple(scenes.samples[index] for index in sample)
    parts = list(load_batches(PlainScenes(scenes, preprocessing, range(count)), 64))
    return Decoded(
        scenes, torch.cat([images for images, _ in parts]), torch.cat([x for _, x in parts])
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.head", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a data set's folder")
    parser.add_argument("--weights", type=Path, help="a checkpoint (default: ImageNet's)")
    parser.add_argument("--model", choices=ARCHS, default="resnet50")
    parser.add_argument("--photographs", type=int, default=256, help="of the train split")
    parser.add_argument("--epochs", type=int, default=HEAD_EPOCHS)
    parser.add_argument("--threads", type=int, help="default: torch's own")
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
