"""From a layer's figures to the causes of its error, in words, with what helps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from indoor.diagnose.records import Cause, Finding, LayerError
from indoor.records import Observer, QuantizationConfig, WeightGranularity

MATTERS_DB, LARGE_MATTERS_DB = 35.0, 40.0
"""What a layer by itself must leave of the logits not to be asked why; the second where it has a
large share of all noise, as it is then the one to repair. A ResNet-50 whose int8 loses nothing has
layers of 43 to 80 dB and one of 38 (scene15, DECISIONS.md)."""

LARGE = 0.25
"""The share of all noise that is large for one of some dozens of layers."""
CLIPPED, CLIPPING = 0.001, 0.9
"""Values that are clipped, and their part of the rounding noise, from which the range is wrong."""
DEAD = 0.75
"""Of the range, what no photograph reaches: two bits that are calibrated for nothing. More
photographs than are diagnosed reach twice as far by a few values, which is `BULK`'s to name."""
BULK = 0.3
"""Of the range, what holds 99.9% of the values: nearly two bits are spent on the others."""
QUIET = 1 / 16
"""Of the range, what the median channel takes: four bits are spent on the others."""
SPREAD = 8.0
"""Of the weights by input channel, the largest over the median: three bits are spent on it."""
GAIN_DB = 6.0
"""What a scale a channel must gain: one bit."""
CONSTANT = 0.5
"""Of what a layer's weights change, what a corrected bias takes away."""
_HALF_DB = 3.0
"""Half of the power."""

_REMEDIES: dict[Cause, tuple[str, ...]] = {
    "vpmaddubsw saturation": ("--activations 0..127", "--num-calibration 128"),
    "range from the wrong inputs": ("--num-calibration 128", "--observer minmax"),
    "outliers": ("--observer percentile", "--observer mse"),
    "per-tensor weights": ("--granularity per-channel",),
    "unequal channels": ("--equalise", "--qat-epochs 3"),
    "shifted means": ("--bias-correction", "--qat-epochs 3"),
    "first or last layer": ("--observer mse", "--qat-epochs 3"),
}
"""Options of `indoor quantize`, the cheapest first."""


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """A layer, and which half of it matters."""

    one: LayerError

    @property
    def limit_db(self) -> float:
        return LARGE_MATTERS_DB if self.one.share >= LARGE else MATTERS_DB

    @property
    def matters(self) -> bool:
        return self.one.isolated_logit_sqnr_db < self.limit_db

    @property
    def weights(self) -> bool:
        found = self.one.isolated_weight_logit_sqnr_db
        return found is not None and found < self.limit_db

    @property
    def rounding(self) -> bool:
        one = self.one
        if one.weight_sqnr_db is None or one.isolated_weight_logit_sqnr_db is None:
            return self.matters
        larger = one.activation_sqnr_db < one.weight_sqnr_db
        decides = one.isolated_weight_logit_sqnr_db > one.isolated_logit_sqnr_db + _HALF_DB
        return self.matters and (larger or decides)


def causes_of(one: LayerError) -> tuple[Cause, ...]:
    """Return what the layer's figures show; nothing where it does not matter."""
    return tuple(_causes(_Judged(one=one)))


def _causes(judged: _Judged) -> Iterator[Cause]:
    """Yield them in the order of the remedies that are tried first."""
    one = judged.one
    found: list[Cause] = []
    if one.overflowed > 0:
        found.append("vpmaddubsw saturation")
    clips = one.saturated >= CLIPPED and one.clipping >= CLIPPING
    if judged.rounding and (clips or one.dead >= DEAD):
        found.append("range from the wrong inputs")
    elif judged.rounding and one.bulk <= BULK:
        found.append("outliers")
    if judged.weights and (one.per_channel_sqnr_db or 0.0) - (one.weight_sqnr_db or 0.0) >= GAIN_DB:
        found.append("per-tensor weights")
    uneven = judged.rounding and one.quiet <= QUIET and one.bulk > BULK
    if uneven or (judged.weights and one.input_spread >= SPREAD):
        found.append("unequal channels")
    if judged.weights and one.constant >= CONSTANT:
        found.append("shifted means")
    if judged.matters and one.ends and one.share >= LARGE and not found:
        found.append("first or last layer")
    yield from found


