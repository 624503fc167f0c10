"""What could take noise out of a gate's pairs, each way measured inside the very same turns.

Two fresh processes of one code a launch take turns, as base and head do. Each turn reads what may
explain its time: a frozen workload before it, the time that its thread waited for a CPU
(/proc/thread-self/schedstat), what the hypervisor took (/proc/stat), its CPU time; and it makes
three calls on end, so that their minimum and median are known beside the first. What a way does to
the spread of pairs and of launches is told with what it costs.

Threads that wait sleep, as in a gate's workers; OPENBLAS_THREAD_TIMEOUT=26 is OpenBLAS's default.

Example:
    python -m bench.studies.covariates --launches 12 --pairs 24 --out covariates.json.gz
"""

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import numpy as np

from bench.options import ROOT
from bench.studies import run
from indoor.errors import IndoorError
from indoor.gate.worker.arms import SLEEPING_THREADS
from indoor.gate.worker.launch import CONTROL_ITERATIONS
from indoor.machine import code_identity, num_usable_cores, read_machine
from indoor.measure.pair_statistics import robust_sd
from indoor.measure.worker.rounds import Control
from indoor.records import write_record
from indoor.report.blocks import Column
from indoor.report.markdown import markdown_table

NUM_CALLS = 3
"""Of a turn; the plain gate would time one."""

MOVED = 0.05
"""Log-ratio of the frozen workload's two times from which a pair counts as disturbed."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one arm's turn read, in seconds; `wall_s` and `cpu_s` are those of its calls.

    `waited_s` and `stolen_s` are of the time of the first call.
    """

    control_s: float
    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    waited_s: float
    stolen_s: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two turns of one code side by side."""

    base: Turn
    head: Turn


@dataclass(frozen=True, kw_only=True)
class CovariateStudy:
    """The pairs of each work, by launch."""

    study: Literal["gate-covariates"] = "gate-covariates"
    cpu_model: str
    num_cores: int
    commit: str | None
    works: dict[str, tuple[tuple[Pair, ...], ...]]


def sort_numbers() -> Callable[[], object]:
    """Return a function of one thread that needs nothing but Python: about 5 ms."""
    numbers = [random.Random(0).random() for _ in range(20_000)]
    return lambda: sorted(numbers)


def multiply() -> Callable[[], object]:
    """Return a product of matrices on all of numpy's threads: some 10 to 40 ms."""
    left, right = np.random.default_rng(0).random((2, 900, 900), dtype=np.float32)
    return lambda: left @ right


WORKS: Mapping[str, Callable[[], Callable[[], object]]] = {
    "one thread": sort_numbers,
    "all threads": multiply,
}


def measure(num_launches: int, num_pairs: int, say: Callable[[str], None]) -> CovariateStudy:
    """Return the study: each launch starts two processes anew for each work."""
    for name, value in SLEEPING_THREADS.items():  # as in a gate's workers
        os.environ.setdefault(name, value)
    order = random.Random(0)
    works: dict[str, list[tuple[Pair, ...]]] = {name: [] for name in WORKS}
    for number in range(1, num_launches + 1):
        for name in WORKS:
            works[name].append(_launch(name, num_pairs, order))
        say(f"launch {number} of {num_launches}")
    return CovariateStudy(
        cpu_model=read_machine().cpu_model,
        num_cores=num_usable_cores(),
        commit=code_identity(ROOT)[0],
        works={name: tuple(launches) for name, launches in works.items()},
    )


def _launch(name: str, num_pairs: int, order: random.Random) -> tuple[Pair, ...]:
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(2)]
    workers = [context.Process(target=_serve, args=(theirs, name)) for _, theirs in ends]
    for worker in workers:
        worker.start()
    try:
        pairs = []
        for number in range(num_pairs + 2):
            turns: dict[int, Turn] = {}
            for arm in order.sample((0, 1), 2):
                ends[arm][0].send("turn")
                turns[arm] = ends[arm][0].recv()
            if number >= 2:  # the first turns warm up
                pairs.append(Pair(base=turns[0], head=turns[1]))
        return tuple(pairs)
    except EOFError as error:
        raise IndoorError(
            f"a process of the study ended while it worked on {name}; expected one that answers; "
            "run the study again"
        ) from error
    finally:
        for (ours, _), worker in zip(ends, workers, strict=True):
            ours.close()
            worker.kill()
            worker.join()


def _serve(connection: Connection, name: str) -> None:
    """Take a turn whenever asked to."""
    work = WORKS[name]()
    control = Control()
    while True:
        try:
            connection.recv()
        except EOFError:  # the launch is over
            return
        control_s = control.time(CONTROL_ITERATIONS)
        work()  # the other arm's turn has emptied the caches
        waited, stolen = _waited_s(), _stolen_s()
        wall, cpu = [], []
        for number in range(NUM_CALLS):
            began, cpu_began = time.perf_counter(), time.process_time()
            work()
            cpu.append(time.process_time() - cpu_began)
            wall.append(time.perf_counter() - began)
            if number == 0:
                waited, stolen = _waited_s() - waited, _stolen_s() - stolen
        connection.send(
            Turn(
                control_s=_ns(control_s),
                wall_s=tuple(map(_ns, wall)),
                cpu_s=tuple(map(_ns, cpu)),
                waited_s=_ns(waited),
                stolen_s=_ns(stolen),
            )
        )


