"""The suite's parts without pytest around them: replay, options, output checks."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytest_benchmark.utils import parse_compare_fail
from report_records import identity

from bench import measuring, options, session
from bench.adapter import Replay, replayed_rounds
from bench.cases import default_names, left_out, resolve_device
from bench.options import ALL, Settings
from indoor.errors import IndoorError
from indoor.machine import UnreadableError
from indoor.runs.partial import Cell


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


@pytest.mark.parametrize(
    ("wanted", "num_cores", "num_physical", "expected"),
    [
        (("physical",), 8, 4, (4,)),
        ((1, "physical", ALL), 8, 4, (1, 4, 8)),
        (("physical", ALL), 4, 4, (4,)),
        (("physical",), 2, 4, (2,)),
        (("physical", 16), 2, 1, (1,)),
    ],
    ids=["hyper-threads", "beside all", "without hyper-threads", "quota", "siblings of one core"],
)
def test_physical_is_one_thread_a_core(
    monkeypatch: pytest.MonkeyPatch,
    wanted: tuple[int | str, ...],
    num_cores: int,
    num_physical: int,
    expected: tuple[int, ...],
) -> None:
    """`all` stays the usable CPUs; neither is more than a quota lets run."""
    monkeypatch.setattr(options, "usable_physical_cores", lambda: num_physical)
    assert settings(threads=wanted).suite_threads(num_cores) == expected


def test_physical_says_where_nobody_knows_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the reason, and what may be given instead."""

    def unreadable() -> int:
        raise UnreadableError("the kernel does not tell which CPUs share a core")

    monkeypatch.setattr(options, "usable_physical_cores", unreadable)
    with pytest.raises(
        pytest.UsageError, match=r"^--threads physical: the kernel .* expected numbers .* or all$"
    ):
        settings(threads=("physical",)).suite_threads(8)
    assert settings(threads=(1, ALL)).suite_threads(8) == (1, 8)


@pytest.mark.parametrize("text", ["cores", "Physical", "-1", "all2", "1.5"])
def test_other_words_for_threads_are_a_mistake(text: str) -> None:
    """The line lists both words."""
    with pytest.raises(pytest.UsageError, match=f"--threads {text}: expected .* all or physical"):
        options._threads(text)


def test_only_threads_above_the_cores_are_a_mistake() -> None:
    """A run without a case would look like success."""
    with pytest.raises(pytest.UsageError, match="--threads 4,8: expected 2"):
        settings(threads=(4, 8)).suite_threads(2)


def test_the_full_matrix_has_batch_32_and_more_threads() -> None:
    """The default leaves both out."""
    assert settings().suite_batches == (1, 8, 16)
    assert settings(full=True).suite_batches == (1, 8, 16, 32)
    assert settings(full=True).suite_threads(8) == (1, 2, 4, 8)


@pytest.mark.parametrize("disabled", [False, True])
def test_garbage_that_is_not_collected_is_recorded(disabled: bool) -> None:
    """--benchmark-disable-gc changes times, so it stands beside the environment's variables."""
    known = identity()
    prepared: Any = SimpleNamespace(
        manifest=SimpleNamespace(preprocessing=known.preprocessing, weights=known.weights),
        data=known.data,
        checkpoint_sha256={},
        quantization=None,
    )
    options = {"timer": "time.perf_counter", "disable_gc": disabled}
    run = session._identify(settings(arch="resnet50", device="cpu"), prepared, options)
    assert run.timer == "time.perf_counter"
    assert run.environment is not None
    assert run.environment.get("garbage collection") == ("off" if disabled else None)


def test_nothing_is_kept_of_checkpoints_that_changed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another command put into the run's folder is not recorded as the prepared int8."""
    (tmp_path / "int8.safetensors").write_bytes(b"another")
    nobodys: Any = None
    shared = measuring.Shared(
        nobodys,
        settings(device="cpu", variants=("float32", "int8")),
        SimpleNamespace(run_folder=tmp_path, checkpoint_sha256={"int8": "0" * 64}),  # type: ignore[arg-type]
        identity(),
        SimpleNamespace(load=lambda *_: None, store=lambda *_: pytest.fail("kept")),  # type: ignore[arg-type]
    )
    monkeypatch.setattr(shared, "_subject", lambda *_: None)
    monkeypatch.setattr(shared, "_take_turns", lambda *_: ({"int8": None}, None))
    with pytest.raises(IndoorError, match=r"a checkpoint changed while .* measured"):
        shared.cell(Cell(batch=1, threads=1))
    with pytest.raises(IndoorError, match=r"a checkpoint changed while .* measured"):
        shared.measurement("load", "int8")


