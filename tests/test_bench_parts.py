"""The suite's parts without pytest around them: baseline, replay, finished cells, output checks."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_benchmark.utils import parse_compare_fail

from bench import options
from bench.adapter import Replay, replayed_rounds
from bench.baseline import choose_baseline, differences, regressions, unmatched
from bench.cases import Cell
from bench.options import ALL, Settings
from bench.partial import PartialRun, partial_key
from bench.storage import find_runs
from indoor.measure.pairs import Series
from indoor.measure.worker import Warmup
from indoor.records import DataIdentity, Machine, Preprocessing, RunIdentity, WeightSource
from indoor.runs.storage import SavedRun

CELL = Cell(batch=8, threads=2)
SERIES = {
    "float32": Series(
        seconds=(0.2, 0.25),
        num_faults=(5, 0),
        warmup=Warmup(num_calls=3, stable=True, fastest_s=0.2),
    )
}


def identity(**changes: Any) -> RunIdentity:
    """Return a run's identity; `cpu` and `torch` go to its machine."""
    machine = Machine(
        cpu_model=changes.pop("cpu", "CPU A"),
        num_cores=2,
        isa=("avx2",),
        vnni=False,
        amx=False,
        bfloat16=False,
        governor=None,
        load_1min=0.1,
        memory_bytes=changes.pop("memory", 16_000_000_000),
        system="Linux",
        python="3.11",
        torch=changes.pop("torch", "2.14.1"),
        torchvision="0.29.1",
        engines=("onednn",),
        unreadable={},
    )
    known = RunIdentity(
        commit=None,
        dirty=None,
        arch="resnet50",
        preprocessing=Preprocessing(resize="whole", size=224, mean=(0, 0, 0), std=(1, 1, 1)),
        data=DataIdentity(
            name="demo",
            num_classes=8,
            num_train=1,
            num_val=1,
            num_test=1,
            num_skipped=0,
            sha256="d",
        ),
        weights=WeightSource(kind="none", name="none", sha256=None),
        checkpoint_sha256={},
        quantization=None,
        machine=machine,
        narrowed=False,
    )
    return dataclasses.replace(known, **changes)


def saved(number: int, allocator: str = "default", **changes: Any) -> SavedRun:
    """Return a saved run of two cases."""
    return SavedRun(
        path=Path(f"folder/{number:04}_resnet50.json"),
        benchmarks={
            "bench/t.py::a": {"stats": {"median": 1.0}, "extra_info": {}},
            "bench/t.py::b": {"stats": {"median": 2.0}, "extra_info": {}},
        },
        identity=identity(**changes),
        allocator=allocator,
    )


