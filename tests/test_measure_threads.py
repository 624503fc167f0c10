"""Threads that compute and processes that only wait, by what Linux tells of them."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from indoor.measure.threads import Threads, idle_cpus, watch_threads, why_not_the_threads

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")


@linux
def test_a_thread_that_computes_is_counted_and_one_that_sleeps_is_not() -> None:
    """Beside the thread that calls, one works and one waits."""
    done = threading.Event()
    sleeper = threading.Thread(target=done.wait)
    sleeper.start()
    spinning = "import time\nwhile True: time.perf_counter()"

    def call() -> None:
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            pass

    try:
        with subprocess.Popen([sys.executable, "-c", spinning]) as process:
            inside, beside = watch_threads(os.getpid(), call), watch_threads(process.pid, call)
            process.kill()
    finally:
        done.set()
        sleeper.join()
    assert inside is not None
    assert beside is not None
    assert (inside.num_busy, beside.num_busy) == (1, 1)
    assert inside.num_cpus == len(os.sched_getaffinity(0))


def test_nobody_tells_it_elsewhere(tmp_path: Path) -> None:
    """Without /proc there is no answer, and no error."""
    assert watch_threads(os.getpid(), lambda: None, 0.0, tmp_path) is None


def test_threads_are_read_from_the_files(tmp_path: Path) -> None:
    """Of three threads two ran, each pinned to a CPU of its own."""
    for thread, cpus in (("7", "0"), ("8", "2-3"), ("9", "0-5")):
        folder = tmp_path / "7" / "task" / thread
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text("1000 5 6\n")
        (folder / "status").write_text(f"Name:\tx\nCpus_allowed_list:\t{cpus}\n")

    def call() -> None:
        for thread, ns in (("7", 9000), ("8", 5000), ("9", 1200)):
            (tmp_path / "7" / "task" / thread / "schedstat").write_text(f"{ns} 5 6\n")

    assert watch_threads(7, call, 0.0, tmp_path) == Threads(num_busy=2, num_cpus=3)


@pytest.mark.parametrize(
    ("found", "asked", "batch", "told"),
    [
        (Threads(num_busy=2, num_cpus=2), 2, 8, None),
        (Threads(num_busy=4, num_cpus=8), 2, 8, "4 threads computed, expected the 2"),
        (Threads(num_busy=4, num_cpus=8), 2, 1, "4 threads computed, expected the 2"),
        (Threads(num_busy=1, num_cpus=8), 2, 8, "1 threads computed, expected the 2"),
        (Threads(num_busy=1, num_cpus=8), 2, 1, None),
        (Threads(num_busy=2, num_cpus=1), 2, 8, "may use 1 of the CPUs, expected one for each"),
        (Threads(num_busy=1, num_cpus=1), 1, 8, None),
    ],
)
def test_other_threads_than_asked_for_are_refused(
    found: Threads, asked: int, batch: int, told: str | None
) -> None:
    """A single photograph may be too little work to share; more threads are never right."""
    reason = why_not_the_threads(found, asked, batch)
    assert reason is None if told is None else told in (reason or "")


@linux
def test_a_process_that_spins_is_told_from_one_that_waits() -> None:
    """One uses a share of a CPU, the other next to nothing."""
    spinning = "import time\nwhile True: time.perf_counter()"
    with (
        subprocess.Popen([sys.executable, "-c", spinning]) as busy,
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as idle,
    ):
        time.sleep(0.5)
        found = idle_cpus((busy.pid, idle.pid), 0.3)
        busy.kill()
        idle.kill()
    assert found is not None
    assert found[busy.pid] > 0.05
    assert found[idle.pid] < 0.01
