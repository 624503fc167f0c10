"""Runs to tables: what is read, what is refused, and what the words may claim."""

import copy
import csv
import io
import json
import math
import re
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image
from report_records import (
    AMX,
    NO_WEIGHTS,
    SCENE15,
    WEIGHTS,
    ZEN3,
    benchmark_json,
    evaluation,
    full_json,
    full_run,
    identity,
    latency,
    other_cases,
    pair,
    quantization,
    scaled,
    speedup,
)

from indoor.cli import main
from indoor.errors import IndoorError
from indoor.records import (
    Epoch,
    EvaluationReport,
    Interval,
    Measurement,
    TrainingCurves,
    Variant,
    from_builtins,
)
from indoor.report import (
    plot_curves,
    plot_latency,
    render,
    render_evaluation,
    render_machine,
    speedup_sentence,
)
from indoor.report.blocks import Column, Grid, Paragraph
from indoor.report.comparison import render_ratios
from indoor.report.headline import headline
from indoor.report.markdown import as_markdown
from indoor.report.text import as_text
from indoor.report.units import count, digits, ratio_interval
from indoor.runs.results import (
    RunResult,
    from_benchmark_json,
    load_results,
    measurement_schema,
)
from indoor.runs.select import variants

GOLDEN = Path(__file__).parent / "golden"


def run_of(benchmarks: list[dict[str, Any]], source: str = "0001_run.json") -> RunResult:
    """A run of some benchmarks."""
    return from_benchmark_json(benchmark_json(benchmarks), source)


def written(path: Path, data: object) -> Path:
    """Write JSON, as pytest-benchmark does."""
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def squeezed(text: str) -> str:
    """The text with every run of white space as one blank, however it was wrapped."""
    return " ".join(text.split())


# Reading


def test_a_saved_run_is_read_case_by_case(tmp_path: Path) -> None:
    """A file gives its cases in order, their records, and the rounds in seconds a call."""
    path = written(tmp_path / "0001_zen3.json", full_json(ZEN3))
    (run,) = load_results([path])
    assert run.source == "0001_zen3.json"
    assert run.datetime == "2026-11-23T18:54:07.123456+00:00"
    assert len(run.cases) == 2 * 2 * 4 + 2 * 2 + 2
    case = next(c for c in run.cases if c.fullname.endswith("test_forward[int8-8-2]"))
    assert case.measurement.latency is not None
    assert case.measurement.latency.median_s == pytest.approx(0.026)
    assert case.rounds.median_s == pytest.approx(0.026 * 8)
    assert case.rounds.num_rounds == 40


def test_a_file_of_version_1_stays_readable() -> None:
    """The golden file of schema version 1 gives the figures that it was written with."""
    (run,) = load_results([GOLDEN / "run-v1.json"])
    first = run.cases[0].measurement
    assert (first.variant, first.batch, first.threads) == ("float32", 8, 2)
    assert speedup_sentence(run).startswith("int8 pays: at batches 8 and 16 with 2 threads it is")


def test_a_file_of_version_2_stays_readable() -> None:
    """The golden file of version 2 says what the first version did not record."""
    (run,) = load_results([GOLDEN / "run-v2.json"])
    text = squeezed(render([run]))
    assert "1 cell of an interrupted run" in text
    assert "load 0.3 to 0.6" in text
    assert "OMP_NUM_THREADS 2, ONEDNN_MAX_CPU_ISA AVX512_CORE_AMX; timer time.perf_counter" in text
    assert "runtime eager on cpu: float32, bfloat16, int8 " in text
    (earlier,) = load_results([GOLDEN / "run-v1.json"])
    told = squeezed(render([earlier], baseline=run))
    assert "environment and timer not recorded" in told
    assert "runtime eager: float32, bfloat16, int8 " in told


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_are_laid_out_as_they_were_approved(width: int) -> None:
    """The golden run's tables are, line for line, those that a person looked at."""
    (run,) = load_results([GOLDEN / "run-v1.json"])
    text = render([replace(run, source="0001_golden.json")], width=width)
    assert text == (GOLDEN / f"run-v1-{width}.txt").read_text(encoding="utf-8")


def test_benchmarks_of_others_are_left_out_and_counted() -> None:
    """A file that holds other benchmarks too gives ours, and the tables say how many it left."""
    data = full_json()
    data["benchmarks"].append({"name": "test_x", "extra_info": {}, "stats": {}})
    run = from_benchmark_json(data, "mixed.json")
    assert run.num_foreign == 1
    assert "1 benchmarks are not this suite's" in render([run])


