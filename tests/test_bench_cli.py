"""The suite as its users type it: real pytest processes on a tiny network and drawn photographs."""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from report_records import scaled
from suite_process import (
    ALL_CASES,
    HEAR_INTERRUPTS,
    LATENCY,
    NARROW,
    QUICK,
    ROOT,
    TIMEOUT_S,
    Suite,
    edit,
    environment,
    finish,
    lines_with,
    measurements,
    save_tiny,
)

from indoor.machine import num_usable_cores
from indoor.runs.results import measurement_schema


@pytest.fixture(scope="session")
def tiny_weights(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny network, made once."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_tiny(path, photographs)
    return path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where prepared checkpoints lie, shared so that they are made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def suite(photographs: Path, tiny_weights: Path, home: Path, tmp_path: Path) -> Suite:
    """The suite with an empty storage."""
    return Suite(photographs, tiny_weights, home, tmp_path / "results")


@pytest.fixture(scope="session")
def first(
    photographs: Path, tiny_weights: Path, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Suite, subprocess.CompletedProcess[str]]:
    """The whole default matrix on an empty storage, and what it printed."""
    suite = Suite(photographs, tiny_weights, home, tmp_path_factory.mktemp("first") / "results")
    dump = suite.results.parent / "dump.json"
    done = suite.run("--benchmark-compare", "-W", "error", f"--benchmark-json={dump}", *ALL_CASES)
    return suite, done


@pytest.fixture
def with_baseline(first: tuple[Suite, subprocess.CompletedProcess[str]], suite: Suite) -> Suite:
    """The suite with a storage of its own that holds a whole run as 0001."""
    shutil.copytree(first[0].results, suite.results)
    return suite


def test_the_first_run_says_so_and_is_saved(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """With nothing to compare with: one line, exit 0 even under -W error, saved as 0001."""
    suite, done = first
    assert done.returncode == 0, done.stdout
    assert "no earlier run to compare with; this one is saved as the first" in done.stdout
    assert "Traceback" not in done.stdout
    assert [path.name[:5] for path in suite.saved()] == ["0001_"]
    assert " passed" in done.stdout.splitlines()[-1]


def test_no_table_shows_memory_as_a_time(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """pytest-benchmark's table leaves the cases of peak memory out; the file and ours have them."""
    suite, done = first
    names = [name for name in measurements(suite.saved()[0]) if name.startswith("test_peak_memory")]
    assert names
    theirs, _, ours = done.stdout.partition("what this run found")
    assert "benchmark 'load'" in theirs
    assert "memory" not in theirs
    assert "peak memory" in ours
    compared = finish(
        [sys.executable, "-m", "pytest_benchmark", "--storage", str(suite.results), "compare"], ROOT
    )
    groups = [line for line in compared.stdout.splitlines() if line.startswith("-") and "'" in line]
    assert not [group for group in groups if "'peak memory'" in group]
    assert [group for group in groups if "'seconds of the process that told its memory'" in group]


def test_every_result_fits_the_schema_and_names_its_machine(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """Each benchmark holds a Measurement; the host's name and its momentary clock do not appear."""
    path = first[0].saved()[0]
    data = json.loads(path.read_text())
    for entry in data["benchmarks"]:
        jsonschema.validate(entry["extra_info"]["indoor"], measurement_schema())
    found = measurements(path)
    assert {known.run.narrowed for known in found.values()} == {False}
    assert {known.run.not_a_baseline for known in found.values()} == {None}
    assert all(known.run.machine.cpu_model for known in found.values())
    assert data["machine_info"]["node"] == ""
    assert not [key for key in data["machine_info"]["cpu"] if key.startswith("hz_actual")]


def test_a_flipped_digit_is_found(
    first: tuple[Suite, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The file and --benchmark-json's are sealed: whole they are read, damaged they are refused."""
    suite, _ = first
    for path in (suite.saved()[0], suite.results.parent / "dump.json"):
        text = path.read_text()
        copy = tmp_path / "copy.json"
        copy.write_text(text)
        command = [sys.executable, "-m", "indoor", "report", str(copy)]
        assert finish(command, ROOT).returncode == 0
        place = text.index('"median"') + len('"median": 0.0')
        digit = next(i for i in range(place, len(text)) if text[i].isdigit())
        copy.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])
        done = finish(command, ROOT)
        assert done.returncode == 2, done.stdout
        assert f"{copy} was changed or damaged after it was saved" in done.stdout
        assert len(done.stdout.splitlines()) == 1


def test_the_matrix_is_paired_and_the_blocked_ratio_stands_once(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """Each int8 cell has 12 pairs or more with float32; one of them a blocked ratio."""
    found = measurements(first[0].saved()[0])
    int8 = [m for m in found.values() if m.case == "latency" and m.variant == "int8"]
    assert {m.batch for m in int8} == {1, 8, 16}
    speedups = [m.speedup for m in int8]
    assert all(s is not None and s.num_pairs >= 12 for s in speedups)
    assert sum(s is not None and s.blocked_speedup is not None for s in speedups) == 1
    assert all(m.output_sqnr_db is not None and m.output_sqnr_db > 6 for m in int8)
    assert all(m.minor_faults_per_photograph is not None for m in int8)
    float32 = [m for m in found.values() if m.case == "latency" and m.variant == "float32"]
    assert all(m.speedup is None and m.unpaired_reason is None for m in float32)


def test_the_two_variants_of_a_cell_have_as_many_rounds(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """The fixture of each test got its own rounds of the shared measurement, saved raw."""
    entries = json.loads(first[0].saved()[0].read_text())["benchmarks"]
    cell = {e["name"]: e for e in entries if e["name"].endswith("-batch8-threads1]")}
    counts = {e["stats"]["rounds"] for e in cell.values()}
    assert len(counts) == 1
    assert len({tuple(e["stats"]["data"]) for e in cell.values()}) == len(cell)
    assert {e["options"]["timer"] for e in cell.values()} == {"replayed_rounds"}


def test_size_load_memory_and_decoding_are_cases_too(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """int8 is smaller on disk, its fresh process has a peak, and decoding counts photographs."""
    found = measurements(first[0].saved()[0])
    sizes = {v: found[f"test_load[{v}]"].size_bytes or 0 for v in ("float32", "int8")}
    assert 0 < sizes["int8"] < sizes["float32"] / 3
    evaluation = found["test_load[int8]"].evaluation
    assert evaluation is not None
    assert evaluation.num_photographs == 12
    assert found["test_load[int8]"].paired_evaluation is not None
    if sys.platform == "linux":
        assert (found["test_peak_memory[int8]"].peak_memory_bytes or 0) > 50e6
    decode = found["test_decode[threads1]"]
    assert decode.batch == 12
    assert decode.latency is not None


def test_limit_throughput_and_labels_are_cases_too(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """Of each precision and number of threads, of each variant a process a core, from bytes."""
    found = measurements(first[0].saved()[0])
    limits = {(m.precision, m.threads): m for m in found.values() if m.case == "limit"}
    assert {("float32", 1), ("int8", 1)} <= limits.keys()
    assert all((m.multiply_adds_per_s or 0) > 1e8 and m.variant is None for m in limits.values())
    together = found["test_throughput[int8]"]
    assert (together.num_processes, together.threads) == (num_usable_cores(), 1)
    assert (together.photographs_per_s or 0) > 0
    labels = {m.batch: m for m in found.values() if m.case == "label" and m.variant == "int8"}
    assert set(labels) == {1, 8}
    for label in labels.values():
        assert label.latency is not None
        assert label.speedup is not None
    assert {m.multiply_adds for m in found.values() if m.variant} == {together.multiply_adds}
    if sys.platform == "linux":
        latency = found["test_latency[int8-batch8-threads1]"]
        assert latency.num_busy_threads == 1
        assert latency.idle_share is not None
        assert latency.output_max_difference is not None


def test_a_run_ends_with_tables_and_a_plot(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """The tables are printed, the plot lies beside the run, and --benchmark-json has all."""
    suite, done = first
    assert "int8" in done.stdout.split("what this run found")[1]
    assert suite.saved()[0].with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "</html>" in suite.saved()[0].with_suffix(".html").read_text(encoding="utf-8")
    dumped = json.loads((suite.results.parent / "dump.json").read_text())
    assert len(dumped["benchmarks"]) == len(measurements(suite.saved()[0]))


def test_nothing_is_left_of_the_finished_cells(
    first: tuple[Suite, subprocess.CompletedProcess[str]],
) -> None:
    """A saved run's cells are not kept for a later one to go on with."""
    assert not (first[0].results / ".partial").exists()


@pytest.mark.slow
def test_a_regression_is_told_in_words_and_exit_1(with_baseline: Suite) -> None:
    """Against a baseline ten times as fast: a line a case, no traceback, and no new baseline."""
    quick = with_baseline.saved()[0]

    def ten_times_as_fast(entry: dict) -> None:
        scaled(entry, 0.1)

    edit(quick, ten_times_as_fast)
    done = with_baseline.run(
        "--benchmark-compare=0001", "--benchmark-compare-fail=median:10%", *NARROW
    )
    assert done.returncode == 1, done.stdout
    assert lines_with(done.stdout, "REGRESSION bench/test_latency.py::test_latency[int8-batch1")
    assert "Traceback" not in done.stdout
    assert "this run does not become the baseline" in done.stdout
    second = with_baseline.saved()[1]
    assert {m.run.not_a_baseline for m in measurements(second).values()} == {"regressed"}


@pytest.mark.slow
def test_every_compare_fail_counts(with_baseline: Suite) -> None:
    """Of two expressions the first fails and the second does not: exit 1."""
    edit(with_baseline.saved()[0], lambda entry: scaled(entry, 0.5))
    done = with_baseline.run(
        "--benchmark-compare=0001",
        "--benchmark-compare-fail=min:5%",
        "--benchmark-compare-fail=median:900%",
        *NARROW,
        target=LATENCY,
    )
    assert done.returncode == 1, done.stdout
    assert lines_with(done.stdout, "min ")


@pytest.mark.slow
def test_a_narrowed_run_is_saved_but_no_baseline(with_baseline: Suite, tmp_path: Path) -> None:
    """`-k int8` from another folder is saved as 0002, unpaired; the next compares with 0001."""
    done = with_baseline.run(
        *("--benchmark-only", "-k", "int8 and latency", "--batch", "1", "--variant", "int8"),
        *QUICK,
        target=str(ROOT / "bench"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    (known,) = {m.unpaired_reason for m in measurements(with_baseline.saved()[1]).values()}
    assert known is not None
    assert all(m.run.narrowed for m in measurements(with_baseline.saved()[1]).values())
    done = with_baseline.run("--benchmark-compare", *NARROW, target=LATENCY)
    assert done.returncode == 0, done.stdout
    assert lines_with(done.stdout, "comparing with 0001_")
    assert lines_with(done.stdout, "only in 0001_")
    assert not (tmp_path / ".benchmarks").exists()


def test_disabled_benchmarks_only_check_the_output(suite: Suite) -> None:
    """Each case runs once; nothing is measured or saved."""
    done = suite.run("--benchmark-disable", *NARROW, target=LATENCY)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert suite.saved() == []


@pytest.mark.slow
def test_histograms_are_drawn_or_refused_at_once(suite: Suite, tmp_path: Path) -> None:
    """--benchmark-histogram writes a picture a group; without pygal it is refused at once."""
    done = suite.run(f"--benchmark-histogram={tmp_path / 'times'}", *NARROW, target=LATENCY)
    pictures = [path.name for path in tmp_path.glob("times*.svg")]
    if importlib.util.find_spec("pygal"):
        assert done.returncode == 0, done.stdout
        assert pictures == ["times-latency,_batch_1,_1_thread.svg"]
    else:
        assert done.returncode == 4, done.stdout
        assert lines_with(done.stdout, "ERROR: --benchmark-histogram needs pygal")
        assert suite.saved() == []


@pytest.mark.slow
def test_the_full_matrix_shows_the_other_allocator(suite: Suite) -> None:
    """--full adds the largest cell with glibc's thresholds raised, in a fresh process, paired."""
    narrow = ("--variant", "float32,int8", "--batch", "2", "--threads", "1", *QUICK)
    done = suite.run("--full", *narrow, target="bench/test_allocator.py")
    assert done.returncode == 0, done.stdout
    found = measurements(suite.saved()[0])
    assert {m.allocator for m in found.values()} == {"retain"}
    assert {(m.batch, m.threads) for m in found.values()} == {(2, 1)}
    speedup = found["test_other_allocator[int8-retain]"].speedup
    assert speedup is not None
    assert speedup.num_pairs >= 12


@pytest.mark.slow
def test_an_interrupted_matrix_goes_on_where_it_stopped(suite: Suite) -> None:
    """After Ctrl-C nothing is saved; the same command takes the finished cells and saves all."""
    arguments = ("--variant", "float32,int8", "--batch", "1,2,3", "--threads", "1")
    arguments += ("--cell-seconds", "2")
    process = subprocess.Popen(
        [sys.executable, "-c", HEAR_INTERRUPTS, *suite.command(*arguments, target=LATENCY)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + TIMEOUT_S
    while not list(suite.results.glob(".partial/*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2, output
    assert suite.saved() == []
    assert "the same command goes on from there" in output
    kept = {path: path.read_text() for path in suite.results.glob(".partial/*/*.json")}
    assert kept
    rounds = {
        f"test_latency[{name}-batch{cell['batch']}-threads1]": series["seconds"]
        for cell in map(json.loads, kept.values())
        for name, series in cell["series"].items()
    }
    done = suite.run(*arguments, target=LATENCY)
    assert done.returncode == 0, done.stdout
    assert "of an interrupted run" in done.stdout
    entries = json.loads(suite.saved()[0].read_text())["benchmarks"]
    data = {entry["name"]: entry["stats"]["data"] for entry in entries}
    assert len(data) == 6
    assert {name: data[name] for name in rounds} == rounds
    found = measurements(suite.saved()[0])
    resumed = {m.batch: m.measured_at for m in found.values() if m.resumed}
    assert resumed == {
        cell["batch"]: cell["measured_at"] for cell in map(json.loads, kept.values())
    }
    assert {m.run.num_resumed for m in found.values()} == {len(kept)}
    assert not (suite.results / ".partial").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the thresholds are glibc's")
def test_the_allocator_is_changed_and_recorded(suite: Suite) -> None:
    """--allocator retain starts pytest again, on the same terminal and with the same arguments."""
    done = suite.run("--allocator", "retain", *NARROW, target=LATENCY)
    assert done.returncode == 0, done.stdout
    assert {m.allocator for m in measurements(suite.saved()[0]).values()} == {"retain"}


@pytest.mark.slow
def test_how_many_rounds_are_made_is_said(suite: Suite) -> None:
    """--benchmark-min-rounds stands in the line that says what is measured."""
    done = suite.run("--benchmark-min-rounds=13", *NARROW, "-k", "float32", target=LATENCY)
    assert done.returncode == 0, done.stdout
    assert "0.1 s or 13 rounds each" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch", "0"), "--batch 0: expected a whole number, 1 or more"),
        (("--threads", "4096"), "--threads 4096: expected"),
        (("--variant", "int4"), "--variant int4: expected one of float32, float32-channels-last"),
        (("--model", "vgg16"), "--model vgg16: expected one of resnet18, resnet50"),
        (("--data", "no/such"), "--data no/such: there is no such folder"),
        (("--data", "x" * 300), f"--data {ROOT / ('x' * 300)}: File name too long; expected"),
        (("--weights", "no.pt"), "--weights no.pt: there is no such file"),
        (("--cell-seconds", "soon"), "--cell-seconds soon: expected seconds"),
        (("--allocator", "jemalloc"), "--allocator jemalloc: expected default or retain"),
        (("--results", "README.md"), f"cannot write into {ROOT / 'README.md'}: File exists"),
        (("--gate", "HEAD", "--keep-int8"), "--keep-int8: expected no --gate beside it"),
        (("--gate", "no-such-revision"), "revision 'no-such-revision' is"),
        (("--benchmark-json=README.md/x.json",), "cannot write into README.md: File exists"),
        (("--benchmark-json=tests",), "--benchmark-json tests: it is a folder; expected a file"),
        (("--benchmark-compare-fail=min:5%",), "--benchmark-compare-fail: nothing to compare"),
        (("--device", "tpu"), "--device: unknown device 'tpu'; expected one of auto, cuda"),
        (("--benchmark-max-time=2",), "--benchmark-max-time 2: nothing to heed it here, since"),
        (("--benchmark-min-time=1",), "--benchmark-min-time 1: nothing to heed it here, since a"),
        (("--benchmark-precision=0.1",), "--benchmark-precision 0.1: nothing to heed it here"),
        (("--benchmark-warmup=on",), "--benchmark-warmup True: nothing to heed it here, since a"),
        (("--benchmark-warmup-iterations=5",), "--benchmark-warmup-iterations 5: nothing to heed"),
        (("--benchmark-calibration-precision=3",), "--benchmark-calibration-precision 3: nothing"),
        (("--benchmark-compare=0099",), "--benchmark-compare=0099: there is no such run"),
    ],
)
def test_a_mistake_is_one_line_and_exit_4(
    suite: Suite, arguments: tuple[str, ...], message: str
) -> None:
    """What cannot be meant is refused before anything is prepared."""
    done = suite.run(*arguments)
    assert done.returncode == 4, done.stdout
    (error,) = lines_with(done.stdout, "ERROR: ")
    assert error.startswith(f"ERROR: {message}")
    assert "Traceback" not in done.stdout
    assert suite.saved() == []


def test_a_data_set_that_cannot_be_used_is_one_line_and_exit_4(
    suite: Suite, photographs: Path, tmp_path: Path
) -> None:
    """A list that names a missing file ends the run before it is measured or saved."""
    suite.photographs = tmp_path / "broken"
    shutil.copytree(photographs, suite.photographs)
    next(suite.photographs.glob("Images/*/*_00.jpg")).unlink()
    done = suite.run(*NARROW)
    assert done.returncode == 4, done.stdout
    assert len(lines_with(done.stdout, "ERROR: ")) == 1
    assert "Traceback" not in done.stdout
    assert suite.saved() == []


def test_a_swallowed_path_is_told_apart_from_a_number() -> None:
    """`pytest --benchmark-compare bench` takes bench for the run's number; the line says so."""
    done = finish([sys.executable, "-m", "pytest", "--benchmark-compare", "bench"], ROOT)
    assert done.returncode == 4, done.stdout
    (error,) = lines_with(done.stdout, "ERROR: ")
    assert "--benchmark-compare took 'bench' for the number of a run" in error


def test_other_tests_are_left_alone() -> None:
    """`pytest tests` saves nothing and warns of nothing."""
    command = [sys.executable, "-m", "pytest", "tests/test_files.py", "-q", "-W", "error"]
    done = finish(command, ROOT)
    assert done.returncode == 0, done.stdout
    assert "benchmark" not in done.stdout.replace("benchmark: ", "")
