"""float32 against int8 on photographs kept out of calibration, and what counts as collapse."""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from indoor.errors import CollapseError, IndoorError
from indoor.evaluate import Exact, sqnr_db
from indoor.evaluate.figures import require_finite
from indoor.measure.logit_statistics import entropy_bits
from indoor.measure.proportions import wilson
from indoor.records import InputStatistics, QuantizationCheck, Rate

# Where a collapse begins. Sound quantizations of ResNet-50 agree with float32 on 97% to 99% of
# photographs at 23 to 33 dB, and even one calibration photograph gives 94% and 17 dB; torch.rand
# in its place gives 53% and 3.6 dB, or one class for everything (quantization-facts, scene15).
# The limits lie in the gap between: at 6 dB the error is half as large as the logits themselves.
MIN_AGREEMENT = 0.7
MIN_SQNR_DB = 6.0
# Of float32's entropy, so that a network or data set of few classes is not blamed for them.
MIN_ENTROPY_SHARE = 0.5
# Three photographs in one class prove nothing; sixteen that float32 spreads over classes do.
MIN_ENTROPY_PHOTOGRAPHS = 16

TRY_EVERY = 8
"""Of so many batches of a check one is computed by float32 itself beside its quick form."""


class WatchedBatches:
    """Batches that are described while somebody else iterates over them.

    Args:
        batches: Batches float32 `(B, 3, H, W)`.
    """

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self._batches = batches
        self._num_photographs = 0
        self._num_values = 0
        self._minimum = math.inf
        self._maximum = -math.inf
        self._sum = 0.0
        self._sum_of_squares = 0.0

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batches as they are."""
        for batch in self._batches:
            values = batch.double()
            self._num_photographs += len(batch)
            self._num_values += batch.numel()
            self._minimum = min(self._minimum, float(batch.min()))
            self._maximum = max(self._maximum, float(batch.max()))
            self._sum += float(values.sum())
            self._sum_of_squares += float(values.square().sum())
            yield batch

    @property
    def statistics(self) -> InputStatistics:
        """What the batches held so far; ValueError before the first one."""
        if not self._num_values:
            raise ValueError("no batch has been seen yet")
        mean = self._sum / self._num_values
        variance = self._sum_of_squares / self._num_values - mean**2
        return InputStatistics(
            num_photographs=self._num_photographs,
            minimum=self._minimum,
            maximum=self._maximum,
            mean=mean,
            std=math.sqrt(max(variance, 0.0)),
        )


def check(
    float_model: nn.Module,
    int8_model: nn.Module,
    batches: Iterable[Tensor],
    calibration_input: InputStatistics,
    *,
    quick: Callable[[Tensor], Tensor] | None = None,
) -> QuantizationCheck:
    """Compare an int8 model with its float32 original.

    Args:
        float_model: The original, in eval mode.
        int8_model: What `quantize` made of it.
        batches: Photographs that calibration did not see, through the transform of inference;
            float32 `(B, 3, H, W)`.
        calibration_input: What the calibration saw.
        quick: A quick form of the original, which computes for it where that changes no answer.

    Returns:
        Agreement of the predicted classes, entropy of the predicted classes in bits, signal to
        quantization noise of the logits in dB, and the findings that make it a collapse.

    Raises:
        IndoorError: There are no photographs, or a logit is not finite.
        OtherLogitsError: The quick form is one of another network.
        ValueError: The float model is in training mode, where a look would change it.
    """
    if float_model.training:
        raise ValueError("the float model is in training mode, expected eval mode")
    run = float_model if quick is None else Exact(quick, float_model, TRY_EVERY)
    watched = WatchedBatches(batches)
    float_batches, int8_batches = [], []
    with torch.inference_mode():
        for photographs in watched:
            float_batches.append(run(photographs))
            int8_batches.append(int8_model(photographs))
    if not float_batches:
        raise IndoorError(
            "no photographs to check the int8 model on; expected some that calibration did not "
            "see; use more train photographs or a larger validation share"
        )
    return check_logits(
        torch.cat(float_batches), torch.cat(int8_batches), calibration_input, watched.statistics
    )


def check_logits(
    float_logits: Tensor,
    int8_logits: Tensor,
    calibration_input: InputStatistics,
    inference_input: InputStatistics,
) -> QuantizationCheck:
    """Compare the logits, float32 `(N, C)`, that both gave for photographs; else as `check`."""
    require_finite(float_logits, "float32")
    require_finite(int8_logits, "int8")
    float_classes = float_logits.argmax(dim=1).tolist()
    int8_classes = int8_logits.argmax(dim=1).tolist()
    num_agreeing = sum(a == b for a, b in zip(float_classes, int8_classes, strict=True))
    agreement = wilson(num_agreeing, len(float_classes))
    entropy_float32, entropy_int8 = entropy_bits(float_classes), entropy_bits(int8_classes)
    sqnr = sqnr_db(float_logits, int8_logits)
    return QuantizationCheck(
        num_photographs=len(float_classes),
        agreement=agreement,
        entropy_float32_bits=entropy_float32,
        entropy_int8_bits=entropy_int8,
        num_classes_float32=len(set(float_classes)),
        num_classes_int8=len(set(int8_classes)),
        sqnr_db=sqnr,
        calibration_input=calibration_input,
        inference_input=inference_input,
        findings=tuple(_find(agreement, entropy_float32, entropy_int8, sqnr)),
    )


def refuse_collapse(checked: QuantizationCheck) -> None:
    """Raise CollapseError if the check found a collapse.

    The message says what was found, what the calibration saw and what inference sees.
    """
    if checked.findings:
        raise CollapseError(
            f"the int8 model collapsed: {'; '.join(checked.findings)} "
            f"({checked.num_classes_int8} classes predicted for {checked.num_photographs} "
            f"photographs, float32 {checked.num_classes_float32}); "
            f"calibration saw {_describe(checked.calibration_input)}, "
            f"inference sees {_describe(checked.inference_input)}; calibrate on photographs "
            "passed through the transform of inference, or keep the model with --force"
        )


def _find(
    agreement: Rate, entropy_float32: float, entropy_int8: float, sqnr: float
) -> Iterator[str]:
    # The whole interval has to lie below: few photographs must not make a sound model a collapse.
    if agreement.interval.high < MIN_AGREEMENT:
        yield f"agreement with float32 {agreement.value:.1%}, expected {MIN_AGREEMENT:.0%} or more"
    if (
        agreement.num_total >= MIN_ENTROPY_PHOTOGRAPHS
        and entropy_float32 > 0
        and entropy_int8 <= MIN_ENTROPY_SHARE * entropy_float32
    ):
        yield (
            f"entropy of the predicted classes {entropy_int8:.2f} bits, "
            f"expected more than half of float32's {entropy_float32:.2f}"
        )
    if sqnr < MIN_SQNR_DB:
        yield f"SQNR of the logits {sqnr:.1f} dB, expected {MIN_SQNR_DB:.0f} or more"


def _describe(seen: InputStatistics) -> str:
    photographs = "photograph" if seen.num_photographs == 1 else "photographs"
    return (
        f"{seen.num_photographs} {photographs} of values {seen.minimum:.2f}..{seen.maximum:.2f} "
        f"(mean {seen.mean:.2f}, std {seen.std:.2f})"
    )
