"""Bias correction: means over photographs as in float32, and nothing else changed."""

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from quantizable import config, network, noise
from torch import Tensor, nn
from torch.ao.nn.quantized import Conv2d, DeQuantize, Quantize

from indoor.evaluate import sqnr_db
from indoor.model import fold
from indoor.model.network import followers
from indoor.quantize import EngineBound, bias_correction, eager_flow, quantize, rounding
from indoor.quantize.bias_correction import correct_biases
from indoor.quantize.checkpoints import _tensors_of as tensors_of
from indoor.quantize.engines import known_deprecations_filtered, using_engine

pytestmark = pytest.mark.usefixtures("one_thread")
BATCHES = [noise(8), noise(4, seed=1)]
WITHOUT_RELU = ("layer1.0.conv2", "layer2.0.downsample.0", "layer4.1.conv2", "fc")


@pytest.fixture(scope="module")
def float_network() -> nn.Module:
    """A ResNet-18 whose means int8 weights shift; it is only ever copied.

    Each output channel's weights lie just below or just above the middle between two int8 values.
    """
    model, generator = network(noise(8)), torch.Generator().manual_seed(0)
    for block in model.modules():
        for name, (norm_name, _) in followers(block).items():
            layer, norm = block.get_submodule(name), block.get_submodule(str(norm_name))
            assert isinstance(layer, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_var is not None
            gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().view(-1, 1, 1, 1)
            step = (layer.weight.data * gain).abs().amax((1, 2, 3), keepdim=True) / 127.5
            codes = layer.weight.data * gain / step
            side = torch.randint(2, (len(codes), 1, 1, 1), generator=generator) * 2 - 1
            moved = torch.where(codes.abs() < 126, codes.round() + 0.49 * side, codes)
            layer.weight.data = moved * step / gain
    return model


@pytest.fixture(scope="module")
def plain(float_network: nn.Module) -> nn.Module:
    """The same in int8."""
    return quantize(float_network, config(), BATCHES)


@pytest.fixture(scope="module")
def corrected(float_network: nn.Module) -> nn.Module:
    """The same in int8 with corrected biases."""
    return quantize(float_network, config(bias_corrected=True), iter(BATCHES))


def means(model: nn.Module) -> dict[str, Tensor]:
    """Return the mean outputs of some layers that no ReLU follows."""
    found: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def hook(_module: object, _inputs: object, output: Tensor) -> None:
            values = output.dequantize() if output.is_quantized else output
            found[name] = values.flatten(2).mean((0, 2)) if values.ndim > 2 else values.mean(0)

        return hook

    body = model.get_submodule("network") if isinstance(model, EngineBound) else fold(model)
    hooks = [body.get_submodule(n).register_forward_hook(note(n)) for n in WITHOUT_RELU]
    with torch.inference_mode():
        (model if isinstance(model, EngineBound) else body)(torch.cat(BATCHES))
    for hook in hooks:
        hook.remove()
    return found


def test_each_layers_mean_output_is_float32s(
    float_network: nn.Module, plain: nn.Module, corrected: nn.Module
) -> None:
    """Per channel, also behind layers that are corrected themselves."""
    expected, before, after = means(float_network), means(plain), means(corrected)
    for name in WITHOUT_RELU:
        was = (before[name] - expected[name]).abs().max()
        assert (after[name] - expected[name]).abs().max() < 0.2 * was, name


def test_a_shift_is_repaired(
    float_network: nn.Module, plain: nn.Module, corrected: nn.Module
) -> None:
    """On photographs that the correction has not seen."""
    unseen = noise(16, seed=7)
    with torch.inference_mode():
        reference, *others = (model(unseen) for model in (float_network, plain, corrected))
    before, after = (sqnr_db(reference, logits) for logits in others)
    assert after > before + 3


def test_nothing_but_biases_changes(plain: nn.Module, corrected: nn.Module) -> None:
    """Weights, scales and zero points are the same; the network that was given stays as it was."""
    first, second = (tensors_of(one.get_submodule("network")) for one in (plain, corrected))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]) != name.endswith(".bias"), name


