"""One run of the suite from preparation to the saved file; registered only for the suite."""

import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import filelock
import pytest

from bench.baseline import Choice, choose_baseline, regressions, unmatched
from bench.cases import check_variants, default_names, variants
from bench.identity import configuration_key, identify_run, name_run
from bench.lab import MIN_ROUNDS, Lab
from bench.options import LAB, ROOT, Settings
from bench.partial import PartialRun
from bench.storage import find_runs
from bench.summary import write_comparison, write_tables
from bench.terminal import say
from indoor.cli.bar import Bar
from indoor.errors import IndoorError
from indoor.machine import code_identity, current_allocator, num_usable_cores
from indoor.pipeline import Prepared, prepare

__all__ = ["SuiteSession"]

BENCH = ROOT / "bench"
FULL_ONLY = "test_allocator.py"


class SuiteSession:
    """The hooks of a session that runs the suite.

    `saves` is whether the suite runs alone: only then are the storage and the comparison ours.
    """

    def __init__(self, config: pytest.Config, settings: Settings, *, saves: bool) -> None:
        self._config = config
        self._settings = settings
        self._saves = saves
        self._finished: PartialRun | None = None
        self._choice = Choice(runs=(), lines=())
        self._regressions: list[str] = []
        self._interrupted = False
        self._known: frozenset[Path] = frozenset()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Refuse what can be refused before anything is collected, prepared or measured.

        Raises:
            pytest.UsageError: One line.
        """
        check_variants(self._settings)
        self._settings.suite_threads(num_usable_cores())
        if self._config.getoption("benchmark_histogram"):
            _require_pygal()
        if self._saves and self._settings.compare is not None:
            find_runs(self._storage, self._settings.compare)

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out what only the full matrix shows."""
        if collection_path == BENCH / FULL_ONLY and not self._settings.full:
            return True
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Prepare what the collected cases need.

        Raises:
            pytest.UsageError: The data or the weights cannot be used; one line.
        """
        wanted = any(item.path.is_relative_to(BENCH) for item in session.items)
        options = self._config.option
        if not wanted or session.testsfailed or options.collectonly or options.benchmark_skip:
            return
        began = time.perf_counter()
        try:
            prepared = prepare(
                self._settings.data,
                self._settings.weights,
                home=self._settings.home,
                arch=self._settings.arch,
                skip_broken=self._settings.skip_broken,
                allow_download=self._settings.allow_download,
                progress=Bar(),
                say=lambda line: say(self._config, line),
            )
        except IndoorError as error:
            raise pytest.UsageError(str(error)) from error
        took = time.perf_counter() - began
        say(self._config, f"prepared {prepared.run_folder.name} in {took:.1f} s")
        self._open_lab(prepared)

    def pytest_keyboard_interrupt(self) -> None:
        """Remember it, whatever the exit status becomes: what is not whole is not saved."""
        self._interrupted = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, None, None]:
        """Judge the run before pytest-benchmark saves it, and tidy up once it is saved."""
        if not self._saves:
            yield
            return
        with ExitStack() as stack:
            self._before_saving(session, exitstatus, stack)
            self._known = frozenset(self._storage.query())
            yield
        if self._saved() and self._finished is not None:
            self._finished.discard()
        if self._regressions and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print our tables below pytest-benchmark's."""
        if not self._saves or self._bench_session.disabled:
            return
        saved = self._saved()
        if saved is not None:
            baselines = [self._storage.path / run.path for run in self._choice.runs]
            write_tables(terminalreporter, saved, baselines[0] if baselines else None)
            if self._finished is not None and self._finished.num_resumed:
                terminalreporter.write_line(
                    f"{self._finished.num_resumed} cells are those of an interrupted run with the "
                    "same code, data and settings (--fresh measures all again)"
                )
            write_comparison(
                terminalreporter, self._choice, self._regressions, self._unmatched_lines()
            )
        elif self._finished is not None and self._finished.num_kept:
            terminalreporter.write_line(
                f"not saved; {self._finished.num_kept} finished cells are kept, the same command "
                "goes on from there (--fresh forgets them)"
            )

    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Leave out the host's name, and the clock rates of this moment, which always differ."""
        machine_info["node"] = ""
        cpu = machine_info.get("cpu", {})
        for field in [field for field in cpu if field.startswith("hz_actual")]:
            del cpu[field]

    def pytest_benchmark_update_commit_info(self, commit_info: dict[str, Any]) -> None:
        """Give the suite's own commit; pytest-benchmark asks the working directory's."""
        commit, dirty = code_identity(ROOT)
        commit_info.update(id=commit or "unversioned", dirty=bool(dirty), project="indoor")

    def _open_lab(self, prepared: Prepared) -> None:
        settings = self._settings
        identity = identify_run(settings, prepared)
        min_rounds = str(self._bench_session.options["min_rounds"])
        key = configuration_key(settings, identity, min_rounds)
        self._finished = PartialRun(self._results / ".partial" / key, fresh=settings.fresh)
        self._config.stash[LAB] = Lab(self._config, settings, prepared, identity, self._finished)
        if self._bench_session.disabled:
            return
        say(
            self._config,
            f"measuring {', '.join(variants(settings))} side by side, batch "
            f"{_listed(settings.suite_batches)}, threads "
            f"{_listed(settings.suite_threads(num_usable_cores()))}: {settings.cell_s:g} s or "
            f"{MIN_ROUNDS} rounds each",
        )
        if self._saves and settings.compare is not None:
            self._choice = choose_baseline(
                find_runs(self._storage, settings.compare),
                settings.compare,
                identity,
                current_allocator(),
            )
            for line in self._choice.lines:
                say(self._config, line)

    def _before_saving(self, session: pytest.Session, exitstatus: int, stack: ExitStack) -> None:
        bench_session = self._bench_session
        entries = self._benchmarks()
        ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if self._interrupted or not ended or not entries:
            bench_session.save = bench_session.autosave = bench_session.json = None
            return
        missing = default_names(self._settings) - set(entries)
        if self._choice.runs:
            bench_session.compared_mapping = {
                run.path: dict(run.benchmarks) for run in self._choice.runs
            }
            self._regressions = regressions(self._settings.compare_fail, entries, self._choice.runs)
        reason = None
        if session.testsfailed:
            reason = "failed"
        elif self._regressions:
            reason = "regressed"
        self._stamp(entries, narrowed=bool(missing), reason=reason)
        if bench_session.autosave == self._settings.arch:
            bench_session.autosave = name_run(
                self._settings.arch, reason or ("narrowed" if missing else None)
            )
        self._results.mkdir(parents=True, exist_ok=True)
        # Two runs that save at once must not count to the same number.
        stack.enter_context(filelock.FileLock(self._results / ".lock"))

    def _stamp(self, entries: dict[str, Any], *, narrowed: bool, reason: str | None) -> None:
        """Write into each result what only the end of the run tells."""
        for entry in entries.values():
            run = entry.extra_info.get("indoor", {}).get("run")
            if run is not None:
                run["narrowed"] = narrowed
                run["not_a_baseline"] = "narrowed" if narrowed and not reason else reason

    def _saved(self) -> Path | None:
        """Return the file that pytest-benchmark has written for this run, if it has."""
        new = sorted(set(self._storage.query()) - self._known)
        return new[-1] if new else None

    def _unmatched_lines(self) -> list[str]:
        names = list(self._benchmarks())
        return [line for run in self._choice.runs for line in unmatched(names, run)]

    def _benchmarks(self) -> dict[str, Any]:
        """Return this run's benchmarks by node id, those that failed left out."""
        return {b.fullname: b for b in self._bench_session.benchmarks if b and not b.has_error}

    @property
    def _bench_session(self) -> Any:
        return self._config._benchmarksession  # type: ignore[attr-defined]

    @property
    def _storage(self) -> Any:
        return self._bench_session.storage

    @property
    def _results(self) -> Path:
        path = getattr(self._storage, "path", None)
        return path if isinstance(path, Path) else self._settings.results


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _require_pygal() -> None:
    """Refuse `--benchmark-histogram` at the start rather than with a traceback at the end.

    Raises:
        pytest.UsageError: One line.
    """
    try:
        import pygal  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        raise pytest.UsageError(
            "--benchmark-histogram needs pygal; pip install 'pytest-benchmark[histogram]'"
        ) from error