def _ns(seconds: float) -> float:
    """Return seconds without the digits that no clock has."""
    return round(seconds, 9)


def _waited_s() -> float:
    """Return how long this thread has waited for a CPU in all, where Linux tells."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except OSError:
        return 0.0


def _stolen_s() -> float:
    """Return what the hypervisor has taken from all CPUs, by the 10 ms, where Linux tells."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    except OSError:
        return 0.0
    return int(first[8]) / 100


def log_ratios(launch: Sequence[Pair], value: Callable[[Turn], float]) -> np.ndarray:
    """Return ln(head's / base's) of something that each turn read."""
    return np.array([np.log(value(pair.head)) - np.log(value(pair.base)) for pair in launch])


Way = Callable[[Sequence[Sequence[Pair]]], list[np.ndarray]]
"""From the pairs of launches to the log-ratios that the gate would judge."""


def _by(value: Callable[[Turn], float]) -> Way:
    return lambda launches: [log_ratios(launch, value) for launch in launches]


def _corrected(covariate: Callable[[Turn], float]) -> Way:
    """Take a covariate's difference out of the first call's, with the slope of all other launches.

    A launch that helped to find its own slope would be corrected by its own noise.
    """

    def way(launches: Sequence[Sequence[Pair]]) -> list[np.ndarray]:
        plain = _by(_first)(launches)
        told = [
            np.array([covariate(pair.head) - covariate(pair.base) for pair in launch])
            for launch in launches
        ]
        corrected = []
        for i, (y, x) in enumerate(zip(plain, told, strict=True)):
            others_x = np.concatenate([t for j, t in enumerate(told) if j != i])
            others_y = np.concatenate([p for j, p in enumerate(plain) if j != i])
            square = float(others_x @ others_x)
            corrected.append(y - (float(others_x @ others_y) / square if square else 0.0) * x)
        return corrected

    return way


def _where_unmoved(launches: Sequence[Sequence[Pair]]) -> list[np.ndarray]:
    """Leave out pairs between whose turns the frozen workload moved."""
    kept = []
    for launch in launches:
        moved = np.abs(log_ratios(launch, lambda turn: turn.control_s)) > MOVED
        kept.append(log_ratios(launch, _first)[~moved])
    return [launch for launch in kept if len(launch)]


def _first(turn: Turn) -> float:
    return turn.wall_s[0]


WAYS: Mapping[str, tuple[Way, int]] = {
    "one call (as it is)": (_by(_first), 1),
    "minimum of 3 calls": (_by(lambda turn: min(turn.wall_s)), NUM_CALLS),
    "median of 3 calls": (_by(lambda turn: float(np.median(turn.wall_s))), NUM_CALLS),
    "mean of 3 calls": (_by(lambda turn: float(np.mean(turn.wall_s))), NUM_CALLS),
    "frozen control as covariate": (_corrected(lambda turn: float(np.log(turn.control_s))), 1),
    "run-queue delay as covariate": (_corrected(lambda turn: turn.waited_s), 1),
    "steal as covariate": (_corrected(lambda turn: turn.stolen_s), 1),
    "pairs dropped where the control moved": (_where_unmoved, 1),
    "CPU time": (_by(lambda turn: turn.cpu_s[0]), 1),
    "CPU time, minimum of 3 calls": (_by(lambda turn: min(turn.cpu_s)), NUM_CALLS),
}
"""Each way, and how many calls a turn it makes."""


def render(study: CovariateStudy) -> str:
    """Return a table a work: the spread that each way leaves."""
    parts = []
    columns = (
        Column("way", "left"),
        Column("calls a turn"),
        Column("sd of a pair"),
        Column("sd of a launch"),
        Column("pairs that are left"),
    )
    for name, launches in study.works.items():
        num_pairs = sum(map(len, launches))
        rows = []
        for title, (way, num_calls) in WAYS.items():
            ratios = way(launches)
            medians = [np.median(launch) for launch in ratios]
            rows.append(
                [
                    title,
                    str(num_calls),
                    f"{robust_sd(np.concatenate(ratios)):.2%}" if ratios else "-",
                    f"{np.std(medians, ddof=1):.2%}" if len(medians) > 1 else "-",
                    f"{sum(map(len, ratios)) / num_pairs:.0%}",
                ]
            )
        head = f"{name}: {len(launches)} launches, {num_pairs} pairs, {study.cpu_model}"
        parts.append(f"{head}\n\n{markdown_table(columns, rows)}\n")
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record."""
    parsed = _parse(arguments)
    study = measure(
        parsed.launches,
        parsed.pairs,
        lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
    )
    if parsed.out:
        write_record(parsed.out, study)
    sys.stdout.write(render(study))
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.studies.covariates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--launches", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=24, help="a launch and work")
    parser.add_argument("--out", type=Path, help="where to write the study as JSON")
    parsed = parser.parse_args(arguments)
    if parsed.launches < 2 or parsed.pairs < 2:
        raise IndoorError(
            f"--launches {parsed.launches}, --pairs {parsed.pairs}: expected 2 or more of each"
        )
    return parsed


if __name__ == "__main__":
    run(main)
