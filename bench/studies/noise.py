"""Ways to take noise out of recorded launches, each tried by replay before the gate measures so.

A measure turns traces into traces, so that `bench.studies.replay` draws gates from what the gate
would have kept. None may look at which arm is which: swapped arms give the swapped traces, and
without a difference there stays none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from indoor.gate.records import CellTrace, LaunchTrace
from indoor.gate.worker import CONTROL

MOVED = 0.01
"""Median log-ratio of the frozen control from which a launch counts as disturbed."""

Measure = Callable[[Sequence[CellTrace]], tuple[CellTrace, ...]]


def reduce_noise(traces: Sequence[CellTrace], measure: str) -> tuple[CellTrace, ...]:
    """Return the traces of the cells as one of `MEASURES` leaves them, without the control's."""
    return tuple(trace for trace in MEASURES[measure](traces) if trace.name != CONTROL)


def _each_launch(
    change: Callable[[LaunchTrace], LaunchTrace], traces: Sequence[CellTrace]
) -> tuple[CellTrace, ...]:
    return tuple(
        trace
        if trace.name == CONTROL
        else replace(trace, launches=tuple(change(launch) for launch in trace.launches))
        for trace in traces
    )


def _grouped(num: int, combine: Callable[..., Any], launch: LaunchTrace) -> LaunchTrace:
    """Return one round for each `num` on end; what is left over at the end joins no group."""
    return replace(
        launch,
        seconds={
            arm: tuple(combine(np.reshape(s[: len(s) // num * num], (-1, num)), axis=1).tolist())
            for arm, s in launch.seconds.items()
        },
    )


def _calmest(share: float, launch: LaunchTrace) -> LaunchTrace:
    """Return the pairs that took least time, both arms together, two or more."""
    if not all(launch.seconds.get(arm) for arm in ("base", "head")):
        return launch
    took = np.log(launch.seconds["base"]) + np.log(launch.seconds["head"])
    kept = np.sort(np.argsort(took, kind="stable")[: max(2, round(share * len(took)))])
    return replace(
        launch, seconds={arm: tuple(s[i] for i in kept) for arm, s in launch.seconds.items()}
    )


def _control(traces: Sequence[CellTrace]) -> dict[int, float]:
    """Return the control's median log-ratio of head over base, by launch."""
    return {
        launch.launch: float(
            np.median(np.log(launch.seconds["head"]) - np.log(launch.seconds["base"]))
        )
        for trace in traces
        if trace.name == CONTROL
        for launch in trace.launches
        if launch.seconds.get("base") and launch.seconds.get("head")
    }


def _without_moved(traces: Sequence[CellTrace]) -> tuple[CellTrace, ...]:
    """Leave out the launches in which the control moved."""
    moved = {number for number, ratio in _control(traces).items() if abs(ratio) > MOVED}
    return tuple(
        replace(trace, launches=tuple(one for one in trace.launches if one.launch not in moved))
        for trace in traces
    )


def _with_covariate(traces: Sequence[CellTrace]) -> tuple[CellTrace, ...]:
    """Take out of each cell's launches what the control's tells, by least squares through 0.

    The slope is fitted to the very launches that it corrects, which flatters it.
    """
    control = _control(traces)

    def corrected(trace: CellTrace) -> CellTrace:
        known = [
            launch
            for launch in trace.launches
            if launch.launch in control
            and launch.seconds.get("base")
            and launch.seconds.get("head")
        ]
        if trace.name == CONTROL or not known:
            return trace
        x = np.array([control[launch.launch] for launch in known])
        y = np.array(
            [
                np.median(np.log(launch.seconds["head"]) - np.log(launch.seconds["base"]))
                for launch in known
            ]
        )
        slope = float(x @ y / (x @ x)) if x.any() else 0.0

        def shifted(launch: LaunchTrace) -> LaunchTrace:
            if launch not in known:
                return launch
            factor = float(np.exp(-slope * control[launch.launch]))
            head = tuple(factor * s for s in launch.seconds["head"])
            return replace(launch, seconds={**launch.seconds, "head": head})

        return replace(trace, launches=tuple(map(shifted, trace.launches)))

    return tuple(map(corrected, traces))


MEASURES: Mapping[str, Measure] = {
    "none": tuple,
    "min-of-2": partial(_each_launch, partial(_grouped, 2, np.min)),
    "min-of-3": partial(_each_launch, partial(_grouped, 3, np.min)),
    "median-of-3": partial(_each_launch, partial(_grouped, 3, np.median)),
    "mean-of-2": partial(_each_launch, partial(_grouped, 2, np.mean)),
    "calmest-half": partial(_each_launch, partial(_calmest, 0.5)),
    "calmest-three-quarters": partial(_each_launch, partial(_calmest, 0.75)),
    "control-unmoved": _without_moved,
    "control-covariate": _with_covariate,
}
"""What may be done with a launch's rounds, by the name that the study's option has."""
