"""Which engine and runtime adds int8 products up exactly on this CPU, tried on what overflows.

A network whose weights are all -128, 0 or 127, and whose activations lie in the upper half of
their range, against exact arithmetic. Without VNNI, x86 adds two products into 16 bits:
2 x 255 x 127 does not fit, 2 x 127 x 128 does. `ONEDNN_MAX_CPU_ISA=AVX2` in the environment shows
it on any x86 CPU, for what computes by oneDNN.

Example:
    python -m bench.studies.saturation --out saturation.json
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.intrinsic.quantized import ConvReLU2d
from torch.ao.nn.quantized import Linear
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule
from torch.nn import functional

from bench.studies import run
from indoor.devices import use_threads
from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.files import write_text
from indoor.machine import read_machine
from indoor.model import FORMAT, build_model
from indoor.quantize import is_exact, load_int8, load_qdq, quantize, save_int8, supported_engines
from indoor.quantize.checkpoints import weight_tensors
from indoor.records import (
    CheckpointManifest,
    Engine,
    Preprocessing,
    QuantizationConfig,
    QuantizationRecord,
    WeightSource,
    to_builtins,
)
from indoor.runtimes import load_variant, native_variants

ARCH = "resnet18"
SIZE = 64
CLASSES = ("a", "b", "c", "d")

EXACT_DB = 30.0
"""Sound ways of rounding lie above it, and a saturated network far below."""


@dataclass(frozen=True)
class Case:
    """A range of activations, and how far the photographs go beyond what calibrated it."""

    activation_range: tuple[int, int]
    excess: float

    @property
    def words(self) -> str:
        """What it is called in the table."""
        beyond = f", inputs {self.excess:g} times calibration's" if self.excess > 1 else ""
        return f"{self.activation_range[0]}..{self.activation_range[1]}{beyond}"


CASES = (Case((0, 255), 1.0), Case((0, 127), 1.0), Case((0, 127), 8.0))

_SHIFT = 6.0
"""By how many standard deviations the activations lie above 0, so that no ReLU is for nothing."""


@dataclass(frozen=True)
class Row:
    """How near one way of computing comes to exact arithmetic in one case."""

    runtime: str
    case: str
    sqnr_db: float | None
    error: str | None = None

    @property
    def verdict(self) -> str:
        """What the table says."""
        if self.sqnr_db is None:
            return str(self.error)
        return f"{self.sqnr_db:6.1f} dB, {'exact' if self.sqnr_db >= EXACT_DB else 'SATURATES'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare every engine and every int8 runtime of this machine, print and record.

    Returns:
        0; 1 where the default, the widest range that the engine probe allows, saturates.
    """
    parsed = _parse(arguments)
    images = noise(8)
    rows: list[Row] = []
    with use_threads(1), tempfile.TemporaryDirectory() as folder:
        for index, case in enumerate(CASES):
            for engine in supported_engines():
                path = Path(folder) / f"{engine}-{index}" / "int8.safetensors"
                provoking_checkpoint(path, engine, case, images)
                loaded = load_int8(path)
                value = sqnr_db(exact_logits(loaded.model, images), loaded.model(images))
                rows.append(Row(f"eager, engine {engine}", case.words, value))
            if case.excess == 1:  # beyond the range, some runtimes clip what others do not
                run_folder = Path(folder) / f"{_portable_engine()}-{index}"
                rows += runtimes(run_folder, case, images, parsed.variant)
    machine = read_machine()
    record = {
        "study": "saturation",
        "machine": to_builtins(machine),
        "probe": {
            f"{engine} {low}..{high}": is_exact(engine, (low, high))
            for engine in supported_engines()
            for low, high in ((0, 127), (0, 255))
        },
        "rows": [to_builtins(row) for row in rows],
    }
    if parsed.out:
        write_text(parsed.out, json.dumps(record, indent=1) + "\n")
    print(  # noqa: T201 - a script's output
        machine.cpu_model, *(f"{r.runtime:<24}{r.case:<42}{r.verdict}" for r in rows), sep="\n"
    )
    wrong = [
        row
        for row in rows
        for engine in supported_engines()
        if row.runtime == f"eager, engine {engine}"
        and row.case == CASES[0].words
        and (row.sqnr_db or 0) < EXACT_DB
        and is_exact(engine, (0, 255))
    ]
    return 1 if wrong else 0


