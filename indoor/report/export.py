"""Runs for other programs: JSON with everything that the tables say, CSV with a row a case."""

import csv
import io
from collections.abc import Mapping, Sequence

from indoor.records import Interval, to_builtins, to_json
from indoor.report.best import Contest
from indoor.report.caption import caption, weights_warning
from indoor.report.comparison import case_name, compare_runs
from indoor.report.execution import share_of_limit
from indoor.report.headline import Headline, headline
from indoor.report.slower import slow_cells
from indoor.runs.results import MeasuredCase, RunResult
from indoor.runs.select import allocators

REPORT_FORMAT = 1
"""The version of the JSON's structure, which docs/results.md describes."""


def as_json(results: Sequence[RunResult], baseline: RunResult | None) -> str:
    """Return the runs, their verdicts and comparisons as indented JSON."""
    record = {
        "report_format": REPORT_FORMAT,
        "runs": [_run(result, baseline) for result in results],
    }
    return to_json(record, indent=2).decode("utf-8")


def as_csv(results: Sequence[RunResult]) -> str:
    """Return a header and a row for each case of each run; an empty cell means not measured."""
    return csv_text([_row(result, case) for result in results for case in result.cases])


def csv_text(rows: Sequence[Mapping[str, object]], *, names: Sequence[str] = ()) -> str:
    """Return a header and the rows, which hold the same columns.

    Args:
        rows: By the column's name; None is an empty cell.
        names: The columns where there is no row.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
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
        "cases": [_case(result, case) for case in result.cases],
        "slower": [
            {"case": one.case.fullname, "speedup": one.speedup, "causes": one.causes}
            for allocator in allocators(result)
            for one in slow_cells(result, allocator)
        ],
        "comparison": None if baseline is None else _comparison(baseline, result),
    }


def _headline(found: Headline) -> dict[str, object]:
    return {
        "threads": found.threads,
        "allocator": found.allocator,
        "answer": next((one.answer for one in found.verdicts.values()), None),
        "answers": {name: one.answer for name, one in found.verdicts.items()},
        "sentence": found.sentence,
        "mean_speedups": found.means,
        "best": [_contest(one) for one in found.contests],
    }


def _contest(one: Contest) -> dict[str, object]:
    return {
        "candidate": one.candidate.name,
        "chosen_of": one.candidate.num_variants,
        "baseline": one.baseline.name,
        "baseline_chosen_of": one.baseline.num_variants,
        "speedup": one.mean,
    }


def _case(result: RunResult, case: MeasuredCase) -> dict[str, object]:
    """Return a case without the run's identity, which stands once above all of them."""
    measurement = to_builtins(case.measurement)
    del measurement["run"]
    return {
        "fullname": case.fullname,
        "rounds": case.rounds,
        "share_of_limit": share_of_limit(result, case.measurement),
        "measurement": measurement,
    }


def _comparison(baseline: RunResult, candidate: RunResult) -> dict[str, object]:
    found = compare_runs(baseline, candidate)
    return {
        "baseline": baseline.source,
        "advisory": True,
        "refusal": found.refusal,
        "differences": [
            {"what": one.label, "baseline": one.there, "candidate": one.here}
            for one in found.differences
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
    """Return a case as columns by name, the same ones in the same order for every case."""
    one, run = case.measurement, case.measurement.run
    machine, quantization, speedup = run.machine, run.quantization, one.speedup
    top1 = None if one.evaluation is None else one.evaluation.top1
    return {
        "source": result.source,
        "datetime": result.datetime,
        **_members(run, "commit", "dirty"),
        **_members(machine, "cpu_model", "num_cores", "vnni", "amx", "bfloat16", "torch"),
        "engine": quantization.config.engine if quantization is not None else None,
        "arch": run.arch,
        "data": run.data.name,
        "weights_kind": run.weights.kind,
        "weights_name": run.weights.name,
        "weights_assumed": "; ".join(run.weights.assumed) or None,
        "fullname": case.fullname,
        **_members(one, "case", "variant", "runtime", "precision"),
        **_members(one, "device", "batch", "threads"),
        "allocator": one.allocator,
        "num_rounds": case.rounds.num_rounds,
        **_members(one.latency, "median_s", "p90_s", "p99_s"),
        **_members(one, "photographs_per_s", "minor_faults_per_photograph", "num_warmup_calls"),
        **_members(one, "warmup_stable", "output_sqnr_db"),
        **_members(speedup, "num_pairs", "speedup"),
        **_ends("speedup", None if speedup is None else speedup.interval),
        **_members(speedup, "blocked_speedup"),
        **_members(one, "unpaired_reason", "size_bytes", "peak_memory_bytes"),
        **_members(one, "num_processes", "multiply_adds_per_s", "build_s", "num_busy_threads"),
        **_members(one, "idle_share", "output_max_difference"),
        "ran_precision": None if one.ran is None else one.ran.precision,
        "ran_share": None if one.ran is None else one.ran.share,
        "share_of_limit": share_of_limit(result, one),
        "top1": None if top1 is None else top1.value,
        **_ends("top1", None if top1 is None else top1.interval),
    }


def _members(record: object, *names: str) -> dict[str, object]:
    """Return members of a record by name; None for each where there is no record."""
    return {name: None if record is None else getattr(record, name) for name in names}


def _ends(name: str, interval: Interval | None) -> dict[str, object]:
    ends = _members(interval, "low", "high")
    return {f"{name}_{end}": value for end, value in ends.items()}
