"""What 20 epochs of the head cost by the reference's loop and by ours, in one run.

Example:
    python -m bench.head_study --data ROOT --weights FILE --photographs 512 --out results/head.json
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from indoor.dataset import IndoorScenes, load_batches, stratified_sample
from indoor.errors import IndoorError
from indoor.machine import current_allocator, minor_faults, read_machine
from indoor.model import ARCHS, replace_head, resolve_weights
from indoor.records import Preprocessing, to_builtins
from indoor.train.features import read_features
from indoor.train.head import (
    HEAD_BATCH,
    HEAD_EPOCHS,
    HEAD_LEARNING_RATE,
    HEAD_MOMENTUM,
    epoch_order,
    train_head,
)
from indoor.train.state import read_state
from indoor.train.views import PlainScenes

__all__ = ["main"]

VAL_PER_TRAIN = 0.15 / 0.85
MAX_DIFFERENCE = 1e-4


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
    # Ours before and after the long loop, so that a machine that grows slower or faster on the
    # way shows in the difference between the two.
    first = _train_cached(network, train, val, weights.preprocessing, parsed.epochs)
    naive = _train_through_backbone(network, train, val, parsed.epochs)
    last = _train_cached(network, train, val, weights.preprocessing, parsed.epochs)
    difference = max(
        float((arm.weight - naive.weight).abs().max().maximum((arm.bias - naive.bias).abs().max()))
        for arm in (first, last)
    )
    ours_s = (first.seconds + last.seconds) / 2
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
        "machine": to_builtins(read_machine()),
        "reference_s": naive.seconds,
        "ours_s": [first.seconds, last.seconds],
        "ratio": naive.seconds / ours_s,
        "max_abs_difference": difference,
        "val_accuracy": {"reference": naive.val_accuracy, "ours": last.val_accuracy},
        "faults_per_photograph_and_pass": {
            "reference": naive.num_faults / parsed.epochs / (len(train) + len(val)),
            "ours": last.num_faults / (len(train) + len(val)),
        },
    }
    if parsed.out:
        parsed.out.parent.mkdir(parents=True, exist_ok=True)
        parsed.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    machine = record["machine"]
    assert isinstance(machine, dict)
    print(  # noqa: T201 - a script's output
        f"{machine['cpu_model']}, {torch.get_num_threads()} threads, torch {torch.__version__}\n"
        f"{parsed.epochs} epochs, {len(train)} train and {len(val)} validation photographs\n"
        f"reference's loop  {naive.seconds:9.1f} s\n"
        f"features once     {first.seconds:9.1f} s before it, {last.seconds:.1f} s after it\n"
        f"ratio             {record['ratio']:9.1f}\n"
        f"heads differ by   {difference:9.1e} at most (allowed: {MAX_DIFFERENCE:.0e})"
    )
    return 0 if difference <= MAX_DIFFERENCE else 1


def _train_cached(
    network: nn.Module, train: Decoded, val: Decoded, preprocessing: Preprocessing, epochs: int
) -> Arm:
    """Do what `indoor train --recipe head` does, from an empty cache, hashing and all."""
    head = network.get_submodule("fc")
    assert isinstance(head, nn.Linear)
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


def _train_through_backbone(network: nn.Module, train: Decoded, val: Decoded, epochs: int) -> Arm:
    """Do what the reference does, but for its backbone in training mode: all of it each epoch."""
    model = replace_head(network, len(train.scenes.classes), seed=0).requires_grad_(False)
    head = model.get_submodule("fc").requires_grad_(True)
    assert isinstance(head, nn.Linear)
    optimizer = torch.optim.SGD(head.parameters(), lr=HEAD_LEARNING_RATE, momentum=HEAD_MOMENTUM)
    num_hits = 0
    with _counting() as cost:
        for epoch in range(1, epochs + 1):
            for rows in epoch_order(len(train), 0, epoch).split(HEAD_BATCH):
                optimizer.zero_grad()
                logits = model(train.images[rows])
                nn.functional.cross_entropy(logits, train.labels[rows]).backward()
                optimizer.step()
            num_hits = 0
            with torch.no_grad():
                for rows in torch.arange(len(val)).split(HEAD_BATCH):
                    hits = model(val.images[rows]).argmax(1) == val.labels[rows]
                    num_hits += int(hits.sum())
    return Arm(head.weight.detach(), head.bias.detach(), num_hits / len(val), *cost)


@contextmanager
def _counting() -> Iterator[list[float]]:
    """Yield a list that holds seconds and minor page faults after the block."""
    cost: list[float] = []
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
    parser = argparse.ArgumentParser(prog="python -m bench.head_study", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a data set's folder")
    parser.add_argument("--weights", type=Path, help="a checkpoint (default: ImageNet's)")
    parser.add_argument("--model", choices=ARCHS, default="resnet50")
    parser.add_argument("--photographs", type=int, default=256, help="of the train split")
    parser.add_argument("--epochs", type=int, default=HEAD_EPOCHS)
    parser.add_argument("--threads", type=int, help="default: torch's own")
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
