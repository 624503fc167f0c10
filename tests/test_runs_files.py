"""What people do to files of results: runs joined in one file, and figures that are none."""

import copy
import gzip
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_records import (
    AMX,
    ZEN3,
    benchmark,
    benchmark_json,
    full_json,
    identity,
    latency,
    rounds,
    speedup,
)

from indoor.cli import main
from indoor.errors import IndoorError
from indoor.records import Measurement, from_builtins
from indoor.runs.baseline import choose_baseline, find_runs
from indoor.runs.comparable import Subject
from indoor.runs.results import load_results, seal

NAME = r"bench/test_suite\.py::test_forward\[float32-8-2\]"
OTHER_NAME = r"bench/test_suite\.py::test_forward\[int8-8-2\]"


def run_json(**changes: Any) -> dict[str, Any]:
    """A run of two cells with their raw rounds, as the suite saves it, but for the seal."""
    run = identity(**changes)
    entries = [
        latency(run, "float32", 8, 2, 77),
        latency(run, "int8", 8, 2, 26, paired=speedup("int8", 77 / 26)),
    ]
    for entry, ms in zip(entries, (77, 26), strict=True):
        entry["stats"]["data"] = rounds(ms * 8 / 1e3, 40)
    return copy.deepcopy(benchmark_json(entries))


def renamed(data: dict[str, Any]) -> dict[str, Any]:
    """The same run from a test file of another name."""
    for entry in data["benchmarks"]:
        entry["fullname"] = entry["fullname"].replace("test_suite", "test_speed")
    return data


def joined(*runs: dict[str, Any]) -> dict[str, Any]:
    """The first run with the benchmarks of all."""
    return {**runs[0], "benchmarks": [entry for run in runs for entry in run["benchmarks"]]}


def texts(*runs: dict[str, Any], indent: int | None = None) -> list[str]:
    """The runs as JSON."""
    return [json.dumps(run, indent=indent) for run in runs]


def part(data: dict[str, Any], index: int) -> dict[str, Any]:
    """The run with one of its cases."""
    return {**data, "benchmarks": [data["benchmarks"][index]]}


SLOWER = {"commit": "ff" * 20}
LATER = {"machine": replace(ZEN3, load_1min=1.9)}
FOREIGN = {"name": "test_x", "fullname": "t.py::test_x", "extra_info": {}, "stats": {"min": 1.0}}

