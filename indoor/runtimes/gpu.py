"""What a GPU alone can do with the network: TF32, float16, and CUDA graphs of a batch.

A CUDA graph is the kernels of one call, captured once and launched together: small batches wait for
launches more than for arithmetic.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from indoor.devices import why_no_bfloat16
from indoor.model import load_float, read_manifest
from indoor.records import Ran, Variant
from indoor.runtimes import compiling, eager, inductor
from indoor.runtimes.base import Runnable
from indoor.runtimes.eager import EagerNetwork

DEVICES = ("cuda",)

VARIANTS = (
    Variant(
        name="float32-tf32",
        runtime="gpu",
        precision="tf32",
        checkpoint="float32",
        min_sqnr_db=30.0,  # 10 bits of each factor; bfloat16's 7 are asked for 15 dB
        order=5,
        rank=3,
    ),
    Variant(
        name="float32-cudagraph",
        runtime="gpu",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        order=6,
        static_batch=True,
        rank=2,
    ),
    Variant(
        name="bfloat16-cudagraph",
        runtime="gpu",
        precision="bfloat16",
        checkpoint="float32",
        min_sqnr_db=15.0,  # as eager bfloat16
        order=12,
        static_batch=True,
        rank=2,
    ),
    Variant(
        name="bfloat16-inductor-cudagraph",
        runtime="gpu",
        precision="bfloat16",
        checkpoint="float32",
        min_sqnr_db=15.0,
        order=13,
        own_process=True,
        static_batch=True,
        rank=1,
    ),
    Variant(
        name="float16",
        runtime="gpu",
        precision="float16",
        checkpoint="float32",
        min_sqnr_db=30.0,  # as many bits as TF32
        order=14,
        rank=4,
        colour="#009e73",
        marker="D",
    ),
    Variant(
        name="float16-cudagraph",
        runtime="gpu",
        precision="float16",
        checkpoint="float32",
        min_sqnr_db=30.0,
        order=15,
        static_batch=True,
        rank=2,
    ),
    Variant(
        name="float16-inductor",
        runtime="gpu",
        precision="float16",
        checkpoint="float32",
        min_sqnr_db=30.0,
        order=16,
        own_process=True,
        static_batch=True,
        rank=3,
    ),
    Variant(
        name="float16-inductor-cudagraph",
        runtime="gpu",
        precision="float16",
        checkpoint="float32",
        min_sqnr_db=30.0,
        order=17,
        own_process=True,
        static_batch=True,
        rank=1,
    ),
)

DATA_ONLY = True

CAPTURED = "told of the call that was captured, whose kernels every replay launches"

_NUM_WARMUP_CALLS = 3
"""Before a capture, in which no library may choose a kernel or take memory for the first time."""


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    if _is_compiled(variant):
        return compiling.why_not_compiled(variant)
    return why_no_bfloat16(variant.device) if variant.precision == "bfloat16" else None


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:
    """Return the checkpoint itself, or a folder with it that names the batch."""
    return inductor.prepare(variant, checkpoint, batch) if variant.static_batch else checkpoint


def load(variant: Variant, artefact: Path, threads: int) -> Runnable:  # noqa: ARG001
    """Return the network, compiled or captured where the variant is for one batch."""
    if _is_compiled(variant):
        graphs = variant.name.endswith("-cudagraph")
        return inductor.compile_network(variant, artefact, **{"triton.cudagraphs": graphs})
    checkpoint = artefact / inductor.FILE if variant.static_batch else artefact
    network = eager.on_device(variant, load_float(checkpoint).model.requires_grad_(False))
    if not variant.static_batch:
        return network
    size = read_manifest(checkpoint).preprocessing.size
    shape = (inductor.batch_of(variant, artefact), 3, size, size)
    return capture(variant.name, network, shape, torch.device(variant.device))


def capture(
    name: str, network: EagerNetwork, shape: tuple[int, ...], device: torch.device
) -> "GraphedNetwork":
    """Return the network with its calls of photographs of one shape captured on the GPU.

    Args:
        name: What errors call it.
        network: Lies on the device.
        shape: `(B, 3, H, W)`.
        device: The GPU.
    """
    images = torch.zeros(shape, device=device)
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(_NUM_WARMUP_CALLS):
            network(images)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = network(images)
    return GraphedNetwork(name, network, graph, images, logits)


@dataclass(frozen=True, eq=False)
class GraphedNetwork:
    """A captured call: what lies in `images` becomes `logits` when the graph is replayed."""

    name: str
    network: EagerNetwork
    graph: torch.cuda.CUDAGraph
    images: Tensor
    logits: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of float32 photographs `(B, 3, H, W)`."""
        compiling.require_shape(self.name, images, tuple(self.images.shape), "captured")
        with torch.inference_mode():
            self.images.copy_(images)
            self.graph.replay()
            return self.logits.clone()  # the next replay overwrites them

    def ran(self, images: Tensor) -> Ran:
        """Return the convolutions and products of the call that was captured."""
        told = self.network.ran(images)
        return replace(told, notes=(*told.notes, CAPTURED))


def _is_compiled(variant: Variant) -> bool:
    return variant.own_process
