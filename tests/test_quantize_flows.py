"""FX and PT2E choose the numbers of the same kind of int8 network as the eager flow does."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from quantizable import config, network, noise
from test_int8_checkpoints import manifest
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.quantize import conversion, eager_flow, fx_flow, load_qdq, quantize, save_int8
from indoor.quantize.checkpoints import _tensors_of as tensors_of

pytestmark = pytest.mark.usefixtures("one_thread")

BATCHES = (*noise(8, seed=1).split(4), noise(1, seed=2))
PT2E = config(flow="pt2e", activation_range=(0, 255))


@dataclass(frozen=True)
class Made:
    """What the PT2E flow made while the older flows were forbidden."""

    model: nn.Module
    graph: Any
    checkpoint: Path


@pytest.fixture(scope="module")
def float_network() -> nn.Module:
    """A ResNet-18 that is only ever copied."""
    return network(noise(8))


@pytest.fixture(scope="module")
def pt2e(float_network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An int8 network of PT2E's; its tests are skipped where there is no torchao."""
    pytest.importorskip("torchao")
    from indoor.quantize import pt2e_flow

    graphs: list[Any] = []
    convert = pt2e_flow.convert_pt2e
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pt2e_flow, "convert_pt2e", lambda g: graphs.append(convert(g)) or graphs[0])
        forbid_older_flows(patch)
        model = quantize(float_network, PT2E, BATCHES)
    path = tmp_path_factory.mktemp("pt2e") / "int8.safetensors"
    save_int8(path, model, manifest(PT2E))
    return Made(model, graphs[0], path)


def forbid_older_flows(patch: pytest.MonkeyPatch) -> None:
    """Have eager and FX prepare and convert of torch.ao raise, wherever they are called from."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("an older flow was called")

    eager = ("prepare", "convert", "prepare_qat", "fuse_modules", "fuse_modules_qat")
    fx = ("prepare_fx", "convert_fx", "prepare_qat_fx", "fuse_fx")
    modules = ("", ".quantize", ".quantize_fx", ".fuse_modules")
    ours = (sys.modules[f"torch.ao.quantization{name}"] for name in modules)
    for module in (*ours, eager_flow, fx_flow):
        for name in (*eager, *fx):
            if hasattr(module, name) and callable(getattr(module, name)):
                patch.setattr(module, name, forbidden)


def numbers(model: nn.Module) -> dict[str, Tensor]:
    """Return what a checkpoint of an int8 model would hold."""
    return tensors_of(model.get_submodule("network"))


def test_fx_chooses_what_eager_does(float_network: nn.Module) -> None:
    """Both place the same observers on the same values: by min-max not a bit differs."""
    eager = numbers(quantize(float_network, config(), BATCHES))
    fx = numbers(quantize(float_network, config(flow="fx"), BATCHES))
    assert fx.keys() == eager.keys()
    assert not [name for name, tensor in eager.items() if not torch.equal(fx[name], tensor)]


def test_fx_counts_pooled_values_twice(float_network: nn.Module) -> None:
    """Its pooling shares the observer of its input, which only a histogram notices."""
    changes = {"observer": "histogram", "activation_range": (0, 255), "weights": "per-tensor"}
    eager = numbers(quantize(float_network, config(**changes), BATCHES))
    fx = numbers(quantize(float_network, config(flow="fx", **changes), BATCHES))
    others = {name for name, tensor in eager.items() if not torch.equal(fx[name], tensor)}
    assert others <= {"conv1.scale", "layer4.1.add_relu.scale"}


@pytest.mark.runtime
def test_pt2e_chooses_scales_of_the_same_values(float_network: nn.Module, pt2e: Made) -> None:
    """By min-max every scale and weight of PT2E's is eager's, but for the last bits of folding."""
    eager = numbers(quantize(float_network, config(activation_range=(0, 255)), BATCHES))
    found = numbers(pt2e.model)
    assert found.keys() == eager.keys()
    for name, tensor in eager.items():
        assert found[name].dtype == tensor.dtype, name
        if tensor.is_floating_point():
            torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
        else:
            assert (found[name].int() - tensor.int()).abs().max() <= 1, name


@pytest.mark.runtime
def test_a_checkpoint_computes_what_pt2es_own_graph_does(pt2e: Made) -> None:
    """Written out for a compiler it gives the converted graph's logits, so nothing was lost."""
    inputs = noise(4, seed=3)
    with torch.no_grad():
        expected = pt2e.graph(inputs)
        logits = load_qdq(pt2e.checkpoint, round_sums=False)(inputs)
    assert sqnr_db(expected, logits) > 90


