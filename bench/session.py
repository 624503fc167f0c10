"""One run of the suite from preparation to the saved file; registered only for the suite."""

import sys
import time
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.adapter import as_saved, without_memory
from bench.cases import (
    CASES,
    in_order,
    is_of_a_limit,
    left_out,
    left_to_the_full_run,
    memory_batch,
    variants,
)
from bench.gate_option import run_gate
from bench.measuring import Shared
from bench.options import ROOT, SHARED, Settings, mistakes_in_one_line
from bench.saving import Saving, write_comparison, write_nothing_saved, write_tables
from bench.terminal import say
from indoor.cli.bar import Bar
from indoor.devices import EVENTS, describe_device, use_threads
from indoor.errors import IndoorError
from indoor.files import check_writable
from indoor.gate.sides.repository import resolve_revision
from indoor.hints import command_line
from indoor.machine import (
    code_identity,
    code_sha256,
    identify_code,
    num_usable_cores,
    read_environment,
    read_machine,
)
from indoor.measure import current_allocator
from indoor.pipeline import Prepared, prepare
from indoor.records import RunIdentity
from indoor.runs.baseline import Choice, choose_baseline, find_runs, refuse_other_machines
from indoor.runs.comparable import Subject, unfinished_key
from indoor.runs.partial import PartialRun
from indoor.runs.results import seal
from indoor.runs.saved import SavedRun
from indoor.runs.storage import gate_record, lost_promotions
from indoor.runtimes import native_variants

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
        self._runs: tuple[SavedRun, ...] = ()
        self._choice = Choice(runs=(), lines=())
        self._saving = Saving(config, settings)
        self._interrupted = False
        self._began = time.time()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Refuse what can be refused before anything is collected, prepared or measured.

        Raises:
            pytest.UsageError: One line.
        """
        self._settings.suite_threads(num_usable_cores())
        if self._saves:
            with mistakes_in_one_line():
                self._runs = self._saved_runs()
                self._check_places()

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out what only the full matrix shows."""
        full = self._settings.full and not self._settings.on_gpu  # whose memory glibc has none of
        names = {module for module, _, _ in CASES} | ({FULL_ONLY} if full else set())
        is_test = collection_path.parent == BENCH and collection_path.name.startswith("test_")
        return True if is_test and collection_path.name not in names else None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Shuffle the cells of a run that times something."""
        if not (self._bench_session.disabled or self._config.option.collectonly):
            items[:] = in_order(items, self._settings.seed)

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
        with mistakes_in_one_line(), use_threads(None):
            prepared = prepare(
                self._settings.data,
                self._settings.weights,
                home=self._settings.home,
                arch=self._settings.arch,
                keeps_int8=self._settings.keeps_int8,
                skip_broken=self._settings.skip_broken,
                allow_download=self._settings.allow_download,
                evaluates=not self._bench_session.disabled,  # only a saved run tells accuracies
                device=self._settings.device,
                variants=variants(self._settings),
                static_batch=memory_batch(self._settings),
                progress=Bar(),
                say=lambda line: say(self._config, line),
            )
            took = time.perf_counter() - began
            say(self._config, f"prepared {prepared.run_folder.name} in {took:.1f} s")
            self._share(prepared)
            shared = self._config.stash[SHARED]
            if not self._bench_session.disabled and any(map(is_of_a_limit, session.items)):
                shared.try_limits()  # again at the end: other work may take a part of one look

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Tell in one line what is wrong with the world outside, such as a runtime that died."""
        try:
            yield
        except IndoorError as error:
            if not item.path.is_relative_to(BENCH):
                raise
            raise pytest.fail.Exception(str(error), pytrace=False) from None

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
        ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        whole = ended and not self._interrupted
        with self._saving.judged(
            self._choice,
            whole=whole,
            failed=bool(session.testsfailed),
            num_resumed=self._finished.num_resumed if self._finished else 0,
        ):
            yield
        if self._saving.problem:
            print(  # noqa: T201 - also with -q, and where no summary comes any more
                f"\nnot saved: {self._saving.problem}; the finished cells are kept, the same "
                "command goes on from there",
                file=sys.stderr,
            )
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
            return
        if self._saving.saved() and self._finished is not None:
            self._finished.discard()
        if self._settings.gate and not self._config.option.collectonly:
            session.exitstatus = self._ask_the_gate(session.exitstatus)
        if self._saving.regressions and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print our tables below pytest-benchmark's."""
        if not self._saves:
            return
        if self._bench_session.disabled:
            write_nothing_saved(terminalreporter, self._config.option)
            return
        saved = self._saving.saved()
        if saved is not None:
            write_tables(terminalreporter, saved, self._choice, self._settings.html)
            if self._finished is not None and self._finished.num_resumed:
                resumed = self._finished.num_resumed
                terminalreporter.write_line(
                    f"{resumed} {'cell is that' if resumed == 1 else 'cells are those'} of an "
                    "interrupted run with the same code, data and settings (--fresh measures all "
                    "again)"
                )
            write_comparison(
                terminalreporter,
                self._choice,
                self._saving.regressions,
                self._saving.unmatched_lines(self._choice),
            )
        elif self._finished is not None and self._finished.num_kept:
            kept = self._finished.num_kept
            terminalreporter.write_line(
                f"not saved; {kept} finished {'cell is' if kept == 1 else 'cells are'} kept, the "
                "same command goes on from there (--fresh forgets them)"
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_benchmark_group_stats(self) -> Generator[None, Any, Any]:
        """Leave peak memory to our tables, which have its unit."""
        return without_memory((yield))

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

    @pytest.hookimpl(trylast=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Seal the file, once nobody changes it any more."""
        output_json["indoor"] = seal(as_saved(output_json))

    def _share(self, prepared: Prepared) -> None:
        settings = self._settings
        options = self._bench_session.options
        identity = _identify(settings, prepared, options)
        here = Subject(run=identity, allocator=current_allocator())
        code = code_sha256([ROOT / "indoor", ROOT / "bench"])
        how = (settings.cell_s, str(options["min_rounds"]), str(settings.percentiles))
        key = unfinished_key(here, code, *how)
        self._finished = PartialRun(self._saving.results / ".partial" / key, fresh=settings.fresh)
        shared = Shared(self._config, settings, prepared, identity, self._finished, self._began)
        self._config.stash[SHARED] = shared
        if self._bench_session.disabled:
            return
        for line in left_out(settings):
            say(self._config, line)
        say(
            self._config,
            f"measuring {', '.join(variants(settings))} side by side, batch "
            f"{_listed(settings.suite_batches)}, threads "
            f"{_listed(settings.suite_threads(num_usable_cores()))}: {settings.cell_s:g} s or "
            f"{shared.plan().min_rounds} rounds each, cells in the order of seed {settings.seed}",
        )
        if more := left_to_the_full_run(settings):
            say(self._config, f"left to --full or --variant: {', '.join(more)}")
        if self._saves and settings.compare is not None:
            self._choice = choose_baseline(
                self._runs, settings.compare, here, judges_times=bool(settings.compare_fail)
            )
            folders = {run.path.parent for run in self._runs}
            promote = command_line("results", "promote", "NUMBER", results=self._saving.results)
            for folder, name in lost_promotions(folders if settings.compare is True else ()):
                say(
                    self._config,
                    f"WARNING: {name} was promoted and is not in {folder.name} any more; "
                    f"promote another with `{promote}`",
                )
            for line in self._choice.lines:
                say(self._config, line)

    def _saved_runs(self) -> tuple[SavedRun, ...]:
        """Return the runs to choose a baseline from; a named one of another machine is refused."""
        if self._settings.compare is None:
            return ()
        runs = find_runs(self._saving.storage, self._settings.compare)
        if isinstance(self._settings.compare, str):
            refuse_other_machines(
                runs,
                read_machine(),
                allowed=self._settings.allow_other_machine,
                judges_times=bool(self._settings.compare_fail),
            )
        return runs

    def _check_places(self) -> None:
        """Refuse a place that no run can be saved in, and a revision that nobody knows."""
        options = self._config.option
        measures = not (self._bench_session.disabled or options.benchmark_skip)
        if measures and not (options.collectonly or options.showfixtures):
            check_writable(self._saving.results)
            dump = options.benchmark_json
            if dump is not None and dump.is_dir():
                raise IndoorError(f"--benchmark-json {dump}: it is a folder; expected a file")
            if dump is not None and not dump.exists():
                check_writable(dump.parent)
        if self._settings.gate:
            resolve_revision(ROOT, self._settings.gate)

    def _ask_the_gate(self, exitstatus: int) -> int:
        """Return the gate's exit status, or the suite's own where the suite did not end well."""
        revision = self._settings.gate
        if exitstatus != pytest.ExitCode.OK:
            say(self._config, f"--gate {revision}: did not run, since the suite did not end well")
            return exitstatus
        saved = self._saving.saved()
        name = saved.stem if saved else self._saving.name()
        out = gate_record(self._saving.results, name)
        return run_gate(self._config, self._settings, out)

    @property
    def _bench_session(self) -> Any:
        return self._saving.bench_session


def _identify(settings: Settings, prepared: Prepared, options: Mapping[str, Any]) -> RunIdentity:
    """Return the code, data, weights and machine of a run that begins now."""
    code = identify_code(ROOT)
    # pytest-benchmark's option changes times as a variable of the environment does.
    uncollected = {"garbage collection": "off"} if options["disable_gc"] else {}
    on_gpu = settings.device == "cuda"
    gpu = {"GPU": describe_device(settings.device)} if on_gpu else {}
    return RunIdentity(
        commit=code.commit,
        dirty=code.dirty,
        commit_unknown=code.unknown,
        arch=settings.arch,
        preprocessing=prepared.manifest.preprocessing,
        data=prepared.data,
        weights=prepared.manifest.weights,
        checkpoint_sha256=prepared.checkpoint_sha256,
        quantization=prepared.quantization,
        machine=read_machine(),
        narrowed=False,
        variants=native_variants(settings.device),
        timer=EVENTS if on_gpu else str(options["timer"]),
        order_seed=settings.seed,
        environment=read_environment() | uncollected | gpu,
    )


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)
