"""A pytest plugin, loaded by path, in which `benchmark` times one round whenever it is told to.

The controller copies this file beside the suite's own plugins, so the tree that is measured needs
to know nothing of the gate; it imports nothing but the standard library, pytest and
pytest-benchmark. Messages are lines of JSON over two pipes, whose descriptors are named by
INDOOR_GATE_IN and INDOOR_GATE_OUT. A worker runs only between a message to it and its answer.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import json
import mmap
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, Generator  # noqa: UP035 - a tree's Python may be older than ours

import pytest
from pytest_benchmark.fixture import BenchmarkFixture, PauseInstrumentation

NEEDED = ("_make_runner", "_make_stats", "_raw", "_raw_pedantic")
"""What is called or replaced here of pytest-benchmark's fixture, which promises none of it."""

CONTROL_BYTES = 128 * 1024
"""Fits the second-level cache of every CPU of the last ten years."""

ALL_CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
"""Where this process may run."""

PR_SET_PDEATHSIG = 1
WARMUP_CALLS = 2

CPUCLOCK_SCHED = 2
"""Linux makes the clock's number of a process's and this one (linux/posix-timers.h)."""

SPIN_END_S = 0.008
"""After its work libgomp's team spins for some 6 ms more."""
TICK_S = 0.004
"""Linux brings a running thread's CPU time up to date so often (CONFIG_HZ=250)."""
MAX_SETTLE_S = 0.05


class Link:
    """Speaks with the controller; without it a worker has nothing to do and ends."""

    def __init__(self) -> None:
        self._in = int(os.environ["INDOOR_GATE_IN"])
        self._out = int(os.environ["INDOOR_GATE_OUT"])
        for descriptor in (self._in, self._out):
            os.set_inheritable(descriptor, False)
        self._lines = os.fdopen(self._in, "r", encoding="utf-8")
        self._known_modules: set[str] = set()
        self.peers: tuple[int, ...] = ()

    def tell(self, event: str, **fields: Any) -> None:
        """Send one message."""
        write_all(self._out, (json.dumps({"event": event, **fields}) + "\n").encode())

    def listen(self) -> dict[str, Any]:
        """Return the next message; ends the process where the controller is gone."""
        line = self._lines.readline()
        if not line:
            os._exit(70)
        message: dict[str, Any] = json.loads(line)
        return message

    def new_modules(self) -> dict[str, str]:
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


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, however small the pipe is."""
    while data:
        data = data[os.write(descriptor, data) :]


class Rounds:
    """What a test handed to `benchmark`, as rounds of a given number of iterations."""

    def __init__(
        self,
        fixture: Any,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        iterations: int | None = None,
    ) -> None:
        self._fixture = fixture
        self._target = target
        self._args = args
        self._kwargs = kwargs
        self._setup = setup
        self._teardown = teardown
        self.fixed_iterations = iterations
        self.seconds: list[float] = []
        self.result: Any = None
        self.has_result = False

    def time(self, iterations: int) -> float:
        """Return the seconds of one round as pytest-benchmark times it."""
        args, kwargs = self._arguments()
        runner = self._fixture._make_runner(self._target, args, kwargs)
        pause: Any = PauseInstrumentation
        with pause():
            if iterations == 1:
                self.result = None  # the last round's, which would take memory beside the next
                seconds, self.result = runner(None)
                self.has_result = True
            else:
                self.result, self.has_result = None, False  # an earlier round's is not the last
                seconds = runner(range(iterations))
        if self._teardown is not None:
            self._teardown(*args, **kwargs)
        return float(seconds)

    def final_result(self) -> Any:
        """Return what the test gets back from `benchmark`."""
        if not self.has_result:
            args, kwargs = self._arguments()
            self.result = self._target(*args, **kwargs)
            if self._teardown is not None:
                self._teardown(*args, **kwargs)
        return self.result

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._setup is None:
            return self._args, self._kwargs
        made = self._setup()
        if not made:
            return self._args, self._kwargs
        if self._args or self._kwargs:
            raise TypeError("Can't use `args` or `kwargs` if `setup` returns the arguments.")
        args, kwargs = made
        return args, kwargs


class Control:
    """A frozen workload that no tree can change: the C library's memmove between two buffers."""

    def __init__(self) -> None:
        self._pages = [mmap.mmap(-1, CONTROL_BYTES) for _ in range(2)]
        self._source, self._target = (
            ctypes.addressof(ctypes.c_char.from_buffer(page)) for page in self._pages
        )

    def time(self, iterations: int) -> float:
        """Return the seconds of that many copies."""
        memmove = ctypes.memmove
        start = time.perf_counter()
        for _ in range(iterations):
            memmove(self._target, self._source, CONTROL_BYTES)
        return time.perf_counter() - start


