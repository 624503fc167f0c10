"""Tests of what counts how often the gate is wrong: rates, rivals, replays and self-tests."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.utils import PercentageRegressionCheck

from bench.options import SETTINGS, SHARED
from bench.studies import gate as gate_study
from bench.studies import recording as gate_recording
from bench.studies import run as run_study
from bench.studies import slowdown as gate_slowdown
from bench.studies.complete import SUITES, count_false_alarms, deciding_code, hog_cpu
from bench.studies.gate import replay_files
from bench.studies.gate_tables import render_studies
from bench.studies.noise import MEASURES, reduce_noise
from bench.studies.recording import OUT, SECONDS, SHARE, calibrate_cell
from bench.studies.records import RIVALS, FalseAlarmStudy, ReplayStudy, Tally
from bench.studies.replay import describe_noise, join_runs, replay
from bench.studies.rivals import compare_fail, judge_as_rivals, mann_whitney, replay_rivals
from bench.studies.slowdown import SLOWDOWN, UNITS, ExtraWork, slow_suite
from indoor.errors import IndoorError
from indoor.gate.records import (
    CellReport,
    CellTrace,
    GateReport,
    GateVerdict,
    InstrumentReport,
    LaunchTrace,
    SideIdentity,
)
from indoor.gate.selftest import GateOutcome, SelfTestReport, render_self_test, self_test
from indoor.gate.settings import PlanRules, load_config
from indoor.gate.sides.setup import GateJob
from indoor.gate.trial_suite import EXAMPLE_PLAN, SUITE, write_suite
from indoor.measure.proportions import (
    format_at_least,
    format_at_most,
    format_share,
    rate_at_least,
    rate_at_most,
)
from indoor.records import read_record, write_record

ROOT = Path(__file__).resolve().parent.parent
CELLS = ("suite/test_x.py::test_x[float32-1]", "suite/test_x.py::test_x[int8-1]")
SIDE = SideIdentity(label="main", commit="c" * 40, dirty=False, python="3.11")


def gate_report(
    verdict: GateVerdict = GateVerdict.PASS,
    traces: tuple[CellTrace, ...] = (),
    cpu_model: str = "CPU",
) -> GateReport:
    """Return a gate's report whose cells have the run's verdict."""
    cell = CellReport(
        name=CELLS[0],
        verdict=verdict,
        reason="so it was",
        margin=0.01,
        tolerance=0.03,
        num_launches=6,
    )
    return GateReport(
        schema_version=1,
        verdict=verdict,
        reason="so it was",
        partial=False,
        base=SIDE,
        head=SIDE,
        cpu_model=cpu_model,
        num_cores=2,
        system="Linux",
        began_at="2026-01-01T00:00:00Z",
        prepare_s=1.0,
        measure_s=60.0,
        plan=PlanRules(),
        seed=0,
        cells=tuple(replace(cell, name=name) for name in CELLS),
        checks=(),
        vanished=(),
        new=(),
        instrument=InstrumentReport(again=(), control=None, max_idle_share=None, findings=()),
        traces=traces,
    )


def shared_machine(num_launches: int = 40, seed: int = 0) -> tuple[CellTrace, ...]:
    """Return two cells' traces of identical code.

    The machine's speed differs by 10% from launch to launch and wanders within one, a pair's two
    calls by 3% from each other, and processes by 0.3%.
    """
    random = np.random.default_rng(seed)
    launches: dict[str, list[LaunchTrace]] = {name: [] for name in CELLS}
    for number in range(1, num_launches + 1):
        machine = random.normal(0, 0.1)
        for name in CELLS:
            common = machine + np.cumsum(random.normal(0, 0.02, 20))
            base, head = common + random.normal(0, 0.03 / math.sqrt(2), (2, 20))
            head = head + random.normal(0, 0.003)
            seconds = {
                "base": tuple((0.04 * np.exp(base)).tolist()),
                "head": tuple((0.04 * np.exp(head)).tolist()),
            }
            launches[name].append(LaunchTrace(launch=number, confirms=False, seconds=seconds))
    return tuple(
        CellTrace(name=name, iterations=1, launches=tuple(launches[name])) for name in CELLS
    )


def test_bounds_of_rates_are_clopper_and_pearsons() -> None:
    """With no hit in n, 0.05 = (1 - p)^n; the lower bound mirrors the upper one."""
    assert rate_at_most(0, 60) == pytest.approx(1 - 0.05 ** (1 / 60))
    assert rate_at_most(0, 300) < 0.01
    assert rate_at_most(3, 40) == pytest.approx(1 - rate_at_least(37, 40))


@given(total=st.integers(1, 10_000), data=st.data())
def test_bounds_are_rounded_away_from_what_was_seen(total: int, data: st.DataObject) -> None:
    """0 of 2,000 allows 0.1497%, which is not at most 0.1%."""
    assert format_at_most(rate_at_most(0, 2000)) == "0.2%"
    hits = data.draw(st.integers(0, total))
    most, least = rate_at_most(hits, total), rate_at_least(hits, total)
    assert float(format_at_most(most).rstrip("%")) >= 100 * most - 1e-6
    assert float(format_at_least(least).rstrip("%")) <= 100 * least + 1e-6


@given(total=st.integers(1, 10_000), data=st.data())
def test_a_share_is_never_rounded_to_all_or_nothing(total: int, data: st.DataObject) -> None:
    """0% and 100% stand only for none and all; what is shown lies within 0.1 points."""
    hits = data.draw(st.integers(0, total))
    text = format_share(hits / total)
    assert (text == "0%") == (hits == 0)
    assert (text == "100%") == (hits == total)
    assert float(text.rstrip("%")) == pytest.approx(100 * hits / total, abs=0.051)


@pytest.mark.parametrize("stat", ["median", "min"])
@given(
    base=st.lists(st.floats(0.01, 10), min_size=1, max_size=9),
    head=st.lists(st.floats(0.01, 10), min_size=1, max_size=9),
)
def test_compare_fail_agrees_with_pytest_benchmark(
    stat: str, base: list[float], head: list[float]
) -> None:
    """It is red exactly where pytest-benchmark's own check is."""
    compute = np.median if stat == "median" else np.min
    theirs = PercentageRegressionCheck(stat, 5).fails(
        {stat: float(compute(head))}, {stat: float(compute(base))}
    )
    assert compare_fail(np.array(base), np.array(head), stat, 5) == bool(theirs)


