"""The train photographs that no step of a search tunes on, and what float32 answers for them."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from indoor.dataset import IndoorScenes, load_batches, stratified_sample
from indoor.evaluate import Exact, OtherLogitsError, predict
from indoor.evaluate.figures import require_finite
from indoor.measure.proportions import wilson
from indoor.model import fuse, hash_tensors, recorded_split, write_plain
from indoor.progress import Progress
from indoor.quantize import Source
from indoor.quantize.collapse import TRY_EVERY
from indoor.repair.records import HeldOut, Part
from indoor.repair.time_limit import TimeLimit
from indoor.transforms import augment, photograph_generator

BATCH = 8
"""Photographs a call, as where accuracy is evaluated."""

MIN_JUDGES = 64
"""Photographs that judge in a short time, where there are as many; fewer in one that is too short
even for them."""

TIME_SHARE = 0.2
"""Of the time float32 may take; each candidate takes about a third of that."""

NUM_VIEWS = 4
"""Of each photograph that float32 was trained on: a crop moves its logits far more than int8 does,
so that a loss of a tenth of a point shows sooner."""

Run = Callable[[Tensor], Tensor]

Place = tuple[Part, int, int]
"""A part, a photograph's index in it, and which view of it."""


@dataclass(frozen=True, eq=False)
class Judges:
    """Photographs, or views of them, with float32's logits `(N, C)` and their labels `(N,)`."""

    record: HeldOut
    scenes: "HeldOutScenes"
    logits: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class HeldOutScenes:
    """Photographs as inference has them, and of the parts in `views` a random view of each."""

    source: Source
    places: tuple[Place, ...]
    views: frozenset[Part]

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.places)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """Return float32 `(3, size, size)` and the label."""
        part, index, view = self.places[position]
        scenes: IndoorScenes = getattr(self.source, part)
        if part not in self.views:
            return scenes[index]
        plain = copy.copy(scenes)
        plain.transform = None
        image, label = plain[index]
        # The photograph's place decides its view, so that it is the same in every call.
        generator = photograph_generator(0, view, index)
        return augment(self.source.manifest.preprocessing, image, generator), label


def hold_out(source: Source, num_calibration: int) -> Source:
    """Return a source whose steps tune on half of the train split, or on what calibration needs."""
    half = (len(source.train) + 1) // 2
    return replace(source, num_tuned=min(max(half, num_calibration), len(source.train)))


def held_out_places(source: Source, seed: int) -> tuple[Place, ...]:
    """Return what may judge, in the order in which it is taken.

    All of the validation split, and of the train split those that no step may tune on; then more
    views of those that are judged by views.
    """
    order = stratified_sample(source.train.labels, len(source.train), seed)
    val = stratified_sample(source.val.labels, len(source.val), seed)
    parts: dict[Part, tuple[int, ...]] = {"val": val, "train": order[source.num_tuned :]}
    views = trained_on(source)
    return tuple(
        (part, index, view)
        for view in range(NUM_VIEWS)
        for part, there in parts.items()
        if view == 0 or part in views
        for index in there
    )


def trained_on(source: Source) -> frozenset[Part]:
    """Return the parts that float32's own training saw, which it knows better than new ones.

    The train split always; the validation split where the checkpoint does not say that its
    training kept just these out.
    """
    kept_out = recorded_split(source.manifest) is not None
    return frozenset(("train",) if kept_out else ("train", "val"))


def num_affordable(limit: TimeLimit, seconds: float, num_there: int) -> int:
    """Return how many photographs judge in such a time, where one costs float32 `seconds`."""
    return min(num_there, int(TIME_SHARE * limit.seconds / seconds))


def ask_float32(
    source: Source, places: Sequence[Place], limit: TimeLimit, progress: Progress
) -> Judges:
    """Choose what judges in so much time, and return it with float32's logits.

    Raises:
        IndoorError: A photograph is broken, or a logit is not finite.
    """
    slow = source.model
    try:
        return _ask(Exact(fuse(slow), slow, TRY_EVERY), source, places, limit, progress)
    except OtherLogitsError:  # here the quick form computes something else
        return _ask(slow, source, places, limit, progress)


def scenes_of(source: Source, places: Sequence[Place], record: HeldOut) -> HeldOutScenes:
    """Return the photographs that a record counts."""
    chosen = tuple(places[: record.num_photographs])
    return HeldOutScenes(source, chosen, frozenset(record.views))


def _ask(
    run: Run, source: Source, places: Sequence[Place], limit: TimeLimit, progress: Progress
) -> Judges:
    views = trained_on(source)

    def asked(some: Sequence[Place], share: float = 1.0) -> tuple[Tensor, Tensor]:
        scenes = HeldOutScenes(source, tuple(some), views)
        batches = load_batches(scenes, BATCH)
        return predict(
            run,
            limit.some(batches, share) if share < 1 else batches,
            progress,
            description="float32 on what judges",
            num_photographs=len(scenes),
        )

    began = time.perf_counter()
    answers = [asked(places[:MIN_JUDGES], TIME_SHARE)]
    num_tried = len(answers[0][1])
    seconds = max((time.perf_counter() - began) / num_tried, 1e-9)
    chosen = places[: max(num_tried, num_affordable(limit, seconds, len(places)))]
    if rest := chosen[num_tried:]:
        answers.append(asked(rest))
    logits, labels = (torch.cat(columns) for columns in zip(*answers, strict=True))
    require_finite(logits, "float32")
    parts = [part for part, _, _ in chosen]
    record = HeldOut(
        num_photographs=len(chosen),
        num_val=parts.count("val"),
        views=tuple(sorted(views & set(parts))),
        float32=wilson(int((logits.argmax(dim=1) == labels).sum()), len(labels)),
        seconds=seconds,
        num_tuned=len(source.tuned(len(source.train), 0)),
        logits_sha256=_hash(logits, labels),
    )
    return Judges(
        record=record, scenes=scenes_of(source, places, record), logits=logits, labels=labels
    )


def write_answers(path: Path, judges: Judges) -> None:
    """Keep float32's logits and the labels, whole or not at all."""
    write_plain(path, {"logits": judges.logits, "labels": judges.labels}, {})


def read_answers(path: Path, record: HeldOut) -> tuple[Tensor, Tensor] | None:
    """Return the logits and labels that belong to a record; None where they are not there."""
    try:
        with safe_open(path, framework="pt") as file:
            logits, labels = file.get_tensor("logits").clone(), file.get_tensor("labels").clone()
    except (SafetensorError, OSError):  # without them float32 answers again
        return None
    return (logits, labels) if _hash(logits, labels) == record.logits_sha256 else None


def _hash(logits: Tensor, labels: Tensor) -> str:
    return hash_tensors({"logits": logits, "labels": labels})
