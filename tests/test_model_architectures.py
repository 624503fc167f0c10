"""All eight quantizable classifiers: built, counted, folded, fused, told apart by a file."""

from pathlib import Path

import pytest
import torch
import torchvision.models
from foreign import network as foreign_network
from foreign import renamed
from torch import fx, nn

from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.model import (
    ARCHS,
    build_model,
    fold,
    fuse,
    head_of,
    load_float,
    multiply_adds,
    replace_head,
    thin,
)
from indoor.model.imagenet import IMAGENET_URLS, preprocessing_of, smallest_size
from indoor.model.network import build_empty, followers
from indoor.records import Preprocessing

pytestmark = pytest.mark.usefixtures("one_thread")

every = pytest.mark.parametrize("arch", ARCHS)
SIZE = 96
PUBLISHED = {
    "resnet18": 1.814,
    "resnet50": 4.089,
    "resnext101_32x8d": 16.414,
    "mobilenet_v2": 0.301,
    "mobilenet_v3_large": 0.217,
    "googlenet": 1.498,
    "inception_v3": 5.713,
    "shufflenet_v2_x1_0": 0.145,
}
"""Billions of multiply-adds on torchvision's pages, for 1,000 classes at the size of its test."""


def noise(num_photographs: int, seed: int = 0) -> torch.Tensor:
    """Return normalised noise, float32 `(B, 3, 96, 96)`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_photographs, 3, SIZE, SIZE, generator=generator)


def lively(arch: str) -> nn.Module:
    """Return a thin network whose batch norms do something."""
    model = build_model(thin(arch), 5, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.uniform_(-0.2, 0.2, generator=generator)
        model.train()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = None
        model(noise(8))
    return model.eval()


@every
def test_the_names_are_torchvisions(arch: str) -> None:
    """A state dict of the plain network fits, but for the heads that only a training uses."""
    with torch.device("meta"):
        options = {"init_weights": False} if arch in ("googlenet", "inception_v3") else {}
        plain = getattr(torchvision.models, arch)(num_classes=7, **options).state_dict()
    own = {k: v for k, v in plain.items() if not k.startswith(("aux1.", "aux2.", "AuxLogits."))}
    ours = build_empty(arch, 7).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in ours.items()}


@every
def test_the_multiply_adds_are_the_published_ones(arch: str) -> None:
    """At the size of torchvision's own test, which is that of the photographs here."""
    size = preprocessing_of(arch).size
    assert size == (299 if arch == "inception_v3" else 224)
    assert multiply_adds(arch, 1000, size) / 1e9 == pytest.approx(PUBLISHED[arch], rel=0.003)


@every
def test_what_follows_a_convolution_is_what_the_graph_says(arch: str) -> None:
    """Batch norm and ReLU of each, read off the blocks and off a trace of the whole network."""
    network = build_empty(arch, 3)
    modules = dict(network.named_modules())
    traced: dict[str, tuple[str | None, ...]] = {}
    for node in fx.symbolic_trace(network).graph.nodes:
        if isinstance(modules.get(str(node.target)), nn.Conv2d):
            last, found = node, []
            for kind in (nn.BatchNorm2d, nn.ReLU):
                reader, *more = last.users
                fits = not more and isinstance(modules.get(str(reader.target)), kind)
                found.append(str(reader.target) if fits else None)
                last = reader if fits else last
            traced[str(node.target)] = tuple(found)
    told = {
        ".".join(filter(None, (path, name))): tuple(
            None if one is None else ".".join(filter(None, (path, one))) for one in both
        )
        for path, block in modules.items()
        for name, both in followers(block).items()
    }
    assert told == traced


@every
def test_folded_and_fused_it_computes_the_same(arch: str) -> None:
    """Both differ from the original by rounding alone."""
    model, images = lively(arch), noise(3, seed=7)
    with torch.inference_mode():
        logits = model(images)
        assert sqnr_db(logits, fold(model)(images)) > 70
        assert sqnr_db(logits, fuse(model)(images)) > 70


