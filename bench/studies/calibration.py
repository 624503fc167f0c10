"""How many photographs a calibration needs, by observer: accuracy and noise against their number.

One pass over the photographs serves every observer. Beside it stands what the reference does, one
photograph (`minmax`, 1) and torchvision's own `torch.rand(1, 3, 299, 299)`, and what the observers
choose for half of the levels (0..127), where torch's histogram still counts on 256.

Example:
    python -m bench.studies.calibration CHECKPOINT --data ROOT --out FILE.json.gz --plot FILE.png
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from bench.studies import run, show
from bench.studies.calibration_rows import (
    CalibrationRow,
    CalibrationStudy,
    Source,
    lines,
    plot,
)
from indoor.dataset import IndoorScenes, load_batches, stratified_sample
from indoor.devices import use_threads
from indoor.errors import IndoorError
from indoor.evaluate import compare, predict
from indoor.machine import read_machine
from indoor.model import LoadedModel, load_float, open_split, recorded_split
from indoor.quantize import default_config
from indoor.quantize.eager_flow import convert_observed
from indoor.quantize.observed import choose, observe
from indoor.records import Observer, QuantizationConfig, write_record

COUNTS = tuple(2**power for power in range(11))
HALVED_AT = 256
"""The number of photographs for which the ranges are halved, too."""

TEST_BATCH = 8

OF_128_LEVELS = "histogram of 128 levels"
"""torch's search with the number of levels that 0..127 really has."""


@dataclass(frozen=True)
class Judge:
    """float32, its logits for the test photographs in memory, and how an int8 is compared."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    logits: Tensor

    def row(
        self,
        observed: nn.Module,
        config: QuantizationConfig,
        name: str,
        source: Source = "photographs",
    ) -> CalibrationRow:
        """Return the int8 network that is chosen now, compared with float32."""
        began = time.perf_counter()
        prepared = choose(observed, config)
        if name == OF_128_LEVELS:
            module: Any
            for module in prepared.modules():
                if hasattr(module, "dst_nbins"):
                    module.dst_nbins = 128
        int8 = convert_observed(prepared, self.model, config).eval()
        choosing_s = time.perf_counter() - began
        pair = compare(
            self.logits,
            logits_of(int8, self.images, self.labels),
            self.labels,
            baseline="float32",
            candidate="int8",
        )
        return CalibrationRow(
            source=source,
            num_calibration=config.num_calibration,
            seed=config.seed,
            observer=name,
            activation_range=config.activation_range,
            pair=pair,
            choosing_s=choosing_s,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate, compare, save after each row, print and draw.

    Returns:
        0.
    """
    parsed = _parse(arguments)
    return show(
        parsed.source,
        CalibrationStudy,
        lambda: measured(parsed),
        lines=lines,
        plot=plot,
        to=parsed.plot,
    )


def measured(parsed: argparse.Namespace) -> CalibrationStudy:
    """Return the study, saved after each row."""
    if parsed.data is None:
        raise IndoorError(f"{parsed.source}: a checkpoint is measured on a data set; give --data")
    began = time.monotonic()
    with use_threads(parsed.threads):
        loaded = load_float(parsed.source)
        judge = judged(loaded, parsed.data, parsed.photographs)
        machine = read_machine()
        config = default_config(batch=parsed.batch, engine=parsed.engine)
        rows: list[CalibrationRow] = []
        passes_s: list[float] = []
        study = CalibrationStudy(
            arch=loaded.manifest.arch,
            weights=loaded.manifest.weights,
            data=parsed.data.resolve().name,
            engine=config.engine,
            batch=config.batch,
            threads=parsed.threads,
            num_test=len(judge.labels),
            float32_top1=float((judge.logits.argmax(1) == judge.labels).double().mean()),
            machine=machine,
            pass_s=(),
            rows=(),
        )
        for row in all_rows(loaded, judge, config, parsed, passes_s):
            rows.append(row)
            study = dataclasses.replace(study, rows=tuple(rows), pass_s=tuple(passes_s))
            if parsed.out:
                write_record(parsed.out, study)
            if time.monotonic() - began > 60 * parsed.minutes:
                break
    return study


def all_rows(
    loaded: LoadedModel,
    judge: Judge,
    config: QuantizationConfig,
    parsed: argparse.Namespace,
    passes_s: list[float],
) -> Iterator[CalibrationRow]:
    """Yield what torch.rand gives, the further seeds' rows, and then the first seed's.

    The first seed has the large numbers, which take longest.
    """
    drawn = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    observed = observe(judge.model, config, drawn)
    with torch.no_grad():
        observed(drawn)
    for name in parsed.observer:
        at = dataclasses.replace(config, num_calibration=1, observer=name)
        yield judge.row(observed, at, name, "torch.rand")
    for seed in reversed(range(parsed.seeds)):
        train = train_split(loaded, parsed.data, seed)
        mine = dataclasses.replace(config, seed=seed)
        if seed:
            few = (parsed.more_counts, parsed.more_observer, 0)
            yield from seed_rows(judge, train, mine, *few, passes_s)
        else:
            whole = (parsed.counts, parsed.observer, parsed.halved_at)
            yield from seed_rows(judge, train, mine, *whole, passes_s)