class Storage:
    """pytest-benchmark's storage as far as it is asked here."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def query(self, pattern: str) -> list[Path]:
        """Return the files whose names begin so."""
        return sorted(self.path.glob(f"{pattern}*.json"))

    def __str__(self) -> str:
        """Return the folder."""
        return str(self.path)


def test_the_newest_run_that_fits_is_the_baseline() -> None:
    """Of two whole runs of the same machine the later one is taken."""
    choice = choose_baseline([saved(1), saved(2)], True, identity(), "default")
    assert [run.name for run in choice.runs] == ["0002_resnet50"]
    assert choice.lines == ("comparing with 0002_resnet50",)


@pytest.mark.parametrize(
    ("newer", "reason"),
    [
        (saved(2, narrowed=True), "narrowed"),
        (saved(2, not_a_baseline="regressed"), "failed"),
        (saved(2, cpu="CPU B"), "of another CPU"),
        (saved(2, memory=8_000_000_000), "of another machine"),
        (saved(2, arch="resnet18"), "of another model"),
        (saved(2, data=dataclasses.replace(identity().data, sha256="e")), "of other data"),
        (saved(2, weights=WeightSource(kind="file", name="f", sha256="f")), "of other weights"),
        (saved(2, allocator="retain"), "with another allocator"),
        (
            saved(2, preprocessing=dataclasses.replace(identity().preprocessing, size=64)),
            "of another preprocessing",
        ),
    ],
)
def test_a_run_that_does_not_fit_is_passed_over(newer: SavedRun, reason: str) -> None:
    """An older run that fits is taken instead; without one the reason is told."""
    choice = choose_baseline([saved(1), newer], True, identity(), "default")
    assert [run.name for run in choice.runs] == ["0001_resnet50"]
    alone = choose_baseline([newer], True, identity(), "default")
    assert alone.runs == ()
    assert f"none of the 1 saved runs fits (1 {reason})" in alone.lines[0]


def test_a_run_of_another_suite_is_no_baseline() -> None:
    """Without our identity nobody knows what was measured."""
    foreign = dataclasses.replace(saved(1), identity=None)
    assert "1 of another suite" in choose_baseline([foreign], True, identity(), "d").lines[0]
    assert differences(foreign, identity(), "d") == ["it holds nothing of this suite"]


def test_another_torch_is_a_fair_comparison() -> None:
    """What an upgrade does to times is a question of its own."""
    assert choose_baseline([saved(1, torch="2.13")], True, identity(), "default").runs


def test_a_named_run_of_something_else_is_taken_with_all_that_differs() -> None:
    """The warning lists the fields with both values; memory within 5% is the same memory."""
    run = saved(1, arch="resnet18", torch="2.13", memory=15_900_000_000)
    choice = choose_baseline([run], "0001", identity(), "default")
    assert choice.runs == (run,)
    assert choice.lines[1].startswith("WARNING: 0001_resnet50 was measured on something else")
    assert choice.lines[1].endswith(
        "torch 2.13 there, 2.14.1 here; model resnet18 there, resnet50 here"
    )


def test_a_named_run_of_this_machine_has_no_warning() -> None:
    """Nothing differs, nothing is said."""
    assert choose_baseline([saved(1)], "0001", identity(), "default").lines == (
        "comparing with 0001_resnet50",
    )


def test_a_number_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """The numbers that there are stand in the message."""
    (tmp_path / "0003_x.json").write_text(json.dumps({"benchmarks": []}))
    with pytest.raises(pytest.UsageError, match=r"=0009: there is no such run .* one of 0003"):
        find_runs(Storage(tmp_path), "0009")


def test_the_first_number_may_be_named_before_there_is_a_run(tmp_path: Path) -> None:
    """`--benchmark-compare=0001` in a fresh clone runs, any other number is a mistake."""
    assert find_runs(Storage(tmp_path), "0001") == ()
    with pytest.raises(pytest.UsageError, match="none yet, since none was saved"):
        find_runs(Storage(tmp_path), "0002")


def test_an_unreadable_file_is_no_run(tmp_path: Path) -> None:
    """A truncated file and one that is no benchmark are left out."""
    (tmp_path / "0001_x.json").write_text('{"benchmarks": [')
    (tmp_path / "0002_x.json").write_text("[]")
    assert find_runs(Storage(tmp_path), True) == ()


def test_regressions_are_judged_by_each_check() -> None:
    """1.2 s against 1 s is more than 10% and not more than 50%; equal times are fine."""
    checks = [parse_compare_fail("median:10%"), parse_compare_fail("median:50%")]
    current = {
        "bench/t.py::a": {"median": 1.2, "extra_info": {}},
        "bench/t.py::b": {"median": 2.0, "extra_info": {}},
        "bench/t.py::new": {"median": 9.0, "extra_info": {}},
    }
    (line,) = regressions(checks, current, [saved(1)])
    assert line.startswith("bench/t.py::a: median 1.2 s, 0001_resnet50 has 1 s (Percentage")


def test_peak_memory_is_not_judged_by_its_time() -> None:
    """Its one round is the life of a process."""
    current = {
        "bench/t.py::a": {
            "median": 9.0,
            "extra_info": {"indoor": {"case": "peak-memory"}},
        }
    }
    assert regressions([parse_compare_fail("median:10%")], current, [saved(1)]) == []


def test_cases_that_only_one_run_has_are_listed() -> None:
    """Both directions, by the tests' names, long lists cut short."""
    missing, new = unmatched(["bench/t.py::a", *(f"bench/t.py::n{i}" for i in range(8))], saved(1))
    assert missing.endswith("(not measured now, renamed or removed): b")
    assert new.endswith("(new or renamed): n0, n1, n2, n3, n4, n5 and 2 more")
    assert unmatched(["bench/t.py::a", "bench/t.py::b"], saved(1)) == []


def test_the_fed_timer_gives_the_rounds_exactly_and_then_real_time() -> None:
    """Pairs of readings differ by the rounds bit for bit."""
    rounds = [0.1, 1 / 3, 123456.789]
    replayed_rounds.feed(rounds)
    starts_and_ends = [(replayed_rounds(), replayed_rounds()) for _ in rounds]
    assert [end - start for start, end in starts_and_ends] == rounds
    before = replayed_rounds()
    assert 0 < before < replayed_rounds()


def test_a_replayed_call_is_computed_in_the_last_round_only() -> None:
    """Three rounds, one computation; later calls, such as a profiler's, compute."""
    computed: list[int] = []

    def call() -> int:
        computed.append(1)
        return len(computed)

    replay = Replay(call, [0.1, 0.1, 0.1])
    assert [replay() for _ in range(5)] == [None, None, 1, 2, 3]


def test_finished_cells_come_back_bit_for_bit(tmp_path: Path) -> None:
    """What one process stored another one loads, and counts it as resumed."""
    stored = PartialRun(tmp_path / "key").store(CELL, ("float32",), "default", SERIES, None)
    later = PartialRun(tmp_path / "key")
    assert later.load(CELL, ("float32",), "default") == stored
    assert later.num_resumed == later.num_kept == 1


