"""The engines of this torch build, whether they compute exactly, and modules bound to theirs."""

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from indoor.errors import IndoorError
from indoor.records import Engine

ENGINES: tuple[Engine, ...] = get_args(Engine)

# Each a regular expression for the start of a message. All three announce that the eager flow will
# go (pytorch/ao#2259, pytorch#184982); the torch range in pyproject.toml is what answers them.
# Anything else, such as an observer that saw no data, is news and stays visible.
_DEPRECATIONS = (
    r"torch\.ao\.quantization is deprecated and will be removed",
    r"torch\.quantize_per_tensor, torch\.quantize_per_channel and other quantized tensor creation",
    r"Please use quant_min and quant_max to specify the range for observers",
)


def supported_engines() -> tuple[Engine, ...]:
    """Return the engines that this torch build holds, in the order of `Engine`."""
    available = torch.backends.quantized.supported_engines
    return tuple(engine for engine in ENGINES if engine in available)


def vnni_supported() -> bool | None:
    """Return whether torch finds AVX-512 VNNI, which engine x86 picks its kernels by.

    It looks at avx512_vnni only, not at AVX-VNNI. None where this torch cannot tell.
    """
    asked = getattr(torch.cpu, "_is_vnni_supported", None)
    return None if asked is None else bool(asked())


@contextmanager
def using_engine(engine: Engine) -> Iterator[None]:
    """Make `engine` torch's quantized engine inside the block, then put the caller's back.

    The setting belongs to the process, not to the thread: two threads that use models of
    different engines at the same time must take turns.

    Raises:
        IndoorError: This torch build does not hold the engine.
    """
    before = torch.backends.quantized.engine
    if before == engine:
        yield
        return
    if engine not in supported_engines():
        raise IndoorError(
            f"engine {engine} is not in this torch build; expected one of "
            f"{', '.join(supported_engines())}; quantize on this machine with one of those"
        )
    torch.backends.quantized.engine = engine
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


@contextmanager
def known_deprecations_filtered() -> Iterator[None]:
    """Keep the known deprecation warnings of torch's quantization quiet inside the block."""
    with warnings.catch_warnings():
        for message in _DEPRECATIONS:
            warnings.filterwarnings("ignore", message=message)
        yield


class EngineBound(nn.Module):
    """An int8 network that gives the same logits whatever torch's global engine is.

    Convolutions and linear layers keep the kernels that they were packed for, but additions and
    poolings ask the global engine at every call (with qnnpack they round differently), and a
    deep copy packs all weights anew, for the engine that is set at that moment.

    Args:
        network: A converted network.
        engine: The engine that `network` was packed for.
    """

    engine: Engine

    def __init__(self, network: nn.Module, engine: Engine) -> None:
        super().__init__()
        self.network = network
        self.engine = engine

    def forward(self, photographs: Tensor) -> Tensor:
        """Return float32 logits `(B, C)` for float32 photographs `(B, 3, H, W)`."""
        with using_engine(self.engine):
            logits = self.network(photographs)
        assert isinstance(logits, Tensor)
        return logits

    def __deepcopy__(self, memo: dict[int, Any]) -> "EngineBound":
        """Copy the network with its own engine set, since the copy packs the weights again."""
        with using_engine(self.engine), known_deprecations_filtered():
            copied = EngineBound(copy.deepcopy(self.network, memo), self.engine)
        memo[id(self)] = copied
        return copied.train(self.training)


