"""Inductor: the network compiled by `torch.compile` as it is loaded, its weights frozen into it.

What it makes stays in the process: with frozen weights torch keeps no graph in its cache, so each
load compiles, and says so by its time. AOTInductor (`aotinductor.py`) compiles once and for all.
"""

import os
import shutil
from pathlib import Path

import torch

from indoor.errors import IndoorError
from indoor.records import Variant
from indoor.runtimes.artefacts import build_artefact, read_artefact
from indoor.runtimes.compiling import (
    SETTINGS,
    CompiledNetwork,
    all_in_int8,
    dtype_of,
    network_of,
    why_not_compiled,
)

VARIANTS = (
    Variant(
        name="float32-inductor",
        runtime="inductor",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        order=3,
        own_process=True,
        static_batch=True,
        rank=3,
    ),
    Variant(
        name="bfloat16-inductor",
        runtime="inductor",
        precision="bfloat16",
        checkpoint="float32",
        min_sqnr_db=15.0,  # as eager bfloat16
        order=11,
        own_process=True,
        static_batch=True,
        rank=3,
    ),
    Variant(
        name="int8-inductor",  # what PT2E's flow ends in, from our own calibration
        runtime="inductor",
        precision="int8",
        checkpoint="int8",
        min_sqnr_db=6.0,  # as eager int8
        order=21,
        own_process=True,
        static_batch=True,
        rank=3,
    ),
)

DATA_ONLY = True

FILE = "network.safetensors"


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    return why_not_compiled(variant)


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:
    """Return a folder with the checkpoint, whose manifest names the batch to compile for."""
    return build_artefact(
        variant, checkpoint, (), lambda folder: _link(checkpoint, folder / FILE), batch=batch
    )


def load(variant: Variant, artefact: Path, threads: int) -> CompiledNetwork:  # noqa: ARG001
    """Return the network, compiled."""
    return compile_network(variant, artefact)


def batch_of(variant: Variant, artefact: Path) -> int:
    """Return the batch that an artefact of `prepare` is for.

    Raises:
        IndoorError: It names none.
    """
    manifest = read_artefact(artefact)
    if manifest is None or manifest.batch is None:
        raise IndoorError(f"{artefact} names no batch; expected an artefact of {variant.name}")
    return manifest.batch


def compile_network(variant: Variant, artefact: Path, **settings: bool) -> CompiledNetwork:
    """Return the network of an artefact of `prepare`, compiled with further settings of Inductor's.

    Raises:
        IndoorError: The artefact names no batch, or not every int8 convolution was found.
    """
    from torch._inductor import config

    model, size = network_of(variant, artefact / FILE)
    shape = (batch_of(variant, artefact), *size)
    # A process loads one after another, and torch stops at the eighth of the same code.
    torch._dynamo.reset()
    compiled = torch.compile(model, dynamic=False, fullgraph=True)
    network = CompiledNetwork(variant.name, compiled, shape, dtype_of(variant))
    with config.patch(SETTINGS | settings), all_in_int8(variant, model):
        network(torch.zeros(shape, device=variant.device))
    return network


def _link(source: Path, target: Path) -> None:
    """Let a file have another name, or a copy where the disk cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
