"""What the gate compares without a clock: the suite's plugin, and what is made of its files."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.ao.nn import quantized
from torch.ao.nn.intrinsic import quantized as intrinsic

from bench.gate_facts import (
    classes_of,
    size_of_tensors,
    write_facts,
    write_peaks,
    write_predictions,
)
from bench.gate_facts import (
    pytest_runtestloop as run_loop,
)
from bench.measuring import Shared
from bench.options import SHARED
from indoor.errors import IndoorError
from indoor.gate.facts.accuracy import compare_predictions
from indoor.gate.facts.comparison import compare_facts, merge_checks, variants_to_predict
from indoor.gate.facts.sheets import (
    Facts,
    FactSheet,
    Predictions,
    VariantFacts,
    load_facts,
    load_peaks,
    load_predictions,
)
from indoor.gate.records import CheckReport, GateVerdict
from indoor.gate.settings import load_config, selects
from indoor.model import FORMAT, build_model, read_manifest, save_float
from indoor.records import CheckpointManifest, WeightSource
from indoor.runtimes.eager import EagerNetwork
from indoor.runtimes.own_process import Peak
from indoor.transforms import DEFAULT_PREPROCESSING

ROOT = Path(__file__).resolve().parent.parent
PASS, IMPROVED = GateVerdict.PASS, GateVerdict.IMPROVED
FAIL, INCONCLUSIVE = GateVerdict.FAIL, GateVerdict.INCONCLUSIVE
MIRRORED = {PASS: PASS, IMPROVED: FAIL, FAIL: IMPROVED, INCONCLUSIVE: INCONCLUSIVE}

COMPUTED = {"int8": 10**9}
KERNELS = {"convolution brgconv u8/s8/u8": 53, "matmul brgemm u8/s8/f32": 1}
LOGITS = np.array([[1.0, 2.0, 0.5], [3.0, -1.0, 0.25]], dtype=np.float32)


def facts(logits: np.ndarray | None = LOGITS, **changes: Any) -> Facts:
    """Return the facts of one int8 variant; a change goes to the variant or to its sheet."""
    variant: dict[str, Any] = {
        "size_bytes": 25_000_000,
        "engine": "onednn",
        "peak_memory_bytes": 500_000_000,
        "multiply_adds": COMPUTED,
        "ran": "int8",
        "kernels": KERNELS,
        "precision": "int8",
    }
    variant |= {name: changes.pop(name) for name in [*variant, "problem"] if name in changes}
    sheet = FactSheet(
        version=2,
        num_photographs=12,
        photographs_sha256="names",
        inputs_sha256="inputs",
        variants={"int8": VariantFacts(**variant)},
        share=(),
    )
    return Facts(replace(sheet, **changes), {} if logits is None else {"int8": logits})


def check_of(kind: str, base: Facts, head: Facts) -> CheckReport:
    """Return one check of the comparison, such as the `size`."""
    checks = {check.name: check for check in compare_facts(base, head)}
    return checks[f"{kind} of int8"]


def predictions(right: list[bool], num_in_split: int | None = None) -> Predictions:
    """Return answers on photographs of three classes in turn; a wrong one is the next class."""
    labels = np.arange(len(right)) % 3
    return Predictions(
        photographs=tuple(f"{index}.jpg" for index in range(len(right))),
        labels=labels,
        classes={"int8": np.where(right, labels, (labels + 1) % 3)},
        num_in_split=num_in_split or len(right),
    )


def pair(total: int, lost: int, gained: int) -> tuple[Predictions, Predictions]:
    """Return base and head with so many photographs that one of them alone has right."""
    both = [True] * (total - lost - gained)
    base = predictions([True] * lost + [False] * gained + both)
    head = predictions([False] * lost + [True] * gained + both)
    return base, head


def judge(base: Predictions, head: Predictions, **rules: float) -> CheckReport:
    """Return the one variant's check."""
    (check,) = compare_predictions(base, head, ["int8"], **{"alpha": 0.05, **rules})
    return check