class Worker:
    """The hooks of a worker's session."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._failures: dict[str, tuple[str, str]] = {}
        self._timed: set[str] = set()
        self._control = Control()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
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
        fields: dict[str, Any] = {"modules": self._link.new_modules()}
        if os.environ.get("INDOOR_GATE_DESCRIBE"):
            fields["python"] = platform.python_version()
            fields["packages"] = installed()
            fields["installed_from"] = installed_from()
        self._link.tell(
            "collected", cells={name: rules_of(item) for name, item in cells.items()}, **fields
        )
        order = self._listen()["cells"]
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in order])
        items[:] = [cells[name] for name in order]
        if config.pluginmanager.hasplugin("timeout"):
            for item in items:
                # Waiting for one's turn takes long; the first marker counts before a test's own.
                item.add_marker(pytest.mark.timeout(0), append=False)

    @pytest.hookimpl(trylast=True)
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
                modules=self._link.new_modules(),
            )
            self._listen()

    def serve(self, fixture: Any, rounds: Rounds) -> Any:
        """Time rounds as the controller asks until it lets the test go on.

        Returns:
            What the test gets back from `benchmark`.
        """
        if fixture.fullname in self._timed:
            raise RuntimeError("benchmark was used twice in one test")
        self._timed.add(fixture.fullname)
        self._link.tell("ready", cell=fixture.fullname, iterations=rounds.fixed_iterations)
        try:
            iterations = self._time_on_demand(rounds)
        finally:
            stay_on(None)  # also where a round raised: the next test is to have all CPUs
        if not rounds.seconds:  # the other side's test ended early, which is no fault of this one
            rounds.seconds.append(rounds.time(iterations))
        result = rounds.final_result()
        give_stats(fixture, iterations, rounds.seconds)
        return result

    def _time_on_demand(self, rounds: Rounds) -> int:
        """Do what the controller says until the test is to go on; return the iterations."""
        iterations = 1
        while (message := self._listen())["do"] != "finish":
            iterations = message.get("iterations", iterations)
            stay_on(message.get("cpu"))
            if message["do"] == "turn":
                for _ in range(message["discard"]):
                    rounds.time(iterations)
                if message["settle"]:
                    settle(self._link.peers)
                seconds, idle = self._time_beside(rounds, iterations)
                rounds.seconds.append(seconds)
                self._link.tell("round", seconds=seconds, idle=idle)
            elif message["do"] == "warm":
                fastest = warm(rounds, iterations, message["seconds"], message["calls"])
                self._link.tell("warm", seconds=fastest)
            elif message["do"] == "calibrate":
                found, seconds = calibrate(rounds, message["seconds"])
                self._link.tell(
                    "calibrated",
                    iterations=found,
                    seconds=seconds,
                    other_share=other_share(rounds, found),
                )
        return iterations

    def _listen(self) -> dict[str, Any]:
        """Return the next message that is not for the worker itself."""
        while True:
            message = self._link.listen()
            if message["do"] == "peers":
                self._link.peers = tuple(message["pids"])
            elif message["do"] == "control":
                stay_on(message.get("cpu"))
                for _ in range(message["discard"]):
                    self._control.time(message["iterations"])
                seconds = self._control.time(message["iterations"])
                stay_on(None)
                self._link.tell("control", seconds=seconds)
            else:
                return message

    def _time_beside(self, rounds: Rounds, iterations: int) -> tuple[float, float | None]:
        """Return a round's seconds, and the CPU time of the waiting workers as a share of it."""
        before = cpu_ns(self._link.peers)
        start = time.perf_counter()
        seconds = rounds.time(iterations)
        took = time.perf_counter() - start
        after = cpu_ns(self._link.peers)
        if before is None or after is None or took <= 0:
            return seconds, None
        return seconds, max(0, after - before) / 1e9 / took