APPENDED: dict[str, tuple[Callable[[], bytes | str | object], str]] = {
    "benchmarks of the same run joined-control": (
        lambda: joined(run_json(), run_json()),
        f"holds {NAME} 2 times; expected each case once",
    ),
    "benchmarks of three runs joined-control": (
        lambda: joined(run_json(), run_json(), run_json()),
        f"holds {NAME} 3 times",
    ),
    "benchmarks of another commit joined-control": (
        lambda: joined(run_json(), run_json(**SLOWER)),
        f"holds {NAME} 2 times",
    ),
    "benchmarks of another machine joined-control": (
        lambda: joined(run_json(), run_json(machine=AMX)),
        f"holds {NAME} 2 times",
    ),
    "the same cases by a renamed test file": (
        lambda: joined(run_json(), renamed(run_json())),
        rf"holds {NAME} 2 times, also as bench/test_speed\.py::test_forward\[float32-8-2\]",
    ),
    "one case twice": (
        lambda: joined(run_json(), part(run_json(), 1)),
        f"holds {OTHER_NAME} 2 times",
    ),
    "other cases of another commit": (
        lambda: joined(part(run_json(), 0), part(run_json(**SLOWER), 1)),
        rf"{OTHER_NAME} is of another run than {NAME}: run\.commit is ffff",
    ),
    "other cases of another day": (
        lambda: joined(part(run_json(), 0), part(run_json(**LATER), 1)),
        rf"{OTHER_NAME} is of another run than {NAME}: run\.machine\.load_1min is 1\.9 and not 0",
    ),
    "other cases of a narrowed run": (
        lambda: joined(part(run_json(), 0), part(run_json(narrowed=True), 1)),
        rf"{OTHER_NAME} is of another run than .* run\.narrowed is True and not False",
    ),
    "other cases of another machine-control": (
        lambda: joined(part(run_json(), 0), part(run_json(machine=AMX), 1)),
        "mixes 2 machines",
    ),
    "other suites' case twice": (
        lambda: joined(run_json(), {"benchmarks": [FOREIGN, FOREIGN]}),
        r"holds t\.py::test_x 2 times",
    ),
    "cat a.json b.json": (
        lambda: "".join(texts(run_json(), run_json(**SLOWER))),
        "holds more than one JSON document, the second from line 1 on; expected one run",
    ),
    "cat of indented files": (
        lambda: "\n".join(texts(run_json(), run_json(), indent=4)),
        r"holds more than one JSON document, the second from line \d\d+ on",
    ),
    "JSON lines": (
        lambda: "\n".join(texts(run_json(), run_json())) + "\n",
        "holds more than one JSON document, the second from line 2 on",
    ),
    "a run and a list": (
        lambda: "".join(texts(run_json())) + "[]",
        "holds more than one JSON document",
    ),
    "jq -s": (
        lambda: [run_json(), run_json()],
        "holds a list of 2 documents; expected one run; report the runs' own files",
    ),
    "a list of one run": (lambda: [run_json()], "holds a list of 1 documents"),
    "jq -s map(.benchmarks)": (
        lambda: {**run_json(), "benchmarks": [r["benchmarks"] for r in (run_json(), run_json())]},
        r"benchmarks\[0\] is no benchmark but a list",
    ),
    "a run among the benchmarks": (
        lambda: {**run_json(), "benchmarks": [*run_json()["benchmarks"], None]},
        r"benchmarks\[2\] is no benchmark but a NoneType",
    ),
    "runs by name-control": (
        lambda: {"before": run_json(), "after": run_json()},
        "holds no benchmarks; expected JSON that pytest-benchmark wrote",
    ),
    "the member benchmarks twice": (
        lambda: '{"benchmarks": [], ' + texts(run_json())[0][1:],
        "names 'benchmarks' twice in one object",
    ),
    "a figure twice": (
        lambda: texts(run_json())[0].replace('"median"', '"median": 1e-9, "median"', 1),
        "names 'median' twice in one object",
    ),
    "a figure twice, and a colon as an escape": (
        lambda: (
            texts(run_json())[0]
            .replace('"median"', '"median": 1e-9, "median"', 1)
            .replace("::", "\\u003a:", 1)
        ),
        "names 'median' twice in one object",
    ),
    "two members of gzip": (
        lambda: b"".join(gzip.compress(t.encode()) for t in texts(run_json(), run_json())),
        "holds more than one JSON document",
    ),
    "pytest-benchmark compare --csv-control": (
        lambda: "name,min,max\nbench/test_suite.py::test_forward[float32-8-2],0.1,0.2\n",
        "is no JSON: Expecting value",
    ),
    "a sealed run with another's cases-control": (
        lambda: {**joined(run_json(), run_json(**SLOWER)), "indoor": seal(run_json())},
        "was changed or damaged after it was saved",
    ),
    "sealed again after joining": (
        lambda: (lambda data: {**data, "indoor": seal(data)})(
            joined(part(run_json(), 0), part(run_json(**SLOWER), 1))
        ),
        rf"{OTHER_NAME} is of another run",
    ),
}


