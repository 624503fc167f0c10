"""A run to the configurations it measured, each with the figures that a question may be about."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from indoor.errors import IndoorError
from indoor.records import Case, Interval, Measurement, PairedEvaluation, Precision, Variant
from indoor.report import units
from indoor.runs.ratios import percentile
from indoor.runs.results import MeasuredCase, RunResult
from indoor.runs.select import described, pairs, precision_that_ran, size_bytes

Basis = Literal["label", "forward", "p90", "p99"]
Objective = Literal["throughput", "latency", "memory", "size"]

SHARES: dict[Basis, float] = {"label": 0.5, "forward": 0.5, "p90": 0.9, "p99": 0.99}
"""The percentile of the rounds that a latency is."""

NAMES: dict[Basis, str] = {
    "label": "from bytes to label",
    "forward": "of a forward pass",
    "p90": "from bytes to label (p90)",
    "p99": "from bytes to label (p99)",
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: `max_latency_s` seconds for a batch, `max_drop` of top-1 in 0..1."""

    objective: Objective = "throughput"
    max_latency_s: float | None = None
    max_drop: float | None = None
    basis: Basis = "label"
    max_batch: int | None = None
    max_threads: int | None = None

    @property
    def needs_latency(self) -> bool:
        """Whether its answer depends on a latency."""
        return self.max_latency_s is not None or self.objective in ("throughput", "latency")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure with its interval of 95%; None where it has none."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration and its figures; None: not measured.

    `latency` is in seconds for the whole batch, since a photograph waits for the others of its
    batch. `drop` is the loss of top-1 against the baseline in 0..1, below 0 where it gains.
    `precision` is the one that ran, and `fault` why nobody should use it.
    """

    variant: str
    runtime: str
    precision: Precision | None
    batch: int
    threads: int
    processes: int
    case: MeasuredCase
    latency: Figure
    throughput: Figure
    memory: Figure | None
    size: Figure | None
    drop: Figure | None
    fault: str | None

    @property
    def name(self) -> str:
        """What to call it in a line."""
        threads = units.threads(self.threads)
        where = threads if self.processes == 1 else f"{self.processes} processes of {threads}"
        return f"{self.variant}, batch {self.batch}, {where}"


def find_candidates(
    result: RunResult, question: Question
) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Return the run's configurations that may answer, and what is to be said of the others.

    Raises:
        IndoorError: The run does not hold what the question is about.
    """
    notes = []
    kinds: tuple[Case, ...] = (
        ("latency", "throughput") if question.basis == "forward" else ("label",)
    )
    if not _timed(result, kinds):
        if question.needs_latency or question.basis != "label":
            raise _missing(result, question)
        kinds = ("latency",)
        notes.append(
            "This run has no times from bytes to label; batch and threads are chosen by the "
            "forward pass."
        )
    elif kinds == ("label",) and (together := _timed(result, ("throughput",))):
        notes.append(
            f"{len(together)} configurations of several processes were timed by their forward "
            "pass alone; --latency forward considers them."
        )
    _require_constraints(result, question)
    if question.objective == "memory":
        notes.append(
            "Only the batches whose peak memory was measured, of a process alone, are considered."
        )
    found = [
        candidate
        for case in _timed(result, kinds)
        if (candidate := _candidate(result, question, case)) is not None
    ]
    kept = [one for one in found if _is_within(one, question)]
    if not kept:
        raise _too_narrow(result, question, found)
    return tuple(kept), tuple(notes)


def _timed(result: RunResult, kinds: tuple[Case, ...]) -> list[MeasuredCase]:
    """Return the cases of these kinds with the run's own allocator."""
    allocator = result.subject.allocator
    return [
        case
        for case in result.cases
        if case.measurement.case in kinds
        and case.measurement.allocator == allocator
        and case.measurement.variant is not None
    ]


def _require_constraints(result: RunResult, question: Question) -> None:
    measured = list(_measurements(result))
    if question.max_drop is not None and not pairs(result):
        raise IndoorError(
            f"{result.source} holds no accuracy of any variant beside the baseline's, so "
            "--max-drop cannot be judged; expected the case load with its evaluation; measure "
            f"again with {_command(result)}"
        )
    if question.objective == "memory" and not any(one.peak_memory_bytes for one in measured):
        raise IndoorError(
            f"{result.source} holds no peak memory, so --objective memory cannot be judged; "
            f"expected the case peak-memory; measure again with {_command(result)}"
        )
    if question.objective == "size" and not any(one.size_bytes for one in measured):
        raise IndoorError(
            f"{result.source} holds no size, so --objective size cannot be judged; expected the "
            f"case load; measure again with {_command(result)}"
        )


