"""`indoor recommend`: answers known by hand, ones that the data do not decide, and refusals."""

import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_records import ZEN3, benchmark_json, evaluation, identity, other_cases, quantization
from runtime_records import VARIANTS, ZEN4, cell, many_json, saved, timed

from bench.labels import LABEL_SHARE
from bench.measuring import MAX_ROUNDS
from indoor.cli import main
from indoor.errors import IndoorError
from indoor.measure.proportions import difference_interval
from indoor.recommend import Answer, Question, recommend, render_answers
from indoor.recommend.remedies import LABEL_SHARE as LABELS_HERE
from indoor.recommend.remedies import MOST_ROUNDS
from indoor.records import (
    SCHEMA_VERSION,
    Case,
    Machine,
    Measurement,
    PairedEvaluation,
    Variant,
    from_builtins,
    to_builtins,
)
from indoor.runs.results import RunResult, from_benchmark_json

PUBLISHED = (
    Path(__file__).parent.parent
    / "results"
    / "published"
    / "scene15-resnet50-epyc-avx512-vnni.json.gz"
)
"""From before there were times from bytes to label."""

NAMED = {one.name: one for one in VARIANTS}
QUICK, SMALL = "int8-openvino", "int8"

Times = Mapping[str, Mapping[tuple[int, int], float]]
"""Of each variant the ms a photograph by batch and threads."""

TIMES: Times = {
    "float32": {(1, 1): 100, (8, 1): 90, (1, 2): 55, (8, 2): 50},
    "bfloat16": {(1, 1): 50, (8, 1): 45, (1, 2): 30, (8, 2): 25},
    QUICK: {(1, 1): 25, (8, 1): 20, (1, 2): 14, (8, 2): 10},
}
"""Of one photograph the quickest is int8-openvino with 2 threads: 14 ms, and 80 ms a batch of 8."""

SAME: dict[str, tuple[int, int]] = {"bfloat16": (1, 1), QUICK: (2, 0)}
"""Photographs of 10,000 that only float32, and only the variant, has right."""


def paired(name: str, lost: int, gained: int, total: int = 10_000) -> PairedEvaluation:
    """A variant beside float32, with Tango's interval of these counts."""
    agreement = evaluation("float32").top1
    return PairedEvaluation(
        baseline="float32",
        candidate=name,
        num_photographs=total,
        num_both_right=total // 2,
        num_only_baseline_right=lost,
        num_only_candidate_right=gained,
        num_both_wrong=total - total // 2 - lost - gained,
        agreement=agreement,
        difference=(gained - lost) / total,
        difference_interval=difference_interval(lost, gained, total),
        mcnemar_p=0.5,
        sqnr_db=30.0,
    )


def measured(
    times: Times = TIMES,
    drops: Mapping[str, tuple[int, ...]] = SAME,
    *,
    case: Case = "label",
    machine: Machine = ZEN4,
    spread: float = 0.02,
    num_rounds: int = 40,
    more: Sequence[Callable[[Any, Variant], dict[str, Any]]] = (),
    **changes: Any,
) -> RunResult:
    """A run with these times, and the accuracy, size and peak memory of each variant."""
    run = identity(machine, variants=tuple(NAMED[name] for name in times), **changes)
    benchmarks = []
    for batch, threads in next(iter(times.values())):
        base = None
        for name, known in times.items():
            entry = cell(
                run, NAMED[name], batch, threads, known[batch, threads],
                baseline=base, case=case, spread=spread, num_rounds=num_rounds,
            )  # fmt: skip
            base = base or entry["stats"]["data"]
            benchmarks.append(entry)
    for name in times:
        variant = NAMED[name]
        for entry in other_cases(run, [variant.precision])[:2]:
            one = from_builtins(entry["extra_info"]["indoor"], Measurement, "a case")
            pair = paired(name, *drops[name]) if name in drops and one.case == "load" else None
            told = replace(
                one, variant=name, runtime=variant.runtime, paired_evaluation=pair, evaluation=None
            )
            entry["extra_info"]["indoor"] = to_builtins(told)
            entry["fullname"] += name
            benchmarks.append(entry)
        benchmarks += [make(run, variant) for make in more]
    return from_benchmark_json(benchmark_json(benchmarks), "0001_small.json")