def test_equal_trees_pass_and_their_accuracy_is_not_asked() -> None:
    """Four checks, all PASS, and no variant to predict with."""
    checks = compare_facts(facts(), facts())
    assert [check.name for check in checks] == [
        "size of int8",
        "multiply-adds of int8",
        "peak memory of int8",
        "logits of int8",
    ]
    assert {check.verdict for check in checks} == {PASS}
    assert variants_to_predict(facts(), facts()) == ()


@pytest.mark.parametrize(
    ("field", "kind", "values"),
    [
        ("size_bytes", "size", {25_250_000: PASS, 25_250_001: FAIL, 24_000_000: IMPROVED}),
        (
            "peak_memory_bytes",
            "peak memory",
            {549_999_999: PASS, 550_000_002: FAIL, 450_000_000: IMPROVED},
        ),
    ],
)
def test_bytes_are_judged_by_their_tolerance(
    field: str, kind: str, values: Mapping[int, GateVerdict]
) -> None:
    """1% on disk and 10% of memory; the reason tells the bytes and the share."""
    for value, verdict in values.items():
        check = check_of(kind, facts(), facts(**{field: value}))
        assert check.verdict is verdict
        assert "bytes (" in check.reason


def test_the_memory_limit_is_the_users() -> None:
    """20% more memory passes where 25% is allowed."""
    more = facts(peak_memory_bytes=600_000_000)
    checks = compare_facts(facts(), more, peak_memory_tolerance=0.25)
    assert next(c for c in checks if c.name == "peak memory of int8").verdict is PASS


@pytest.mark.parametrize(
    ("base", "head", "verdict", "reason"),
    [
        (COMPUTED, COMPUTED, PASS, "int8: 100% of 1 G multiply-adds on both sides"),
        (COMPUTED, {"float32": 10**9}, FAIL, "int8: 100% -> 0% of 1 G multiply-adds"),
        (COMPUTED, {"int8": 986 * 10**6, "float32": 14 * 10**6}, FAIL, "int8: 100% -> 98.6% of"),
        (COMPUTED, {"int8": 998_900_000, "float32": 1_100_000}, FAIL, "int8: 100% -> 99.89% of"),
        (COMPUTED, {"int8": 999_100_000, "float32": 900_000}, PASS, "int8: 99.91% of 1 G"),
        (COMPUTED, {"int8": 999_970_000, "float32": 30_000}, PASS, "int8: 99.99% of 1 G"),
        ({"int8": 9 * 10**8, "float32": 10**8}, COMPUTED, IMPROVED, "int8: 90% -> 100% of 1 G"),
        (
            {"int8": 9 * 10**8, "float32": 10**8},
            {"int8": 9 * 10**8, "bfloat16": 10**8},
            PASS,
            "int8: 90% of 1 G multiply-adds on both sides",
        ),
        (
            COMPUTED,
            {"int8": 9 * 10**8, "unknown": 10**8},
            INCONCLUSIVE,
            "int8: 100% -> 90 to 100% of 1 G multiply-adds, so a fall can neither be shown nor exc",
        ),
        (
            COMPUTED,
            {"int8": 8 * 10**8, "unknown": 10**8, "float32": 10**8},
            FAIL,
            "int8: 100% -> 80 to 90% of",
        ),
        (
            {"int8": 9 * 10**8, "unknown": 10**8},
            {"int8": 9 * 10**8, "unknown": 10**8},
            PASS,
            "int8: 90 to 100% of 1 G multiply-adds on both sides",
        ),
        ({"int8": 9 * 10**8, "unknown": 10**8}, COMPUTED, PASS, "int8: 90 to 100% -> 100% of"),
        (COMPUTED, {"int8": 2 * 10**9}, INCONCLUSIVE, "1 G and 2 G multiply-adds are of two net"),
    ],
)
def test_what_computed_is_compared_by_multiply_adds(
    base: dict[str, int], head: dict[str, int], verdict: GateVerdict, reason: str
) -> None:
    """Less in int8 fails without a clock, beyond 0.1%; what nobody told is never assumed."""
    sides = [facts(multiply_adds=side) for side in (base, head)]
    check = check_of("multiply-adds", *sides)
    assert (check.verdict, check.reason.startswith(reason)) == (verdict, True), check.reason
    assert "other kernels" not in check.reason


