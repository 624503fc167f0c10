"""Whether two runs may be compared: what each difference costs, and how it is told."""

import dataclasses
from typing import Any

import pytest
from report_records import NO_WEIGHTS, SCENE15, WEIGHTS, ZEN3, identity, latency, quantization

from indoor.records import Measurement, Preprocessing, from_builtins
from indoor.runs.comparable import Subject, case_key, comparable, describe_mixture

BEFORE = identity(environment={}, timer="time.perf_counter")


def machine(**changes: Any) -> dict[str, Any]:
    """Return the change of a run's identity that changes its machine."""
    return {"machine": dataclasses.replace(ZEN3, **changes)}


def preprocessing(**changes: Any) -> dict[str, Any]:
    """Return the change of a run's identity that changes its preprocessing."""
    known: Preprocessing = dataclasses.replace(BEFORE.preprocessing, **changes)
    return {"preprocessing": known}


@pytest.mark.parametrize(
    ("changes", "level", "other", "labels"),
    [
        ({}, "times", None, []),
        ({"commit": "f" * 40, "dirty": True, "narrowed": True}, "times", None, []),
        (machine(load_1min=3.0, memory_bytes=7_900_000_000), "times", None, []),
        (machine(cpu_model="Z80"), "ratios", "of another CPU", ["CPU"]),
        (machine(num_cores=4), "ratios", "of another machine", ["cores"]),
        (machine(isa=("avx2", "avx512f")), "ratios", "of another machine", ["instructions"]),
        (machine(memory_bytes=16_000_000_000), "ratios", "of another machine", ["memory"]),
        (machine(cpu_quota=1.5), "ratios", "of another machine", ["CPU quota"]),
        (
            {"environment": {"OMP_PROC_BIND": "close", "nice": "5"}},
            *("ratios", "with another environment", ["OMP_PROC_BIND", "nice"]),
        ),
        ({"timer": "time.process_time"}, "nothing", "with another timer", ["timer"]),
        (machine(torch="2.15.0"), "times", None, ["torch"]),
        (machine(python="3.12.0"), "times", None, ["Python"]),
        (machine(system="Linux 7.0"), "times", None, ["system"]),
        ({"arch": "resnet18"}, "nothing", "of another model", ["network"]),
        (preprocessing(size=64), "nothing", "of another preprocessing", ["input"]),
        (preprocessing(resize="crop"), "times", "of another preprocessing", ["preprocessing"]),
        ({"quantization": quantization("fbgemm")}, "times", None, ["engine"]),
        (
            {"data": dataclasses.replace(SCENE15, sha256="0" * 64)},
            *("times", "of other data", ["data"]),
        ),
        ({"weights": NO_WEIGHTS}, "times", "of other weights", ["weights"]),
        (
            {"weights": dataclasses.replace(WEIGHTS, kind="imagenet-cache")},
            *("times", None, []),
        ),
        ({"checkpoint_sha256": {"float32": "0" * 64}}, "times", None, ["checkpoints float32"]),
    ],
)
def test_each_difference_has_its_cost(
    changes: dict[str, Any], level: str, other: str | None, labels: list[str]
) -> None:
    """What may still be compared, whether it is another subject, and what it is called."""
    changed = dataclasses.replace(BEFORE, **changes)
    if labels == ["checkpoints float32"]:
        labels = [*labels, "checkpoints int8"]
    for there, here in ((BEFORE, changed), (changed, BEFORE)):
        found = comparable(Subject(run=there), Subject(run=here))
        assert (found.level, found.other) == (level, other)
        assert [one.label for one in found.differences] == labels


def test_another_allocator_is_another_subject() -> None:
    """Its cases are others, so no times of it are compared by mistake."""
    found = comparable(
        Subject(run=BEFORE, allocator="retain"), Subject(run=BEFORE, allocator="default")
    )
    assert found.other == "with another allocator"
    assert str(found) == "allocator retain there, default here"


def test_the_worst_difference_decides() -> None:
    """Of a CPU and a network, the network leaves nothing; both are told, the CPU first."""
    other = dataclasses.replace(BEFORE, arch="resnet18", **machine(cpu_model="Z80"))
    found = comparable(Subject(run=other), Subject(run=BEFORE))
    assert (found.level, found.other) == ("nothing", "of another CPU")
    assert str(found) == f"cpu_model Z80 there, {ZEN3.cpu_model} here; model resnet18 there, " + (
        "resnet50 here"
    )


def test_what_was_not_recorded_costs_nothing_and_is_said() -> None:
    """Version 1 knew no environment and no timer; nobody can say that they differed."""
    old = dataclasses.replace(BEFORE, environment=None, timer=None)
    found = comparable(Subject(run=old), Subject(run=BEFORE))
    assert (found.level, found.other) == ("times", None)
    assert [(one.there, one.here) for one in found.differences] == [
        ("not recorded", "not set"),
        ("not recorded", "time.perf_counter"),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timer": "time.process_time"}, "2 timers (time.perf_counter, time.process_time)"),
        ({"environment": {"nice": "5"}}, "2 environments (nice 5, not set)"),
        (machine(cpu_model="Z80"), f"2 machines ({ZEN3.cpu_model}, Z80)"),
        ({"commit": "f" * 40}, None),
    ],
)
def test_a_mixture_is_named(changes: dict[str, Any], words: str | None) -> None:
    """Cases of one file are of one run; that may have gone on with another commit."""
    assert describe_mixture([BEFORE, dataclasses.replace(BEFORE, **changes), BEFORE]) == words


def test_a_case_is_what_it_measures() -> None:
    """Not its test's name, and not when it was measured."""
    entry = latency(BEFORE, "int8", 8, 2, 26)["extra_info"]["indoor"]
    one = from_builtins(entry, Measurement, "memory")
    assert case_key(one) == case_key(dataclasses.replace(one, measured_at="2026", resumed=True))
    assert case_key(one) == case_key(dataclasses.replace(one, device="cpu"))
    assert case_key(one) != case_key(dataclasses.replace(one, device="cuda"))
    assert case_key(one) != case_key(dataclasses.replace(one, threads=1))
    assert case_key(one) != case_key(dataclasses.replace(one, allocator="retain"))
