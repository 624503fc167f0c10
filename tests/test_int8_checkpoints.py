"""int8 checkpoints: the same bits in a new process, and files that cannot be used."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from quantizable import config, network, noise
from torch import Tensor, nn

from indoor.errors import IndoorError
from indoor.model import ARCHS, FORMAT, build_model, read_tensors, save_float, write_tensors
from indoor.quantize import checkpoints as checkpoints_module
from indoor.quantize import (
    count_quantized_modules,
    is_exact,
    load_int8,
    quantize,
    save_int8,
    supported_engines,
)
from indoor.records import (
    CheckpointManifest,
    Preprocessing,
    QuantizationConfig,
    QuantizationRecord,
    WeightSource,
)

ENGINES = supported_engines()
CLASSES = ("bars", "checks", "rings")


def manifest(quantized_with: QuantizationConfig, **changes: Any) -> CheckpointManifest:
    """Return an int8 checkpoint's manifest."""
    record = QuantizationRecord(
        config=quantized_with,
        calibration_sha256="0" * 64,
        num_quantized_modules=21,
        cpu_model="another CPU",
        vnni=None,
        torch_version=str(torch.__version__),
        forced=False,
        check=None,
        exact=is_exact(quantized_with.engine, quantized_with.activation_range),
    )
    whole = CheckpointManifest(
        format=FORMAT,
        arch="resnet18",
        precision="int8",
        classes=CLASSES,
        preprocessing=Preprocessing(resize="whole", size=64, mean=(0.5,) * 3, std=(0.25,) * 3),
        weights=WeightSource(kind="none", name="random", sha256=None),
        quantization=record,
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture(scope="module")
def float_network() -> nn.Module:
    """A ResNet-18 that is only ever copied."""
    return network(noise(8))


@pytest.fixture(scope="module")
def int8_network(float_network: nn.Module) -> nn.Module:
    """The int8 model in the file that `saved` returns."""
    return quantize(float_network, config(), [noise(2)])


@pytest.fixture
def saved(tmp_path: Path, int8_network: nn.Module) -> Path:
    """An int8 checkpoint, rewritten by the tests that damage it."""
    path = tmp_path / "int8.safetensors"
    save_int8(path, int8_network, manifest(config()))
    return path


@pytest.mark.usefixtures("one_thread")
def test_logits_are_bit_identical_in_a_new_process(
    tmp_path: Path, float_network: nn.Module
) -> None:
    """Every engine gives the same bits after loading elsewhere, in both granularities."""
    inputs = noise(4, seed=1)
    logits = {}
    for engine in ENGINES:
        for weights, largest in (("per-channel", 255), ("per-tensor", 127)):
            with_this = config(engine=engine, weights=weights, activation_range=(0, largest))
            model = quantize(float_network, with_this, [noise(4)])
            name = f"{engine}-{weights}-{largest}"
            logits[name] = model(inputs)
            save_int8(tmp_path / name, model, manifest(with_this))
    safetensors.torch.save_file({"inputs": inputs}, tmp_path / "inputs")
    code = (
        "import sys, torch, safetensors.torch\n"
        "from pathlib import Path\n"
        "from indoor.quantize import load_int8\n"
        "folder = Path(sys.argv[1])\n"
        "engine = torch.backends.quantized.engine\n"
        "inputs = safetensors.torch.load_file(folder / 'inputs')['inputs']\n"
        "with torch.inference_mode():\n"
        "    logits = {n: load_int8(folder / n).model(inputs) for n in sys.argv[2:]}\n"
        "assert torch.backends.quantized.engine == engine\n"
        "safetensors.torch.save_file(logits, folder / 'logits')\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path), *logits], check=True)
    reloaded = safetensors.torch.load_file(tmp_path / "logits")
    assert reloaded.keys() == logits.keys()
    for name, expected in logits.items():
        assert torch.equal(reloaded[name], expected), name
    assert len({tuple(values.flatten().tolist()) for values in logits.values()}) > 2


def test_loading_gives_the_manifest_and_the_file_hash(saved: Path) -> None:
    """A loaded model is in eval mode, quantized throughout, and says where it came from."""
    loaded = load_int8(saved)
    assert len(loaded.manifest.content_sha256) == 64
    assert dataclasses.replace(loaded.manifest, content_sha256=None) == manifest(config())
    assert loaded.path == saved
    assert len(loaded.sha256) == 64
    assert not any(module.training for module in loaded.model.modules())
    assert count_quantized_modules(loaded.model) == 21


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("arch", ARCHS[:2])  # the others: test_quantize_architectures
def test_a_loaded_network_is_the_conversions(tmp_path: Path, arch: str) -> None:
    """Every module is of torch's own kind and at its own place, in both networks."""
    path = tmp_path / "int8.safetensors"
    model = quantize(build_model(arch, len(CLASSES), seed=0), config(), [noise(1)])
    save_int8(path, model, manifest(config(), arch=arch))
    loaded = load_int8(path).model
    first, second = ([(n, type(m)) for n, m in one.named_modules()] for one in (model, loaded))
    assert first == second
    with torch.inference_mode():
        assert torch.equal(model(noise(2)), loaded(noise(2)))


@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_saving_a_loaded_model_gives_the_same_file(
    tmp_path: Path, float_network: nn.Module, weights: str
) -> None:
    """The round trip loses nothing: the same bytes are written again."""
    first, again = tmp_path / "first.safetensors", tmp_path / "again.safetensors"
    with_this = config(weights=weights)
    save_int8(first, quantize(float_network, with_this, [noise(1)]), manifest(with_this))
    save_int8(again, load_int8(first).model, manifest(with_this))
    assert again.read_bytes() == first.read_bytes()


def test_the_file_holds_plain_tensors(saved: Path) -> None:
    """Weights are int8 with float64 scales and int64 zero points, one an output channel."""
    tensors, _ = read_tensors(saved)
    assert not any(tensor.is_quantized for tensor in tensors.values())
    layer = {name: tensors[f"conv1.{name}"] for name in ("weight", "bias", "scale", "zero_point")}
    assert layer["weight"].dtype == torch.int8
    assert layer["weight"].shape == (64, 3, 7, 7)
    assert layer["bias"].dtype == torch.float32
    assert (layer["scale"].dtype, layer["zero_point"].dtype) == (torch.float64, torch.int64)
    assert tensors["conv1.weight.scale"].shape == (64,)
    assert tensors["conv1.weight.scale"].dtype == torch.float64
    assert tensors["conv1.weight.zero_point"].dtype == torch.int64


def test_the_file_is_a_quarter_of_float32(saved: Path, float_network: nn.Module) -> None:
    """One byte a weight: the int8 file has about a quarter of the float32 file's size."""
    float_path = saved.with_name("float32.safetensors")
    about = manifest(config(), precision="float32", quantization=None)
    save_float(float_path, float_network, about)
    assert 0.24 < saved.stat().st_size / float_path.stat().st_size < 0.27


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], object], **about: Any) -> None:
    """Write the checkpoint again with its tensors or manifest changed."""
    tensors, said = read_tensors(path)
    change(tensors)
    write_tensors(path, tensors, dataclasses.replace(said, **about))