def put(path: Path, content: bytes | str | object) -> Path:
    """Write bytes and text as they are, anything else as JSON."""
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("content", "message"), APPENDED.values(), ids=APPENDED)
def test_two_runs_in_one_file_are_refused(
    tmp_path: Path, content: Callable[[], Any], message: str
) -> None:
    """Whichever way they were joined: one line that names the file and, where it can, the case."""
    path = put(tmp_path / "0001_joined.json", content())
    with pytest.raises(IndoorError, match=message) as caught:
        load_results([path])
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "content",
    [
        lambda: b"\xef\xbb\xbf" + texts(run_json())[0].encode(),
        lambda: texts(run_json(), indent=4)[0] + "\n\n",
        lambda: gzip.compress(texts(run_json())[0].encode()),
        lambda: joined(run_json(), {"benchmarks": [FOREIGN]}),
        lambda: full_json(),
    ],
    ids=["byte order mark", "indented-control", "gzip-control", "others' cases-control",
         "whole run-control"],
)  # fmt: skip
def test_one_run_is_read_however_it_was_written(tmp_path: Path, content: Callable[[], Any]) -> None:
    """A mark that an editor put before it, blanks, gzip and other suites' cases change nothing."""
    (run,) = load_results([put(tmp_path / "0001_one.json", content())])
    assert "bench/test_suite.py::test_forward[int8-8-2]" in {c.fullname for c in run.cases}


OURS = "benchmarks.1.extra_info.indoor."
STATS = "benchmarks.1.stats."

NO_NUMBERS: dict[str, tuple[str, object, str]] = {
    "NaN in a latency-control": (OURS + "latency.median_s", math.nan, "latency.median_s"),
    "NaN in a speedup-control": (OURS + "speedup.speedup", math.nan, "speedup.speedup"),
    "infinity in an interval-control": (
        OURS + "speedup.interval.high", math.inf, "speedup.interval.high"),
    "minus infinity in an SQNR-control": (OURS + "output_sqnr_db", -math.inf, "output_sqnr_db"),
    "1e999 in a rate-control": (OURS + "photographs_per_s", 1e999, "photographs_per_s"),
    "NaN in the machine's load-control": (
        OURS + "run.machine.load_1min", math.nan, "run.machine.load_1min"),
    "a string of NaN-control": (OURS + "latency.median_s", "NaN", "latency.median_s"),
    "a string of a number-control": (OURS + "latency.median_s", "0.026", "latency.median_s"),
    "true for a figure-control": (OURS + "speedup.speedup", True, "speedup.speedup"),
    "null for a figure-control": (OURS + "speedup.speedup", None, "speedup.speedup"),
    "a negative latency-control": (OURS + "latency.median_s", -0.026, "latency.median_s"),
    "a latency of minus zero": (OURS + "latency.median_s", -0.0, "latency.median_s"),
    "a latency of zero": (OURS + "latency.median_s", 0, "latency.median_s"),
    "a latency of 1e300": (OURS + "latency.median_s", 1e300, "latency.median_s"),
    "a speedup of 1e300": (OURS + "speedup.speedup", 1e300, "speedup.speedup"),
    "a rate of 1e300": (OURS + "photographs_per_s", 1e300, "photographs_per_s"),
    "a size of 400 digits": (OURS + "size_bytes", 10**400, "size_bytes"),
    "an SQNR of 1e300": (OURS + "output_sqnr_db", 1e300, "output_sqnr_db"),
    "page faults of 1e300": (
        OURS + "minor_faults_per_photograph", 1e300, "minor_faults_per_photograph"),
    "another run's latency": (OURS + "latency.median_s", 0.013, "latency.median_s"),
    "seconds a batch for a photograph's": (OURS + "latency.median_s", 0.208, "latency.median_s"),
    "a percentile below the median": (OURS + "latency.p90_s", 0.001, "latency"),
    "another run's rate": (OURS + "photographs_per_s", 77.0, "photographs_per_s"),
    "a speedup outside its interval": (OURS + "speedup.speedup", 1.2, "speedup"),
    "an interval upside down": (OURS + "speedup.interval.low", 9.0, "speedup"),
    "an interval below zero": (OURS + "speedup.interval.low", -1.0, "speedup"),
    "an interval of another level": (OURS + "speedup.interval.level", 0.5, "speedup.interval"),
    "an interval of 99 for 95%": (OURS + "speedup.interval.level", 0.99, "interval of 99%"),
    "NaN in a median": (STATS + "median", math.nan, "stats.median"),
    "infinity in q3": (STATS + "q3", math.inf, "stats.q3"),
    "a negative time": (STATS + "min", -0.2, "stats.min"),
    "null for the median": (STATS + "median", None, "stats.median"),
    "a string for the median": (STATS + "median", "0.208", "stats.median"),
    "true for the median": (STATS + "median", True, "stats.median"),
    "true for the rounds": (STATS + "rounds", True, "stats.rounds"),
    "half a round": (STATS + "rounds", 39.5, "stats.rounds"),
    "NaN in the mean": (STATS + "mean", math.nan, "stats.mean"),
    "infinity in the maximum": (STATS + "max", math.inf, "stats.max"),
    "NaN in the spread": (STATS + "iqr", math.nan, "stats.iqr"),
    "a minimum of zero": (STATS + "min", 0.0, "stats.min"),
    "a median of 1e300": (STATS + "median", 1e300, "stats.median"),
    "q1 above q3": (STATS + "q1", 0.9, "q1, median, q3"),
    "a minimum above the median": (STATS + "min", 0.9, "min, q1"),
    "a maximum below the median": (STATS + "max", 0.01, "max do not ascend"),
    "a median below q1": (STATS + "median", 0.1, "do not ascend"),
    "fewer rounds than data": (STATS + "rounds", 12, "stats.rounds is 12, and stats.data holds 40"),
    "another median than the data's": (STATS + "median", 0.2081, "stats.median"),
    "another minimum than the data's": (STATS + "min", 0.2, "stats.min"),
    "NaN in the rounds": (STATS + "data.3", math.nan, "stats.data[3]"),
    "infinity in the rounds": (STATS + "data.0", math.inf, "stats.data[0]"),
    "a negative round": (STATS + "data.5", -0.2, "stats.data[5]"),
    "a string among the rounds": (STATS + "data.5", "NaN", "stats.data[5] is 'NaN'"),
    "null among the rounds": (STATS + "data.39", None, "stats.data[39] is null"),
    "a number for the rounds": (STATS + "data", 0.2, "stats.data"),
    "NaN in a parameter": ("benchmarks.1.params.batch", math.nan, "params.batch"),
    "NaN in an option": ("benchmarks.1.options.max_time", math.nan, "options.max_time"),
}  # fmt: skip


