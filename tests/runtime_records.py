"""A run of every runtime as the suite would save it, with the figures of one Zen 4."""

import copy
import functools
import random
from dataclasses import replace
from typing import Any, NamedTuple

from report_records import (
    AMX,
    SIZES,
    benchmark,
    benchmark_json,
    evaluation,
    identity,
    latency,
    other_cases,
    pair,
    rounds,
)

from indoor.measure import paired_speedup, summarize_latency
from indoor.records import (
    SCHEMA_VERSION,
    Case,
    Executed,
    Measurement,
    Precision,
    Ran,
    Role,
    RunIdentity,
    Variant,
    from_builtins,
    to_builtins,
)
from indoor.runs.results import RunResult, from_benchmark_json

ZEN4 = replace(
    AMX,
    cpu_model="AMD EPYC 9R14",
    isa=("avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
    amx=False,
)
MULTIPLY_ADDS = 4_089_000_000
LIMITS: dict[Precision, float] = {"float32": 59e9, "bfloat16": 117e9, "int8": 235e9}
"""Multiply-adds a second of one core."""


class Known(NamedTuple):
    """A variant, and its ms a photograph at batch 1, 8 and 32 with 2 threads and with 1."""

    name: str
    runtime: str
    precision: Precision
    role: Role
    order: int
    two: tuple[float, float, float]
    one: tuple[float, float, float]


# fmt: off
KNOWN = (
    Known("float32", "eager", "float32", "baseline", 0, (55, 62, 102), (113, 110, 174)),
    Known("float32-channels-last", "eager", "float32", "plain", 1, (60, 53, 70), (112, 100, 120)),
    Known("float32-folded", "eager", "float32", "plain", 2, (62, 50, 64), (112, 95, 110)),
    Known("float32-inductor", "inductor", "float32", "plain", 3, (43.1, 39.5, 45.7), (79, 78, 81)),
    Known("float32-aotinductor", "aotinductor", "float32", "plain", 4, (57, 40.8, 43.7),
          (102, 80, 80)),
    Known("float32-onnxruntime", "onnxruntime", "float32", "plain", 5, (43.5, 39.8, 37.6),
          (76, 77, 77)),
    Known("float32-openvino", "openvino", "float32", "plain", 6, (39.5, 38.7, 38.3), (74, 76, 75)),
    Known("bfloat16", "eager", "bfloat16", "plain", 10, (36.1, 24.7, 33.3), (61, 54, 62)),
    Known("bfloat16-inductor", "inductor", "bfloat16", "plain", 11, (23.1, 20.4, 20.9),
          (41, 39.9, 40.8)),
    Known("bfloat16-openvino", "openvino", "bfloat16", "plain", 12, (20, 19.5, 19.4),
          (38.7, 38.4, 38.1)),
    Known("int8", "eager", "int8", "judged", 20, (14.9, 11.9, 12.6), (24.9, 22.9, 23.3)),
    Known("int8-inductor", "inductor", "int8", "judged", 21, (14.3, 11.2, 11.5), (24, 22.1, 22.1)),
    Known("int8-aotinductor", "aotinductor", "int8", "judged", 22, (12.3, 10.4, 10.4),
          (22.4, 20.2, 21.1)),
    Known("int8-onnxruntime", "onnxruntime", "int8", "judged", 23, (12.3, 10.8, 10.9),
          (22.6, 20.9, 21.3)),
    Known("int8-openvino", "openvino", "int8", "judged", 24, (11, 10.3, 10.2), (20.7, 19.8, 19.9)),
)
# fmt: on

COLOURS = {"float32": "#0072b2", "bfloat16": "#e69f00", "int8": "#d55e00"}

VARIANTS = tuple(
    Variant(
        name=one.name,
        runtime=one.runtime,
        precision=one.precision,
        checkpoint="int8" if one.precision == "int8" else "float32",
        role=one.role,
        order=one.order,
        own_process=one.runtime != "eager",
        colour=COLOURS.get(one.name),
    )
    for one in KNOWN
)


def ran(
    precision: Precision, batch: int = 1, *, share: float = 1.0, kernel: str | None = "brgconv"
) -> Ran:
    """What a call executed: that share of its multiply-adds in the precision, else float32."""
    total = MULTIPLY_ADDS * batch
    inside = round(share * total)
    operation = Executed(
        operator="convolution", types="", shape="", precision=precision, implementation=kernel
    )
    executed = (replace(operation, multiply_adds=inside),)
    if inside < total:
        executed += (replace(operation, precision="float32", multiply_adds=total - inside),)
    return Ran(precision=precision, executed=executed)


def kernel_of(variant: Variant) -> str | None:
    """The kernel that a variant's library names, if it does."""
    return None if variant.runtime == "onnxruntime" else "brgconv"


def timed(seed: object, median_s: float, num_rounds: int = 40, spread: float = 0.02) -> list[float]:
    """Rounds with that median, in an order of the seed's own."""
    seconds = rounds(median_s, num_rounds, spread)
    random.Random(str(seed)).shuffle(seconds)
    return seconds


def saved(name: str, measurement: Measurement, seconds: list[float]) -> dict[str, Any]:
    """A benchmark with its rounds, as the suite saves it."""
    entry = benchmark(name, measurement, seconds)
    entry["stats"]["data"] = seconds
    return entry


def cell(
    run: RunIdentity,
    variant: Variant,
    batch: int,
    threads: int,
    ms: float,
    *,
    baseline: list[float] | None = None,
    num_rounds: int = 40,
    spread: float = 0.02,
    case: Case = "latency",
    **changes: Any,
) -> dict[str, Any]:
    """One cell with its rounds, paired with the baseline's where these are given."""
    seconds = timed((variant.name, batch, threads, case), ms * batch / 1e3, num_rounds, spread)
    paired = None
    if baseline is not None:
        paired = paired_speedup(baseline, seconds, baseline="float32", candidate=variant.name)
    told = {
        "variant": variant.name,
        "runtime": variant.runtime,
        "latency": summarize_latency(seconds, batch),
        "multiply_adds": MULTIPLY_ADDS,
        "ran": ran(variant.precision, batch, kernel=kernel_of(variant)),
        "num_busy_threads": threads,
        "idle_share": 0.002,
        "size_bytes": SIZES[variant.precision],
        "case": case,
    }
    entry = latency(
        run, variant.precision, batch, threads, ms, paired=paired, **{**told, **changes}
    )
    measurement = from_builtins(entry["extra_info"]["indoor"], Measurement, "a cell")
    return saved(f"test_{case}[{variant.name}-{batch}-{threads}]", measurement, seconds)


def of_variant(run: RunIdentity, variant: Variant, ms: float) -> list[dict[str, Any]]:
    """Loading with the accuracy, peak memory, and the throughput of two processes."""
    precision = variant.precision
    load, memory = other_cases(run, [precision])[:2]
    is_baseline = variant.role == "baseline"
    kept = (5, 4) if precision != "int8" else (11, 0)
    said = {
        load["name"]: {
            "build_s": None if variant.runtime == "eager" else 31.0 + variant.order,
            "evaluation": replace(evaluation(precision), variant=variant.name),
            "paired_evaluation": None
            if is_baseline
            else replace(pair(precision, *kept), candidate=variant.name),
        },
        memory["name"]: {"ran": ran(precision, 8, kernel=kernel_of(variant))},
    }
    found = []
    for entry in (load, memory):
        one = from_builtins(entry["extra_info"]["indoor"], Measurement, "a case")
        told = said[entry["name"]]
        entry["extra_info"]["indoor"] = to_builtins(
            replace(one, variant=variant.name, runtime=variant.runtime, **told)
        )
        entry["fullname"] = entry["fullname"].replace(f"[{precision}]", f"[{variant.name}]")
        found.append(entry)
    seconds = timed((variant.name, "throughput"), 8 * ms / 1e3)  # a batch beside the other's
    together = Measurement(
        schema_version=SCHEMA_VERSION,
        case="throughput",
        variant=variant.name,
        runtime=variant.runtime,
        precision=precision,
        batch=8,
        threads=1,
        allocator="default",
        run=run,
        num_processes=2,
        photographs_per_s=2e3 / ms,
    )
    found.append(saved(f"test_throughput[{variant.name}]", together, seconds))
    return found


def limits(run: RunIdentity) -> list[dict[str, Any]]:
    """The measured peak of each precision on one core and on two."""
    return [
        saved(
            f"test_limit[{precision}-{threads}]",
            Measurement(
                schema_version=SCHEMA_VERSION,
                case="limit",
                variant=None,
                runtime=None,
                precision=precision,
                batch=None,
                threads=threads,
                allocator="default",
                run=run,
                multiply_adds_per_s=threads * peak,
            ),
            [0.1] * 5,
        )
        for precision, peak in LIMITS.items()
        for threads in (1, 2)
    ]


def many_json(**changes: Any) -> dict[str, Any]:
    """A whole run of every runtime; `changes` are of its identity."""
    return copy.deepcopy(_many(**changes))


@functools.cache
def _many(**changes: Any) -> dict[str, Any]:
    run = identity(ZEN4, **{"variants": VARIANTS, **changes})
    benchmarks = []
    for threads in (1, 2):
        for place, batch in enumerate((1, 8, 32)):
            for case, added_ms in (("latency", 0.0), ("label", 9.0 / threads)):
                base = None
                for known, variant in zip(KNOWN, VARIANTS, strict=True):
                    ms = (known.one, known.two)[threads - 1][place] + added_ms
                    entry = cell(run, variant, batch, threads, ms, baseline=base, case=case)  # type: ignore[arg-type]
                    base = base or entry["stats"]["data"]
                    benchmarks.append(entry)
    for known, variant in zip(KNOWN, VARIANTS, strict=True):
        benchmarks += of_variant(run, variant, known.one[1] * 1.04)
    decodes = other_cases(run, [])
    return benchmark_json(benchmarks + decodes + limits(run))


@functools.cache
def many_run() -> RunResult:
    """The same as a result."""
    return from_benchmark_json(many_json(), "0001_many.json")
