"""What a round of the suite costs beside the calls that it times.

The suite's own rounds of one cell, with the variants of a run where they live (here or in processes
of their own); each turn's wall time less its call's is what the turn costs. A process takes turns
in the former way, too, in the same rounds: each message written and read anew (that its call now
stays prepared between turns is in both).

Example:
    python -m bench.studies.rounds RUN_FOLDER --out rounds.json
"""

import argparse
import dataclasses
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from bench.cases import short_run
from bench.studies import run
from indoor.devices import use_threads
from indoor.files import write_text
from indoor.machine import num_usable_cores, read_machine
from indoor.measure.pairs import LocalCall, Plan, RemoteCall, Subject, measure_interleaved
from indoor.measure.worker import TurnResult, Warmup, timed
from indoor.records import to_builtins
from indoor.runtimes import Loaded, find_variant, load_variant, native_variants
from indoor.runtimes.own_process import Hosted
from indoor.transforms import SIZE

MOST = 0.01
"""A turn may cost this share of its calls."""

CALLS = Plan(budget_s=0).num_calls
"""Of a turn in the suite."""

BEFORE = ", before"

MAX_WARMUP_S = 2.0


@dataclass(frozen=True)
class Watched:
    """A subject whose turns are timed from outside, too: `cost_s` is what they took more.

    Its turns make one call, and not two as the suite's: what the discarded call takes is told to
    nobody.
    """

    subject: Subject
    cost_s: list[float] = field(default_factory=list)

    def warm_up(self, *, min_calls: int, min_s: float, max_s: float) -> Warmup:
        """Warm the subject up."""
        return self.subject.warm_up(min_calls=min_calls, min_s=min_s, max_s=max_s)

    def turn(self, num_discarded: int) -> TurnResult:  # noqa: ARG002 - see above
        """Have it make one call."""
        began = time.perf_counter()
        result = self.subject.turn(0)
        self.cost_s.append(time.perf_counter() - began - result.seconds)
        return result


@dataclass(frozen=True)
class Anew:
    """A call in another process whose messages are all different, so that none is remembered."""

    call: RemoteCall
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def warm_up(self, *, min_calls: int, min_s: float, max_s: float) -> Warmup:
        """Warm the subject up."""
        return self.call.warm_up(min_calls=min_calls, min_s=min_s, max_s=max_s)

    def turn(self, num_discarded: int) -> TurnResult:
        """Have it make the calls of a turn."""
        fields = {**self.call.fields, "number": next(self.numbers)}
        return dataclasses.replace(self.call, fields=fields).turn(num_discarded)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant's call, and what a turn of it costs beside; medians in seconds."""

    variant: str
    own_process: bool
    call_s: float
    cost_s: float
    cost_p90_s: float

    @property
    def share(self) -> float:
        """The cost as a share of a turn's calls."""
        return self.cost_s / (CALLS * self.call_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record.

    Returns:
        0; 1 where a turn of the shortest variant costs more than 1% of its calls.
    """
    parsed = _parse(arguments)
    threads = parsed.threads or num_usable_cores()
    names = parsed.variant or [v.name for v in short_run(native_variants())]
    ends: list[float] = []
    with use_threads(threads), ExitStack() as stack:
        loaded = [load_variant(find_variant(name), parsed.run, parsed.batch) for name in names]
        for one in loaded:
            stack.callback(one.close)
        subjects = {one.variant.name: _subject(one, parsed.batch, parsed.size) for one in loaded}
        others = {n + BEFORE: Anew(s) for n, s in subjects.items() if isinstance(s, RemoteCall)}
        watched = {name: Watched(subject) for name, subject in (subjects | others).items()}
        series = measure_interleaved(
            watched,
            Plan(budget_s=parsed.seconds, max_warmup_s=MAX_WARMUP_S),
            seed=0,
            after_warmup=lambda: ends.append(time.perf_counter()),
            after_round=lambda _done, _expected: ends.append(time.perf_counter()),
        )
    rows = [
        Row(
            variant=name,
            own_process=isinstance(subjects[name.removesuffix(BEFORE)], RemoteCall),
            call_s=statistics.median(series[name].seconds),
            cost_s=statistics.median(one.cost_s),
            cost_p90_s=statistics.quantiles(one.cost_s, n=10)[-1],
        )
        for name, one in watched.items()
    ]
    # What the rounds took beside all of their turns is shared out over these.
    turns_s = sum(sum(one.cost_s) + sum(series[name].seconds) for name, one in watched.items())
    rest_s = (ends[-1] - ends[0] - turns_s) / (len(ends) - 1) / len(watched)
    shortest = min((row for row in rows if row.variant in subjects), key=lambda row: row.call_s)
    share = shortest.share + rest_s / (CALLS * shortest.call_s)
    machine = read_machine()
    record = {
        "study": "rounds",
        "batch": parsed.batch,
        "threads": threads,
        "num_rounds": len(ends) - 1,
        "machine": to_builtins(machine),
        "rest_s": rest_s,
        "shortest": shortest.variant,
        "share_of_the_shortest": share,
        "rows": [to_builtins(row) for row in rows],
    }
    if parsed.out:
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    print(  # noqa: T201 - a script's output
        f"{machine.cpu_model}, batch {parsed.batch}, {threads} threads, {len(ends) - 1} rounds",
        *(_line(row) for row in rows),
        f"a round costs {rest_s * 1e6:.1f} us a turn beside its turns",
        f"the shortest case, {shortest.variant}: {share:.2%} of its {CALLS} calls a turn; "
        f"expected {MOST:.0%} or less",
        sep="\n",
    )
    return 0 if share <= MOST else 1


def _subject(loaded: Loaded, batch: int, size: int) -> Subject:
    """Return a variant's calls on random photographs, as the suite makes them."""
    images = torch.rand(batch, 3, size, size)
    if isinstance(loaded.network, Hosted):
        loaded.network.host.show(images)
        return loaded.network.host.subject(loaded.variant.name, MAX_WARMUP_S)
    return LocalCall(timed(partial(loaded, images)))


def _line(row: Row) -> str:
    where = "own process" if row.own_process else "this process"
    return (
        f"{row.variant:28} {row.call_s * 1000:8.3f} ms a call, {where:12}: "
        f"{row.cost_s * 1e6:5.0f} us a turn (p90 {row.cost_p90_s * 1e6:.0f}), "
        f"{row.share:.2%} of its calls"
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.rounds", description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder, with its checkpoints")
    parser.add_argument("--variant", nargs="+", help="default: those of a short run")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=SIZE, help="pixels a side")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
