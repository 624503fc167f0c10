"""Fine-tuning: the head on cached features, or everything; both resume after a kill."""

from indoor.train.features import Features, read_features
from indoor.train.fine_tune import TrainResult, fine_tune, is_trained_for
from indoor.train.full import FullResult, train_full
from indoor.train.head import HeadResult, train_head

__all__ = [
    "Features",
    "FullResult",
    "HeadResult",
    "TrainResult",
    "fine_tune",
    "is_trained_for",
    "read_features",
    "train_full",
    "train_head",
]
