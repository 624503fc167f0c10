"""AOTInductor: a package of machine code and frozen weights for one batch, compiled once here.

It loads without compiling and computes on any number of threads. Its code is compiled with
`-march=native`, so that it fits CPUs with this one's instructions alone.
"""

from pathlib import Path

import torch

from indoor.records import Variant
from indoor.runtimes.artefacts import build_artefact
from indoor.runtimes.compiling import (
    SETTINGS,
    CompiledNetwork,
    all_in_int8,
    dtype_of,
    libraries_for,
    network_of,
    why_not_compiled,
)

VARIANTS = (
    Variant(
        name="float32-aotinductor",
        runtime="aotinductor",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        order=4,
        own_process=True,
        static_batch=True,
        rank=2,
    ),
    Variant(
        name="int8-aotinductor",
        runtime="aotinductor",
        precision="int8",
        checkpoint="int8",
        min_sqnr_db=6.0,  # as eager int8
        order=22,
        own_process=True,
        static_batch=True,
        rank=2,
    ),
)

FILE = "network.pt2"


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    if variant.device != "cpu":
        return f"here AOTInductor compiles for the CPU only, not for {variant.device}"
    return why_not_compiled(variant)


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:
    """Return a folder with the package for the batch."""
    return build_artefact(
        variant,
        checkpoint,
        libraries_for(variant),
        lambda folder: _compile(variant, checkpoint, batch, folder / FILE),
        batch=batch,
        compiled=True,
    )


def load(variant: Variant, artefact: Path, threads: int) -> CompiledNetwork:  # noqa: ARG001
    """Return the network of a package."""
    package = torch._inductor.aoti_load_package(str(artefact / FILE))
    shape = tuple(int(size) for size in package.get_metadata()["shape"].split("x"))
    return CompiledNetwork(variant.name, package, shape, dtype_of(variant))


def _compile(variant: Variant, checkpoint: Path, batch: int, path: Path) -> None:
    from torch._inductor.utils import fresh_cache

    model, size = network_of(variant, checkpoint)
    shape = (batch, *size)
    told = {"aot_inductor.metadata": {"shape": "x".join(map(str, shape))}}
    with torch.no_grad(), fresh_cache(), all_in_int8(variant, model):
        program = torch.export.export(model, (torch.zeros(shape),))
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=SETTINGS | told
        )
