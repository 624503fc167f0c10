"""What a variant computes, beside float32 on the same photographs and as many threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from indoor.evaluate import sqnr_db
from indoor.runtimes.base import VARIANTS

BASELINE = "float32"

MIN_SQNR_DB = {"bfloat16": 15.0, "int8": 6.0}
"""Below this the output is another network's: a collapsed int8 has under 4 dB, a sound one 20."""


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Compute on that many threads in the block, and on as many as before after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_output(variant: str, logits: Tensor, reference: Tensor) -> float | None:
    """Compare a variant's logits with float32's on the same photographs.

    Args:
        variant: Its name.
        logits: float32 `(B, C)`.
        reference: float32 `(B, C)`, computed on as many threads.

    Returns:
        The SQNR in dB; None for float32, whose bits must be the same.

    Raises:
        AssertionError: The output is not that of the same network; the message says what it is.
    """
    assert logits.shape == reference.shape, f"logits {logits.shape}, expected {reference.shape}"
    assert torch.isfinite(logits).all(), f"{variant} gave logits that are not finite"
    precision = VARIANTS[variant].precision
    if precision == BASELINE:
        difference = float((logits - reference).abs().max())
        assert torch.equal(logits, reference), (
            f"{variant} gave other logits than before on the same photographs (by {difference})"
        )
        return None
    value = sqnr_db(reference, logits)
    limit = MIN_SQNR_DB[precision]
    assert value >= limit, (
        f"{variant} is {value:.1f} dB from float32's logits, expected {limit} dB or more; "
        "no time is worth recording for another network's output"
    )
    return value
