"""Sums of int8 products that overflow 16 bits: where they are exact here, and what is said."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bench.studies import saturation
from bench.studies.saturation import CASES, EXACT_DB, exact_logits, noise, provoking_checkpoint
from indoor.errors import IndoorError
from indoor.evaluate import sqnr_db
from indoor.model import read_manifest
from indoor.quantize import default_config, is_exact, load_int8, supported_engines
from indoor.records import CheckpointManifest, Engine, Variant
from indoor.runtimes import all_variants, load_variant, why_not
from indoor.runtimes import saturation as runtime_saturation
from indoor.runtimes.saturation import refuse_saturation

pytestmark = pytest.mark.usefixtures("one_thread")

ENGINES = supported_engines()
PORTABLE = "onednn" if "onednn" in ENGINES else ENGINES[0]
IMAGES = noise(4)
EAGER = all_variants()["int8"]
OTHERS = [v for v in all_variants().values() if v.precision == "int8" and v.runtime != "eager"]

MARKS = {
    "inductor": pytest.mark.compiles,
    "aotinductor": [pytest.mark.compiles, pytest.mark.slow],  # and it takes Inductor's kernels
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder whose int8 network leaves 16 bits at 0..255."""
    folder = tmp_path_factory.mktemp("provoking")
    provoking_checkpoint(folder / "int8.safetensors", PORTABLE, CASES[0], IMAGES)
    return folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES[:2], ids=lambda case: case.words)
def test_what_the_probe_calls_exact_is_exact_throughout_a_network(
    engine: Engine, case: saturation.Case, tmp_path: Path
) -> None:
    """An engine's logits are those of integer arithmetic, or the probe has said that they are not.

    The default's are among them.
    """
    provoking_checkpoint(tmp_path / "int8.safetensors", engine, case, IMAGES)
    model = load_int8(tmp_path / "int8.safetensors").model
    value = sqnr_db(exact_logits(model, IMAGES), model(IMAGES))
    assert (value >= EXACT_DB) is is_exact(engine, case.activation_range)


def test_the_network_would_saturate(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added in pairs in 16 bits, as vpmaddubsw adds, the same integers give other logits."""
    model = load_int8(run_folder / "int8.safetensors").model
    expected = exact_logits(model, IMAGES[:1])
    monkeypatch.setattr(saturation, "_sums", saturated_sums)
    assert sqnr_db(expected, exact_logits(model, IMAGES[:1])) < 10


def saturated_sums(layer: Any, values: Tensor, weights: Tensor) -> Tensor:
    """Add products in pairs of input channels or places, each clamped to int16."""
    if weights.dim() == 4:
        kernel = weights.shape[2:]
        columns = functional.unfold(values, kernel, padding=layer.padding, stride=layer.stride)
        sums = pairwise_sums(columns.transpose(1, 2), weights.flatten(1))
        side = (values.shape[2] + 2 * layer.padding[0] - kernel[0]) // layer.stride[0] + 1
        return sums.transpose(1, 2).unflatten(2, (side, side))
    return pairwise_sums(values, weights)


def pairwise_sums(values: Tensor, weights: Tensor) -> Tensor:
    """Return `values @ weights.T` of int16 pairs."""
    if values.shape[-1] % 2:
        values, weights = (functional.pad(t, (0, 1)) for t in (values, weights))
    even, odd = values[..., ::2], values[..., 1::2]
    rows = [(even * w[::2] + odd * w[1::2]).clamp(-(2**15), 2**15 - 1).sum(dim=-1) for w in weights]
    return torch.stack(rows, dim=-1)


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize(
    "variant", [pytest.param(v, marks=MARKS.get(v.runtime, ()), id=v.name) for v in OTHERS]
)
def test_every_runtime_is_exact_where_onednn_is(variant: Variant, run_folder: Path) -> None:
    """On sums that would overflow, its logits are those of float32 between rounded values."""
    if reason := why_not(variant):
        pytest.skip(reason)
    (row,) = saturation.runtimes(run_folder, CASES[0], IMAGES, [variant.name])
    assert row.error is None
    if is_exact(PORTABLE, (0, 255)):
        assert row.sqnr_db is not None
        assert row.sqnr_db >= EXACT_DB


def made_elsewhere(run_folder: Path, exact: bool | None) -> CheckpointManifest:
    """Return the manifest of a checkpoint at 0..255 that was exact, or not, where it was made."""
    whole = read_manifest(run_folder / "int8.safetensors")
    assert whole.quantization is not None
    record = replace(whole.quantization, exact=exact, cpu_model="another CPU")
    return replace(whole, quantization=record)


@pytest.fixture
def _saturating(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without VNNI, on which 0..255 saturates."""
    monkeypatch.setattr(runtime_saturation, "_has_vnni", lambda: False)
    monkeypatch.setattr("indoor.quantize.is_exact", lambda _engine, ends: ends[1] <= 127)


@pytest.mark.usefixtures("_saturating")
@pytest.mark.parametrize("variant", [EAGER, *OTHERS], ids=lambda v: v.name)
def test_a_checkpoint_that_saturates_here_is_refused(variant: Variant, run_folder: Path) -> None:
    """One that was exact where it was made is refused in every runtime, with what to do."""
    message = rf"{variant.name}: sums .* saturate on this CPU with activations 0\.\.255 .*another "
    with pytest.raises(IndoorError, match=f"{message}CPU.*expected 0..127 here; quantize again"):
        refuse_saturation(variant, made_elsewhere(run_folder, exact=True))


@pytest.mark.usefixtures("_saturating")
@pytest.mark.parametrize("exact", [False, None])
def test_one_that_never_was_exact_says_so(run_folder: Path, exact: bool | None) -> None:
    """It was asked for, so it is loaded, and says that its logits are wrong."""
    (said,) = refuse_saturation(OTHERS[0], made_elsewhere(run_folder, exact))
    assert "its logits are wrong where they do; quantize with --activations 0..127" in said
    with closing(load_variant(EAGER, run_folder)) as loaded:
        (said,) = loaded.notes
    assert said.startswith("int8: sums of int8 products saturate on this CPU")


@pytest.mark.usefixtures("_saturating")
def test_half_of_the_levels_are_safe(run_folder: Path) -> None:
    """0..127 fits into 16 bits, and float32 has nothing that could overflow."""
    whole = made_elsewhere(run_folder, exact=True)
    assert whole.quantization is not None
    config = replace(whole.quantization.config, activation_range=(0, 127))
    half = replace(whole, quantization=replace(whole.quantization, config=config))
    for variant in (EAGER, *OTHERS):
        assert refuse_saturation(variant, half) == ()
    assert refuse_saturation(all_variants()["float32"], replace(whole, quantization=None)) == ()


def test_the_default_does_not_saturate(run_folder: Path) -> None:
    """What `indoor quantize` takes on this CPU is loaded without a word."""
    chosen = default_config()
    assert is_exact(chosen.engine, chosen.activation_range)
    whole = made_elsewhere(run_folder, exact=True)
    assert whole.quantization is not None
    record = replace(whole.quantization, config=chosen)
    assert refuse_saturation(EAGER, replace(whole, quantization=record)) == ()