@every
def test_a_new_head_has_the_old_ones_inputs(arch: str) -> None:
    """It is the last layer that is replaced, under its own name."""
    model = build_model(thin(arch), 5, seed=0)
    name, old = head_of(model)
    changed = replace_head(model, 9, seed=0)
    assert head_of(changed)[0] == name
    assert head_of(changed)[1].weight.shape == (9, old.in_features)
    with torch.inference_mode():
        assert changed(noise(1)).shape == (1, 9)


@every
def test_the_smallest_photograph_is_computed(arch: str) -> None:
    """In training, too, which has no auxiliary head."""
    size = max(32, smallest_size(arch))
    model = build_model(thin(arch), 5, seed=0).train()
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 5)


@every
def test_a_file_tells_its_architecture(arch: str, tmp_path: Path) -> None:
    """By the names and shapes of its tensors, under a wrapper too; and how it sees photographs."""
    state = foreign_network(arch)
    torch.save({"model": renamed(state, "module.")}, tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt")
    assert loaded.manifest.arch == arch
    mine = loaded.model.state_dict()
    assert all(torch.equal(mine[name], state[name].to(mine[name].dtype)) for name in mine)
    half = (0.5, 0.5, 0.5)
    expected = preprocessing_of(arch)
    assert loaded.manifest.preprocessing == expected
    assert (expected.mean == half) == (arch in ("googlenet", "inception_v3"))
    about = [c for c in loaded.manifest.weights.assumed if "ReLU6" in c]
    assert len(about) == (arch == "mobilenet_v2")


@pytest.mark.parametrize(
    ("arch", "auxiliary"), [("googlenet", "aux1, aux2"), ("inception_v3", "AuxLogits")]
)
def test_auxiliary_heads_are_left_out_and_said(arch: str, auxiliary: str, tmp_path: Path) -> None:
    """A training's own heads are no part of the network, and nothing to be assumed."""
    torch.save(foreign_network(arch), tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt")
    assert f"left out: {auxiliary}" in "\n".join(loaded.notes)
    assert not [clause for clause in loaded.manifest.weights.assumed if "beside" in clause]


@pytest.mark.parametrize("arch", ["mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0"])
def test_a_file_without_its_last_layer_is_a_backbone(arch: str, tmp_path: Path) -> None:
    """A new head can be trained on it, and it cannot be quantized as it is."""
    torch.save(foreign_network(arch, head=False), tmp_path / "x.pt")
    loaded = load_float(tmp_path / "x.pt", backbone=True)
    assert (loaded.manifest.arch, loaded.has_head) == (arch, False)
    with pytest.raises(IndoorError, match="is a backbone: it ends before its last layer"):
        load_float(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("relative", "words"),
    [
        ("resnet101", "holds a resnet101, expected torchvision's resnet18, resnet50, resnext101"),
        ("resnext50_32x4d", r"holds a resnext50 \(32 groups\)"),
        ("resnext101_64x4d", r"holds a resnext101 \(64 groups\)"),
        ("mobilenet_v3_small", "holds no mobilenet_v3_large: it has features"),
        ("shufflenet_v2_x0_5", r"holds no shufflenet_v2_x1_0: .* is \(\d+, .* and not \(\d+, "),
        ("efficientnet_b0", "holds no mobilenet_v2: it has features"),
        ("vgg11", "holds no resnet18: it "),
        ("densenet121", "holds no "),
    ],
)
def test_a_relative_is_refused(relative: str, words: str, tmp_path: Path) -> None:
    """Other networks of the same families are told as what they are, or by what differs."""
    torch.save(foreign_network(relative), tmp_path / "x.pt")
    with pytest.raises(IndoorError, match=words) as caught:
        load_float(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)


def test_each_has_imagenet_weights_with_a_hash_in_their_name() -> None:
    """What a download is compared with."""
    assert IMAGENET_URLS.keys() == {*ARCHS}
    assert IMAGENET_URLS["inception_v3"].endswith("inception_v3_google-0cc3c7bd.pth")


def test_inceptions_see_values_from_minus_one_to_one() -> None:
    """As torchvision's own transform of ImageNet's mean and deviation does within the network."""
    assert preprocessing_of("inception_v3") == Preprocessing(
        resize="whole", size=299, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