def test_mann_whitney_needs_rounds_a_small_p_and_the_factor() -> None:
    """4 + 4 rounds can never reach 0.002 (1/70), 10 + 10 can; asv also asks for its factor 1.1."""
    base = np.linspace(1.0, 1.01, 10)
    assert not mann_whitney(base[:4], base[:4] * 2)
    assert mann_whitney(base, base * 1.05)
    assert not mann_whitney(base, base * 1.05, factor=1.1)
    assert mann_whitney(base, base * 1.2, factor=1.1)
    assert not mann_whitney(base * 1.05, base), "faster is not slower"


def test_all_rivals_are_asked_at_once() -> None:
    """7% slower than quiet rounds: red by 5% and by the test, green by 10% and by asv."""
    base = np.linspace(1.0, 1.01, 12)
    red = judge_as_rivals(base, base * 1.07)
    assert set(red) == set(RIVALS)
    assert {rule for rule, is_red in red.items() if is_red} == {
        "median-5",
        "min-5",
        "mann-whitney",
        "mann-whitney-5",
    }


def test_a_replay_of_identical_code_tells_ours_from_the_usual_rules() -> None:
    """On a machine that wanders by 10%, ours is never red in 60 gates and the rivals often are."""
    traces = shared_machine()
    ours = replay(traces, PlanRules(), 60, 0, 0.0)
    assert (ours.runs.num_total, ours.runs.num_fail) == (60, 0)
    assert ours.slowed == {}
    assert ours.launches_mean is not None
    assert ours.launches_mean >= PlanRules().looks[0]
    rivals = {rates.rule: rates for rates in replay_rivals(traces, 60, 0, 0.0)}
    assert set(rivals) == set(RIVALS)
    assert rivals["median-5"].runs.num_fail > 20
    assert rivals["median-10"].runs.num_fail <= rivals["median-5"].runs.num_fail


def test_a_replay_slows_each_cell_in_turn() -> None:
    """10% in one cell a gate: each cell has half of the gates, and is found in all of them."""
    ours = replay(shared_machine(), PlanRules(), 20, 0, 0.1)
    assert ours.slowed == {name: Tally(num_total=10, num_fail=10) for name in CELLS}


def test_rivals_see_the_slowdown_too() -> None:
    """Blocks of a machine that does not wander: 10% is found by median:5% in each cell."""
    quiet = tuple(
        replace(
            trace,
            launches=tuple(
                replace(x, seconds={"base": (1.0,) * 9, "head": (1.0,) * 9}) for x in trace.launches
            ),
        )
        for trace in shared_machine(4)
    )
    same = {rates.rule: rates for rates in replay_rivals(quiet, 10, 0, 0.0)}
    slower = {rates.rule: rates for rates in replay_rivals(quiet, 10, 0, 0.1)}
    assert same["median-5"].runs.num_fail == 0
    assert slower["median-5"].slowed == dict.fromkeys(CELLS, Tally(num_total=5, num_fail=5))


