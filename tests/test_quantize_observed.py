"""One pass of calibration that serves every observer, range and granularity."""

from typing import get_args

import pytest
import torch
from quantizable import config, network, noise
from torch import Tensor, nn

from indoor.model import build_model
from indoor.quantize import quantize
from indoor.quantize.eager_flow import convert_observed
from indoor.quantize.observed import choose, observe
from indoor.records import Observer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shown() -> tuple[nn.Module, nn.Module, list[Tensor]]:
    """A network, a copy of it that was shown two batches, and these."""
    batches = [noise(2), 2 * noise(2, seed=1)]
    model = network(batches[0])
    watched = observe(model, config(), batches[0])
    with torch.no_grad():
        for batch in batches:
            watched(batch)
    return model, watched, batches


@pytest.mark.parametrize("observer", get_args(Observer))
@pytest.mark.parametrize(("ends", "weights"), [((0, 127), "per-tensor"), ((0, 255), "per-channel")])
def test_one_pass_serves_every_configuration(
    shown: tuple[nn.Module, nn.Module, list[Tensor]],
    observer: Observer,
    ends: tuple[int, int],
    weights: str,
) -> None:
    """What is chosen after a shared pass has the bits of a quantization of its own."""
    model, watched, batches = shown
    asked = config(observer=observer, activation_range=ends, weights=weights)
    chosen = convert_observed(choose(watched, asked), model, asked).eval()
    assert torch.equal(chosen(batches[0]), quantize(model, asked, batches)(batches[0]))


def test_more_may_be_shown_afterwards(shown: tuple[nn.Module, nn.Module, list[Tensor]]) -> None:
    """Choosing leaves the shared observers as they are."""
    model, watched, _ = shown
    asked = config(observer="moving-average")
    before = {name: values.clone() for name, values in watched.state_dict().items()}
    convert_observed(choose(watched, asked), model, asked)
    after = watched.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], values) for name, values in before.items())


def test_a_fixed_scale_stays_fixed() -> None:
    """After a sigmoid torch's scale is given and not observed; a MobileNetV3 has twenty of them."""
    inputs = noise(2)
    model = build_model("mobilenet_v3_large", 3, seed=0)
    asked = config(observer="mse", activation_range=(0, 255))
    watched = observe(model, config(), inputs)
    with torch.no_grad():
        watched(inputs)
    chosen = convert_observed(choose(watched, asked), model, asked).eval()
    assert torch.equal(chosen(inputs), quantize(model, asked, [inputs])(inputs))
