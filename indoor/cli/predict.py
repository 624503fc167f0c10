"""`indoor predict`: name the scene on photographs."""

import argparse
from dataclasses import dataclass

import torch

from indoor.cli.output import Outcome
from indoor.cli.runs import run_folder
from indoor.dataset import load_photograph
from indoor.devices import choose_device
from indoor.runtimes import find_variant, load_variant
from indoor.transforms import inference_transform


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A class and its softmax probability, in 0..1 (not calibrated)."""

    name: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The likeliest classes of one photograph, the likeliest first."""

    photograph: str
    guesses: tuple[Guess, ...]


def run(parsed: argparse.Namespace) -> Outcome:
    """Predict each photograph on its own, so that its logits do not depend on the others."""
    device = choose_device(parsed.device).type
    network = load_variant(find_variant(parsed.variant, device), run_folder(parsed))
    classes = network.manifest.classes
    transform = inference_transform(network.manifest.preprocessing)
    predictions = []
    for path in parsed.photographs:
        logits = network.logits(transform(load_photograph(path)).unsqueeze(0))
        top = torch.topk(logits[0].softmax(0), min(parsed.top, len(classes)))
        predictions.append(
            Prediction(
                photograph=str(path),
                guesses=tuple(
                    Guess(name=classes[index], probability=probability)
                    for probability, index in zip(
                        top.values.tolist(), top.indices.tolist(), strict=True
                    )
                ),
            )
        )
    lines = [
        f"{prediction.photograph}: "
        + ", ".join(f"{guess.name} {guess.probability:.1%}" for guess in prediction.guesses)
        for prediction in predictions
    ]
    return Outcome(record=predictions, text="\n".join(lines))