def test_a_bias_takes_the_mean_of_the_rounding_error() -> None:
    """By hand: weights 1 and 0.3 in steps of 1/127.5 on inputs 2 and 1, to 2.3 and not 2.298."""
    weight = torch.tensor([[1.0, 0.3]]).view(1, 2, 1, 1)
    convolution: Any = nn.Conv2d(2, 1, 1)
    convolution.weight.data, convolution.bias.data = weight, torch.zeros(1)
    engine = config().engine
    with using_engine(engine), known_deprecations_filtered():
        quantized: Any = Conv2d(2, 1, 1)
        rounded = torch.quantize_per_tensor(weight, 1 / 127.5, 0, torch.qint8)
        quantized.set_weight_bias(rounded, torch.zeros(1))
        quantized.scale, quantized.zero_point = 3 / 127, 0
        entry = Quantize(1 / 16, 0, torch.quint8)  # type: ignore[no-untyped-call]
        int8 = EngineBound(nn.Sequential(entry, quantized, DeQuantize()), engine)
    given = nn.Sequential(nn.Identity(), convolution, nn.Identity()).eval()
    photographs = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(3, 2, 5, 5)
    after: Any = correct_biases(given, int8, [photographs[:2], photographs[2:]])
    exact = 2.3 - (2 * 127 + 38) / 127.5
    assert after.network[1].bias().item() == pytest.approx(exact, abs=1e-6)


def test_no_photograph_is_refused(float_network: nn.Module, plain: nn.Module) -> None:
    """A mean of nothing would be no number."""
    with pytest.raises(ValueError, match="no photograph to take means of"):
        correct_biases(float_network, plain, [])


def test_batches_are_computed_as_they_come(
    float_network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives the batches may end a calibration between two, corrected or not."""
    computed: list[int] = []
    observe = eager_flow.observe

    def watched(*given: Any) -> nn.Module:
        observed = observe(*given)
        observed.register_forward_pre_hook(lambda _, images: computed.append(len(images[0])))
        return observed

    def batches() -> Iterator[Tensor]:
        yield noise(2)
        yield noise(2)
        raise TimeoutError(f"{len(computed)} computed")

    monkeypatch.setattr(eager_flow, "observe", watched)
    with pytest.raises(TimeoutError, match="2 computed"):
        quantize(float_network, config(bias_corrected=True), batches())


@pytest.mark.slow
@pytest.mark.parametrize("repair", [{"bias_corrected": True}, {"rounding": "gptq"}])
def test_no_more_photographs_are_kept_than_count(
    float_network: nn.Module, monkeypatch: pytest.MonkeyPatch, repair: dict[str, Any]
) -> None:
    """Of a long calibration the memory holds the first ones and the batch that is computed."""
    given: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def batches() -> Iterator[Tensor]:
        for seed in range(8):
            alive.append(sum(one() is not None for one in given))
            photographs = noise(2, seed=seed)
            given.append(weakref.ref(photographs))
            yield photographs
            del photographs

    monkeypatch.setattr(bias_correction, "MOST_PHOTOGRAPHS", 3)
    monkeypatch.setattr(rounding, "MOST_PHOTOGRAPHS", 3)
    quantize(float_network, config(**repair), batches())
    assert len(alive) == 8
    assert max(alive) <= 4  # two batches hold three photographs; the first is kept for its shape


def test_a_last_layer_in_float32_is_corrected_too(float_network: nn.Module) -> None:
    """What the layers before it do to the mean logits is made up for, and nothing rounds them."""
    asked = config(bias_corrected=True, float_layers=("fc",))
    model, photographs = quantize(float_network, asked, BATCHES), torch.cat(BATCHES)
    with torch.inference_mode():
        expected, actual = (one(photographs).mean(0) for one in (float_network, model))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)
