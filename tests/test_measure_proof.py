"""What really ran, from runtimes' tables made by hand: told, named by it, or refused."""

import re
from dataclasses import replace
from typing import Any

import pytest
from report_records import benchmark_json, identity, latency

from indoor.errors import IndoorError
from indoor.measure.proof import Proof, beats_limit, examine, judge, proof_of, row_name
from indoor.records import Executed, Measurement, Precision, Ran, Variant, from_builtins
from indoor.report import render
from indoor.runs.results import from_benchmark_json

TOTAL = 1_000_000_000
FLOAT32 = Variant(name="float32-x", runtime="x", precision="float32", checkpoint="float32")
BFLOAT16 = replace(FLOAT32, name="bfloat16-x", precision="bfloat16")
INT8 = replace(FLOAT32, name="int8-x", precision="int8", checkpoint="int8")


def table(*parts: tuple[Precision | None, int], notes: tuple[str, ...] = (), **changes: Any) -> Ran:
    """What a runtime tells of a call: a layer for each part, of so many million multiply-adds."""
    executed = tuple(
        Executed(
            operator="convolution",
            types="",
            shape=f"shape{index}",
            precision=precision,
            multiply_adds=millions * 1_000_000,
            **{"implementation": "brgconv", "layer": f"layer{index}", **changes},
        )
        for index, (precision, millions) in enumerate(parts)
    )
    moved = Executed(operator="reorder", types="f32/u8", shape="", implementation="simple:any")
    return Ran(precision="int8", executed=(*executed, moved), notes=notes)


