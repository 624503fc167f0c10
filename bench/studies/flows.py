"""Every flow, engine and observer on one data set: what int8 loses, and what making it costs.

All rows see the same calibration photographs and the same test photographs, which are decoded once.
Flow, observer and range choose an int8 network's numbers, an engine only computes with them, so
that rows of the same three share a calibration; rows whose checkpoints are the same bit for bit
share all figures. Every flow is measured with every observer on the engine that is this CPU's
default, the other engines with few observers of the default flow.

Example:
    python -m bench.studies.flows --weights FILE --data ROOT --out flows.json
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from bench.studies import run
from bench.studies.flows_table import Row, Study, describe
from indoor.dataset import load_batches, stratified_sample
from indoor.devices import use_threads
from indoor.evaluate import Exact, compare, evaluate, predict
from indoor.machine import num_usable_cores, read_machine
from indoor.measure.pairs import LocalCall, Plan, measure_interleaved
from indoor.measure.worker import timed
from indoor.model import LoadedModel, fuse, load_float, open_split, read_tensors, recorded_split
from indoor.model.tensors import FORMAT, hash_tensors
from indoor.quantize import (
    count_quantized_modules,
    default_config,
    is_exact,
    load_int8,
    quantize,
    save_int8,
    supported_engines,
    vnni_supported,
)
from indoor.quantize.checkpoints import assemble
from indoor.records import (
    Engine,
    Evaluation,
    Flow,
    Observer,
    QuantizationConfig,
    QuantizationRecord,
    Split,
    write_record,
)
from indoor.runtimes import all_variants, aotinductor, why_not

COMPILED = "int8-aotinductor"

SLOW_ENGINES = ("qnnpack",)
"""Four times as slow as the others on x86, so that they see fewer photographs."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is compared, and on how much."""

    weights: Path
    root: Path
    flows: tuple[Flow, ...] = get_args(Flow)
    observers: tuple[Observer, ...] = get_args(Observer)
    engines: tuple[Engine, ...] = field(default_factory=supported_engines)
    few_observers: tuple[Observer, ...] = ("histogram", "minmax")
    num_photographs: int | None = None
    num_few: int = 300
    num_calibration: int | None = None
    compiles: bool = True
    threads: int = field(default_factory=num_usable_cores)
    batch: int = 16
    timing_s: float = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all rows, print and record the figures; 0."""
    asked, out = _parse(arguments)

    def keep(study: Study) -> None:
        if out is not None:
            write_record(out, study)

    with use_threads(asked.threads):
        print(describe(measure(asked, keep)))  # noqa: T201 - a script's output
    return 0


def measure(asked: Asked, keep: Callable[[Study], None] = lambda _: None) -> Study:
    """Return all rows; `keep` hears of them as they come.

    Raises:
        IndoorError: The weights, the data set or a configuration cannot be used.
    """
    loaded = load_float(asked.weights)
    calibration, tested = _photographs(asked, loaded)
    float_logits, labels = predict(Exact(fuse(loaded.model), loaded.model, every=16), tested)
    study = Study(
        study="flows",
        arch=loaded.manifest.arch,
        checkpoint_sha256=loaded.sha256,
        data=asked.root.resolve().name,
        num_test=len(labels),
        num_calibration=sum(map(len, calibration)),
        threads=asked.threads,
        batch=asked.batch,
        machine=read_machine(),
        float32=_accuracy(float_logits, labels, loaded, "float32").top1,
    )
    chosen: dict[object, tuple[dict[str, Tensor], float]] = {}
    known: dict[tuple[str, Engine], Row] = {}
    with tempfile.TemporaryDirectory(prefix="indoor-flows-") as name:
        for index, config in enumerate(_configs(asked)):
            numbers = (config.flow, config.observer, config.activation_range)
            path = Path(name) / f"{index}" / "int8.safetensors"
            if numbers not in chosen:
                began = time.perf_counter()
                model = quantize(loaded.model, config, calibration)
                chosen[numbers] = _saved(path, model, config, loaded), time.perf_counter() - began
            tensors, seconds = chosen[numbers]
            same = (hash_tensors(tensors), config.engine)
            if same in known:
                twin = known[same]
                row = replace(twin, config=config, same_as=twin.config.flow)
            else:
                model = assemble(loaded.model, tensors, config.engine)
                _saved(path, model, config, loaded)
                num = asked.num_few if config.engine in SLOW_ENGINES else len(labels)
                logits, _ = predict(model, tested[: -(-num // asked.batch)])
                row = _row(config, path, logits, float_logits, labels, loaded)
                known[same] = row
            study = replace(study, rows=(*study.rows, replace(row, quantize_s=seconds)))
            keep(study)
        study = _timed(study, Path(name), tested[0][0], asked)
    keep(study)
    return study


def _photographs(
    asked: Asked, loaded: LoadedModel
) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
    """Return calibration and test photographs as the checkpoint wants them, in batches."""
    seed, val_fraction = recorded_split(loaded.manifest) or (0, 0.15)

    def batches(split: Split, num: int | None) -> list[tuple[Tensor, Tensor]]:
        scenes = open_split(
            loaded.manifest,
            loaded.path,
            asked.root,
            split,
            val_fraction=val_fraction,
            seed=seed,
        )
        some = stratified_sample(scenes.labels, min(num or len(scenes), len(scenes)), 0)
        return list(load_batches(scenes, asked.batch, indices=some))

    num_calibration = asked.num_calibration or default_config().num_calibration
    calibration = [images for images, _ in batches("train", num_calibration)]
    return calibration, batches("test", asked.num_photographs)


def _configs(asked: Asked) -> Iterator[QuantizationConfig]:
    """Yield each row's configuration, those of the default engine first."""
    own = default_config().engine
    asked_for = partial(default_config, num_calibration=asked.num_calibration)
    for observer in asked.observers:
        for flow in asked.flows:
            yield asked_for(engine=own, flow=flow, observer=observer)
    for engine in asked.engines:
        for observer in asked.few_observers:
            if engine != own and observer in asked.observers:
                yield asked_for(engine=engine, flow=asked.flows[0], observer=observer)


