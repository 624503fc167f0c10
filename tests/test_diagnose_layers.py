"""What each layer loses: figures worked out another way, and causes made on purpose."""

from typing import Any

import pytest
import torch
from diagnosable import RANGE, change_weights, errors, made, small, unequal
from quantizable import network, noise
from torch import Tensor, nn

from indoor.diagnose.layers import layer_errors
from indoor.diagnose.pairing import fused_copy, pair_layers
from indoor.diagnose.records import LayerError
from indoor.diagnose.replay import Replay
from indoor.evaluate import sqnr_db

LAYERS = ["quant", "conv1", "conv2", "conv3", "skip", "fc"]


@pytest.fixture(scope="module")
def sound() -> dict[str, LayerError]:
    """The errors of a network that was quantized as it should be."""
    model = small()
    return errors(model, made(model))


def test_each_layer_is_there_in_the_order_of_the_calls(sound: dict[str, LayerError]) -> None:
    """Input, convolutions, sum and linear layer; their shares are the whole."""
    assert list(sound) == LAYERS
    kinds = ["input", "convolution", "convolution", "convolution", "operation", "linear"]
    assert [one.kind for one in sound.values()] == kinds
    assert sum(one.share for one in sound.values()) == pytest.approx(1)


def test_a_sound_network_has_no_cause(sound: dict[str, LayerError]) -> None:
    """Where nothing is wrong nothing is named."""
    assert not [one for one in sound.values() if one.causes]


def test_only_layers_with_weights_have_figures_of_weights(sound: dict[str, LayerError]) -> None:
    """An input or a sum has no weights to be quantized."""
    without = {name for name, one in sound.items() if one.weight_sqnr_db is None}
    assert without == {"quant", "skip"}
    assert without == {n for n, one in sound.items() if one.isolated_weight_logit_sqnr_db is None}


def test_the_last_layer_accumulates_what_the_logits_lose() -> None:
    """In the int8 network the last layer's output is the logits."""
    model, images = small(), noise(8, seed=1)
    int8_model = made(model)
    with torch.inference_mode():
        expected = sqnr_db(model(images), int8_model(images))
    assert errors(model, int8_model)["fc"].accumulated_sqnr_db == pytest.approx(expected, abs=1e-3)