def _missing(result: RunResult, question: Question) -> IndoorError:
    what = "times from bytes to label" if question.basis != "forward" else "forward passes"
    case = "label" if question.basis != "forward" else "latency"
    others = ""
    if question.basis != "forward" and _timed(result, ("latency",)):
        others = ", or ask for the forward pass alone with --latency forward"
    return IndoorError(
        f"{result.source} holds no {what}, so a latency cannot be judged; expected the case "
        f"{case}; measure again with {_command(result)}{others}"
    )


def _too_narrow(result: RunResult, question: Question, found: list[Candidate]) -> IndoorError:
    asked = [
        f"--{name} {limit}"
        for name, limit in (
            ("max-batch", question.max_batch),
            ("max-threads", question.max_threads),
        )
        if limit is not None
    ]
    batches = ", ".join(map(str, sorted({one.batch for one in found})))
    threads = ", ".join(map(str, sorted({one.threads * one.processes for one in found})))
    return IndoorError(
        f"{result.source} holds nothing that fits {' and '.join(asked) or 'the question'}; it has "
        f"batches {batches or 'none'} and {threads or 'no'} threads in all; expected one of them, "
        "or a run that measured others"
    )


def _is_within(one: Candidate, question: Question) -> bool:
    batch, threads = question.max_batch, question.max_threads
    return (batch is None or one.batch <= batch) and (
        threads is None or one.threads * one.processes <= threads
    )


def _candidate(result: RunResult, question: Question, case: MeasuredCase) -> Candidate | None:
    one = case.measurement
    kind = described(result).get(one.variant or "")
    processes = one.num_processes or 1
    memory = _memory(result, one)
    if kind is None or one.batch is None or one.threads is None:
        return None
    if question.objective == "memory" and (memory is None or processes > 1):
        return None  # what another batch takes was not measured, and one process takes least
    if processes > 1 and not one.photographs_per_s:
        return None
    size = size_bytes(result, kind.name)
    return Candidate(
        variant=kind.name,
        runtime=kind.runtime,
        precision=precision_that_ran(one),
        batch=one.batch,
        threads=one.threads,
        processes=processes,
        case=case,
        latency=_latency(case, SHARES[question.basis]),
        throughput=_throughput(case, one.batch),
        memory=memory,
        size=None if size is None else exactly(size),
        drop=_drop(kind, pairs(result).get(kind.name)),
        fault=_fault(result, kind),
    )


def exactly(value: float) -> Figure:
    """Return a figure that is counted and not measured."""
    return Figure(value=value, interval=Interval(low=value, high=value))


def _latency(case: MeasuredCase, share: float) -> Figure:
    """Return the percentile of the rounds, each of which is a batch, beside others or alone."""
    known = percentile(case.seconds, share) if case.seconds else None
    if known is None:
        ordered = sorted(case.seconds) or [case.rounds.median_s]
        value = case.rounds.median_s if share == 0.5 else ordered[int(share * (len(ordered) - 1))]
        return Figure(value=value, interval=None)
    return Figure(value=known[0], interval=known[1])


def _throughput(case: MeasuredCase, batch: int) -> Figure:
    """Return photographs a second: a process's by its median, several's as they were counted.

    The interval is as wide, in proportion, as that of the median round.
    """
    median = _latency(case, 0.5)
    value, interval = batch / median.value, median.interval
    if case.measurement.num_processes is not None and case.measurement.photographs_per_s:
        value = case.measurement.photographs_per_s
    if interval is not None:
        interval = Interval(
            low=value * median.value / interval.high, high=value * median.value / interval.low
        )
    return Figure(value=value, interval=interval)


def _memory(result: RunResult, one: Measurement) -> Figure | None:
    """Return the peak memory of the variant at that batch, which is read once."""
    for other in _measurements(result):
        same = (other.case, other.variant, other.batch) == ("peak-memory", one.variant, one.batch)
        if same and other.peak_memory_bytes is not None:
            return Figure(value=other.peak_memory_bytes, interval=None)
    return None


def _drop(kind: Variant, pair: PairedEvaluation | None) -> Figure | None:
    if kind.role == "baseline":
        return exactly(0.0)
    if pair is None:
        return None
    interval = pair.difference_interval
    return Figure(value=-pair.difference, interval=Interval(low=-interval.high, high=-interval.low))


def _fault(result: RunResult, kind: Variant) -> str | None:
    record = result.cases[0].measurement.run.quantization
    baseline = next((k for k in described(result).values() if k.role == "baseline"), None)
    check = record.check if record is not None else None
    calibrated = baseline is not None and kind.checkpoint != baseline.checkpoint
    if check is None or not calibrated or not check.findings:
        return None
    return f"collapsed: {'; '.join(check.findings)}"


def _measurements(result: RunResult) -> Iterator[Measurement]:
    return (case.measurement for case in result.cases)


def _command(result: RunResult) -> str:
    arch = result.cases[0].measurement.run.arch
    return "pytest bench" + ("" if arch == "resnet50" else f" --model {arch}")
