"""From a data set and weights to a float32 and an int8 checkpoint with their accuracies."""

from indoor.pipeline.evaluation import EVALUATION_BATCH, evaluate_run, refuse_changed
from indoor.pipeline.preparation import Prepared, prepare

__all__ = ["EVALUATION_BATCH", "Prepared", "evaluate_run", "prepare", "refuse_changed"]
