"""Why a narrower precision is slower than float32, from records made by hand."""

from dataclasses import replace
from typing import Any

import pytest
from report_records import ZEN3, identity, quantization
from runtime_records import MULTIPLY_ADDS, VARIANTS, ZEN4, cell, limits, ran

from indoor.measure.slow_pair import Cause
from indoor.measure.slower import why_slower
from indoor.records import (
    Executed,
    Machine,
    Measurement,
    Precision,
    Ran,
    RunIdentity,
    from_builtins,
)

KNOWN = {one.name: one for one in VARIANTS}
VNNI = "brgconv:avx512_core_vnni"
ARM = replace(ZEN3, isa=("neon",), cpu_model="Neoverse-N1")
CAPPED = {"ONEDNN_MAX_CPU_ISA": "AVX2"}


def run_on(machine: Machine = ZEN4, **changes: Any) -> RunIdentity:
    """A run of every variant on a machine."""
    return identity(machine, **{"variants": VARIANTS, "environment": {}, **changes})


def a_cell(run: RunIdentity, variant: str, ms: float, **changes: Any) -> Measurement:
    """A cell of batch 1, of so many ms, on one thread unless told otherwise."""
    threads = changes.pop("threads", 1)
    entry = cell(run, KNOWN[variant], 1, threads, ms, **changes)
    return from_builtins(entry["extra_info"]["indoor"], Measurement, "a cell")


def the_limits(run: RunIdentity, **per_s: float) -> list[Measurement]:
    """The machine's limits, some of them of another speed."""
    found = [from_builtins(e["extra_info"]["indoor"], Measurement, "a limit") for e in limits(run)]
    return [
        replace(one, multiply_adds_per_s=per_s.get(str(one.precision), one.multiply_adds_per_s))
        for one in found
    ]


def causes(
    run: RunIdentity | None = None,
    *,
    slow: dict[str, Any] | None = None,
    reference: dict[str, Any] | None = None,
    variant: str = "int8",
    of_run: list[Measurement] | None = None,
) -> tuple[Cause, ...]:
    """Why 130 ms are slower than float32's 100, unless other figures are given."""
    run = run or run_on()
    kernel = {"ran": ran(KNOWN[variant].precision, kernel=VNNI)}
    return why_slower(
        a_cell(run, variant, **{"ms": 130, **kernel, **(slow or {})}),
        a_cell(run, "float32", **{"ms": 100, **(reference or {})}),
        the_limits(run) if of_run is None else of_run,
    )


def told(found: tuple[Cause, ...]) -> list[tuple[str, str]]:
    """Kinds and certainties in their order."""
    return [(one.kind, one.certainty) for one in found]


def table(precision: Precision | None, operator: str, kernel: str | None) -> Ran:
    """A call of one operation, in that precision."""
    one = Executed(
        operator=operator,
        types="",
        shape="",
        precision=precision,
        implementation=kernel,
        multiply_adds=MULTIPLY_ADDS,
    )
    return Ran(precision=precision, executed=(one,))


def test_float32_kernels_account_for_it_where_most_are() -> None:
    """80% of them at float32's pace lose 80 ms but for the quarter that int8 would take."""
    (one,) = causes(slow={"ran": ran("int8", share=0.2, kernel=VNNI)})
    assert (one.kind, one.certainty) == ("float32 kernels", "shown")
    assert one.cost_s == pytest.approx(0.8 * 0.1 * (1 - 59 / 235))
    assert one.words == (
        "80% of 4.09 G multiply-adds are computed in float32, not in int8, 1 of 2 layers: "
        "convolution; at the pace of float32 these take 80 ms of its 130 ms a call"
    )


def test_a_few_float32_kernels_are_a_part_and_the_rest_is_open() -> None:
    """A tenth of them costs a quarter of the 30 ms; the others nobody accounts for."""
    found = causes(slow={"ran": ran("int8", share=0.9, kernel=VNNI)})
    assert told(found) == [("float32 kernels", "part"), ("not explained", "open")]
    assert found[1].words.startswith("by what was recorded, 22.5 ms of the 30 ms a call")


def test_a_runtime_that_only_says_its_precision_is_believed() -> None:
    """It names no layers, and everything was in float32."""
    (one,) = causes(slow={"ran": Ran(precision="float32")})
    assert one.words.startswith("it computes in float32, as its runtime says; at the pace of")


@pytest.mark.parametrize(
    ("machine", "environment", "kernel", "words"),
    [
        (replace(ZEN4, bfloat16=True), {}, "jit:avx512_core", "its kernels (jit:avx512_core) have"),
        (ZEN3, {}, None, "this CPU has no bfloat16 instructions, so that each product"),
        (
            replace(ZEN4, bfloat16=False),
            CAPPED,
            None,
            "no bfloat16 instructions are used, since ONEDNN_MAX_CPU_ISA=AVX2 keeps oneDNN off",
        ),
    ],
)
def test_an_emulated_bfloat16_is_told(
    machine: Machine, environment: dict[str, str], kernel: str | None, words: str
) -> None:
    """By its kernels' names, by the CPU, or by a variable that keeps oneDNN off what it has."""
    run = run_on(machine, environment=environment)
    ran_so = {"ran": ran("bfloat16", kernel=kernel)}
    (one,) = causes(run, variant="bfloat16", slow=ran_so, of_run=[])
    assert (one.kind, one.certainty) == ("emulated bfloat16", "shown")
    assert one.words.startswith(words)


