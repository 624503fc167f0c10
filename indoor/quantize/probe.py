"""Whether an engine computes exactly on this CPU, found out by running it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from indoor.quantize.deprecations import known_deprecations_filtered
from indoor.quantize.engines import using_engine
from indoor.records import Engine

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