def changed(data: dict[str, Any], place: str, value: object) -> dict[str, Any]:
    """The run with one member of another value."""
    *parents, last = place.split(".")
    inner: Any = data
    for name in parents:
        inner = inner[int(name) if isinstance(inner, list) else name]
    inner[int(last) if isinstance(inner, list) else last] = value
    return data


@pytest.mark.parametrize(("place", "value", "told"), NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_a_figure_that_is_none_is_refused(
    tmp_path: Path, place: str, value: object, told: str
) -> None:
    """Not a number, none that can be measured, or not that of its rounds: case and member stand."""
    path = put(tmp_path / "0001_bad.json", changed(run_json(), place, value))
    with pytest.raises(IndoorError) as caught:
        load_results([path])
    text = str(caught.value)
    assert "test_forward[int8-8-2]" in text
    assert told in text
    assert "\n" not in text
    assert len(text) < 600


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("machine_info.cpu.count", math.nan, "machine_info.cpu.count: nan is no finite number"),
        ("machine_info.cpu.count", 10**400, "machine_info.cpu.count"),
        ("commit_info.dirty", math.inf, "commit_info.dirty: inf"),
        ("version", -math.inf, "version: -inf"),
        ("benchmarks.2.stats.min", math.nan, "t.py::test_x has no usable stats"),
        ("benchmarks.2.stats.data", [1.0, math.inf], "t.py::test_x has no usable stats"),
    ],
    ids=["NaN", "400 digits", "infinity", "minus infinity", "other statistics", "other rounds"],
)
def test_no_number_elsewhere_in_the_file(
    tmp_path: Path, place: str, value: object, told: str
) -> None:
    """The file around the cases, and other suites' statistics, which a comparison reads."""
    data = copy.deepcopy(joined(run_json(), {"benchmarks": [FOREIGN]}))
    path = put(tmp_path / "0001_bad.json", changed(data, place, value))
    with pytest.raises(IndoorError) as caught:
        load_results([path])
    assert told in str(caught.value)


