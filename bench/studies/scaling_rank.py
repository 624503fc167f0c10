"""What one rank of a job of `bench.studies.scaling` measures; torchrun starts it, the first prints.

Every piece is timed with all ranks at it at once, behind a barrier, and as long as the slowest
takes: seconds by the clock, and seconds of this process's CPU, which other programs do not stretch.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.studies import run
from bench.studies.scaling_model import Round, Took
from indoor.dataset import IndoorScenes, stratified_sample
from indoor.devices import use_threads
from indoor.model import ARCHS, build_model, fold
from indoor.process_group import gather, joined
from indoor.progress import NO_PROGRESS
from indoor.ranks import Ranks, share_of_step
from indoor.records import to_json
from indoor.train.augmented_views import AugmentedScenes, PlainScenes
from indoor.train.features import read_features
from indoor.train.full import FULL_BATCH, validate
from indoor.train.loader import batches_of
from indoor.train.loop import Run, Schedule, run_epoch, start_run
from indoor.transforms import DEFAULT_PREPROCESSING

CPU = torch.device("cpu")

MESSAGES = (1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 24)
"""Float32 numbers of the sums that are timed, beside the gradients' own."""

SUMS = 5


class Clock:
    """Times pieces of work that all ranks do at once: `seconds` by name."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.seconds: dict[str, Took] = {}

    @contextmanager
    def timing(self, name: str, count: int = 1) -> Iterator[None]:
        """Time the block as the slowest rank's, an unit of `count`."""
        gather(self.ranks, 0)
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        took = (time.perf_counter() - wall, time.process_time() - cpu)
        slowest = [max(values) / count for values in zip(*gather(self.ranks, took), strict=True)]
        self.seconds[name] = Took(wall_s=slowest[0], cpu_s=slowest[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Time all pieces and print the seconds as one line of JSON.

    Returns:
        0.
    """
    parsed = parser().parse_args(arguments)
    with use_threads(1), joined(CPU) as ranks:
        clock = Clock(ranks)
        scenes = _photographs(parsed.data, parsed.photographs)
        model = build_model(parsed.arch, len(scenes.classes), seed=0)
        started = start_run(
            model,
            CPU,
            learning_rate=1e-6,  # the weights stay finite whatever the labels are
            backbone_factor=1.0,
            ranks=ranks,
            freezes_batch_norm=True,
        )
        _time_steps(clock, started, parsed)
        if ranks.size > 1:
            _time_sums(clock, model)
        _time_photographs(clock, started, scenes, parsed)
        if ranks.is_first:
            found = Round(ranks=ranks.size, took=clock.seconds)
            print(to_json(found).decode())  # noqa: T201 - what the study reads
    return 0


def _time_steps(clock: Clock, started: Run, parsed: argparse.Namespace) -> None:
    """Time steps on photographs in memory: of each size alone, or the shared one."""
    sizes = parsed.batches if clock.ranks.size == 1 else [FULL_BATCH]
    for size in sizes:
        places = share_of_step(clock.ranks, size)
        batch = _noise(len(places), parsed.size)
        _train(clock.ranks, started, [batch], size)  # warms caches up
        with clock.timing(f"step of {size}", parsed.steps):
            _train(clock.ranks, started, [batch] * parsed.steps, size)


def _time_sums(clock: Clock, model: nn.Module) -> None:
    """Time what the ranks add up: some sizes, and as many numbers as there are gradients."""
    for num in (*MESSAGES, sum(p.numel() for p in model.parameters())):
        values = torch.ones(num)
        dist.all_reduce(values)
        with clock.timing(f"sum of {num}", SUMS):
            for _ in range(SUMS):
                dist.all_reduce(values)


def _time_photographs(
    clock: Clock, started: Run, scenes: IndoorScenes, parsed: argparse.Namespace
) -> None:
    """Time views, an epoch's steps with them, validation and features, of the photographs."""
    ranks, num = clock.ranks, len(scenes)
    places = share_of_step(ranks, FULL_BATCH)
    order = (torch.arange(parsed.steps * FULL_BATCH) % num).view(-1, FULL_BATCH)
    mine = order[:, places.start : places.stop].flatten()
    views = AugmentedScenes(scenes, DEFAULT_PREPROCESSING, parsed.size, mine, 0, 1)
    with clock.timing("views", order.numel()):
        for _ in batches_of(views, len(places), CPU):
            pass
    with clock.timing("epoch", order.numel()):
        _train(ranks, started, batches_of(views, len(places), CPU), FULL_BATCH)
    plain = PlainScenes(scenes, DEFAULT_PREPROCESSING, range(num))
    network = fold(started.average)
    with clock.timing("validation", num):
        validate(network, plain, CPU, NO_PROGRESS, ranks)
    with tempfile.TemporaryDirectory() as own:
        cache = Path(gather(ranks, own)[0])  # the first one's
        with clock.timing("features", num):
            read_features(started.average, scenes, DEFAULT_PREPROCESSING, cache, ranks=ranks)
        gather(ranks, 0)


def _train(ranks: Ranks, started: Run, batches: Iterable[tuple[Tensor, Tensor]], size: int) -> None:
    run_epoch(
        started,
        batches,
        Schedule(num_photographs=10**6, batch=size, epochs=1),
        1,
        device=CPU,
        progress=NO_PROGRESS,
        ranks=ranks,
        share=len(share_of_step(ranks, size)) / size,
    )


def _noise(num: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, 3, size, size, generator=generator), torch.zeros(num, dtype=torch.int64)


def _photographs(root: Path, count: int) -> IndoorScenes:
    scenes = IndoorScenes(root, "train")
    chosen = stratified_sample(scenes.labels, min(count, len(scenes)), 0)
    scenes.samples = tuple(scenes.samples[index] for index in chosen)
    return scenes


def parser() -> argparse.ArgumentParser:
    """Return what `bench.studies.scaling` reads, too."""
    made = argparse.ArgumentParser(prog="python -m bench.studies.scaling", description=__doc__)
    made.add_argument("--data", type=Path, required=True, help="a data set's folder")
    made.add_argument("--arch", choices=ARCHS, default="resnet18")
    made.add_argument("--size", type=int, default=112, help="of the views in pixels")
    made.add_argument("--photographs", type=int, default=128, help="of the train split")
    made.add_argument("--steps", type=int, default=3, help="timed of each size")
    made.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, FULL_BATCH])
    return made


if __name__ == "__main__":
    run(main)
