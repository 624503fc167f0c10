"""One run against an earlier one, case by case: advisory, since the two were apart in time."""

from dataclasses import dataclass

from indoor.records import Measurement, RunIdentity
from indoor.report import units
from indoor.runs.results import MeasuredCase, RunResult

Key = tuple[str, str, str, int, int, str]
"""Case, variant, runtime, batch, threads, allocator: what a case is, whatever its test is named."""

_DECISIVE = frozenset({"CPU", "cores", "network", "input"})
"""What makes times of two runs incomparable, rather than merely in need of a word."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A case that both runs measured; `change` is its median's growth, 0.1 for 10% slower."""

    baseline: MeasuredCase
    candidate: MeasuredCase
    change: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs, case by case.

    Attributes:
        changes: The cases of both, in this run's order.
        missing: Names of cases that only the baseline has.
        new: Names of cases that only this run has.
        differences: What else differs (label, baseline's, this run's), so that a change of time
            need not come from the code.
        refusal: Why times are not compared; None where they are.
    """

    changes: tuple[Change, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    differences: tuple[tuple[str, str, str], ...]
    refusal: str | None


def compare_runs(baseline: RunResult, candidate: RunResult) -> Comparison:
    """Match two runs' cases by what they measure, not by the names of their tests.

    Args:
        baseline: The earlier run.
        candidate: The run in question.

    Returns:
        The comparison; without changes of time where the runs are of different machines,
        architectures or input sizes, since those would not be about the code.
    """
    before = {_key(case.measurement): case for case in baseline.cases}
    now = {_key(case.measurement): case for case in candidate.cases}
    differences = _differences(baseline, candidate)
    refusal = _refusal(differences)
    return Comparison(
        changes=tuple(
            Change(
                baseline=before[key],
                candidate=case,
                change=None if refusal else _change(before[key].measurement, case.measurement),
            )
            for key, case in now.items()
            if key in before
        ),
        missing=_names(before, now),
        new=_names(now, before),
        differences=differences,
        refusal=refusal,
    )


def _names(cases: dict[Key, MeasuredCase], others: dict[Key, MeasuredCase]) -> tuple[str, ...]:
    """Return the names of the cases that the others lack."""
    return tuple(case_name(case.measurement) for key, case in cases.items() if key not in others)


def _change(baseline: Measurement, candidate: Measurement) -> float | None:
    then, now = _value(baseline), _value(candidate)
    return now / then - 1 if then and now is not None else None


def _value(one: Measurement) -> float | None:
    if one.case == "peak-memory":
        return one.peak_memory_bytes
    return one.latency.median_s if one.latency is not None else None


def _key(one: Measurement) -> Key:
    return (
        one.case,
        one.variant or "",
        one.runtime or "",
        one.batch or 0,
        one.threads or 0,
        one.allocator,
    )


def case_name(one: Measurement) -> str:
    """Return a case in words, such as `int8, batch 8, 2 threads`."""
    kind = {"latency": "", "decode": "decode", "load": "load", "peak-memory": "peak memory"}
    parts = [one.variant or "", kind[one.case]]
    if one.batch is not None:
        parts.append(f"batch {one.batch}")
    if one.threads is not None:
        parts.append(units.threads(one.threads))
    if one.allocator != "default":
        parts.append(f"allocator {one.allocator}")
    return ", ".join(part for part in parts if part)


def _differences(baseline: RunResult, candidate: RunResult) -> tuple[tuple[str, str, str], ...]:
    then = _identity(baseline.cases[0].measurement.run)
    now = _identity(candidate.cases[0].measurement.run)
    return tuple((label, then[label], now[label]) for label in now if then[label] != now[label])


def _identity(run: RunIdentity) -> dict[str, str]:
    """Return what has to be equal for a change of time to be about the code."""
    machine, config = run.machine, run.quantization.config if run.quantization else None
    return {
        "CPU": machine.cpu_model,
        "cores": str(machine.num_cores),
        "network": run.arch,
        "input": f"{run.preprocessing.size} x {run.preprocessing.size}",
        "torch": machine.torch,
        "Python": machine.python,
        "engine": "none" if config is None else f"{config.engine} {config.activation_range}",
        "data": f"{run.data.name} {run.data.sha256[:12]}",
        "weights": " ".join(
            [run.weights.name, *sorted(value[:12] for value in run.checkpoint_sha256.values())]
        ),
    }


def _refusal(differences: tuple[tuple[str, str, str], ...]) -> str | None:
    decisive = [label for label, _, _ in differences if label in _DECISIVE]
    if not decisive:
        return None
    return (
        f"Times are not compared, since the runs differ in {' and '.join(decisive)}: "
        "take a baseline on this machine with the same network."
    )