def test_a_replay_is_repeated_by_its_seed() -> None:
    """The same seed gives the same rates, another one other gates."""
    traces = shared_machine(8)
    plan = PlanRules(looks=(3, 5), tolerance=0.012)
    first, again, other = (replay(traces, plan, 30, seed, 0.01) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_replay_swaps_the_arms() -> None:
    """Arms of one code that happened to differ by 3% in every launch are no slowdown."""
    shifted = tuple(
        replace(
            trace,
            launches=tuple(
                replace(
                    launch,
                    seconds={
                        "base": launch.seconds["base"],
                        "head": tuple(1.03 * s for s in launch.seconds["base"]),
                    },
                )
                for launch in trace.launches
            ),
        )
        for trace in shared_machine()
    )
    runs = replay(shifted, PlanRules(), 40, 0, 0.0).runs
    assert runs.num_fail + runs.num_improved <= 2


def test_joined_runs_keep_the_order_of_time() -> None:
    """The launches of a second run come after all of the first, under numbers of their own."""
    first, second = shared_machine(3, seed=1), shared_machine(4, seed=2)
    joined = join_runs([first, second])
    assert [trace.name for trace in joined] == list(CELLS)
    numbers = [launch.launch for launch in joined[0].launches]
    assert len(numbers) == len(set(numbers)) == 7
    assert numbers == sorted(numbers)
    assert joined[0].launches[3].seconds == second[0].launches[0].seconds


def test_a_cell_that_ended_early_is_drawn_from_the_launches_it_has() -> None:
    """Cells that share no launch are drawn apart, and launches without pairs not at all."""
    one, two = shared_machine(12)
    rounds = one.launches[0].seconds["base"]
    empty = replace(one.launches[0], seconds={"base": (), "head": ()})
    decided = replace(one.launches[0], seconds={"base": rounds, "again": rounds})
    one = replace(one, launches=(empty, decided, *one.launches[1:6]))
    assert describe_noise((one,))[0].num_launches == 5
    two = replace(two, launches=two.launches[6:])
    assert replay((one, two), PlanRules(), 4, 0, 0.1).runs.num_total == 4


def swapped(traces: tuple[CellTrace, ...]) -> tuple[CellTrace, ...]:
    """Return the traces with base and head exchanged."""
    return tuple(
        replace(
            trace,
            launches=tuple(
                replace(x, seconds={"base": x.seconds["head"], "head": x.seconds["base"]})
                for x in trace.launches
            ),
        )
        for trace in traces
    )


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_against_noise_does_not_know_which_arm_is_which(measure: str) -> None:
    """Swapped arms give the negative log-ratios, the control is no cell, and pairs stay pairs."""
    traces = shared_machine(6)
    recorded = (*traces, replace(shared_machine(6, seed=7)[0], name="control"))
    kept, mirrored = (reduce_noise(t, measure) for t in (recorded, swapped(recorded)))
    assert [trace.name for trace in kept] == list(CELLS)
    for ours, theirs in zip(kept, mirrored, strict=True):
        assert len(ours.launches) == len(theirs.launches) > 0
        for one, other in zip(ours.launches, theirs.launches, strict=True):
            plain, turned = (
                np.log(x.seconds["head"]) - np.log(x.seconds["base"]) for x in (one, other)
            )
            assert plain == pytest.approx(-turned, abs=1e-12)


@pytest.mark.parametrize(
    ("measure", "base"),
    [
        ("none", (5.0, 1.0, 3.0, 2.0, 4.0, 6.0, 9.0)),
        ("min-of-2", (1.0, 2.0, 4.0)),
        ("min-of-3", (1.0, 2.0)),
        ("median-of-3", (3.0, 4.0)),
        ("mean-of-2", (3.0, 2.5, 5.0)),
        ("calmest-half", (1.0, 3.0, 2.0, 4.0)),
    ],
)
def test_rounds_on_end_make_one(measure: str, base: tuple[float, ...]) -> None:
    """Seven rounds in groups, a rest left out; or the pairs that took least, in their order."""
    launch = LaunchTrace(
        launch=1,
        confirms=False,
        seconds=dict.fromkeys(("base", "head"), (5.0, 1.0, 3.0, 2.0, 4.0, 6.0, 9.0)),
    )
    (trace,) = reduce_noise((CellTrace(name="x", iterations=1, launches=(launch,)),), measure)
    assert trace.launches[0].seconds == {"base": base, "head": base}


def test_a_launch_is_dropped_or_corrected_by_its_control() -> None:
    """Where the control moves with the cell, its covariate takes the whole movement out."""

    def trace(name: str, ratios: tuple[float, ...]) -> CellTrace:
        launches = tuple(
            LaunchTrace(launch=i, confirms=False, seconds={"base": (1.0,), "head": (ratio,)})
            for i, ratio in enumerate(ratios)
        )
        return CellTrace(name=name, iterations=1, launches=launches)

    traces = (trace("x", (1.1, 1 / 1.1, 1.0)), trace("control", (1.05, 1 / 1.05, 1.0)))
    (kept,) = reduce_noise(traces, "control-unmoved")
    assert [launch.launch for launch in kept.launches] == [2]
    (corrected,) = reduce_noise(traces, "control-covariate")
    assert [x.seconds["head"][0] for x in corrected.launches] == pytest.approx([1.0, 1.0, 1.0])


def test_a_replay_tells_at_which_rung_its_gates_end() -> None:
    """Wide noise and few launches: what is not below 3% is below 5 or 10%, or below none."""
    ours = replay(shared_machine(), PlanRules(looks=(3, 5)), 60, 0, 0.0)
    assert set(ours.rungs) <= {"3%", "5%", "10%"}
    assert sum(ours.rungs.values()) <= 60
    assert ours.rungs["5%"] > 0
    accepted = ours.rungs.get("3%", 0) + ours.rungs["5%"]
    assert ours.runs.num_inconclusive == 60 - accepted
    strict = replay(shared_machine(), PlanRules(looks=(3, 5), strict=True), 60, 0, 0.0)
    assert strict.rungs == ours.rungs
    assert strict.runs.num_inconclusive == 60 - ours.rungs.get("3%", 0)


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        ((), "there are no traces to replay"),
        ((CellTrace(name="x", iterations=1, launches=()),), "the trace of x has no pairs"),
    ],
)
def test_traces_without_pairs_are_refused(traces: tuple[CellTrace, ...], message: str) -> None:
    """There is nothing to draw from."""
    with pytest.raises(IndoorError, match=message):
        replay(traces, PlanRules(), 1, 0, 0.0)


