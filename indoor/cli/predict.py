"""`indoor predict`: name the scene on photographs."""

import argparse
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from indoor import places
from indoor.cli.chosen_run import checkpoint, opened_run
from indoor.cli.output import Outcome
from indoor.dataset import load_photograph
from indoor.dataset.photographs import BrokenPhotographError
from indoor.devices import choose_device
from indoor.errors import IndoorError
from indoor.model import describe_pair
from indoor.report.caption import describe_assumed
from indoor.runtimes import Loaded, baseline, find_variant, load_variant
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
    """Predict each photograph on its own, so that its logits do not depend on the others."""
    named = checkpoint(parsed.run)
    opened = opened_run(named, parsed.data)
    folder = opened.folder
    variant = find_variant(parsed.variant or _variant_of(named), choose_device(parsed.device).type)
    if variant.checkpoint != baseline().checkpoint:
        may_be_paired, line = describe_pair(folder, variant.checkpoint)
        if not may_be_paired:
            raise IndoorError(line)
    with closing(load_variant(variant, folder)) as network:
        notes = (*opened.notes, *network.notes)
        predictions = [_predict(network, path, parsed.top) for path in parsed.photographs]
        assumed = describe_assumed(network.manifest.weights)
    lines = [f"assumed: {assumed}"] if assumed else []
    lines += [
        f"{prediction.photograph}: "
        + ", ".join(f"{guess.name} {guess.probability:.1%}" for guess in prediction.guesses)
        for prediction in predictions
    ]
    return Outcome(record=predictions, text="\n".join(lines), notes=notes)


def _variant_of(checkpoint: Path) -> str:
    """Return the variant that is meant where none was named: int8 for a run's int8 file."""
    return "int8" if checkpoint.resolve().name == places.INT8 else baseline().name


def _predict(network: Loaded, path: Path, num_classes: int) -> Prediction:
    transform = inference_transform(network.manifest.preprocessing)
    classes = network.manifest.classes
    try:
        photograph = load_photograph(path)
    except BrokenPhotographError as error:
        raise IndoorError(
            f"{path} {error.what}; expected a whole photograph; replace the file, or name the "
            "others without it"
        ) from error
    logits = network.logits(transform(photograph).unsqueeze(0))
    top = torch.topk(logits[0].softmax(0), min(num_classes, len(classes)))
    pairs = zip(top.values.tolist(), top.indices.tolist(), strict=True)
    return Prediction(
        photograph=str(path),
        guesses=tuple(Guess(name=classes[i], probability=share) for share, i in pairs),
        assumed=network.manifest.weights.assumed,
    )
