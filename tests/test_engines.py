"""Engines, the probe that tells which are exact here, and the defaults that follow from it."""

import copy
import os
import platform
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from quantizable import config, network, noise
from torch import Tensor, nn
from torch.ao.quantization.observer import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
)

from indoor.errors import IndoorError
from indoor.quantize import (
    EngineBound,
    default_config,
    is_exact,
    quantize,
    supported_engines,
    using_engine,
    validate_config,
    vnni_supported,
)
from indoor.quantize import config as config_module
from indoor.quantize import engines as engines_module
from indoor.quantize.engines import known_deprecations_filtered
from indoor.quantize.observers import MseObserver, PercentileObserver
from indoor.records import Engine

ENGINES = supported_engines()
ONE_ENGINE = len(ENGINES) < 2


class Spy(nn.Module):
    """A network that notes which engine is set when it is called or copied."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def forward(self, photographs: Tensor) -> Tensor:
        """Note the engine and return the input."""
        self.seen.append(torch.backends.quantized.engine)
        return photographs

    def __deepcopy__(self, memo: dict[int, Any]) -> "Spy":
        """Note the engine in the copy."""
        copied = Spy()
        copied.seen = [torch.backends.quantized.engine]
        return copied


@pytest.fixture(autouse=True)
def _engine_put_back() -> Iterator[None]:
    """Leave torch's global engine as it was, whatever a test sets."""
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


def test_supported_engines_are_those_of_the_build() -> None:
    """Every engine of the build that has a name of ours is listed once, and no other."""
    assert set(ENGINES) == set(torch.backends.quantized.supported_engines) - {"none"}
    assert len(ENGINES) == len(set(ENGINES)) >= 1


@pytest.mark.parametrize("engine", ENGINES)
def test_using_engine_puts_the_callers_back(engine: Engine) -> None:
    """The engine is set inside the block and the caller's outside, after an error too."""
    for caller in ENGINES:
        torch.backends.quantized.engine = caller
        with suppress(KeyError), using_engine(engine):
            assert torch.backends.quantized.engine == engine
            raise KeyError
        assert torch.backends.quantized.engine == caller


def test_an_engine_outside_the_build_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that this torch lacks is one line that names those it has."""
    here = torch.backends.quantized.engine
    monkeypatch.setattr(engines_module, "supported_engines", lambda: (here,))
    missing = next(engine for engine in engines_module.ENGINES if engine != here)
    message = f"engine {missing} is not in this torch build; expected one of {here}"
    with pytest.raises(IndoorError, match=message), using_engine(missing):
        pass


@pytest.mark.skipif(ONE_ENGINE, reason="this torch build has one engine")
def test_a_bound_network_runs_and_is_copied_with_its_own_engine() -> None:
    """The forward pass and a deep copy, which packs again, see the engine of the packing."""
    bound = EngineBound(Spy(), ENGINES[0]).eval()
    torch.backends.quantized.engine = ENGINES[1]
    bound(noise(1))
    copied = copy.deepcopy(bound)
    assert bound.network.seen == [ENGINES[0]]
    assert copied.network.seen == [ENGINES[0]]
    assert copied.engine == ENGINES[0]
    assert not copied.training
    assert torch.backends.quantized.engine == ENGINES[1]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("engine", ENGINES)
def test_logits_do_not_depend_on_the_global_engine(engine: Engine) -> None:
    """An int8 model gives the same bits under every global engine, and so does its copy."""
    inputs = noise(4)
    model = quantize(network(inputs), config(engine=engine, activation_range=(0, 255)), [inputs])
    logits = model(inputs)
    for other in ENGINES:
        torch.backends.quantized.engine = other
        assert torch.equal(model(inputs), logits)
        assert torch.equal(copy.deepcopy(model)(inputs), logits)


def test_vnni_is_unknown_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch's private question the answer is None, with it what it says."""
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True, raising=False)
    assert vnni_supported() is True
    monkeypatch.delattr(torch.cpu, "_is_vnni_supported")
    assert vnni_supported() is None


def exact_kernel(
    _layer: Any, inputs: Tensor, weights: Tensor, scale: float, zero_point: int
) -> Tensor:
    """Compute the 1 x 1 convolution of a probe in int64."""
    sums = torch.einsum("bihw,oi->bohw", inputs.long(), weights.long()[:, :, 0, 0])
    return requantize(sums, scale, zero_point)


