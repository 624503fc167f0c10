"""`indoor predict`: name the scene on photographs."""

import argparse
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from indoor import places
from indoor.cli.chosen_run import checkpoint, opened_run
from indoor.cli.output import Outcome
from indoor.dataset import load_photograph
from indoor.dataset.photographs import BrokenPhotographError
from indoor.devices import choose_device
from indoor.errors import IndoorError
from indoor.model import describe_pair
from indoor.records import CheckpointManifest
from indoor.report.caption import assumed_lines
from indoor.runtimes import baseline, find_variant, load_variant
from indoor.runtimes.deployed import Deployed
from indoor.transforms import inference_transform


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A class and its softmax probability, in 0..1 (not calibrated)."""

    name: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The likeliest classes of one photograph, the likeliest first.

    `assumed` is what the weights' file does not say and what was taken instead, such as its names.
    """

    photograph: str
    guesses: tuple[Guess, ...]
    assumed: tuple[str, ...] = ()


def run(parsed: argparse.Namespace) -> Outcome:
    """Predict with a run's variant, or with an exported one."""
    if parsed.artefact is not None:
        return _run_exported(parsed)
    named = checkpoint(parsed.run)
    opened = opened_run(named, parsed.data)
    folder = opened.folder
    variant = find_variant(parsed.variant or _variant_of(named), choose_device(parsed.device).type)
    if variant.checkpoint != baseline().checkpoint:
        may_be_paired, line = describe_pair(folder, variant.checkpoint)
        if not may_be_paired:
            raise IndoorError(line)
    with closing(load_variant(variant, folder)) as network:
        predictions = [  # each on its own, so that its logits do not depend on the others
            _named(
                path, network.logits(_input(path, network.manifest))[0], network.manifest, parsed
            )
            for path in parsed.photographs
        ]
        return _outcome(predictions, network.manifest, (*opened.notes, *network.notes))


def _run_exported(parsed: argparse.Namespace) -> Outcome:
    """Predict in the largest batches that there are packages for; one by one where any goes."""
    with closing(Deployed(parsed.artefact, trust=parsed.trust)) as network:
        manifest, most = network.export.checkpoint, max(network.export.batches, default=1)
        predictions = []
        for first in range(0, len(parsed.photographs), most):
            paths = parsed.photographs[first : first + most]
            logits = network.logits(torch.cat([_input(path, manifest) for path in paths]))
            predictions += [
                _named(path, row, manifest, parsed) for path, row in zip(paths, logits, strict=True)
            ]
        return _outcome(predictions, manifest, tuple(network.notes))


def _variant_of(checkpoint: Path) -> str:
    """Return the variant that is meant where none was named: int8 for a run's int8 file."""
    return "int8" if checkpoint.resolve().name == places.INT8 else baseline().name


def _input(path: Path, manifest: CheckpointManifest) -> Tensor:
    """Return a photograph as float32 `(1, 3, H, W)`."""
    try:
        photograph = load_photograph(path)
    except BrokenPhotographError as error:
        raise IndoorError(
            f"{path} {error.what}; expected a whole photograph; replace the file, or name the "
            "others without it"
        ) from error
    return inference_transform(manifest.preprocessing)(photograph).unsqueeze(0)


def _named(
    path: Path, logits: Tensor, manifest: CheckpointManifest, parsed: argparse.Namespace
) -> Prediction:
    """Return the likeliest classes by the logits `(C,)` of a photograph."""
    top = torch.topk(logits.softmax(0), min(parsed.top, len(manifest.classes)))
    pairs = zip(top.values.tolist(), top.indices.tolist(), strict=True)
    return Prediction(
        photograph=str(path),
        guesses=tuple(Guess(name=manifest.classes[i], probability=share) for share, i in pairs),
        assumed=manifest.weights.assumed,
    )


def _outcome(
    predictions: list[Prediction], manifest: CheckpointManifest, notes: tuple[str, ...]
) -> Outcome:
    lines = [
        *assumed_lines(manifest.weights),
        *(
            f"{prediction.photograph}: "
            + ", ".join(f"{guess.name} {guess.probability:.1%}" for guess in prediction.guesses)
            for prediction in predictions
        ),
    ]
    return Outcome(record=predictions, text="\n".join(lines), notes=notes)