def put(name: str, tensor: Tensor) -> Callable[[dict[str, Tensor]], object]:
    """Return a change that puts a tensor in."""
    return lambda tensors: tensors.update({name: tensor})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("conv1.weight"), "it lacks conv1.weight"),
        (lambda tensors: tensors.pop("fc.weight.scale"), "it lacks fc.weight.scale"),
        (put("extra", torch.zeros(1)), "it has extra besides"),
        (
            put("fc.bias", torch.zeros(4)),
            "fc.bias is torch.float32 (4,) and not torch.float32 (3,)",
        ),
        (put("fc.weight", torch.zeros(3, 512)), "fc.weight is torch.float32 (3, 512) and not"),
        (put("conv1.scale", torch.tensor(0.0).double()), "conv1 has scale 0.0 and zero point"),
        (put("conv1.scale", torch.tensor(torch.nan).double()), "conv1 has scale nan and zero"),
        (put("conv1.zero_point", torch.tensor(256)), "and zero point 256"),
        (put("fc.weight.scale", torch.zeros(3).double()), "fc.weight has scales that are not"),
        (put("fc.weight.zero_point", torch.ones(3).long()), "or is not symmetric"),
    ],
)
def test_a_file_of_other_tensors_is_one_line(
    saved: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    """Tensors that are missing, surplus or wrong are named, with the remedy."""
    rewrite(saved, change)
    with pytest.raises(IndoorError, match=re.escape(message)) as failed:
        load_int8(saved)
    assert str(failed.value).startswith(f"{saved} holds no int8 resnet18 of 3 classes (")
    assert str(failed.value).endswith("expected a file of indoor quantize; quantize again")
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"precision": "float32"}, "holds a float32 model, expected int8; make one"),
        ({"quantization": None}, "holds a int8 model, expected int8"),
        ({"arch": "resnet34"}, "holds a resnet34 of 3 classes, expected one of resnet18, resnet50"),
        ({"classes": ()}, "holds a resnet18 of 0 classes"),
        ({"classes": ("one", "two")}, "holds no int8 resnet18 of 2 classes"),
    ],
)
def test_a_file_that_says_something_else_is_one_line(
    saved: Path, about: dict[str, Any], message: str
) -> None:
    """A manifest that is no int8 checkpoint's is refused before anything is built."""
    rewrite(saved, lambda _: None, **about)
    with pytest.raises(IndoorError, match=re.escape(message)):
        load_int8(saved)


def test_an_engine_outside_the_build_is_one_line(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file for an engine that this torch lacks says which there are."""
    monkeypatch.setattr(checkpoints_module, "supported_engines", lambda: ("other",))
    with pytest.raises(
        IndoorError, match=rf"is for engine {ENGINES[0]}, which is not in .* one of other; quantize"
    ):
        load_int8(saved)


def test_a_file_that_would_saturate_here_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact where it was made and not here: an error, since the logits would be wrong silently."""
    monkeypatch.setattr(checkpoints_module, "is_exact", lambda *_: False)
    record = dataclasses.replace(manifest(config()).quantization, exact=True)
    rewrite(saved, lambda _: None, quantization=record)
    with pytest.raises(IndoorError, match=r"made on another CPU, where engine .* it saturates"):
        load_int8(saved)
    record = dataclasses.replace(record, exact=False)
    rewrite(saved, lambda _: None, quantization=record)
    assert load_int8(saved).manifest.quantization == record


def test_only_what_quantize_returned_is_saved(
    tmp_path: Path, float_network: nn.Module, int8_network: nn.Module
) -> None:
    """A float network, or a manifest that does not say int8, is a mistake in code."""
    path = tmp_path / "int8.safetensors"
    with pytest.raises(ValueError, match="cannot save a QuantizableResNet, expected what quantize"):
        save_int8(path, float_network, manifest(config()))
    with pytest.raises(ValueError, match=r"manifest\.precision is float32, expected int8 with a"):
        save_int8(path, int8_network, manifest(config(), precision="float32"))
    assert not path.exists()