def test_blocks_need_launches_apart_in_time() -> None:
    """Two blocks of two launches cannot be had from three."""
    with pytest.raises(IndoorError, match="3 launches have rounds of all cells, expected 4"):
        replay_rivals(shared_machine(3), 1, 0, 0.0, num_launches=2)


def test_noise_is_described_by_pairs_launches_and_rounds() -> None:
    """The simulated 3% of a pair and the correlation of rounds are found again."""
    noise = describe_noise(shared_machine())[0]
    assert (noise.num_launches, noise.num_pairs) == (40, 800)
    assert noise.pair_robust_sd == pytest.approx(0.03, rel=0.15)
    assert noise.launch_sd < 0.015
    assert noise.round_lag1 is not None
    assert noise.round_lag1 > 0.4


def test_the_replay_command_writes_what_the_table_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the traces of gate reports to a study's JSON to markdown, with every rule a row."""
    traces, out = tmp_path / "gate.json", tmp_path / "studies" / "study.json"
    out.parent.mkdir()
    recorded = shared_machine(10)
    control = replace(recorded[0], name="control")
    write_record(traces, gate_report(traces=(*recorded, control)))
    words = ["--gates", "8", "--looks", "3", "5", "--title", "tiny", "--out", str(out)]
    assert gate_study.main(["replay", str(traces), *words]) == 0
    printed = capsys.readouterr().out
    study = read_record(out, ReplayStudy)
    assert study.plan.looks == (3, 5)
    assert {rates.slowdown for rates in study.rates} == {0.0, 0.02, 0.03, 0.05, 0.1}
    assert gate_study.main(["table", str(out)]) == 0
    assert capsys.readouterr().out == printed == render_studies([study])
    assert "tiny: 8 replayed gates of 2 cells" in printed
    assert all(f"| {name} | " in printed for name in RIVALS.values())
    assert "| float32-1 | 10 (200) |" in printed
    widths = Counter(line.count(" | ") for line in printed.splitlines() if line.startswith("|"))
    assert len(widths) == 3, "each table's rows have as many cells"


def test_recorded_traces_are_replayed(tmp_path: Path) -> None:
    """A recording judges no cell; its launches are drawn from all the same, the control's never."""
    traces = shared_machine(10)
    control = replace(traces[0], name="control")
    same, slow = tmp_path / "traces-0.json", tmp_path / "traces-5.json"
    for path in (same, slow):
        write_record(path, replace(gate_report(traces=(*traces, control)), cells=()))
    study = replay_files(
        [same],
        PlanRules(looks=(3, 5)),
        title="tiny",
        num_gates=4,
        seed=0,
        rival_launches=1,
        slower={0.05: [slow]},
    )
    assert [(cell.name, cell.num_launches) for cell in study.cells] == [(n, 10) for n in CELLS]
    assert [slowed.cell for slowed in study.really_slower] == list(CELLS)
    assert "\nReally slower, by the pairs: +5%: float32-1 " in render_studies([study])


