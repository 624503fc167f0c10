"""The networks: built from a seed, given a new head, folded."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from indoor.model import ARCHS, build_model, fold, multiply_adds, replace_head


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A ResNet-18 with 5 classes and batch norms that do something."""
    model = build_model("resnet18", 5, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Two photographs' worth of noise, float32 (2, 3, 64, 64)."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("arch", "num_parameters"), [("resnet18", 11_689_512), ("resnet50", 25_557_032)]
)
def test_build_model_is_torchvisions_network(arch: str, num_parameters: int) -> None:
    """With 1,000 classes the network has the number of parameters that torchvision publishes."""
    model = build_model(arch, 1000)
    assert sum(p.numel() for p in model.parameters()) == num_parameters
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_quantizable_network_has_the_plain_ones_names() -> None:
    """A state dict of torchvision's plain ResNet-18 fits, name by name."""
    plain = resnet18(num_classes=5).state_dict()
    assert {k: v.shape for k, v in plain.items()} == {
        k: v.shape for k, v in build_model("resnet18", 5).state_dict().items()
    }


def test_a_seed_decides_the_weights() -> None:
    """The same seed gives the same weights, another seed others."""
    first, again, other = (build_model("resnet18", 2, seed=s).fc.weight for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_building_leaves_the_global_generator_alone() -> None:
    """Whoever draws random numbers gets the same ones with and without building a network."""
    before = torch.random.get_rng_state()
    build_model("resnet18", 2, seed=3)
    build_model("resnet18", 2)
    replace_head(build_model("resnet18", 2, seed=3), 4, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_an_unknown_architecture_lists_the_known_ones() -> None:
    """The error for a wrong name says which names are right."""
    with pytest.raises(
        ValueError, match="unknown architecture 'vgg', expected one of resnet18, resnet50"
    ):
        build_model("vgg", 2)
    assert ARCHS[:2] == ("resnet18", "resnet50")


def test_a_network_needs_a_class() -> None:
    """No class is a bad argument, for a network as for a head."""
    with pytest.raises(ValueError, match="num_classes is 0, expected 1 or more"):
        build_model("resnet18", 0)
    with pytest.raises(ValueError, match="num_classes is -1, expected 1 or more"):
        replace_head(build_model("resnet18", 2), -1, seed=0)


def test_replace_head_changes_the_last_layer_of_a_copy(network: nn.Module) -> None:
    """The copy has a new fc and the old backbone; the caller's network keeps its own."""
    before = copy.deepcopy(network.state_dict())
    changed = replace_head(network, 7, seed=0)
    assert changed.fc.weight.shape == (7, 512)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    after = changed.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if not k.startswith("fc."))
    with torch.no_grad():
        changed.conv1.weight.zero_()
    assert network.conv1.weight.abs().sum() > 0


def test_a_new_head_is_drawn_as_linear_draws_it(network: nn.Module) -> None:
    """Its weights are uniform in +-1/sqrt(512), decided by the seed."""
    head = replace_head(network, 1000, seed=0).fc
    bound = 512**-0.5
    for values in (head.weight.detach(), head.bias.detach()):
        assert 0.95 * bound < values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert torch.equal(head.weight, replace_head(network, 1000, seed=0).fc.weight)
    assert not torch.equal(head.weight, replace_head(network, 1000, seed=1).fc.weight)


def test_a_new_head_keeps_the_mode(network: nn.Module) -> None:
    """A network in train mode stays in it, one in eval mode too."""
    training = copy.deepcopy(network).train()
    assert replace_head(training, 2, seed=0).fc.training
    assert not replace_head(network, 2, seed=0).fc.training


def test_replace_head_wants_a_linear_layer() -> None:
    """A network without one in float32 is a bad argument."""
    with pytest.raises(ValueError, match="a Sequential has no float32 linear layer to replace"):
        replace_head(nn.Sequential(), 2, seed=0)


@pytest.mark.usefixtures("one_thread")
def test_fold_gives_the_same_logits(network: nn.Module, images: torch.Tensor) -> None:
    """Folding batch norms changes the logits by rounding alone."""
    with torch.inference_mode():
        torch.testing.assert_close(fold(network)(images), network(images), rtol=1e-4, atol=1e-4)


def test_fold_leaves_the_callers_network_as_it_was(network: nn.Module) -> None:
    """The original keeps its batch norms, gradients, mode and memory format."""
    training = copy.deepcopy(network).train()
    folded = fold(training)
    assert training.training
    assert not folded.training
    assert sum(isinstance(m, nn.BatchNorm2d) for m in training.modules()) == 20
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert training.conv1.weight.requires_grad
    assert not any(p.requires_grad for p in folded.parameters())
    assert training.conv1.weight.is_contiguous()
    assert folded.conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("one_thread")
def test_fold_knows_bottlenecks() -> None:
    """The blocks of ResNet-50, with three convolutions, fold too."""
    model = build_model("resnet50", 2, seed=0)
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(fold(model)(images), model(images), rtol=1e-3, atol=1e-3)


def test_fold_refuses_a_batch_norm_without_a_convolution() -> None:
    """A network in which a batch norm stands alone cannot be folded, and is not half folded."""
    with pytest.raises(ValueError, match="cannot fold a Sequential: a batch norm stands alone"):
        fold(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)))


@pytest.mark.parametrize(
    ("arch", "num_classes", "size", "counted"),
    [
        ("resnet50", 1000, 224, 4_089_184_256),  # what torchvision's page rounds to 4.09 GFLOPS
        ("resnet50", 67, 224, 4_089_184_256 - 933 * 2048),
        ("resnet18", 1000, 224, 1_814_073_344),
        ("resnet18", 3, 32, (1_814_073_344 - 1000 * 512) // 7**2 + 3 * 512),
    ],
)
def test_the_multiply_adds_are_those_of_convolutions_and_linear_layers(
    arch: str, num_classes: int, size: int, counted: int
) -> None:
    """One photograph's, of any size, without the network's memory; known values of torchvision."""
    assert multiply_adds(arch, num_classes, size) == counted
