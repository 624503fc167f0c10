"""The two recipes on one plan: what all ranks do, and what the first one does for them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from indoor.dataset import IndoorScenes, sample_sha256
from indoor.model import WeightsResult, hash_tensors, head_of, replace_head
from indoor.process_group import after_first, from_first, require_same
from indoor.progress import Progress
from indoor.ranks import Ranks
from indoor.records import TrainingCurves, to_json
from indoor.train.features import Features, read_features
from indoor.train.full import FULL_BACKBONE_FACTOR, train_full
from indoor.train.head import train_head
from indoor.train.resume_state import State, read_curves, read_state, write_state
from indoor.train.scratch import (
    SCRATCH_EPOCHS,
    fold_standardisation,
    standardise,
    train_backbone,
)

_VERSION = 6
"""Counted up whenever a change of the code would make a resumed training end elsewhere."""

_CIRCUMSTANCES = ("threads", "ranks")
"""Settings that change the last digits alone: a training goes on under others."""

_OPTIONAL = ("batch_norm", "shards_at_once")
"""Settings that a record holds only where they are set."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training works on: photographs, the network to begin with, what decides the result.

    `resume` is the folder of everything that only an interrupted run needs, `cache` that of the
    features.
    """

    weights: WeightsResult
    start: nn.Module
    train: IndoorScenes
    val: IndoorScenes
    epochs: int
    batch: int
    size: int | None
    scratch_size: int
    seed: int
    device: torch.device
    settings: dict[str, str | int | float]
    freezes_batch_norm: bool
    shards_at_once: int | None
    resume: Path
    cache: Path
    ranks: Ranks
    progress: Progress
    say: Callable[[str], None]

    @property
    def is_random(self) -> bool:
        """Whether the backbone has random weights."""
        return self.weights.source.kind == "none"

    def state_path(self, stage: str) -> Path:
        """Return the file of a stage's state; its name changes with whatever decides the stage."""
        key = hashlib.sha256(f"{stage} {self._fingerprint}".encode()).hexdigest()
        return self.resume / f"{stage}-{key[:16]}.safetensors"

    def differences(self, stage: str, theirs: Mapping[str, object]) -> list[str]:
        """Return which recorded settings decide another training than this one, and how."""
        mine: dict[str, object] = {
            "batch": self.batch,
            "seed": self.seed,
            "batch_norm": "frozen" if self.freezes_batch_norm else None,
            "shards_at_once": None,
            **self.settings,
        }
        if stage == "full":
            mine["size"] = self.size or self.weights.preprocessing.size
        return [
            f"{name} {theirs.get(name)}, not {value}"
            for name, value in sorted(mine.items())
            if theirs.get(name) != value
            and (name in theirs or name in _OPTIONAL)
            and name not in _CIRCUMSTANCES
        ]

    def tell_of_another(self, stage: str) -> None:
        """Say what an interrupted training with other arguments left, and how to go on with it."""
        path = self.state_path(stage)
        others = sorted(self.resume.glob(f"{stage}-*.safetensors"))
        if path in others or not others:
            return
        curves = read_curves(others[-1])
        differing = self.differences(stage, curves.settings if curves is not None else {})
        what = ", ".join(differing) or "other epochs, photographs, weights or another program"
        self.say(
            f"{self.resume} holds an interrupted training with {what}; this one begins anew and "
            "removes it at its end; to go on with that one, stop this and give its arguments"
        )

    def require_same(self) -> None:
        """Find out that another rank works on something else.

        Only the first rank hashes the photographs: names, sizes and labels tell a copy apart.

        Raises:
            IndoorError: It does.
        """
        listing = hashlib.sha256()
        for sample in (*self.train.samples, *self.val.samples) if self.ranks.backend else ():
            stored = sample.stored
            num_bytes = stored.num_bytes if stored else sample.path.stat().st_size
            listing.update(f"{sample.name} {num_bytes} {sample.label}\n".encode())
        found = (listing.hexdigest(), hashlib.sha256(to_json(self._key)).hexdigest())
        require_same(self.ranks, "photographs, weights or settings", found)

    @cached_property
    def _fingerprint(self) -> str:
        key = (from_first(self.ranks, self._hash_photographs), *self._key)
        return hashlib.sha256(to_json(key)).hexdigest()

    def _hash_photographs(self) -> str:
        files = hashlib.sha256()
        for dataset in (self.train, self.val):
            for sample in dataset.samples:
                files.update(f"{sample_sha256(sample)} {sample.label}\n".encode())
        return files.hexdigest()

    @cached_property
    def _key(self) -> tuple[object, ...]:
        settings = {k: v for k, v in self.settings.items() if k not in _CIRCUMSTANCES}
        return (
            _VERSION,
            self.epochs,
            self.size,
            self.seed,
            settings,
            self.freezes_batch_norm,
            self.weights.preprocessing,
            self.is_random,
            hash_tensors(dict(self.start.state_dict())),
            str(torch.__version__),
            torch.backends.cpu.get_cpu_capability(),
        )