def chosen(answer: Answer) -> tuple[str, int, int, int]:
    """The answer's variant, batch, threads and processes."""
    assert answer.best is not None
    one = answer.best.candidate
    return one.variant, one.batch, one.threads, one.processes


# Known by hand


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (Question(), (QUICK, 8, 2, 1)),  # 100 photographs a second, 80 ms a batch
        (Question(max_latency_s=0.079), (QUICK, 1, 2, 1)),  # 71 a second, 14 ms
        (Question(max_latency_s=0.082), (QUICK, 8, 2, 1)),
        (Question(objective="latency"), (QUICK, 1, 2, 1)),
        (Question(max_batch=1), (QUICK, 1, 2, 1)),
        (Question(max_threads=1), (QUICK, 8, 1, 1)),
        (Question(max_drop=0.005), (QUICK, 8, 2, 1)),
        (Question(objective="size", max_latency_s=0.02), (QUICK, 1, 2, 1)),
        (Question(objective="memory"), (QUICK, 8, 2, 1)),  # the batch whose memory was read
    ],
    ids=str,
)
def test_an_answer_known_by_hand(question: Question, expected: tuple[str, int, int, int]) -> None:
    """The best of those that hold every limit, a batch's photographs waiting for each other."""
    answer = recommend(measured(), question)
    assert answer.status == "decided"
    assert answer.reasons == ()
    assert chosen(answer) == expected


def test_a_drop_that_is_not_allowed_leaves_the_next_best() -> None:
    """int8 that loses 300 of 10,000 is out at 0.5 points, and bfloat16 is the answer."""
    answer = recommend(measured(drops={**SAME, QUICK: (300, 0)}), Question(max_drop=0.005))
    assert (answer.status, chosen(answer)) == ("decided", ("bfloat16", 8, 2, 1))
    assert answer.runner_up is not None
    assert answer.runner_up.candidate.variant == "float32"


def test_float32_is_a_candidate_whose_drop_is_nothing() -> None:
    """Where no loss at all may be, float32 itself is what remains."""
    answer = recommend(measured(drops=dict.fromkeys(SAME, (300, 0))), Question(max_drop=0.0))
    assert (answer.status, chosen(answer)[0]) == ("decided", "float32")
    assert answer.runner_up is None


def test_the_margin_is_that_of_the_pairs() -> None:
    """25 ms against 10 ms of the same cell are 2.5x, from rounds that were interleaved."""
    answer = recommend(measured(), Question())
    assert answer.runner_up is not None
    margin = answer.runner_up.margin
    assert margin is not None
    assert margin.interval is not None
    assert margin.value == pytest.approx(2.5, rel=0.01)
    assert margin.interval.low < 2.5 < margin.interval.high
    assert answer.runner_up.candidate.name == "bfloat16, batch 8, 2 threads"


def test_cells_that_were_not_interleaved_are_compared_by_their_own_intervals() -> None:
    """Another batch is another time: the interval is wider than that of either."""
    times = {**TIMES, "bfloat16": {**TIMES["bfloat16"], (8, 2): 45}}
    answer = recommend(measured(times), Question())
    assert answer.runner_up is not None
    assert answer.runner_up.candidate.name == "bfloat16, batch 1, 2 threads"
    margin = answer.runner_up.margin
    assert margin is not None
    assert margin.interval is not None
    assert margin.value == pytest.approx(3.0)
    assert 2.95 < margin.interval.low < 2.99 < 3.01 < margin.interval.high < 3.05


