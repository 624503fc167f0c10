"""How near an epoch of `full` comes to its steps alone, and validation to its forward passes.

In each round every way has a turn, in random order: the steps on batches that lie on the device
already, the epoch as it was made before (float32 by threads, decoded each time), and as it is made
now, with its photographs kept from the first epoch on. Before anything is timed, both ways are to
give the same batches, bit for bit.

Example:
    python -m bench.studies.overlap --data ROOT --out overlap.json
    python -m bench.studies.overlap --data ROOT --device cuda --batch 128 --out overlap-cuda.json
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.studies import run
from indoor.dataset import IndoorScenes, load_batches, load_photograph, stratified_sample
from indoor.devices import (
    autocast_dtype,
    choose_device,
    describe_device,
    forward_batch,
    wait_for,
)
from indoor.errors import IndoorError
from indoor.files import write_text
from indoor.machine import num_usable_cores, read_machine
from indoor.measure import MIN_PAIRS, paired_speedup
from indoor.model import ARCHS, build_model, fold
from indoor.progress import NO_PROGRESS
from indoor.records import Preprocessing, to_builtins
from indoor.train.augmented_views import AugmentedScenes, PlainScenes
from indoor.train.full import FULL_BACKBONE_FACTOR, FULL_BATCH, FULL_LEARNING_RATE, validate
from indoor.train.head import epoch_order
from indoor.train.loader import Batch, Epochs, suitable_workers
from indoor.train.loop import Run, Schedule, run_epoch, start_run
from indoor.transforms import DEFAULT_PREPROCESSING, augment, photograph_generator

SEED = 0
STEPS_ON_CPU = 3
"""Batches an epoch there, where one takes seconds; a GPU gets all photographs."""

TURN_ON_GPU = 4
"""Epochs a turn there, of which the first is left out: what was made ahead while others had their
turns would make it look quicker than it is."""

BEFORE_VALIDATION = 8

STEP, BEFORE, NOW = "steps alone", "epoch, before", "epoch"
FORWARD, VALIDATION_BEFORE, VALIDATION = "forward passes alone", "validation, before", "validation"
PAIRS = ((STEP, BEFORE), (STEP, NOW), (FORWARD, VALIDATION_BEFORE), (FORWARD, VALIDATION))


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is trained on and validated, where and in which batches."""

    train: IndoorScenes
    val: IndoorScenes
    preprocessing: Preprocessing
    size: int
    batch: int
    device: torch.device
    schedule: Schedule

    def order(self, epoch: int) -> Tensor:
        """Return an epoch's photographs, whole batches of them."""
        num = self.schedule.steps_per_epoch * self.batch
        return epoch_order(len(self.train), SEED, epoch)[:num]

    def views(self, epoch: int) -> AugmentedScenes:
        """Return an epoch's views."""
        return AugmentedScenes(
            self.train, self.preprocessing, self.size, self.order(epoch), SEED, epoch
        )


