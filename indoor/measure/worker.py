"""Timing in the process that computes, told by another; and the plugin that makes pytest do so.

One file, which imports nothing but the standard library, so that any Python can have it: the suite
and the processes of runtimes import it, and the gate copies it beside the plugins of a suite that
knows nothing of the gate. There, as a pytest plugin, it needs pytest and pytest-benchmark, too, and
`benchmark` times one round whenever the controller says so.

Messages are lines of JSON over the two pipes that INDOOR_LINK names. A worker computes only between
a message to it and its answer.
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import functools
import json
import mmap
import os
import platform
import resource
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Generator  # noqa: UP035 - for older Pythons

if TYPE_CHECKING:
    import pytest

NEEDED = ("_make_runner", "_make_stats", "_raw", "_raw_pedantic")
"""What is called or replaced here of pytest-benchmark's fixture, which promises none of it."""

LINK = "INDOOR_LINK"
"""The variable with the two descriptors, read from and written to, such as `5,8`."""

WARMUP_GAIN = 0.03
"""A warm-up has ended when its latest calls are not faster than the earlier by more than this."""

CALIBRATION_CALLS = 2

CONTROL_BYTES = 128 * 1024
"""Fits the second-level cache of every CPU of the last ten years."""

ALL_CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
"""Where this process may run."""

PR_SET_PDEATHSIG = 1

CPUCLOCK_SCHED = 2
"""Linux makes the clock's number of a process's and this one (linux/posix-timers.h)."""

SPIN_END_S = 0.008
"""After its work libgomp's team spins for some 6 ms more."""
TICK_S = 0.004
"""Linux brings a running thread's CPU time up to date so often (CONFIG_HZ=250)."""
MAX_SETTLE_S = 0.05


@dataclass(frozen=True)
class TurnResult:
    """A turn's last call: its seconds, and the minor page faults of its process meanwhile.

    `idle_share` is the CPU time that the waiting processes used meanwhile, as a share of the wall's
    time; None where there are none, or where the system does not tell.
    """

    seconds: float
    num_faults: int
    idle_share: float | None = None


@dataclass(frozen=True)
class Warmup:
    """How many calls a warm-up made, and whether they had stopped getting faster."""

    num_calls: int
    stable: bool
    fastest_s: float


