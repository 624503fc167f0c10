"""The hooks that make `pytest bench` what it is; `pytest tests` sees nothing but the options."""

import importlib.util
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.options import (
    ROOT,
    SETTINGS,
    SHARED,
    Settings,
    add_options,
    mistakes_in_one_line,
    read_settings,
)
from indoor.cli.parser import needing_the_whole_installation
from indoor.measure import allocator_environment, current_allocator

BENCH = ROOT / "bench"
OWN_STORAGE = "file://./.benchmarks"
"""pytest-benchmark's default for `--benchmark-storage`, which follows the working directory."""

COLUMNS = ["median", "iqr", "rounds"]
"""Of pytest-benchmark's table, so that a line nearly fits a terminal; the file has them all."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    add_options(parser)


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config) -> Any:
    """Give the checkpoints, photographs and measured cells that the suite's tests share."""
    return pytestconfig.stash[SHARED]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Start again with another allocator where `--allocator` asks for it (glibc reads it once)."""
    if not _touches_bench(config) or config.getoption("help") or config.getoption("collectonly"):
        return
    wanted = read_settings(config).allocator
    if wanted is None or wanted == current_allocator():
        return
    if sys.platform != "linux":
        raise pytest.UsageError(f"--allocator {wanted}: only glibc has it; expected Linux")
    started_as = Path(sys.argv[0])
    if "pytest" not in (started_as.stem, started_as.parent.name):
        raise pytest.UsageError(
            f"--allocator {wanted}: {started_as.name} called pytest, which cannot be started "
            "again; expected `pytest bench` or `python -m pytest bench`"
        )
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606 - this very command again
        sys.executable, [sys.executable, *sys.orig_argv[1:]], allocator_environment(wanted)
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set the storage of a run of the suite before pytest-benchmark reads its options."""
    _refuse_a_swallowed_path(config)
    if not _touches_bench(config):
        return
    settings = read_settings(config)
    config.stash[SETTINGS] = settings
    if not hasattr(config.option, "benchmark_storage"):
        raise pytest.UsageError("the suite needs pytest-benchmark; pip install pytest-benchmark")
    alone = _is_bench_alone(config)
    if alone:
        _refuse_workers(config)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Where its encoding lacks a table's lines, pytest would escape the whole table.
            sys.stdout.reconfigure(errors="replace")
    if alone and settings.compare_fail and settings.compare is None:
        raise pytest.UsageError(
            "--benchmark-compare-fail: nothing to compare with; expected --benchmark-compare, too"
        )
    if settings.allow_other_machine and not isinstance(settings.compare, str):
        raise pytest.UsageError(
            "--allow-other-machine: no run was named; expected --benchmark-compare=FILE, too"
        )
    if settings.gate and not alone:
        raise pytest.UsageError(
            f"--gate {settings.gate}: expected `pytest bench`, without other tests"
        )
    if config.getoption("benchmark_histogram"):
        _require_pygal()
    # A case whose output check fails never reaches its call; one error is enough.
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used at all")
    # Before the run is saved, and it would end the session: a checkout may be read-only.
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestCacheWarning")
    with mistakes_in_one_line(), needing_the_whole_installation("pytest bench"):
        from bench.cases import resolve_device  # torch, which no mistake above has to wait for
        from bench.session import SuiteSession

    settings = config.stash[SETTINGS] = resolve_device(settings)
    if alone:
        _own_the_storage(config, settings)
    config.pluginmanager.register(SuiteSession(config, settings, saves=alone), "indoor-bench")


def _own_the_storage(config: pytest.Config, settings: Settings) -> None:
    """Save every run, and leave what to compare with to us.

    pytest-benchmark would compare with the newest file whatever machine it is of, save a run before
    it judges it, and tell a regression or a missing file by a traceback.
    """
    option = config.option
    option.benchmark_compare = []
    option.benchmark_compare_fail = None
    if option.benchmark_storage == OWN_STORAGE:
        option.benchmark_storage = f"file://{settings.results}"
    if not option.benchmark_autosave and not _times_nothing(config):
        option.benchmark_autosave = settings.arch
    # The rounds themselves, so that somebody else can compute other intervals from them.
    option.benchmark_save_data = True
    option.benchmark_columns = option.benchmark_columns or COLUMNS
    if option.benchmark_name == "normal":
        option.benchmark_name = "short"


def _refuse_workers(config: pytest.Config) -> None:
    """Refuse xdist's workers, in which pytest-benchmark times nothing: green, and no figures.

    Raises:
        pytest.UsageError: One line.
    """
    workers = config.getoption("dist", "no") != "no" or config.getoption("tx", None)
    if workers and not hasattr(config, "workerinput") and not _times_nothing(config):
        raise pytest.UsageError(
            "xdist (-n, --dist): in its workers nothing is timed or saved, since they would "
            "disturb each other; expected `pytest bench -n 0`, or --benchmark-disable to check "
            "outputs alone"
        )


def _times_nothing(config: pytest.Config) -> bool:
    option = config.option
    return bool(option.collectonly or option.benchmark_skip or option.benchmark_disable)


def _refuse_a_swallowed_path(config: pytest.Config) -> None:
    """Say what became of the path in `pytest --benchmark-compare bench`.

    Raises:
        pytest.UsageError: The option's value is a path to tests.
    """
    value = config.getoption("benchmark_compare", None)
    if not isinstance(value, str):
        return
    path = config.invocation_params.dir / value.split("::")[0]
    if path.is_dir() or path.suffix == ".py":
        raise pytest.UsageError(
            f"--benchmark-compare took {value!r} for the number of a run; "
            f"expected `pytest {value} --benchmark-compare` or `--benchmark-compare=0001`"
        )


def _paths(config: pytest.Config) -> list[Path]:
    here = config.invocation_params.dir
    return [(here / str(argument).split("::")[0]).resolve() for argument in config.args]


def _is_bench_alone(config: pytest.Config) -> bool:
    """Return whether nothing but the suite was asked for."""
    paths = _paths(config)
    return bool(paths) and all(path.is_relative_to(BENCH) for path in paths)


def _touches_bench(config: pytest.Config) -> bool:
    """Return whether the suite will be collected, alone or with other tests."""
    return any(path.is_relative_to(BENCH) or BENCH.is_relative_to(path) for path in _paths(config))


def _require_pygal() -> None:
    """Refuse `--benchmark-histogram` at the start rather than with a traceback at the end.

    Raises:
        pytest.UsageError: One line.
    """
    # Not imported yet: it adds a finder to Python's that makes every later import warn.
    if importlib.util.find_spec("pygal") is None:
        raise pytest.UsageError(
            "--benchmark-histogram needs pygal; pip install 'pytest-benchmark[histogram]'"
        )