def test_a_native_bfloat16_is_not_called_emulated() -> None:
    """Nor is int8's cause looked for in it."""
    ran_so = {"ran": ran("bfloat16", kernel="brgconv:avx512_core_bf16")}
    assert told(causes(variant="bfloat16", slow=ran_so)) == [("not explained", "open")]


def test_a_cap_below_vnni_accounts_for_it() -> None:
    """The kernels' names tell it, the variable says why, and the limits what it costs."""
    run = run_on(environment=CAPPED)
    found = causes(
        run,
        slow={"ran": ran("int8", kernel="jit:avx2")},
        of_run=the_limits(run, int8=30e9),
    )
    assert told(found) == [("no VNNI", "shown")]
    assert found[0].words == (
        "its kernels (jit:avx2) do without VNNI, since ONEDNN_MAX_CPU_ISA=AVX2 keeps oneDNN off "
        "them; the limit measured on these threads is 30 GMAC/s in int8 and 59 in float32"
    )


@pytest.mark.parametrize(
    ("machine", "ran_so", "of_run", "expected"),
    [
        (ZEN3, ran("int8", kernel="jit:avx2"), None, [("no VNNI", "part")]),
        (ZEN3, ran("int8", kernel=None), None, [("no VNNI", "part")]),
        (ZEN3, None, [], [("no VNNI", "possible"), ("not explained", "open")]),
        (ARM, ran("int8", kernel=None), None, [("not explained", "open")]),
        (ZEN4, ran("int8", kernel=None), None, [("not explained", "open")]),
        (replace(ZEN4, vnni=None), ran("int8", kernel=None), None, [("not explained", "open")]),
        (
            replace(ZEN3, isa=("avx2", "avx_vnni")),
            ran("int8", kernel="brgconv:avx2_vnni"),
            None,
            [("not explained", "open")],
        ),
    ],
)
def test_a_cpu_without_vnni_is_a_part_of_it(
    machine: Machine,
    ran_so: Ran | None,
    of_run: list[Measurement] | None,
    expected: list[tuple[str, str]],
) -> None:
    """Half the rate costs 19 of the 30 ms; without limits nobody can say; ARM has no VNNI."""
    run = run_on(machine)
    known = the_limits(run, int8=113e9) if of_run is None else of_run
    assert told(causes(run, slow={"ran": ran_so}, of_run=known)) == expected


def test_an_old_result_under_a_cap_is_suspected() -> None:
    """Results that do not tell what ran still have the variable; other libraries ignore it."""
    run = run_on(environment=CAPPED)
    found = causes(run, slow={"ran": None}, of_run=[])
    assert told(found)[0] == ("no VNNI", "possible")
    other = causes(run, slow={"ran": ran("int8", kernel=None)}, of_run=[])
    assert told(other) == [("not explained", "open")]


def test_qnnpack_on_x86_is_told() -> None:
    """Its operators name no kernels, and it is written for ARM."""
    run = run_on(quantization=quantization("qnnpack"))
    ran_so = {"ran": table("int8", "quantized::conv2d_relu", None)}
    assert told(causes(run, slow=ran_so))[0] == ("the engine", "possible")
    other = {"ran": table("int8", "QLinearConv", None)}
    assert told(causes(run, slow=other)) == [("not explained", "open")]


def converting(seconds: float | None, *, count: int = 2, name: str = "reorder") -> Ran:
    """A call with so many operations that convert, of so many seconds each."""
    one = Executed(operator=name, types="", shape="", seconds=seconds)
    whole = ran("int8", kernel=VNNI)
    return replace(whole, executed=(*whole.executed, *(one,) * count))


@pytest.mark.parametrize("name", ["reorder", "QuantizeLinear", "DequantizeLinear", "Convert"])
def test_conversions_cost_what_they_take_more_than_float32s(name: str) -> None:
    """Two of 20 ms are 40, of which float32 has 5: more than the 30 that were lost."""
    (one,) = causes(
        slow={"ran": converting(0.02, name=name)},
        reference={"ran": converting(0.005, count=1, name="Cast")},
    )
    assert (one.kind, one.certainty) == ("conversions", "shown")
    assert one.cost_s == pytest.approx(0.035)
    assert one.words == (
        f"2 operations convert or reorder ({name}), 40 ms of the one call that was looked into, "
        "and 5 ms in float32"
    )


def test_conversions_that_float32_has_too_are_no_cause() -> None:
    """Eager float32 reorders in every layer; a convolution's own time is no conversion."""
    both = {"ran": converting(0.02)}
    assert told(causes(slow=both, reference=both)) == [("not explained", "open")]


