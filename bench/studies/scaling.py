"""What more processes buy in a training, and what 64 of them would cost.

Jobs of one and of two processes take turns, each process on one thread and one CPU: steps, the sums
of gradients between them, views, validation, features, and an epoch's steps with their views. From
those of one process and the sums' times, a model says what an epoch takes on more, over networks
that are assumed; what it says of two processes stands beside what they took.

Example:
    python -m bench.studies.scaling --data ROOT --out scaling.json --plot scaling.png
"""

import argparse
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.studies import run, scaling_rank, show
from bench.studies.scaling_model import Round, Scaling, lines, plot
from indoor.errors import IndoorError
from indoor.machine import read_machine
from indoor.records import from_json, write_record

SIZES = (1, 2)

RANK_OPTIONS = ("data", "arch", "size", "photographs", "steps", "batches")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or read what was measured; save, print and draw.

    Returns:
        0.
    """
    parsed = _parse(arguments)
    return show(
        parsed.data, Scaling, lambda: measured(parsed), lines=lines, plot=plot, to=parsed.plot
    )


def measured(parsed: argparse.Namespace) -> Scaling:
    """Return the study, saved after each round."""
    study = Scaling(
        arch=parsed.arch,
        size=parsed.size,
        data=parsed.data.resolve().name,
        num_train=parsed.train,
        num_val=parsed.val,
        machine=read_machine(),
        load=(),
        rounds=(),
    )
    for _ in range(parsed.rounds):
        for size in SIZES:
            found = _job(size, parsed)
            study = dataclasses.replace(
                study, rounds=(*study.rounds, found), load=(*study.load, os.getloadavg()[0])
            )
        if parsed.out:
            write_record(parsed.out, study)
    return study


def _job(size: int, parsed: argparse.Namespace) -> Round:
    """Return what a job of so many processes measured."""
    words: list[str] = []
    for name in RANK_OPTIONS:
        value = getattr(parsed, name)
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launch, f"--nproc-per-node={size}", "-m", scaling_rank.__name__, *words]
    with _on_cpus(size):
        done = subprocess.run(
            command,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise IndoorError(f"{size} processes failed: {done.stderr.strip()[-2000:]}")
    return from_json(done.stdout.splitlines()[-1], Round, "what the first rank printed")


@contextmanager
def _on_cpus(count: int) -> Iterator[None]:
    """Give what is started inside the block so many CPUs."""
    before = os.sched_getaffinity(0)
    if len(before) < count:
        raise IndoorError(f"{count} processes on {len(before)} CPUs; expected one for each")
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = scaling_rank.parser()
    add = parser.add_argument
    add("--rounds", type=int, default=3, help="of a job of each size")
    add("--train", type=int, default=4556, help="photographs of the modelled epoch")
    add("--val", type=int, default=804, help="of its validation")
    add("--out", type=Path, help="where to write the record as JSON")
    add("--plot", type=Path, help="where to draw it as a PNG")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
