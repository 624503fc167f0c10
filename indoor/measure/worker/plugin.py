"""The pytest plugin: `benchmark` times one round whenever the controller says so."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Generator  # noqa: UP035 - for older Pythons

from .cells import code_of, rules_of
from .clocks import stay_on
from .link import LINK, Link, die_with_parent
from .python import describe_python
from .rounds import Control, Rounds, give_stats
from .timing import answer

if TYPE_CHECKING:
    import pytest


class Worker:
    """The hooks of a worker's session."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._peers: tuple[int, ...] = ()
        self._known_modules: set[str] = set()
        self._failures: dict[str, tuple[str, str]] = {}
        self._timed: set[str] = set()
        self._control = Control()

    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Tell which cells there are, and keep those that the controller names, in its order."""
        yield
        cells = {
            item.nodeid: item for item in items if "benchmark" in getattr(item, "fixturenames", ())
        }
        if session.testsfailed:
            return  # pytest tells what could not be collected, and ends
        rules = {name: rules_of(item) for name, item in cells.items()}
        self._link.tell("collected", cells=rules, modules=self._new_modules())
        while (message := self._link.listen())["do"] == "describe":
            code = {name: code_of(item) for name, item in cells.items()}
            self._link.tell("described", **describe_python(), code=code)
        order, self._peers = message["cells"], tuple(message["peers"])
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in order])
        items[:] = [cells[name] for name in order]
        if config.pluginmanager.hasplugin("timeout"):
            import pytest

            for item in items:
                # Waiting for one's turn takes long; the first marker counts before a test's own.
                item.add_marker(pytest.mark.timeout(0), append=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember why a test failed, and after its end wait until the next may begin."""
        if report.outcome != "passed":
            self._failures.setdefault(report.nodeid, (report.outcome, line_of(report)))
        if report.when == "teardown":
            outcome, message = self._failures.get(report.nodeid, ("passed", ""))
            self._link.tell(
                "tested",
                cell=report.nodeid,
                outcome=outcome,
                message=message,
                timed=report.nodeid in self._timed,
                modules=self._new_modules(),
            )
            self._link.listen()

    def serve(self, rounds: Rounds) -> Any:
        """Time rounds as the controller asks until it lets the test go on.

        Returns:
            What the test gets back from `benchmark`.
        """
        cell = rounds.fixture.fullname
        if cell in self._timed:
            raise RuntimeError("benchmark was used twice in one test")
        self._timed.add(cell)
        self._link.tell("ready", cell=cell)
        try:
            iterations = self._time_on_demand(rounds)
        finally:
            stay_on(None)  # also where a round raised: the next test is to have all CPUs
        if not rounds.seconds:  # the other side's test ended early, which is no fault of this one
            rounds.seconds.append(rounds.time(iterations))
        result = rounds.final_result()
        give_stats(rounds.fixture, iterations, rounds.seconds)
        return result

    def _time_on_demand(self, rounds: Rounds) -> int:
        """Do what the controller says until the test is to go on; return the iterations."""
        iterations = 1
        while (message := self._link.listen())["do"] != "finish":
            if message.get("control"):
                told = answer(message, self._control.time)
            else:
                iterations = message.get("iterations", iterations)
                told = answer(message, rounds.time, self._peers, rounds.fixed_iterations)
                if message["do"] == "turn":
                    rounds.seconds.append(told["seconds"])
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


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of pytest-benchmark's own rounds, and keep it from saving and printing.

    Raises:
        pytest.UsageError: The tests would run in other processes than this one.
    """
    import pytest
    from pytest_benchmark.fixture import BenchmarkFixture

    limits = "margin, tolerance, wider, accepted"
    config.addinivalue_line("markers", f"gate({limits}): limits of indoor gate")
    die_with_parent()
    if LINK not in os.environ:
        return  # it collects facts, and times nothing
    option = config.option
    if getattr(option, "dist", "no") != "no":
        raise pytest.UsageError("the gate needs one process a tree; pass -n0 or -p no:xdist")
    for name in ("save", "autosave", "json", "compare", "compare_fail", "histogram", "cprofile"):
        setattr(option, "benchmark_" + name, None)
    option.benchmark_skip = False
    option.benchmark_quiet = True
    option.maxfail = 0  # one cell's failure is not the others'
    option.continue_on_collection_errors = False
    # Marked here, since a file without pytest cannot have decorators of it.
    pytest.hookimpl(hookwrapper=True, tryfirst=True)(Worker.pytest_collection_modifyitems)
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
        del rounds, warmup_rounds  # the controller's matter
        if setup and iterations > 1:
            raise ValueError("Can't use more than 1 `iterations` with a `setup` function.")
        asked = Rounds(fixture, target, args, kwargs or {}, setup, teardown, iterations)
        return worker.serve(asked)

    replaced: Any = BenchmarkFixture
    replaced._raw = call
    replaced._raw_pedantic = pedantic
    config.pluginmanager.register(worker, "indoor-gate-worker")