def throughput(per_s: Mapping[str, float]) -> Callable[[Any, Variant], dict[str, Any]]:
    """Of each variant, what two processes of a thread each reach together at batch 8."""

    def make(run: Any, variant: Variant) -> dict[str, Any]:
        together = Measurement(
            schema_version=SCHEMA_VERSION, case="throughput", variant=variant.name,
            runtime=variant.runtime, precision=variant.precision, batch=8, threads=1,
            allocator="default", run=run, num_processes=2, photographs_per_s=per_s[variant.name],
        )  # fmt: skip
        batch_s = 2 * 8 / per_s[variant.name]
        return saved(f"test_throughput[{variant.name}]", together, timed(variant.name, batch_s))

    return make


TOGETHER = throughput({"float32": 20, "bfloat16": 41, QUICK: 120})


def test_several_processes_are_an_answer() -> None:
    """120 photographs a second of two processes are more than 100, at 133 ms a batch."""
    run = measured(case="latency", more=[TOGETHER])
    answer = recommend(run, Question(basis="forward"))
    assert (answer.status, chosen(answer)) == ("decided", (QUICK, 8, 1, 2))
    assert answer.best is not None
    assert answer.best.candidate.latency.value == pytest.approx(2 * 8 / 120)
    limited = recommend(run, Question(basis="forward", max_latency_s=0.1))
    assert chosen(limited) == (QUICK, 8, 2, 1)
    assert chosen(recommend(run, Question(basis="forward", max_threads=1))) == (QUICK, 8, 1, 1)


def test_processes_timed_without_decoding_are_not_compared_with_bytes_to_label() -> None:
    """They are left out, which is said with the option that considers them."""
    answer = recommend(measured(more=[TOGETHER]), Question())
    assert chosen(answer) == (QUICK, 8, 2, 1)
    assert (
        "3 configurations of several processes were timed by their forward pass alone; "
        "--latency forward considers them."
    ) in answer.notes


def test_a_collapsed_int8_is_never_the_answer() -> None:
    """However quick it is, and whatever drop is allowed."""
    finding = "predicts 1 of 15 classes where float32 predicts 15"
    answer = recommend(measured(quantization=quantization(findings=(finding,))), Question())
    assert chosen(answer)[0] == "bfloat16"
    out = next(one for one in answer.considered if one.candidate.variant == QUICK)
    assert [check.words for check in out.checks] == [f"collapsed: {finding}"]


def test_a_variant_without_accuracy_is_out_where_a_drop_is_asked_about() -> None:
    """It is told as not measured, and is no answer."""
    answer = recommend(measured(drops={"bfloat16": (1, 1)}), Question(max_drop=0.005))
    assert chosen(answer)[0] == "bfloat16"
    assert f"Out since not measured: {QUICK}." in answer.notes


def test_nothing_holds_and_the_nearest_miss_is_named() -> None:
    """12 ms is asked for and 14 is the least."""
    answer = recommend(measured(), Question(max_latency_s=0.012))
    assert (answer.status, answer.best) == ("nothing", None)
    (reason,) = answer.reasons
    assert reason.startswith(
        "The nearest miss is int8-openvino, batch 1, 2 threads: latency 14.0 ms ("
    )
    assert reason.endswith(" of 12.0 allowed.")


# Not decided


def test_a_latency_about_its_limit_is_open_and_says_which_rounds_would_decide() -> None:
    """14 ms, of rounds that differ by 20%, may or may not be below 14.2 ms."""
    question = Question(max_latency_s=0.0142, objective="latency")
    answer = recommend(measured(spread=0.2), question)
    assert (answer.status, answer.best) == ("open", None)
    (reason,) = answer.reasons
    assert reason.startswith("int8-openvino, batch 1, 2 threads: latency 14.0 ms (")
    assert "rounds instead of 40 would decide it: pytest bench --variant float32,int8-" in reason
    assert "--batch 1 --threads 2 --cell-seconds " in reason


