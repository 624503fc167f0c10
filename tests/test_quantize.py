"""Fuse, prepare, calibrate, convert, and the check that finds a collapse."""

import copy
import dataclasses
import hashlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from quantizable import config, fit_head, network, noise
from torch import Tensor, nn
from torchvision.models import quantization as torchvision_models

from indoor.dataset import IndoorScenes, identify, load_batches, stratified_sample
from indoor.errors import CollapseError, IndoorError
from indoor.model import FORMAT, LoadedModel, fold, load_float
from indoor.quantize import (
    WatchedBatches,
    check,
    count_quantized_modules,
    default_config,
    is_exact,
    load_int8,
    quantize,
    quantize_checkpoint,
    refuse_collapse,
    supported_engines,
    vnni_supported,
)
from indoor.quantize import eager_flow as flow_module
from indoor.quantize import from_checkpoint as checkpoint_module
from indoor.quantize.checkpoints import _tensors_of as tensors_of
from indoor.records import (
    CheckpointManifest,
    Engine,
    InputStatistics,
    Preprocessing,
    QuantizationCheck,
    Split,
    WeightSource,
)
from indoor.transforms import inference_transform

ENGINES = supported_engines()
PIXELS = Preprocessing(resize="whole", size=64, mean=(0.0,) * 3, std=(1 / 255,) * 3)
"""The reference's mistake, as a transform: inputs of 0..255."""
UNIT = dataclasses.replace(PIXELS, std=(1.0,) * 3)
VAL_FRACTION = 0.5
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def float_network() -> nn.Module:
    """A ResNet-18 that is only ever copied."""
    return network(noise(8))


