"""From a data set and weights to a float32 and an int8 checkpoint with their accuracies."""

from indoor.pipeline.adoption import OpenedRun, open_run
from indoor.pipeline.evaluation import EVALUATION_BATCH, evaluate_run, refuse_changed
from indoor.pipeline.preparation import Prepared, prepare

__all__ = [
    "EVALUATION_BATCH",
    "OpenedRun",
    "Prepared",
    "evaluate_run",
    "open_run",
    "prepare",
    "refuse_changed",
]
