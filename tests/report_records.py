"""Runs as the suite would save them, with figures that were measured on two kinds of CPU."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from indoor.measure import summarize_latency
from indoor.records import (
    SCHEMA_VERSION,
    Allocator,
    ClassAccuracy,
    DataIdentity,
    Evaluation,
    InputStatistics,
    Interval,
    Machine,
    Measurement,
    PairedEvaluation,
    PairedSpeedup,
    Precision,
    Preprocessing,
    QuantizationCheck,
    QuantizationConfig,
    QuantizationRecord,
    Rate,
    RunIdentity,
    WeightSource,
    to_builtins,
)
from indoor.runs.results import RunResult, from_benchmark_json
from indoor.runs.saved import SavedRun
from indoor.runs.summary import summarize

ZEN3_MS = {
    "float32": {(1, 1): 134, (8, 1): 134, (16, 1): 131, (32, 1): 136, (1, 2): 79, (8, 2): 77,
                (16, 2): 76.2, (32, 2): 78.4},
    "int8": {(1, 1): 52, (8, 1): 51, (16, 1): 50.4, (32, 1): 50.1, (1, 2): 27.2, (8, 2): 26,
             (16, 2): 25.8, (32, 2): 25.9},
}  # fmt: skip
"""Median ms per photograph by (batch, threads): runtime-facts' eager float32 and onednn int8."""

AMX_MS = {
    "float32": {(1, 1): 101, (8, 1): 96, (16, 1): 118, (32, 1): 148, (1, 2): 60, (8, 2): 50,
                (16, 2): 64, (32, 2): 82},
    "bfloat16": {(1, 1): 33, (8, 1): 23, (16, 1): 29, (32, 1): 37, (1, 2): 23, (8, 2): 10,
                 (16, 2): 13.5, (32, 2): 19},
    "int8": {(1, 1): 14, (8, 1): 10, (16, 1): 11, (32, 1): 12, (1, 2): 12, (8, 2): 5.5,
             (16, 2): 5.3, (32, 2): 5.1},
}  # fmt: skip

ZEN3 = Machine(
    cpu_model="AMD EPYC 7763 64-Core Processor",
    num_cores=2,
    isa=("avx2",),
    vnni=False,
    amx=False,
    bfloat16=False,
    governor=None,
    load_1min=0.31,
    memory_bytes=8_000_000_000,
    system="Linux 6.8.0 x86_64",
    python="3.11.9",
    torch="2.14.1+cpu",
    torchvision="0.29.1+cpu",
    engines=("fbgemm", "onednn", "qnnpack", "x86"),
    unreadable={"governor": "the kernel shows no cpufreq governor (a virtual machine?)"},
)
AMX = replace(
    ZEN3,
    cpu_model="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    isa=("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"),
    vnni=True,
    amx=True,
    bfloat16=True,
)

SCENE15 = DataIdentity(
    name="scene15",
    num_classes=15,
    num_train=1275,
    num_val=225,
    num_test=1495,
    num_skipped=0,
    sha256="5c" * 32,
)
WEIGHTS = WeightSource(kind="file", name="scene15_resnet50.pt", sha256="3f" * 32)
NO_WEIGHTS = WeightSource(kind="none", name="none", sha256=None)


def rate(num_hits: int, num_total: int, low: float, high: float) -> Rate:
    """A share with a given interval."""
    return Rate(
        num_hits=num_hits,
        num_total=num_total,
        value=num_hits / num_total,
        interval=Interval(low=low, high=high),
    )


def statistics(minimum: float, maximum: float) -> InputStatistics:
    """What a model was fed."""
    return InputStatistics(
        num_photographs=256, minimum=minimum, maximum=maximum, mean=0.02, std=1.01
    )


