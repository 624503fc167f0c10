"""Layers that an int8 network keeps in float32: in the network, in its file, in every runtime."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from quantizable import SIZE, config, network, noise
from test_int8_checkpoints import manifest, rewrite
from torch import Tensor, nn
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule

from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.model import fold, read_tensors, share_of_layers
from indoor.quantize import count_quantized_modules, load_int8, load_qdq, quantize, save_int8
from indoor.quantize.float_layer import FloatLayer
from indoor.records import CheckpointManifest, QuantizationConfig
from indoor.runtimes import all_variants
from indoor.runtimes.loading import load_here
from indoor.runtimes.proof import prove

KEPT = ("conv1", "layer2.0.conv2", "layer3.0.downsample.0", "fc")
"""With a ReLU, without one, beside a block, and the last."""

pytestmark = pytest.mark.usefixtures("one_thread")


def about(chosen: QuantizationConfig) -> CheckpointManifest:
    """Return the manifest of a checkpoint with that configuration."""
    whole = manifest(chosen)
    assert whole.quantization is not None
    share = share_of_layers("resnet18", 3, SIZE, chosen.float_layers)
    record = dataclasses.replace(whole.quantization, float_share=share)
    return dataclasses.replace(whole, quantization=record)


@pytest.fixture(scope="module")
def float_network() -> nn.Module:
    """A ResNet-18 that is only ever copied."""
    return network(noise(16))


@pytest.fixture(scope="module")
def int8_network(float_network: nn.Module) -> Any:
    """What `quantize` makes of it, with four layers in float32."""
    return quantize(float_network, config(float_layers=KEPT), noise(16, seed=1).split(8))


@pytest.fixture(scope="module")
def run_folder(int8_network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its checkpoint; copy the file to change it."""
    folder = tmp_path_factory.mktemp("kept")
    save_int8(folder / "int8.safetensors", int8_network, about(config(float_layers=KEPT)))
    return folder


def inputs_of(model: nn.Module, names: tuple[str, ...], images: Tensor) -> dict[str, Any]:
    """Return what some modules read and wrote in one call."""
    seen: dict[str, Any] = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda _m, read, written, name=name: seen.update({name: (read[0], written)})
        )
    with torch.no_grad():
        model(images)
    return seen


def test_a_kept_layer_computes_what_float32_does(
    float_network: nn.Module, int8_network: Any
) -> None:
    """With its batch norm and its ReLU, rounded to the scale that int8 would have; not the last."""
    folded = fold(float_network)
    seen = inputs_of(int8_network.network, KEPT, noise(2, seed=2))
    for name in KEPT:
        read, written = seen[name]
        with torch.no_grad():
            expected = folded.get_submodule(name)(read.dequantize())
        expected = expected.relu() if name == "conv1" else expected
        if name == "fc":
            torch.testing.assert_close(written, expected)
            continue
        assert written.dtype == torch.quint8
        assert ((written.dequantize() - expected).abs() / written.q_scale()).max() < 0.51 or (
            written.int_repr().max() == 255
        )


def test_the_others_stay_as_they_were(float_network: nn.Module, int8_network: Any) -> None:
    """Four layers fewer are quantized; weights and scales of the rest are the plain int8's."""
    plain = quantize(float_network, config(), noise(16, seed=1).split(8))
    assert count_quantized_modules(int8_network) == count_quantized_modules(plain) - len(KEPT)
    for name, module in int8_network.named_modules():
        if isinstance(module, WeightedQuantizedModule):
            other: Any = plain.get_submodule(name)
            assert torch.equal(module._weight_bias()[0].int_repr(), other.weight().int_repr())
            assert (module.scale, module.zero_point) == (other.scale, other.zero_point)


def test_what_is_kept_costs_no_accuracy(float_network: nn.Module) -> None:
    """With every layer kept only the activations' rounding is left."""
    images = noise(4, seed=3)
    plain = quantize(float_network, config(), noise(16, seed=1).split(8))
    names = tuple(
        name.removeprefix("network.")
        for name, module in plain.named_modules()
        if isinstance(module, WeightedQuantizedModule)
    )
    kept = quantize(float_network, config(float_layers=names), noise(16, seed=1).split(8))
    assert count_quantized_modules(kept) == 0
    with torch.inference_mode():
        logits = float_network(images)
        assert sqnr_db(logits, kept(images)) > sqnr_db(logits, plain(images)) + 1