def broken(change: str) -> dict[str, Any]:
    """A run's JSON with one thing wrong."""
    data = copy.deepcopy(full_json())
    ours = data["benchmarks"][0]["extra_info"]["indoor"]
    match change:
        case "no list":
            data["benchmarks"] = None
        case "foreign":
            data["benchmarks"] = [{"name": "test_x", "extra_info": {}, "stats": {}}]
        case "old":
            ours["schema_version"] = 0
        case "unversioned":
            del ours["schema_version"]
        case "new":
            ours["schema_version"] = 3
        case "no record":
            data["benchmarks"][0]["extra_info"]["indoor"] = ["x"]
        case "batch 0":
            ours["batch"] = 0
        case "missing member":
            del ours["run"]["machine"]["cpu_model"]
        case "wrong hash":
            ours["run"]["data"]["sha256"] = "abc"
        case "wrong count":
            load = next(b for b in data["benchmarks"] if b["name"] == "test_load[int8]")
            load["extra_info"]["indoor"]["evaluation"]["confusion"] = [["many"]]
        case "no stats":
            del data["benchmarks"][0]["stats"]
        case "stats without median":
            del data["benchmarks"][0]["stats"]["median"]
        case "two machines":
            ours["run"] = {**ours["run"], "machine": {**ours["run"]["machine"], "cpu_model": "Z80"}}
        case "two networks":
            ours["run"] = {**ours["run"], "checkpoint_sha256": {"float32": "0" * 64}}
        case "twice":
            data["benchmarks"].append(data["benchmarks"][0])
        case "no rounds":
            data["benchmarks"][0]["stats"]["rounds"] = 0
        case "before its time":
            data["benchmarks"][0]["stats"]["median"] = -1.0
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no list", "holds no benchmarks; expected JSON that pytest-benchmark wrote"),
        ("foreign", "holds 1 benchmarks and none of this suite"),
        ("old", "has schema version 0; expected 1 to 2; measure again"),
        ("unversioned", "has schema version None; expected 1 to 2; measure again"),
        ("new", "has schema version 3; expected 1 to 2; a newer indoor wrote it"),
        ("no record", "has schema version None"),
        ("batch 0", "breaks version 2 of the schema at batch: Expected `int` >= 1, got 0"),
        ("missing member", "at run.machine: Object missing required field `cpu_model`"),
        (
            "wrong hash",
            "at run.data.sha256: Expected `str` matching regex '^[0-9a-f]{64}$', got 'abc'",
        ),
        ("wrong count", "at evaluation.confusion[0][0]: Expected `int`, got `str`"),
        ("no stats", "has no usable stats; expected pytest-benchmark's rounds"),
        ("stats without median", "has no usable stats; expected pytest-benchmark's rounds"),
        ("two machines", "mixes 2 machines (AMD EPYC 7763 64-Core Processor, Z80)"),
        ("two networks", "mixes 2 sets of checkpoints"),
        ("twice", " 2 times; expected each case once"),
        ("no rounds", "has no usable stats; expected pytest-benchmark's rounds"),
        ("before its time", "has no usable stats; expected pytest-benchmark's rounds"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, change: str, message: str) -> None:
    """A file that cannot be trusted is an error of one line that names the file and the place."""
    path = written(tmp_path / "0007_bad.json", broken(change))
    with pytest.raises(IndoorError, match=re.escape(message)) as caught:
        load_results([path])
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no JSON: it is empty"),
        (b"{", "is no JSON: Expecting property name"),
        (b"\xff\xfe", "is no JSON: it is not UTF-8 text"),
        (b"[" * 200_000, "is nested too deeply"),
        (b"[]", "holds no benchmarks"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that was cut off or is something else is an error that names it."""
    path = tmp_path / "0001_cut.json"
    path.write_bytes(content)
    with pytest.raises(IndoorError, match=re.escape(f"{path} {message}")):
        load_results([path])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path without a file, or a folder, is an error that names it."""
    with pytest.raises(IndoorError, match=r"cannot read .*0009\.json: No such file"):
        load_results([tmp_path / "0009.json"])
    with pytest.raises(IndoorError, match=r"cannot read .*: Is a directory"):
        load_results([tmp_path])


def test_the_schema_is_that_of_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    """`indoor report --schema` prints a JSON Schema that holds every member and a run's cases."""
    assert main(["report", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == measurement_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    members = schema["$defs"]["Measurement"]["properties"]
    assert set(members) == {field.name for field in fields(Measurement)}
    for entry in full_json()["benchmarks"]:
        ours = json.loads(json.dumps(entry["extra_info"]["indoor"]))
        jsonschema.validate(ours, schema)


def test_the_schema_refuses_what_a_bare_type_would_take() -> None:
    """Limits that a type cannot express stand in the schema, and reading checks the same ones."""
    ours = full_json()["benchmarks"][0]["extra_info"]["indoor"]
    ours["photographs_per_s"] = -1.0
    with pytest.raises(jsonschema.ValidationError, match=r"-1\.0 is less than"):
        jsonschema.validate(json.loads(json.dumps(ours)), measurement_schema())
    with pytest.raises(IndoorError, match=r"at photographs_per_s: Expected `float` >= 0"):
        run_of([{"extra_info": {"indoor": ours}, "stats": {}, "name": "test_x"}])
    with pytest.raises(IndoorError, match=r"memory holds no Measurement: Expected `float` >= 0"):
        from_builtins(ours, Measurement, "memory")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    """NaN and infinity, which Python's JSON lets through, are errors that name case and member."""
    data = full_json()
    entry = copy.deepcopy(data["benchmarks"][0])
    entry["extra_info"]["indoor"]["run"]["preprocessing"]["mean"] = [0.4, value, 0.4]
    path = written(tmp_path / "0001_nan.json", benchmark_json([entry]))
    place = (
        r"test_forward\[float32-1-1\] breaks .* at run\.preprocessing\.mean\[1\]: -?(nan|inf) is"
    )
    with pytest.raises(IndoorError, match=place):
        load_results([path])
    entry = copy.deepcopy(data["benchmarks"][0])
    entry["stats"]["median"] = value
    path = written(tmp_path / "0002_nan.json", benchmark_json([entry]))
    with pytest.raises(IndoorError, match=r"test_forward\[float32-1-1\] has no usable stats"):
        load_results([path])


# The sentence


def test_the_sentence_says_that_int8_pays_and_with_which_figures() -> None:
    """Batches 8 and 16 on all threads decide: sqrt(77/26 * 76.2/25.8) is 2.96."""
    assert math.sqrt(77 / 26 * 76.2 / 25.8) == pytest.approx(2.957, abs=1e-3)
    sentence = speedup_sentence(full_run(ZEN3))
    assert sentence.startswith(
        "int8 pays: at batches 8 and 16 with 2 threads it is 2.96x (95% interval 2.94 to 2.97) "
        "as fast as float32"
    )
    assert "bfloat16" not in sentence
    assert sentence.count(". ") == 0


def test_the_sentence_gives_bfloat16_its_share() -> None:
    """Where bfloat16 was measured, the sentence says what of the speedup needs no calibration."""
    sentence = speedup_sentence(full_run(AMX))
    assert "it is 10.48x" in sentence
    assert "bfloat16, which needs no calibration, gives 4.87x" in sentence


def cells(
    value: float, *, batches: tuple[int, ...] = (8, 16), relative: float = 0.007, **changes: Any
) -> RunResult:
    """A run of float32 and int8 with one speedup at each batch, and their accuracies."""
    run = identity(**changes)
    benchmarks = []
    for batch in batches:
        benchmarks.append(latency(run, "float32", batch, 2, 80))
        paired = speedup("int8", value, relative)
        benchmarks.append(latency(run, "int8", batch, 2, 80 / value, paired=paired))
    return run_of(benchmarks + other_cases(run, ["float32", "int8"]))


@pytest.mark.parametrize(
    ("value", "relative", "opening"),
    [
        (2.0, 0.01, "int8 pays:"),
        (1.02, 0.01, "int8 does not pay:"),
        (1.1, 0.05, "This run cannot tell whether int8 pays:"),
    ],
)
def test_the_sentence_follows_the_interval(value: float, relative: float, opening: str) -> None:
    """Pays, does not, or cannot tell, by whether the whole interval clears the threshold."""
    run = cells(value, relative=relative)
    assert speedup_sentence(run).startswith(f"{opening} at batches 8 and 16 with 2 threads it is")


def test_a_collapsed_model_does_not_pay() -> None:
    """Whatever its speed, a model kept by force does not pay, and the caption says by force."""
    finding = "predicts 1 of 15 classes where float32 predicts 15"
    run = cells(2.0, quantization=quantization(findings=(finding,)))
    assert speedup_sentence(run).startswith("int8 does not pay:")
    assert finding in speedup_sentence(run)
    assert "KEPT BY FORCE though its check failed" in squeezed(render([run]))


def test_without_pairs_nothing_is_claimed() -> None:
    """A run of int8 alone is marked unpaired with its reason, and cannot tell."""
    run = identity(narrowed=True)
    alone = run_of([latency(run, "int8", 8, 2, 26, unpaired_reason="float32 was not selected")])
    text = squeezed(render([alone]))
    assert "This run cannot tell whether int8 pays: no paired timings" in text
    assert "unpaired, so no speedup is claimed: float32 was not selected." in text
    assert "Narrowed: this run measured fewer cases" in text
    assert re.search(r"int8 .* unpaired", text)


def test_without_int8_nothing_is_claimed() -> None:
    """A run of float32 alone says that int8 was not timed."""
    alone = run_of([latency(identity(), "float32", 8, 2, 77)])
    assert speedup_sentence(alone) == (
        "This run cannot tell whether int8 pays: it did not time int8."
    )


def test_without_a_forward_pass_nothing_is_claimed() -> None:
    """A run of loading and decoding alone has its tables, and no verdict."""
    run = run_of(other_cases(identity(), ["float32", "int8"]))
    assert speedup_sentence(run).endswith("no forward pass was timed.")
    text = render([run])
    assert "Loading, memory and decoding" in text
    assert "Every batch" not in text
    assert json.loads(render([run], format="json"))["runs"][0]["headline"]["answer"] is None


def test_decoding_alone_has_no_variant_to_show() -> None:
    """A run without any variant still renders: caption, sentence, nothing else."""
    benchmarks = [b for b in other_cases(identity(), ["float32"]) if "decode" in b["name"]]
    text = render([run_of(benchmarks)])
    assert "cannot tell" in text
    assert "variant" not in text


def test_one_missing_headline_batch_is_said() -> None:
    """Without batch 16 the mean is over what there is, and a note says why."""
    run = cells(2.0, batches=(1, 8))
    assert "at batches 1 and 8 with 2 threads" in speedup_sentence(run)
    text = squeezed(render([run]))
    assert "no pairs at both of batches 8 and 16" in text
    assert "mean of" in render([run])


def test_one_batch_needs_no_mean() -> None:
    """With a single batch its own speedup decides, and there is no column of means."""
    run = cells(2.0, batches=(1,))
    assert "at batch 1 with 2 threads it is 2.00x" in speedup_sentence(run)
    assert "mean of" not in render([run])


def test_tables_follow_what_the_variants_say_of_themselves() -> None:
    """Order, baseline and who is judged come from the variants' descriptions, not their names."""
    kinds = tuple(
        Variant(name=name, runtime="toy", precision=precision, checkpoint="float32", **more)
        for name, precision, more in (
            ("zero", "float32", {"role": "baseline", "order": 0}),
            ("half", "bfloat16", {"order": 1}),
            ("b", "float32", {"role": "judged", "order": 2}),
            ("a", "float32", {"role": "judged", "order": 3}),
            ("absent", "float32", {"order": 4}),
        )
    )
    run = identity(variants=kinds)
    cells = [
        latency(
            run,
            kind.precision,
            8,
            2,
            10 * (1 + kind.order),
            variant=kind.name,
            paired=None
            if kind.role == "baseline"
            else replace(speedup(kind.name, 1 / (1 + kind.order)), baseline="zero"),
        )
        for kind in reversed(kinds[:4])
    ]
    result = run_of(cells)
    found = headline(result)
    assert variants(result) == ("zero", "half", "b", "a")
    assert {name: one.answer for name, one in found.verdicts.items()} == dict.fromkeys(
        "ba", "does not pay"
    )
    assert "b does not pay: at batch 8 with 2 threads it is 0.33x" in found.sentence
    assert "as fast as zero, below the 1.10x asked for" in found.sentence
    assert ". a does not pay: " in found.sentence
    assert "half, which needs no calibration, gives 0.50x" in found.sentence
    text = squeezed(render([result]))
    assert "This CPU computes absent itself, but this run did not time it" in text


def test_the_run_is_about_the_allocator_of_most_cells() -> None:
    """One cell with the other allocator has a table of its own and never enters the headline."""
    run = identity(AMX)
    benchmarks = [
        latency(run, "float32", 32, 2, 82, allocator="default", faults=39_120.0),
        latency(run, "int8", 32, 2, 5.1, paired=speedup("int8", 16.1)),
    ]
    for batch, ms in ((8, 47.0), (16, 46.0), (32, 45.0)):
        benchmarks.append(latency(run, "float32", batch, 2, ms, allocator="retain", faults=131.0))
        paired = speedup("int8", 9.0)
        benchmarks.append(latency(run, "int8", batch, 2, ms / 9, allocator="retain", paired=paired))
    text = render([run_of(benchmarks)])
    assert "it is 9.00x" in squeezed(text)
    assert "Medians with 2 threads, allocator retain." in squeezed(text)
    first, second = (
        text.index(f"Every batch and thread count, allocator {name}")
        for name in ("retain", "default")
    )
    assert first < second
    assert "39,120 minor page faults a photograph" in squeezed(text[second:])


def test_bfloat16_left_out_is_said_where_the_cpu_has_it() -> None:
    """A table of float32 and int8 alone, on a CPU with bfloat16, says what it leaves open."""
    assert "did not time it" in squeezed(render([cells(9.0, machine=AMX)]))
    assert "did not time it" not in squeezed(render([full_run(AMX)]))
    assert "did not time it" not in squeezed(render([full_run(ZEN3)]))


# The tables


def row(text: str, *beginning: str) -> list[str]:
    """The cells of the first line that begins with these cells."""
    for line in text.splitlines():
        cells_of_line = line.split()
        if cells_of_line[: len(beginning)] == list(beginning):
            return cells_of_line
    raise AssertionError(f"no line begins with {beginning}:\n{text}")


def test_the_headline_has_size_accuracy_time_and_speedup() -> None:
    """Each variant's row has MB, top-1 and ms at each batch; speedups and intervals stand below."""
    text = render([full_run(ZEN3)])
    assert row(text, "float32") == ["float32", "94.4", "79.06", "79.0", "77.0", "76.2", "78.4"]
    assert row(text, "int8", "24.0") == ["int8", "24.0", "78.33", "27.2", "26.0", "25.8", "25.9"]
    assert row(text, "speedup", "2.90x") == ["speedup", "2.90x", "2.96x", "2.95x", "3.03x", "2.96x"]
    assert row(text, "interval", "76.2-80.3")[1:3] == ["76.2-80.3", "2.88-2.92"]


def test_the_matrix_has_every_cell() -> None:
    """Threads and batch stand where they change; then median, p90, throughput, faults, speedup."""
    text = render([full_run(AMX)])
    matrix = text[text.index("Every batch") : text.index("Accuracy\n")]
    assert row(matrix, "1", "1", "float32") == ["1", "1", "float32", "101", "103", "9.90", "0.4"]
    assert row(matrix, "32", "float32") == ["32", "float32", "148", "150", "6.76", "39,120"]
    assert len([line for line in matrix.splitlines() if " int8 " in f" {line.strip()} "]) >= 8
    assert "p99 is left out of 24 of 24 cells: with fewer than 299" in squeezed(matrix)
    assert "p90 is left out" not in matrix


def test_blocked_ratios_stand_beside_the_pairs() -> None:
    """The ratio of two blocks is shown once, for comparison only."""
    text = squeezed(render([full_run(ZEN3)]))
    assert "interleaved, batch 8, 2 threads: int8 3.20x instead of 2.96x. For comparison" in text


def test_percentiles_left_out_say_why_once() -> None:
    """Reasons that differ only in their number of rounds are one note."""
    run = identity()
    benchmarks = [latency(run, "float32", b, 2, 80, num_rounds=n) for b, n in ((1, 20), (8, 12))]
    text = squeezed(render([run_of(benchmarks)]))
    assert text.count("p90 is left out") == 1
    assert "p90 is left out of 2 of 2 cells: with fewer than 29" in text
    assert "(20 rounds, 12 rounds)" in text


def test_p99_is_shown_where_a_cell_carries_it() -> None:
    """With 300 rounds there is a column for p99."""
    run = run_of([latency(identity(), "float32", 1, 2, 80, num_rounds=300)])
    assert "p99" in render([run])
    assert "p99 is left out" not in render([run])


def test_an_unsettled_warm_up_is_marked() -> None:
    """A median whose warm-up had not settled has a mark that a note explains."""
    run = run_of([latency(identity(), "float32", 1, 2, 80, warmup_stable=False)])
    text = render([run])
    assert "~80.0" in text
    assert "~ marks times whose warm-up had not settled" in text


def test_a_retained_allocator_that_still_faults_is_said() -> None:
    """Many faults in spite of raised thresholds are not explained away."""
    run = run_of([latency(identity(), "float32", 32, 2, 80, faults=5000.0, allocator="retain")])
    assert "Raised thresholds did not prevent them here." in squeezed(render([run]))


def test_accuracy_is_never_called_lossless() -> None:
    """A shown drop is called lower; else no difference is shown, with its interval; no "loss"."""
    text = squeezed(render([full_run(AMX)]))
    assert "bfloat16 against float32: no difference in top-1 shown (-0.07 points" in text
    assert "int8 against float32: top-1 is lower (-0.74 points" in text
    assert "no loss" not in text
    assert "lossless" not in text


def test_decoding_and_the_model_add_up() -> None:
    """Decode 2.1 ms and int8 26 ms on 2 threads are 28.1 ms, of which 7% is decoding."""
    text = render([full_run(ZEN3)])
    costs = text[text.index("Loading, memory") :]
    assert row(costs, "2", "float32") == ["2", "float32", "2.10", "77.0", "79.1", "3%"]
    assert row(costs, "int8", "2.10") == ["int8", "2.10", "26.0", "28.1", "7%"]
    assert row(costs, "int8", "24.0") == ["int8", "24.0", "951", "611", "8"]


def test_the_caption_says_what_the_figures_belong_to() -> None:
    """CPU, cores, instruction sets, torch, engine, commit, data and weights stand on top."""
    run = full_run(AMX, dirty=True)
    text = squeezed(render([run]))
    for words in (
        "Platinum 8481C CPU @ 2.70GHz, 2 cores; AVX-512, VNNI, AMX, bfloat16; governor not read",
        "torch 2.14.1+cpu, torchvision 0.29.1+cpu, Python 3.11.9, Linux 6.8.0 x86_64",
        "engine onednn, activations 0..255, histogram observers, per-channel weights, calibrated",
        "commit 0123456789ab (uncommitted changes), resnet50",
        "scene15: 15 classes, 1,495 test photographs; the whole photograph at 224 x 224",
        "scene15_resnet50.pt (a file), sha256 3f3f3f3f3f3f",
        "2026-11-23 18:54:07 UTC",
    ):
        assert words in text
    assert "AVX2, no VNNI, no AMX, no bfloat16" in squeezed(render([full_run(ZEN3)]))


def test_every_table_has_a_caption() -> None:
    """Below each heading stands the machine, so that a copied table keeps it."""
    text = render([full_run(ZEN3)], baseline=full_run(ZEN3), format="markdown")
    parts = text.split("\n### ")
    assert len(parts) == 6
    for part in parts[2:]:
        assert part.split("\n\n")[1].startswith("_AMD EPYC 7763 64-Core Processor, 2 cores, AVX2")
        assert "int8 engine onednn; commit 0123456789ab" in part.split("\n\n")[1]


def test_untrained_weights_are_said_in_words() -> None:
    """A table from a network that never saw photographs says what its accuracies are good for."""
    demo = replace(SCENE15, name="demo", num_classes=10, num_test=300)
    drawn = squeezed(render([cells(2.0, weights=NO_WEIGHTS, data=demo)]))
    assert "This network was never trained on photographs, only on drawn scenes." in drawn
    assert "only show that quantization did not collapse" in drawn
    assert "demo (drawn, no photographs): 10 classes" in drawn
    assert "none (the backbone began at random)" in drawn
    real = squeezed(render([cells(2.0, weights=NO_WEIGHTS)]))
    assert "never trained on photographs other than those of scene15" in real
    assert "never trained" not in squeezed(render([cells(2.0)]))


def test_weights_and_data_are_named_by_their_source() -> None:
    """Downloaded weights, cropped input and broken photographs are in the caption."""
    weights = replace(WEIGHTS, kind="imagenet-download", name="resnet50-0676ba61.pth")
    crop = replace(identity().preprocessing, resize="crop")
    data = replace(SCENE15, num_skipped=3)
    text = squeezed(render([cells(2.0, weights=weights, preprocessing=crop, data=data)]))
    assert "resnet50-0676ba61.pth (ImageNet, downloaded)" in text
    assert "1,495 test photographs, 3 left out as broken; a centred square at 224 x 224" in text


def test_a_machine_that_says_little_is_described_by_what_it_says() -> None:
    """Unreadable fields are called unknown; ARM's instruction sets are its own."""
    little = replace(ZEN3, num_cores=1, isa=(), vnni=None, amx=None, bfloat16=None, load_1min=None)
    text = squeezed(render([cells(2.0, machine=little)]))
    assert "1 core; VNNI unknown, AMX unknown, bfloat16 unknown; governor not readable" in text
    assert "load not readable" in text
    arm = replace(ZEN3, cpu_model="Apple M2", isa=("neon", "dotprod"), governor="performance")
    text = squeezed(render([cells(2.0, machine=arm, quantization=None, commit=None)]))
    assert "NEON, no i8mm, dotprod, no bfloat16; governor performance" in text
    assert "int8 not measured" in text
    assert "no commit" in text


def test_a_changing_load_says_its_range() -> None:
    """Each cell has its own load, and the caption the lowest and the highest."""
    one = identity()
    first, second = (
        latency(one, "float32", batch, 2, 77, load_1min=load)
        for batch, load in ((8, 0.3), (16, 1.9))
    )
    assert "load 0.3 to 1.9" in squeezed(render([run_of([first, second])]))


def test_a_run_that_measured_less_says_by_which_option() -> None:
    """Cases that were measured for less time are not called fewer cases."""
    text = squeezed(render([full_run(narrowed=True, weakened=("--cell-seconds 1",))]))
    assert "Narrowed: --cell-seconds 1 measured each case less than by default." in text
    assert "fewer cases" not in text
    assert "fewer cases" in squeezed(render([full_run(narrowed=True)]))


@pytest.mark.parametrize("reason", ["failed", "regressed"])
def test_a_run_that_is_no_baseline_says_so(reason: str) -> None:
    """A failed or regressed run is marked above its tables."""
    assert f"This run {reason}, so it is no baseline" in render([cells(2.0, not_a_baseline=reason)])


# Against a baseline


def test_the_comparison_is_advisory_and_by_case() -> None:
    """Times stand side by side with their change, under words that claim nothing."""
    before = full_json()
    for entry in before["benchmarks"]:
        if entry["name"] == "test_forward[int8-8-2]":
            scaled(entry, 0.020 / 0.026)
            entry["fullname"] = "bench/test_renamed.py::test_other"
    baseline = from_benchmark_json(before, "0000_before.json")
    text = render([full_run(ZEN3)], baseline=baseline)
    part = text[text.index("Against 0000_before.json") :]
    assert "Advisory. The two runs were not interleaved" in squeezed(part)
    assert row(part, "2", "8", "float32") == ["2", "8", "float32", "77.0", "77.0", "+0.0%"]
    assert row(part, "2", "8", "int8")[3:8] == ["20.0", "26.0", "+30.0%", "2.96x", "2.94-2.98"]
    assert row(part, "int8,", "peak", "memory,")[-3:] == ["611", "611", "+0.0%"]
    assert "Only in" not in part


def test_missing_and_new_cases_are_listed() -> None:
    """What only one of the runs holds is named, not passed over in silence."""
    run = identity()
    old = run_of([latency(run, "float32", b, 2, 77) for b in (1, 8)], "0000_before.json")
    new = run_of([latency(run, "float32", b, 2, 77) for b in (8, 16)])
    text = squeezed(render([new], baseline=old))
    assert "Only in the baseline: float32, batch 1, 2 threads." in text
    assert "Only in this run: float32, batch 16, 2 threads." in text
    decode = run_of(other_cases(run, []), "0000_before.json")
    assert "The two runs have no case in common." in squeezed(render([new], baseline=decode))
    assert "Only in the baseline: decode, 1 thread; decode, 2 threads." in squeezed(
        render([new], baseline=decode)
    )


def test_another_machines_times_are_not_compared() -> None:
    """A baseline of another CPU gives a reason and no change of time."""
    text = squeezed(render([full_run(ZEN3)], baseline=full_run(AMX)))
    assert "Times are not compared, since the runs differ in CPU" in text
    assert "%" not in text[text.index("Times are not compared") :]
    data = json.loads(render([full_run(ZEN3)], baseline=full_run(AMX), format="json"))
    comparison = data["runs"][0]["comparison"]
    assert "differ in CPU" in comparison["refusal"]
    assert {one["change"] for one in comparison["changes"]} == {None}
    assert "bfloat16, batch 8, 2 threads" in comparison["missing"]


def test_what_a_baseline_lacks_is_what_is_asked_for() -> None:
    """Seconds of two clocks are no change of time, and the clock is what to take a baseline of."""
    timed = full_json()
    for entry in timed["benchmarks"]:
        entry["extra_info"]["indoor"]["run"]["timer"] = "time.process_time"
    timed_so = from_benchmark_json(timed, "0002")
    other = copy.deepcopy(timed)
    for entry in other["benchmarks"]:
        entry["extra_info"]["indoor"]["run"]["timer"] = "time.perf_counter"
    text = squeezed(render([timed_so], baseline=from_benchmark_json(other, "0001")))
    assert "the runs differ in timer: take a baseline with the same timer." in text


def test_another_torch_is_compared_and_named() -> None:
    """What does not make times meaningless is said beside them."""
    old = full_run(replace(ZEN3, torch="2.13.0"), quantization=quantization("fbgemm"))
    text = squeezed(render([full_run(ZEN3)], baseline=old))
    assert "torch 2.13.0 in the baseline, 2.14.1+cpu in this run" in text
    assert "engine fbgemm (0, 127) in the baseline, onednn (0, 255) in this run" in text
    assert "+0.0%" in text


def test_a_case_of_the_other_allocator_is_another_case() -> None:
    """Default and retain are never compared with each other."""
    run = identity()
    old = run_of([latency(run, "float32", 8, 2, 77)], "0000_before.json")
    new = run_of([latency(run, "float32", 8, 2, 77, allocator="retain")])
    text = squeezed(render([new], baseline=old))
    assert "Only in this run: float32, batch 8, 2 threads, allocator retain." in text


@pytest.mark.parametrize("width", [80, 120])
def test_ratios_stand_side_by_side_without_times(width: int) -> None:
    """Each cell that both paired has both speedups with their intervals, and no milliseconds."""
    text = render_ratios(full_run(AMX), full_run(ZEN3), width=width)
    assert max(map(len, text.splitlines())) <= width
    row = next(line for line in text.splitlines() if line.split()[:3] == ["1", "8", "int8"])
    assert row.split()[3:] == ["9.60x", "(9.53", "to", "9.67)", "2.63x", "(2.61", "to", "2.65)"]
    assert "Advisory" in text
    assert " ms" not in text


def test_runs_without_a_common_speedup_say_so() -> None:
    """Nothing in common is a sentence, not an empty table."""
    data = full_json(AMX)
    for entry in data["benchmarks"]:
        entry["extra_info"]["indoor"]["speedup"] = None
    text = render_ratios(from_benchmark_json(data, "x.json"), full_run(ZEN3))
    assert "no paired speedup in common" in text


# Formats


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 120, 200])
@pytest.mark.parametrize("machine", [ZEN3, AMX])
def test_nothing_is_wider_than_the_terminal_or_cut_off(machine: Any, width: int) -> None:
    """At any width no line is longer, no cell is cut, and every figure of the matrix is there."""
    run = full_run(machine)
    text = render([run], width=width, baseline=run)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())
    for case in run.cases:
        if case.measurement.speedup is not None:
            assert ratio_interval(case.measurement.speedup.interval) in text