@dataclass(frozen=True)
class Before:
    """An epoch's views as they were made: RGB from the file each time, float32 from then on."""

    views: AugmentedScenes

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.views)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Return float32 `(3, size, size)` and the label."""
        views = self.views
        sample = views.scenes.samples[index := int(views.order[position])]
        generator = photograph_generator(views.seed, views.epoch, index)
        p = replace(views.preprocessing, size=views.size)
        return augment(p, load_photograph(sample.path), generator), sample.label


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the batches, time all ways, print and record the figures.

    Returns:
        0; 1 where a batch is another one than before.
    """
    parsed = _parse(arguments)
    if parsed.threads:
        torch.set_num_threads(parsed.threads)
    device = choose_device(parsed.device)
    work = _work(parsed, device)
    network = build_model(parsed.model, len(work.train.classes), seed=SEED)
    training = start_run(
        network, device, learning_rate=FULL_LEARNING_RATE, backbone_factor=FULL_BACKBONE_FACTOR
    )
    same, seconds, first_s = measure(work, training, parsed.minutes * 60, parsed.workers)
    rows = rates(work, seconds)
    machine = read_machine()
    num_workers = _num_workers(work, parsed.workers)
    record = {
        "study": "overlap",
        "arch": parsed.model,
        "data": parsed.data.resolve().name,
        "device": describe_device(device.type),
        "autocast": str(autocast_dtype(device)),
        "batch": work.batch,
        "validation_batch": forward_batch(device.type),
        "size": work.size,
        "num_train": len(work.order(1)),
        "num_val": len(work.val),
        "threads": torch.get_num_threads(),
        "num_workers": num_workers,
        "machine": to_builtins(machine),
        "same_batches": same,
        "first_epoch_s": first_s,
        "seconds": seconds,
        "photographs_per_s": rows,
        "shares": {f"{way} / {alone}": share(seconds, alone, way) for alone, way in PAIRS},
    }
    if parsed.out:
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    print(  # noqa: T201 - a script's output
        f"{machine.cpu_model}, {num_usable_cores()} cores, {record['device']}, torch "
        f"{torch.__version__}; {parsed.model}, batch {work.batch}, {work.size} pixels; views by "
        f"{f'{num_workers} processes' if num_workers else 'threads'}; batches "
        f"{'as before, bit for bit' if same else 'DIFFER from those before'}",
        *_lines(rows, record["shares"]),
        sep="\n",
    )
    return 0 if same else 1


def measure(
    work: Work, training: Run, for_s: float, num_workers: int | None
) -> tuple[bool, dict[str, list[float]], float]:
    """Return whether batches are those of before, the ways' seconds an epoch, and the first's."""
    is_gpu = work.device.type != "cpu"
    num_epochs = TURN_ON_GPU if is_gpu else 1
    plain_before = PlainScenes(work.val, work.preprocessing, range(len(work.val)))
    plain = PlainScenes(work.val, work.preprocessing, range(len(work.val)), keeps=True)
    held = _held(plain_before, work)

    def train(batches: Iterable[Batch]) -> None:
        run_epoch(training, batches, work.schedule, 1, device=work.device, progress=NO_PROGRESS)

    with ExitStack() as stack:
        numbers = range(1, 100_000)
        epochs = stack.enter_context(
            Epochs(
                work.views(1), work.order, numbers, work.batch, work.device,
                _num_workers(work, num_workers),
            )
        )  # fmt: skip
        began = time.perf_counter()
        ready = [(images.clone(), labels.clone()) for images, labels in epochs.batches()]
        wait_for(work.device.type)
        first_s = time.perf_counter() - began
        before = load_batches(Before(work.views(1)), work.batch)
        same = all(
            torch.equal(images.cpu(), was) and torch.equal(labels.cpu(), named)
            for (images, labels), (was, named) in zip(ready, before, strict=True)
        )
        ways: dict[str, Callable[[], object]] = {
            STEP: lambda: train(ready),
            BEFORE: lambda: train(load_batches(Before(work.views(2)), work.batch)),
            NOW: lambda: train(epochs.batches()),
            FORWARD: lambda: _forward(training, held, work.device),
            VALIDATION_BEFORE: lambda: _validate_before(training, plain_before, work.device),
            VALIDATION: lambda: validate(fold(training.average), plain, work.device, NO_PROGRESS),
        }
        for way in ways.values():  # warm: kernels are chosen, validation's photographs are kept
            way()
        seconds = _take_turns(ways, work.device, num_epochs, for_s)
    return same, seconds, first_s