def quantization(engine: str = "onednn", findings: tuple[str, ...] = ()) -> QuantizationRecord:
    """How int8 was made."""
    return QuantizationRecord(
        config=QuantizationConfig(
            flow="eager",
            engine=engine,  # type: ignore[arg-type]
            activation_range=(0, 127) if engine == "fbgemm" else (0, 255),
            observer="histogram",
            weights="per-channel",
            num_calibration=256,
            batch=16,
            seed=0,
        ),
        calibration_sha256="ca" * 32,
        num_quantized_modules=57,
        cpu_model=ZEN3.cpu_model,
        vnni=False,
        torch_version="2.14.1+cpu",
        forced=bool(findings),
        check=QuantizationCheck(
            num_photographs=225,
            agreement=rate(222, 225, 0.9614, 0.9954),
            entropy_float32_bits=3.85,
            entropy_int8_bits=3.84,
            num_classes_float32=15,
            num_classes_int8=15,
            sqnr_db=32.8,
            calibration_input=statistics(-1.8, 2.2),
            inference_input=statistics(-1.8, 2.2),
            findings=findings,
        ),
    )


def identity(machine: Machine = ZEN3, **changes: Any) -> RunIdentity:
    """What a run measured: the real photographs and weights unless told otherwise."""
    known = RunIdentity(
        commit="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
        arch="resnet50",
        preprocessing=Preprocessing(
            resize="whole", size=224, mean=(0.45, 0.45, 0.45), std=(0.25, 0.25, 0.25)
        ),
        data=SCENE15,
        weights=WEIGHTS,
        checkpoint_sha256={"float32": "f3" * 32, "int8": "18" * 32},
        quantization=quantization(),
        machine=machine,
        narrowed=False,
    )
    return replace(known, **changes)


ACCURACY = {
    "float32": (1182, 0.7693, 0.8105, 0.702),
    "bfloat16": (1181, 0.7686, 0.8099, 0.702),
    "int8": (1171, 0.7617, 0.8034, 0.711),
}
"""Photographs right of 1,495, Wilson's limits, loss."""


def evaluation(variant: str) -> Evaluation:
    """The accuracy of a variant on the 1,495 photographs."""
    hits, low, high, loss = ACCURACY[variant]
    return Evaluation(
        variant=variant,
        split="test",
        num_photographs=1495,
        top1=rate(hits, 1495, low, high),
        top5=rate(1451, 1495, 0.9607, 0.9780),
        mean_class_accuracy=hits / 1495 - 0.011,
        loss=loss,
        per_class=(
            ClassAccuracy(name="Bedroom", accuracy=rate(70, 116, 0.51, 0.69)),
            ClassAccuracy(name="Kitchen", accuracy=rate(85, 110, 0.69, 0.84)),
        ),
        confusion=((70, 46), (25, 85)),
    )


def pair(candidate: str, only_float: int = 11, only_candidate: int = 0) -> PairedEvaluation:
    """A candidate against float32: by default runtime-facts' 11 : 0."""
    low, high, p = {
        (11, 0): (-0.0117, -0.0030, 0.00098),
        (5, 4): (-0.0046, 0.0033, 1.0),
        (1100, 3): (-0.76, -0.71, 0.0),
    }[only_float, only_candidate]
    return PairedEvaluation(
        baseline="float32",
        candidate=candidate,
        num_photographs=1495,
        num_both_right=1182 - only_float,
        num_only_baseline_right=only_float,
        num_only_candidate_right=only_candidate,
        num_both_wrong=313 - only_candidate,
        agreement=rate(1479, 1495, 0.9827, 0.9934),
        difference=(only_candidate - only_float) / 1495,
        difference_interval=Interval(low=low, high=high),
        mcnemar_p=p,
        sqnr_db=32.8,
    )


def rounds(median_s: float, num_rounds: int, spread: float = 0.02) -> list[float]:
    """Seconds of rounds whose median is `median_s`, spread evenly around it."""
    middle = (num_rounds - 1) / 2
    return [median_s * (1 + spread * (i - middle) / max(1.0, middle)) for i in range(num_rounds)]