def test_80_columns_need_no_stacking() -> None:
    """The widest table, that of a CPU with bfloat16 and all batches, is one piece at 80 columns."""
    text = render([full_run(AMX)], width=80)
    assert text.count("size     top-1") == 1
    assert "batch 1   batch 8  batch 16  batch 32   mean of" in text


def test_a_wide_grid_is_stacked_with_its_keys() -> None:
    """Columns that do not fit go below, each time beside the key columns."""
    grid = Grid(
        columns=tuple(Column(name, "left") for name in ("key", "first" * 3, "second" * 3)),
        rows=(("a", "1", "2"),),
    )
    assert as_text([grid], width=40, color=False).splitlines() == [
        "key  firstfirstfirst  secondsecondsecond",
        "────────────────────────────────────────",
        "a    1                2",
        "",
    ]
    narrower = replace(grid, rows=(("abcd", "1", "2"),))
    assert as_text([narrower], width=40, color=False).splitlines()[0] == (
        "key  firstfirstfirst secondsecondsecond"
    )
    stacked = replace(grid, rows=(("abcdef", "1", "2"),))
    assert as_text([stacked], width=40, color=False).splitlines() == [
        "key     firstfirstfirst",
        "───────────────────────",
        "abcdef  1",
        "",
        "key     secondsecondsecond",
        "──────────────────────────",
        "abcdef  2",
        "",
    ]


