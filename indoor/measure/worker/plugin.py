"""The pytest plugin: `benchmark` times one round whenever the controller says so."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Generator  # noqa: UP035 - for older Pythons

from . import codspeed
from .cells import cells_of, code_of, is_whole, places_of, rules_of
from .clocks import Real, stay_on
from .link import LINK, Link, die_with_parent
from .python import describe_python
from .rounds import Asked, Control, NothingTimedError, Rounds, give_stats
from .timing import answer

if TYPE_CHECKING:
    import pytest

DEFAULT_CLOCK = "time.perf_counter"
"""As `--benchmark-timer` names it."""

ASKED = {"benchmark_timer": DEFAULT_CLOCK}
"""What the command line says, read before a conftest can freeze the clock of that name."""


class Worker:
    """The hooks of a worker's session."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._peers: tuple[int, ...] = ()
        self._known_modules: set[str] = set()
        self._failures: dict[str, tuple[str, str]] = {}
        self._cells: dict[str, str] = {}
        """The cells' names by the ids of their tests."""
        self._whole: set[str] = set()
        """Tests that are timed as a whole."""
        self._refused: dict[str, str] = {}
        """Why nothing of a test can be timed."""
        self._limits: dict[str, dict[str, int]] = {}
        """What a test asked for whose target did not bear more."""
        self._own_clocks: set[str] = set()
        """Tests that name a clock of their own."""
        self._timed: set[str] = set()
        self._control = Control()

    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Tell which cells there are, and keep those that the controller names, in its order."""
        yield
        if session.testsfailed:
            return  # pytest tells what could not be collected, and ends
        cells = cells_of(items, places_of(str(config.rootpath)))
        self._cells = {item.nodeid: name for name, item in cells.items()}
        whole = [name for name, item in cells.items() if is_whole(item)]
        self._link.tell(
            "collected",
            cells={name: rules_of(item) for name, item in cells.items()},
            whole=whole,
            unmeasured=[
                item.nodeid
                for item in items
                if item.nodeid not in self._cells and item.get_closest_marker("gate")
            ],
            modules=self._new_modules(),
        )
        while (message := self._link.listen())["do"] == "describe":
            code = {name: code_of(item) for name, item in cells.items()}
            self._link.tell("described", **describe_python(), code=code)
        order, self._peers = message["cells"], tuple(message["peers"])
        kept = {cells[name].nodeid for name in order}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
        items[:] = [cells[name] for name in order]
        codspeed.drop_foreign_settings(items)
        default = ASKED["benchmark_timer"] == DEFAULT_CLOCK
        for item in items:
            marker = item.get_closest_marker("benchmark")
            if not default or (marker is not None and "timer" in marker.kwargs):
                self._own_clocks.add(item.nodeid)
        for name in set(whole) & set(order):
            # Its fixture is made in the test's own setup, as if the test had asked for it.
            names: list[str] = cells[name].fixturenames  # type: ignore[attr-defined]
            if "benchmark" not in names:  # a test's parameters share one list
                names.append("benchmark")
        self._whole = {cells[name].nodeid for name in whole}
        if config.pluginmanager.hasplugin("timeout"):
            import pytest

            for item in items:
                # Waiting for one's turn takes long; the first marker counts before a test's own.
                item.add_marker(pytest.mark.timeout(0), append=False)

    def pytest_pyfunc_call(self, pyfuncitem: Any) -> object | None:
        """Hand a whole test to `benchmark` where its mark says so; the others are pytest's."""
        if pyfuncitem.nodeid not in self._whole:
            return None
        known = pyfuncitem.funcargs
        arguments = {name: known[name] for name in pyfuncitem._fixtureinfo.argnames}
        known["benchmark"](pyfuncitem.obj, **arguments)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember why a test failed, and after its end wait until the next may begin."""
        if report.outcome != "passed":
            self._failures.setdefault(report.nodeid, (report.outcome, line_of(report)))
        if report.when == "teardown":
            outcome, message = self._failures.get(report.nodeid, ("passed", ""))
            if report.nodeid in self._refused:
                outcome, message = "untimed", self._refused[report.nodeid]
            self._link.tell(
                "tested",
                cell=self._cells[report.nodeid],
                outcome=outcome,
                message=message,
                timed=report.nodeid in self._timed,
                limit=self._limits.get(report.nodeid),
                modules=self._new_modules(),
            )
            self._link.listen()

    def serve(self, rounds: Rounds) -> Any:
        """Time rounds as the controller asks until it lets the test go on.

        Returns:
            What the test gets back from `benchmark`.
        """
        # Waiting for one's turn takes long, and `faulthandler_timeout` may end the process.
        faulthandler.cancel_dump_traceback_later()
        test = rounds.fixture.fullname
        if test in self._timed:
            raise RuntimeError("benchmark was used twice in one test")
        self._timed.add(test)
        if test not in self._own_clocks:
            rounds.clock = Real.wall  # a test may have frozen the time
        cold = vars(rounds.asked) if rounds.asked and rounds.asked.is_cold else None
        self._link.tell("ready", cell=self._cells[test], cold=cold)
        try:
            iterations = self._time_on_demand(rounds)
            if not rounds.seconds:  # the other side's test ended early, no fault of this one
                rounds.seconds.append(rounds.time(iterations))
            result = rounds.final_result()
        except NothingTimedError as refused:
            self._refused[test] = str(refused)
            raise
        except Exception:
            if rounds.asked is not None and rounds.asked.had(rounds.num_done):
                self._limits[test] = vars(rounds.asked)
            raise
        finally:
            stay_on(None)  # also where a round raised: the next test is to have all CPUs
        give_stats(rounds.fixture, iterations, rounds.seconds)
        return result

    def _time_on_demand(self, rounds: Rounds) -> int:
        """Do what the controller says until the test is to go on; return the iterations."""
        iterations = rounds.fixed_iterations or 1
        while (message := self._link.listen())["do"] != "finish":
            if message["do"] == "leave":
                import pytest

                pytest.skip("the gate leaves it out")
            if message.get("control"):
                told = answer(message, self._control.time)
            else:
                iterations = message.get("iterations", iterations)
                told = answer(message, rounds.time, self._peers, rounds.fixed_iterations)
                if message["do"] == "turn":
                    rounds.seconds.append(told["seconds"])
                elif message["do"] == "calibrate" and told["seconds"] <= 0:
                    raise NothingTimedError(
                        f"its clock stood still for {told['iterations']} iterations; expected one "
                        "that runs while the target does: leave its timer out, or do not freeze it"
                    )
            self._link.tell(message["do"], **told)
        return iterations

    def _new_modules(self) -> dict[str, str]:
        """Return the files of the modules that were imported since the last call, by name."""
        found: dict[str, str] = {}
        for name, module in list(sys.modules.items()):
            if name in self._known_modules:
                continue
            self._known_modules.add(name)
            path = getattr(module, "__file__", None)
            # torch names files of some modules that do not exist, such as _classes.py.
            if isinstance(path, str) and Path(path).is_file():
                found[name] = str(Path(path).absolute())
        return found


def line_of(report: pytest.TestReport) -> str:
    """Return why a test failed or was skipped, in one line."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr or "")
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{report.when}: {lines[0].strip()}" if lines else str(report.when)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know what a suite for pytest-codspeed says on pytest's command line, and imports."""
    codspeed.accept_options(parser)
    codspeed.stand_in()