def test_the_device_is_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` becomes its name before cells are made, and a missing one is told in one line."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device(settings(device="auto")).device == "cpu"
    with pytest.raises(pytest.UsageError, match=r"^--device: device 'cuda' is not usable .* cpu;"):
        resolve_device(settings(device="cuda"))


@pytest.mark.parametrize(
    ("threads", "num_cores", "lines"),
    [
        ((1, 2), 1, ("left out --threads 2: this process may use 1 core",)),
        ((1, 4, 8), 2, ("left out --threads 4, 8: this process may use 2 cores",)),
        ((64, ALL), 8, ("left out --threads 64: this process may use 8 cores",)),
        ((1, 2), 2, ()),
        ((ALL,), 1, ()),
        (None, 1, ()),
    ],
    ids=["taskset", "two-too-many", "beside-all", "fits-control", "all-control", "none-control"],
)
def test_numbers_of_threads_that_were_named_and_are_not_measured_are_told(
    monkeypatch: pytest.MonkeyPatch,
    threads: tuple[int | str, ...] | None,
    num_cores: int,
    lines: tuple[str, ...],
) -> None:
    """In a container or under taskset a number that was asked for does not vanish in silence."""
    monkeypatch.setattr("bench.cases.num_usable_cores", lambda: num_cores)
    monkeypatch.setattr("bench.cases.why_not", lambda _: None)
    assert left_out(settings(threads=threads)) == lines


def test_what_a_device_cannot_run_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variant that was named is refused; one that was not is left out with the reason."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda _: True)
    reason = "torch computes eager int8 on the CPU only, not on cuda"
    with pytest.raises(pytest.UsageError, match=rf"^--variant int8: {reason}; expected one of"):
        resolve_device(settings(device="cuda", variants=("float32", "int8")))
    assert f"left out int8: {reason}" in left_out(settings(device="cuda"))
    assert left_out(settings(device="cuda", variants=("float32",))) == ()


def test_another_device_stands_in_a_cells_words_and_its_tests_name() -> None:
    """On the CPU both are what they have always been."""
    assert str(Cell(batch=8, threads=1)) == "batch 8, 1 thread"
    assert str(Cell(batch=8, threads=1, device="cuda")) == "batch 8, 1 thread, cuda"
    narrow = {"variants": ("float32",), "batches": (8,), "threads": (1,)}
    names = default_names(settings(device="cuda", **narrow))
    assert "bench/test_artifacts.py::test_load[float32-cuda]" in names
    names = default_names(settings(device="cpu", **narrow))
    assert "bench/test_artifacts.py::test_load[float32]" in names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tiny", "home/runs/tiny/float32.safetensors"),
        ("home/runs/tiny", "home/runs/tiny/float32.safetensors"),
        ("../home/runs/tiny/", "home/runs/tiny/float32.safetensors"),
        ("best.pt", "here/best.pt"),
        ("home/runs/tiny/other.pt", "home/runs/tiny/other.pt"),
        ("~/best.pt", "here/best.pt"),
        ("latest", "home/runs/tiny/float32.safetensors"),
    ],
)
def test_weights_are_a_file_or_a_run(
    text: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pytest bench --weights` takes a run's name and folder, from where it was called."""
    here, home = tmp_path / "here", tmp_path / "home"
    (home / "runs" / "tiny").mkdir(parents=True)
    here.mkdir()
    for name in ("home/runs/tiny/float32.safetensors", "home/runs/tiny/other.pt", "here/best.pt"):
        (tmp_path / name).touch()
    (here / "latest").symlink_to(home / "runs" / "tiny")
    (here / "home").symlink_to(home)
    monkeypatch.setenv("HOME", str(here))
    assert options._weights(text, home, here) == tmp_path / found


@pytest.mark.parametrize("text", ["no.pt", "nobody", "empty", "runs/none"])
def test_weights_that_are_neither_are_one_line(text: str, tmp_path: Path) -> None:
    """The option, what was given and the runs that there are."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(pytest.UsageError, match=f"^--weights .*{text}.*expected") as refused:
        options._weights(text, tmp_path, tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def test_what_an_artefact_has_to_say_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Why one was made again is a line of the suite, once, when its variant is loaded."""
    said: list[str] = []
    loaded = SimpleNamespace(notes=("it is made again: damaged",))
    monkeypatch.setattr(measuring, "load_variant", lambda *_, **__: loaded)
    monkeypatch.setattr(measuring, "say", lambda _, line: said.append(line))
    prepared: Any = SimpleNamespace(run_folder=Path("run"))
    nothing: Any = None
    shared = measuring.Shared(nothing, settings(device="cpu"), prepared, nothing, nothing)
    assert shared.loaded("float32", 1) is shared.loaded("float32", 1) is loaded
    assert said == ["it is made again: damaged"]