def test_color_is_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escape codes appear with color alone, whatever the environment; the words are the same."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "20")
    plain = render([full_run(ZEN3)], color=False)
    colored = render([full_run(ZEN3)], color=True)
    assert "\x1b[" in colored
    assert "\x1b" not in plain
    bare = re.sub(r"\x1b\[[0-9;]*m", "", colored)
    assert [line.rstrip() for line in bare.splitlines()] == plain.splitlines()


def test_markdown_tables_are_githubs() -> None:
    """Each table has a header, a rule with alignments, and rows of as many cells."""
    text = render([full_run(AMX)], format="markdown")
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 6
    for table in tables:
        lines = table.splitlines()
        assert re.fullmatch(r"\|( (:---|---:) \|)+", lines[1])
        assert len({line.count("|") for line in lines}) == 1
    assert "**int8 pays: " in text


def test_markdown_escapes_what_it_would_take_for_marks() -> None:
    """Names with marks of markdown stay what they are, also inside a table."""
    text = as_markdown(
        [Paragraph("a_b*c"), Grid(columns=(Column("x|y", "left"),), rows=(("p|q <r>",),))]
    )
    assert text == "a\\_b\\*c\n\n| x\\|y |\n| :--- |\n| p\\|q \\<r\\> |\n"


def test_csv_has_a_row_a_measurement() -> None:
    """A header and a row a case; figures unrounded, null as an empty cell."""
    run = full_run(AMX)
    rows = list(csv.DictReader(io.StringIO(render([run, run], format="csv"))))
    assert len(rows) == 2 * len(run.cases)
    known = next(r for r in rows if r["fullname"].endswith("[int8-8-2]"))
    assert float(known["median_s"]) == pytest.approx(0.0055)
    assert float(known["speedup"]) == 50 / 5.5
    assert (known["engine"], known["vnni"], known["p99_s"]) == ("onednn", "True", "")
    load = next(r for r in rows if r["case"] == "load" and r["variant"] == "int8")
    assert float(load["top1"]) == 1171 / 1495
    assert load["speedup"] == ""


