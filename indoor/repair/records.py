"""What a search for an int8 asked, tried and found: the records, without torch."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from indoor.records import (
    Count,
    DataIdentity,
    NotNegative,
    PairedEvaluation,
    PairedSpeedup,
    Positive,
    PositiveCount,
    QuantizationConfig,
    Rate,
    Sha256,
)

Step = Literal[
    "as it was",
    "plain",
    "bias correction",
    "rounding",
    "observer",
    "equalisation",
    "float layers",
    "QAT",
]
"""The steps, those that pay most for their cost first. `as it was`: the int8 that lay there."""

Part = Literal["val", "train"]
"""Of the train list: the validation split, and the rest of the train split."""

Answer = Literal["proven", "met", "missed"]
"""`proven`: the 95% interval excludes a larger loss than the bar's; `met`: the estimate does."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a search is for; one that was cut short goes on where all of it is the same.

    `max_drop_points` is the bar: the loss of top-1 against float32 in percentage points, absolute.
    `start` is the configuration that the ladder begins with, as it was asked for.
    """

    float32_sha256: Sha256
    data: DataIdentity
    start: QuantizationConfig
    max_drop_points: NotNegative
    cpu_model: str
    torch: str
    indoor: str


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The train photographs that judge: no step tuned on them, and no test photograph is one.

    `num_val` of them are validation photographs, the others the rest of the train split. `views`
    are the parts that float32 was trained on, where views stand in the photographs' place, up to
    four of each; a view counts as a photograph.
    `float32` counts what float32 has right of what judges, and `seconds` is what one cost it.
    `num_tuned` train photographs are there for the steps.
    """

    num_photographs: PositiveCount
    num_val: Count
    views: tuple[Part, ...]
    float32: Rate
    seconds: Positive
    num_tuned: PositiveCount
    logits_sha256: Sha256
    """Of float32's logits and the labels, which lie beside the record."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One candidate: its configuration, what it cost to make and judge, and how it was judged.

    `failed` says why it has no figures. `against_plain` is its speed beside the plain candidate's,
    from interleaved turns; None where both compute the same kernels. `best` is whether it was the
    best so far when it was tried.
    """

    step: Step
    config: QuantizationConfig
    made_s: NotNegative
    judged_s: NotNegative = 0.0
    judged: PairedEvaluation | None = None
    failed: str | None = None
    against_plain: PairedSpeedup | None = None
    plain_s: Positive | None = None
    """Seconds a photograph of the plain candidate in those turns."""
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search as far as it got; `best` is the place of the best candidate in `tried`.

    `ended` is why no further candidate was tried; None while it goes on, or where it was killed.
    `seconds` adds up over the calls that went on from each other.
    """

    format: Annotated[int, Meta(ge=1, le=1)]
    question: Question
    held_out: HeldOut
    tried: tuple[Tried, ...] = ()
    best: int | None = None
    pending: Tried | None = None
    """A new best whose int8 is being written; it counts once that lies there."""
    ended: Literal["finished", "out of time"] | None = None
    seconds: NotNegative = 0.0
    content_sha256: Sha256 | None = field(default=None, compare=False)
    """The hash of its file without this one; `write_record` works it out."""

    @property
    def chosen(self) -> Tried | None:
        """The best candidate; None where there is none yet."""
        return None if self.best is None else self.tried[self.best]


def answer(judged: PairedEvaluation, max_drop_points: float) -> Answer:
    """Return whether a candidate holds the bar.

    The paired point estimate decides whether it is met, and the lower end of its 95% interval
    whether it is proven.

    Args:
        judged: The candidate against float32.
        max_drop_points: The loss in percentage points, 0 or more.
    """
    limit = max_drop_points / 100
    if judged.difference < -limit - _ROUNDING:
        return "missed"
    return "proven" if judged.difference_interval.low >= -limit - _ROUNDING else "met"


_ROUNDING = 1e-12
"""Less than any share of photographs, more than what adding 0.1 points up loses."""