def speedup(candidate: str, value: float, relative: float = 0.007) -> PairedSpeedup:
    """A speedup whose interval is `relative` to either side."""
    return PairedSpeedup(
        baseline="float32",
        candidate=candidate,
        num_pairs=40,
        speedup=value,
        interval=Interval(low=value * (1 - relative), high=value * (1 + relative)),
        log_ratio_robust_sd=0.017,
        log_ratio_lag1=-0.06,
    )


def latency(
    run: RunIdentity,
    precision: Precision,
    batch: int,
    threads: int,
    ms: float,
    *,
    paired: PairedSpeedup | None = None,
    num_rounds: int = 40,
    faults: float = 0.4,
    allocator: Allocator = "default",
    **changes: Any,
) -> dict[str, Any]:
    """One cell of the matrix as pytest-benchmark saves it."""
    seconds = rounds(ms * batch / 1e3, num_rounds)
    measurement = Measurement(
        schema_version=SCHEMA_VERSION,
        case="latency",
        variant=precision,
        runtime="eager",
        precision=precision,
        batch=batch,
        threads=threads,
        allocator=allocator,
        run=run,
        latency=summarize_latency(seconds, batch),
        photographs_per_s=1e3 / ms,
        minor_faults_per_photograph=faults,
        num_warmup_calls=5,
        warmup_stable=True,
        output_sqnr_db=None if precision == "float32" else 32.8,
        speedup=paired,
        size_bytes=SIZES[precision],
    )
    name = f"test_forward[{precision}-{batch}-{threads}]"
    return benchmark(name, replace(measurement, **changes), seconds)


SIZES = {"float32": 94_361_084, "bfloat16": 94_361_084, "int8": 24_030_812}
"""Bytes on disk; bfloat16 is loaded from the float32 file."""