def timed(
    call: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """Return a function that makes one call and returns its seconds."""

    def once() -> float:
        start = clock()
        call()
        return clock() - start

    return once


def minor_faults() -> int:
    """Return the minor page faults of this process so far (pages mapped without reading a disk)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def take_turn(
    once: Callable[[], float],
    num_discarded: int,
    *,
    count_faults: Callable[[], int] = minor_faults,
    settles: bool = False,
    peers: tuple[int, ...] = (),
) -> TurnResult:
    """Make the calls of a turn and return what the last one took.

    The first ones are left out, since the turn before was another's and has emptied the caches.

    Args:
        once: Makes one call and returns its seconds.
        num_discarded: Calls that are left out, 0 or more.
        count_faults: The process's minor page faults so far.
        settles: Whether to wait until the peers' threads rest before the last call.
        peers: The processes that wait meanwhile.
    """
    for _ in range(num_discarded):
        once()
    if settles:
        settle(peers)
    if not peers:
        faults = count_faults()
        return TurnResult(once(), count_faults() - faults)
    before, faults, start = cpu_ns(peers), count_faults(), time.perf_counter()
    seconds = once()
    took = time.perf_counter() - start
    num_faults, after = count_faults() - faults, cpu_ns(peers)
    if before is None or after is None or took <= 0:
        return TurnResult(seconds, num_faults)
    return TurnResult(seconds, num_faults, max(0, after - before) / 1e9 / took)


def warm_up(
    once: Callable[[], float],
    *,
    min_calls: int,
    min_s: float,
    max_s: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Warmup:
    """Call until the calls stop getting faster, for `min_s` at least, and give up after `max_s`.

    Warming makes calls faster and noise makes them slower, so minima are compared: it is over once
    the fastest of the latest third of the calls (two at least) is not faster than the fastest of
    all earlier ones by more than `WARMUP_GAIN`.

    Args:
        once: Makes one call and returns its seconds.
        min_calls: Are made however long they take, 1 or more.
        min_s: For a CPU to raise its clock.
        max_s: For calls that go on getting faster.
        clock: Seconds; only differences count.
    """
    seconds: list[float] = []
    began = clock()
    while True:
        seconds.append(once())
        elapsed = clock() - began
        if len(seconds) >= min_calls:
            stable = has_settled(seconds)
            if elapsed >= max_s or (stable and elapsed >= min_s):
                return Warmup(len(seconds), stable, min(seconds))


def has_settled(seconds: list[float]) -> bool:
    """Return whether the latest calls are as fast as the earlier ones; unknown of two calls."""
    num_latest = max(2, len(seconds) // 3)
    earlier, latest = seconds[:-num_latest], seconds[-num_latest:]
    return bool(earlier) and min(latest) >= (1 - WARMUP_GAIN) * min(earlier)


def calibrate(time_round: Callable[[int], float], min_s: float) -> tuple[int, float]:
    """Return how many iterations make a round of so many seconds, and what such a round took."""
    iterations = 1
    seconds = fastest_round(time_round, iterations, 0)
    while seconds < min_s:
        # Ten times at most, since a first guess from a very short round is poor.
        factor = min(10.0, max(1.2, 1.1 * min_s / max(seconds, 1e-9)))
        iterations = max(iterations + 1, int(iterations * factor))
        seconds = fastest_round(time_round, iterations, 0)
    return iterations, seconds


def fastest_round(time_round: Callable[[int], float], iterations: int, for_s: float) -> float:
    """Return what the fastest of a few rounds took, of those within so many seconds."""
    once = functools.partial(time_round, iterations)
    return warm_up(once, min_calls=CALIBRATION_CALLS, min_s=for_s, max_s=for_s).fastest_s


def answer(
    message: dict[str, Any],
    time_round: Callable[[int], float],
    peers: tuple[int, ...] = (),
    fixed_iterations: int | None = None,
) -> dict[str, Any]:
    """Do what `pairs.RemoteCall` asks of something that can be timed, and return what to tell it.

    Args:
        message: `warm_up`, `turn` or `calibrate` with its numbers, and perhaps a `cpu` to stay on.
        time_round: Returns the seconds of a round of that many iterations.
        peers: The processes that wait meanwhile.
        fixed_iterations: The only number of iterations that is allowed, if so.
    """
    stay_on(message.get("cpu"))
    once = functools.partial(time_round, message.get("iterations", 1))
    if message["do"] == "warm_up":
        limits = {name: message[name] for name in ("min_calls", "min_s", "max_s")}
        return vars(warm_up(once, **limits))
    if message["do"] == "turn":
        settles = message.get("settles", False)
        return vars(take_turn(once, message["num_discarded"], settles=settles, peers=peers))
    assert message["do"] == "calibrate", message
    if fixed_iterations is None:
        iterations, seconds = calibrate(time_round, message["min_s"])
    else:
        iterations = fixed_iterations
        seconds = fastest_round(time_round, iterations, message["min_s"])
    share = other_share(functools.partial(time_round, iterations))
    return {"iterations": iterations, "seconds": seconds, "other_share": share}


def other_share(once: Callable[[], float]) -> float:
    """Return the share of a round's CPU time that is not this thread's.

    Other threads of this process count, and processes that began and ended in the round. Unlike
    time on the wall it is the same on a machine whose CPUs are all taken.
    """
    own, total = time.thread_time(), total_cpu_s()
    once()
    own, total = time.thread_time() - own, total_cpu_s() - total
    return max(0.0, 1 - own / total) if total > 0 else 0.0


def total_cpu_s() -> float:
    """Return the CPU seconds of this process's threads and of its processes that have ended."""
    told = os.times()
    return time.process_time() + told.children_user + told.children_system


def stay_on(cpu: int | None) -> None:
    """Keep the thread that computes on one CPU; None lets it go where it could before."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, ALL_CPUS if cpu is None else {cpu})


def cpu_ns(pids: tuple[int, ...]) -> int | None:
    """Return the nanoseconds that the processes ran; None without any, or if nobody tells.

    Threads that have ended count as well, which the files under /proc/PID/task leave out.
    """
    if not pids or not TELLS_CPU_TIME:
        return None
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # that worker is done
            total += time.clock_gettime_ns(cpu_clock(pid))
    return total


def cpu_clock(pid: int) -> int:
    """Return the number of a process's clock of CPU time."""
    return ~pid << 3 | CPUCLOCK_SCHED


TELLS_CPU_TIME = False
"""Whether the system has clocks of other processes' CPU time."""
with contextlib.suppress(OSError, AttributeError):
    TELLS_CPU_TIME = sys.platform == "linux" and time.clock_gettime_ns(cpu_clock(os.getpid())) > 0


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


class Link:
    """Speaks with the controller (`measure.process.ChildProcess`); without it the process ends."""

    def __init__(self) -> None:
        self._in, self._out = (int(number) for number in os.environ[LINK].split(","))
        for descriptor in (self._in, self._out):
            os.set_inheritable(descriptor, False)
        self._lines = os.fdopen(self._in, "rb")
        self._last: tuple[bytes, dict[str, Any]] = (b"", {})

    def tell(self, event: str, **fields: Any) -> None:
        """Send one message."""
        data = (json.dumps({"event": event, **fields}) + "\n").encode()
        while data:  # however small the pipe is
            data = data[os.write(self._out, data) :]

    def listen(self) -> dict[str, Any]:
        """Return the next message; ends the process where the controller is gone."""
        line = self._lines.readline()
        if not line:
            os._exit(70)
        if line != self._last[0]:  # turns are all alike, and between two of them caches go cold
            self._last = line, json.loads(line)
        return dict(self._last[1])


def die_with_parent() -> None:
    """Have Linux kill this process when the controller is killed, whatever is computed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Rounds:
    """What a test handed to `benchmark`, as rounds of a given number of iterations."""

    fixture: Any
    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    setup: Callable[[], Any] | None = None
    teardown: Callable[..., Any] | None = None
    fixed_iterations: int | None = None
    seconds: list[float] = field(default_factory=list)
    result: Any = None
    has_result: bool = False

    def time(self, iterations: int) -> float:
        """Return the seconds of one round as pytest-benchmark times it."""
        from pytest_benchmark.fixture import PauseInstrumentation

        args, kwargs = self._arguments()
        runner = self.fixture._make_runner(self.target, args, kwargs)
        pause: Any = PauseInstrumentation
        with pause():
            if iterations == 1:
                self.result = None  # the last round's, which would take memory beside the next
                seconds, self.result = runner(None)
                self.has_result = True
            else:
                self.result, self.has_result = None, False  # an earlier round's is not the last
                seconds = runner(range(iterations))
        if self.teardown is not None:
            self.teardown(*args, **kwargs)
        return float(seconds)

    def final_result(self) -> Any:
        """Return what the test gets back from `benchmark`."""
        if not self.has_result:
            args, kwargs = self._arguments()
            self.result = self.target(*args, **kwargs)
            if self.teardown is not None:
                self.teardown(*args, **kwargs)
        return self.result

    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.setup is None:
            return self.args, self.kwargs
        made = self.setup()
        if not made:
            return self.args, self.kwargs
        if self.args or self.kwargs:
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
            self._link.tell("described", **describe_python())
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


def give_stats(fixture: Any, iterations: int, seconds: list[float]) -> None:
    """Let `benchmark.stats` hold the gate's own rounds, which pytest-benchmark is not to save."""
    if not seconds:
        return
    fixture._add_stats = lambda _: None
    stats = fixture._make_stats(iterations)
    for value in seconds:
        stats.update(value)


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


def describe_python() -> dict[str, Any]:
    """Return the Python's version, the versions of its distributions, and where copies came from.

    `installed_from` is the folder or file that an installed module was copied from, by import name:
    only what pip notes in direct_url.json is known (PEP 610); an editable install copies nothing.
    """
    from importlib.metadata import distributions
    from urllib.parse import unquote, urlsplit

    packages: dict[str, str] = {}
    copied: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            packages.setdefault(name.lower().replace("_", "-"), str(distribution.version))
        # Whatever is broken in a distribution's metadata, the others' still counts.
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, csv.Error):
            told = json.loads(distribution.read_text("direct_url.json") or "{}")
            url = urlsplit(told.get("url", ""))
            if url.scheme == "file" and not told.get("dir_info", {}).get("editable"):
                for module in import_names(distribution):
                    copied.setdefault(module, unquote(url.path))
    return {
        "python": platform.python_version(),
        "packages": packages,
        "installed_from": copied,
    }


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
    from pytest_benchmark.fixture import (
        BenchmarkFixture,
        PauseInstrumentation,  # noqa: F401 - rounds need it, too
    )

    names = [name for name in NEEDED if not hasattr(BenchmarkFixture, name)]
    return f"its benchmark fixture has no {', '.join(names)}" if names else None


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of pytest-benchmark's own rounds, and keep it from saving and printing.

    Raises:
        pytest.UsageError: The tests would run in other processes than this one.
    """
    import pytest
    from pytest_benchmark.fixture import BenchmarkFixture

    config.addinivalue_line("markers", "gate(margin, tolerance): limits of indoor gate")
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