def test_a_float32_that_falls_into_bfloat16_fails_too() -> None:
    """A variant is asked for what it claims, whichever precision is the quicker one."""
    sides = [facts(precision="float32", multiply_adds={p: 10**9}) for p in ("float32", "bfloat16")]
    check = check_of("multiply-adds", *sides)
    assert (check.verdict, check.head) == (FAIL, "100% bfloat16 (onednn)")


class Rectified(nn.Module):
    """A convolution, then ReLU as a module of its own, as a function, or fused into int8's."""

    def __init__(self, convolution: nn.Module, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution, self.relu = convolution, relu
        self.take, self.give = nn.Identity(), nn.Identity()
        if not isinstance(convolution, nn.Conv2d):
            self.take, self.give = quantized.Quantize(0.1, 0, torch.quint8), quantized.DeQuantize()

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 maps."""
        maps: Tensor = self.give(self.relu(self.convolution(self.take(images))))
        return maps


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_another_spelling_of_relu_is_no_finding(precision: str) -> None:
    """A module for a function, or one fused, has the same multiply-adds: nobody can feel it."""
    if precision == "float32":
        convolution = nn.Conv2d(3, 4, 3)
        spelt = [Rectified(convolution, relu) for relu in (nn.ReLU(), torch.relu)]
    else:
        plain, fused = quantized.Conv2d(3, 4, 3), intrinsic.ConvReLU2d(3, 4, 3)
        spelt = [Rectified(fused, nn.Identity()), Rectified(plain, torch.relu)]
    counts = [EagerNetwork(one).ran(torch.ones(1, 3, 8, 8)).multiply_adds for one in spelt]
    assert set(counts[0]) == {precision}
    sides = [
        facts(precision=precision, multiply_adds={str(k): n for k, n in count.items()})
        for count in counts
    ]
    for base, head in (sides, sides[::-1]):
        assert {check.verdict for check in compare_facts(base, head)} == {PASS}


def test_other_kernels_are_told_and_pass() -> None:
    """An upgrade of torch takes others for the same multiply-adds; the clock judges them."""
    other = {
        "convolution brgconv u8/s8/u8": 20,
        "convolution jit u8/s8/u8": 33,
        "reorder a": 1,
        "reorder b": 2,
    }
    check = check_of("multiply-adds", facts(), facts(kernels=other))
    assert check.verdict is PASS
    assert check.reason.endswith(
        "on both sides; other kernels: convolution brgconv u8/s8/u8: 53 -> 20, convolution jit "
        "u8/s8/u8: 0 -> 33, matmul brgemm u8/s8/f32: 1 -> 0 and 2 more"
    )


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        # A base of before tells in what it computed most, and no multiply-adds.
        ({"multiply_adds": {}}, {}, PASS),
        ({"multiply_adds": {}}, {"multiply_adds": {"float32": 10**9}}, FAIL),
        (
            {"multiply_adds": {}},
            {"multiply_adds": {"int8": 9 * 10**8, "float32": 10**8}},
            INCONCLUSIVE,
        ),
        ({"multiply_adds": {}, "ran": "float32"}, {}, IMPROVED),
        ({"multiply_adds": {}}, {"multiply_adds": {}}, PASS),
        ({"multiply_adds": {}}, {"multiply_adds": {}, "ran": "float32"}, FAIL),
        ({"multiply_adds": {}, "ran": "float32"}, {"multiply_adds": {}}, IMPROVED),
        ({}, {"multiply_adds": {}}, INCONCLUSIVE),
        ({}, {"multiply_adds": {}, "ran": "float32"}, FAIL),
    ],
)
def test_a_side_that_tells_less_is_compared_as_far_as_it_tells(
    base: dict[str, Any], head: dict[str, Any], verdict: GateVerdict
) -> None:
    """The precision of most shows a fall, and never excludes one of a part."""
    assert check_of("multiply-adds", facts(**base), facts(**head)).verdict is verdict


def test_a_sheet_of_before_is_read(tmp_path: Path) -> None:
    """It counted modules, which nobody compares any more; what it lacks raises no doubt."""
    variant = {"size_bytes": 5, "operators": {"Conv2d": 20}, "engine": None}
    sheet = {
        "version": 1,
        "num_photographs": 12,
        "photographs_sha256": "names",
        "inputs_sha256": "inputs",
        "variants": {"int8": {**variant, "peak_memory_bytes": 6}},
        "share": [],
    }
    (tmp_path / "facts.json").write_text(json.dumps(sheet))
    np.savez(tmp_path / "logits.npz", int8=LOGITS)
    found = load_facts(tmp_path)
    assert {check.verdict for check in compare_facts(found, found)} == {PASS}
    (tmp_path / "facts.json").write_text(json.dumps(sheet | {"version": 3}))
    with pytest.raises(IndoorError, match="has version 3, expected 2"):
        load_facts(tmp_path)


@pytest.mark.parametrize("field", ["size_bytes", "multiply_adds", "peak_memory_bytes"])
@pytest.mark.parametrize("lacking", ["base", "head", "both"])
def test_a_missing_fact_is_never_a_pass(field: str, lacking: str) -> None:
    """On one side or on both: INCONCLUSIVE, and the side is named."""
    without = facts(**{field: None, "problem": "the probe was killed"})
    base = facts() if lacking == "head" else without
    head = facts() if lacking == "base" else without
    (check,) = [c for c in compare_facts(base, head) if c.verdict is not PASS]
    assert check.verdict is INCONCLUSIVE
    assert check.reason.startswith(
        f"unknown in {'base and head' if lacking == 'both' else lacking}; the probe was killed"
    )


def test_a_runtime_that_cannot_tell_what_ran_raises_no_doubt() -> None:
    """Where neither side's runtime can tell there is no such check; else it is unknown."""
    untold = facts(multiply_adds={}, ran=None, kernels={})
    assert {check.verdict for check in compare_facts(untold, untold)} == {PASS}
    assert "multiply-adds of int8" not in {check.name for check in compare_facts(untold, untold)}
    for base, head in ((untold, facts()), (facts(), untold)):
        assert check_of("multiply-adds", base, head).verdict is INCONCLUSIVE


def test_a_variant_of_one_side_alone_is_unknown() -> None:
    """All of its checks are INCONCLUSIVE, whichever side lacks it."""
    empty = Facts(replace(facts().sheet, variants={}), {})
    for base, head in ((facts(), empty), (empty, facts())):
        assert {check.verdict for check in compare_facts(base, head)} == {INCONCLUSIVE}
        assert variants_to_predict(base, head) == ()


def test_other_logits_ask_for_the_accuracy() -> None:
    """The distance is told (hand-computed), and the accuracy is open until it was asked."""
    other = LOGITS.copy()
    other[0, 0] += 2.0
    base, head = facts(), facts(other, inputs_sha256="normalised otherwise")
    check = check_of("logits", base, head)
    assert check.verdict is PASS
    assert check.head == "top-1 as base's on 1 of 2"
    # 20 log10(sqrt(1 + 4 + 1/4 + 9 + 1 + 1/16) / 2)
    assert "by 2 at most (SQNR 5.8 dB)" in check.reason
    assert check.reason.endswith("the photographs themselves reach the model as other numbers")
    assert variants_to_predict(base, head) == ("int8",)
    assert check_of("accuracy", base, head).verdict is INCONCLUSIVE


def test_the_accuracys_outcome_takes_its_place() -> None:
    """A check that was asked later replaces its namesake, and the others stay."""
    before = compare_facts(facts(), facts(LOGITS + 1))
    later = judge(*pair(1000, 0, 0))
    merged = merge_checks(before, (later,))
    assert [check.name for check in merged] == [check.name for check in before]
    assert merged[-1] is later


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        (LOGITS, LOGITS * np.nan, FAIL),
        (LOGITS * np.nan, LOGITS * np.nan, INCONCLUSIVE),
        (LOGITS, LOGITS[:, :2], INCONCLUSIVE),
        (LOGITS, None, INCONCLUSIVE),
    ],
)
def test_logits_that_cannot_be_compared(
    base: np.ndarray, head: np.ndarray | None, verdict: GateVerdict
) -> None:
    """Not finite on one side blames that side; nothing else is a pass, or asks for accuracy."""
    assert check_of("logits", facts(base), facts(head)).verdict is verdict
    assert variants_to_predict(facts(base), facts(head)) == ()