def start_head(plan: Plan) -> Callable[[], tuple[nn.Module, TrainingCurves]]:
    """Compute the features on all ranks; return what trains the head, on one of them."""
    state_path = plan.state_path("head")  # all ranks agree on it, before the first is alone
    model = plan.start
    if plan.is_random:
        model = after_first(plan.ranks, partial(_train_random, plan))
    train, val = (
        read_features(
            model,
            scenes,
            plan.weights.preprocessing,
            plan.cache,
            device=plan.device,
            ranks=plan.ranks,
            progress=plan.progress,
            say=plan.say,
        )
        for scenes in (plan.train, plan.val)
    )
    return partial(_train_head, plan, model, train, val, state_path)


def start_full(plan: Plan) -> Callable[[], tuple[nn.Module, TrainingCurves]]:
    """Train everything on all ranks; return what gives the result."""
    result = train_full(
        plan.start,
        plan.train,
        plan.val,
        plan.weights.preprocessing,
        epochs=plan.epochs,
        batch=plan.batch,
        size=plan.size,
        # A random backbone has nothing that a slow rate would keep.
        backbone_factor=1.0 if plan.is_random else FULL_BACKBONE_FACTOR,
        seed=plan.seed,
        shards_at_once=plan.shards_at_once,
        device=plan.device,
        settings=plan.settings,
        state_path=plan.state_path("full"),
        freezes_batch_norm=plan.freezes_batch_norm,
        ranks=plan.ranks,
        progress=plan.progress,
    )
    return lambda: (result.model, result.curves)


def _train_head(
    plan: Plan, model: nn.Module, train: Features, val: Features, state_path: Path
) -> tuple[nn.Module, TrainingCurves]:
    settings = dict(plan.settings)
    # The head of the brief training belongs to other features, so a new one takes its place.
    _, head = head_of(plan.start)
    if plan.is_random:
        (train, val), mean, deviation = standardise(train, val)
        settings |= {
            "features": "centred, one scale",
            "scratch_epochs": SCRATCH_EPOCHS,
            "scratch_size": plan.scratch_size,
        }
    result = train_head(
        head,
        train,
        val,
        epochs=plan.epochs,
        batch=plan.batch,
        seed=plan.seed,
        settings=settings,
        state_path=state_path,
        progress=plan.progress,
    )
    trained = fold_standardisation(result.head, mean, deviation) if plan.is_random else result.head
    finished = replace_head(model, trained.out_features, plan.seed)
    head_of(finished)[1].load_state_dict(trained.state_dict())
    return finished, result.curves


def _train_random(plan: Plan) -> nn.Module:
    """Return the briefly trained backbone, from the resume folder where it is there."""
    done = plan.state_path("backbone")
    found = read_state(done)
    if found is None:
        model = train_backbone(
            plan.start,
            plan.train,
            plan.weights.preprocessing,
            epochs=SCRATCH_EPOCHS,
            seed=plan.seed,
            device=plan.device,
            state_path=plan.state_path("scratch"),
            size=plan.scratch_size,
            progress=plan.progress,
        )
        write_state(done, State(dict(model.state_dict()), SCRATCH_EPOCHS, None))
        found = read_state(done)
        assert found is not None
    model = replace_head(plan.start, len(plan.train.classes), plan.seed).eval()
    model.load_state_dict(found.tensors)
    return model