def rates(work: Work, seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return each way's photographs a second, by the median of its turns."""
    num_train, num_val = len(work.order(1)), len(work.val)
    trained = (STEP, BEFORE, NOW)
    return {
        way: (num_train if way in trained else num_val) / statistics.median(took)
        for way, took in seconds.items()
    }


def share(seconds: Mapping[str, Sequence[float]], alone: str, way: str) -> Any:
    """Return a way's rate as a share of what its computing alone reaches, by pairs of turns."""
    if len(seconds[alone]) < MIN_PAIRS:
        ratios = [a / b for a, b in zip(seconds[alone], seconds[way], strict=True)]
        return {"speedup": statistics.median(ratios), "interval": None}
    return to_builtins(paired_speedup(seconds[alone], seconds[way], baseline=alone, candidate=way))


def _take_turns(
    ways: Mapping[str, Callable[[], object]], device: torch.device, num_epochs: int, for_s: float
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order, began, rounds = random.Random(SEED), time.perf_counter(), 0
    while not rounds or (time.perf_counter() - began) * (rounds + 1) / rounds < for_s:
        for name in order.sample(list(ways), len(ways)):
            if num_epochs > 1:
                ways[name]()
            wait_for(device.type)
            start = time.perf_counter()
            for _ in range(max(1, num_epochs - 1)):
                ways[name]()
            wait_for(device.type)
            seconds[name].append((time.perf_counter() - start) / max(1, num_epochs - 1))
        rounds += 1
    return seconds


def _forward(training: Run, batches: Sequence[Tensor], device: torch.device) -> None:
    """Compute logits of photographs that lie on the device."""
    network = fold(training.average)
    with torch.inference_mode():
        for images in batches:
            network(images)
    wait_for(device.type)


def _validate_before(training: Run, plain: PlainScenes, device: torch.device) -> None:
    network = fold(training.average)
    for images, _ in load_batches(plain, BEFORE_VALIDATION):
        with torch.inference_mode():
            network(images.to(device).contiguous(memory_format=torch.channels_last)).cpu()


def _held(plain: PlainScenes, work: Work) -> list[Tensor]:
    return [
        images.to(work.device).contiguous(memory_format=torch.channels_last)
        for images, _ in load_batches(plain, forward_batch(work.device.type))
    ]


def _num_workers(work: Work, asked: int | None) -> int:
    return suitable_workers(work.device, 10**6) if asked is None else asked


def _work(parsed: argparse.Namespace, device: torch.device) -> Work:
    """Return photographs of the train and validation splits: all on a GPU, or as many as asked."""
    batch = parsed.batch or FULL_BATCH
    train, val = (IndoorScenes(parsed.data, split) for split in ("train", "val"))
    num = parsed.photographs or (batch * STEPS_ON_CPU if device.type == "cpu" else len(train))
    if not batch <= num <= len(train):
        raise IndoorError(
            f"{parsed.data} has {len(train)} train photographs, expected {num} of them, {batch} or "
            "more; change --photographs or --batch"
        )
    for scenes, count in ((train, num), (val, min(num, len(val)))):
        sample = stratified_sample(scenes.labels, count, SEED)
        scenes.samples = tuple(scenes.samples[index] for index in sample)
    return Work(
        train=train,
        val=val,
        preprocessing=DEFAULT_PREPROCESSING,
        size=parsed.size or DEFAULT_PREPROCESSING.size,
        batch=batch,
        device=device,
        schedule=Schedule(num_photographs=num, batch=batch, epochs=1000),
    )


def _lines(rows: Mapping[str, float], shares: Mapping[str, Any]) -> list[str]:
    lines = []
    for way, rate in rows.items():
        line = f"{way:22} {rate:9.1f} photographs a second"
        for key, found in shares.items():
            name, _, alone = key.partition(" / ")
            if name == way:
                interval = found["interval"]
                about = f" ({interval['low']:.1%} to {interval['high']:.1%})" if interval else ""
                line = f"{line}  {found['speedup']:6.1%}{about} of {alone}"
        lines.append(line)
    return lines


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.overlap", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a data set's folder")
    parser.add_argument("--model", choices=ARCHS, default="resnet50")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--batch", type=int, help=f"photographs a step (default: {FULL_BATCH})")
    parser.add_argument("--size", type=int, help="side of the views (default: 224)")
    parser.add_argument("--photographs", type=int, help="of the train split (default: enough)")
    parser.add_argument("--threads", type=int, help="default: torch's own")
    parser.add_argument("--workers", type=int, help="processes that make views (default: fitting)")
    parser.add_argument("--minutes", type=float, default=5.0, help="for the rounds")
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