@pytest.mark.parametrize(
    ("ran", "precision", "words"),
    [
        (table(("int8", 600), ("int8", 400)), "int8", "int8: 100% of 1 G multiply-adds"),
        (
            table(("int8", 600), ("int8", 387), ("float32", 13)),
            "int8",
            "int8: 98.7% of 1 G multiply-adds; float32: 1.3%, 1 of 3 layers: layer2",
        ),
        (
            table(("int8", 600), ("float32", 1), ("bfloat16", 399)),
            "int8",
            "int8: 60% of 1 G multiply-adds; bfloat16: 39.9%, 1 of 3 layers: layer2; "
            "float32: 0.1%, 1 of 3 layers: layer1",
        ),
        (
            table(("int8", 996), *[("float32", 1)] * 4),
            "int8",
            "int8: 99.6% of 1 G multiply-adds; float32: 0.4%, 4 of 5 layers: layer1, layer2, "
            "layer3 and 1 more",
        ),
        (
            table(("int8", 700)),
            "int8",
            "int8: 70% of 1 G multiply-adds; 30% in what nobody told",
        ),
        (
            table(("int8", 300), (None, 200), ("float32", 100)),
            None,
            "int8: 30% of 1 G multiply-adds; float32: 10%, 1 of 3 layers: layer2; "
            "60% in what nobody told",
        ),
        (table((None, 1000)), None, "100% of 1 G multiply-adds in what nobody told"),
        (
            table(("int8", 1500)),
            "int8",
            "int8: 100% of 1.5 G multiply-adds; 0.5 G more than the network has, so its runtime "
            "counts wrong",
        ),
        (table(("int8", 1000), ("int8", 1)), "int8", "int8: 100% of 1 G multiply-adds"),
        (
            table(("int8", 1000), implementation=None),
            "int8",
            "int8: 100% of 1 G multiply-adds; 1 of 1 layers told by operators and data types, as "
            "their library names no kernels",
        ),
        (table(), "int8", "int8, as its runtime says, which tells no multiply-adds"),
        (Ran(precision=None), None, "what ran is not known: its runtime cannot tell"),
        (
            Ran(precision="int8", kernels={"convolution brg:vnni u8/s8/u8": 53}),
            "int8",
            "int8, as its runtime says, which tells no multiply-adds",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_ran_is_told_in_words(ran: Ran, precision: Precision | None, words: str) -> None:
    """The share of each precision, which layers are not as claimed, and what nobody told."""
    proof = judge(INT8, ran, TOTAL)
    assert (proof.precision, proof.words) == (precision, words)


@pytest.mark.parametrize(
    ("num_kept", "ran", "is_whole", "words"),
    [
        (200, table(("int8", 800), ("float32", 200)), True, "(20% by --float-layers)"),
        (200, table(("int8", 700), ("float32", 300)), False, "30%, 1 of 2 layers: layer1 (20% by"),
        (900, table(("int8", 100), ("float32", 900)), True, "90% of 1 G multiply-adds, 1 of 2"),
        (200, table(("int8", 700), ("bfloat16", 300)), False, "bfloat16: 30%, 1 of 2 layers"),
        (0, table(("int8", 800), ("float32", 200)), False, "float32: 20%, 1 of 2 layers: layer1"),
    ],
)
def test_layers_that_were_kept_in_float32_are_no_lie(
    num_kept: int, ran: Ran, is_whole: bool, words: str
) -> None:
    """As many multiply-adds as the quantization left alone are as they were to be, and no more."""
    proof = judge(INT8, ran, TOTAL, num_kept * 1_000_000)
    assert (proof.is_whole, proof.is_otherwise) == (is_whole, not is_whole)
    assert words in proof.words


def test_more_than_was_kept_is_refused() -> None:
    """Most of what was to be int8 was float32."""
    ran = table(("int8", 100), ("float32", 900))
    with pytest.raises(IndoorError, match="computes 80% of 1 G multiply-adds in float32"):
        judge(INT8, ran, TOTAL, 100_000_000)


def test_almost_all_does_not_read_as_all() -> None:
    """The last layer of a ResNet-50 has 0.003% of the multiply-adds, and is named."""
    ran = table(("int8", 99_990), ("float32", 3))
    proof = judge(INT8, ran, 99_993_000_000)
    assert proof.words == (
        "int8: 99.9% of 100 G multiply-adds; float32: below 0.1%, 1 of 2 layers: layer1"
    )
    assert proof.is_whole, "within the tolerance"


@pytest.mark.parametrize(
    ("ran", "is_whole"),
    [
        (table(("int8", 1000)), True),
        (table(("int8", 999), ("float32", 1)), True),
        (table(("int8", 998), ("float32", 2)), False),
        (table(("int8", 998)), False),
        (table(("int8", 2000)), False),
        (Ran(precision="int8"), False),
    ],
)
def test_only_what_was_told_whole_is_whole(ran: Ran, is_whole: bool) -> None:
    """A thousandth is tolerated; what nobody told, and what was told twice, is no proof."""
    assert judge(INT8, ran, TOTAL).is_whole is is_whole


@pytest.mark.parametrize(
    ("ran", "told"),
    [
        (
            table(*[("float32", 200)] * 5),
            "int8-x computes 100% of 1 G multiply-adds in float32, 5 of 5 layers: layer0, layer1, "
            "layer2 and 2 more; expected int8, and no time is worth recording without it; repair "
            "its runtime, or leave the variant out",
        ),
        (
            table(("float32", 501), ("int8", 499)),
            "int8-x computes 50.1% of 1 G multiply-adds in float32, 1 of 2 layers: layer0; exp",
        ),
        (
            table(("float32", 300), ("bfloat16", 300), ("int8", 400)),
            "int8-x computes 60% of 1 G multiply-adds in float32 and bfloat16, 2 of 3 layers: "
            "layer0, layer1; exp",
        ),
        (
            table(("float32", 1000), layer=None),
            "int8-x computes 100% of 1 G multiply-adds in float32, 1 of 1 layers: convolution "
            "shape0; exp",
        ),
        (
            Ran(precision="float32", kernels={"convolution jit f32/f32/f32": 53}),
            "int8-x computes in float32, as its runtime says, which names no layers; expected int8",
        ),
    ],
)
def test_an_int8_that_ran_in_another_precision_is_refused(ran: Ran, told: str) -> None:
    """One line names how much, the first layers and how many, whatever the runtime's own word."""
    with pytest.raises(IndoorError, match=f"^{re.escape(told)}") as caught:
        judge(INT8, ran, TOTAL)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variant", "ran", "precision", "name"),
    [
        (FLOAT32, table(("bfloat16", 1000)), "bfloat16", "float32-x (ran in bfloat16)"),
        (FLOAT32, table(("bfloat16", 400), ("float32", 600)), "float32", "float32-x"),
        (BFLOAT16, table(("float32", 1000)), "float32", "bfloat16-x (ran in float32)"),
        (FLOAT32, Ran(precision="bfloat16"), "bfloat16", "float32-x (ran in bfloat16)"),
        (FLOAT32, Ran(precision=None), None, "float32-x"),
        (INT8, table(("int8", 900), ("float32", 100)), "int8", "int8-x"),
    ],
)
def test_a_row_is_named_by_what_ran(
    variant: Variant, ran: Ran, precision: Precision | None, name: str
) -> None:
    """A float32 that computes in bfloat16 is called so, in one place for every table."""
    proof = judge(variant, ran, TOTAL)
    assert proof.precision == precision
    one = measured(variant, ran, precision=proof.precision or variant.precision)
    assert row_name(one) == name
    assert proof_of(one) == proof


def measured(variant: Variant, ran: Ran | None, ms: float = 20.0, **changes: Any) -> Measurement:
    """A variant's latency, of a network of a quarter of `TOTAL` and a batch of 4."""
    known: dict[str, Any] = {
        "variant": variant.name,
        "ran": ran,
        "multiply_adds": TOTAL // 4,
        "size_bytes": None,
        **changes,
    }
    run = identity(variants=(variant,))
    precision, threads = known.pop("precision", variant.precision), known.pop("threads", 1)
    entry = latency(run, precision, 4, threads, ms, **known)
    return from_builtins(entry["extra_info"]["indoor"], Measurement, "test")


def test_the_precision_of_most_is_told_first() -> None:
    """Of a float32 that mostly computes in bfloat16, too; layers are those of neither."""
    ran = table(("float32", 100), ("bfloat16", 880), ("int8", 20))
    assert judge(FLOAT32, ran, TOTAL).words == (
        "bfloat16: 88% of 1 G multiply-adds; float32: 10%; int8: 2%, 1 of 3 layers: layer2"
    )


def test_notes_stand_beside_what_ran() -> None:
    """Weights that are repacked in every call are told with the row."""
    note = "12 weights are repacked in every call"
    assert judge(INT8, table(("int8", 1000), notes=(note,)), TOTAL).notes == (note,)


def test_without_the_networks_size_what_was_told_is_all() -> None:
    """Results of before do not say how many multiply-adds there are."""
    proof = examine("int8", table(("int8", 300), ("float32", 100)), None)
    assert proof.words.startswith("int8: 75% of 0.4 G multiply-adds; float32: 25%")


def test_results_that_hold_kernels_alone_are_read_and_told() -> None:
    """A file of before there were tables of operations is what it was: the runtime's own word."""
    old = Ran(precision="int8", kernels={"convolution brg:vnni u8/s8/u8": 53})
    entry = latency(identity(), "int8", 8, 1, 20.0, ran=old)
    result = from_benchmark_json(benchmark_json([entry]), "0001_old.json")
    (case,) = result.cases
    proof = proof_of(case.measurement)
    assert isinstance(proof, Proof)
    assert (proof.precision, proof.is_whole) == ("int8", False)
    assert row_name(case.measurement) == "int8"
    assert proof_of(replace(case.measurement, ran=None)) is None
    told = " ".join(render([result], width=200).split())
    assert "int8 int8 - convolution brg:vnni u8/s8/u8" in told


def limit(per_s: float, threads: int = 1, precision: Precision = "float32") -> Measurement:
    """A measured peak."""
    one = measured(FLOAT32, None)
    return replace(
        one,
        case="limit",
        variant=None,
        precision=precision,
        threads=threads,
        multiply_adds_per_s=per_s,
        latency=None,
    )


@pytest.mark.parametrize(
    ("ms", "threads", "limits", "told"),
    [
        # 0.25 G of multiply-adds take 5 ms at 50 G/s.
        (4.0, 1, [limit(50e9)], "this core: 4 ms a photograph, and float32 takes 5 at least"),
        (6.0, 1, [limit(50e9)], None),
        (4.0, 1, [], None),
        (4.0, 1, [limit(200e9, precision="int8")], None),
        (2.4, 2, [limit(50e9)], "these 2 cores: 2.4 ms a photograph, and float32 takes 2.5 at"),
        (2.4, 2, [limit(50e9), limit(110e9, threads=2)], None),
        (4.0, 1, [limit(50e9, threads=2)], None),
    ],
    ids=["faster", "slower", "unknown", "another's", "each core", "its own", "of more cores"],
)
def test_a_time_below_float32s_limit_is_evidence(
    ms: float, threads: int, limits: list[Measurement], told: str | None
) -> None:
    """Only a limit that holds for its threads speaks; the time is a photograph's."""
    found = beats_limit(measured(INT8, None, ms, threads=threads), limits)
    assert (
        (found is None)
        if told is None
        else (found or "").startswith(f"faster than float32 can be on {told}")
    )