def test_a_head_beside_a_damaged_base_is_asked_for_its_accuracy() -> None:
    """Finite logits are better than none, and prove nothing of what they say."""
    base, head = facts(LOGITS * np.inf), facts(LOGITS)
    assert check_of("logits", base, head).verdict is IMPROVED
    assert check_of("accuracy", base, head).verdict is INCONCLUSIVE
    assert variants_to_predict(base, head) == ("int8",)
    unknown = replace_classes(predictions([True] * 300), int8=np.full(300, -1))
    assert judge(unknown, predictions([True] * 300)).verdict is IMPROVED
    useless = judge(unknown, predictions([False] * 300))
    assert (useless.verdict, useless.base, useless.head) == (PASS, "0.00%", "0.00%"), "it is told"


def test_logits_of_other_photographs_are_not_compared() -> None:
    """Equal numbers of other photographs prove nothing."""
    check = check_of("logits", facts(), facts(photographs_sha256="others"))
    assert check.verdict is INCONCLUSIVE
    assert "other photographs" in check.reason


@given(
    size=st.integers(1, 10**9),
    other=st.integers(1, 10**9),
    int8=st.integers(0, 10**9),
)
def test_swapping_the_sides_mirrors_the_facts(size: int, other: int, int8: int) -> None:
    """What is worse one way is better the other way."""
    base = facts(size_bytes=size, peak_memory_bytes=size)
    computed = {"int8": int8, "float32": 10**9 - int8}
    head = facts(size_bytes=other, peak_memory_bytes=other, multiply_adds=computed)
    there = {check.name: check.verdict for check in compare_facts(base, head)}
    back = {check.name: check.verdict for check in compare_facts(head, base)}
    for name, verdict in there.items():
        assert back[name] is MIRRORED[verdict]


