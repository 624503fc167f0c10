"""Variants: what each name resolves to, and what its runnable computes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from indoor.errors import IndoorError
from indoor.machine import reading
from indoor.machine.processor import Processor
from indoor.model import FORMAT, build_model, save_float
from indoor.quantize import default_config, quantize, save_int8, supported_engines, using_engine
from indoor.records import CheckpointManifest, QuantizationRecord, WeightSource
from indoor.runtimes import (
    all_variants,
    baseline,
    check_output,
    find_variant,
    load_variant,
    native_variants,
    why_not,
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

VARIANTS = {name: v for name, v in all_variants().items() if v.runtime == "eager"}

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


def cpu_with(monkeypatch: pytest.MonkeyPatch, *isa: str) -> None:
    """Let the machine be a CPU with these instructions."""
    monkeypatch.setattr(reading, "read_processor", lambda *_: Processor(model="CPU", isa=isa))


def test_eager_has_five_variants() -> None:
    """A name resolves to a runtime, a precision and the checkpoint that it is made from."""
    assert [(v.name, v.runtime, v.precision, v.checkpoint) for v in VARIANTS.values()] == [
        ("float32", "eager", "float32", "float32"),
        ("float32-channels-last", "eager", "float32", "float32"),
        ("float32-folded", "eager", "float32", "float32"),
        ("bfloat16", "eager", "bfloat16", "float32"),
        ("int8", "eager", "int8", "int8"),
    ]


def test_a_variant_says_what_others_ask() -> None:
    """One is the baseline, whose bits count; int8's verdict is asked; a short run may fold."""
    assert baseline() == VARIANTS["float32"]
    assert [v.role for v in VARIANTS.values()] == ["baseline", "plain", "plain", "plain", "judged"]
    assert [v.min_sqnr_db for v in VARIANTS.values()] == [None, 60.0, 60.0, 15.0, 6.0]
    assert [v.rank for v in VARIANTS.values()] == [None, None, 4, None, None]
    coloured = [(v.colour, v.marker) for v in VARIANTS.values() if v.colour is not None]
    assert len(set(coloured)) == len(coloured) == 3


def test_an_emulated_bfloat16_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a variant only where the CPU computes it; the baseline comes first."""
    cpu_with(monkeypatch, "avx512_bf16")
    assert [v.name for v in native_variants() if v.runtime == "eager"] == list(VARIANTS)
    assert native_variants()[0] == baseline()
    cpu_with(monkeypatch, "avx2")
    assert not [v for v in native_variants() if v.name == "bfloat16"]


def test_a_variant_that_cannot_run_here_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated, without kernels on that device, or unknown: the reason and what there is."""
    cpu_with(monkeypatch, "avx2")
    with pytest.raises(
        IndoorError, match=r"^variant bfloat16: this CPU only emulates it, .* int8\b"
    ):
        find_variant("bfloat16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda _: True)
    message = (
        r"^variant int8: torch computes eager int8 on the CPU only, not on cuda; .* bfloat16\b"
    )
    with pytest.raises(IndoorError, match=message):
        find_variant("int8", "cuda")
    with pytest.raises(
        IndoorError, match=r"^variant int4: expected one of float32, .*bfloat16, .*int8"
    ):
        find_variant("int4")


def test_a_variant_knows_its_device() -> None:
    """What is asked for a device is of that device, and the registry stays as it was."""
    assert find_variant("float32", "cuda").device == "cuda"
    assert why_not(find_variant("float32", "cuda")) is None
    assert find_variant("float32").device == "cpu"


def test_float32_is_the_network_as_it_was(
    run_folder: Path, network: nn.Module, images: torch.Tensor
) -> None:
    """The logits are the original network's bit for bit: nothing folded, nothing reordered."""
    run = load_variant(VARIANTS["float32"], run_folder)
    with torch.inference_mode():
        assert torch.equal(run(images), network(images))
    assert replace(run.manifest, content_sha256=None) == MANIFEST
    assert run.variant == VARIANTS["float32"]


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


def test_float32_must_give_the_same_bits() -> None:
    """One changed bit of one logit fails the case."""
    reference = torch.tensor([[1.0, 2.0]])
    assert check_output(VARIANTS["float32"], reference.clone(), reference) is None
    with pytest.raises(AssertionError, match="other logits than before"):
        check_output(VARIANTS["float32"], reference * (1 + 1e-6), reference)


def test_int8_must_be_near_float32() -> None:
    """An error of a hundredth is 40 dB; one as large as the logits is another network."""
    reference = torch.tensor([[3.0, -4.0]])
    assert check_output(VARIANTS["int8"], reference * 1.01, reference) == pytest.approx(
        40.0, abs=1e-3
    )
    with pytest.raises(AssertionError, match=r"int8 is 0.0 dB from float32's logits, expected 6.0"):
        check_output(VARIANTS["int8"], reference * 2, reference)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.tensor([[1.0]]), "logits torch.Size"),
        (torch.tensor([[1.0, float("nan")]]), "not finite"),
    ],
)
def test_output_of_another_shape_or_not_finite_fails(logits: torch.Tensor, message: str) -> None:
    """Both are refused before anything is compared."""
    with pytest.raises(AssertionError, match=message):
        check_output(VARIANTS["int8"], logits, torch.tensor([[1.0, 2.0]]))


@pytest.mark.parametrize("name", ["float32-channels-last", "float32-folded"])
def test_another_float32_is_float32_but_for_rounding(
    run_folder: Path, network: nn.Module, images: torch.Tensor, name: str
) -> None:
    """Another memory format, or batch norms folded, changes the order of additions alone."""
    run = load_variant(VARIANTS[name], run_folder)
    with torch.inference_mode():
        value = check_output(VARIANTS[name], run(images), network(images))
    assert value is not None
    assert value > 90