def test_json_is_the_documented_structure() -> None:
    """The JSON has the members that docs/results.md lists, and the identity once a run."""
    data = json.loads(render([full_run(AMX)], format="json"))
    assert data["report_format"] == 1
    (run,) = data["runs"]
    assert list(run) == [
        "source",
        "datetime",
        "caption",
        "weights_warning",
        "identity",
        "headline",
        "cases",
        "slower",
        "comparison",
    ]
    assert run["headline"]["answer"] == "pays"
    assert run["headline"]["mean_speedups"]["int8"]["batches"] == [8, 16]
    assert run["identity"]["machine"]["cpu_model"] == AMX.cpu_model
    assert "run" not in run["cases"][0]["measurement"]
    page = (GOLDEN.parent.parent / "docs" / "results.md").read_text(encoding="utf-8")
    for name in [*run, *run["headline"], *run["cases"][0], *run["cases"][0]["rounds"]]:
        assert f'"{name}"' in page, name
    for name in run["cases"][0]["measurement"]:
        assert f"`{name}`" in page, name


def test_json_has_no_nan_nor_infinity() -> None:
    """Logits that equal float32's have an infinite SQNR, which JSON does not know: null."""
    run = run_of([latency(identity(), "int8", 8, 2, 26)])
    (case,) = run.cases
    endless = replace(case.measurement, output_sqnr_db=math.inf)
    run = replace(run, cases=(replace(case, measurement=endless),))
    text = render([run], format="json")
    assert "Infinity" not in text
    assert json.loads(text)["runs"][0]["cases"][0]["measurement"]["output_sqnr_db"] is None