def test_an_unknown_layer_is_one_line(float_network: nn.Module) -> None:
    """It says which there are."""
    with pytest.raises(
        IndoorError, match=r"float layer layer9: this network has none of that name; .* as conv1, "
    ):
        quantize(float_network, config(float_layers=("layer9",)), [noise(1)])


def test_the_file_says_which_and_loads_to_the_same_bits(
    int8_network: nn.Module, run_folder: Path, tmp_path: Path
) -> None:
    """float32 weights without a scale; logits and file come back bit for bit."""
    path = run_folder / "int8.safetensors"
    tensors, _ = read_tensors(path)
    for name in KEPT:
        assert tensors[f"{name}.weight"].dtype == torch.float32
        assert f"{name}.weight.scale" not in tensors
        assert (f"{name}.scale" in tensors) == (name != "fc")
    loaded = load_int8(path)
    images = noise(3, seed=4)
    with torch.inference_mode():
        assert torch.equal(loaded.model(images), int8_network(images))
    save_int8(tmp_path / "again.safetensors", loaded.model, about(config(float_layers=KEPT)))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: [t.pop("conv1.scale"), t.pop("conv1.zero_point")],
            "it lacks conv1.scale",
        ),
        (lambda t: t.pop("conv1.zero_point"), "it lacks conv1.zero_point"),
        (lambda t: t.pop("conv1.bias"), "it lacks conv1.bias"),
        (
            lambda t: t.update({"conv1.weight": torch.full((64, 3, 7, 7), torch.nan)}),
            "conv1 has weights that are not finite",
        ),
        (
            lambda t: t.update({"conv1.weight.scale": torch.ones(64).double()}),
            "conv1.weight is torch.float32 (64, 3, 7, 7) and not torch.int8",
        ),
    ],
)
def test_a_file_of_other_tensors_is_one_line(
    run_folder: Path, tmp_path: Path, change: Any, message: str
) -> None:
    """What is missing, surplus or wrong of a kept layer is named."""
    path = tmp_path / "int8.safetensors"
    path.write_bytes((run_folder / "int8.safetensors").read_bytes())
    rewrite(path, change)
    with pytest.raises(IndoorError, match=re.escape(message)):
        load_int8(path)


def test_a_record_of_other_layers_is_one_line(run_folder: Path, tmp_path: Path) -> None:
    """What the file says of itself and what it holds must agree."""
    path = tmp_path / "int8.safetensors"
    path.write_bytes((run_folder / "int8.safetensors").read_bytes())
    rewrite(path, lambda _: None, quantization=about(config(float_layers=KEPT[1:])).quantization)
    with pytest.raises(IndoorError, match="record and its weights differ on whether conv1 is flo"):
        load_int8(path)


def test_written_out_it_computes_the_same(int8_network: nn.Module, run_folder: Path) -> None:
    """A kept layer's weights are not rounded there, either, and int8 layers are that many fewer."""
    written_out = load_qdq(run_folder / "int8.safetensors", round_sums=True)
    images = noise(4, seed=5)
    with torch.inference_mode():
        assert sqnr_db(int8_network(images), written_out(images)) > 20
    assert {isinstance(m, FloatLayer) for m in written_out.modules()} == {False}
    assert sum(hasattr(m, "zero_point") for m in written_out.modules()) == 21 - len(KEPT)
    for name in KEPT:
        assert written_out.get_submodule(name).weight.dtype == torch.float32


@pytest.mark.parametrize(
    "name",
    [
        "int8",
        pytest.param("int8-onnxruntime", marks=pytest.mark.runtime),
        pytest.param("int8-openvino", marks=pytest.mark.runtime),
        pytest.param(
            "int8-inductor", marks=[pytest.mark.runtime, pytest.mark.compiles, pytest.mark.slow]
        ),
    ],
)
def test_every_runtime_leaves_them_in_float32(run_folder: Path, name: str) -> None:
    """The proof expects just these layers in float32, and finds the run whole."""
    variant = all_variants()[name]
    if variant.runtime != "eager":
        pytest.importorskip({"inductor": "torchao"}.get(variant.runtime, variant.runtime))
    loaded = load_here(variant, run_folder)
    ran, proof = prove(loaded, noise(1))
    assert proof.is_whole
    assert not proof.is_otherwise
    share = share_of_layers("resnet18", 3, SIZE, KEPT)
    assert proof.share("float32") == pytest.approx(share, abs=1e-3)
    assert proof.share("int8") == pytest.approx(1 - share, abs=1e-3)
    assert "by --float-layers" in proof.words
    assert ran.precision == "int8"