@pytest.mark.parametrize(
    ("cell", "names", "allocator"),
    [
        (Cell(batch=8, threads=1), ("float32",), "default"),
        (CELL, ("float32", "int8"), "default"),
        (CELL, ("float32",), "retain"),
    ],
)
def test_other_cells_are_not_taken_for_finished(
    tmp_path: Path, cell: Cell, names: tuple[str, ...], allocator: str
) -> None:
    """Batch, threads, the variants beside it and the allocator decide what was measured."""
    finished = PartialRun(tmp_path / "key")
    finished.store(CELL, ("float32",), "default", SERIES, None)
    assert finished.load(cell, names, allocator) is None


def test_a_broken_cell_is_measured_again(tmp_path: Path) -> None:
    """A file that is no cell counts as none, and so does one with other variants in it."""
    finished = PartialRun(tmp_path / "key")
    finished.store(CELL, ("float32",), "default", SERIES, None)
    (path,) = (tmp_path / "key").iterdir()
    path.rename(path.with_name("batch8-threads2-default-int8.json"))
    assert finished.load(CELL, ("int8",), "default") is None
    path.write_text("{")
    assert finished.load(CELL, ("float32",), "default") is None


def test_saved_cells_are_removed_and_others_stay(tmp_path: Path) -> None:
    """A narrowed run that is saved leaves the interrupted run's other cells alone."""
    folder = tmp_path / ".partial" / "key"
    PartialRun(folder).store(CELL, ("float32",), "default", SERIES, None)
    narrowed = PartialRun(folder)
    narrowed.store(Cell(batch=1, threads=1), ("float32",), "default", SERIES, None)
    narrowed.discard()
    assert [path.name for path in folder.iterdir()] == ["batch8-threads2-default-float32.json"]
    last = PartialRun(folder)
    assert last.load(CELL, ("float32",), "default") is not None
    last.discard()
    assert list(tmp_path.iterdir()) == []


def test_fresh_forgets_the_interrupted_run(tmp_path: Path) -> None:
    """--fresh removes what there is."""
    PartialRun(tmp_path / "key").store(CELL, ("float32",), "default", SERIES, None)
    assert PartialRun(tmp_path / "key", fresh=True).load(CELL, ("float32",), "default") is None


def test_the_key_changes_with_anything_in_the_configuration() -> None:
    """Same values, same key; one digit of one hash, another one."""
    assert partial_key("a", {"float32": "1"}) == partial_key("a", {"float32": "1"})
    assert partial_key("a", {"float32": "1"}) != partial_key("a", {"float32": "2"})


def settings(**changes: Any) -> Settings:
    """Return the default settings, with what is given."""
    values: dict[str, Any] = dict.fromkeys(
        (field.name for field in dataclasses.fields(Settings)), None
    )
    return Settings(
        **{**values, "full": False, "compare_fail": (), "allow_other_machine": False, **changes}
    )


@pytest.mark.parametrize(
    ("wanted", "num_cores", "expected"),
    [
        (None, 2, (1, 2)),
        (None, 1, (1,)),
        ((1, 2, 4, ALL), 2, (1, 2)),
        ((ALL, 4, 1), 8, (1, 4, 8)),
        ((16, 1), 8, (1,)),
    ],
)
def test_threads_are_resolved_for_the_machine(
    wanted: tuple[int | str, ...] | None, num_cores: int, expected: tuple[int, ...]
) -> None:
    """`all` becomes its number, duplicates and those above the cores are left out."""
    assert settings(threads=wanted).suite_threads(num_cores) == expected


@pytest.mark.parametrize(
    "words",
    [
        ("--benchmark-compare-fail=min:5%", "--benchmark-compare-fail=median:9%"),
        ("--benchmark-compare-fail", "min:5%", "--benchmark-compare-fail=median:9%"),
        ("--benchmark-compare-fail", "min:5%", "-q", "--benchmark-compare-fail", "median:9%"),
        ("--benchmark-compare-fail", "min:5%", "median:9%", "--fresh"),
    ],
)
def test_no_check_of_the_comparison_is_dropped(words: tuple[str, ...]) -> None:
    """However they are written and repeated; pytest-benchmark keeps the last option alone."""
    last = max(i for i, word in enumerate(words) if word.startswith("--benchmark-compare-fail"))
    kept = [word.partition("=")[2] or word for word in words[last:] if "%" in word]
    option = SimpleNamespace(args=("bench", *words))
    config: Any = SimpleNamespace(
        invocation_params=option,
        getoption=lambda *_: [parse_compare_fail(text) for text in kept],
    )
    fields = [(check.field, check.threshold) for check in options._compare_fail(config)]
    assert fields == [("min", 5), ("median", 9)]


def test_only_threads_above_the_cores_are_a_mistake() -> None:
    """A run without a case would look like success."""
    with pytest.raises(pytest.UsageError, match="--threads 4,8: expected 2"):
        settings(threads=(4, 8)).suite_threads(2)


def test_the_full_matrix_has_batch_32_and_more_threads() -> None:
    """The default leaves both out."""
    assert settings().suite_batches == (1, 8, 16)
    assert settings(full=True).suite_batches == (1, 8, 16, 32)
    assert settings(full=True).suite_threads(8) == (1, 2, 4, 8)
