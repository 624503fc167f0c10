"""Logits to figures: one model's accuracy, and two models on the same photographs."""

from indoor.evaluate.figures import evaluate, predict, sqnr_db
from indoor.evaluate.pairs import compare

__all__ = ["compare", "evaluate", "predict", "sqnr_db"]
