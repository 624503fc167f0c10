"""Logits to figures: one model's accuracy, and two models on the same photographs."""

from indoor.evaluate.exact import Exact, OtherLogitsError
from indoor.evaluate.figures import evaluate, predict, sqnr_db
from indoor.evaluate.order import WrongOrder, find_wrong_order
from indoor.evaluate.pairs import compare

__all__ = [
    "Exact",
    "OtherLogitsError",
    "WrongOrder",
    "compare",
    "evaluate",
    "find_wrong_order",
    "predict",
    "sqnr_db",
]