def test_a_layer_alone_is_quantized_by_hand() -> None:
    """conv2's isolated figures are those of float32 with its int8 weights and its rounding."""
    model, images = small(), noise(8, seed=1)
    int8_model = made(model)
    quantized: Any = int8_model.network.conv2
    fused = fused_copy(model)
    layer: Any = fused.get_submodule("conv2")[0]
    weight, bias = quantized._weight_bias()
    layer.weight, layer.bias = nn.Parameter(weight.dequantize()), nn.Parameter(bias.detach())

    def rounded(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        codes = torch.round(output / quantized.scale) + quantized.zero_point
        return (codes.clamp(0, 255) - quantized.zero_point) * quantized.scale

    with torch.no_grad():
        expected = model(images)
        weights_alone = sqnr_db(expected, fused(images))
        fused.get_submodule("conv2").register_forward_hook(rounded)
        both = sqnr_db(expected, fused(images))
    found = errors(model, int8_model)["conv2"]
    assert found.isolated_weight_logit_sqnr_db == pytest.approx(weights_alone, abs=0.05)
    assert found.isolated_logit_sqnr_db == pytest.approx(both, abs=0.05)


def test_photographs_in_pieces_are_all_counted() -> None:
    """Eleven photographs, of which eight are computed at a time, give the figures of all."""
    model = small()
    int8_model, images = made(model), noise(11, seed=1)
    both = errors(model, int8_model, torch.cat([images, images]))
    for name, one in errors(model, int8_model, images).items():
        assert one.isolated_logit_sqnr_db == pytest.approx(both[name].isolated_logit_sqnr_db)
        assert one.cosine == pytest.approx(both[name].cosine)
        assert one.mean_shift == pytest.approx(both[name].mean_shift)


def test_both_networks_stay_as_they_were() -> None:
    """A diagnosis changes neither the weights nor what is called."""
    model, images = small(), noise(4, seed=1)
    int8_model = made(model)
    with torch.inference_mode():
        before = model(images), int8_model(images)
        errors(model, int8_model)
        after = model(images), int8_model(images)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_network_goes_on_from_any_layer() -> None:
    """With the layer's own output in its place the logits are the very same."""
    model, images = small(), noise(4, seed=1)
    fused = fused_copy(model)
    pairs = pair_layers(fused, made(model))
    computed: list[str] = []
    replay = Replay(fused, {pair.name: pair.point for pair in pairs})
    with torch.inference_mode():
        logits = replay.record(images, lambda name, *_: computed.append(name))
        for pair in pairs:
            if pair.twin is None:
                assert torch.equal(replay.again(images, pair.name, pair.compute), logits)
    assert computed == LAYERS


def test_resnets_layers_are_found_by_their_names() -> None:
    """Every quantized module of a ResNet-18 is a layer: 20 convolutions, 8 sums, input and fc."""
    model = network(noise(16))
    found = layer_errors(model, made(model), noise(2, seed=1), activation_range=RANGE)
    kinds = [one.kind for one in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "input": 1,
        "convolution": 20,
        "operation": 8,
        "linear": 1,
    }
    assert [one.layer for one in found if one.ends] == ["quant", "conv1", "fc"]


def test_a_layer_that_stays_float32_rounds_its_output_alone() -> None:
    """What its weights would have cost is gone, and the last layer costs nothing at all."""
    model = network(noise(16))
    kept = ("conv1", "fc")
    found = {
        one.layer: one
        for one in layer_errors(
            model, made(model, float_layers=kept), noise(2, seed=1), activation_range=RANGE
        )
    }
    assert "fc" not in found
    assert found["conv1"].kind == "convolution"
    assert found["conv1"].weight_sqnr_db is None
    assert found["conv1"].activation_sqnr_db < 60


def test_no_photograph_is_refused() -> None:
    """Nothing is known from nothing."""
    model = small()
    with pytest.raises(ValueError, match="there are 0 photographs, expected 1 or more"):
        layer_errors(model, made(model), noise(4)[:0])


def test_a_float32_network_is_no_int8_one() -> None:
    """Two float32 networks are refused."""
    with pytest.raises(ValueError, match="has no quantized layer, expected an int8 one"):
        layer_errors(small(), small(), noise(1))


def test_inputs_beyond_the_range_are_named() -> None:
    """Calibrated on faint noise: the input is clipped, and the figures say by how much."""
    model = small()
    found = errors(model, made(model, 0.1 * noise(16)))["quant"]
    assert found.causes == ("range from the wrong inputs",)
    assert found.saturated > 0.3
    assert found.clipping > 0.99


def test_a_range_that_nothing_reaches_is_named() -> None:
    """Calibrated on noise of fifty times the contrast: most of the range is dead."""
    model = small()
    found = errors(model, made(model, 50 * noise(16)))
    assert found["quant"].causes == ("range from the wrong inputs",)
    assert found["quant"].dead > 0.8
    assert found["quant"].saturated == 0


def test_outliers_are_named() -> None:
    """One pixel of a hundred in each photograph takes the range from all others."""
    model = small()

    def struck(images: Tensor) -> Tensor:
        images = images.clone()
        images[:, 0, 5, 5] = 100.0
        return images

    found = errors(model, made(model, struck(noise(16))), struck(noise(8, seed=1)))["quant"]
    assert found.causes == ("outliers",)
    assert found.bulk < 0.1
    assert found.dead < 0.5


def test_per_tensor_weights_are_named() -> None:
    """Channels of unequal size under one scale: the layer, what a scale each would give."""
    model = unequal(small())
    found = errors(model, made(model, weights="per-tensor"))
    assert "per-tensor weights" in found["conv2"].causes
    assert "per-tensor weights" not in found["conv1"].causes + found["fc"].causes
    gain = (found["conv2"].per_channel_sqnr_db or 0) - (found["conv2"].weight_sqnr_db or 0)
    assert gain > 6


def test_unequal_channels_are_named() -> None:
    """Where a scale each does not help: in the rounded output, and in the weights after it."""
    model = unequal(small(), largest=1000.0)
    found = errors(model, made(model))
    named = {name for name, one in found.items() if "unequal channels" in one.causes}
    assert named == {"conv2", "conv3"}
    assert found["conv2"].quiet < 1 / 16
    assert found["conv3"].input_spread > 16


def test_an_equalised_network_is_compared_with_its_equalised_original() -> None:
    """The remedy for unequal channels takes the cause away, and the figures show it."""
    model = unequal(small(), largest=1000.0)
    int8_model, images = made(model, equalised=True), noise(8, seed=1)
    found = layer_errors(model, int8_model, images, activation_range=RANGE, equalised=True)
    assert not [one for one in found if one.causes]


def test_shifted_means_are_named() -> None:
    """Weights that were all rounded down move the means of a layer whose inputs are not zero."""
    model = small()
    int8_model = made(model)
    change_weights(int8_model, "conv2", lambda weight, scale: (weight - 4 * scale, scale))
    found = errors(model, int8_model)
    assert [n for n, one in found.items() if "shifted means" in one.causes] == ["conv2"]
    assert found["conv2"].mean_shift > 0.2


def test_the_first_layer_is_named_where_it_has_the_error() -> None:
    """Two bits for the first layer's weights: no other cause, and most of the error."""
    model = small()
    int8_model = made(model)
    change_weights(int8_model, "conv1", lambda weight, scale: (weight, 64 * scale))
    found = errors(model, int8_model)
    assert {name: one.causes for name, one in found.items() if one.causes} == {
        "conv1": ("first or last layer",)
    }
    assert found["conv1"].share > 0.5


def test_a_kernel_that_saturates_is_named() -> None:
    """Outputs that exact arithmetic on the same integers does not give, of that layer alone."""
    model = small()
    int8_model = made(model)

    def saturated(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        codes = output.int_repr().clamp(max=40)
        return torch._make_per_tensor_quantized_tensor(
            codes, output.q_scale(), output.q_zero_point()
        )

    int8_model.network.conv2.register_forward_hook(saturated)
    found = errors(model, int8_model)
    assert [n for n, one in found.items() if "vpmaddubsw saturation" in one.causes] == ["conv2"]
    assert found["conv2"].overflowed > 0.01
