"""How long each operator takes that a torch module has dispatched: all of them, by layer.

This is no runtime; eager mode tells its operators' times with it. torch's own profiler would do,
too, but fills memory of its own while it measures, which moves page faults and caches.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from indoor.records import Executed
from indoor.runtimes.executed import PRECISIONS, bytes_of, timed_over
from indoor.runtimes.layers import followed, named_layers, weights_of
from indoor.runtimes.operators import call_profiled

_FACTORS = {
    "aten::conv2d": (0, 1),
    "aten::convolution": (0, 1),
    "aten::linear": (0, 1),
    "aten::matmul": (0, 1),
    "aten::mm": (0, 1),
    "aten::bmm": (0, 1),
    "aten::addmm": (1, 2),
    "aten::baddbmm": (1, 2),
    "quantized::conv2d": (0, None),
    "quantized::conv2d_relu": (0, None),
    "quantized::linear": (0, None),
    "quantized::linear_relu": (0, None),
}
"""Which of a product's tensors are multiplied; None: the layer's packed weights, no tensor."""

_TYPES = {
    torch.float64: "f64",
    torch.float32: "f32",
    torch.bfloat16: "bf16",
    torch.float16: "f16",
    torch.quint8: "u8",
    torch.uint8: "u8",
    torch.qint8: "s8",
    torch.int8: "s8",
    torch.int32: "s32",
    torch.int64: "s64",
}
"""oneDNN's word by torch's type."""

_Tensor = tuple[str, tuple[int, ...]]
"""A type and a shape."""


def time_operators(
    call: Callable[[], object], model: nn.Module, num_calls: int
) -> tuple[Executed, ...]:
    """Return the operators that a call dispatches, in order, with their median seconds.

    An operator's seconds are its own and those of what it calls; Python's, between two of them, are
    nobody's.

    Args:
        call: Computes on the CPU, in this process.
        model: The module that it calls.
        num_calls: To take the median of.
    """
    clock = _Clock(model)
    names = named_layers(model)

    def timed() -> None:
        clock.calls.append([])
        with clock:
            call()

    with followed(model, names, clock.within.append, clock.within.pop):
        call_profiled(timed, num_calls)
    return timed_over(clock.calls[-num_calls:])


class _Clock(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Times what is dispatched inside its block, and tells it as operations of the last call."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[list[Executed]] = []
        self.within: list[str] = []
        """The layers that a call is in, the innermost last."""
        self._weights = {
            name: (_word(getattr(torch, kind.removeprefix("torch."))), shape)
            for name, (shape, kind) in weights_of(model).items()
        }

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute what was asked for, and note how long it took."""
        given = kwargs or {}
        began = time.perf_counter_ns()
        result = func(*args, **given)
        took_s = (time.perf_counter_ns() - began) / 1e9
        read, written = (
            [t for t in tree_leaves(v) if isinstance(t, Tensor)] for v in ((args, given), result)
        )
        self.calls[-1].append(self._told(func, read, written, took_s))
        return result

    def _told(
        self, func: Any, read: list[Tensor], written: list[Tensor], seconds: float
    ) -> Executed:
        name, layer = func._schema.name, (self.within or [""])[-1]
        inputs, outputs = [_about(t) for t in read], [_about(t) for t in written]
        shown, multiply_adds = inputs[:1], 0
        if name in _FACTORS:
            first, second = _FACTORS[name]
            if second is None:
                inputs += [self._weights[layer]] if layer in self._weights else []
                second = len(inputs) - 1
            shown = [inputs[first], inputs[second]]
            multiply_adds = _multiply_adds(name, shown, outputs[0])
        places = {t.data_ptr() for t in read}
        moves = func._schema.is_mutable or any(t.data_ptr() not in places for t in written)
        shown += outputs[:1]
        return Executed(
            operator=name,
            types="/".join(kind for kind, _ in shown),
            shape=":".join("x".join(map(str, shape)) for _, shape in shown),
            layer=layer or None,
            precision=PRECISIONS.get(shown[0][0]) if multiply_adds else None,
            multiply_adds=multiply_adds,
            num_bytes=bytes_of([*inputs, *outputs]) if moves else 0,
            seconds=seconds,
        )


def _multiply_adds(name: str, factors: list[_Tensor], output: _Tensor) -> int:
    (_, source), (_, weight) = factors
    summed = weight[1:] if "conv" in name else source[-1:]
    return torch.Size(output[1]).numel() * torch.Size(summed).numel()


def _about(tensor: Tensor) -> _Tensor:
    return _word(tensor.dtype), tuple(tensor.shape)


def _word(kind: torch.dtype) -> str:
    return _TYPES.get(kind, str(kind).removeprefix("torch."))
