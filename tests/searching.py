"""A small float32 with photographs to search an int8 for, here or in a process to be killed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killing import count_writes
from PIL import Image
from quantizable import config, fit_head, network

from indoor.dataset import IndoorScenes, load_batches
from indoor.measure.pairs import Plan
from indoor.model import FORMAT, load_float, save_float
from indoor.model.network import thin
from indoor.records import CheckpointManifest, Preprocessing, WeightSource
from indoor.repair import ladder, photographs, speed
from indoor.repair.auto import find_int8
from indoor.repair.records import Search
from indoor.transforms import inference_transform

SIZE = 32
NUM_TRAIN = 32
"""A class; 5 of them are validation, 13 or 14 more judge."""


def shorten_ladder(patch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest, or is like another step."""
    patch.setattr(ladder, "OBSERVERS", ("minmax", "moving-average"))
    patch.setattr(ladder, "FLOAT_LAYERS", ())
    patch.setattr(ladder, "QAT_EPOCHS", ())
    patch.setattr(photographs, "NUM_VIEWS", 2)
    patch.setattr(speed, "_PLAN", Plan(budget_s=0.2, max_warmup_s=0.1))


START = config(observer="minmax", num_calibration=24, batch=8)
PREPROCESSING = Preprocessing(resize="whole", size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3)


def draw(root: Path) -> Path:
    """Draw grey noise of three brightnesses, which overlap: nobody is right about all of it."""
    generator = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"TrainImages.txt": [], "TestImages.txt": []}
    for brightness, name in ((90, "dark"), (128, "middle"), (166, "pale")):
        (root / "Images" / name).mkdir(parents=True)
        for index in range(NUM_TRAIN + 4):
            level = brightness + generator.normal(0, 14)
            pixels = level + generator.normal(0, 25, (SIZE, SIZE))
            line = f"{name}/{index:02d}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "Images" / line)
            lists["TrainImages.txt" if index < NUM_TRAIN else "TestImages.txt"].append(line)
    for list_name, lines in lists.items():
        (root / list_name).write_text("\n".join(lines))
    return root


def write_float32(path: Path, root: Path, *, ridge: float = 300) -> Path:
    """Write a thin ResNet-18 that tells most of the photographs apart."""
    dataset = IndoorScenes(root, "train", inference_transform(PREPROCESSING))
    inputs, labels = next(load_batches(dataset, len(dataset)))
    model: Any = network(inputs, len(dataset.classes), thin("resnet18"))
    fit_head(model, inputs, labels, ridge)
    manifest = CheckpointManifest(
        format=FORMAT,
        arch=thin("resnet18"),
        precision="float32",
        classes=dataset.classes,
        preprocessing=PREPROCESSING,
        weights=WeightSource(kind="none", name="random", sha256=None),
    )
    save_float(path, model, manifest)
    return path


@dataclass(frozen=True, kw_only=True)
class Job:
    """A search in the run's folder `run`, which holds a float32."""

    root: Path
    run: Path

    @property
    def out(self) -> Path:
        """What is written."""
        return self.run / "int8.safetensors"

    def search(self, **changes: Any) -> Search:
        """Search here."""
        asked: dict[str, Any] = {"start": START, "max_drop_points": 0.0, **changes}
        start = asked.pop("start")
        loaded = load_float(self.run / "float32.safetensors")
        return find_int8(loaded, self.root, start, out=self.out, **asked)


def run(job: Job, *, kill_at_write: int | None = None, num_writes: Any = None) -> None:
    """Search in this process; with `kill_at_write` die at that step of a write."""
    torch.set_num_threads(1)
    num_counted = count_writes(kill_at_write)
    with pytest.MonkeyPatch.context() as patch:
        shorten_ladder(patch)
        job.search()
    if num_writes is not None:
        num_writes.value = num_counted()


def without_seconds(search: Search) -> Search:
    """Return a search without what no two runs share."""
    held_out = replace(search.held_out, seconds=1.0)
    tried = tuple(
        replace(one, made_s=0.0, judged_s=0.0, against_plain=None, plain_s=None)
        for one in search.tried
    )
    return replace(search, held_out=held_out, tried=tried, seconds=0.0)