def warm(rounds: Rounds, iterations: int, min_seconds: float, calls: int = WARMUP_CALLS) -> float:
    """Time rounds for so long, and that many at least; return the fastest."""
    began = time.perf_counter()
    best = min(rounds.time(iterations) for _ in range(calls))
    while time.perf_counter() - began < min_seconds:
        best = min(best, rounds.time(iterations))
    return best


def calibrate(rounds: Rounds, min_seconds: float) -> tuple[int, float]:
    """Return how many iterations make a round of so many seconds, and what such a round took."""
    if rounds.fixed_iterations is not None:
        return rounds.fixed_iterations, warm(rounds, rounds.fixed_iterations, min_seconds)
    iterations = 1
    seconds = warm(rounds, iterations, 0)
    while seconds < min_seconds:
        # Ten times at most, since a first guess from a very short round is poor.
        factor = min(10.0, max(1.2, 1.1 * min_seconds / max(seconds, 1e-9)))
        iterations = max(iterations + 1, int(iterations * factor))
        seconds = warm(rounds, iterations, 0)
    return iterations, seconds


def other_share(rounds: Rounds, iterations: int) -> float:
    """Return the share of a round's CPU time that is not the test's own thread's.

    Other threads of this process count, and processes that began and ended in the round. Unlike
    time on the wall it is the same on a machine whose CPUs are all taken.
    """
    own, total = time.thread_time(), total_cpu_s()
    rounds.time(iterations)
    own, total = time.thread_time() - own, total_cpu_s() - total
    return max(0.0, 1 - own / total) if total > 0 else 0.0


def total_cpu_s() -> float:
    """Return the CPU seconds of this process's threads and of its processes that have ended."""
    told = os.times()
    return time.process_time() + told.children_user + told.children_system


def stay_on(cpu: int | None) -> None:
    """Keep the thread that runs the tests on one CPU; None lets it go where it could before."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, ALL_CPUS if cpu is None else {cpu})


def cpu_ns(pids: tuple[int, ...]) -> int | None:
    """Return the nanoseconds that the processes ran; None where the system does not tell.

    Threads that have ended count as well, which the files under /proc/PID/task leave out.
    """
    if not TELLS_CPU_TIME:
        return None
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # that worker is done
            total += time.clock_gettime_ns(cpu_clock(pid))
    return total


def cpu_clock(pid: int) -> int:
    """Return the number of a process's clock of CPU time."""
    return ~pid << 3 | CPUCLOCK_SCHED


def tells_cpu_time() -> bool:
    """Return whether the system has clocks of other processes' CPU time."""
    try:
        return (
            sys.platform.startswith("linux") and time.clock_gettime_ns(cpu_clock(os.getpid())) > 0
        )
    except OSError:
        return False


TELLS_CPU_TIME = tells_cpu_time()


def settle(pids: tuple[int, ...]) -> None:
    """Wait until the threads of those processes rest, `MAX_SETTLE_S` at most."""
    deadline = time.perf_counter() + MAX_SETTLE_S
    time.sleep(SPIN_END_S)
    before = cpu_ns(pids)
    while time.perf_counter() < deadline:
        time.sleep(TICK_S)
        after = cpu_ns(pids)
        if after == before:
            return
        before = after


def give_stats(fixture: Any, iterations: int, seconds: list[float]) -> None:
    """Let `benchmark.stats` hold the gate's own rounds, which pytest-benchmark is not to save."""
    if not seconds:
        return
    fixture._add_stats = lambda _: None
    stats = fixture._make_stats(iterations)
    for value in seconds:
        stats.update(value)