def test_what_would_be_better_and_may_hold_leaves_it_open() -> None:
    """bfloat16 holds, but int8 might, too, and would be better: how many photographs would tell."""
    drops = {"bfloat16": (1, 1), QUICK: (44, 14)}  # -0.3 points, interval about 0.15 to each side
    answer = recommend(measured(drops=drops), Question(max_drop=0.004))
    assert (answer.status, chosen(answer)[0]) == ("open", "bfloat16")
    (reason,) = answer.reasons
    assert reason.startswith("int8-openvino: a drop of +0.30 points (+0.")
    number = int(reason.split("about ")[1].split(" ")[0].replace(",", ""))
    times = number / 10_000
    interval = difference_interval(round(44 * times), round(14 * times), number)
    assert interval.low == pytest.approx(-0.004, abs=1e-4)


def test_a_drop_at_its_limit_is_open_for_any_number_of_photographs() -> None:
    """A loss of 0.30 points, where 0.30 are allowed, is decided by no test list."""
    drops = {"bfloat16": (1, 1), QUICK: (30, 0)}
    answer = recommend(measured(drops=drops), Question(max_drop=0.003))
    assert answer.status == "open"
    assert "no number of photographs up to 1,000,000 would decide it" in answer.reasons[0]


def test_what_may_hold_and_would_be_worse_changes_nothing() -> None:
    """The second best may break a limit: the best holds it, and is the answer."""
    drops = {"bfloat16": (44, 14), QUICK: (1, 1)}
    answer = recommend(measured(drops=drops), Question(max_drop=0.004))
    assert (answer.status, chosen(answer)[0]) == ("decided", QUICK)


def test_two_that_cannot_be_told_apart_leave_it_open() -> None:
    """10.0 and 10.02 ms of rounds that differ by 20%: how many rounds of which cell would tell."""
    times = {**TIMES, SMALL: {**TIMES[QUICK], (8, 2): 10.02, (1, 2): 14.02}}
    answer = recommend(measured(times, {**SAME, SMALL: (2, 0)}, spread=0.1), Question())
    assert answer.status == "open"
    (reason,) = answer.reasons
    assert "it cannot be told from int8" in reason
    assert "would decide it" in reason


def test_equal_times_are_decided_by_no_number_of_rounds() -> None:
    """The very same rounds: take either, or ask for something else."""
    run = measured({**TIMES, SMALL: TIMES[QUICK]}, {**SAME, SMALL: (2, 0)})
    labelled = [case for case in run.cases if case.measurement.case == "label"]
    twins = {
        (case.measurement.batch, case.measurement.threads): case.seconds
        for case in labelled
        if case.measurement.variant == QUICK
    }
    cases = tuple(
        replace(case, seconds=twins[case.measurement.batch, case.measurement.threads])
        if case in labelled and case.measurement.variant == SMALL
        else case
        for case in run.cases
    )
    answer = recommend(replace(run, cases=cases), Question())
    assert answer.status == "open"
    assert "no number of rounds up to 1,000 would decide it: take either" in answer.reasons[0]


def test_peak_memories_that_hardly_differ_are_not_told_apart() -> None:
    """What is read once says nothing below 5%."""
    run = measured()

    def memory(one: Measurement) -> Measurement:
        read = {QUICK: 600_000_000, "bfloat16": 610_000_000, "float32": 900_000_000}
        if one.case != "peak-memory" or one.variant is None:
            return one
        return replace(one, peak_memory_bytes=read[one.variant])

    cases = tuple(replace(case, measurement=memory(case.measurement)) for case in run.cases)
    answer = recommend(replace(run, cases=cases), Question(objective="memory"))
    assert answer.status == "open"
    assert "what is read once tells nothing below 5%" in answer.reasons[0]


