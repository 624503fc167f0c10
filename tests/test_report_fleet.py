"""`indoor report` of many runs: by machine, never averaged across machines."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_records import AMX, ZEN3, full_json, full_run, identity

from indoor.cli import main
from indoor.cli import report as command
from indoor.errors import IndoorError
from indoor.records import Interval, Machine
from indoor.report import render, render_fleet, survey
from indoor.report.fleet import Fleet
from indoor.runs.summary import Ratio, RunSummary


def run(machine: Machine, speedup: float, *, threads: int = 2, **changes: Any) -> RunSummary:
    """A run in short with one speedup, whose interval is 1% to either side."""
    return RunSummary(
        run=identity(machine, **changes),
        allocator="default",
        datetime="2026-11-23T18:54:07+00:00",
        num_benchmarks=1,
        ratios=(
            Ratio(
                variant="int8",
                label="int8",
                baseline="float32",
                threads=threads,
                batches=(8, 16),
                speedup=speedup,
                interval=Interval(low=0.99 * speedup, high=1.01 * speedup),
            ),
        ),
    )


def fleet(*runs: RunSummary) -> Fleet:
    """The fleet of these runs."""
    return survey((Path(f"{number:04}.json"), one) for number, one in enumerate(runs, start=1))


def test_figures_are_medians_of_one_machines_runs() -> None:
    """2, 3 and 7 on one machine are 3 there, whatever another machine says."""
    found = fleet(run(ZEN3, 7.0), run(AMX, 10.0), run(ZEN3, 2.0), run(ZEN3, 3.0))
    zen, amx = found.speedups
    assert (zen.machine, zen.num_runs, zen.speedup) == ("A", 3, 3.0)
    assert (zen.lowest, zen.highest) == (2.0, 7.0)
    assert (zen.interval.low, zen.interval.high) == (0.99 * 2.0, 1.01 * 7.0)
    assert (amx.machine, amx.num_runs, amx.speedup) == ("B", 1, 10.0)
    assert [one.num_runs for one in found.machines] == [3, 1]


def test_nothing_is_averaged_across_machines() -> None:
    """Of 2x here and 4x there the two ends are told, and no figure between them."""
    found = fleet(run(ZEN3, 2.0), run(AMX, 4.0))
    (spread,) = found.spreads
    assert (spread.lowest.machine, spread.lowest.speedup) == ("A", 2.0)
    assert (spread.highest.machine, spread.highest.speedup) == ("B", 4.0)
    assert {one.speedup for one in found.speedups} == {2.0, 4.0}
    assert "3.00x" not in render_fleet(found)


@pytest.mark.parametrize(
    ("speedups", "faster", "slower"),
    [((1.2, 1.5), 2, 0), ((0.8, 1.5), 1, 1), ((1.005, 1.5), 1, 0), ((0.7, 0.995), 0, 1)],
)
def test_machines_count_where_their_interval_is_clear_of_one(
    speedups: tuple[float, float], faster: int, slower: int
) -> None:
    """1.005 with 1% to either side is neither faster nor slower."""
    (spread,) = fleet(run(ZEN3, speedups[0]), run(AMX, speedups[1])).spreads
    assert (spread.num_faster, spread.num_slower) == (faster, slower)


@pytest.mark.parametrize(
    ("machine", "changes", "num_machines"),
    [
        (replace(ZEN3, load_1min=9.0), {}, 1),
        (replace(ZEN3, memory_bytes=8_100_000_000), {}, 1),
        (replace(ZEN3, torch="9.9"), {}, 1),
        (ZEN3, {"commit": "f" * 40}, 1),
        (ZEN3, {"arch": "resnet18"}, 1),
        (replace(ZEN3, memory_bytes=16_000_000_000), {}, 2),
        (replace(ZEN3, num_cores=4), {}, 2),
        (replace(ZEN3, cpu_quota=1.5), {}, 2),
        (ZEN3, {"environment": {"OMP_PROC_BIND": "close"}}, 2),
    ],
)
def test_a_machine_is_what_times_may_be_compared_on(
    machine: Machine, changes: dict[str, Any], num_machines: int
) -> None:
    """Load, a little memory, torch and code make no other; cores, a quota and settings do."""
    known = run(ZEN3, 2.0, environment={})
    found = fleet(known, run(machine, 2.0, **{"environment": {}, **changes}))
    assert len(found.machines) == num_machines


def test_networks_stand_apart() -> None:
    """A resnet18 on one machine says nothing of a resnet50 on another."""
    found = fleet(run(ZEN3, 2.0), run(AMX, 4.0, arch="resnet18"))
    assert found.spreads == ()
    text = render_fleet(found)
    assert "Speedups of each machine: resnet18 at 224 x 224, against float32" in text


def test_a_spread_is_of_each_machines_largest_thread_count() -> None:
    """A machine's figure of one thread stands in its own table alone."""
    found = fleet(run(ZEN3, 2.0, threads=1), run(ZEN3, 3.0), run(AMX, 4.0))
    (spread,) = found.spreads
    assert (spread.num_machines, spread.lowest.speedup) == (2, 3.0)
    assert {(one.machine, one.threads) for one in found.speedups} == {("A", 2), ("A", 1), ("B", 2)}