def uses_benchmark(item: pytest.Item) -> bool:
    """Return whether the test is a cell."""
    return "benchmark" in getattr(item, "fixturenames", ())


def rules_of(item: pytest.Item) -> dict[str, Any]:
    """Return what `@pytest.mark.gate(margin=..., tolerance=...)` says of a cell."""
    marker = item.get_closest_marker("gate")
    if marker is None:
        return {}
    names = ["margin", "tolerance", *(f"argument {n + 1}" for n in range(2, len(marker.args)))]
    return dict(zip(names, marker.args, strict=False)) | dict(marker.kwargs)


def line_of(report: pytest.TestReport) -> str:
    """Return why a test failed or was skipped, in one line."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr or "")
    lines = [line for line in text.splitlines() if line.strip()]
    return f"{report.when}: {lines[0].strip()}" if lines else str(report.when)


def installed() -> dict[str, str]:
    """Return the installed distributions and their versions."""
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-"), str(distribution.version))
    return found


def installed_from() -> dict[str, str]:
    """Return the folder or file that an installed module was copied from, by import name.

    Only what pip notes in direct_url.json is known (PEP 610); an editable install copies nothing.
    """
    from importlib.metadata import distributions
    from urllib.parse import unquote, urlsplit

    found: dict[str, str] = {}
    for distribution in distributions():
        # Whatever is broken in a distribution's metadata, the others' still counts.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, csv.Error):
            told = json.loads(distribution.read_text("direct_url.json") or "{}")
            url = urlsplit(told.get("url", ""))
            if url.scheme == "file" and not told.get("dir_info", {}).get("editable"):
                for name in import_names(distribution):
                    found.setdefault(name, unquote(url.path))
    return found


def import_names(distribution: Any) -> set[str]:
    """Return the outermost packages and modules of an installed distribution.

    They are dotted in a namespace: `google.thing`, since other projects' are `google`, too.
    """
    files = [file for file in distribution.files or () if file.suffix in (".py", ".so", ".pyd")]
    packages = {file.parent for file in files if file.name.split(".")[0] == "__init__"}
    names: set[str] = set()
    for file in files:
        around = [folder for folder in file.parents if folder in packages and folder.name]
        # An extension module is called NAME.cpython-311-x86_64-linux-gnu.so.
        outer = around[-1] if around else file.parent / file.name.split(".")[0]
        if all(part.isidentifier() for part in outer.parts):  # no script in ../../../bin
            names.add(".".join(outer.parts))
    return names or set((distribution.read_text("top_level.txt") or "").split())


def lacking() -> str | None:
    """Return what of `NEEDED` the installed pytest-benchmark lacks, in words; None for nothing.

    The gate asks a Python that the user named before it starts a worker there.
    """
    names = [name for name in NEEDED if not hasattr(BenchmarkFixture, name)]
    return f"its benchmark fixture has no {', '.join(names)}" if names else None


def die_with_parent() -> None:
    """Have Linux kill this process when the controller is killed, whatever the test is doing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take the place of pytest-benchmark's own rounds, and keep it from saving and printing.

    Raises:
        pytest.UsageError: The tests would run in other processes than this one.
    """
    config.addinivalue_line("markers", "gate(margin, tolerance): limits of indoor gate")
    die_with_parent()
    if "INDOOR_GATE_IN" not in os.environ:
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
    worker = Worker(Link())

    def call(fixture: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return worker.serve(fixture, Rounds(fixture, function, args, kwargs))

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
        asked = Rounds(
            fixture,
            target,
            args,
            kwargs or {},
            setup=setup,
            teardown=teardown,
            iterations=iterations,
        )
        return worker.serve(fixture, asked)

    replaced: Any = BenchmarkFixture
    replaced._raw = call
    replaced._raw_pedantic = pedantic
    config.pluginmanager.register(worker, "indoor-gate-worker")