def test_traces_of_two_machines_are_not_mixed(tmp_path: Path) -> None:
    """The refusal names both CPUs."""
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, cpu in zip(paths, ("Old", "New"), strict=True):
        write_record(path, gate_report(traces=shared_machine(3), cpu_model=cpu))
    with pytest.raises(IndoorError, match=r"2 machines \(New, 2 cores; Old, 2 cores\)"):
        gate_study.main(["replay", *map(str, paths)])


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there ends the script with status 2 and no traceback."""
    with pytest.raises(SystemExit) as ended:
        run_study(lambda: gate_study.main(["table", "nowhere.json"]))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: nowhere.json cannot be read")
    assert said.count("\n") == 1


def sides_of(job: GateJob, name: str) -> bool:
    """Return whether both sides' trees hold the same file."""
    assert job.base_root
    assert job.head_root
    return (job.base_root / name).read_bytes() == (job.head_root / name).read_bytes()


def test_false_alarms_are_counted_and_gone_on_with(tmp_path: Path) -> None:
    """A second call adds only the gates that are missing, each with a seed of its own."""
    seeds: list[int] = []

    def run(job: GateJob) -> GateReport:
        assert sides_of(job, "ordinary.py")
        assert job.config.plan == EXAMPLE_PLAN
        seeds.append(job.seed)
        return gate_report(GateVerdict.FAIL if job.seed == 1 else GateVerdict.PASS)

    out = tmp_path / "study.json"
    count_false_alarms(out, 3, run=run)
    study = count_false_alarms(out, 5, run=run)
    assert seeds == [0, 1, 2, 3, 4]
    assert study == read_record(out, FalseAlarmStudy)
    assert study.tally == Tally(num_total=5, num_fail=1)
    assert [path.name for path in tmp_path.glob("study-*")] == ["study-seed1.json"]
    assert (
        "| ordinary functions | 1 of 5 (20.0%, at most 65.8%) | 0 | 0 | 0 | 0 | 1.0 |"
        in render_studies([study])
    )


def test_another_study_is_not_gone_on_with(tmp_path: Path) -> None:
    """Gates with a hog do not join those without; the refusal names the field."""
    out = tmp_path / "study.json"
    count_false_alarms(out, 1, run=lambda *_: gate_report())
    with pytest.raises(IndoorError, match=r"holds another study \(hog differ\)"):
        count_false_alarms(out, 2, hog=True, run=lambda *_: gate_report())


def test_gates_add_up_while_the_deciding_code_is_the_same(tmp_path: Path) -> None:
    """Another commit goes on with the study; another decision does not."""
    out = tmp_path / "study.json"
    count_false_alarms(out, 1, run=lambda *_: gate_report())
    known = read_record(out, FalseAlarmStudy)
    write_record(out, replace(known, commit="another"))
    assert len(count_false_alarms(out, 2, run=lambda *_: gate_report()).runs) == 2
    one, other = known, replace(known, commit="another", runs=(replace(known.runs[0], seed=9),))
    assert "| ordinary functions | 0 of 2 (0%" in render_studies([one, other])
    write_record(out, replace(known, deciding="0" * 16))
    with pytest.raises(IndoorError, match=r"holds another study \(deciding differ\)"):
        count_false_alarms(out, 2, run=lambda *_: gate_report())


def test_networks_and_ordinary_functions_have_no_rate_in_common(tmp_path: Path) -> None:
    """Each kind and deciding code is added up by itself, and one row not at all."""
    count_false_alarms(tmp_path / "a.json", 2, run=lambda *_: gate_report())
    one = read_record(tmp_path / "a.json", FalseAlarmStudy)
    other, network = (
        replace(one, title=title) for title in ("ordinary functions, Zen 9", "ResNet-50 (1)")
    )
    before = [replace(study, deciding=None) for study in (one, other, other)]
    before[2] = replace(before[2], title="ordinary functions, Zen 8")
    table = render_studies([one, other, network, *before])
    assert f"| **ordinary functions, code {deciding_code()[:8]}, together** | 0 of 4 (0%" in table
    assert "| **ordinary functions, earlier code, together** | 0 of 6 (0%" in table
    assert table.count("together") == 2