@pytest.mark.parametrize(
    ("total", "lost", "gained", "verdict"),
    [
        (2000, 0, 0, PASS),
        (253, 0, 0, PASS),  # z^2 / (253 + z^2) = 1.4956%: the fewest that can pass
        (252, 0, 0, INCONCLUSIVE),
        (2000, 16, 4, PASS),  # shown, p = 0.012, and shown to be below 1.5 points
        (2000, 80, 40, FAIL),
        (2000, 30, 20, PASS),
        (500, 12, 6, INCONCLUSIVE),
        (2000, 4, 30, IMPROVED),
        (1000, 0, 5, PASS),  # the interval lies below 0 or touches it, but McNemar's p is 0.0625
    ],
)
def test_accuracy_is_judged_by_non_inferiority(
    total: int, lost: int, gained: int, verdict: GateVerdict
) -> None:
    """To pass, a drop has to be excluded; to fail, it has to be shown."""
    check = judge(*pair(total, lost, gained))
    assert check.verdict is verdict, check.reason
    assert f"{lost} photographs lost and {gained} gained of {total}" in check.reason


def test_the_accepted_drop_is_the_users() -> None:
    """A drop of 2 points passes where 4 are allowed."""
    base, head = pair(2000, 80, 40)
    assert judge(base, head, max_drop=0.04).verdict is PASS


def test_holm_counts_all_variants() -> None:
    """A p of 0.035 shows a drop alone, and not beside a second variant."""
    base, head = pair(300, 12, 3)
    assert judge(base, head).verdict is FAIL
    both = [replace_classes(side, float32=side.classes["int8"]) for side in (base, head)]
    checks = compare_predictions(both[0], both[1], ["int8", "float32"], alpha=0.05)
    assert [check.verdict for check in checks] == [INCONCLUSIVE, INCONCLUSIVE]


def replace_classes(side: Predictions, **classes: np.ndarray) -> Predictions:
    """Return the side with more variants' answers."""
    return replace(side, classes=side.classes | classes)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (np.zeros(300, dtype=np.int64), "100% of the answers are one class, 33% of base's"),
        (np.where(np.arange(300) % 8 == 0, 1, 0), "entropy is 0.55 bits, base's 1.58"),
    ],
)
def test_a_collapse_fails(answers: np.ndarray, words: str) -> None:
    """One class for nearly all, or half of the entropy, where base still tells three apart."""
    base = predictions([True] * 300)
    check = judge(base, replace_classes(base, int8=answers), max_drop=0.999)
    assert check.verdict is FAIL
    assert words in check.reason