def test_runs_are_never_merged() -> None:
    """Two runs have two headlines, each with its own machine."""
    text = render([full_run(ZEN3), full_run(AMX)])
    assert text.count("Size, accuracy and time") == 2
    assert (
        text.index("AMD EPYC")
        < text.index("2.96x")
        < text.index("Platinum")
        < (text.index("10.5x"))
    )


def test_a_report_of_nothing_is_a_bug() -> None:
    """No runs, or an unknown format, is a ValueError."""
    with pytest.raises(ValueError, match="needs one run or more"):
        render([])
    with pytest.raises(ValueError, match="format 'xml', expected table"):
        render([full_run()], format="xml")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0512, "0.051"),
        (0.9994, "0.999"),
        (0.9996, "1.00"),
        (5.124, "5.12"),
        (9.996, "10.0"),
        (51.24, "51.2"),
        (99.6, "100"),
        (5123.6, "5,124"),
    ],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    """Three significant digits, also where rounding adds a place."""
    assert digits(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.42, "0.4"), (0.04, "0"), (9.97, "10"), (39120.3, "39,120")],
)
def test_counts_have_a_decimal_only_where_they_are_small(value: float | None, text: str) -> None:
    """A count is whole from 10 on; none is a dash."""
    assert count(value) == text


def test_an_evaluation_is_rendered_on_its_own() -> None:
    """`indoor evaluate` gets the accuracy tables under data and weights."""
    report = EvaluationReport(
        data=SCENE15,
        weights=NO_WEIGHTS,
        preprocessing=identity().preprocessing,
        checkpoint_sha256={"float32": "f3" * 32},
        cpu_model=ZEN3.cpu_model,
        torch_version=ZEN3.torch,
        evaluations=(evaluation("float32"), evaluation("int8")),
        pairs=(pair("int8"),),
    )
    text = render_evaluation(report)
    assert row(text, "float32") == [
        *("float32", "79.06", "76.9-81.0", "97.06", "96.1-97.8", "77.96", "0.702"),
    ]
    assert row(text, "float32,", "int8")[2:] == ["98.93", "1,171", "11", "0", "313", "32.8"]
    assert "did not collapse" in squeezed(text)
    single = render_evaluation(replace(report, evaluations=(evaluation("float32"),), pairs=()))
    assert "against" not in single