def find(layers: Sequence[LayerError], config: QuantizationConfig) -> tuple[Finding, ...]:
    """Return each cause once, with its layers, the worst first, and what the worst one shows.

    Args:
        layers: Of an int8 network.
        config: How it was made: what is in force already is no remedy.
    """
    worst_first = sorted(layers, key=lambda one: -one.share)
    found: dict[Cause, list[LayerError]] = {}
    for one in worst_first:
        for cause in one.causes:
            found.setdefault(cause, []).append(one)
    return tuple(
        Finding(
            cause=cause,
            layers=tuple(one.layer for one in blamed),
            figures=_figures(cause, blamed[0]),
            remedy=_remedy(cause, blamed, config),
        )
        for cause, blamed in found.items()
    )


def _figures(cause: Cause, one: LayerError) -> str:
    """Return what a cause was judged by, of one layer."""
    match cause:
        case "vpmaddubsw saturation":
            what = (
                f"{one.overflowed:.2%} of its outputs are 2 or more steps from exact arithmetic "
                "on the same integers"
            )
        case "range from the wrong inputs" if one.saturated >= CLIPPED:
            what = (
                f"{one.saturated:.1%} of the values lie beyond its range, and are "
                f"{one.clipping:.0%} of the noise of rounding ({one.activation_sqnr_db:.1f} dB)"
            )
        case "range from the wrong inputs":
            what = (
                f"no value reaches {one.dead:.0%} of its range; rounding to it leaves "
                f"{one.activation_sqnr_db:.1f} dB"
            )
        case "outliers":
            what = (
                f"{one.bulk:.0%} of its range hold 99.9% of the values; rounding to it leaves "
                f"{one.activation_sqnr_db:.1f} dB"
            )
        case "per-tensor weights":
            what = (
                f"its int8 weights leave {one.weight_sqnr_db:.1f} dB, with a scale a channel "
                f"{one.per_channel_sqnr_db:.1f}"
            )
        case "unequal channels" if one.input_spread >= SPREAD:
            what = (
                f"its weights of one input channel are {one.input_spread:.0f} times the median "
                f"channel's; int8 leaves {one.weight_sqnr_db:.1f} dB"
            )
        case "unequal channels":
            what = (
                f"the median channel takes {one.quiet:.1%} of its range; rounding to it leaves "
                f"{one.activation_sqnr_db:.1f} dB"
            )
        case "shifted means":
            what = (
                f"{one.constant:.0%} of what its int8 weights change is a constant a channel, by "
                f"which the means are {one.mean_shift:.2f} standard deviations off"
            )
        case "first or last layer":
            what = (
                f"it alone has {one.share:.0%} of the noise, and leaves the logits "
                f"{one.isolated_logit_sqnr_db:.1f} dB"
            )
    return f"{one.layer}: {what}"


def _remedy(cause: Cause, blamed: Sequence[LayerError], config: QuantizationConfig) -> str:
    """Return the first option of those that help which is not in force."""
    by_weights = [one.layer for one in blamed if _by_weights(one)]
    options = _REMEDIES[cause]
    if cause == "first or last layer" and by_weights:
        # Not where its output's rounding is to blame, which stays.
        options = (f"--float-layers {','.join(by_weights)}", *options)
    return next((option for option in options if apply(option, config) != config), options[-1])


def apply(option: str, config: QuantizationConfig) -> QuantizationConfig:
    """Return the configuration with an option of a remedy in force."""
    match option.split():
        case ["--activations", ends]:
            low, high = map(int, ends.split(".."))
            return replace(config, activation_range=(low, high))
        case ["--num-calibration", count]:
            return replace(config, num_calibration=max(int(count), config.num_calibration))
        case ["--observer", name]:
            return replace(config, observer=cast("Observer", name))
        case ["--granularity", name]:
            return replace(config, weights=cast("WeightGranularity", name))
        case ["--equalise"]:
            return replace(config, equalised=True)
        case ["--bias-correction"]:
            return replace(config, bias_corrected=True)
        case ["--float-layers", names]:
            kept = dict.fromkeys((*config.float_layers, *names.split(",")))
            return replace(config, float_layers=tuple(kept))
        case ["--qat-epochs", count]:
            return replace(config, qat_epochs=max(int(count), config.qat_epochs))
    raise ValueError(f"unknown option {option!r}, expected one of a remedy")


def _by_weights(one: LayerError) -> bool:
    """Tell whether a layer's noise in the logits is mostly of its weights."""
    weights = one.isolated_weight_logit_sqnr_db
    return weights is not None and weights < one.isolated_logit_sqnr_db + _HALF_DB
