"""OpenVINO on the CPU: float32, bfloat16 and int8 from an ONNX file, in threads of its own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from indoor.devices import why_no_bfloat16
from indoor.records import Executed, Ran, Variant
from indoor.runtimes.executed import ran_from
from indoor.runtimes.openvino_graph import read_graph
from indoor.runtimes.operators import NUM_WARMUP_CALLS, call_profiled
from indoor.runtimes.to_onnx import FILE, onnx_artefact

VARIANTS = (
    Variant(
        name="float32-openvino",
        runtime="openvino",
        precision="float32",
        checkpoint="float32",
        min_sqnr_db=60.0,
        order=6,
        own_process=True,
        rank=0,
    ),
    Variant(
        name="bfloat16-openvino",
        runtime="openvino",
        precision="bfloat16",
        checkpoint="float32",
        min_sqnr_db=15.0,  # as eager bfloat16
        order=12,
        own_process=True,
        rank=0,
    ),
    Variant(
        name="int8-openvino",
        runtime="openvino",
        precision="int8",
        checkpoint="int8",
        min_sqnr_db=6.0,  # as eager int8
        order=24,
        own_process=True,
        rank=0,
    ),
)

REQUIRES = {"onnx": ">=1.18", "onnxscript": ">=0.6", "openvino": ">=2026.2,<2027"}

EXTRA = "openvino"

DATA_ONLY = True

COUNTING = {"PERF_COUNT": True}


def why_not(variant: Variant) -> str | None:
    """Return why this machine cannot compute the variant natively; None where it can."""
    if variant.device != "cpu":
        return f"here OpenVINO computes on the CPU only, not on {variant.device}"
    return why_no_bfloat16(variant.device) if variant.precision == "bfloat16" else None


def prepare(variant: Variant, checkpoint: Path, batch: int) -> Path:  # noqa: ARG001
    """Return the folder with the ONNX file, which takes every batch."""
    return onnx_artefact(variant, checkpoint)


def load(variant: Variant, artefact: Path, threads: int) -> "OpenVinoNetwork":
    """Return the network, compiled for one photograph at a time."""
    return OpenVinoNetwork(artefact / FILE, settings(threads, _hint(variant)))


def settings(threads: int, hint: str) -> dict[str, Any]:
    """Return the properties of a compiled model.

    Without the hint float32 would run in bfloat16 where the CPU has it. With pinning, two processes
    would share one core. A CPU's second hyper-thread is one that may have been asked for.
    """
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": True,
    }


class OpenVinoNetwork:
    """A model that is compiled for the number of photographs of the last call.

    Other numbers are compiled anew: a model for any number takes up to 2% longer (int8, batch 1).
    """

    def __init__(self, path: Path, chosen: dict[str, Any]) -> None:
        # Importing OpenVINO tells its maker so, over the network and by files in the home.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        self._core = openvino.Core()
        self._model = self._core.read_model(path)
        self._settings = chosen
        self._batch = 0
        self._compiled: Any
        self._request: Any
        self._compile(1)

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` of float32 photographs `(B, 3, H, W)`."""
        if len(images) != self._batch:
            self._compile(len(images))
        return _infer(self._request, images)

    def renew(self) -> None:
        """Compile it again, whose weights are packed into memory that is taken now."""
        self._compile(self._batch)

    def ran(self, images: Tensor) -> Ran:
        """Return the operations of the execution graph that computes these photographs."""
        self(images)
        return ran_from(read_graph(self._compiled.get_runtime_model()))

    def profile(self, images: Tensor, num_calls: int) -> tuple[Executed, ...]:
        """Return the operations of another compiled model, which counts their time.

        The one that answers calls goes first, and the next call compiles it again: both at once
        would need twice the memory, and end a process that `indoor explain` keeps in the cache.
        """
        self(images)  # for whose number the model has its shape now
        self._compiled, self._request, self._batch = None, None, 0
        counting = self._core.compile_model(self._model, "CPU", self._settings | COUNTING)
        request = counting.create_infer_request()
        seconds: dict[str, float] = {}

        @contextmanager
        def counted() -> Iterator[None]:
            before = _means_s(request)
            yield
            num_all = NUM_WARMUP_CALLS + num_calls
            for name, mean_s in _means_s(request).items():
                sum_s = num_all * mean_s - NUM_WARMUP_CALLS * before[name]
                seconds[name] = max(0.0, sum_s / num_calls)

        call_profiled(lambda: _infer(request, images), num_calls, counted)
        return tuple(read_graph(counting.get_runtime_model(), seconds))

    def _compile(self, batch: int) -> None:
        self._compiled = self._request = None  # two at once would need twice the memory
        _, *shape = self._model.input(0).partial_shape
        self._model.reshape([batch, *shape])
        self._compiled = self._core.compile_model(self._model, "CPU", self._settings)
        self._request = self._compiled.create_infer_request()
        self._batch = batch


def _infer(request: Any, images: Tensor) -> Tensor:
    values = images.detach().contiguous().numpy()
    return torch.from_numpy(request.infer([values], share_inputs=True)[0])


def _means_s(request: Any) -> dict[str, float]:
    """Return by operation the mean seconds of all calls so far, in whole microseconds."""
    told = request.get_profiling_info()
    return {one.node_name: one.real_time.total_seconds() for one in told}


def _hint(variant: Variant) -> str:
    """Return what OpenVINO calls the type of what is not int8."""
    return "bf16" if variant.precision == "bfloat16" else "f32"