def test_better_answers_on_unequal_classes_are_no_collapse() -> None:
    """97% are of one class: the right answers have a lower entropy than base's wrong ones."""
    labels = (np.arange(1000) < 30).astype(np.int64)
    wrong = (np.arange(1000) >= 900).astype(np.int64)
    right = predictions([True] * 1000)
    base = replace(replace_classes(right, int8=wrong), labels=labels)
    head = replace(replace_classes(right, int8=labels), labels=labels)
    assert judge(base, head).verdict is IMPROVED
    assert judge(head, replace_classes(head, int8=labels * 0)).verdict is FAIL


def test_a_base_of_one_class_is_no_collapse_of_head() -> None:
    """Head answers as base does, so nothing fell."""
    base = replace_classes(predictions([True] * 300), int8=np.zeros(300, dtype=np.int64))
    assert judge(base, base).verdict is PASS


def test_only_photographs_that_both_came_to_are_compared() -> None:
    """Head had less time: the common beginning counts, and the split's size stands beside it."""
    base, head = predictions([True] * 400), predictions([True] * 300, num_in_split=400)
    assert "of the first 300 of 400" in judge(base, head).reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"photographs": ("x.jpg",) * 300}, "other photographs"),
        ({"labels": np.zeros(300, dtype=np.int64)}, "other labels"),
        ({"classes": {}}, "unknown in head"),
        ({"photographs": ()}, "no photograph was predicted in time"),
    ],
)
def test_predictions_that_are_no_pairs_are_inconclusive(
    change: dict[str, Any], reason: str
) -> None:
    """Whatever is missing or does not fit is told, and is never a pass."""
    base = predictions([True] * 300)
    check = judge(base, replace(base, **change))
    assert check.verdict is INCONCLUSIVE
    assert reason in check.reason


@given(
    counts=st.tuples(st.integers(0, 50), st.integers(0, 50)), total=st.sampled_from([60, 400, 3000])
)
def test_swapping_the_sides_mirrors_the_accuracy(counts: tuple[int, int], total: int) -> None:
    """A shown loss beyond the limit is a gain the other way; neither way is both better."""
    base, head = pair(total + 100, *counts)
    there, back = judge(base, head).verdict, judge(head, base).verdict
    if there is FAIL:
        assert back is IMPROVED
    if there is IMPROVED:
        assert back in {FAIL, PASS}
    assert not {there, back} <= {FAIL}


def test_damaged_facts_are_refused_in_one_line(tmp_path: Path) -> None:
    """A missing, a truncated and a foreign file are each named with what to do."""
    with pytest.raises(IndoorError, match=r"cannot read .*facts\.json"):
        load_facts(tmp_path)
    (tmp_path / "predictions.npz").write_bytes(b"PK")
    with pytest.raises(IndoorError, match=r"cannot read .*predictions\.npz.*start the gate again"):
        load_predictions(tmp_path)
    np.savez(tmp_path / "predictions.npz", labels=np.arange(3))
    with pytest.raises(IndoorError, match="holds no 'photographs'"):
        load_predictions(tmp_path)


def test_logits_that_are_not_finite_are_no_class() -> None:
    """NaN would otherwise pass for the largest logit."""
    logits = torch.tensor([[1.0, 2.0], [float("nan"), 0.0]])
    assert classes_of(logits).tolist() == [1, -1]


def test_the_suites_own_settings_are_read() -> None:
    """bench/gate.toml selects the latency cells and names the plugin."""
    config = load_config(ROOT / "bench" / "gate.toml")
    assert config.facts is not None
    assert (ROOT / config.facts).is_file()
    assert selects(config, "bench/test_latency.py::test_latency[int8-batch1-threads2]")
    assert not selects(config, "bench/test_decode.py::test_decode[threads1]")


