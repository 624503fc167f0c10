"""Logits to figures: one model's accuracy, and two models on the same photographs."""

from indoor.evaluate.figures import evaluate, predict, sqnr_db
from indoor.evaluate.pairs import compare
from indoor.measure.answers import MAX_SQNR_DB
from indoor.measure.proportions import difference_interval, mcnemar_p, wilson

__all__ = [
    "MAX_SQNR_DB",
    "compare",
    "difference_interval",
    "evaluate",
    "mcnemar_p",
    "predict",
    "sqnr_db",
    "wilson",
]
