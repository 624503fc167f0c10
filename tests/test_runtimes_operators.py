"""How long each operator takes: eager's, oneDNN's, and what is asked of every runtime."""

import pytest
import torch
from quantizable import config, network, noise
from test_int8_checkpoints import manifest
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.model import multiply_adds
from indoor.quantize import load_int8, quantize, save_int8
from indoor.records import REST, Executed, Ran
from indoor.runtimes.dispatched import time_operators
from indoor.runtimes.eager import EagerNetwork
from indoor.runtimes.executed import timed_over
from indoor.runtimes.fingerprint import time_primitives
from indoor.runtimes.operators import operator_times

pytestmark = pytest.mark.usefixtures("one_thread")

BATCH = 2


@pytest.fixture(scope="module")
def float32() -> EagerNetwork:
    """A ResNet-18 of random weights."""
    return EagerNetwork(network(noise(BATCH)))


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> EagerNetwork:
    """The same in int8."""
    path = tmp_path_factory.mktemp("int8") / "int8.safetensors"
    save_int8(path, quantize(network(noise(8)), config(), [noise(8)]), manifest(config()))
    return EagerNetwork(load_int8(path).model)


def counted(operators: tuple[Executed, ...], name: str) -> int:
    """Return how many operators have a word in their names."""
    return sum(name in one.operator for one in operators)


def test_eager_float32_tells_every_operator(float32: EagerNetwork) -> None:
    """Layers with all multiply-adds, norms, activations, sums and pools, each with its seconds."""
    told = operator_times(float32, noise(BATCH), 3)
    computing = [one for one in told if one.multiply_adds]
    total = BATCH * multiply_adds("resnet18", 3, 64)
    assert sum(one.multiply_adds for one in computing) == total
    assert [one.layer for one in (computing[0], computing[-1])] == ["conv1", "fc"]
    assert len(computing) == len({one.layer for one in computing}) == 21
    assert {one.precision for one in computing} == {"float32"}
    kinds = {"batch_norm": 20, "relu": 17, "::add": 8, "max_pool": 1, "avg_pool": 1}
    assert {name: counted(told, name) for name in kinds} == kinds
    assert all(one.seconds is not None and one.seconds > 0 for one in told)
    assert {one.layer for one in told if "::add" in one.operator} == {
        f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)
    }


def test_eager_int8_tells_every_operator(int8: EagerNetwork) -> None:
    """Its layers by the packed weights' shape, and what rounds, adds and pools between them."""
    told = operator_times(int8, noise(BATCH), 3)
    computing = [one for one in told if one.multiply_adds]
    total = BATCH * multiply_adds("resnet18", 3, 64)
    assert sum(one.multiply_adds for one in computing) == total
    assert {one.types for one in computing} == {"u8/s8/u8"}
    assert {one.layer for one in computing} >= {"conv1", "layer1.0.conv1", "fc"}
    kinds = {"add_relu": 8, "max_pool": 1, "quantize_per_tensor": 1, "dequantize": 1}
    assert {name: counted(told, name) for name in kinds} == {**kinds, "dequantize": 1}
    (conv1,) = (one for one in told if one.layer == "conv1")
    assert conv1.num_bytes == BATCH * 3 * 64 * 64 + 64 * 3 * 49 + BATCH * 64 * 32 * 32


class Steps(nn.Module):
    """A convolution, an activation in place, a view and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(64, 5)

    def forward(self, images: Tensor) -> Tensor:
        """Return `(B, 5)` of images `(B, 3, 6, 6)`."""
        result: Tensor = self.fc(self.conv(images).relu_().flatten(1))
        return result


def test_bytes_are_those_of_all_tensors() -> None:
    """Inputs, weights, biases and output; what changes in place counts twice, a view not at all."""
    model, images = Steps(), torch.zeros(2, 3, 6, 6)
    with torch.inference_mode():
        told = time_operators(lambda: model(images), model, 1)
    output = 2 * 4 * 4 * 4
    assert {one.operator.split("::")[1]: one.num_bytes for one in told} == {
        "conv2d": 4 * (2 * 3 * 36 + 4 * 3 * 9 + 4 + output),
        "relu_": 4 * 2 * output,
        "flatten": 0,
        "linear": 4 * (2 * 64 + 64 * 5 + 5 + 2 * 5),
    }
    assert [one.multiply_adds for one in told if one.multiply_adds] == [output * 27, 2 * 64 * 5]
    assert [one.layer for one in told] == ["conv", None, None, "fc"]


def test_a_profile_changes_nothing(float32: EagerNetwork) -> None:
    """The logits are the same bits before and after, and no hook stays."""
    images = noise(BATCH)
    before = float32(images)
    operator_times(float32, images, 1)
    assert torch.equal(float32(images), before)
    modules = list(float32.model.modules())
    assert not [m for m in modules if m._forward_hooks or m._forward_pre_hooks]


def test_what_onednn_does_not_tell_is_the_rest() -> None:
    """Its primitives come in order with their seconds, and last what a call takes besides."""
    convolve, images = nn.Conv2d(16, 16, 3), torch.zeros(4, 16, 32, 32)

    def call() -> Tensor:
        with torch.inference_mode():
            return convolve(images).to(torch.float64).sin().sum()

    *primitives, rest = time_primitives(call, 3)
    (convolution,) = (one for one in primitives if one.operator == "convolution")
    assert convolution.multiply_adds == 4 * 16 * 30 * 30 * 16 * 9
    assert convolution.num_bytes == 4 * (4 * 16 * 32 * 32 + 16 * 16 * 9 + 4 * 16 * 30 * 30)
    assert convolution.seconds is not None
    assert rest.operator == REST
    assert rest.seconds is not None
    assert min(convolution.seconds, rest.seconds) > 0


def test_a_runtime_that_tells_nothing_has_no_operators() -> None:
    """A stranger's network needs no profile."""

    class Quiet:
        def __call__(self, images: Tensor) -> Tensor:
            return images

        def ran(self, _: Tensor) -> Ran:
            return Ran(precision=None)

    assert operator_times(Quiet(), noise(1), 3) == ()


def told_in(*seconds: float) -> tuple[Executed, ...]:
    """Return a call of some operations."""
    return tuple(
        Executed(operator=f"operator {place}", types="", shape="", seconds=one)
        for place, one in enumerate(seconds)
    )


def test_the_median_of_equal_calls_counts() -> None:
    """Of each operation by itself, whatever disturbed one call."""
    assert timed_over([told_in(1, 9), told_in(8, 2), told_in(2, 3)]) == told_in(2, 3)


def test_calls_that_differ_are_no_profile() -> None:
    """A call that executes something else was not warm, or is another network's."""
    with pytest.raises(IndoorError, match=r"^the calls of a profile executed 2, 1 operations, "):
        timed_over([told_in(1, 9), told_in(8)])