def _saved(
    path: Path, model: nn.Module, config: QuantizationConfig, loaded: LoadedModel
) -> dict[str, Tensor]:
    """Write an int8 checkpoint, and return its tensors."""
    record = QuantizationRecord(
        config=config,
        calibration_sha256="0" * 64,
        num_quantized_modules=count_quantized_modules(model),
        cpu_model=read_machine().cpu_model,
        vnni=vnni_supported(),
        torch_version=str(torch.__version__),
        forced=True,
        check=None,
        exact=is_exact(config.engine, config.activation_range),
    )
    manifest = replace(
        loaded.manifest, format=FORMAT, precision="int8", metrics={}, quantization=record
    )
    path.parent.mkdir(exist_ok=True)
    save_int8(path, model, manifest)
    return read_tensors(path)[0]


def _accuracy(logits: Tensor, labels: Tensor, loaded: LoadedModel, name: str) -> Evaluation:
    return evaluate(logits, labels, loaded.manifest.classes, variant=name, split="test")


def _row(
    config: QuantizationConfig,
    path: Path,
    logits: Tensor,
    float_logits: Tensor,
    labels: Tensor,
    loaded: LoadedModel,
) -> Row:
    """Return a row's accuracies beside those of float32 on the same photographs."""
    seen = len(logits)
    float_logits, labels = float_logits[:seen], labels[:seen]
    figures = _accuracy(logits, labels, loaded, "int8")
    baseline = _accuracy(float_logits, labels, loaded, "float32")
    differences = {
        one.name: one.accuracy.value - other.accuracy.value
        for one, other in zip(figures.per_class, baseline.per_class, strict=True)
    }
    worst = min(differences, key=lambda name: differences[name])
    return Row(
        config=config,
        same_as=None,
        top1=figures.top1,
        pair=compare(float_logits, logits, labels, baseline="float32", candidate="int8"),
        worst_class=worst,
        worst_class_difference=differences[worst],
        size_bytes=path.stat().st_size,
        quantize_s=0.0,
    )


def _timed(study: Study, folder: Path, images: Tensor, asked: Asked) -> Study:
    """Return the study with times, from one interleaved run.

    Observers change no time, so each flow and each engine has a row of its first one measured.
    """
    calls: dict[str, Callable[[], object]] = {}
    compile_s: dict[int, float] = {}
    first: dict[tuple[Flow, Engine], int] = {}
    for index, row in enumerate(study.rows):
        first.setdefault((row.config.flow, row.config.engine), index)
    variant = all_variants()[COMPILED]
    reason = why_not(variant) if asked.compiles else "--no-compile"
    for (_, engine), index in first.items():
        path = folder / f"{index}" / "int8.safetensors"
        if study.rows[index].same_as is not None:
            continue
        calls[f"{index}"] = partial(load_int8(path).model, images)
        if reason is None and engine == study.rows[0].config.engine:
            began = time.perf_counter()
            package = aotinductor.prepare(variant, path, len(images))
            compile_s[index] = time.perf_counter() - began
            calls[f"{index} compiled"] = partial(
                aotinductor.load(variant, package, asked.threads), images
            )
    with torch.inference_mode():
        series = measure_interleaved(
            {name: LocalCall(timed(call)) for name, call in calls.items()},
            Plan(budget_s=asked.timing_s),
            seed=0,
        )
    ms = {name: statistics.median(one.seconds) / len(images) * 1000 for name, one in series.items()}
    rows = tuple(
        replace(
            row,
            ms=ms.get(f"{index}"),
            compiled_ms=ms.get(f"{index} compiled"),
            compile_s=compile_s.get(index),
        )
        for index, row in enumerate(study.rows)
    )
    notes = () if reason is None else (f"Not compiled: {reason}",)
    return replace(study, rows=rows, notes=notes)


def _parse(arguments: Sequence[str] | None) -> tuple[Asked, Path | None]:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.flows", description=__doc__)
    add = parser.add_argument
    add("--weights", type=Path, required=True, help="a float32 checkpoint, or a file of weights")
    add("--data", type=Path, required=True, help="the data set that it was trained on")
    add("--photographs", type=int, help="of the test split (default: all)")
    add("--calibration", type=int, help="train photographs to calibrate on (default: quantize's)")
    add("--flows", nargs="+", choices=get_args(Flow), default=get_args(Flow))
    add("--observers", nargs="+", choices=get_args(Observer), default=get_args(Observer))
    add("--engines", nargs="+", choices=get_args(Engine), default=supported_engines())
    add("--no-compile", action="store_true", help="measure no compiled package")
    add("--threads", type=int, default=num_usable_cores(), help="default: all cores")
    add("--batch", type=int, default=16, help="photographs a call (default: 16)")
    add("--seconds", type=float, default=60.0, help="of the times' interleaved run (default: 60)")
    add("--out", type=Path, help="where to write the record as JSON")
    parsed = parser.parse_args(arguments)
    asked = Asked(
        weights=parsed.weights,
        root=parsed.data,
        flows=tuple(parsed.flows),
        observers=tuple(parsed.observers),
        engines=tuple(parsed.engines),
        compiles=not parsed.no_compile,
        num_photographs=parsed.photographs,
        num_calibration=parsed.calibration,
        threads=parsed.threads,
        batch=parsed.batch,
        timing_s=parsed.seconds,
    )
    return asked, parsed.out


if __name__ == "__main__":
    run(main)
