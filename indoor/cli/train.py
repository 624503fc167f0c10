"""`indoor train`: fine-tune on a data set."""

import argparse
from dataclasses import replace
from pathlib import Path

from indoor import places
from indoor.cli.chosen_run import checkpoint, data_root
from indoor.cli.output import Outcome
from indoor.cli.ranked import job, progress_of, say_of
from indoor.errors import IndoorError
from indoor.hints import command_line, run_word
from indoor.model import resolve_weights
from indoor.model.imagenet import smallest_size
from indoor.process_group import after_first
from indoor.ranks import Ranks
from indoor.report import plot_curves
from indoor.report.caption import assumed_lines
from indoor.train import TrainResult, fine_tune
from indoor.train.fine_tune import MINIMUM_BATCH


def run(parsed: argparse.Namespace) -> Outcome | None:
    """Fine-tune, draw the curves if matplotlib is there, and say which epoch was best."""
    with job(parsed.device) as ranks:
        return _run(parsed, ranks)


def _run(parsed: argparse.Namespace, ranks: Ranks) -> Outcome | None:
    """Do so on every rank of a job; the first one says it."""
    _refuse_options(parsed, 32)
    home = places.data_folder()
    chosen = checkpoint(parsed.weights) if parsed.weights is not None else None
    root = after_first(ranks, lambda: data_root(parsed))
    weights = after_first(
        ranks,
        lambda: resolve_weights(
            chosen,
            parsed.model,
            allow_download=not parsed.no_download,
            progress=progress_of(ranks),
        ),
    )
    _refuse_options(parsed, smallest_size(weights.arch))
    if parsed.resize:
        preprocessing = replace(weights.preprocessing, resize=parsed.resize)
        weights = replace(weights, preprocessing=preprocessing)
    out = places.runs_folder(home) / (parsed.name or root.resolve().name)
    result = fine_tune(
        root,
        weights,
        arch=weights.arch,
        recipe=parsed.recipe,
        out=out,
        features=places.features_folder(home),
        epochs=parsed.epochs,
        batch=parsed.batch,
        size=parsed.size,
        seed=parsed.seed,
        skip_broken=parsed.skip_broken,
        shards_at_once=parsed.shards_at_once,
        device=parsed.device,
        freezes_batch_norm=parsed.freeze_batch_norm,
        ranks=ranks,
        progress=progress_of(ranks),
        say=say_of(ranks),
    )
    if not ranks.is_first:
        return None
    curves = result.curves
    best = curves.best
    following = command_line("quantize", run_word(out), data=root, skip_broken=parsed.skip_broken)
    told = (*weights.notes, *assumed_lines(result.manifest.weights))
    lines = [
        *told,
        f"weights: {weights.source.kind} {weights.source.name}",
        f"best of {len(curves.epochs)} epochs by validation: {best.epoch} "
        f"(validation {best.val_accuracy:.1%}, train {best.train_accuracy:.1%})",
        *([curves.note] if curves.note else []),
        f"checkpoint: {result.path}",
        _plot(result, out),
        f"next: {following}",
    ]
    notes = told if parsed.format == "json" else ()
    return Outcome(record=curves, text="\n".join(lines), notes=notes)


def _refuse_options(parsed: argparse.Namespace, smallest: int) -> None:
    """Raise an IndoorError for training views of a size that cannot be, or what nobody heeds."""
    if parsed.freeze_batch_norm and parsed.recipe != "full":
        raise IndoorError(
            f"--freeze-batch-norm with --recipe {parsed.recipe}: expected the recipe full, as the "
            "others train no batch norm; leave it out, or add --recipe full"
        )
    if parsed.shards_at_once is not None and parsed.recipe != "full":
        raise IndoorError(
            f"--shards-at-once {parsed.shards_at_once} with --recipe {parsed.recipe}: it reads "
            "each photograph once alone; expected the recipe full; leave one of them out"
        )
    if parsed.batch is not None and parsed.batch < MINIMUM_BATCH[parsed.recipe]:
        raise IndoorError(
            f"--batch {parsed.batch} with --recipe {parsed.recipe}: expected "
            f"{MINIMUM_BATCH[parsed.recipe]} photographs or more, as batch norms need; give more, "
            "or leave it out"
        )
    if parsed.size is not None and (parsed.recipe != "full" or parsed.size < smallest):
        raise IndoorError(
            f"--size {parsed.size} with --recipe {parsed.recipe}: expected {smallest} pixels or "
            "more and the recipe full; leave it out, or add --recipe full"
        )


def _plot(result: TrainResult, out: Path) -> str:
    """Write the curves as a picture beside their JSON; say where, or what is missing."""
    try:
        plot_curves(result.curves, out / "curves.png")
    except IndoorError as error:
        return f"curves: {out / 'curves.json'} ({error})"
    return f"curves: {out / 'curves.json'} and curves.png"
