"""What logits and predicted classes tell without a clock: their noise, and their variety."""

from collections.abc import Sequence

import numpy as np

MAX_SQNR_DB = 300.0
"""The SQNR of equal arrays: far above what float32 can tell apart, since JSON has no infinity."""


def sqnr_db(reference: np.ndarray, actual: np.ndarray) -> float:
    """Return the signal-to-quantization-noise ratio, over all values together.

    `20 * log10(norm(reference) / norm(reference - actual))`, as torch's `compute_sqnr` has it,
    computed in float64. One figure for the whole array: a mean over photographs would let those
    with small logits weigh as much as the others.

    Returns:
        Decibels in `-MAX_SQNR_DB..MAX_SQNR_DB`; `MAX_SQNR_DB` for equal arrays.

    Raises:
        ValueError: The shapes differ, or a value is not finite.
    """
    if reference.shape != actual.shape:
        raise ValueError(f"the shapes differ: {reference.shape} and {actual.shape}, expected one")
    reference, actual = reference.astype(np.float64), actual.astype(np.float64)
    if not (np.isfinite(reference).all() and np.isfinite(actual).all()):
        raise ValueError("a value is not finite, so there is no SQNR")
    return decibels(np.linalg.norm(reference), np.linalg.norm(reference - actual))


def decibels(signal: float | np.floating, noise: float | np.floating) -> float:
    """Return the ratio of two norms in dB, in `-MAX_SQNR_DB..MAX_SQNR_DB`."""
    if noise == 0:
        return MAX_SQNR_DB
    if signal == 0:
        return -MAX_SQNR_DB
    return min(MAX_SQNR_DB, max(-MAX_SQNR_DB, float(20 * np.log10(signal / noise))))


def entropy_bits(classes: Sequence[int] | np.ndarray) -> float:
    """Return the Shannon entropy of the classes' frequencies, in bits."""
    shares = np.unique(classes, return_counts=True)[1] / len(classes)
    return float((shares * -np.log2(shares)).sum()) + 0.0  # one class has 0, not -0
