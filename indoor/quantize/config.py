"""What decides a quantization: its configuration, the defaults on this CPU, and the qconfig."""

import dataclasses
from typing import Any, get_args

import torch
from torch.ao.quantization import QConfig
from torch.ao.quantization.observer import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    default_per_channel_weight_observer,
    default_weight_observer,
)

from indoor.errors import IndoorError
from indoor.quantize.engines import ENGINES, is_exact, supported_engines
from indoor.quantize.observers import MseObserver, PercentileObserver
from indoor.records import Engine, Flow, Observer, QuantizationConfig, Rounding, WeightGranularity

ACTIVATION_RANGES = ((0, 127), (0, 255))

# The fastest first, from figures of three kinds of CPU (DECISIONS.md): onednn is never slower
# than x86, which runs the same kernels where there is VNNI and FBGEMM's elsewhere. 0..255 costs
# no time and halves the rounding error of 0..127, so it comes first where it is exact.
_PREFERENCE: tuple[tuple[Engine, tuple[int, int]], ...] = (
    ("onednn", (0, 255)),
    ("onednn", (0, 127)),
    ("x86", (0, 255)),
    ("x86", (0, 127)),
    ("fbgemm", (0, 255)),
    ("fbgemm", (0, 127)),
    ("qnnpack", (0, 255)),
    ("qnnpack", (0, 127)),
)

ACTIVATION_OBSERVERS: dict[Observer, Any] = {
    "minmax": MinMaxObserver,
    "moving-average": MovingAverageMinMaxObserver,
    "histogram": HistogramObserver,
    "percentile": PercentileObserver,
    "mse": MseObserver,
}


def default_config(**overrides: Any) -> QuantizationConfig:
    """Return the configuration to quantize with on this machine.

    The engine and the activation range are the fastest pair that is exact on this CPU
    (`is_exact`), among those that agree with the overrides; where only an override's own choice
    is left, exact or not, that is taken. The rest: observers by squared error, per-channel weights,
    128 photographs in batches of 16, seed 0.

    Args:
        **overrides: Fields of `QuantizationConfig`; None means the default.

    Raises:
        IndoorError: A value is none of those that exist, or the engine is not in this build.
        ValueError: There is no such field.
    """
    chosen = {name: value for name, value in overrides.items() if value is not None}
    known = {field.name for field in dataclasses.fields(QuantizationConfig)}
    if unknown := sorted(set(chosen) - known):
        raise ValueError(f"no such fields: {', '.join(unknown)}; expected {', '.join(known)}")
    _check_engine_and_range(chosen)
    fits = [
        (engine, activation_range)
        for engine, activation_range in _PREFERENCE
        if engine in supported_engines()
        and chosen.get("engine", engine) == engine
        and chosen.get("activation_range", activation_range) == activation_range
    ]
    exact = (pair for pair in fits if is_exact(*pair))
    named = "engine" in chosen
    engine, activation_range = next(exact, (fits[-1] if named else (None, None)))
    if engine is None or activation_range is None:
        raise IndoorError(
            f"none of the engines {', '.join(supported_engines())} computes exactly on this CPU; "
            "name an engine (--engine) to quantize all the same"
        )
    config = QuantizationConfig(
        **{
            "flow": "eager",
            "engine": engine,
            "activation_range": activation_range,
            "observer": "mse",
            "weights": "per-channel",
            "num_calibration": 128,
            "batch": 16,
            "seed": 0,
        }
        | chosen
    )
    validate_config(config)
    return config


def validate_config(config: QuantizationConfig) -> None:
    """Raise IndoorError if a field holds a value that cannot be quantized with."""
    _check_engine_and_range(dataclasses.asdict(config))
    _check_choice("flow", config.flow, get_args(Flow))
    _check_choice("observer", config.observer, get_args(Observer))
    _check_choice("weights", config.weights, get_args(WeightGranularity))
    _check_choice("rounding", config.rounding, get_args(Rounding))
    if config.num_calibration < 1:
        raise IndoorError(
            f"number of calibration photographs {config.num_calibration}: expected 1 or more; "
            "128 is the default"
        )
    if config.batch < 1:
        raise IndoorError(f"batch {config.batch}: expected 1 or more; 16 is the default")
    if config.qat_epochs < 0:
        raise IndoorError(
            f"epochs of training with quantization {config.qat_epochs}: expected 0 or more; "
            "0, the default, trains none"
        )
    if config.qat_epochs and config.flow != "eager":
        raise IndoorError(
            f"--qat-epochs {config.qat_epochs} with flow {config.flow}: expected flow eager, which "
            "alone trains with quantization in the network; leave one of both out"
        )
    if config.qat_epochs and config.rounding != "nearest":
        raise IndoorError(
            f"--qat-epochs {config.qat_epochs} with --rounding {config.rounding}: expected one of "
            "both, since a training chooses the weights itself; leave one of them out"
        )
    if config.qat_epochs and config.float_layers:
        raise IndoorError(
            f"--qat-epochs {config.qat_epochs} with --float-layers "
            f"{','.join(config.float_layers)}: expected one of both, since a training rounds every "
            "layer; leave one of them out"
        )


def qconfig_of(config: QuantizationConfig) -> QConfig:
    """Return torch's qconfig for the configuration.

    The range is given as quant_min and quant_max: reduce_range, which torch's own qconfigs use,
    means the same and is deprecated. Weights are symmetric qint8 in both granularities, as in
    every `get_default_qconfig`; without that, engine x86 never takes oneDNN's kernels.
    """
    smallest, largest = config.activation_range
    activation = ACTIVATION_OBSERVERS[config.observer].with_args(
        dtype=torch.quint8, quant_min=smallest, quant_max=largest
    )
    per_channel = config.weights == "per-channel"
    weight = default_per_channel_weight_observer if per_channel else default_weight_observer
    return QConfig(activation, weight)  # type: ignore[no-untyped-call]


def _check_engine_and_range(values: dict[str, Any]) -> None:
    if "engine" in values:
        _check_choice("engine", values["engine"], ENGINES)
        _check_choice("engine", values["engine"], supported_engines(), "in this torch build")
    if "activation_range" in values and values["activation_range"] not in ACTIVATION_RANGES:
        smallest, *_, largest = (*values["activation_range"], "?")[:2]
        raise IndoorError(
            f"activation range {smallest}..{largest}: expected 0..127 or 0..255; "
            "leave it out to get the one that is exact on this CPU"
        )


def _check_choice(what: str, value: str, choices: tuple[str, ...], where: str = "") -> None:
    if value not in choices:
        expected = " ".join(filter(None, (f"one of {', '.join(choices)}", where)))
        raise IndoorError(f"unknown {what} {value}: expected {expected}")
