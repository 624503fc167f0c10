"""Which threads of a process compute, on how many CPUs they may, and what it uses while it waits.

Linux tells it under /proc; elsewhere nobody does, and every answer is None.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from indoor.measure.worker import TELLS_CPU_TIME, cpu_ns, settle

PROC = Path("/proc")

BUSY_SHARE = 0.2
"""A thread computes if it runs for this share of the busiest one's time."""

WATCH_S = 0.2
"""Linux brings a running thread's time up to date every 1 to 10 ms."""

MAX_IDLE_CPUS = 0.01
"""What a process may use while another one is timed."""

NUM_TRIES = 3
"""A machine with other work can make a thread look idle, or a process busy, for a moment."""


@dataclass(frozen=True, kw_only=True)
class Threads:
    """How many threads computed, and on how many CPUs altogether they were allowed to."""

    num_busy: int
    num_cpus: int


def watch_threads(
    pid: int, call: Callable[[], object], for_s: float = WATCH_S, proc: Path = PROC
) -> Threads | None:
    """Call again and again for so many seconds, and return which threads of a process ran.

    Args:
        pid: The process that computes when `call` is called.
        call: Returns when the result is there.
        for_s: Seconds; one call is made in any case.
        proc: Where Linux tells it.

    Returns:
        None where nobody tells it.
    """
    before = running_ns(pid, proc)
    began = time.perf_counter()
    while True:
        call()
        if time.perf_counter() - began >= for_s:
            break
    found = busy_since(pid, before, proc)
    return None if found is None else Threads(num_busy=len(found), num_cpus=len(cpus_of(found)))


def busy_since(
    pid: int, before: Mapping[str, int], proc: Path = PROC
) -> dict[str, frozenset[int]] | None:
    """Return the process's threads that have computed since `running_ns`, and their CPUs.

    Returns:
        The CPUs that each may use, by thread; None where nobody tells it.
    """
    ran = {thread: ns - before.get(thread, 0) for thread, ns in running_ns(pid, proc).items()}
    if not before or not any(ran.values()):
        return None
    busy = [thread for thread, ns in ran.items() if ns >= BUSY_SHARE * max(ran.values())]
    return {thread: _allowed_cpus(proc / f"{pid}/task/{thread}/status") for thread in busy}


def cpus_of(threads: Mapping[str, frozenset[int]]) -> frozenset[int]:
    """Return the CPUs that any of the threads may use."""
    return frozenset().union(*threads.values())


def why_not_the_threads(found: Threads, asked: int, batch: int) -> str | None:
    """Return what is wrong with the threads that computed, in words; None where they count.

    More than were asked for is another measurement. So are fewer, but for a single photograph,
    which a runtime may think too little work to share; the figure stands in the record.
    """
    if found.num_cpus < asked:
        return (
            f"its threads may use {found.num_cpus} of the CPUs, expected one for each of the "
            f"{asked} threads that were asked for; have the runtime not pin its threads"
        )
    if found.num_busy > asked or (found.num_busy < asked and batch > 1):
        return (
            f"{found.num_busy} threads computed, expected the {asked} that were asked for; "
            "have the runtime heed the number"
        )
    return None


def idle_cpus(pids: Iterable[int], for_s: float) -> dict[int, float] | None:
    """Return how many CPUs each process uses while all of them wait; None where nobody tells.

    Threads that spin for some milliseconds after their work are waited for.
    """
    known = tuple(dict.fromkeys(pids))
    if not TELLS_CPU_TIME:
        return None
    settle(known)
    before, began = {pid: cpu_ns((pid,)) or 0 for pid in known}, time.perf_counter()
    time.sleep(for_s)
    took = time.perf_counter() - began
    return {pid: max(0, (cpu_ns((pid,)) or 0) - before[pid]) / 1e9 / took for pid in known}


def running_ns(pid: int, proc: Path = PROC) -> dict[str, int]:
    """Return for how many nanoseconds each of the process's threads has run."""
    found: dict[str, int] = {}
    try:
        for thread in (proc / str(pid) / "task").iterdir():
            found[thread.name] = int((thread / "schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):  # one that ended meanwhile, or no such file
        pass
    return found


def _allowed_cpus(status: Path) -> frozenset[int]:
    """Return the CPUs that a thread may use, such as those of `0-3,8`."""
    cpus: set[int] = set()
    for line in status.read_text().splitlines():
        if line.startswith("Cpus_allowed_list:"):
            for part in line.split(":")[1].strip().split(","):
                low, _, high = part.partition("-")
                cpus |= set(range(int(low), int(high or low) + 1))
    return frozenset(cpus)