def test_what_other_suites_keep_beside_their_figures_is_theirs(tmp_path: Path) -> None:
    """A parameter of NaN, which is nothing to measure, and statistics of one constant round."""
    other = {**FOREIGN, "params": {"x": math.nan}, "stats": {"min": 1e-9, "rounds": 1, "data": []}}
    (run,) = load_results(
        [put(tmp_path / "0001.json", joined(run_json(), {"benchmarks": [other]}))]
    )
    assert run.foreign == ("t.py::test_x",)


def test_rounds_of_one_length_are_in_order(tmp_path: Path) -> None:
    """Quartiles of equal rounds may differ from them by a rounding, and a case may have one."""
    run = identity()
    ours = from_builtins(
        latency(run, "float32", 1, 1, 100)["extra_info"]["indoor"], Measurement, "memory"
    )
    entry = benchmark("test_x", replace(ours, latency=None, photographs_per_s=None), [0.1])
    entry["stats"] |= {"q1": 0.25 * 0.1 + 0.75 * 0.1 + 2e-17, "data": [0.1]}
    (found,) = load_results([put(tmp_path / "0001.json", benchmark_json([entry]))])
    assert found.cases[0].rounds.num_rounds == 1


class Storage:
    """The part of pytest-benchmark's storage that is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def query(self, pattern: str) -> list[Path]:
        """Return the files of that number."""
        return sorted(self.path.glob(f"{pattern}*.json"))


def test_a_named_run_that_cannot_be_used_is_refused_with_its_reason(tmp_path: Path) -> None:
    """`--benchmark-compare=0001` does not call a joined file missing."""
    put(tmp_path / "0001_joined.json", joined(run_json(), run_json()))
    with pytest.raises(IndoorError, match=f"--benchmark-compare: .*holds {NAME} 2 times"):
        find_runs(Storage(tmp_path), "0001")


def test_a_run_that_cannot_be_used_is_passed_over_aloud(tmp_path: Path) -> None:
    """A bare `--benchmark-compare` counts it among those that do not fit."""
    put(tmp_path / "0001_bad.json", changed(run_json(), STATS + "data.3", math.nan))
    runs = find_runs(Storage(tmp_path), True)
    choice = choose_baseline(runs, True, Subject(run=identity(), allocator="default"))
    assert choice.runs == ()
    assert "none of the 1 saved runs fits (1 unreadable)" in choice.lines[-1]


@pytest.mark.parametrize("option", ["", "--baseline"])
def test_reports_refuse_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    """`indoor report`, as the run itself and as what it stands beside: exit 2, one line."""
    good = put(tmp_path / "good.json", run_json())
    bad = put(tmp_path / "bad.json", changed(run_json(), STATS + "data.3", math.nan))
    words = [str(good), option, str(bad)] if option else [str(bad)]
    assert main(["report", *words]) == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert "stats.data[3]" in line
    assert printed.out == ""


@pytest.mark.parametrize("action", ["list", "promote"])
def test_results_say_why_a_run_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    """`indoor results list` and `promote` give the reason, not only that it cannot be read."""
    folder = tmp_path / "Linux-CPython-3.11-64bit"
    put(folder / "0001_bad.json", changed(run_json(), STATS + "data.3", math.nan))
    words = ["list", "--width", "300"] if action == "list" else ["promote", "0001"]
    assert main(["results", *words, "--results", str(tmp_path)]) == (0 if action == "list" else 2)
    printed = capsys.readouterr()
    assert "stats.data[3] is nan" in printed.out + printed.err