def test_a_percentile_needs_its_rounds() -> None:
    """40 rounds bound p99 from below alone: above the limit is out, below it is open."""
    question = Question(basis="p99", max_latency_s=0.02, objective="latency")
    answer = recommend(measured(), question)
    assert answer.status == "open"
    assert "too few rounds to say at most" in answer.reasons[0]
    assert "about 405 rounds instead of 40 would decide it" in answer.reasons[0]
    outcomes = {one.candidate.variant: one.outcome for one in answer.considered}
    assert outcomes["float32"] == "breaks"
    enough = measured({n: {(1, 2): t[1, 2]} for n, t in TIMES.items()}, num_rounds=400)
    assert recommend(enough, question).status == "decided"


# Refused


@pytest.mark.parametrize(
    ("run", "question", "message"),
    [
        (
            lambda: measured(case="latency"),
            Question(max_latency_s=0.05),
            "holds no times from bytes to label, so a latency cannot be judged; expected the case "
            "label; measure again with pytest bench, or ask for the forward pass alone with "
            "--latency forward",
        ),
        (lambda: measured(), Question(basis="forward"), "holds no forward passes"),
        (lambda: measured(drops={}), Question(max_drop=0.01), "holds no accuracy of any variant"),
        (
            lambda: without(measured(), "peak-memory"),
            Question(objective="memory"),
            "holds no peak memory, so --objective memory cannot be judged",
        ),
        (
            lambda: measured({n: {(8, 2): t[8, 2]} for n, t in TIMES.items()}),
            Question(max_batch=4),
            "holds nothing that fits --max-batch 4; it has batches 8 and 2 threads in all",
        ),
    ],
)
def test_what_was_not_measured_is_refused(
    run: Callable[[], RunResult], question: Question, message: str
) -> None:
    """One line that names the measurement and the command that makes it."""
    with pytest.raises(IndoorError) as caught:
        recommend(run(), question)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def without(run: RunResult, case: str) -> RunResult:
    """The run without a kind of case."""
    return replace(run, cases=tuple(c for c in run.cases if c.measurement.case != case))


def test_size_alone_needs_no_time_from_bytes_to_label() -> None:
    """The forward pass then says which batch and threads, and the answer says so."""
    answer = recommend(measured(case="latency"), Question(objective="size"))
    assert chosen(answer) == (QUICK, 1, 2, 1)
    assert any("no times from bytes to label" in note for note in answer.notes)


# The command


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call `indoor recommend`; its status and both outputs, blanks squeezed."""

    def run(*words: object) -> tuple[int, str, str]:
        status = main(["recommend", *map(str, words)])
        told = capsys.readouterr()
        return status, " ".join(told.out.split()), told.err

    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of every runtime as a file."""
    path = tmp_path_factory.mktemp("runs") / "0001_many.json"
    path.write_text(json.dumps(many_json()), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (
            "--max-latency-ms 50 --max-drop 1.5",
            0,
            "Take int8-openvino (runtime openvino, computed in int8), batch 1, 2 threads, 1 proc",
        ),
        ("--max-latency-ms 10", 1, "Nothing that this run measured holds that."),
        ("--max-drop 0.5", 3, "The data do not decide it. The best so far is bfloat16-openvino"),
    ],
)
def test_the_status_says_how_it_ended(
    many: Path, call: Callable[..., tuple[int, str, str]], words: str, status: int, told: str
) -> None:
    """0 decided, 1 nothing holds, 3 not decided; each in words."""
    found, text, _ = call(many, *words.split())
    assert found == status
    assert told in text


def test_an_old_result_is_refused_or_asked_about_its_forward_passes(
    call: Callable[..., tuple[int, str, str]],
) -> None:
    """The published run has no times from bytes to label: exit 2, and --latency forward answers."""
    status, _, error = call(PUBLISHED, "--max-latency-ms", 50)
    assert status == 2
    assert "holds no times from bytes to label" in error
    status, text, _ = call(PUBLISHED, "--max-latency-ms", 50, "--latency", "forward")
    assert status == 0
    assert "Take int8 (runtime eager, computed in int8), batch 1, 2 threads, 1 process" in text