@pytest.mark.runtime
def test_pt2e_is_asked_for_a_range_a_granularity_and_an_observer(
    float_network: nn.Module, pt2e: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0..127 above all, which X86InductorQuantizer's default is not, and CPUs without VNNI need."""
    from indoor.quantize import pt2e_flow

    ranges = set()
    convert = pt2e_flow.convert_pt2e
    quantized = torch.ops.quantized_decomposed.quantize_per_tensor.default

    def noted(graph: Any) -> Any:
        converted = convert(graph)
        ranges.update(n.args[3:5] for n in converted.graph.nodes if n.target is quantized)
        return converted

    monkeypatch.setattr(pt2e_flow, "convert_pt2e", noted)
    state = {name: tensor.clone() for name, tensor in float_network.state_dict().items()}
    chosen = config(flow="pt2e", observer="mse", weights="per-tensor")
    found = numbers(quantize(float_network, chosen, BATCHES))
    assert ranges == {(0, 127)}
    assert {found[name].dim() for name in found if name.endswith("weight.scale")} == {0}
    clipped = (
        found["layer1.0.conv1.scale"] * 127 / (numbers(pt2e.model)["layer1.0.conv1.scale"] * 255)
    )
    assert 0.2 < clipped < 0.99
    assert all(torch.equal(float_network.state_dict()[n], tensor) for n, tensor in state.items())


@pytest.mark.runtime
def test_pt2e_calls_no_prepare_and_no_convert_of_torch_ao(
    float_network: nn.Module, pt2e: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made while both raised, as the other flows show, and is the network."""
    forbid_older_flows(monkeypatch)
    for flow in ("eager", "fx"):
        with pytest.raises(AssertionError, match="an older flow was called"):
            quantize(float_network, config(flow=flow), BATCHES)
    inputs = noise(4, seed=3)
    with torch.no_grad():
        assert sqnr_db(float_network(inputs), pt2e.graph(inputs)) > 15


@pytest.mark.runtime
def test_the_flows_checkpoints_give_the_same_bits_in_a_new_process(
    float_network: nn.Module, pt2e: Made, tmp_path: Path
) -> None:
    """What FX and PT2E chose is loaded elsewhere, without torchao, to identical logits."""
    chosen, inputs = config(flow="fx"), noise(4, seed=3)
    models = {"fx": quantize(float_network, chosen, BATCHES), "pt2e": pt2e.model}
    save_int8(tmp_path / "fx", models["fx"], manifest(chosen))
    shutil.copyfile(pt2e.checkpoint, tmp_path / "pt2e")
    safetensors.torch.save_file({"inputs": inputs}, tmp_path / "inputs")
    code = (
        "import sys, torch, safetensors.torch\n"
        "from pathlib import Path\n"
        "from indoor.quantize import load_int8\n"
        "torch.set_num_threads(1)\n"
        "folder = Path(sys.argv[1])\n"
        "inputs = safetensors.torch.load_file(folder / 'inputs')['inputs']\n"
        "with torch.inference_mode():\n"
        "    logits = {n: load_int8(folder / n).model(inputs) for n in sys.argv[2:]}\n"
        "assert 'torchao' not in sys.modules\n"
        "safetensors.torch.save_file(logits, folder / 'logits')\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path), *models], check=True)
    reloaded = safetensors.torch.load_file(tmp_path / "logits")
    with torch.inference_mode():
        for name, model in models.items():
            assert torch.equal(reloaded[name], model(inputs)), name


def test_without_torchao_pt2e_is_one_line(
    float_network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing, and the command that installs it, before anything is calibrated."""
    monkeypatch.setattr(conversion, "TORCHAO", {"torchao": ">=99"})
    with pytest.raises(IndoorError, match=r"^flow pt2e: it needs torchao>=99, .*--flow eager$"):
        quantize(float_network, config(flow="pt2e"), iter(()))


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.compiles
def test_pt2es_network_is_compiled_without_the_older_flows(
    pt2e: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From float32 to a compiled package no older flow is called, and all of it is int8."""
    from indoor.runtimes import all_variants, aotinductor, why_not

    variant = all_variants()["int8-aotinductor"]
    if reason := why_not(variant):
        pytest.skip(reason)
    forbid_older_flows(monkeypatch)
    checkpoint = tmp_path / "int8.safetensors"
    shutil.copyfile(pt2e.checkpoint, checkpoint)
    inputs = noise(2, seed=3)
    compiled = aotinductor.load(variant, aotinductor.prepare(variant, checkpoint, len(inputs)), 1)
    with torch.no_grad():
        assert sqnr_db(pt2e.graph(inputs), compiled(inputs)) > 30
    layers = [one for one in compiled.ran(inputs).executed if one.operator == "convolution"]
    assert [one.precision for one in layers] == ["int8"] * 20
