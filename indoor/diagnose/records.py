"""What a diagnosis says of each layer, of each cause and of the whole."""

from dataclasses import dataclass
from typing import Literal

from indoor.records import (
    Count,
    InputStatistics,
    NotNegative,
    QuantizationConfig,
    Rate,
    Sha256,
    Share,
    Split,
)

Kind = Literal["input", "convolution", "linear", "operation", "activation"]
"""`operation`: a sum, product or concatenation; `activation`: a function with its own range."""

Cause = Literal[
    "vpmaddubsw saturation",
    "range from the wrong inputs",
    "outliers",
    "per-tensor weights",
    "unequal channels",
    "shifted means",
    "first or last layer",
]


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """What quantizing one layer costs, measured on float32's own activations.

    A signal-to-noise ratio is in dB over all values; None where there is nothing to compare. All of
    a layer's figures but `accumulated_sqnr_db`, `cosine` and `overflowed` are of this layer alone:
    its inputs are float32's.
    """

    layer: str
    kind: Kind
    weight_sqnr_db: float | None
    """Its output with int8 weights and not rounded, against float32's; None: it has none."""
    activation_sqnr_db: float
    """float32's output rounded to the layer's range, against the same not rounded."""
    accumulated_sqnr_db: float
    """Its output in the int8 network, after all layers before it, against float32's."""
    isolated_logit_sqnr_db: float
    """The logits where this layer alone is quantized, against float32's."""
    isolated_weight_logit_sqnr_db: float | None
    """The same where only its weights are: what is gained if they stay float32."""
    cosine: float
    """Between its outputs in the int8 network and in float32."""
    saturated: Share
    """Values that its codes cannot hold: clipped."""
    dead: Share
    """Of the calibrated range, what no value reaches."""
    mean_shift: NotNegative
    """By how much its int8 weights (of a layer without any, its rounding) move the channels' means,
    before its ReLU, in standard deviations of the channels."""
    share: Share
    """Of the noise in the logits, added up over the layers one by one."""
    clipping: Share = 0.0
    """Of the noise of rounding its output, the part of the clipped values."""
    bulk: Share = 1.0
    """The part of the calibrated range that holds 99.9% of the values."""
    quiet: Share = 1.0
    """The part of the calibrated range that the median channel takes."""
    constant: Share = 0.0
    """Of that change's power, the part that is the same all over a channel, as a bias is."""
    input_spread: float = 1.0
    """Its weights' largest, by input channel: the highest of them over the median."""
    per_channel_sqnr_db: float | None = None
    """`weight_sqnr_db` if each output channel had its own scale; None: it has that."""
    overflowed: Share = 0.0
    """Outputs in the int8 network two or more steps from exact arithmetic on the same integers."""
    ends: bool = False
    """Whether it is the input, or the first or the last layer with weights."""
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A cause in words, the layers it was found in (the worst first), and what helps."""

    cause: Cause
    layers: tuple[str, ...]
    figures: str
    remedy: str
    """Options of `indoor quantize`."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """An int8 network beside its float32 original, layer by layer, in the order of the calls."""

    arch: str
    data: str
    split: Split
    num_photographs: Count
    float32_sha256: Sha256
    int8_sha256: Sha256
    config: QuantizationConfig
    calibration_input: InputStatistics | None
    """What calibration saw; None: not recorded."""
    input: InputStatistics
    cpu_model: str
    vnni: bool | None
    torch_version: str
    logit_sqnr_db: float
    agreement: Rate
    layers: tuple[LayerError, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    """What limits the figures, one sentence each."""

    @property
    def worst_first(self) -> tuple[LayerError, ...]:
        """The layers by their share of the error."""
        return tuple(sorted(self.layers, key=lambda one: -one.share))