def test_machines_have_an_answer_each(
    tmp_path: Path, many: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    """Two runs are two answers, never one of their mean, and the worse status counts."""
    data = many_json()
    for entry in data["benchmarks"]:
        entry["extra_info"]["indoor"]["run"]["machine"] = to_builtins(ZEN3)
        if "int8" in entry["name"]:  # there int8 is slower than bfloat16
            ours, stats = entry["extra_info"]["indoor"], entry["stats"]
            stats.update({k: 9 * v for k, v in stats.items() if isinstance(v, float)})
            stats["data"] = [9 * value for value in stats.get("data", [])]
            known = ours["latency"] or {}
            known.update({k: 9 * v for k, v in known.items() if isinstance(v, float)})
            if ours["photographs_per_s"] is not None:
                ours["photographs_per_s"] /= 9
    other = tmp_path / "0002_zen3.json"
    other.write_text(json.dumps(data), encoding="utf-8")
    status, text, _ = call(many, other, "--max-latency-ms", 20)
    assert status == 1
    first, second = text.split("AMD EPYC 7763")
    assert "Take int8-openvino" in first
    assert "Nothing that this run measured holds that." in second
    status, text, _ = call(many, other, "--json")
    assert [one["answer"]["variant"] for one in json.loads(text)] == [QUICK, "bfloat16-openvino"]
    assert status == 0


def test_json_has_every_candidate_with_its_checks(
    many: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    """All configurations, not the best of each variant alone, and no infinity."""
    status, text, _ = call(many, "--latency", "p99", "--max-latency-ms", 30, "--json")
    (answer,) = json.loads(text)
    assert (status, answer["status"], answer["answer"]) == (3, "open", None)
    assert len(answer["candidates"]) == 90
    one = next(c for c in answer["candidates"] if c["variant"] == QUICK and c["threads"] == 2)
    assert one["checks"][0]["constraint"] == "latency"
    assert one["latency_s"]["interval"]["high"] is None


def test_the_table_fits_the_terminal(many: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 80 columns no line is longer, and each variant stands once."""
    assert main(["recommend", str(many), "--max-latency-ms", "50", "--width", "80"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in NAMED:
        row = re.compile(rf"{name}, batch \d+, \d threads +(the answer|less good|out)  ")
        assert sum(bool(row.match(line)) for line in lines) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--max-latency-ms 0", "0 is not a number of milliseconds above 0"),
        ("--max-drop -1", "-1 is not a number of points from 0 on"),
        ("--max-drop nan", "nan is not a number of points"),
        ("--objective price", "invalid choice: 'price'"),
    ],
)
def test_a_limit_that_is_none_is_refused(
    call: Callable[..., tuple[int, str, str]], words: str, message: str
) -> None:
    """One line, exit 2."""
    status, _, error = call(*words.split())
    assert status == 2
    assert message in error


def test_without_a_result_there_is_nothing_to_recommend(
    tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    """As with `indoor report`, in one line."""
    status, _, error = call("--results", tmp_path)
    assert status == 2
    assert "no results in" in error


def test_the_documents_example_is_what_is_printed() -> None:
    """docs/recommend.md shows these made-up results, line for line."""
    run = measured(drops={"bfloat16": (1, 1), QUICK: (44, 14)})
    answer = recommend(run, Question(max_latency_s=0.09, max_drop=0.004))
    text = render_answers([answer], width=80)
    page = (Path(__file__).parent.parent / "docs" / "recommend.md").read_text(encoding="utf-8")
    assert textwrap.indent(text, "    ").rstrip() in page


def test_remedies_know_what_the_suite_takes() -> None:
    """The seconds that a command asks for give as many rounds as it says."""
    assert (MOST_ROUNDS, LABELS_HERE) == (MAX_ROUNDS, LABEL_SHARE)