def test_studies_of_two_cores_are_one_row(tmp_path: Path) -> None:
    """Gates of other seeds add up; the same gate twice, or another plan, does not."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    count_false_alarms(first, 2, run=lambda *_: gate_report())
    count_false_alarms(second, 3, seed=2, run=lambda *_: gate_report())
    studies = [read_record(path, FalseAlarmStudy) for path in (first, second)]
    assert "| ordinary functions | 0 of 5 (0%" in render_studies(studies)
    other = replace(studies[1], plan=PlanRules())
    apart = render_studies([studies[0], other])
    assert "| ordinary functions | 0 of 3 (0%" in apart
    assert apart.splitlines()[-1].startswith(
        f"| **ordinary functions, code {deciding_code()[:8]}, together** | 0 of 5 (0%, at most "
    )
    with pytest.raises(IndoorError, match="hold gates of the same seed, expected each gate once"):
        render_studies([studies[0], studies[0]])


def test_gates_run_on_the_suite_that_the_title_names(tmp_path: Path) -> None:
    """Both sides are the short models' tree; a suite that does not exist is one line."""

    def run(job: GateJob) -> GateReport:
        assert sides_of(job, "models.py")
        return gate_report()

    count_false_alarms(tmp_path / "a.json", 1, title="short models", run=run)
    with pytest.raises(IndoorError, match="--suite x: expected one of ordinary functions, short"):
        gate_study.main(["false-alarms", "--suite", "x", "--out", str(tmp_path / "b.json")])


def test_the_network_is_gated_by_its_own_suite_and_rules(tmp_path: Path) -> None:
    """Both sides are this checkout's commit, and the words after -- reach pytest."""
    jobs: list[GateJob] = []

    def run(job: GateJob) -> GateReport:
        jobs.append(job)
        return gate_report()

    study = count_false_alarms(
        tmp_path / "a.json", 1, title="ResNet-50", words=["--data", "x"], minutes=6, run=run
    )
    (job,) = jobs
    assert (job.base, job.head, job.arguments) == ("HEAD", "HEAD", ("--data", "x"))
    own = load_config(None, root=ROOT)
    assert job.config == replace(own, plan=replace(own.plan, max_minutes=6))
    assert study.plan == job.config.plan