def benchmark(name: str, measurement: Measurement, seconds: list[float]) -> dict[str, Any]:
    """A benchmark as pytest-benchmark 5.3 saves it, cut down to what anybody reads."""
    ordered = sorted(seconds)
    quarter = len(ordered) // 4
    return {
        "group": None,
        "name": name,
        "fullname": f"bench/test_suite.py::{name}",
        "params": {"variant": measurement.variant},
        "param": None,
        "extra_info": {"indoor": to_builtins(measurement)},
        "options": {"timer": "perf_counter"},
        "stats": {
            "min": ordered[0],
            "max": ordered[-1],
            "mean": sum(ordered) / len(ordered),
            "median": (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2,
            "q1": ordered[quarter],
            "q3": ordered[-1 - quarter],
            "iqr": ordered[-1 - quarter] - ordered[quarter],
            "rounds": len(ordered),
            "iterations": 1,
        },
    }


def scaled(entry: dict[str, Any], factor: float) -> None:
    """Have a benchmark with a latency take `factor` times as long, in all of its figures."""
    stats, ours = entry["stats"], entry["extra_info"]["indoor"]
    for name in ("min", "max", "mean", "median", "q1", "q3", "iqr"):
        stats[name] *= factor
    if "data" in stats:
        stats["data"] = [round_s * factor for round_s in stats["data"]]
    if ours["latency"] is not None:
        for name in ("median_s", "p90_s", "p99_s"):
            if ours["latency"][name] is not None:
                ours["latency"][name] *= factor
    if ours["photographs_per_s"] is not None:
        ours["photographs_per_s"] /= factor


def other_cases(run: RunIdentity, variants: list[Precision]) -> list[dict[str, Any]]:
    """Loading, peak memory and accuracy of each variant, and decoding."""
    common = {
        "schema_version": SCHEMA_VERSION,
        "runtime": "eager",
        "allocator": "default",
        "run": run,
    }
    found = []
    load_s = {"float32": 0.412, "bfloat16": 0.498, "int8": 0.951}
    peak = {"float32": 1_012_000_000, "bfloat16": 903_000_000, "int8": 611_000_000}
    for variant in variants:
        of_variant = {**common, "variant": variant, "precision": variant, "threads": 2}
        seconds = rounds(load_s[variant], 5)
        load = Measurement(
            **of_variant,
            case="load",
            batch=None,
            latency=summarize_latency(seconds, 1),
            size_bytes=SIZES[variant],
            evaluation=evaluation(variant),
            paired_evaluation=None
            if variant == "float32"
            else pair(variant, *((5, 4) if variant == "bfloat16" else (11, 0))),
        )
        memory = Measurement(
            **of_variant,
            case="peak-memory",
            batch=8,
            peak_memory_bytes=peak[variant],
        )
        found.append(benchmark(f"test_load[{variant}]", load, seconds))
        found.append(benchmark(f"test_peak_memory[{variant}]", memory, [3.2]))
    for threads, ms in ((1, 3.9), (2, 2.1)):
        seconds = rounds(ms / 1e3, 64)
        decode = Measurement(
            **{**common, "runtime": None},
            case="decode",
            variant=None,
            precision=None,
            batch=None,
            threads=threads,
            latency=summarize_latency(seconds, 1),
            photographs_per_s=1e3 / ms,
        )
        found.append(benchmark(f"test_decode[{threads}]", decode, seconds))
    return found


def benchmark_json(benchmarks: list[dict[str, Any]]) -> dict[str, Any]:
    """The file around the benchmarks."""
    return {
        "machine_info": {"node": "", "cpu": {"count": 2}},
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "benchmarks": benchmarks,
        "datetime": "2026-11-23T18:54:07.123456+00:00",
        "version": "5.3.1",
    }


def full_json(
    machine: Machine = ZEN3, run: RunIdentity | None = None, num_rounds: int = 40
) -> dict[str, Any]:
    """A whole run of the suite on one of the two kinds of CPU."""
    run = run or identity(machine)
    table = ZEN3_MS if machine.cpu_model == ZEN3.cpu_model else AMX_MS
    benchmarks = []
    for threads in (1, 2):
        for batch in (1, 8, 16, 32):
            base = table["float32"][batch, threads]
            for variant, cells in table.items():
                ms = cells[batch, threads]
                paired = None if variant == "float32" else speedup(variant, base / ms)
                if paired is not None and batch == 8 and threads == 2:
                    paired = replace(paired, blocked_speedup=1.08 * base / ms)
                many = machine.amx and variant == "float32" and batch >= 16
                benchmarks.append(
                    latency(
                        run,
                        variant,  # type: ignore[arg-type]
                        batch,
                        threads,
                        ms,
                        paired=paired,
                        num_rounds=num_rounds,
                        faults=39_120.0 if many else 0.4,
                    )
                )
    return benchmark_json(benchmarks + other_cases(run, list(table)))  # type: ignore[arg-type]


def full_run(machine: Machine = ZEN3, **changes: Any) -> RunResult:
    """A whole run of the suite, as a result."""
    if not changes and machine in (ZEN3, AMX):
        return _plain_run(machine.cpu_model)
    return from_benchmark_json(full_json(machine, identity(machine, **changes)), "0001_other.json")


@functools.cache
def _plain_run(cpu_model: str) -> RunResult:
    if cpu_model == ZEN3.cpu_model:
        return from_benchmark_json(full_json(ZEN3), "0001_zen3.json")
    return from_benchmark_json(full_json(AMX), "0001_amx.json")


def saved_run(
    number: int,
    run: RunIdentity,
    *,
    allocator: Allocator = "default",
    promoted: bool = False,
    medians: dict[str, float] | None = None,
) -> SavedRun:
    """A saved run with a case for each name, whose batches count up from 1."""
    entries = []
    for batch, (name, median_s) in enumerate((medians or {"a": 1.0}).items(), start=1):
        ms = median_s * 1e3 / batch
        entry = latency(run, "float32", batch, 1, ms, allocator=allocator)
        entry["fullname"] = f"bench/t.py::{name}"
        entries.append(entry)
    source = f"{number:04}_resnet50.json"
    result = from_benchmark_json(benchmark_json(entries), source)
    run = SavedRun(path=Path("folder") / source, summary=summarize(result), promoted=promoted)
    vars(run)["result"] = result  # as it is once it was read: there is no such file
    return run
