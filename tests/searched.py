"""Candidates of a search as if they had been judged, for tests that compute nothing."""

from dataclasses import replace
from typing import Any

from indoor.measure.proportions import difference_interval, mcnemar_p, wilson
from indoor.records import (
    DataIdentity,
    Interval,
    PairedEvaluation,
    PairedSpeedup,
    QuantizationConfig,
)
from indoor.repair.records import HeldOut, Question, Search, Step, Tried

PLAIN = QuantizationConfig(
    flow="eager",
    engine="fbgemm",
    activation_range=(0, 127),
    observer="histogram",
    weights="per-channel",
    num_calibration=64,
    batch=16,
    seed=0,
)


def judged(lost: int = 0, gained: int = 0, of: int = 1000, sqnr_db: float = 30) -> PairedEvaluation:
    """Return a candidate that alone has `gained` photographs right and alone has `lost` wrong."""
    return PairedEvaluation(
        baseline="float32",
        candidate="int8",
        num_photographs=of,
        num_both_right=of - lost - gained,
        num_only_baseline_right=lost,
        num_only_candidate_right=gained,
        num_both_wrong=0,
        agreement=wilson(of - lost - gained, of),
        difference=(gained - lost) / of,
        difference_interval=difference_interval(lost, gained, of),
        mcnemar_p=mcnemar_p(lost, gained),
        sqnr_db=sqnr_db,
    )


def tried(
    step: Step, lost: int = 0, sqnr_db: float = 30, *, failed: str | None = None, **changes: Any
) -> Tried:
    """Return a candidate of 1,000 photographs that changes the plain one so."""
    return Tried(
        step=step,
        config=replace(PLAIN, **changes),
        made_s=1.0,
        judged=None if failed else judged(lost, sqnr_db=sqnr_db),
        failed=failed,
    )


def speed(value: float, low: float, high: float) -> PairedSpeedup:
    """Return a speedup with its interval."""
    return PairedSpeedup(
        baseline="best so far",
        candidate="candidate",
        num_pairs=12,
        speedup=value,
        interval=Interval(low=low, high=high),
        log_ratio_robust_sd=0.01,
        log_ratio_lag1=None,
    )


def search(
    *candidates: Tried, best: int = 0, max_drop_points: float = 0.1, **changes: Any
) -> Search:
    """Return a search that tried these."""
    data = DataIdentity(
        name="x", num_classes=3, num_train=10, num_val=5, num_test=0, num_skipped=0, sha256="0" * 64
    )
    return Search(
        format=1,
        question=Question(
            float32_sha256="0" * 64,
            data=data,
            start=PLAIN,
            max_drop_points=max_drop_points,
            cpu_model="a CPU",
            torch="2.14",
            indoor="0.1",
        ),
        held_out=HeldOut(
            num_photographs=1000,
            num_val=200,
            views=(),
            float32=wilson(800, 1000),
            seconds=0.01,
            num_tuned=400,
            logits_sha256="0" * 64,
        ),
        tried=candidates,
        best=best,
        **changes,
    )