@dataclass
class Advice:
    """A finding, as indoor.machine has it."""

    level: str
    what: str
    remedy: str


def test_a_machine_is_rendered_with_its_remedies() -> None:
    """`indoor doctor` gets the machine and, for each finding, what to do."""
    advice = [Advice("warning", "load 1.9 on 2 cores", "stop other programs")]
    text = render_machine(AMX, advice)
    assert row(text, "warning") == [
        "warning",
        "load",
        "1.9",
        "on",
        "2",
        "cores",
        "stop",
        "other",
        "programs",
    ]
    assert "fbgemm, onednn, qnnpack, x86" in text
    assert "8.0 GB" in text
    bare = render_machine(replace(ZEN3, memory_bytes=None, load_1min=None, engines=()), [])
    assert "Nothing speaks against" in bare
    assert len(re.findall("not readable", bare)) == 3


# Pictures


def epochs(number: int) -> tuple[Epoch, ...]:
    """A fine-tuning that gets better at train and then worse at validation."""
    return tuple(
        Epoch(
            epoch=index,
            train_loss=2.6 * math.exp(-index / 6),
            train_accuracy=1 - 0.8 * math.exp(-index / 4),
            val_loss=2.0 * math.exp(-index / 5) + 0.5,
            val_accuracy=0.78 - 0.6 * math.exp(-index / 3),
            learning_rate=0.001,
            seconds=0.3,
        )
        for index in range(1, number + 1)
    )


