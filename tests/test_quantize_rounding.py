"""Weights rounded so that their errors cancel in what a layer gives."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from quantizable import config, network, noise
from torch import Tensor, nn
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule

from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.model import build_model, fold
from indoor.model.network import thin
from indoor.quantize import Roundings, quantize, rounding, validate_config
from indoor.quantize.gptq import rounded
from indoor.quantize.rounding import round_together
from indoor.records import Flow, WeightGranularity

pytestmark = pytest.mark.usefixtures("one_thread")


def smooth(num: int, seed: int = 0) -> Tensor:
    """Return noise whose neighbouring pixels are alike, as those of photographs are."""
    return nn.functional.avg_pool2d(noise(num, seed), 9, 1, 4) * 9


@pytest.fixture(scope="module")
def float_network() -> nn.Module:
    """A ResNet-18 of an eighth of the channels that is only ever copied."""
    return network(smooth(16), arch=thin("resnet18"))


def codes(model: nn.Module) -> dict[str, Tensor]:
    """Return the int8 weights of each layer."""
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, WeightedQuantizedModule):
            layer: Any = module
            found[name.removeprefix("network.")] = layer._weight_bias()[0].int_repr()
    return found


def problem(groups: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, their steps, and inputs `(groups, N, d)` that go together."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(8, 12, generator=generator)
    inputs = torch.randn(groups, 400, 12, generator=generator).cumsum(2)
    return weight, weight.abs().amax(1) / 127.5 * 8, inputs


@pytest.mark.parametrize("groups", [1, 4])
def test_errors_cancel_where_inputs_go_together(groups: int) -> None:
    """The outputs' squared error is less than half of that of the nearest codes."""
    weight, steps, inputs = problem(groups)

    def error(chosen: Tensor) -> float:
        by_group = (chosen - weight).view(groups, -1, 12)
        return float((inputs @ by_group.mT).square().sum())

    chosen = rounded(weight, steps, inputs.mT @ inputs)
    nearest = (weight / steps[:, None]).round() * steps[:, None]
    assert error(chosen) < error(nearest) / 2
    on_grid = chosen / steps[:, None]
    torch.testing.assert_close(on_grid, on_grid.round())


def test_inputs_that_do_not_go_together_leave_the_nearest_codes() -> None:
    """With nothing to make an error up with, each weight takes the code next to it."""
    weight, steps, _ = problem(1)
    power = torch.arange(1.0, 13)
    nearest = (weight / steps[:, None]).round() * steps[:, None]
    torch.testing.assert_close(rounded(weight, steps, torch.diag(power)[None]), nearest)
    dead = torch.diag(power * (power > 6))[None]
    torch.testing.assert_close(rounded(weight, steps, dead), nearest)


def test_the_weight_that_the_scale_comes_from_stays() -> None:
    """No other passes it, so that the flows find the same scale, and with it the same codes."""
    weight, _, inputs = problem(1)
    steps = weight.abs().amax(1) / 127.5
    chosen = rounded(weight, steps, inputs.mT @ inputs)
    assert torch.equal(chosen.abs().amax(1), weight.abs().amax(1))


@pytest.mark.parametrize("flow", ["eager", "fx"])
@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_every_flow_finds_the_chosen_codes(
    float_network: nn.Module, flow: Flow, weights: WeightGranularity
) -> None:
    """What rounding to the nearest makes of the moved weights is the codes that were chosen."""
    asked = config(flow=flow, weights=weights, rounding="gptq", float_layers=("conv1",))
    images = smooth(8, seed=1)
    found = codes(quantize(float_network, asked, [images]))
    plain = codes(quantize(float_network, config(flow=flow, weights=weights), [images]))
    moved = fold(round_together(float_network, asked, [images]))
    assert "conv1" not in found
    changed = 0
    for name, chosen in found.items():
        layer: Any = moved.get_submodule(name)
        steps = layer.weight.flatten(1).abs().amax(1) / 127.5
        steps = steps if weights == "per-channel" else steps.max().expand_as(steps)
        expected = layer.weight / steps.view(-1, *[1] * (layer.weight.ndim - 1))
        inside = expected.abs() < 127
        torch.testing.assert_close(chosen[inside].float(), expected[inside], rtol=0, atol=0.01)
        changed += int((chosen != plain[name]).sum())
    assert changed > 10_000


def test_rounded_weights_disturb_the_logits_less(float_network: nn.Module) -> None:
    """On other photographs than those that it was chosen from, and float32 stays as it was."""
    images, others = [smooth(16, seed=1)], smooth(8, seed=2)
    before = {name: tensor.clone() for name, tensor in float_network.state_dict().items()}
    nearest = fold(float_network)
    chosen = fold(round_together(float_network, config(), images))
    with torch.inference_mode():
        for name, weight in nearest.named_parameters():
            if name.endswith("weight"):
                steps = weight.flatten(1).abs().amax(1) / 127.5
                steps = steps.view(-1, *[1] * (weight.ndim - 1))
                weight.copy_((weight / steps).round().clamp(-128, 127) * steps)
        reference = float_network(others)
        noises = [sqnr_db(reference, model(others)) for model in (nearest, chosen)]
    assert noises[1] > noises[0] + 3
    for name, tensor in float_network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_what_was_chosen_before_is_not_chosen_anew(
    float_network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same codes as without a memory, whatever layers stay float32; equalised is another."""
    images, known = [smooth(8, seed=1)], Roundings()
    asked = config(rounding="gptq", float_layers=("conv1",))
    first = codes(quantize(float_network, asked, images, roundings=known))
    num_chosen = len(known)
    other = replace(asked, float_layers=("fc",), bias_corrected=True, observer="minmax")
    expected = codes(quantize(float_network, other, images))
    with monkeypatch.context() as patched:
        patched.setattr(rounding, "rounded", None)
        again = codes(quantize(float_network, asked, images, roundings=known))
        found = codes(quantize(float_network, other, images, roundings=known))
    for one, two in ((first, again), (expected, found)):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    quantize(float_network, replace(asked, equalised=True), images, roundings=known)
    assert (num_chosen, len(known)) == (1, 2)


def test_depthwise_convolutions_are_rounded_group_by_group() -> None:
    """A MobileNet's, whose groups have nine weights each."""
    model = build_model(thin("mobilenet_v3_large"), 3, seed=0)
    moved = fold(round_together(model, config(rounding="gptq"), [noise(2)]))
    for (name, before), (_, after) in zip(
        fold(model).named_parameters(), moved.named_parameters(), strict=True
    ):
        if name.endswith("weight"):
            steps = before.flatten(1).abs().amax(1) / 127.5
            assert bool(((after - before).flatten(1).abs().amax(1) <= 64 * steps).all()), name


def test_what_cannot_be_chosen_is_one_line() -> None:
    """Inputs that are no numbers, and a training, which chooses the weights itself."""
    weight, steps, _ = problem(1)
    with pytest.raises(IndoorError, match=r"no finite numbers.*--rounding gptq"):
        rounded(weight, steps, torch.full((1, 12, 12), float("nan")))
    with pytest.raises(IndoorError, match="--qat-epochs 1 with --rounding gptq"):
        validate_config(config(qat_epochs=1, rounding="gptq"))
    with pytest.raises(IndoorError, match="unknown rounding up"):
        validate_config(config(rounding="up"))
