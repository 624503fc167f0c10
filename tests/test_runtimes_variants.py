"""Variants: what each name resolves to, and what its runnable computes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from indoor.errors import IndoorError
from indoor.model import FORMAT, build_model, save_float
from indoor.quantize import default_config, quantize, save_int8, supported_engines, using_engine
from indoor.records import CheckpointManifest, QuantizationRecord, WeightSource
from indoor.runtimes.base import (
    VARIANTS,
    Variant,
    load_variant,
    native_variants,
)
from indoor.transforms import DEFAULT_PREPROCESSING

MANIFEST = CheckpointManifest(
    format=FORMAT,
    arch="resnet18",
    precision="float32",
    classes=("bars", "checks", "rings"),
    preprocessing=DEFAULT_PREPROCESSING,
    weights=WeightSource(kind="none", name="random (seed 0)", sha256=None),
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Four photographs' worth of noise, float32 (4, 3, 32, 32)."""
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A ResNet-18 with three classes."""
    return build_model("resnet18", 3, seed=0)


@pytest.fixture(scope="module")
def int8(network: nn.Module, images: torch.Tensor) -> nn.Module:
    """The network in int8, calibrated on the images themselves."""
    return quantize(network, default_config(), [images])


@pytest.fixture(scope="module")
def run_folder(
    network: nn.Module, int8: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run's folder with both checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    save_float(folder / "float32.safetensors", network, MANIFEST)
    save_int8(folder / "int8.safetensors", int8, int8_manifest())
    return folder


def int8_manifest() -> CheckpointManifest:
    """Return the manifest of an int8 network on this machine."""
    record = QuantizationRecord(
        config=default_config(),
        calibration_sha256="0" * 64,
        num_quantized_modules=1,
        cpu_model="some CPU",
        vnni=None,
        torch_version=str(torch.__version__),
        forced=False,
        check=None,
    )
    return replace(MANIFEST, precision="int8", quantization=record)


def test_the_variants_are_three() -> None:
    """A name resolves to a runtime, a precision and the checkpoint that it is made from."""
    assert list(VARIANTS.items()) == [
        ("float32", Variant("float32", "eager", "float32", "float32")),
        ("bfloat16", Variant("bfloat16", "eager", "bfloat16", "float32")),
        ("int8", Variant("int8", "eager", "int8", "int8")),
    ]


def test_an_emulated_bfloat16_is_left_out() -> None:
    """It is a variant only where the CPU computes it; the baseline comes first."""
    assert [v.name for v in native_variants(True)] == ["float32", "bfloat16", "int8"]
    assert [v.name for v in native_variants(False)] == ["float32", "int8"]


def test_float32_is_the_network_as_it_was(
    run_folder: Path, network: nn.Module, images: torch.Tensor
) -> None:
    """The logits are the original network's bit for bit: nothing folded, nothing reordered."""
    run = load_variant(VARIANTS["float32"], run_folder)
    with torch.inference_mode():
        assert torch.equal(run(images), network(images))
    assert replace(run.manifest, content_sha256=None) == MANIFEST
    assert run.variant is VARIANTS["float32"]


def test_int8_is_the_checkpoint_as_it_was(
    run_folder: Path, int8: nn.Module, images: torch.Tensor
) -> None:
    """The logits are the saved int8 network's bit for bit."""
    run = load_variant(VARIANTS["int8"], run_folder)
    with torch.inference_mode():
        assert torch.equal(run(images), int8(images))
    assert run.manifest.precision == "int8"


def test_bfloat16_rounds_float32(
    run_folder: Path, network: nn.Module, images: torch.Tensor
) -> None:
    """The logits are float32's but for bfloat16's 8 bits of precision, and are not float32's."""
    logits = load_variant(VARIANTS["bfloat16"], run_folder)(images)
    with torch.inference_mode():
        expected = network(images)
    error = (logits - expected).norm() / expected.norm()
    assert 1e-5 < error < 0.05


@pytest.mark.parametrize("name", VARIANTS)
def test_a_runnable_gives_float32_logits_without_gradients(
    run_folder: Path, images: torch.Tensor, name: str
) -> None:
    """Every variant takes float32 (B, 3, H, W) and gives float32 (B, C), for the caller's use."""
    logits = load_variant(VARIANTS[name], run_folder)(images)
    assert logits.shape == (4, 3)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad


@pytest.mark.parametrize("name", VARIANTS)
def test_a_runnable_leaves_global_state_alone(
    run_folder: Path, images: torch.Tensor, name: str
) -> None:
    """Threads, engine, gradients, random state and the input are the caller's before and after."""
    other = next(e for e in supported_engines() if e != default_config().engine)
    with using_engine(other):
        before = torch.random.get_rng_state()
        copy = images.clone()
        load_variant(VARIANTS[name], run_folder)(images)
        assert torch.backends.quantized.engine == other
    assert torch.get_num_threads() == 1
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(copy, images)
    assert images.is_contiguous()


@pytest.mark.parametrize(("name", "file"), [(n, v.checkpoint) for n, v in VARIANTS.items()])
def test_a_missing_checkpoint_is_one_line(tmp_path: Path, name: str, file: str) -> None:
    """A run's folder without the variant's file gives an error that names the file."""
    with pytest.raises(IndoorError, match=rf"there is no file .*{file}\.safetensors"):
        load_variant(VARIANTS[name], tmp_path)