def test_calibration_sees_what_torchs_own_modules_compute(
    float_network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ReLUs and sums written over their inputs lead to the same scales, zero points and weights."""
    batches = [noise(4), noise(2, seed=1)]
    ours = quantize(float_network, config(observer="histogram"), batches)
    monkeypatch.setattr(flow_module, "_write_over", lambda _: None)
    torchs = quantize(float_network, config(observer="histogram"), batches)
    first, second = (tensors_of(model.get_submodule("network")) for model in (ours, torchs))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def draw(name: str, generator: np.random.Generator) -> Image.Image:
    """Return a 64 x 64 grey picture of stripes in one direction, or of rings."""
    rows, columns = np.mgrid[:64, :64]
    waves = {
        "columns": columns,
        "diagonals": rows + columns,
        "rings": np.hypot(rows - 32, columns - 32),
        "rows": rows,
    }
    period, shift = generator.integers(8, 14), generator.integers(0, 14)
    picture = 40.0 + 160 * ((waves[name] + shift) % period < period / 2)
    picture += generator.normal(0, 20, picture.shape) + generator.uniform(-20, 20)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set: 4 classes, 16 train photographs each, half of them for validation."""
    root = tmp_path_factory.mktemp("scenes")
    generator = np.random.default_rng(0)
    train, test = [], []
    for name in ("columns", "diagonals", "rings", "rows"):
        (root / "Images" / name).mkdir(parents=True)
        lines = [f"{name}/{index:02d}.png" for index in range(17)]
        for line in lines:
            draw(name, generator).save(root / "Images" / line)
        train += lines[:16]
        test += lines[16:]
    (root / "TrainImages.txt").write_text("\n".join(train))
    (root / "TestImages.txt").write_text("\n".join(test))
    return root


@pytest.fixture(scope="module")
def trained(scenes: Path) -> LoadedModel:
    """A network that tells most drawn photographs apart: random, with a least-squares head."""
    dataset = IndoorScenes(scenes, "train", inference_transform(UNIT), val_fraction=VAL_FRACTION)
    inputs, labels = next(load_batches(dataset, len(dataset)))
    model: Any = network(inputs, len(dataset.classes))
    fit_head(model, inputs, labels)
    manifest = CheckpointManifest(
        format=FORMAT,
        arch="resnet18",
        precision="float32",
        classes=dataset.classes,
        preprocessing=UNIT,
        weights=WeightSource(kind="none", name="random", sha256=None),
        metrics={"val_accuracy": 0.75},
        content_sha256="0" * 64,
    )
    return LoadedModel(model, manifest, scenes / "float32.safetensors")


def inputs_of(root: Path, split: Split, preprocessing: Preprocessing) -> Tensor:
    """Return all photographs of a split of the drawn set, float32 `(B, 3, 64, 64)`."""
    dataset = IndoorScenes(
        root, split, inference_transform(preprocessing), val_fraction=VAL_FRACTION
    )
    return next(load_batches(dataset, len(dataset)))[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_quantized_modules(float_network: nn.Module, engine: Engine) -> None:
    """All 20 convolutions and the linear layer of ResNet-18 become int8, for x86 as well."""
    model = quantize(float_network, config(engine=engine), [noise(4)])
    assert count_quantized_modules(model) == 21
    assert not [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert not model.training
    assert model(noise(2)).shape == (2, 3)


@pytest.mark.skipif("x86" not in ENGINES, reason="this torch build has no engine x86")
def test_torchvisions_helper_stays_float_for_x86() -> None:
    """The trap that the count guards against: torchvision hands back a float network for x86."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = torch.backends.quantized.engine
        model = torchvision_models.resnet18(weights=None, quantize=True, backend="x86")
        torch.backends.quantized.engine = before
    assert count_quantized_modules(model) == 0


def test_a_conversion_that_does_nothing_is_caught(
    float_network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A float network is never returned as int8."""
    monkeypatch.setattr(flow_module, "convert", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="still float32 after the conversion: conv1"):
        quantize(float_network, config(), [noise(4)])


def test_the_float_model_stays_as_it_is(float_network: nn.Module) -> None:
    """State, modules, hooks, mode and logits of the caller's model are the same afterwards."""
    model = copy.deepcopy(float_network).train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules = [(name, type(module)) for name, module in model.named_modules()]
    quantize(model, config(), [noise(4)])
    assert [(name, type(module)) for name, module in model.named_modules()] == modules
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert model.training
    assert not any(hasattr(module, "qconfig") for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("engine", ENGINES)
def test_the_callers_engine_is_put_back(float_network: nn.Module, engine: Engine) -> None:
    """Quantizing for one engine leaves torch's global one alone."""
    before = torch.backends.quantized.engine
    quantize(float_network, config(engine=engine), [noise(1)])
    assert torch.backends.quantized.engine == before


@pytest.mark.parametrize("observer", ["minmax", "moving-average", "histogram"])
def test_no_warning_of_torch_is_left(float_network: nn.Module, observer: str) -> None:
    """No observer leaves a warning to the user, in any of the steps."""
    with warnings.catch_warnings(record=True) as heard:
        quantize(float_network, config(observer=observer), [noise(2)])(noise(1))
    assert [str(warning.message) for warning in heard] == []


def test_an_impossible_configuration_is_refused_first(float_network: nn.Module) -> None:
    """The configuration is validated before anything is computed."""
    with pytest.raises(IndoorError, match="unknown observer entropy"):
        quantize(float_network, config(observer="entropy"), [])


def test_calibration_on_nothing_is_an_error(float_network: nn.Module) -> None:
    """Without a photograph there is no scale to choose."""
    with pytest.raises(IndoorError, match="calibration saw 0 photographs; expected at least 1"):
        quantize(float_network, config(), [])


def test_only_a_quantizable_float_network_is_taken(float_network: nn.Module) -> None:
    """Any other module, one that is folded and one that is int8 already, are mistakes in code."""
    with pytest.raises(ValueError, match="cannot quantize a Linear: expected a float32 network of"):
        quantize(nn.Linear(2, 2), config(), [noise(1)])
    with pytest.raises(ValueError, match=r"QuantizableResNet: expected .* with its batch norms"):
        quantize(fold(float_network), config(), [noise(1)])
    int8_model = quantize(float_network, config(), [noise(1)])
    with pytest.raises(ValueError, match="cannot quantize a EngineBound"):
        quantize(int8_model, config(), [noise(1)])


def input_scale(float_network: nn.Module, batches: Sequence[Tensor], **changes: Any) -> float:
    """Return the scale that the calibration chose for the network's input."""
    model: Any = quantize(float_network, config(**changes), batches)
    return float(model.network.quant.scale)


@pytest.mark.parametrize("largest", [127, 255])
def test_the_range_decides_the_scale(float_network: nn.Module, largest: int) -> None:
    """Min-max inputs of -1..3 take (3 - -1) / 127 or / 255 a step."""
    ramp = torch.linspace(-1, 3, 3 * 64 * 64).reshape(1, 3, 64, 64)
    scale = input_scale(float_network, [ramp], activation_range=(0, largest))
    assert scale == pytest.approx(4 / largest, rel=1e-6)


def test_min_max_keeps_the_extremes_of_all_batches(float_network: nn.Module) -> None:
    """Inputs up to 1 and then up to 2: the scale is that of 2, in any order of batches."""
    batches = [torch.full((1, 3, 64, 64), 1.0), torch.full((1, 3, 64, 64), 2.0)]
    for order in (batches, batches[::-1]):
        assert input_scale(float_network, order) == pytest.approx(2 / 127, rel=1e-6)


def test_a_moving_average_follows_by_a_hundredth(float_network: nn.Module) -> None:
    """Inputs up to 1 and then up to 2 count as 1 + 0.01 * (2 - 1)."""
    batches = [torch.full((1, 3, 64, 64), 1.0), torch.full((1, 3, 64, 64), 2.0)]
    scale = input_scale(float_network, batches, observer="moving-average")
    assert scale == pytest.approx(1.01 / 127, rel=1e-6)


@pytest.mark.parametrize(
    ("weights", "scheme"),
    [("per-channel", torch.per_channel_affine), ("per-tensor", torch.per_tensor_affine)],
)
def test_granularity_reaches_every_layer(
    float_network: nn.Module, weights: str, scheme: torch.qscheme
) -> None:
    """Convolutions and the linear layer get scales of the asked granularity."""
    model: Any = quantize(float_network, config(weights=weights), [noise(2)])
    layers = (model.network.conv1, model.network.layer4[1].conv2, model.network.fc)
    assert [layer.weight().qscheme() for layer in layers] == [scheme] * 3


class Table(nn.Module):
    """A model that answers each photograph, a row of `(B, 1, 1, 1)`, with a row of logits."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.rows = torch.tensor(rows)
        self.eval()

    def forward(self, photographs: Tensor) -> Tensor:
        """Look up the rows that the photographs number."""
        return self.rows[photographs.flatten().long()]


def tables(*classes: int, size: float = 1.0) -> Table:
    """Return a model that predicts these of four classes, with logits of 0 and `size`."""
    return Table([[size * (column == one) for column in range(4)] for one in classes])


def numbered(num_photographs: int) -> list[Tensor]:
    """Return photographs of one value, their number, in batches of two."""
    return list(torch.arange(float(num_photographs)).reshape(-1, 1, 1, 1).split(2))


SEEN = InputStatistics(num_photographs=1, minimum=0.0, maximum=1.0, mean=0.5, std=0.29)


def test_a_check_counts_by_hand() -> None:
    """Agreement, entropies, classes, SQNR and input statistics are those computed by hand."""
    checked = check(tables(0, 1, 2, 3), tables(0, 1, 2, 2), numbered(4), SEEN)
    assert checked.num_photographs == 4
    assert (checked.agreement.num_hits, checked.agreement.num_total) == (3, 4)
    assert checked.entropy_float32_bits == pytest.approx(2.0)
    assert checked.entropy_int8_bits == pytest.approx(1.5)  # 1/4, 1/4, 1/2
    assert (checked.num_classes_float32, checked.num_classes_int8) == (4, 3)
    # norm(signal) = sqrt(4), norm(error) = sqrt(2): 20 log10(sqrt(2)) dB
    assert checked.sqnr_db == pytest.approx(3.0103, abs=1e-4)
    assert checked.calibration_input == SEEN
    assert checked.inference_input == InputStatistics(
        num_photographs=4, minimum=0.0, maximum=3.0, mean=1.5, std=pytest.approx(1.25**0.5)
    )


def rows(classes: Sequence[int]) -> Table:
    """Return a model that predicts one of two classes by a margin of a tenth."""
    return Table([[1.0, 0.9] if one == 0 else [0.9, 1.0] for one in classes])


@pytest.mark.parametrize(
    ("float_model", "int8_model", "findings"),
    [
        (tables(0, 1, 2, 3), tables(0, 1, 2, 3, size=0.51), ()),
        (
            tables(0, 1, 2, 3),
            tables(0, 1, 2, 3, size=0.49),
            ("SQNR of the logits 5.8 dB, expected 6 or more",),
        ),
        # Wilson's interval ends at 0.709 for 62 of 100 and at 0.691 for 60.
        (rows([0, 1] * 50), rows([1, 0] * 19 + [0, 1] * 31), ()),
        (
            rows([0, 1] * 50),
            rows([1, 0] * 20 + [0, 1] * 30),
            ("agreement with float32 60.0%, expected 70% or more",),
        ),
        (rows([0, 1] * 2), rows([1, 0, 0, 1]), ()),  # 2 of 4 may be chance
        (rows([0] * 10 + [1] * 5), rows([0] * 15), ()),  # 15 photographs are too few
        (
            rows([0] * 11 + [1] * 5),
            rows([0] * 16),
            (
                "entropy of the predicted classes 0.00 bits, expected more than half of "
                "float32's 0.90",
            ),
        ),
        (rows([0] * 11 + [1] * 5), rows([0] * 13 + [1] * 3), ()),
        (rows([1] * 4), rows([1] * 4), ()),
    ],
)
def test_findings_begin_at_the_limits(
    float_model: Table, int8_model: Table, findings: tuple[str, ...]
) -> None:
    """Each limit gives one finding of its own, and what reaches it gives none."""
    checked = check(float_model, int8_model, numbered(len(float_model.rows)), SEEN)
    assert checked.findings == findings


def test_one_class_for_everything_is_a_finding() -> None:
    """Predictions of at most half the entropy of float32's are a collapse, with the figures."""
    checked = check(tables(*[0, 1, 2, 3] * 4), tables(*[3] * 16), numbered(16), SEEN)
    assert checked.findings == (
        "agreement with float32 25.0%, expected 70% or more",
        "entropy of the predicted classes 0.00 bits, expected more than half of float32's 2.00",
        "SQNR of the logits -1.8 dB, expected 6 or more",
    )


def test_a_refusal_says_what_calibration_and_inference_saw() -> None:
    """The error names findings, both inputs' statistics and the remedy on one line."""
    checked = check(tables(0, 1, 2, 3), tables(3, 3, 3, 3), numbered(4), SEEN)
    with pytest.raises(CollapseError) as refused:
        refuse_collapse(checked)
    message = str(refused.value)
    assert "the int8 model collapsed: agreement with float32 25.0%" in message
    assert "(1 classes predicted for 4 photographs, float32 4)" in message
    assert "calibration saw 1 photograph of values 0.00..1.00 (mean 0.50, std 0.29)" in message
    assert "inference sees 4 photographs of values 0.00..3.00 (mean 1.50, std 1.12)" in message
    assert message.endswith("or keep the model with --force")
    assert "\n" not in message


def test_a_check_of_nothing_is_an_error() -> None:
    """Without photographs there is nothing to conclude from."""
    with pytest.raises(IndoorError, match="no photographs to check the int8 model on; expected"):
        check(tables(0), tables(0), [], SEEN)


def test_a_model_in_training_mode_is_not_checked() -> None:
    """A look at a model in training mode would move its batch norms."""
    with pytest.raises(ValueError, match="the float model is in training mode"):
        check(tables(0).train(), tables(0), numbered(1), SEEN)


def test_logits_that_are_not_finite_are_an_error() -> None:
    """A broken float model is named instead of being compared."""
    with pytest.raises(IndoorError, match="float32 gives logits that are not finite for 1 of 1"):
        check(Table([[float("nan"), 0.0]]), Table([[1.0, 0.0]]), numbered(1), SEEN)


def test_statistics_need_a_batch() -> None:
    """Nothing can be said of batches that nobody has looked at."""
    with pytest.raises(ValueError, match="no batch has been seen yet"):
        _ = WatchedBatches(numbered(2)).statistics


def calibrate_on(model: nn.Module, batch: Tensor, held_out: Tensor) -> QuantizationCheck:
    """Quantize with one calibration batch and check the result."""
    calibration = WatchedBatches([batch])
    int8_model = quantize(model, default_config(observer="minmax"), calibration)
    return check(model, int8_model, [held_out], calibration.statistics)


def test_the_references_collapse_is_refused_and_cured(
    trained: LoadedModel, scenes: Path, tmp_path: Path
) -> None:
    """torch.rand against inputs of 0..255 gives one class for all; photographs cure it."""
    model: Any = copy.deepcopy(trained.model)
    with torch.no_grad():
        model.conv1.weight /= 255
    held_out = inputs_of(scenes, "val", PIXELS)
    generator = torch.Generator().manual_seed(0)
    collapsed = calibrate_on(model, torch.rand(1, 3, 299, 299, generator=generator), held_out)
    assert collapsed.num_classes_float32 == 4
    assert collapsed.num_classes_int8 == 1
    with pytest.raises(
        CollapseError,
        match=r"entropy .* 0\.00 bits.*saw 1 photograph of values 0\.00\.\.1\.00 .* "
        r"inference sees 32 photographs of values 0\.00\.\.2\d\d\.00",
    ):
        refuse_collapse(collapsed)

    manifest = dataclasses.replace(trained.manifest, preprocessing=PIXELS)
    record = quantize_checkpoint(
        dataclasses.replace(trained, model=model, manifest=manifest),
        scenes,
        default_config(num_calibration=32, batch=8),
        out=tmp_path / "int8.safetensors",
        val_fraction=VAL_FRACTION,
    )
    assert record.check is not None
    assert record.check.findings == ()
    assert record.check.num_classes_int8 == 4
    assert record.check.agreement.value >= 0.85
    assert record.check.calibration_input.maximum > 200


class Heard:
    """Notes what a progress is told."""

    def __init__(self) -> None:
        self.words: list[tuple[Any, ...]] = []

    def start(self, description: str, total: int) -> None:
        """Note the beginning."""
        self.words.append((description, total))

    def advance(self, count: int = 1) -> None:
        """Note a step."""
        self.words.append((count,))

    def finish(self) -> None:
        """Note the end."""
        self.words.append(("end",))


@pytest.mark.parametrize("difference", [0.0, 0.5])
def test_the_check_takes_float32s_own_answers(
    trained: LoadedModel,
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    difference: float,
) -> None:
    """Its quick form computes for it only where that changes none, and not if it is another's."""
    calls: list[int] = []

    def quick(model: nn.Module) -> nn.Module:
        other = copy.deepcopy(model)
        other.register_forward_hook(lambda _, inputs, y: calls.append(len(inputs[0])) or y)
        with torch.no_grad():
            other.get_parameter("fc.bias")[0] += difference
        return other

    monkeypatch.setattr(checkpoint_module, "fuse", quick)
    out = tmp_path / "int8.safetensors"
    asked = default_config(num_calibration=9, batch=4, seed=5, observer="minmax")
    record = quantize_checkpoint(trained, scenes, asked, out=out, val_fraction=VAL_FRACTION)
    val = IndoorScenes(scenes, "val", inference_transform(UNIT), val_fraction=VAL_FRACTION)
    kept_out = stratified_sample(val.labels, len(val), 5)
    batches = [images for images, _ in load_batches(val, 4, indices=kept_out)]
    expected = check(trained.model, load_int8(out).model, batches, record.check.calibration_input)
    assert record.check == expected
    assert len(calls) == (1 if difference else len(batches))


def test_the_record_says_how_it_was_made(
    trained: LoadedModel, scenes: Path, tmp_path: Path
) -> None:
    """Configuration, list hash, CPU and check stand in the record and in the file."""
    asked = default_config(num_calibration=9, batch=4, seed=5)
    heard = Heard()
    out = tmp_path / "int8.safetensors"
    record = quantize_checkpoint(
        trained, scenes, asked, out=out, val_fraction=VAL_FRACTION, progress=heard
    )
    train = IndoorScenes(scenes, "train", val_fraction=VAL_FRACTION)
    names = [train.samples[index].name for index in stratified_sample(train.labels, 9, 5)]
    listed = "".join(f"{name}\n" for name in names)
    assert record.config == asked
    assert record.calibration_sha256 == hashlib.sha256(listed.encode()).hexdigest()
    assert record.num_quantized_modules == 21
    assert record.vnni is vnni_supported()
    assert record.exact is is_exact(asked.engine, asked.activation_range)
    assert record.torch_version == str(torch.__version__)
    assert not record.forced
    assert record.check is not None
    assert record.check.calibration_input.num_photographs == 9
    assert record.check.num_photographs == 32
    assert heard.words == [
        ("calibrating on train photographs", 9),
        *[(4,), (4,), (1,), ("end",)],
        ("checking int8 against float32", 32),
        *[(4,)] * 8,
        ("end",),
    ]
    loaded = load_int8(out)
    sealed, origin = loaded.manifest.content_sha256, loaded.manifest.provenance
    assert sealed not in (None, "0" * 64)
    assert origin is not None
    assert origin.made_from == {"float32": "0" * 64}
    assert origin.data == identify(scenes, val_fraction=VAL_FRACTION, test=False)
    assert loaded.manifest == dataclasses.replace(
        trained.manifest,
        precision="int8",
        metrics={},
        quantization=record,
        provenance=origin,
        content_sha256=sealed,
    )


def test_calibration_goes_through_the_transform_of_inference(
    trained: LoadedModel, scenes: Path, tmp_path: Path
) -> None:
    """What calibration saw are the train photographs as the checkpoint's own transform has them."""
    preprocessing = dataclasses.replace(UNIT, mean=(0.5, 0.5, 0.5), std=(0.1, 0.1, 0.1))
    manifest = dataclasses.replace(trained.manifest, preprocessing=preprocessing)
    record = quantize_checkpoint(
        dataclasses.replace(trained, manifest=manifest),
        scenes,
        default_config(num_calibration=1000, batch=8),
        out=tmp_path / "int8.safetensors",
        val_fraction=VAL_FRACTION,
        force=True,
    )
    train = inputs_of(scenes, "train", preprocessing)
    assert record.check is not None
    seen = record.check.calibration_input
    assert (seen.minimum, seen.maximum) == (float(train.min()), float(train.max()))
    assert seen.mean == pytest.approx(float(train.double().mean()))
    assert seen.std == pytest.approx(float(train.double().std(correction=0)))


def test_more_photographs_than_there_are_means_all(
    trained: LoadedModel, scenes: Path, tmp_path: Path
) -> None:
    """The record keeps what was asked, and its check counts what was used."""
    record = quantize_checkpoint(
        trained,
        scenes,
        default_config(num_calibration=1000),
        out=tmp_path / "int8.safetensors",
        val_fraction=VAL_FRACTION,
    )
    assert record.config.num_calibration == 1000
    assert record.check is not None
    assert record.check.calibration_input.num_photographs == 32


def test_the_seed_decides_the_list(trained: LoadedModel, scenes: Path, tmp_path: Path) -> None:
    """The same seed gives the same file, another seed another calibration list."""
    records = []
    for index, seed in enumerate((0, 0, 1)):
        records.append(
            quantize_checkpoint(
                trained,
                scenes,
                default_config(num_calibration=6, seed=seed),
                out=tmp_path / f"{index}.safetensors",
                val_fraction=VAL_FRACTION,
            )
        )
    assert records[0] == records[1]
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()
    assert records[0].calibration_sha256 != records[2].calibration_sha256


@pytest.fixture
def hopeless(trained: LoadedModel) -> LoadedModel:
    """A network that int8 cannot hold: a weight of 3,000 beside the ones that decide.

    It adds the same to every logit, so that float32 predicts what it did before, and makes one
    step of the weights' scale larger than all the others.
    """
    model: Any = copy.deepcopy(trained.model)
    with torch.no_grad():
        model.fc.weight[:, 0] = 3000.0
    return dataclasses.replace(trained, model=model)


def test_a_collapse_writes_nothing_unless_forced(
    hopeless: LoadedModel, scenes: Path, tmp_path: Path
) -> None:
    """A collapsed model is refused, and with force it is kept and marked."""
    out = tmp_path / "int8.safetensors"
    with pytest.raises(CollapseError, match=r"the int8 model collapsed: .* keep the model with"):
        quantize_checkpoint(hopeless, scenes, default_config(), out=out, val_fraction=VAL_FRACTION)
    assert list(tmp_path.iterdir()) == []
    record = quantize_checkpoint(
        hopeless, scenes, default_config(), out=out, val_fraction=VAL_FRACTION, force=True
    )
    assert record.forced
    assert record.check is not None
    assert record.check.findings
    assert load_int8(out).manifest.quantization == record


def test_other_classes_are_refused(trained: LoadedModel, scenes: Path, tmp_path: Path) -> None:
    """A data set that the checkpoint was not trained on is one line."""
    manifest = dataclasses.replace(
        trained.manifest, classes=("columns", "diagonals", "rings", "spirals")
    )
    with pytest.raises(
        IndoorError, match=rf"names other classes \(4\) than {re.escape(str(scenes))} \(4\)"
    ):
        quantize_checkpoint(
            dataclasses.replace(trained, manifest=manifest),
            scenes,
            default_config(),
            out=tmp_path / "int8.safetensors",
        )


@pytest.mark.real_data
def test_the_references_collapse_on_photographs(shared: Path) -> None:
    """scene15's network fed 0..255: torch.rand gives one class and is refused, photographs cure."""
    loaded = load_float(shared / "weights" / "scene15_resnet50.pt")
    model: Any = copy.deepcopy(loaded.model)
    mean, std = loaded.manifest.preprocessing.mean[0], loaded.manifest.preprocessing.std[0]
    with torch.no_grad():
        # (x / 255 - mean) / std, folded into the first layer but for its padded border
        shift = model.conv1.weight.sum(dim=(1, 2, 3)) * mean / std
        model.conv1.weight /= 255 * std
        model.bn1.running_mean += shift
    pixels = dataclasses.replace(PIXELS, size=128)
    splits = {
        split: IndoorScenes(shared / "scene15", split, inference_transform(pixels))
        for split in ("train", "test")
    }
    photographs = {
        split: next(
            load_batches(
                splits[split], count, indices=stratified_sample(splits[split].labels, count, 0)
            )
        )[0]
        for split, count in (("train", 30), ("test", 75))
    }
    generator = torch.Generator().manual_seed(0)
    held_out = photographs["test"]
    collapsed = calibrate_on(model, torch.rand(1, 3, 299, 299, generator=generator), held_out)
    assert collapsed.num_classes_int8 == 1
    assert collapsed.num_classes_float32 > 10
    with pytest.raises(CollapseError, match=r"saw 1 photograph of values 0\.00\.\.1\.00"):
        refuse_collapse(collapsed)
    cured = calibrate_on(model, photographs["train"], held_out)
    refuse_collapse(cured)
    assert cured.agreement.value > 0.9
    assert cured.sqnr_db > 15
