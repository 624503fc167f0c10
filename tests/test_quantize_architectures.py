"""Each architecture in int8: the same bits from its file, and the same written out for runtimes."""

import dataclasses
import statistics
from pathlib import Path

import pytest
import torch
from quantizable import config
from test_int8_checkpoints import CLASSES, manifest
from test_model_architectures import lively, noise
from torch import nn
from torch.ao.nn.quantized.modules.utils import WeightedQuantizedModule

from indoor.evaluate import sqnr_db
from indoor.model import ARCHS, head_of, read_tensors, replace_head, save_float, thin
from indoor.quantize import load_int8, load_qdq, quantize, save_int8
from indoor.records import CheckpointManifest
from indoor.runtimes import all_variants
from indoor.runtimes.loading import load_here
from indoor.runtimes.proof import prove

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 96


def about(arch: str, kept: tuple[str, ...] = ()) -> CheckpointManifest:
    """Return the manifest of a thin network's int8 checkpoint."""
    whole = manifest(config(float_layers=kept), arch=thin(arch))
    preprocessing = dataclasses.replace(whole.preprocessing, size=SIZE)
    return dataclasses.replace(whole, preprocessing=preprocessing)


@pytest.fixture(scope="module", params=ARCHS)
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, nn.Module, nn.Module, Path]:
    """A thin network, its int8, and a folder with both checkpoints."""
    arch = request.param
    folder = tmp_path_factory.mktemp(arch)
    model = replace_head(lively(arch), len(CLASSES), seed=0)
    int8 = quantize(model, config(), [noise(8)])
    save_int8(folder / "int8.safetensors", int8, about(arch))
    float32 = dataclasses.replace(about(arch), precision="float32", quantization=None)
    save_float(folder / "float32.safetensors", model, float32)
    return arch, model, int8, folder


def test_a_loaded_network_is_the_conversions(
    run: tuple[str, nn.Module, nn.Module, Path],
) -> None:
    """Every module is of torch's own kind and at its own place, and the logits are the same."""
    _, _, int8, folder = run
    loaded = load_int8(folder / "int8.safetensors").model
    first, second = ([(n, type(m)) for n, m in one.named_modules()] for one in (int8, loaded))
    assert first == second
    with torch.inference_mode():
        assert torch.equal(int8(noise(2, seed=1)), loaded(noise(2, seed=1)))


def test_written_out_it_computes_what_the_eager_one_does(
    run: tuple[str, nn.Module, nn.Module, Path],
) -> None:
    """Pooling, sums, products, concatenations and activations round as torch's own kernels do.

    By the median photograph: engines round some values one step apart, and in a few photographs of
    noise such a step grows to as much as all of int8's.
    """
    _, model, int8, folder = run
    images = noise(16, seed=2)
    written_out = load_qdq(folder / "int8.safetensors", round_sums=True)
    with torch.inference_mode():
        each = zip(model(images), int8(images), written_out(images), strict=True)
    nearer = [sqnr_db(eager, ours) - sqnr_db(whole, eager) for whole, eager, ours in each]
    assert statistics.median(nearer) > 6
    layers = [n for n, m in int8.named_modules() if isinstance(m, WeightedQuantizedModule)]
    for name in layers:
        assert written_out.get_submodule(name.removeprefix("network.")).weight.dtype == torch.int8


def test_a_layer_may_stay_float32(
    run: tuple[str, nn.Module, nn.Module, Path], tmp_path: Path
) -> None:
    """The first and the last one, whatever they are called."""
    arch, model, _, _ = run
    first = next(n for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    kept = (first, head_of(model)[0])
    int8 = quantize(model, config(float_layers=kept), [noise(8)])
    save_int8(tmp_path / "int8.safetensors", int8, about(arch, kept))
    with torch.inference_mode():
        logits = int8(noise(2, seed=1))
        assert torch.equal(load_int8(tmp_path / "int8.safetensors").model(noise(2, seed=1)), logits)


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("name", ["int8-onnxruntime", "int8-openvino"])
def test_runtimes_compute_it_in_int8(
    run: tuple[str, nn.Module, nn.Module, Path], name: str
) -> None:
    """All is, but for what OpenVINO leaves in float32 where so few channels are odd in number."""
    _, _, _, folder = run
    variant = all_variants()[name]
    pytest.importorskip(variant.runtime)
    pytest.importorskip("onnxscript")
    loaded = load_here(variant, folder)
    images = noise(1, seed=1)
    assert torch.isfinite(loaded(images)).all()
    _, proof = prove(loaded, images)
    assert proof.share("int8") > 0.95, proof.words


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["fx", pytest.param("pt2e", marks=pytest.mark.runtime)])
def test_each_flow_fills_the_same_checkpoint(
    run: tuple[str, nn.Module, nn.Module, Path], tmp_path: Path, flow: str
) -> None:
    """By min-max to the same bits, but where a concatenation's terms share a range."""
    if flow == "pt2e":
        pytest.importorskip("torchao")
    arch, model, _, folder = run
    save_int8(tmp_path / "int8", quantize(model, config(flow=flow), [noise(8)]), about(arch))
    (eager, _), (found, _) = map(read_tensors, (folder / "int8.safetensors", tmp_path / "int8"))
    assert found.keys() == eager.keys()
    others = [name for name, tensor in eager.items() if not torch.equal(found[name], tensor)]
    share = len(others) / len(eager)
    assert share < 0.1 if arch in ("googlenet", "inception_v3", "shufflenet_v2_x1_0") else not share
