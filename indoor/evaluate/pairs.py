"""Two models on the same photographs: where they agree, and whether one is better."""

from torch import Tensor

from indoor.evaluate.figures import require_finite, sqnr_db
from indoor.measure.proportions import difference_interval, mcnemar_p, wilson
from indoor.records import PairedEvaluation


def compare(
    baseline_logits: Tensor,
    candidate_logits: Tensor,
    labels: Tensor,
    *,
    baseline: str,
    candidate: str,
) -> PairedEvaluation:
    """Return how two models answer for the same photographs.

    Two separate intervals that overlap say nothing about a pair; the photographs that one model
    alone has right do (McNemar's exact test, and Tango's interval of the difference).

    Args:
        baseline_logits: float32 `(N, C)`, N at least 1.
        candidate_logits: float32 `(N, C)`, of the same photographs in the same order.
        labels: int64 `(N,)` in 0..C-1.
        baseline: The baseline's name.
        candidate: The candidate's name.

    Raises:
        ValueError: The shapes do not fit together.
        IndoorError: A logit is not finite.
    """
    if baseline_logits.shape != candidate_logits.shape or len(labels) != len(baseline_logits):
        raise ValueError(
            f"logits {tuple(baseline_logits.shape)} and {tuple(candidate_logits.shape)} with "
            f"{len(labels)} labels are no pair"
        )
    if len(labels) == 0:
        raise ValueError("there are no photographs, expected one or more")
    require_finite(baseline_logits, baseline)
    require_finite(candidate_logits, candidate)
    baseline_classes = baseline_logits.argmax(dim=1)
    candidate_classes = candidate_logits.argmax(dim=1)
    baseline_right = baseline_classes == labels
    candidate_right = candidate_classes == labels
    num_lost = int((baseline_right & ~candidate_right).sum())
    num_gained = int((candidate_right & ~baseline_right).sum())
    return PairedEvaluation(
        baseline=baseline,
        candidate=candidate,
        num_photographs=len(labels),
        num_both_right=int((baseline_right & candidate_right).sum()),
        num_only_baseline_right=num_lost,
        num_only_candidate_right=num_gained,
        num_both_wrong=int((~baseline_right & ~candidate_right).sum()),
        agreement=wilson(int((baseline_classes == candidate_classes).sum()), len(labels)),
        difference=(num_gained - num_lost) / len(labels),
        difference_interval=difference_interval(num_lost, num_gained, len(labels)),
        mcnemar_p=mcnemar_p(num_lost, num_gained),
        sqnr_db=sqnr_db(baseline_logits, candidate_logits),
    )