def test_repacked_weights_are_told() -> None:
    """In the reader's own words, beside what all conversions take where that is known."""
    note = "12 weights are repacked in every call, 112 ms (reorder simple:any)"
    untold = causes(slow={"ran": replace(ran("int8", kernel=VNNI), notes=(note,))})
    assert told(untold)[0] == ("conversions", "possible")
    assert untold[0].words == note
    (timed,) = causes(slow={"ran": replace(converting(0.02), notes=(note,))})
    assert timed.certainty == "shown"
    assert timed.words.endswith(f"looked into, and 0 ms in float32; {note}")


def test_fewer_threads_than_float32s_account_for_it() -> None:
    """130 ms on one of two threads would be 65 on both at best."""
    (one,) = causes(
        slow={"threads": 2, "num_busy_threads": 1},
        reference={"threads": 2, "num_busy_threads": 2},
    )
    assert (one.kind, one.certainty) == ("threads", "shown")
    assert one.words == (
        "1 of 2 threads computed, and 2 in float32; on as many it takes 65 ms at best instead of "
        "130 ms a call"
    )


def test_page_faults_are_measured_where_the_other_allocator_was() -> None:
    """Kept memory takes 40 ms from int8 and 5 from float32: 35 of the 30 that were lost."""
    run, many = run_on(), {"faults": 30_000.0}
    kept = [
        a_cell(run, "int8", 90, allocator="retain"),
        a_cell(run, "float32", 95, allocator="retain"),
    ]
    (one,) = causes(run, slow=many, of_run=[*the_limits(run), *kept])
    assert (one.kind, one.certainty) == ("page faults", "shown")
    assert one.cost_s == pytest.approx(0.035)
    assert "with allocator retain the two take 90 ms and 95 ms a call instead of" in one.words


def test_page_faults_without_the_other_allocator_are_a_guess() -> None:
    """20,000 of them are 26 ms by another machine's figure; float32's own count against it."""
    found = causes(slow={"faults": 20_000.4})
    assert told(found) == [("page faults", "possible")]
    assert (
        "20,000 page faults a call more than float32, about 26 ms at the 1.3 µs" in found[0].words
    )
    both = causes(slow={"faults": 20_000.0}, reference={"faults": 40_000.0})
    assert told(both) == [("not explained", "open")]


def of_layers(num_layers: int, multiply_adds: int) -> dict[str, Any]:
    """A cell of an int8 network of so many layers, of so many multiply-adds each."""
    one = replace(table("int8", "quantized::linear", None).executed[0], multiply_adds=multiply_adds)
    return {
        "ran": Ran(precision="int8", executed=(one,) * num_layers),
        "multiply_adds": num_layers * multiply_adds,
    }


def test_tiny_layers_account_for_it() -> None:
    """float32's multiply-adds at its limit are 6% of its time, so nothing can be won by int8's."""
    (one,) = causes(slow={"ms": 0.5, **of_layers(10, 100_000)}, reference={"ms": 0.3})
    assert (one.kind, one.certainty) == ("tiny layers", "shown")
    assert one.words.startswith(
        "1,000,000 multiply-adds a call in 10 layers, 100,000 each, take 0.0169 ms at float32's "
        "measured limit, 5.6% of the 0.3 ms of float32"
    )


def test_tiny_layers_without_a_limit_are_suspected() -> None:
    """By their size alone."""
    slow = {"ms": 0.5, **of_layers(10, 100_000)}
    found = causes(slow=slow, reference={"ms": 0.3}, of_run=[])
    assert told(found) == [("tiny layers", "possible"), ("not explained", "open")]


def test_large_layers_far_from_their_limit_are_not_tiny() -> None:
    """Something else keeps both from it."""
    slow = {"ms": 50, **of_layers(2, 50_000_000)}
    assert told(causes(slow=slow, reference={"ms": 30})) == [("not explained", "open")]


def test_where_nothing_fits_it_is_not_explained() -> None:
    """With how far both are from their limits, which is where to look."""
    (one,) = causes()
    assert told((one,)) == [("not explained", "open")]
    assert one.words == (
        "by what was recorded, 30 ms a call that it takes longer; int8 reaches 13% of int8's "
        "measured limit, float32 reaches 69% of float32's measured limit"
    )


def test_the_most_certain_cause_comes_first() -> None:
    """What is shown, then the larger part, then what is only possible."""
    run = run_on(environment=CAPPED)
    found = causes(
        run,
        slow={
            "threads": 2,
            "num_busy_threads": 1,
            "faults": 10_000.0,
            "ran": ran("int8", share=0.7, kernel="jit:avx2"),
        },
        reference={"threads": 2, "num_busy_threads": 2},
        of_run=the_limits(run, int8=150e9),
    )
    assert told(found) == [
        ("threads", "shown"),
        ("no VNNI", "part"),
        ("float32 kernels", "part"),
        ("page faults", "possible"),
    ]


def test_a_case_without_a_latency_is_refused() -> None:
    """Only cells of a batch can be slower than one another."""
    with pytest.raises(ValueError, match="int8: expected a case with a latency and a batch"):
        causes(slow={"latency": None})
