"""The quick form of a float32 network: folded, with sums and ReLUs in its convolutions."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from indoor.evaluate import sqnr_db
from indoor.model import build_model, can_fuse, fuse, fused

pytestmark = pytest.mark.usefixtures("one_thread")

MIN_DB = 100.0
"""Rounding alone; the nearest mistake, a forgotten ReLU or bias, lies below 30."""


@pytest.fixture(scope="module")
def lively() -> Callable[[str], nn.Module]:
    """Networks of random weights whose batch norms do something."""
    made: dict[str, nn.Module] = {}

    def build(arch: str) -> nn.Module:
        if arch not in made:
            made[arch] = build_model(arch, 7, seed=5)
            generator = torch.Generator().manual_seed(6)
            with torch.no_grad():
                for layer in made[arch].modules():
                    if isinstance(layer, nn.BatchNorm2d):
                        for tensor in (layer.weight, layer.running_var):
                            assert tensor is not None
                            tensor.uniform_(0.5, 1.5, generator=generator)
                        for tensor in (layer.bias, layer.running_mean):
                            assert tensor is not None
                            tensor.uniform_(-0.2, 0.2, generator=generator)
        return made[arch]

    return build


def noise(num_photographs: int) -> torch.Tensor:
    """Return normalised noise, float32 `(B, 3, 64, 64)`."""
    generator = torch.Generator().manual_seed(num_photographs)
    return torch.randn(num_photographs, 3, 64, 64, generator=generator)


@pytest.mark.parametrize("can", [True, False])
@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
@pytest.mark.parametrize("num_photographs", [1, 3, fused.PIECE + 1])
def test_the_logits_differ_by_rounding_alone(
    lively: Callable[[str], nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    arch: str,
    num_photographs: int,
    can: bool,
) -> None:
    """Both networks, alone and over several pieces, with oneDNN's operators and without them."""
    if not can:
        monkeypatch.setattr(fused, "can_fuse", lambda: False)
    images = noise(num_photographs)
    before = images.clone()
    with torch.inference_mode():
        network = fuse(lively(arch))
        logits = network(images)
        assert sqnr_db(lively(arch)(images), logits) > MIN_DB
        assert torch.equal(network(images), logits)
    assert torch.equal(images, before)


def test_this_torch_can_fuse() -> None:
    """The operators that Inductor calls are there in the torch that is pinned."""
    assert can_fuse() == torch.backends.mkldnn.is_available()


def test_the_callers_network_stays_as_it_was(lively: Callable[[str], nn.Module]) -> None:
    """It keeps its batch norms, its weights and their gradients."""
    model = copy.deepcopy(lively("resnet18"))
    fuse(model)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 20
    assert all(p.requires_grad for p in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, lively("resnet18").state_dict()[name])


def test_what_cannot_be_folded_is_refused() -> None:
    """A batch norm that stands alone is a bad argument, as for `fold`."""
    with pytest.raises(ValueError, match="a batch norm stands alone"):
        fuse(nn.Sequential(nn.BatchNorm2d(3)))
