"""Runs for other programs: JSON with everything that the tables say, CSV with a row a case."""

import csv
import io
from collections.abc import Sequence

from indoor.records import Measurement, to_builtins, to_json
from indoor.report.caption import caption, weights_warning
from indoor.report.comparison import case_name, compare_runs
from indoor.report.headline import Headline, headline
from indoor.runs.results import MeasuredCase, RunResult

REPORT_FORMAT = 1
"""The version of the JSON's structure, which results/README.md describes."""

_CSV_COLUMNS = (
    "source",
    "datetime",
    "commit",
    "dirty",
    "cpu_model",
    "num_cores",
    "vnni",
    "amx",
    "bfloat16",
    "torch",
    "engine",
    "arch",
    "data",
    "weights_kind",
    "weights_name",
    "fullname",
    "case",
    "variant",
    "runtime",
    "precision",
    "batch",
    "threads",
    "allocator",
    "num_rounds",
    "median_s",
    "p90_s",
    "p99_s",
    "photographs_per_s",
    "minor_faults_per_photograph",
    "num_warmup_calls",
    "warmup_stable",
    "output_sqnr_db",
    "num_pairs",
    "speedup",
    "speedup_low",
    "speedup_high",
    "blocked_speedup",
    "unpaired_reason",
    "size_bytes",
    "peak_memory_bytes",
    "top1",
    "top1_low",
    "top1_high",
)


def as_json(results: Sequence[RunResult], baseline: RunResult | None) -> str:
    """Return the runs, their verdicts and comparisons as indented JSON."""
    record = {
        "report_format": REPORT_FORMAT,
        "runs": [_run(result, baseline) for result in results],
    }
    return to_json(record, indent=2).decode("utf-8")


def as_csv(results: Sequence[RunResult]) -> str:
    """Return a header and a row for each case of each run; an empty cell means not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in results:
        for case in result.cases:
            writer.writerow(_row(result, case))
    return text.getvalue()


def _run(result: RunResult, baseline: RunResult | None) -> dict[str, object]:
    run = result.cases[0].measurement.run
    return {
        "source": result.source,
        "datetime": result.datetime,
        "caption": caption(result),
        "weights_warning": weights_warning(run.weights, run.data),
        "identity": run,
        "headline": _headline(headline(result)),
        "cases": [_case(case) for case in result.cases],
        "comparison": None if baseline is None else _comparison(baseline, result),
    }


def _headline(found: Headline) -> dict[str, object]:
    return {
        "threads": found.threads,
        "allocator": found.allocator,
        "answer": None if found.verdict is None else found.verdict.answer,
        "sentence": found.sentence,
        "mean_speedups": found.means,
    }


def _case(case: MeasuredCase) -> dict[str, object]:
    """Return a case without the run's identity, which stands once above all of them."""
    measurement = to_builtins(case.measurement)
    del measurement["run"]
    return {"fullname": case.fullname, "rounds": case.rounds, "measurement": measurement}


def _comparison(baseline: RunResult, candidate: RunResult) -> dict[str, object]:
    found = compare_runs(baseline, candidate)
    return {
        "baseline": baseline.source,
        "advisory": True,
        "refusal": found.refusal,
        "differences": [
            {"what": label, "baseline": then, "candidate": now}
            for label, then, now in found.differences
        ],
        "changes": [
            {
                "case": case_name(one.candidate.measurement),
                "baseline": one.baseline.fullname,
                "candidate": one.candidate.fullname,
                "change": one.change,
            }
            for one in found.changes
        ],
        "missing": found.missing,
        "new": found.new,
    }


def _row(result: RunResult, case: MeasuredCase) -> dict[str, object]:
    one = case.measurement
    run = one.run
    return {
        "source": result.source,
        "datetime": result.datetime,
        "commit": run.commit,
        "dirty": run.dirty,
        "cpu_model": run.machine.cpu_model,
        "num_cores": run.machine.num_cores,
        "vnni": run.machine.vnni,
        "amx": run.machine.amx,
        "bfloat16": run.machine.bfloat16,
        "torch": run.machine.torch,
        "engine": run.quantization.config.engine if run.quantization is not None else None,
        "arch": run.arch,
        "data": run.data.name,
        "weights_kind": run.weights.kind,
        "weights_name": run.weights.name,
        "fullname": case.fullname,
        "num_rounds": case.rounds.num_rounds,
        **_figures(one),
    }


def _figures(one: Measurement) -> dict[str, object]:
    latency, speedup, accuracy = one.latency, one.speedup, one.evaluation
    return {
        "case": one.case,
        "variant": one.variant,
        "runtime": one.runtime,
        "precision": one.precision,
        "batch": one.batch,
        "threads": one.threads,
        "allocator": one.allocator,
        "median_s": None if latency is None else latency.median_s,
        "p90_s": None if latency is None else latency.p90_s,
        "p99_s": None if latency is None else latency.p99_s,
        "photographs_per_s": one.photographs_per_s,
        "minor_faults_per_photograph": one.minor_faults_per_photograph,
        "num_warmup_calls": one.num_warmup_calls,
        "warmup_stable": one.warmup_stable,
        "output_sqnr_db": one.output_sqnr_db,
        "num_pairs": None if speedup is None else speedup.num_pairs,
        "speedup": None if speedup is None else speedup.speedup,
        "speedup_low": None if speedup is None else speedup.interval.low,
        "speedup_high": None if speedup is None else speedup.interval.high,
        "blocked_speedup": None if speedup is None else speedup.blocked_speedup,
        "unpaired_reason": one.unpaired_reason,
        "size_bytes": one.size_bytes,
        "peak_memory_bytes": one.peak_memory_bytes,
        "top1": None if accuracy is None else accuracy.top1.value,
        "top1_low": None if accuracy is None else accuracy.top1.interval.low,
        "top1_high": None if accuracy is None else accuracy.top1.interval.high,
    }
