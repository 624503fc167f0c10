"""What the study of flows stores, a row a configuration, and its table."""

from dataclasses import dataclass

from indoor.records import Count, Flow, Machine, PairedEvaluation, QuantizationConfig, Rate
from indoor.report.blocks import Column
from indoor.report.markdown import markdown_table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration's figures; None: not measured, or those of `same_as`.

    `quantize_s` is for calibrating and converting, `compile_s` for making the package that
    `compiled_ms` is of; the times a photograph are medians of one interleaved run.
    """

    config: QuantizationConfig
    same_as: Flow | None
    """The flow whose checkpoint has the same bits."""
    top1: Rate
    pair: PairedEvaluation
    worst_class: str
    worst_class_difference: float
    """Of its accuracy, int8's minus float32's."""
    size_bytes: Count
    quantize_s: float
    ms: float | None = None
    compiled_ms: float | None = None
    compile_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Study:
    """All rows of a run, and what they belong to."""

    study: str
    arch: str
    checkpoint_sha256: str
    data: str
    num_test: Count
    num_calibration: Count
    threads: Count
    batch: Count
    machine: Machine
    float32: Rate
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()


def describe(study: Study) -> str:
    """Return the rows as a table, with what they belong to above it."""
    left = ("flow", "engine", "range", "observer")
    right = (
        "top-1, %",
        "difference, points (95%)",
        "only float32 right : only int8",
        "agreement, %",
        "SQNR, dB",
        "worst class, points",
        "MB",
        "ms",
        "ms compiled",
        "quantize, s",
        "compile, s",
    )
    columns = [Column(name, "left") for name in left] + [Column(name) for name in right]
    lines = [
        f"{study.machine.cpu_model}, {study.threads} threads, batch {study.batch}; {study.arch}, "
        f"calibrated on {study.num_calibration} train photographs of {study.data}, tested on "
        f"{study.num_test}; float32 {study.float32.value:.2%}",
        markdown_table(columns, [_cells(row, study) for row in study.rows]),
        *study.notes,
    ]
    return "\n\n".join(lines)


def _cells(row: Row, study: Study) -> list[str]:
    pair, interval = row.pair, row.pair.difference_interval
    low, high = row.config.activation_range
    flow = row.config.flow + (f" (bit for bit {row.same_as})" if row.same_as else "")
    few = f" of {pair.num_photographs}" if pair.num_photographs < study.num_test else ""
    return [
        flow,
        row.config.engine,
        f"{low}..{high}",
        row.config.observer,
        f"{row.top1.value:.2%}{few}",
        f"{100 * pair.difference:+.2f} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})",
        f"{pair.num_only_baseline_right} : {pair.num_only_candidate_right}",
        f"{pair.agreement.value:.2%}",
        f"{pair.sqnr_db:.1f}",
        f"{row.worst_class} {100 * row.worst_class_difference:+.1f}",
        f"{row.size_bytes / 1e6:.1f}",
        *(f"{ms:.1f}" if ms is not None else "" for ms in (row.ms, row.compiled_ms)),
        f"{row.quantize_s:.1f}",
        f"{row.compile_s:.1f}" if row.compile_s is not None else "",
    ]