def test_the_size_is_that_of_the_tensors(tmp_path: Path) -> None:
    """Another source of the same weights makes another header, and no other size."""
    model = build_model("resnet18", 3, seed=0)
    sizes = []
    for name in ("a", "a-much-longer-name-of-the-same-file.safetensors"):
        manifest = CheckpointManifest(
            format=FORMAT,
            arch="resnet18",
            precision="float32",
            classes=("a", "b", "c"),
            preprocessing=DEFAULT_PREPROCESSING,
            weights=WeightSource(kind="file", name=name, sha256=None),
        )
        save_float(tmp_path / "float32.safetensors", model, manifest)
        sizes.append(size_of_tensors(tmp_path / "float32.safetensors"))
    assert sizes[0] == sizes[1]
    assert sizes[0] >= sum(tensor.nbytes for tensor in model.state_dict().values())
    (tmp_path / "model.onnx").write_bytes(b"12345")
    assert size_of_tensors(tmp_path / "model.onnx") == 5


@pytest.fixture
def shared(home: Path, photographs: Path) -> Shared:
    """What the suite shares on the tiny run, as base would have prepared it."""
    run_folder = home / "runs" / "tiny"
    settings: Any = SimpleNamespace(
        skip_broken=False, suite_batches=(1,), device="cpu", variants=("float32", "int8")
    )
    prepared: Any = SimpleNamespace(
        root=photographs,
        run_folder=run_folder,
        manifest=read_manifest(run_folder / "float32.safetensors"),
    )
    nothing: Any = None
    return Shared(nothing, settings, prepared, nothing, nothing)


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the fresh processes that measure memory."""
    peak = Peak(peak_memory_bytes=10**9, seconds=1.0)
    monkeypatch.setattr("indoor.runtimes.own_process.measure_peak", lambda *_: peak)


def test_a_tree_writes_what_it_is(shared: Shared, no_probe: None, tmp_path: Path) -> None:  # noqa: ARG001
    """Sizes, what ran, engine, logits of the 12 photographs, and what to share; threads kept."""
    before = torch.get_num_threads()
    write_facts(shared, ("float32", "int8"), tmp_path)
    assert torch.get_num_threads() == before
    found = load_facts(tmp_path)
    folder = shared.prepared.run_folder
    assert found.sheet.num_photographs == 12
    assert found.sheet.share[::2] == ("--data", "--weights")
    assert Path(found.sheet.share[3]) == folder / "float32.safetensors"
    float32, int8 = found.variants["float32"], found.variants["int8"]
    assert (float32.size_bytes or 0) > 3 * (int8.size_bytes or 0) > 0
    assert (float32.engine, int8.engine) == (None, read_int8_engine(folder))
    assert (float32.ran, int8.ran) == ("float32", "int8")
    assert sum(n for k, n in int8.kernels.items() if k.startswith("convolution")) == 20
    assert (int8.runtime, int8.precision, int8.device) == ("eager", "int8", "cpu")
    assert {name: logits.shape for name, logits in found.logits.items()} == {
        "float32": (12, 3),
        "int8": (12, 3),
    }


def read_int8_engine(folder: Path) -> str:
    """Return the engine that the int8 file says it was made for."""
    record = read_manifest(folder / "int8.safetensors").quantization
    assert record is not None
    return record.config.engine


def test_a_probe_that_fails_is_told(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message becomes the reason of an INCONCLUSIVE check; the other facts are there."""

    def fail(*_: object) -> Peak:
        raise IndoorError("int8: died by SIGKILL")

    monkeypatch.setattr("indoor.runtimes.own_process.measure_peak", fail)
    write_facts(shared, ("int8",), tmp_path)
    found = load_facts(tmp_path)
    check = check_of("peak memory", found, found)
    assert check.verdict is INCONCLUSIVE
    assert check.reason.endswith("peak memory: int8: died by SIGKILL")
    assert check_of("size", found, found).verdict is PASS


def test_peaks_alone_are_measured_once_more(shared: Shared, no_probe: None, tmp_path: Path) -> None:  # noqa: ARG001
    """Of the variants that were asked for, without a look at anything else."""
    write_peaks(shared, ["int8"], tmp_path)
    assert load_peaks(tmp_path) == {"int8": 10**9}
    assert [path.name for path in tmp_path.iterdir()] == ["memory.npz"]


