"""The lines under the table on cells that are slower than float32."""

import json
import re
from typing import Any

from report_records import benchmark_json, identity
from runtime_records import VARIANTS, ZEN4, cell, limits, many_run, ran

from indoor.report import render
from indoor.runs.results import RunResult, from_benchmark_json

KNOWN = {one.name: one for one in VARIANTS}
HEAD = "Slower than float32, and why, by what was recorded:"


def run_of(*cells: tuple[str, int, float], **changes: dict[str, Any]) -> RunResult:
    """A run on one thread of (variant, batch, ms), float32 first at each batch."""
    run = identity(ZEN4, variants=VARIANTS, environment={})
    benchmarks, base = limits(run), {}
    for name, batch, ms in cells:
        entry = cell(
            run, KNOWN[name], batch, 1, ms, baseline=base.get(batch), **changes.get(name, {})
        )
        base.setdefault(batch, entry["stats"]["data"])
        benchmarks.append(entry)
    return from_benchmark_json(benchmark_json(benchmarks), "0001_slow.json")


def lines(result: RunResult) -> str:
    """What stands under the table, on one line; empty where nothing does."""
    text = " ".join(render([result], width=100).split())
    assert text.count(HEAD) <= 1
    return text.partition(HEAD)[2].partition(" What ran ")[0].strip()


def test_a_slower_int8_says_why_under_the_table() -> None:
    """With its speedup, the float32 that it is slower than, and the cause."""
    partly = {"ran": ran("int8", share=0.6)}
    found = lines(run_of(("float32", 1, 100), ("int8", 1, 130), int8=partly))
    assert re.match(
        r"- int8 at batch 1 with 1 thread, 0\.7[67]\dx \(0\.7\d+-0\.\d+\) as fast", found
    )
    assert ") as fast as float32: in part float32 kernels: 40% of 4.09 G multiply-adds are" in found


def test_what_is_no_cause_says_not_explained() -> None:
    """A cell that nothing fits has a line, too."""
    found = lines(run_of(("float32", 1, 100), ("int8", 1, 130)))
    assert "as fast as float32: not explained: by what was recorded, 30 ms a call" in found


def test_cells_with_the_same_causes_are_one_entry() -> None:
    """The slowest's figures, and where else; the second cause is told besides."""
    cells = [(name, b, ms) for b in (1, 8) for name, ms in (("float32", 100), ("int8", 125 + b))]
    partly = {"faults": 5_000.0, "num_busy_threads": 1}
    found = lines(run_of(*cells, int8=partly))
    assert found.count("- int8 at") == 2
    assert re.match(r"- int8 at batch 8 with 1 thread, 0\.7[56]\dx", found)
    assert "likewise at batch 1 with 1 thread: perhaps page faults: 39,997 page faults" in found
    assert "- int8 at batch 8 with 1 thread, besides: not explained:" in found


def test_int8_is_held_against_float32_of_its_own_runtime_too() -> None:
    """Faster than eager's float32, slower than its own: an int8 that gained nothing."""
    slow = (("float32", 1, 100), ("float32-openvino", 1, 40), ("int8-openvino", 1, 50))
    assert "- int8-openvino at batch 1 with 1 thread, 0.80" in lines(run_of(*slow))
    assert "as fast as float32-openvino: not explained" in lines(run_of(*slow))


def test_a_run_whose_narrow_precisions_are_faster_says_nothing() -> None:
    """Nor does another float32 that is slower than eager's."""
    assert lines(many_run()) == ""
    assert lines(run_of(("float32", 1, 100), ("float32-folded", 1, 120), ("int8", 1, 50))) == ""


def test_the_json_has_the_cells_and_their_causes() -> None:
    """What the tables say, as records; a run without a slower cell has none."""
    (one,) = told_as_json(run_of(("float32", 1, 100), ("int8", 1, 130)))["slower"]
    assert one["case"].endswith("test_latency[int8-1-1]")
    assert one["speedup"]["baseline"] == "float32"
    assert one["speedup"]["interval"]["high"] < 1
    (cause,) = one["causes"]
    assert (cause["kind"], cause["certainty"]) == ("not explained", "open")
    assert told_as_json(many_run())["slower"] == []


def told_as_json(result: RunResult) -> dict[str, Any]:
    """The run in the report's JSON."""
    (run,) = json.loads(render([result], format="json"))["runs"]
    found: dict[str, Any] = run
    return found


def test_what_ran_in_another_precision_is_no_float32_to_be_slower_than() -> None:
    """int8 is not held against a float32 of its runtime that bfloat16 computed."""
    rounded = {"float32-openvino": {"ran": ran("bfloat16")}}
    cells = (("float32", 1, 100), ("float32-openvino", 1, 40), ("int8-openvino", 1, 50))
    assert lines(run_of(*cells, **rounded)) == ""