def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Remember which clock is asked for, while it still is that clock."""
    for name in ASKED:
        ASKED[name] = getattr(early_config.known_args_namespace, name, ASKED[name])


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of pytest-benchmark's own rounds, and keep it from saving and printing."""
    import pytest
    from pytest_benchmark.fixture import BenchmarkFixture

    limits = "margin, tolerance, wider, accepted"
    config.addinivalue_line("markers", f"gate({limits}): limits of indoor gate")
    codspeed.register(config)
    die_with_parent()
    if LINK not in os.environ:
        return  # it collects facts, and times nothing
    option = config.option
    for name in ("save", "autosave", "json", "compare", "compare_fail", "histogram", "cprofile"):
        setattr(option, "benchmark_" + name, None)
    for name, value in ASKED.items():
        setattr(option, name, value)
    option.benchmark_skip = False
    option.benchmark_quiet = True
    option.maxfail = 0  # one cell's failure is not the others'
    option.continue_on_collection_errors = False
    # Marked here, since a file without pytest cannot have decorators of it.
    pytest.hookimpl(hookwrapper=True, tryfirst=True)(Worker.pytest_collection_modifyitems)
    pytest.hookimpl(tryfirst=True)(Worker.pytest_pyfunc_call)
    pytest.hookimpl(trylast=True)(Worker.pytest_runtest_logreport)
    worker = Worker(Link())

    def call(fixture: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return worker.serve(Rounds(fixture, function, args, kwargs))

    def pedantic(
        fixture: Any,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        if setup and iterations > 1:
            raise ValueError("Can't use more than 1 `iterations` with a `setup` function.")
        asked = Asked(rounds, warmup_rounds, iterations)
        return worker.serve(Rounds(fixture, target, args, kwargs or {}, setup, teardown, asked))

    replaced: Any = BenchmarkFixture
    replaced._raw = call
    replaced._raw_pedantic = pedantic
    config.pluginmanager.register(worker, "indoor-gate-worker")