def saturating_kernel(
    _layer: Any, inputs: Tensor, weights: Tensor, scale: float, zero_point: int
) -> Tensor:
    """Compute it as vpmaddubsw does: sums of two products are clamped to int16."""
    products = inputs.long()[:, None] * weights.long()[None]
    pairs = products.unflatten(2, (-1, 2)).sum(dim=3).clamp(-(2**15), 2**15 - 1)
    return requantize(pairs.sum(dim=2), scale, zero_point)


def requantize(sums: Tensor, scale: float, zero_point: int) -> Tensor:
    """Return uint8 outputs of integer sums."""
    return (torch.round(sums / scale) + zero_point).clamp(0, 255).to(torch.uint8)


POINTWISE = next(layer for layer in engines_module._LAYERS if layer.kernel == 1)


@pytest.mark.parametrize("largest", [127, 255])
def test_the_probe_passes_integer_arithmetic(largest: int) -> None:
    """A kernel that adds up exactly has no error in either range."""
    assert engines_module.worst_error_steps(exact_kernel, POINTWISE, largest) == 0


def test_the_probe_finds_pairs_that_saturate() -> None:
    """A kernel that saturates int16 is far off at 0..255, and exact at 0..127 (32,258 fits)."""
    assert engines_module.worst_error_steps(saturating_kernel, POINTWISE, 255) > 20
    assert engines_module.worst_error_steps(saturating_kernel, POINTWISE, 127) == 0


def test_the_probe_runs_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second question is answered from memory."""
    first = is_exact(ENGINES[0], (0, 127))
    monkeypatch.setattr(engines_module, "worst_error_steps", lambda *_: 1 / 0)
    assert is_exact(ENGINES[0], (0, 127)) is first


def test_an_engine_that_errs_is_not_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer more than a rounding step off is enough; a step is not."""
    uncached = is_exact.__wrapped__
    errors = iter([1] * 11 + [2])
    monkeypatch.setattr(engines_module, "worst_error_steps", lambda *_: next(errors))
    assert uncached(ENGINES[0], (0, 255)) is False
    monkeypatch.setattr(engines_module, "worst_error_steps", lambda *_: 1)
    assert uncached(ENGINES[0], (0, 255)) is True


