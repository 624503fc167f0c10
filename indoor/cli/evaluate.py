"""`indoor evaluate`: the accuracies of a run's checkpoints, and what differs."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from indoor.cli.chosen_run import checkpoint, data_root, opened_run
from indoor.cli.output import Outcome, use_color, width
from indoor.cli.ranked import job, progress_of, say_of
from indoor.dataset import IndoorScenes, read_split_lists
from indoor.dataset.lists import photographs_folder
from indoor.dataset.shard_manifest import find_manifest
from indoor.devices import choose_device
from indoor.errors import IndoorError
from indoor.hints import command_line, run_word
from indoor.machine import read_machine
from indoor.pipeline import evaluate_run
from indoor.pipeline.differences import find_differing
from indoor.process_group import after_first
from indoor.ranks import Ranks
from indoor.records import TrainingCurves, read_record
from indoor.report import render_evaluation
from indoor.report.blocks import Heading, PageBlock, Picture
from indoor.report.differences import differing_blocks
from indoor.report.page import check_new_page, write_page
from indoor.report.picture import as_svg
from indoor.report.plots import draw_curves
from indoor.report.render import evaluation_blocks
from indoor.runtimes import find_variant
from indoor.train.fine_tune import CURVES


def run(parsed: argparse.Namespace) -> Outcome | None:
    """Evaluate variants that the run has on the same photographs."""
    with job(parsed.device) as ranks:
        return _run(parsed, ranks)


def _run(parsed: argparse.Namespace, ranks: Ranks) -> Outcome | None:
    """Do so on every rank of a job; the first one says it."""
    named, device = checkpoint(parsed.run), choose_device(parsed.device).type
    for name in parsed.variant or ():
        find_variant(name, device)
    root = after_first(ranks, lambda: data_root(parsed))
    opened = after_first(ranks, lambda: opened_run(named, root))
    if parsed.photographs and not parsed.html:
        raise IndoorError(
            "--photographs: they stand in a page, and none is asked for; expected --html FILE "
            "beside it; add it"
        )
    if parsed.html:
        check_new_page(parsed.html)
    pages: list[PageBlock] = _training(opened.folder) if parsed.html and ranks.is_first else []

    def show(scenes: IndoorScenes, logits: Mapping[str, Tensor]) -> None:
        (first, of_first), *others = logits.items()
        for name, values in others:
            found = find_differing(scenes, of_first, values, thumbnails=parsed.photographs)
            pages.extend(differing_blocks(found, first, name, len(values)))

    report = evaluate_run(
        root,
        opened.folder,
        read_machine(),
        split=parsed.split,
        seed=parsed.seed,
        skip_broken=parsed.skip_broken,
        device=device,
        variants=parsed.variant,
        ranks=ranks,
        progress=progress_of(ranks),
        say=say_of(ranks),
        hear=show if parsed.html and ranks.is_first else lambda *_: None,
    )
    if not ranks.is_first:
        return None
    if parsed.html:
        title = f"indoor evaluate: {opened.folder.name} on {report.data.name}"
        write_page(parsed.html, title, (*evaluation_blocks(report), *pages))
    lists = read_split_lists(root)
    text = render_evaluation(report, width=width(), color=use_color()).rstrip()
    if find_manifest(root) is None:  # predict takes a photograph's file
        following = command_line(
            "predict",
            photographs_folder(root) / (lists.test or lists.train)[0],
            run=run_word(opened.folder),
            variant=report.evaluations[-1].variant,
            device=parsed.device if parsed.device != "cpu" else None,
        )
        text = f"{text}\n\nnext: {following}"
    return Outcome(record=report, text=text, notes=opened.notes)


def _training(folder: Path) -> list[PageBlock]:
    """Return how the run was fine-tuned; nothing where it was adopted, or nobody kept that."""
    path = folder / CURVES
    curves = read_record(path, TrainingCurves) if path.is_file() else None
    if curves is None or not curves.epochs:
        return []
    best = curves.best
    return [
        Heading("Training"),
        Picture(
            as_svg(draw_curves(curves)),
            f"Loss and accuracy over {len(curves.epochs)} epochs; epoch {best.epoch} is the best, "
            f"with {best.val_accuracy:.1%} of the validation photographs right.",
        ),
    ]
