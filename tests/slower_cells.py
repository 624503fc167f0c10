"""Really measured cells of float32 and something slower, as the suite would record them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from quantizable import config, noise
from report_records import identity
from torch import Tensor, nn
from torch.ao.quantization import DeQuantStub, QuantStub, fuse_modules

from indoor.machine import read_environment, read_machine
from indoor.measure import paired_speedup, summarize_latency
from indoor.measure.pairs import LocalCall, Plan, measure_interleaved
from indoor.measure.slow_pair import Cause
from indoor.measure.slower import why_slower
from indoor.measure.worker import timed
from indoor.quantize import quantize
from indoor.records import (
    SCHEMA_VERSION,
    Measurement,
    RunIdentity,
    Variant,
    from_builtins,
    to_builtins,
)
from indoor.runtimes import Runnable, all_variants
from indoor.runtimes.eager import EagerNetwork
from indoor.runtimes.limits import best_limits, measure_limits

PLAN = Plan(budget_s=0.5, min_rounds=8, max_rounds=100, min_warmup_s=0.02, max_warmup_s=0.2)


class Layers(nn.Module):
    """A quantizable network of linear layers behind one convolution."""

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()  # type: ignore[no-untyped-call]
        self.conv = nn.Conv2d(3, width, 1, stride=64)
        self.norm = nn.BatchNorm2d(width)
        self.layers = nn.Sequential(*[nn.Linear(width, width) for _ in range(num_layers)])
        self.multiply_adds = width * (3 + num_layers * width)

    def forward(self, images: Tensor) -> Tensor:
        """Return `(B, width)` of photographs of 64 pixels."""
        features = self.norm(self.conv(self.quant(images)))
        logits: Tensor = self.dequant(self.layers(features.flatten(1)))
        return logits

    def fuse_model(self, is_qat: bool) -> None:  # noqa: ARG002 - as torchvision calls it
        """Make the norm part of the convolution."""
        fuse_modules(self, ["conv", "norm"], inplace=True)  # type: ignore[no-untyped-call]


def cells_of_layers(width: int, num_layers: int, batch: int) -> tuple[Measurement, ...]:
    """Return the cells of such a network in eager float32 and int8."""
    torch.manual_seed(0)
    network, images, known = Layers(width, num_layers).eval(), noise(batch), all_variants()
    networks = {
        known["float32"]: EagerNetwork(network),
        known["int8"]: EagerNetwork(quantize(network, config(engine="onednn"), [images])),
    }
    return cells(networks, images, network.multiply_adds)


def cells(
    networks: Mapping[Variant, Runnable], images: Tensor, multiply_adds: int
) -> tuple[Measurement, ...]:
    """Return the cell of each variant on one thread, float32's first.

    Args:
        networks: float32 and another.
        images: A batch.
        multiply_adds: Of one photograph.
    """
    run = identity(
        read_machine(), environment=read_environment(), variants=tuple(networks), quantization=None
    )
    calls = {
        variant.name: LocalCall(timed(lambda network=network: network(images)))  # type: ignore[misc]
        for variant, network in networks.items()
    }
    series = measure_interleaved(calls, PLAN, seed=0)
    base, *_ = (one.seconds for one in series.values())
    found = []
    for variant, network in networks.items():
        one = series[variant.name]
        paired = paired_speedup(base, one.seconds, baseline="float32", candidate=variant.name)
        found.append(
            case(
                run,
                case="latency",
                variant=variant.name,
                runtime=variant.runtime,
                precision=variant.precision,
                batch=len(images),
                latency=summarize_latency(one.seconds, len(images)),
                minor_faults_per_photograph=sum(one.num_faults) / len(base) / len(images),
                multiply_adds=multiply_adds,
                ran=network.ran(images),
                speedup=paired if variant.precision != "float32" else None,
            )
        )
    return tuple(found)


def limits_here() -> tuple[Measurement, ...]:
    """Return this machine's limits on one thread, of the two precisions that are compared."""
    run = identity(read_machine())
    best = best_limits(measure_limits([1], 0.01, ("float32", "int8")))
    return tuple(
        case(run, case="limit", precision=precision, multiply_adds_per_s=one.multiply_adds_per_s)
        for (precision, _), one in best.items()
    )


def explained(found: tuple[Measurement, ...], limits: tuple[Measurement, ...]) -> tuple[Cause, ...]:
    """Return why the second cell is slower than the first, which it really is."""
    reference, slow = found
    assert slow.speedup is not None
    if slow.speedup.speedup >= 1:  # another CPU's float32 may be slower still
        pytest.skip(f"int8 is {slow.speedup.speedup:.2f}x as fast as float32 on this machine")
    return why_slower(slow, reference, (*found, *limits))


def elsewhere(*words: int, environment: Mapping[str, str]) -> tuple[Measurement, ...]:
    """Return `cells_of_layers` and the limits of a process of its own with these variables."""
    done = subprocess.run(
        [sys.executable, __file__, *map(str, words)],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return tuple(from_builtins(one, Measurement, "the process") for one in told)


def case(run: RunIdentity, **fields: Any) -> Measurement:
    """Return a case on one thread."""
    nothing = {"variant": None, "runtime": None, "batch": None}
    return Measurement(
        schema_version=SCHEMA_VERSION,
        threads=1,
        allocator="default",
        run=run,
        **{**nothing, **fields},
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    measured = (*cells_of_layers(*map(int, sys.argv[1:])), *limits_here())
    print(json.dumps([to_builtins(one) for one in measured]))  # noqa: T201 - the asker reads it
