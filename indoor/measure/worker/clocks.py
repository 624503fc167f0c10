"""Clocks of this process and of those that wait beside it, and the CPUs that it may use."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Callable  # noqa: UP035 - for older Pythons


class Real:
    """The clocks as they were when this was loaded: a test may freeze or replace those of `time`.

    They are a class's, since what freezes time replaces clocks that a module holds.
    """

    wall = staticmethod(time.perf_counter)
    sleep = staticmethod(time.sleep)
    own_cpu = staticmethod(time.thread_time)
    all_cpu = staticmethod(time.process_time)
    read_ns = staticmethod(getattr(time, "clock_gettime_ns", lambda _number: 0))


ALL_CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
"""Where this process may run."""

CPUCLOCK_SCHED = 2
"""Linux makes the clock's number of a process's and this one (linux/posix-timers.h)."""

SPIN_END_S = 0.008
"""After its work libgomp's team spins for some 6 ms more."""
TICK_S = 0.004
"""Linux brings a running thread's CPU time up to date so often (CONFIG_HZ=250)."""
MAX_SETTLE_S = 0.05


def other_share(once: Callable[[], object]) -> float:
    """Return the share of a round's CPU time that is not this thread's.

    Other threads of this process count, and processes that began and ended in the round. Unlike
    time on the wall it is the same on a machine whose CPUs are all taken.
    """
    own, total = Real.own_cpu(), total_cpu_s()
    once()
    own, total = Real.own_cpu() - own, total_cpu_s() - total
    return max(0.0, 1 - own / total) if total > 0 else 0.0


def total_cpu_s() -> float:
    """Return the CPU seconds of this process's threads and of its processes that have ended."""
    told = os.times()
    return Real.all_cpu() + told.children_user + told.children_system


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
            total += Real.read_ns(cpu_clock(pid))
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
    deadline = Real.wall() + MAX_SETTLE_S
    Real.sleep(SPIN_END_S)
    before = cpu_ns(pids)
    while Real.wall() < deadline:
        Real.sleep(TICK_S)
        after = cpu_ns(pids)
        if after == before:
            return
        before = after