# The engines may round a half differently (fbgemm and qnnpack do, at 3 x 3), never more.
_MAX_ROUNDING_STEPS = 1


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A layer whose sums of pairs leave int16 while its whole sums fit the output.

    `kernel` 0 is a linear layer. The weights are -127, 0 and 127 at random, so whichever two
    products a kernel adds first, some pairs are both 127; the first photograph is saturated
    everywhere.
    """

    num_inputs: int
    num_outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0


# One for each kernel that a ResNet takes: the first convolution, 1 x 1 and 3 x 3 with and without
# stride, and the linear layer. oneDNN and FBGEMM choose different code for them.
_LAYERS = (
    _Layer(num_inputs=3, num_outputs=64, kernel=7, stride=2, padding=3),
    _Layer(num_inputs=64, num_outputs=64, kernel=1),
    _Layer(num_inputs=64, num_outputs=128, kernel=1, stride=2),
    _Layer(num_inputs=64, num_outputs=64, kernel=3, padding=1),
    _Layer(num_inputs=64, num_outputs=64, kernel=3, stride=2, padding=1),
    _Layer(num_inputs=512, num_outputs=16, kernel=0),
)

Kernel = Callable[[_Layer, Tensor, Tensor, float, int], Tensor]
"""(layer, uint8 inputs, int8 weights, output scale, output zero point) to uint8 outputs."""


@cache
def is_exact(engine: Engine, activation_range: tuple[int, int]) -> bool:
    """Return whether `engine` adds up exactly on this CPU, whatever activations in that range.

    Without VNNI instructions, x86 kernels add two uint8 x int8 products into a saturating int16:
    255 * 127 * 2 = 64,770 comes back as 32,767 (oneDNN#518), silently, and 127 * 127 * 2 = 32,258
    fits. Which kernels run depends on the engine, the CPU and the environment
    (`ONEDNN_MAX_CPU_ISA`), so saturating layers are run and compared with integer arithmetic.

    The answer holds for activations inside the calibrated range. The kernels clamp to 0..255
    even where 0..127 was calibrated, so a value beyond what calibration saw can still saturate
    on such a CPU.

    Args:
        engine: An engine of this torch build.
        activation_range: The smallest and the largest activation, (0, 127) or (0, 255).

    Returns:
        True if every output is within one rounding step of the exact one. The answer is kept for
        the life of the process.
    """
    with using_engine(engine), known_deprecations_filtered(), torch.inference_mode():
        return all(
            worst_error_steps(_torch_kernel(per_channel), layer, activation_range[1])
            <= _MAX_ROUNDING_STEPS
            for layer in _LAYERS
            for per_channel in (True, False)
        )


def worst_error_steps(kernel: Kernel, layer: _Layer, largest: int) -> int:
    """Return how far the kernel's worst output is from the exact one, in output steps."""
    generator = torch.Generator().manual_seed(0)
    weight_shape, input_shape = [layer.num_outputs, layer.num_inputs], [2, layer.num_inputs]
    if layer.kernel:
        weight_shape += [layer.kernel, layer.kernel]
        input_shape += [12, 12]
    weights = torch.randint(-1, 2, weight_shape, generator=generator) * 127
    inputs = torch.full(input_shape, largest)
    inputs[1] = torch.randint(0, 2, inputs[1].shape, generator=generator) * largest
    # float64 holds these integers exactly (they stay far below 2**53).
    if layer.kernel:
        exact = functional.conv2d(
            inputs.double(), weights.double(), stride=layer.stride, padding=layer.padding
        )
    else:
        exact = inputs.double() @ weights.double().T
    scale, zero_point = math.ceil(float(exact.abs().max()) / 127), 128
    expected = (torch.round(exact / scale) + zero_point).clamp(0, 255)
    actual = kernel(layer, inputs.to(torch.uint8), weights.to(torch.int8), scale, zero_point)
    return int((actual.double() - expected).abs().max())


def _torch_kernel(per_channel: bool) -> Kernel:
    def run(layer: _Layer, inputs: Tensor, weights: Tensor, scale: float, zero: int) -> Tensor:
        activations = torch._make_per_tensor_quantized_tensor(inputs, 1.0, 0)
        if per_channel:
            scales = torch.ones(layer.num_outputs, dtype=torch.float64)
            zeros = torch.zeros(layer.num_outputs, dtype=torch.int64)
            packed = torch._make_per_channel_quantized_tensor(weights, scales, zeros, 0)
        else:
            packed = torch._make_per_tensor_quantized_tensor(weights, 1.0, 0)
        operations = torch.ops.quantized
        if layer.kernel:
            stride, padding = [layer.stride] * 2, [layer.padding] * 2
            prepacked = operations.conv2d_prepack(packed, None, stride, padding, [1, 1], 1)
            outputs = operations.conv2d(activations, prepacked, scale, zero)
        else:
            prepacked = operations.linear_prepack(packed, None)
            outputs = operations.linear(activations, prepacked, scale, zero)
        assert isinstance(outputs, Tensor)
        return outputs.int_repr()

    return run
