"""Cross-layer equalisation: even ranges, the same float32."""

import copy
from dataclasses import replace

import pytest
import torch
from quantizable import config, network, noise
from torch import nn

from bench.studies.hard_models import hard_pairs, rescale_channels
from indoor.evaluate import sqnr_db
from indoor.model import build_model, fold
from indoor.quantize import quantize
from indoor.quantize.equalisation import equalise, pairs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def float_network() -> nn.Module:
    """A ResNet-18 that is only ever copied."""
    return network(noise(8))


@pytest.fixture(scope="module")
def rescaled(float_network: nn.Module) -> nn.Module:
    """The same with three pairs of uneven channels."""
    return rescale_channels(float_network, hard_pairs(float_network))


@pytest.mark.parametrize(("arch", "num_pairs"), [("resnet18", 8), ("resnet50", 32)])
def test_the_pairs_of_a_network(arch: str, num_pairs: int) -> None:
    """In each block all but the last convolution, whose output goes into a sum."""
    found = [pair.name for pair in pairs(build_model(arch, 3))]
    assert len(found) == num_pairs
    assert found[0] == "layer1.0.conv1"
    assert not any("downsample" in name or name.endswith("conv3") for name in found)


def test_float32_stays_the_same(float_network: nn.Module) -> None:
    """Of a network with batch norms and of a folded one, which is not changed itself."""
    inputs = noise(4, seed=3)
    for model in (float_network, fold(float_network)):
        before = copy.deepcopy(model.state_dict())
        with torch.inference_mode():
            torch.testing.assert_close(equalise(model)(inputs), model(inputs), rtol=1e-4, atol=1e-4)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name])


def test_neighbours_share_their_ranges(rescaled: nn.Module) -> None:
    """Channel by channel the first's weights, or its bias, reach as far as the second's weights."""
    for pair in pairs(equalise(fold(rescaled))):
        assert pair.first.bias is not None
        given = pair.first.weight.abs().amax((1, 2, 3)).maximum(pair.first.bias.abs())
        read = pair.second.weight.abs().amax((0, 2, 3))
        torch.testing.assert_close(given, read, rtol=0.01, atol=0)


def test_what_was_rescaled_is_found_again(float_network: nn.Module, rescaled: nn.Module) -> None:
    """Whatever the factors were, int8 of the equalised network is as good as without them."""
    inputs = noise(8, seed=3)
    plain = config(observer="minmax", weights="per-tensor")
    with torch.inference_mode():
        reference = float_network(inputs)
        assert torch.equal(rescaled(inputs), reference)
        sound, broken, repaired = (
            sqnr_db(reference, quantize(model, asked, [inputs])(inputs))
            for model, asked in (
                (float_network, plain),
                (rescaled, plain),
                (rescaled, replace(plain, equalised=True)),
            )
        )
    assert broken < sound - 6
    assert repaired > sound - 1


def test_depthwise_and_dead_channels() -> None:
    """Groups keep their channels apart, and a channel without weights stays as it is."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, bias=False),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, groups=2),
    ).eval()
    with torch.no_grad():
        model.get_submodule("0").weight[2] = 0
        model.get_submodule("2").weight *= torch.logspace(-3, 0, 8).view(8, 1, 1, 1)
    inputs = torch.randn(2, 3, 9, 9)
    even = equalise(model)
    assert len(list(pairs(even))) == 2
    with torch.inference_mode():
        torch.testing.assert_close(even(inputs), model(inputs))
    ranges = even.get_submodule("2").weight.detach().abs().amax((1, 2, 3))
    alive = torch.arange(8) != 2
    assert ranges[alive].max() < 20 * ranges[alive].min()


def test_only_a_relu_lets_factors_pass() -> None:
    """Nothing is scaled through a hard swish, nor where two layers read the same output."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            y: torch.Tensor = self.second(x) + x
            return y

    swish = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Hardswish(), nn.Conv2d(3, 3, 1))
    assert not list(pairs(swish))
    assert not list(pairs(Branches()))