def ink(path: Path) -> tuple[tuple[int, int], set[tuple[int, int, int]]]:
    """A picture's size and the colours in it."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
        return picture.size, {color for _, color in picture.getcolors(1 << 20) or []}


def test_latency_is_plotted_a_panel_a_thread_count(tmp_path: Path) -> None:
    """The PNG grows by a row a run and has each variant's colour."""
    plot_latency([full_run(AMX)], tmp_path / "one.png")
    plot_latency([full_run(ZEN3), full_run(AMX)], tmp_path / "two.png")
    (width, height), colors = ink(tmp_path / "one.png")
    assert {(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0xD5, 0x5E, 0x00)} <= colors
    assert ink(tmp_path / "two.png")[0] == (width, 2 * height)


def test_a_single_cell_and_an_unknown_variant_are_plotted(tmp_path: Path) -> None:
    """One batch on one thread count is a picture too, and a variant of later work has a colour."""
    run = run_of(
        [
            latency(identity(), "float32", 8, 2, 77),
            latency(identity(), "int8", 8, 2, 25, variant="int8-onnxruntime"),
            latency(identity(), "bfloat16", 8, 2, 30, latency=None),
        ]
    )
    plot_latency([run], tmp_path / "one.png")
    assert (0x56, 0xB4, 0xE9) in ink(tmp_path / "one.png")[1]


def test_a_run_without_forward_passes_cannot_be_plotted(tmp_path: Path) -> None:
    """Nothing to plot is one line, and no file."""
    run = run_of(other_cases(identity(), ["float32"]))
    with pytest.raises(IndoorError, match=r"cannot plot .*no forward pass was timed"):
        plot_latency([run], tmp_path / "one.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [1, 20, 60])
def test_curves_are_plotted(tmp_path: Path, number: int) -> None:
    """Loss and accuracy for train and validation, for one epoch as for many."""
    curves = TrainingCurves(
        recipe="head", epochs=epochs(number), best_epoch=number, note="overfits by 18.4 points"
    )
    plot_curves(curves, tmp_path / "curves.png")
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= ink(tmp_path / "curves.png")[1]


def test_no_epoch_is_no_curve(tmp_path: Path) -> None:
    """A training that was killed in its first epoch has no curve."""
    curves = TrainingCurves(recipe="head", epochs=(), best_epoch=0, note=None)
    with pytest.raises(IndoorError, match="no epoch has ended"):
        plot_curves(curves, tmp_path / "curves.png")


def test_plots_leave_matplotlibs_state_alone(tmp_path: Path) -> None:
    """No backend is chosen and pyplot is not imported: a notebook keeps its own."""
    import matplotlib

    before = dict(matplotlib.rcParams)
    had_pyplot = "matplotlib.pyplot" in sys.modules
    plot_latency([full_run(ZEN3)], tmp_path / "one.png")
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == had_pyplot


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without matplotlib there is one line with the remedy."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(IndoorError, match=r"pip install 'indoor\[plot\]'") as caught:
        plot_latency([full_run(ZEN3)], tmp_path / "one.png")
    assert "\n" not in str(caught.value)


def test_wilson_intervals_are_what_the_records_say() -> None:
    """The tables print the records' intervals and compute none of their own."""
    run = cells(2.0)
    changed = replace(
        run.cases[0].measurement,
        evaluation=replace(
            evaluation("float32"),
            top1=replace(evaluation("float32").top1, interval=Interval(low=0.1, high=0.2)),
        ),
    )
    cases = (replace(run.cases[0], measurement=changed), *run.cases[1:])
    assert "10.0-20.0" in render([replace(run, cases=cases)])