@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"} or "onednn" not in ENGINES,
    reason="oneDNN's instruction sets can be limited on x86 only",
)
def test_without_vnni_the_default_range_is_halved() -> None:
    """OneDNN kept from VNNI saturates at 0..255, the probe sees it, and 0..127 is the default."""
    code = (
        "from indoor.quantize import default_config, is_exact\n"
        "config = default_config()\n"
        "print(is_exact('onednn', (0, 255)), is_exact('onednn', (0, 127)),"
        " config.engine, config.activation_range)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("False True onednn (0, 127)", "")


def answer(monkeypatch: pytest.MonkeyPatch, *exact: tuple[str, tuple[int, int]]) -> None:
    """Let a build of all four engines be exact for the given pairs alone."""
    monkeypatch.setattr(config_module, "supported_engines", lambda: engines_module.ENGINES)
    monkeypatch.setattr(config_module, "is_exact", lambda *pair: pair in exact)


@pytest.mark.parametrize(
    ("exact", "overrides", "expected"),
    [
        ([("onednn", (0, 255)), ("x86", (0, 127))], {}, ("onednn", (0, 255))),
        ([("onednn", (0, 127)), ("fbgemm", (0, 127))], {}, ("onednn", (0, 127))),
        ([("fbgemm", (0, 127)), ("qnnpack", (0, 255))], {}, ("fbgemm", (0, 127))),
        ([("qnnpack", (0, 255))], {}, ("qnnpack", (0, 255))),
        ([("onednn", (0, 255)), ("x86", (0, 127))], {"engine": "x86"}, ("x86", (0, 127))),
        (
            [("onednn", (0, 255)), ("x86", (0, 127))],
            {"activation_range": (0, 127)},
            ("x86", (0, 127)),
        ),
        ([], {"engine": "fbgemm"}, ("fbgemm", (0, 127))),
        ([], {"engine": "fbgemm", "activation_range": (0, 255)}, ("fbgemm", (0, 255))),
    ],
)
def test_the_default_is_the_fastest_exact_pair(
    monkeypatch: pytest.MonkeyPatch,
    exact: list[tuple[str, tuple[int, int]]],
    overrides: dict[str, Any],
    expected: tuple[str, tuple[int, int]],
) -> None:
    """Engine and range follow the preference among what is exact and asked for."""
    answer(monkeypatch, *exact)
    chosen = default_config(**overrides)
    assert (chosen.engine, chosen.activation_range) == expected


def test_no_exact_engine_is_an_error_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is exact the default refuses to choose."""
    answer(monkeypatch)
    with pytest.raises(IndoorError, match=r"none of the engines .* exactly on this CPU; name an"):
        default_config()


def test_the_default_here_is_exact_and_valid() -> None:
    """On this machine the default is an exact pair of this build, with the other defaults."""
    chosen = default_config(batch=None, seed=3)
    validate_config(chosen)
    assert is_exact(chosen.engine, chosen.activation_range)
    assert (chosen.observer, chosen.weights) == ("mse", "per-channel")
    assert (chosen.num_calibration, chosen.batch, chosen.seed) == (128, 16, 3)


def test_an_unknown_field_is_a_mistake_in_code() -> None:
    """A field that does not exist is a ValueError that lists those that do."""
    with pytest.raises(ValueError, match=r"no such fields: observers; expected .*observer"):
        default_config(observers="minmax")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "cuda"}, "unknown engine cuda: expected one of x86, fbgemm, onednn, qnnpack"),
        ({"activation_range": (0, 63)}, "activation range 0..63: expected 0..127 or 0..255"),
        ({"activation_range": (0,)}, "activation range 0..?: expected 0..127 or 0..255"),
        ({"observer": "entropy"}, "unknown observer entropy: expected one of minmax, moving-"),
        ({"weights": "per-block"}, "unknown weights per-block: expected one of per-channel, per-"),
        ({"flow": "graph"}, "unknown flow graph: expected one of eager, fx, pt2e"),
        ({"qat_epochs": -1}, "epochs of training with quantization -1: expected 0 or more"),
        ({"num_calibration": 0}, "number of calibration photographs 0: expected 1 or more"),
        ({"batch": 0}, "batch 0: expected 1 or more"),
    ],
)
def test_impossible_values_are_one_line(changes: dict[str, Any], message: str) -> None:
    """Each impossible value is an IndoorError that says what, the value and what is possible."""
    with pytest.raises(IndoorError, match=re.escape(message)) as failed:
        default_config(**changes)
    assert "\n" not in str(failed.value)
    with pytest.raises(IndoorError, match=re.escape(message)):
        validate_config(config(**changes))


def test_an_engine_of_another_build_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that exists, but not in this build, is told apart from an unknown one."""
    monkeypatch.setattr(config_module, "supported_engines", lambda: ("fbgemm",))
    with pytest.raises(IndoorError, match="engine qnnpack: expected one of fbgemm in this torch"):
        default_config(engine="qnnpack")


@pytest.mark.parametrize(
    ("observer", "kind"),
    [
        ("minmax", MinMaxObserver),
        ("moving-average", MovingAverageMinMaxObserver),
        ("histogram", HistogramObserver),
        ("percentile", PercentileObserver),
        ("mse", MseObserver),
    ],
)
@pytest.mark.parametrize("largest", [127, 255])
def test_the_qconfig_is_what_the_configuration_says(
    observer: str, kind: type, largest: int
) -> None:
    """Observer and range reach torch's activation observer; no deprecated argument is used."""
    qconfig = config_module.qconfig_of(config(observer=observer, activation_range=(0, largest)))
    activation = qconfig.activation()
    assert type(activation) is kind
    assert (activation.quant_min, activation.quant_max) == (0, largest)
    assert activation.dtype == torch.quint8


@pytest.mark.parametrize(
    ("weights", "scheme"),
    [("per-channel", torch.per_channel_symmetric), ("per-tensor", torch.per_tensor_symmetric)],
)
def test_weights_are_symmetric_in_both_granularities(weights: str, scheme: torch.qscheme) -> None:
    """Both granularities are symmetric qint8, which engine x86 needs to take oneDNN."""
    observer = config_module.qconfig_of(config(weights=weights)).weight()
    assert (observer.qscheme, observer.dtype) == (scheme, torch.qint8)


def test_only_known_deprecations_are_quiet() -> None:
    """The filter drops torch's known messages and lets every other warning through."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with known_deprecations_filtered():
            warnings.warn(
                "torch.ao.quantization is deprecated and will be removed in 2.10", stacklevel=1
            )
            with pytest.raises(UserWarning, match="must run observer"):
                warnings.warn("must run observer before calculate_qparams", stacklevel=1)
