"""How near decoding comes to libjpeg-turbo alone, before and after Pillow's way was left.

Every round takes a turn of each way, in random order, on the same files and threads. Before any of
it is timed, both ways are to give the same pixels and the same tensors, bit for bit.

Example:
    python -m bench.studies.decoding --data ROOT --out decoding.json
"""

import argparse
import json
import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import simplejpeg
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from bench.studies import run
from indoor.dataset import IndoorScenes, Sample, load_batches, load_photograph
from indoor.dataset.photographs import decode_by_pillow, read_photograph_bytes
from indoor.dataset.soundness import map_ordered
from indoor.devices import use_threads
from indoor.errors import IndoorError
from indoor.files import write_text
from indoor.machine import num_usable_cores, read_machine
from indoor.measure import paired_speedup
from indoor.measure.pairs import LocalCall, Plan, Series, measure_interleaved
from indoor.measure.worker import timed
from indoor.records import PairedSpeedup, Preprocessing, to_builtins
from indoor.transforms import DEFAULT_PREPROCESSING, inference_transform

TURBO = "libjpeg-turbo"
BATCH = 32

Way = Callable[[int], object]
"""Does its work for the photographs, with so many threads, and drops what it made."""


@dataclass(frozen=True)
class Row:
    """One way on so many threads: its median, and its speed as a share of libjpeg-turbo's."""

    way: str
    threads: int
    ms_per_photograph: float
    share_of_turbo: PairedSpeedup | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the pixels, time all ways, print and record the figures.

    Returns:
        0; 1 where a pixel differs.
    """
    parsed = _parse(arguments)
    scenes = _sample(parsed.data, parsed.photographs)
    before = Before(scenes, DEFAULT_PREPROCESSING)
    num_different = sum(map_ordered(before.differs, range(len(scenes)), num_usable_cores()))
    rows: list[Row] = []
    with use_threads(1):  # decoding threads transform on their own
        for threads in parsed.threads or sorted({1, num_usable_cores()}):
            series = measure_interleaved(
                {
                    name: LocalCall(timed(partial(way, threads)))
                    for name, way in ways(scenes, before).items()
                },
                Plan(budget_s=parsed.seconds, max_warmup_s=2.0),
                seed=threads,
            )
            rows += _rows(series, threads, len(scenes))
    machine = read_machine()
    record = {
        "study": "decoding",
        "data": parsed.data.resolve().name,
        "num_photographs": len(scenes),
        "num_different": num_different,
        "versions": {"simplejpeg": simplejpeg.__version__, "pillow": PIL.__version__},
        "machine": to_builtins(machine),
        "rows": [to_builtins(row) for row in rows],
    }
    if parsed.out:
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    print(  # noqa: T201 - a script's output
        f"{machine.cpu_model}, {len(scenes)} photographs of {record['data']}; "
        f"{num_different} of them differ in a pixel or a tensor's element",
        *(_line(row) for row in rows),
        sep="\n",
    )
    return 1 if num_different else 0


class Before:
    """How photographs became tensors: all by Pillow, then step by step with a copy each."""

    def __init__(self, scenes: IndoorScenes, preprocessing: Preprocessing) -> None:
        self._scenes = scenes
        self._preprocessing = preprocessing
        size = [preprocessing.size] * 2
        self._resize = v2.Resize(size, interpolation=v2.InterpolationMode.BILINEAR, antialias=True)

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self._scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return float32 `(3, size, size)` and the label."""
        sample, p = self._scenes.samples[index], self._preprocessing
        pixels = np.asarray(self._resize(self.photograph(sample.path)), dtype=np.float32)
        scale = np.float32(1) / (np.float32(255) * np.asarray(p.std, dtype=np.float32))
        shift = np.asarray(p.mean, dtype=np.float32) / np.asarray(p.std, dtype=np.float32)
        planes = np.ascontiguousarray((pixels * scale - shift).transpose(2, 0, 1))
        return torch.from_numpy(planes), sample.label

    def photograph(self, path: Path) -> Image.Image:
        """Return the upright photograph."""
        return decode_by_pillow(read_photograph_bytes(path), str(path))

    def batches(self, num_threads: int) -> Iterator[Tensor]:
        """Yield batches, each photograph copied into its batch when all of them are there."""
        tensors: list[Tensor] = []
        for tensor, _ in map_ordered(self.__getitem__, range(len(self)), num_threads):
            tensors.append(tensor)
            if len(tensors) == BATCH:
                yield torch.stack(tensors)
                tensors = []
        if tensors:
            yield torch.stack(tensors)

    def differs(self, index: int) -> bool:
        """Tell whether pixels or tensor are others than they are now."""
        path = self._scenes.samples[index].path
        same_pixels = self.photograph(path).tobytes() == load_photograph(path).tobytes()
        return not (same_pixels and torch.equal(self[index][0], self._scenes[index][0]))


def ways(scenes: IndoorScenes, before: Before) -> Mapping[str, Way]:
    """Return what takes turns, libjpeg-turbo first; files are read anew in each."""
    paths = [sample.path for sample in scenes.samples]
    places = range(len(scenes))
    return {
        TURBO: lambda n: _drop(map_ordered(_by_turbo, paths, n)),
        "decoding, before": lambda n: _drop(map_ordered(before.photograph, paths, n)),
        "decoding": lambda n: _drop(map_ordered(load_photograph, paths, n)),
        "with transform, before": lambda n: _drop(map_ordered(before.__getitem__, places, n)),
        "with transform": lambda n: _drop(map_ordered(scenes.__getitem__, places, n)),
        f"in batches of {BATCH}, before": lambda n: _drop(before.batches(n)),
        f"in batches of {BATCH}": lambda n: _drop(load_batches(scenes, BATCH, num_threads=n)),
    }


def _by_turbo(path: Path) -> object:
    return simplejpeg.decode_jpeg(read_photograph_bytes(path), "RGB")


def _drop(made: Iterable[object]) -> None:
    for _ in made:
        pass


def _rows(series: Mapping[str, Series], threads: int, num: int) -> Iterator[Row]:
    turbo = series[TURBO].seconds
    for way, one in series.items():
        share = None
        if way != TURBO:
            share = paired_speedup(turbo, one.seconds, baseline=TURBO, candidate=way)
        yield Row(way, threads, statistics.median(one.seconds) / num * 1000, share)


def _line(row: Row) -> str:
    line = f"{row.threads} threads  {row.way:24} {row.ms_per_photograph:7.3f} ms a photograph"
    if row.share_of_turbo is None:
        return line
    share, interval = row.share_of_turbo.speedup, row.share_of_turbo.interval
    return f"{line}  {share:6.1%} of {TURBO} ({interval.low:.1%} to {interval.high:.1%})"


def _sample(root: Path, num: int) -> IndoorScenes:
    """Return photographs of the test split at random: those of which libjpeg remarks nothing."""
    scenes = IndoorScenes(root, "test", inference_transform(DEFAULT_PREPROCESSING))
    order = list(scenes.samples)
    random.Random(0).shuffle(order)
    chosen: list[Sample] = []
    for sample in order:
        if len(chosen) == num:
            break
        try:
            _by_turbo(sample.path)
        except ValueError:  # no JPEG, or a damaged one
            continue
        chosen.append(sample)
    if not chosen:
        raise IndoorError(f"{root} has no JPEG that decodes in its test split, expected one")
    scenes.samples = tuple(chosen)
    return scenes


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.decoding", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a data set's folder")
    parser.add_argument("--photographs", type=int, default=128, help="of the test split")
    parser.add_argument("--threads", type=int, nargs="+", help="default: 1 and all cores")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each number of threads")
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