def test_predictions_are_those_of_the_logits(
    shared: Shared,
    no_probe: None,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    """All 12 photographs of the split in the order of the logits, each with its label."""
    write_facts(shared, ("int8",), tmp_path)
    write_predictions(shared, ["int8"], tmp_path, budget_s=60)
    found, logits = load_predictions(tmp_path), load_facts(tmp_path).logits["int8"]
    assert len(set(found.photographs)) == found.num_in_split == 12
    assert found.classes["int8"].tolist() == logits.argmax(axis=1).tolist()
    names = {sample.name: sample.label for sample in shared.scenes().samples}
    assert [names[name] for name in found.photographs] == found.labels.tolist()


def test_predictions_end_with_their_time(shared: Shared, tmp_path: Path) -> None:
    """Without any time there is none, and the verdict is INCONCLUSIVE."""
    write_predictions(shared, ["float32", "int8"], tmp_path, budget_s=0.0)
    found = load_predictions(tmp_path)
    assert (found.photographs, found.num_in_split) == ((), 12)
    assert "no photograph was predicted in time" in judge(found, found).reason


@pytest.mark.parametrize(
    ("stash", "environment", "message"),
    [
        ({}, {}, "no case of the suite was collected"),
        (
            {SHARED: SimpleNamespace(settings=SimpleNamespace(variants=("int8",), device="cpu"))},
            {"INDOOR_GATE_FACTS_OUT": ".", "INDOOR_GATE_FACTS_MODE": "guess"},
            "INDOOR_GATE_FACTS_MODE=guess: expected prepare or predictions",
        ),
    ],
)
def test_a_call_that_means_nothing_is_a_mistake(
    stash: Any, environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ends as if the facts had been written."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session: Any = SimpleNamespace(testsfailed=0, config=SimpleNamespace(stash=stash))
    with pytest.raises(pytest.UsageError, match=message):
        run_loop(session)


def test_a_tree_that_cannot_be_collected_is_left_to_pytest() -> None:
    """Pytest's own loop then names the module."""
    session: Any = SimpleNamespace(testsfailed=1)
    assert run_loop(session) is None


def run_plugin(folder: Path, *words: str, mode: str = "prepare") -> tuple[int, str]:
    """Run pytest on the suite with a copy of the plugin, as the gate does."""
    copy = folder / "plugin" / "indoor_gate_facts.py"
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "bench" / "gate_facts.py", copy)
    dropped = ("PYTEST_", "COV_", "INDOOR_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "bench/test_latency.py", "-p", copy.stem),
            *("-p", "no:cacheprovider", "--benchmark-disable", "--no-download", *words),
            *("--model", "resnet18", "--variant", "int8", "--batch", "1", "--threads", "1"),
        ],
        cwd=ROOT,
        env=kept
        | {
            "PYTHONPATH": str(copy.parent),
            "INDOOR_GATE_FACTS_OUT": str(folder),
            "INDOOR_GATE_FACTS_MODE": mode,
            "INDOOR_GATE_FACTS_BUDGET_S": "60",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.slow
def test_identical_trees_are_bit_identical(
    shared: Shared,
    no_probe: None,  # noqa: ARG001
    tmp_path: Path,
) -> None:
    """Head in its own process and home quantizes base's float checkpoint: the same, no accuracy."""
    for side in ("base", "head"):
        (tmp_path / side).mkdir()
    write_facts(shared, ("int8",), tmp_path / "base")
    base = load_facts(tmp_path / "base")
    words = (*base.sheet.share, "--home", str(tmp_path / "home"))
    status, output = run_plugin(tmp_path / "head", *words)
    assert status == 0, output
    assert "training skipped" in output
    assert "evaluated on" not in output
    head = load_facts(tmp_path / "head")
    verdicts = {check.name: check.verdict for check in compare_facts(base, head)}
    assert verdicts.pop("peak memory of int8") is not INCONCLUSIVE
    assert set(verdicts.values()) == {PASS}
    assert variants_to_predict(base, head) == ()