@pytest.mark.parametrize("title", ["ordinary functions", "short models"])
def test_small_suites_run_under_plain_pytest(tmp_path: Path, title: str) -> None:
    """Anybody's pytest-benchmark can measure what the study measures."""
    tree = SUITES[title].job(tmp_path).head_root
    command = [sys.executable, "-m", "pytest", "-q", SUITE, "--benchmark-disable"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_gate_that_broke_off_is_not_counted(tmp_path: Path) -> None:
    """Ctrl-C within a gate ends the study and the self-test; what was whole is kept."""
    whole, partial = gate_report(), replace(gate_report(GateVerdict.INCONCLUSIVE), partial=True)
    reports = iter([whole, partial])
    out = tmp_path / "study.json"
    with pytest.raises(IndoorError, match="the gate with seed 1 broke off: so it was"):
        count_false_alarms(out, 3, run=lambda *_: next(reports))
    assert [known.seed for known in read_record(out, FalseAlarmStudy).runs] == [0]
    with pytest.raises(IndoorError, match="gate 1 of the self-test broke off: so it was"):
        self_test(lambda *_: partial)


def test_the_hog_ends_with_its_block() -> None:
    """It is a process that works, and it is gone afterwards."""
    before = set(psutil.Process().children())
    with hog_cpu(0):
        (hog,) = set(psutil.Process().children()) - before
        deadline = time.monotonic() + 10
        while hog.cpu_times().user < 0.1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert hog.cpu_times().user >= 0.1
    assert not hog.is_running()


def verdict_by_repeats(truth: Callable[[bool], GateVerdict]) -> Callable[[Path, Path], GateReport]:
    """Return a gate that reads from head's source whether it is slower."""

    def run(base: Path, head: Path) -> GateReport:
        assert "REPEATS = 100\n" in (base / "ordinary.py").read_text()
        return gate_report(truth("REPEATS = 105\n" in (head / "ordinary.py").read_text()))

    return run


def test_a_sound_gate_passes_its_self_test() -> None:
    """20 gates of the same code and 5 with 5% more work, shuffled: exit 0, and bounds in words."""
    lines: list[str] = []
    run = verdict_by_repeats(lambda slower: GateVerdict.FAIL if slower else GateVerdict.PASS)
    report = self_test(run, say=lines.append)
    assert (report.exit_status, report.findings) == (0, ())
    assert Counter(gate.slowdown for gate in report.gates) == {0.0: 20, 0.05: 5}
    assert {gate.slowdown for gate in report.gates[:20]} == {0.0, 0.05}, "shuffled"
    assert len(lines) == 25
    words = render_self_test(report)
    assert "false alarms: 0 of 20; the true rate is at most 14.0%" in words
    assert "slowdowns found: 5 of 5; the true rate is at least 54.9%" in words
    assert max(map(len, words.splitlines())) <= 80


@pytest.mark.parametrize(
    ("same", "slower", "finding"),
    [
        (GateVerdict.FAIL, GateVerdict.FAIL, "2 false alarms on identical code"),
        (GateVerdict.IMPROVED, GateVerdict.FAIL, "identical code was called faster 2 times"),
        (GateVerdict.PASS, GateVerdict.PASS, "1 of 1 slowdowns were not found"),
        (GateVerdict.PASS, GateVerdict.INCONCLUSIVE, "1 of 1 slowdowns were not found"),
        (GateVerdict.INCONCLUSIVE, GateVerdict.FAIL, "only 0 of 2 gates of identical code"),
        (GateVerdict.UNRELIABLE, GateVerdict.FAIL, "only 0 of 2 gates of identical code"),
    ],
)
def test_a_gate_that_is_wrong_fails_its_self_test(
    same: GateVerdict, slower: GateVerdict, finding: str
) -> None:
    """Exit 3, and the finding with its remedy; silence is no proof either."""
    run = verdict_by_repeats(lambda is_slower: slower if is_slower else same)
    report = self_test(run, num_same=2, num_slower=1)
    assert report.exit_status == 3
    assert any(found.startswith(finding) for found in report.findings)
    assert f"NOT TO BE TRUSTED HERE: {finding}" in render_self_test(report)


@given(st.lists(st.sampled_from(GateVerdict)), st.lists(st.sampled_from(GateVerdict)))
def test_a_self_test_ends_well_only_if_all_is_found_and_nothing_else(
    same: list[GateVerdict], slower: list[GateVerdict]
) -> None:
    """Exit 0 goes with FAIL on every slower tree, no claim on the same code, and PASS on half."""
    gates = [(0.0, verdict) for verdict in same] + [(0.05, verdict) for verdict in slower]
    report = SelfTestReport(
        slowdown=0.05,
        gates=tuple(
            GateOutcome(slowdown=slowdown, verdict=verdict, reason="", measure_s=1.0)
            for slowdown, verdict in gates
        ),
    )
    is_well = (
        set(slower) <= {GateVerdict.FAIL}
        and not {GateVerdict.FAIL, GateVerdict.IMPROVED} & set(same)
        and 2 * same.count(GateVerdict.PASS) >= len(same)
    )
    assert report.exit_status == (0 if is_well else 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"num_same": 0}, "0 and 5 gates"),
        ({"slowdown": 0.0}, "expected more than 0"),
        ({"slowdown": 0.055}, "slowdown 0.055, expected a multiple of 1%"),
    ],
)
def test_a_self_test_that_proves_nothing_is_refused(words: dict[str, float], message: str) -> None:
    """No gates, no slowdown, or one that no number of repetitions has."""
    run = verdict_by_repeats(lambda _: GateVerdict.PASS)
    with pytest.raises(ValueError, match=message):
        self_test(run, **words)  # type: ignore[arg-type]


def test_the_ordinary_suite_runs_under_plain_pytest(tmp_path: Path) -> None:
    """Its assertions hold for the slower tree as well, and its configuration is its own."""
    root = tmp_path / "tree"
    write_suite(root, 0.05)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", SUITE, "--benchmark-disable"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def counted_products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by one with each matrix product."""
    products: list[int] = []
    product = torch.mm

    def count(*arguments: object, **words: object) -> torch.Tensor:
        products.append(1)
        return product(*arguments, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "mm", count)
    return products


@pytest.mark.usefixtures("one_thread")
def test_a_slowed_lab_computes_the_same_and_works_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """5% of 100 ms in units of 1 ms are five products a call; the logits are untouched."""
    products = counted_products(monkeypatch)
    logits = torch.ones(1, 3)

    class Shared:
        def call(self, variant: str, batch: int) -> Callable[[], torch.Tensor]:
            assert (variant, batch) == ("int8", 1)
            return lambda: logits

    slow_suite(Shared, 0.05, {"int8-batch1-threads1": {"forward_s": 0.1, "unit_s": 0.001}})
    call = Shared().call("int8", 1)
    assert products == []
    assert call() is logits
    assert len(products) == 5


@pytest.mark.usefixtures("one_thread")
def test_a_fraction_of_a_unit_is_one_more_in_that_share_of_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """2.25 units in 400 calls are about 900 products, two or three a call."""
    products = counted_products(monkeypatch)
    extra = ExtraWork()
    for _ in range(400):
        before = len(products)
        extra.do(2.25)
        assert len(products) - before in (2, 3)
    assert len(products) == pytest.approx(900, abs=45)