def runtimes(
    run_folder: Path, case: Case, images: Tensor, names: Sequence[str] | None = None
) -> Iterator[Row]:
    """Yield the row of each int8 variant beside eager's, with its error where there is none.

    Exact is float32 between quantize and dequantize, as torch's own eager mode computes it. Where a
    runtime leaves a sum's terms unrounded, it is compared with what leaves them so, too.
    """
    path = run_folder / "int8.safetensors"
    with torch.inference_mode():
        references = [load_qdq(path, round_sums=rounds)(images) for rounds in (True, False)]
    for variant in native_variants():
        if variant.precision != "int8" or variant.runtime == "eager":
            continue
        if names is not None and variant.name not in names:
            continue
        try:
            with closing(load_variant(variant, run_folder, len(images))) as loaded:
                logits = loaded.logits(images)
            value = max(sqnr_db(reference, logits) for reference in references)
            yield Row(variant.name, case.words, value)
        except IndoorError as error:
            yield Row(variant.name, case.words, None, str(error))


def provoking_checkpoint(path: Path, engine: Engine, case: Case, images: Tensor) -> None:
    """Write an int8 checkpoint whose sums of pairs leave 16 bits on these photographs.

    It says nothing of whether it was exact, so that no loader refuses it.
    """
    config = QuantizationConfig(
        flow="eager",
        engine=engine,
        activation_range=case.activation_range,
        observer="minmax",
        weights="per-channel",
        num_calibration=len(images),
        batch=len(images),
        seed=0,
    )
    model = quantize(provoking_network(images), config, [images / case.excess])
    record = QuantizationRecord(
        config=config,
        calibration_sha256="0" * 64,
        num_quantized_modules=21,
        cpu_model="this one",
        vnni=None,
        torch_version=str(torch.__version__),
        forced=False,
        check=None,
    )
    manifest = CheckpointManifest(
        format=FORMAT,
        arch=ARCH,
        precision="int8",
        classes=CLASSES,
        preprocessing=Preprocessing(resize="whole", size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3),
        weights=WeightSource(kind="none", name="random", sha256=None),
        quantization=record,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_int8(path, model, manifest)


def provoking_network(images: Tensor) -> nn.Module:
    """Return a float32 network whose weights are -1, 0 and 1, and whose batch norms know images."""
    model = build_model(ARCH, len(CLASSES), seed=0)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            signs = torch.randint(-1, 2, module.weight.shape, generator=generator)
            module.weight.data = signs.float()
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, not a moving one
            module.reset_running_stats()
            module.bias.data.fill_(_SHIFT)
    model.train()
    with torch.no_grad():
        model(images)
    return model.eval()


def exact_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Return what an int8 network gives if every layer adds its integers up exactly.

    float64 holds all of these sums (they stay far below 2**53). Sums of blocks and poolings, which
    have no products, are the network's own.
    """
    hooks = [
        module.register_forward_hook(lambda layer, inputs, _: _exactly(layer, inputs[0]))
        for module in model.modules()
        if isinstance(module, WeightedQuantizedModule)
    ]
    try:
        with torch.inference_mode():
            logits: Tensor = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return logits


def _exactly(layer: Any, inputs: Tensor) -> Tensor:
    """Return a layer's quantized output, by integers in float64."""
    parts = weight_tensors(layer)
    values = inputs.int_repr().double() - inputs.q_zero_point()
    weights, bias = parts["weight"].double(), parts["bias"].double()
    shape = (-1,) if isinstance(layer, Linear) else (-1, 1, 1)
    scales = parts["weight.scale"].double().reshape(shape)
    outputs = _sums(layer, values, weights) * scales * inputs.q_scale() + bias.reshape(shape)
    if isinstance(layer, ConvReLU2d):
        outputs = outputs.relu()
    steps = (outputs / float(layer.scale)).round() + int(layer.zero_point)
    levels = steps.clamp(0, 255).to(torch.uint8)
    return torch._make_per_tensor_quantized_tensor(
        levels, float(layer.scale), int(layer.zero_point)
    )


def _sums(layer: Any, values: Tensor, weights: Tensor) -> Tensor:
    if isinstance(layer, Linear):
        return functional.linear(values, weights)
    where = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return functional.conv2d(values, weights, None, *where)


def noise(count: int) -> Tensor:
    """Return normalised noise in the place of photographs, float32 `(B, 3, 64, 64)`."""
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def _portable_engine() -> Engine:
    """Return the engine whose checkpoint the other runtimes are given."""
    return next((e for e in supported_engines() if e == "onednn"), supported_engines()[0])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.studies.saturation", description=__doc__)
    parser.add_argument("--variant", nargs="*", help="default: every int8 runtime of this machine")
    parser.add_argument("--out", type=Path, help="where to write the record as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