def seed_rows(
    judge: Judge,
    train: IndoorScenes,
    config: QuantizationConfig,
    counts: Sequence[int],
    observers: Sequence[Observer],
    halved_at: int,
    passes_s: list[float],
) -> Iterator[CalibrationRow]:
    """Yield one seed's rows, and note how long its passes took."""
    if max(counts) > len(train):
        raise IndoorError(
            f"the data set has {len(train)} train photographs to calibrate on, expected "
            f"{max(counts)}; lower --counts"
        )
    sample = stratified_sample(train.labels, max(counts), config.seed)
    passes_s.append(0.0)
    for together in passes(counts, config.batch):
        batch = min(config.batch, max(together))
        observed, num_seen = observe(judge.model, config, judge.images[:batch]), 0
        began = time.perf_counter()
        with torch.no_grad():
            for photographs, _ in load_batches(train, batch, indices=sample[: max(together)]):
                observed(photographs)
                num_seen += len(photographs)
                if num_seen not in together:
                    continue
                passes_s[-1] += time.perf_counter() - began
                at = dataclasses.replace(config, num_calibration=num_seen)
                for name in observers:
                    yield judge.row(observed, dataclasses.replace(at, observer=name), name)
                if num_seen == halved_at:
                    yield from _halved(observed, judge, at, observers)
                began = time.perf_counter()


def passes(counts: Sequence[int], batch: int) -> list[list[int]]:
    """Return the numbers that one pass serves, so that each sees the batches of its own quantize.

    Whole batches are a prefix of more of them; what is none has a pass of its own.
    """
    whole = sorted(n for n in counts if n % batch == 0)
    return [*([n] for n in sorted(counts) if n % batch), *([whole] if whole else [])]


def _halved(
    observed: nn.Module, judge: Judge, config: QuantizationConfig, observers: Sequence[Observer]
) -> Iterator[CalibrationRow]:
    """Yield the same pass's rows for 0..127."""
    for observer in observers:
        half = dataclasses.replace(config, observer=observer, activation_range=(0, 127))
        yield judge.row(observed, half, observer)
        if observer == "histogram":
            yield judge.row(observed, half, OF_128_LEVELS)


def judged(loaded: LoadedModel, root: Path, count: int) -> Judge:
    """Return the judge of so many test photographs, as even over the classes as can be."""
    scenes = open_split(loaded.manifest, loaded.path, root, "test")
    if count > len(scenes):
        raise IndoorError(
            f"{root} has {len(scenes)} test photographs, expected {count}; lower --photographs"
        )
    chosen = stratified_sample(scenes.labels, count, 0)
    parts = list(load_batches(scenes, TEST_BATCH, indices=chosen))
    images, labels = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    return Judge(loaded.model, images, labels, logits_of(loaded.model, images, labels))


def logits_of(model: Any, images: Tensor, labels: Tensor) -> Tensor:
    """Return a network's logits, some photographs at a time."""
    batches = zip(images.split(TEST_BATCH), labels.split(TEST_BATCH), strict=True)
    return predict(model, batches)[0]


def train_split(loaded: LoadedModel, root: Path, seed: int) -> IndoorScenes:
    """Return the photographs that `indoor quantize` calibrates this checkpoint on."""
    recorded = recorded_split(loaded.manifest)
    seed, fraction = recorded or (seed, 0.15)
    return open_split(loaded.manifest, loaded.path, root, "train", val_fraction=fraction, seed=seed)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = get_args(Observer)
    parser = argparse.ArgumentParser(
        prog="python -m bench.studies.calibration", description=__doc__
    )
    parser.add_argument(
        "source", type=Path, help="a float32 checkpoint, or what --out wrote, to be shown again"
    )
    parser.add_argument("--data", type=Path, help="a data set's folder")
    parser.add_argument("--photographs", type=int, default=512, help="of the test split")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--halved-at", type=int, default=HALVED_AT)
    parser.add_argument("--observer", nargs="+", choices=names, default=names)
    parser.add_argument("--engine", help="default: the fastest exact one here")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--more-counts", type=int, nargs="+", default=COUNTS[:9:2])
    parser.add_argument(
        "--more-observer",
        nargs="+",
        choices=names,
        default=("minmax", "histogram", "mse"),
        help="of all seeds but the first, as --more-counts",
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="no row begins later")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    parser.add_argument("--plot", type=Path, help="where to draw it as a PNG")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