def test_runs_without_pairs_are_counted() -> None:
    """A run that timed nothing in pairs is one of its machine's, and has no ratio."""
    found = fleet(run(ZEN3, 2.0), replace(run(ZEN3, 2.0), ratios=()))
    assert (found.num_unpaired, found.num_runs, found.speedups[0].num_runs) == (1, 2, 1)
    assert "1 run without a paired speedup" in render_fleet(found)


def test_no_table_is_of_more_machines_than_anybody_reads() -> None:
    """200 machines: the ends of the spread are among those that are shown, JSON has all."""
    runs = [run(replace(ZEN3, cpu_model=f"CPU {n:03}"), 2.0 + n / 100) for n in range(200)]
    found = fleet(*runs)
    text = render_fleet(found, width=120)
    assert "CPU 199" in text
    assert "160 more machines are in --format json and csv" in text
    assert len(json.loads(render_fleet(found, format="json"))["summary"]["machines"]) == 200
    assert len(list(csv.DictReader(io.StringIO(render_fleet(found, format="csv"))))) == 200


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(width: int) -> None:
    """No line is longer than it."""
    text = render_fleet(fleet(run(ZEN3, 2.0), run(AMX, 4.0)), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_a_few_runs_come_with_an_overview() -> None:
    """It follows the runs' tables, those of one machine beside each other; one run has none."""
    other = replace(full_run(ZEN3), source="0003_later.json")
    text = render([full_run(ZEN3), full_run(AMX), other], width=120)
    names = ("0001_zen3.json", "0003_later.json", "0001_amx.json", "3 runs of 2 machines")
    places = [text.index(name) for name in names]
    assert places == sorted(places)
    assert "of 1 machine" not in render([full_run(ZEN3)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs of two machines, a machine a folder, with a gate's record and a hidden file."""
    for number, machine in enumerate((ZEN3, AMX, ZEN3), start=1):
        there = tmp_path / "fleet" / machine.cpu_model.replace(" ", "-")
        there.mkdir(parents=True, exist_ok=True)
        path = there / f"{number:04}_resnet50.json"
        path.write_text(json.dumps(full_json(machine, identity(machine))))
    for name in ("gates", ".partial"):
        (tmp_path / "fleet" / name).mkdir()
        (tmp_path / "fleet" / name / "gate.json").write_text("{}")
    return tmp_path / "fleet"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call `indoor report`, expect exit 0, and return what it prints."""

    def call(*words: object) -> str:
        status = main(["report", *map(str, words)])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out

    return call


def test_a_folder_is_all_runs_below_it(folder: Path, call: Callable[..., str]) -> None:
    """Folder by folder; what hides or is a gate's record is none."""
    found = json.loads(call(folder, "--summary", "--format", "json"))["summary"]
    assert found["num_runs"] == 3
    assert [one["num_runs"] for one in found["machines"]] == [2, 1]
    assert found["num_left_out"] == 0


def test_many_runs_are_told_in_short(
    folder: Path, call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit no run has tables of its own, unless somebody asks for these."""
    assert "Size, accuracy and time" in call(folder)
    monkeypatch.setattr(command, "MOST_TABLES", 2)
    short = call(folder)
    assert "Size, accuracy and time" not in short
    assert "Speedups between machines" in short
    assert "Size, accuracy and time" in call(folder, "--no-summary")


def test_a_broken_file_in_a_folder_is_left_out_and_told(
    folder: Path, call: Callable[..., str]
) -> None:
    """The others are told; which file it is and why stands with them."""
    next(folder.rglob("0003*.json")).write_text('{"benchmarks": [')
    text = " ".join(call(folder, "--summary").split())
    assert "2 runs of 2 machines" in text
    assert "1 file left out" in text
    assert "0003_resnet50.json is no JSON" in text


def test_a_broken_file_that_was_named_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever names a file means it."""
    files = sorted(folder.rglob("*_resnet50.json"))
    files[1].write_text('{"benchmarks": [')
    assert main(["report", "--summary", *map(str, files)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{files[1]} is no JSON" in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--summary", "--baseline", "x.json"], "--summary with --baseline"),
        (["--summary", "--plot", "x.png"], "--summary with --plot"),
        (["--summary", "--unit", "us"], "--summary with --unit"),
    ],
)
def test_what_is_of_single_runs_is_refused_with_a_summary(
    words: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says which two do not go together."""
    assert main(["report", str(folder), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("report", "RUN", "--results", "x"), "--results x with RUN: it is where the newest run"),
        (("recommend", "RUN", "--results", "x"), "--results x with RUN: it is where the newest"),
        (("report", "RUN", "--baseline", "b", "--format", "csv"), "--baseline b with --format csv"),
        (("report", "--schema", "--results", "x"), "--schema with x"),
    ],
)
def test_an_option_that_nothing_heeds_is_refused(
    words: tuple[str, ...], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what does not go together, and nothing is printed."""
    run = str(min(folder.rglob("*_resnet50.json")))
    assert main([run if word == "RUN" else word for word in words]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert told.replace("RUN", run) in line
    assert printed.out == ""


def test_a_folder_without_runs_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing there, or nothing of this suite, is told in one line."""
    assert main(["report", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no results below" in line
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(IndoorError, match="none of 1 files holds a run"):
        survey([(tmp_path / "other.json", IndoorError("it holds no benchmarks"))])