def test_a_cell_without_units_is_named() -> None:
    """Nothing is guessed: the message names the cell and those that are calibrated."""
    slower = ExtraWork().added_to(lambda: torch.ones(1), "int8", 64, 0.05, {"other": {}})
    with pytest.raises(
        LookupError, match=r"no units for int8-batch64-threads\d+, expected one of other"
    ):
        slower()


@pytest.mark.usefixtures("one_thread")
def test_calibration_measures_forward_and_unit_and_checks_the_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock that forward moves on by 10 ms and a product by 0.1 ms, all figures are exact."""
    now = [0.0]

    def take(seconds: float) -> torch.Tensor:
        now[0] += seconds
        return torch.ones(1)

    monkeypatch.setattr(torch, "mm", lambda *_, **__: take(1e-4))
    found = calibrate_cell(lambda: take(1e-2), "x", 1, 1.0, 0.05, clock=lambda: now[0])
    assert found["forward_s"] == pytest.approx(1e-2)
    assert found["unit_s"] == pytest.approx(1e-4)
    assert found["checked_share"] == pytest.approx(0.05)
    assert found["num_pairs"] >= 12


@pytest.mark.usefixtures("one_thread")
def test_every_cell_of_the_suite_is_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin writes the units of all cells that the suite's options name, and runs no test."""
    settings = SimpleNamespace(
        variants=("float32", "int8"),
        batches=(1, 8),
        threads=(1,),
        full=False,
        suite_batches=(1, 8),
        suite_threads=lambda _: (1,),
        device="cpu",
    )
    shared = SimpleNamespace(call=lambda _variant, batch: lambda: torch.ones(batch, 3).exp())
    stash = pytest.Stash()
    stash[SHARED], stash[SETTINGS] = shared, settings  # type: ignore[assignment]
    manager = SimpleNamespace(getplugin=lambda _: None)
    session = SimpleNamespace(config=SimpleNamespace(stash=stash, pluginmanager=manager))
    out = tmp_path / "units.json"
    for name, value in ((OUT, str(out)), (SECONDS, "0.01"), (SHARE, "0.05")):
        monkeypatch.setenv(name, value)
    assert gate_recording.pytest_runtestloop(session) is True  # type: ignore[arg-type]
    cells = json.loads(out.read_bytes())
    assert set(cells) == {f"{v}-batch{b}-threads1" for v in ("float32", "int8") for b in (1, 8)}
    assert all(cell["num_pairs"] >= 12 and cell["unit_s"] > 0 for cell in cells.values())


def test_calibrate_hands_its_words_to_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows -- reaches pytest, which loads the plugin; its exit status is ours."""
    calls: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> SimpleNamespace:
        calls.append((command, env))
        return SimpleNamespace(returncode=4)

    monkeypatch.setattr(subprocess, "run", run)
    out = tmp_path / "units.json"
    words = ["--seconds", "3", "--", "--variant", "int8", "--batch", "1"]
    assert gate_study.main(["calibrate", "--out", str(out), *words]) == 4
    ((command, env),) = calls
    assert command[1:4] == ["-m", "pytest", "bench/test_latency.py"]
    assert command[-6:] == ["-p", "bench.studies.recording", "--variant", "int8", "--batch", "1"]
    assert (env[OUT], env[SECONDS], env[SHARE]) == (str(out), "3.0", "0.05")


def test_the_slowing_plugin_is_one_file_loaded_by_path(tmp_path: Path) -> None:
    """A copy outside the tree wraps the `bench.measuring` of the tree that pytest runs in."""
    folder, tree, units = tmp_path / "plugin", tmp_path / "tree", tmp_path / "units.json"
    folder.mkdir()
    shutil.copy(ROOT / "bench" / "studies" / "slowdown.py", folder / "gate_slowdown.py")
    (tree / "bench").mkdir(parents=True)
    (tree / "bench" / "__init__.py").touch()
    (tree / "bench" / "measuring.py").write_text(
        "class Shared:\n    def call(self, variant, batch):\n        return lambda: 'logits'\n"
    )
    (tree / "test_it.py").write_text(
        "from bench.measuring import Shared\n\n"
        "def test_it():\n    assert Shared().call('int8', 1)() == 'logits'\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder), SLOWDOWN: "0.05", UNITS: str(units)}
    units.write_text("{}")
    command = [sys.executable, "-m", "pytest", "-p", "gate_slowdown", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "LookupError: no units for int8-batch1-threads" in done.stdout


def test_wrong_variables_end_the_run_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share without a file of units is a usage error that says what writes one."""
    monkeypatch.setenv(SLOWDOWN, "0.05")
    monkeypatch.setenv(UNITS, str(tmp_path / "none.json"))
    with pytest.raises(pytest.UsageError, match="expected a number and the file") as caught:
        gate_slowdown.pytest_sessionstart()
    assert "\n" not in str(caught.value)
