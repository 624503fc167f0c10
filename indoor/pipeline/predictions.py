"""A variant's logits on a data set, and two variants' side by side."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from indoor.dataset import IndoorScenes, load_batches
from indoor.evaluate import Exact, OtherLogitsError, compare, predict, sqnr_db
from indoor.model import fuse, load_float
from indoor.process_group import collect, gather, together
from indoor.progress import Progress
from indoor.ranks import ALONE, Ranks, share_of_batches
from indoor.records import PairedEvaluation, Split, Variant
from indoor.runtimes import Loaded, baseline

NUM_TRIED = 32
"""Photographs on which float32 computes beside its quick form, spread over the split."""


@dataclass(frozen=True)
class Predictions:
    """Logits float32 `(N, C)`, labels int64 `(N,)`, and what is to be said of them.

    `own` is bool `(N,)`: which logits are the variant's to the last bit; None: all.
    """

    logits: Tensor
    labels: Tensor
    own: Tensor | None = None
    notes: tuple[str, ...] = ()


def predictions(
    run: Loaded,
    checkpoint: Path | None,
    dataset: IndoorScenes,
    batch: int,
    split: Split,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> Predictions:
    """Return a variant's logits of all photographs.

    Args:
        run: The variant.
        checkpoint: Of the float32 whose quick form may compute for it (`evaluate.Exact`), if there
            are enough photographs; None: the variant computes all.
        dataset: The photographs, transformed.
        batch: Photographs a call.
        split: What the progress calls them.
        progress: Hears of each photograph.
        ranks: Each computes the batches that fall to it, and gets the logits of all.

    Raises:
        IndoorError: A photograph is broken, or the runtime failed.
    """
    name, num_batches = run.variant.name, -(-len(dataset) // batch)
    mine = share_of_batches(ranks, len(dataset), batch)

    def predicted(call: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        if not mine:  # more ranks than batches
            return torch.empty(0), torch.empty(0)
        return predict(
            call,
            load_batches(dataset, batch, indices=mine),
            progress,
            description=f"evaluating {name} on {split}",
            num_photographs=len(mine),
        )

    def all_by_itself(*notes: str) -> Predictions:
        made = together(ranks, lambda: predicted(run.logits))
        logits, labels = collect(ranks, mine, *made)
        return Predictions(logits, labels, notes=notes)

    num_tried = -(-NUM_TRIED // batch)
    if checkpoint is None or num_batches < 2 * num_tried:  # trying would cost what it saves
        return all_by_itself()
    exact = Exact(
        fuse(load_float(checkpoint).model),
        run.logits,
        every=num_batches // num_tried,
        numbers=itertools.count(ranks.rank, ranks.size),
    )

    def tried() -> tuple[Tensor, Tensor] | str:
        try:
            return predicted(exact)
        except OtherLogitsError as error:
            return str(error)

    made = together(ranks, tried)
    failures = gather(ranks, made if isinstance(made, str) else None)
    reason = next((failure for failure in failures if failure is not None), None)
    if reason is not None or isinstance(made, str):
        return all_by_itself(f"{name} computed every photograph itself: by its quick form {reason}")
    logits, labels, own = collect(ranks, mine, *made, torch.tensor(exact.own, dtype=torch.bool))
    nearest = min(found for found in gather(ranks, exact.sqnr_db) if found is not None)
    note = (
        f"{name} computed {int(own.sum())} of {len(own)} photographs itself, each near tie among "
        f"them; the other logits are those of its quick form (batch norms folded, sums fused), "
        f"which was {nearest:.0f} dB or nearer where both computed"
    )
    return Predictions(logits, labels, own, (note,))


def pair(
    candidate: Variant, baseline_logits: Tensor, logits: Tensor, labels: Tensor, own: Tensor | None
) -> PairedEvaluation:
    """Return a candidate beside the baseline, whose `own` is as in `Predictions`.

    Two float32 variants differ by rounding alone, as the baseline and its quick form do; so their
    SQNR is that of the photographs that the baseline itself computed.
    """
    first = baseline()
    compared = compare(
        baseline_logits, logits, labels, baseline=first.name, candidate=candidate.name
    )
    if candidate.precision != first.precision or own is None:
        return compared
    return replace(compared, sqnr_db=sqnr_db(baseline_logits[own], logits[own]))
